//! The part of a client of the model test that sells files: a model and the versions of its
//! files.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use stockroom_domain::Sha256Digest;

use crate::client::{Origin, send};
use crate::dice::{self, Dice};
use crate::support::{Who, stl};
use crate::world::Server;

/// The most versions of files a client uploads; after that it only deletes and reads.
const MOST: usize = 90;

/// A model of the artist and what is known of its files.
pub(crate) struct Assets {
    model: String,
    known: Vec<Asset>,
    /// Uploads that ended in an error: file name and SHA-256.
    lost: Vec<(String, String)>,
}

#[derive(Debug)]
struct Asset {
    id: String,
    filename: String,
    version: u64,
    sha256: String,
    life: Life,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Live,
    /// Its deletion ended in an error.
    Doubted,
    Deleted,
}

impl Assets {
    pub(crate) async fn new(server: &Server) -> Self {
        let request = server
            .call(Who::Artist, Method::POST, "/v1/models")
            .json(&json!({"title": "Statue"}));
        let model = send(request).await.unwrap().json();
        Self {
            model: model["id"].as_str().unwrap().to_owned(),
            known: Vec::new(),
            lost: Vec::new(),
        }
    }

    /// Does one thing.
    pub(crate) async fn work(
        &mut self,
        server: &Server,
        dice: &mut Dice,
        origin: &Origin,
        tally: &mut BTreeMap<&'static str, u64>,
    ) {
        let mut count = |what| *tally.entry(what).or_default() += 1;
        match dice.below(16) {
            0..6 if self.known.len() < MOST => {
                let bytes = stl(
                    1 + u32::try_from(dice.below(400)).unwrap(),
                    dice.below(1 << 40),
                );
                let filename = format!("part-{}.stl", dice.below(4));
                count(self.put(server, &filename, bytes, origin).await);
            }
            6..8 if !self.known.is_empty() => {
                let index = dice.index(self.known.len());
                count(self.delete(server, index, origin).await);
            }
            8..10 => {
                self.list(server, origin).await;
                count("list of assets");
            }
            _ if !self.known.is_empty() => {
                let index = dice.index(self.known.len());
                count(self.get(server, index, origin).await);
            }
            _ => {}
        }
    }

    pub(crate) async fn look_at_everything(&mut self, server: &Server, origin: &Origin) {
        self.list(server, origin).await;
        for index in 0..self.known.len() {
            let outcome = self.get(server, index, origin).await;
            assert_ne!(
                outcome, "get of an asset failed",
                "nothing is wrong any more"
            );
        }
    }

    async fn put(
        &mut self,
        server: &Server,
        filename: &str,
        bytes: Bytes,
        origin: &Origin,
    ) -> &'static str {
        let sha256 = Sha256Digest::of(&bytes).to_string();
        let path = format!("/v1/models/{}/assets/{filename}", self.model);
        let request = server.call(Who::Artist, Method::PUT, &path).body(bytes);
        match send(request).await {
            Ok(reply) if reply.status == 201 => {
                let asset = asset(&reply.json());
                self.check(asset.sha256 == sha256, origin, "an upload has another hash");
                self.known.push(asset);
                "put of an asset"
            }
            Ok(reply) if !reply.is_failure() => {
                let body = String::from_utf8_lossy(&reply.body);
                self.fail(
                    origin,
                    &format!("an upload is refused: {} {body}", reply.status),
                )
            }
            _ => {
                self.lost.push((filename.to_owned(), sha256));
                "put of an asset failed"
            }
        }
    }

    /// Deletes an asset with the older versions of its file.
    async fn delete(&mut self, server: &Server, index: usize, origin: &Origin) -> &'static str {
        let Asset {
            id,
            filename,
            version,
            life,
            ..
        } = &self.known[index];
        let (filename, version, life) = (filename.clone(), *version, *life);
        let path = format!("/v1/assets/{id}");
        let outcome = send(server.call(Who::Artist, Method::DELETE, &path)).await;
        let status = outcome.as_ref().map_or(0, |reply| reply.status);
        let deleted = self
            .known
            .iter_mut()
            .filter(|asset| asset.filename == filename && asset.version <= version);
        match status {
            204 => {
                deleted.for_each(|asset| asset.life = Life::Deleted);
                self.check(life != Life::Deleted, origin, "an asset is deleted twice");
                "delete of an asset"
            }
            404 => {
                self.known[index].life = Life::Deleted;
                self.check(
                    life != Life::Live,
                    origin,
                    "an asset is not there to be deleted",
                );
                "delete of an asset that is gone"
            }
            _ => {
                for asset in deleted.filter(|asset| asset.life == Life::Live) {
                    asset.life = Life::Doubted;
                }
                self.check(
                    status == 0 || status >= 500,
                    origin,
                    "a deletion is refused",
                );
                "delete of an asset failed"
            }
        }
    }

    /// Compares all versions of all files with what is known, which settles what was in doubt.
    async fn list(&mut self, server: &Server, origin: &Origin) {
        let mut listed: BTreeMap<String, Asset> = BTreeMap::new();
        let mut cursor = String::new();
        loop {
            let path = format!(
                "/v1/models/{}/assets?versions=all&limit=100{cursor}",
                self.model
            );
            let reply = send(server.call(Who::Artist, Method::GET, &path))
                .await
                .unwrap();
            self.check(reply.status == 200, origin, "a list fails");
            let page = reply.json();
            let assets = page["data"].as_array().unwrap().iter().map(asset);
            listed.extend(assets.map(|asset| (asset.id.clone(), asset)));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        for index in 0..self.known.len() {
            let is_listed = listed.remove(&self.known[index].id).is_some();
            let life = self.known[index].life;
            let is_right = life == Life::Doubted || is_listed == (life == Life::Live);
            self.check(
                is_right,
                origin,
                &format!("{:?}: listed: {is_listed}", self.known[index]),
            );
            self.known[index].life = if is_listed { Life::Live } else { Life::Deleted };
        }
        for asset in listed.into_values() {
            let of = (asset.filename.clone(), asset.sha256.clone());
            let is_known = self.lost.contains(&of);
            self.check(is_known, origin, &format!("{asset:?} was never uploaded"));
            self.lost.retain(|lost| *lost != of);
            self.known.push(asset);
        }
    }

    async fn get(&self, server: &Server, index: usize, origin: &Origin) -> &'static str {
        let asset = &self.known[index];
        let path = format!("/v1/assets/{}/download?delivery=stream", asset.id);
        match send(server.call(Who::Artist, Method::GET, &path)).await {
            Ok(reply) if reply.status == 200 => {
                let is_same = Sha256Digest::of(&reply.body).to_string() == asset.sha256;
                self.check(is_same, origin, &format!("{asset:?}: other bytes"));
                self.check(
                    asset.life != Life::Deleted,
                    origin,
                    &format!("{asset:?} is read"),
                );
                "get of an asset"
            }
            Ok(reply) if reply.status == 404 => {
                self.check(
                    asset.life != Life::Live,
                    origin,
                    &format!("{asset:?} is missing"),
                );
                "get of an asset that is gone"
            }
            Ok(reply) if !reply.is_failure() => {
                self.fail(origin, &format!("{asset:?}: {}", reply.status))
            }
            _ => "get of an asset failed",
        }
    }

    #[track_caller]
    fn check(&self, is_right: bool, origin: &Origin, what: &str) {
        if !is_right {
            self.fail(origin, what);
        }
    }

    #[track_caller]
    fn fail(&self, origin: &Origin, what: &str) -> ! {
        let replay = dice::replay(origin.test, origin.seed);
        panic!(
            "model {} of client {}: {what}\n{replay}\n{:#?}",
            self.model, origin.number, self.known
        )
    }
}

fn asset(json: &Value) -> Asset {
    let text = |name: &str| json[name].as_str().unwrap().to_owned();
    Asset {
        id: text("id"),
        filename: text("filename"),
        version: json["version"].as_u64().unwrap(),
        sha256: text("sha256"),
        life: Life::Live,
    }
}
