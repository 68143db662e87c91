//! One of the clients of the model test. It has keys of its own and does one thing after the
//! other, so that it knows what each key may show, whatever the others and the weather do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use reqwest::RequestBuilder;
use serde_json::Value;
use stockroom::workers::engine;
use stockroom_catalog::{CatalogError, Conflict};
use stockroom_domain::{Clock as _, Key, Sha256Digest};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::assets::Assets;
use crate::damage;
use crate::dice::{self, Dice};
use crate::expected::{Content, Expected};
use crate::support::{Backend, Who};
use crate::weather;
use crate::world::{Server, World};

/// How many keys a client has.
const KEYS: usize = 8;

/// How long deleted bytes stay in the model test. The clock jumps farther than that.
pub(crate) const GRACE: Duration = Duration::from_secs(3_600);

/// Where a client comes from, to be told when it finds something wrong.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) test: &'static str,
    pub(crate) seed: u64,
    pub(crate) number: u64,
}

pub(crate) struct Client {
    pub(crate) origin: Origin,
    world: Arc<World>,
    pub(crate) server: Arc<Server>,
    pub(crate) dice: Dice,
    keys: Vec<(String, Expected)>,
    assets: Assets,
    /// How often each operation ended in which way.
    pub(crate) tally: BTreeMap<&'static str, u64>,
}

/// An answer that was read to its end.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    /// Whether the server says that it failed, which it may do in bad weather.
    pub(crate) fn is_failure(&self) -> bool {
        self.status >= 500
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn etag(&self) -> &str {
        let etag = self
            .headers
            .get("etag")
            .map_or("", |etag| etag.to_str().unwrap());
        etag.trim_matches('"')
    }
}

/// Sends a request; the error says how the connection ended.
pub(crate) async fn send(request: RequestBuilder) -> Result<Reply, String> {
    let response = request.send().await.map_err(|error| format!("{error:?}"))?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response
        .bytes()
        .await
        .map_err(|error| format!("{error:?}"))?;
    Ok(Reply {
        status,
        headers,
        body,
    })
}

impl Client {
    pub(crate) async fn new(origin: Origin, world: Arc<World>, server: Arc<Server>) -> Self {
        let keys = (0..KEYS)
            .map(|key| {
                (
                    format!("models/c{}/{key}.bin", origin.number),
                    Expected::nothing(),
                )
            })
            .collect();
        Self {
            dice: Dice::of_task(origin.seed, origin.number),
            assets: Assets::new(&server).await,
            origin,
            world,
            server,
            keys,
            tally: BTreeMap::new(),
        }
    }

    /// Does so many things.
    pub(crate) async fn work(&mut self, operations: u64) {
        for _ in 0..operations {
            let key = self.dice.index(KEYS);
            match self.dice.below(100) {
                0..22 => self.put(key).await,
                22..26 => self.go_away(key).await,
                26..34 => self.delete(key).await,
                34..39 => self.restore(key).await,
                39..63 => self.get(key).await,
                63..75 => self.get_part(key).await,
                75..78 => self.list().await,
                78..82 => self.damage(key).await,
                82..83 => {
                    engine::round(&self.server.app).await;
                }
                83..84 => {
                    weather::jump(&self.world, &mut self.dice);
                }
                _ => {
                    self.assets
                        .work(&self.server, &mut self.dice, &self.origin, &mut self.tally)
                        .await;
                }
            }
        }
    }

    /// Looks at everything. In good weather nothing may fail any more.
    pub(crate) async fn look_at_everything(&mut self) {
        for key in 0..KEYS {
            let before = self.tally.get("get failed").copied();
            self.get(key).await;
            if self.tally.get("get failed").copied() != before {
                self.fail(key, "a read fails though nothing is wrong any more");
            }
        }
        self.list().await;
        self.assets
            .look_at_everything(&self.server, &self.origin)
            .await;
    }

    async fn put(&mut self, key: usize) {
        let content = self.content();
        let request = self.call(Method::PUT, key).body(content.bytes.clone());
        let what = format!("put {content:?}");
        match send(request).await {
            Ok(reply) if reply.status == 201 => {
                self.note(key, "put", &format!("{what}: acknowledged"));
                self.keys[key].1.settle(Some(content));
            }
            Ok(reply) if reply.is_failure() => {
                self.note(key, "put failed", &format!("{what}: {}", reply.status));
                self.keys[key].1.doubt(Some(content));
            }
            Ok(reply) => self.refused(key, &what, &reply),
            Err(error) => {
                self.note(key, "put failed", &format!("{what}: {error}"));
                self.keys[key].1.doubt(Some(content));
            }
        }
    }

    /// Begins an upload and ends the connection in the middle. Nothing of it may ever be seen.
    async fn go_away(&mut self, key: usize) {
        let content = self.content();
        let path = format!("/v1/objects/{}", self.keys[key].0);
        let (address, head) = self.server.raw(Who::Operator, &Method::PUT, &path);
        let announced = content.bytes.len() + 1;
        let head = format!("{head}Content-Length: {announced}\r\n\r\n");
        let sent = self.dice.index(announced);
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The server may answer and close before it has read all of it.
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(&content.bytes[..sent]).await;
        if self.dice.percent(30) {
            tokio::time::sleep(Duration::from_millis(self.dice.below(30))).await;
        }
        if self.dice.percent(50) {
            // As a machine that lost its power.
            let _ = stream.set_zero_linger();
        }
        drop(stream);
        let what = format!("went away after {sent} of {announced} bytes ({content:?})");
        self.note(key, "went away", &what);
    }

    async fn delete(&mut self, key: usize) {
        let asked_at = self.world.clock.now();
        let is_missing = self.keys[key].1.is_missing();
        match send(self.call(Method::DELETE, key)).await {
            Ok(reply) if reply.status == 204 && !is_missing => {
                self.note(key, "delete", "delete: acknowledged");
                self.keys[key].1.settle_deleted(asked_at);
            }
            Ok(reply) if reply.status == 404 => {
                self.see(key, None, "delete: 404");
            }
            Ok(reply) if reply.is_failure() => {
                self.note(key, "delete failed", &format!("delete: {}", reply.status));
                self.keys[key].1.doubt(None);
            }
            Ok(reply) => self.refused(key, "delete", &reply),
            Err(error) => self.fail(key, &format!("delete: {error}")),
        }
    }

    async fn restore(&mut self, key: usize) {
        let name: Key = self.keys[key].0.parse().unwrap();
        let now = self.world.clock.now();
        let due = self.keys[key]
            .1
            .deleted()
            .filter(|(deleted_at, _)| now.since(*deleted_at) < GRACE)
            .map(|(_, content)| content.clone());
        match self.server.app.catalog.restore_object(&name, now).await {
            Ok(row) => {
                let sha256 = row.sha256.to_string();
                self.note(key, "restore", &format!("restore: {}", &sha256[..8]));
                if due.is_some_and(|due| due.sha256 != sha256) {
                    self.fail(key, "something else was restored than was deleted last");
                }
                if self.keys[key].1.certain().is_some() {
                    self.fail(key, "a key that is taken was restored");
                }
                if let Err(error) = self.keys[key].1.restored(&sha256) {
                    self.fail(key, &error);
                }
            }
            Err(CatalogError::Conflict(Conflict::KeyTaken)) => {
                self.note(key, "restore refused", "restore: the key is taken");
                if self.keys[key].1.is_missing() {
                    self.fail(key, "a key is taken that shows nothing");
                }
            }
            Err(CatalogError::NotFound(_)) => {
                if let Some(due) = due {
                    self.fail(
                        key,
                        &format!("{due:?} is not restored within its grace period"),
                    );
                }
                self.see(key, None, "restore: not found");
            }
            Err(error) => self.fail(key, &format!("restore: {error}")),
        }
    }

    async fn get(&mut self, key: usize) {
        match send(self.call(Method::GET, key)).await {
            Ok(reply) if reply.status == 200 => {
                let sha256 = Sha256Digest::of(&reply.body).to_string();
                self.see(key, Some(&sha256), "get");
                if reply.etag() != sha256 {
                    self.fail(key, "the ETag is that of other bytes");
                }
            }
            Ok(reply) if reply.status == 404 => {
                self.see(key, None, "get: 404");
            }
            Ok(reply) if reply.is_failure() => {
                self.note(key, "get failed", &format!("get: {}", reply.status));
            }
            Ok(reply) => self.refused(key, "get", &reply),
            Err(error) => self.note(key, "get failed", &format!("get: {error}")),
        }
    }

    async fn get_part(&mut self, key: usize) {
        let size_bytes = self.keys[key]
            .1
            .certain()
            .map_or(1_000, |content| content.bytes.len());
        let first = self.dice.index(size_bytes.max(1));
        let last = first + self.dice.index(size_bytes.max(1));
        let what = format!("get of {first}-{last}");
        let request = self
            .call(Method::GET, key)
            .header("range", format!("bytes={first}-{last}"));
        match send(request).await {
            Ok(reply) if reply.status == 206 => {
                let content = self.see(key, Some(reply.etag()), &what);
                let content = content.expect("an ETag is never that of nothing");
                let end = content.bytes.len().min(last + 1);
                if reply.body != content.bytes[first..end] {
                    self.fail(key, &format!("{what}: other bytes than the ETag says"));
                }
            }
            Ok(reply) if reply.status == 416 => {
                let certain = self.keys[key].1.certain();
                if certain.is_some_and(|content| content.bytes.len() > first) {
                    self.fail(key, &format!("{what}: 416 for a range that exists"));
                }
            }
            Ok(reply) if reply.status == 404 => {
                self.see(key, None, &format!("{what}: 404"));
            }
            Ok(reply) if reply.is_failure() => {
                self.note(key, "get failed", &format!("{what}: {}", reply.status));
            }
            Ok(reply) => self.refused(key, &what, &reply),
            Err(error) => self.note(key, "get failed", &format!("{what}: {error}")),
        }
    }

    async fn list(&mut self) {
        let path = format!(
            "/v1/objects?prefix=models/c{}/&limit=100",
            self.origin.number
        );
        let ask = || send(self.server.call(Who::Operator, Method::GET, &path));
        // A connection on which an upload was refused half-way may close just when it is used
        // again, and RFC 9112 9.3.1 has a client ask once more. A list that is cut twice is not that.
        let reply = match ask().await {
            Ok(reply) => reply,
            Err(first) => ask()
                .await
                .unwrap_or_else(|second| panic!("a list is cut: {first}, then {second}")),
        };
        assert_eq!(reply.status, 200, "a list needs no store");
        let json = reply.json();
        let listed: BTreeMap<&str, &str> = json["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|object| {
                (
                    object["key"].as_str().unwrap(),
                    object["sha256"].as_str().unwrap(),
                )
            })
            .collect();
        for key in 0..KEYS {
            let found = listed.get(self.keys[key].0.as_str()).copied();
            self.see(key, found, "list");
        }
    }

    /// Damages one copy of an object whose other copy is certainly whole.
    async fn damage(&mut self, key: usize) {
        let Some(content) = self.keys[key].1.certain().cloned() else {
            return;
        };
        if self.world.backend != Backend::Hybrid {
            return;
        }
        let name: Key = self.keys[key].0.parse().unwrap();
        let details = self.server.app.catalog.find_object(&name).await.unwrap();
        let object = details.expect("an object that was acknowledged").object;
        let done = damage::one_copy(&self.world, &object, &content.bytes, &mut self.dice);
        if let Some(what) = done {
            self.note(key, "damage", &what);
        }
    }

    fn call(&self, method: Method, key: usize) -> RequestBuilder {
        let path = format!("/v1/objects/{}", self.keys[key].0);
        self.server.call(Who::Operator, method, &path)
    }

    /// New bytes, mostly few.
    fn content(&mut self) -> Content {
        let size_bytes = match self.dice.below(1_000) {
            0..20 => 0,
            20..700 => self.dice.below(4_000),
            700..920 => self.dice.below(60_000),
            920..985 => self.dice.below(300_000),
            985..999 => self.dice.below(2_300_000),
            // Sent to the bucket in parts.
            _ => 8_500_000 + self.dice.below(500_000),
        };
        Content::new(self.dice.noise(usize::try_from(size_bytes).unwrap()))
    }

    /// Somebody saw these bytes, or nothing. What it is.
    fn see(&mut self, key: usize, sha256: Option<&str>, what: &str) -> Option<Content> {
        let seen = sha256.map_or("nothing", |sha256| &sha256[..8]);
        self.note(key, "looked", &format!("{what}: {seen}"));
        match self.keys[key].1.see(sha256) {
            Ok(found) => found,
            Err(error) => self.fail(key, &error),
        }
    }

    fn note(&mut self, key: usize, tally: &'static str, what: &str) {
        let at = self.world.clock.now();
        self.keys[key].1.note(format!("{at}: {what}"));
        *self.tally.entry(tally).or_default() += 1;
    }

    fn refused(&self, key: usize, what: &str, reply: &Reply) -> ! {
        let body = String::from_utf8_lossy(&reply.body);
        self.fail(key, &format!("{what}: {} {body}", reply.status))
    }

    fn fail(&self, key: usize, error: &str) -> ! {
        let (name, expected) = &self.keys[key];
        panic!(
            "{name}: {error}\n{}\nthe last operations on the key:{}",
            dice::replay(self.origin.test, self.origin.seed),
            expected.log(),
        )
    }
}
