//! A shop in business is moved to a bucket while its server and the commands that move it are killed at random
//! moments (invariants 1, 3, 7 and 8 of ARCHITECTURE.md).
//!
//! `STOCKROOM_TORTURE=1` moves 5,000 objects with 50 kills. The seed is printed and replays the moments, as far as the
//! machine is as fast as it was.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::{Method, StatusCode};
use tokio::time::{Instant, sleep};

use crate::place::{Files, Place, Running, noise};

const READERS: usize = 3;
const WRITERS: usize = 3;

/// How long a call may be tried again while the server is dead or begins.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_in_business_is_moved_while_everything_is_killed() {
    move_with_kills(250, 8).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes; make torture runs it"]
async fn a_shop_of_5_000_objects_is_moved_while_everything_is_killed_50_times() {
    move_with_kills(5_000, 50).await;
}

/// Calls a server that may be dead for a moment.
#[derive(Clone)]
struct Client {
    url: String,
    key: String,
    http: reqwest::Client,
}

impl Client {
    /// The status and the whole body of an answer. Connections that break are tried again, as clients do; what an
    /// answer says is taken as it is.
    async fn call(&self, method: Method, key: &str, body: Option<&[u8]>) -> (StatusCode, Vec<u8>) {
        let url = format!(
            "{}/v1/objects/{}?delivery=stream",
            self.url,
            key.replace(' ', "%20")
        );
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut request = self.http.request(method.clone(), &url);
            request = request.bearer_auth(&self.key);
            if let Some(body) = body {
                request = request.body(body.to_vec());
            }
            let answer = async {
                let response = request.send().await?;
                let status = response.status();
                Ok::<_, reqwest::Error>((status, response.bytes().await?.to_vec()))
            };
            match answer.await {
                Ok(answer) => return answer,
                Err(error) => assert!(Instant::now() < deadline, "{key}: {error}"),
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn get(&self, key: &str) -> Option<Vec<u8>> {
        match self.call(Method::GET, key, None).await {
            (StatusCode::OK, bytes) => Some(bytes),
            (StatusCode::NOT_FOUND, _) => None,
            (status, body) => panic!("{key}: {status}: {}", String::from_utf8_lossy(&body)),
        }
    }

    async fn put(&self, key: &str, bytes: &[u8]) {
        let (status, body) = self.call(Method::PUT, key, Some(bytes)).await;
        // An answer may have been lost, and the same bytes were there already.
        let is_stored = matches!(status, StatusCode::CREATED | StatusCode::OK);
        assert!(
            is_stored,
            "{key}: {status}: {}",
            String::from_utf8_lossy(&body)
        );
    }

    async fn delete(&self, key: &str) {
        let (status, body) = self.call(Method::DELETE, key, None).await;
        let is_gone = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_FOUND);
        assert!(
            is_gone,
            "{key}: {status}: {}",
            String::from_utf8_lossy(&body)
        );
    }
}

/// The server, which is killed and started again at the same address.
struct Victim<'a> {
    place: &'a Place,
    child: Child,
}

impl<'a> Victim<'a> {
    fn start(place: &'a Place) -> Self {
        let child = place
            .command(&["serve"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { place, child }
    }

    fn kill_and_start(&mut self) {
        self.end();
        self.child = Self::spawn(self.place);
    }

    fn spawn(place: &Place) -> Child {
        place
            .command(&["serve"])
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn end(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Victim<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What clients do meanwhile, and what they saw.
#[derive(Default)]
struct Business {
    is_over: AtomicBool,
    reads: AtomicUsize,
    writes: AtomicUsize,
}

impl Business {
    fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::SeqCst)
    }

    /// Reads what nobody changes.
    async fn read(&self, client: &Client, stable: &Files, seed: u64) {
        let mut dice = StdRng::seed_from_u64(seed);
        let keys: Vec<&String> = stable.keys().collect();
        while self.goes_on() {
            let key = keys[dice.random_range(0..keys.len())];
            let bytes = client.get(key).await;
            assert!(
                bytes.as_ref() == Some(&stable[key]),
                "{key} is other bytes, or gone"
            );
            self.reads.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Stores, replaces and deletes, and reads after each change what was just acknowledged.
    async fn write(&self, client: &Client, seed: u64) -> BTreeMap<String, Option<Vec<u8>>> {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut written = BTreeMap::new();
        for round in 0_u64.. {
            if !self.goes_on() {
                break;
            }
            let key = match dice.random_range(0..3) {
                0 => format!("models/{seed:x}/{round}.bin"),
                _ => format!("models/{seed:x}/replaced {}.bin", dice.random_range(0..4)),
            };
            let is_there = matches!(written.get(&key), Some(Some(_)));
            let now = if is_there && dice.random_range(0..3) == 0 {
                client.delete(&key).await;
                None
            } else {
                let bytes = noise(20_000, seed.wrapping_add(round));
                client.put(&key, &bytes).await;
                Some(bytes)
            };
            assert!(
                client.get(&key).await == now,
                "{key} is not what was acknowledged"
            );
            written.insert(key, now);
            self.writes.fetch_add(1, Ordering::SeqCst);
        }
        written
    }
}

/// Kills the server or the command that moves objects, whichever the dice say, and starts it again.
async fn kill(
    victim: &mut Victim<'_>,
    arguments: &[&str],
    kills: usize,
    dice: &mut StdRng,
) -> [usize; 2] {
    let place = victim.place;
    let mut killed = [0, 0];
    let mut mover: Running = place.spawn(arguments);
    for _ in 0..kills {
        sleep(Duration::from_millis(dice.random_range(30..700))).await;
        let which = dice.random_range(0..2);
        match which {
            0 => victim.kill_and_start(),
            _ => {
                mover.kill();
                mover = place.spawn(arguments);
            }
        }
        killed[which] += 1;
    }
    sleep(Duration::from_millis(200)).await;
    mover.kill();
    killed
}

fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

async fn move_with_kills(files: usize, kills: usize) {
    let address = free_address();
    let listen = vec![("LISTEN", address.clone())];
    let place = Place::start().await.with_settings(listen);
    let stable = place.put_files(files).await;
    let made = place.run(&["key", "create", "--role", "operator"]).only();
    let client = Client {
        url: format!("http://{address}"),
        key: made["key"].as_str().unwrap().to_owned(),
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
    };
    let mut dice = crate::dice();
    let run = ["migrate", "run", "--to", "s3"];
    let (mut written, first) = in_business(&place, &client, &stable, &run, kills, &mut dice).await;

    // What was claimed by the dead is free again; then the mode is changed, and the folder is emptied.
    place.finish_later().await;
    place.assert_in_bucket(&stable);
    let place = place.in_mode("s3");
    let ran = place.run(&run);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    let retire = ["migrate", "retire", "--from", "local", "--grace", "0s"];
    let (more, second) = in_business(&place, &client, &stable, &retire, kills / 2, &mut dice).await;
    written.extend(more);
    place.finish_later().await;

    let _server = Victim::start(&place);
    for (key, bytes) in &written {
        assert!(
            client.get(key).await == *bytes,
            "{key} is not what was acknowledged last"
        );
    }
    for (key, bytes) in &stable {
        assert!(client.get(key).await.as_ref() == Some(bytes), "{key}");
    }
    place.assert_in_bucket(&stable);
    place.assert_verified();
    println!(
        "figure: migrate: {files} objects, {} servers and {} commands killed, {} reads, {} changes, none wrong, none \
         lost, none back",
        first.killed[0] + second.killed[0],
        first.killed[1] + second.killed[1],
        first.reads + second.reads,
        first.writes + second.writes,
    );
    assert!(first.reads > 0 && first.writes > 0);
}

struct Figures {
    killed: [usize; 2],
    reads: usize,
    writes: usize,
}

/// Serves clients while everything is killed; what was written, and how much was done.
async fn in_business(
    place: &Place,
    client: &Client,
    stable: &Files,
    arguments: &[&str],
    kills: usize,
    dice: &mut StdRng,
) -> (BTreeMap<String, Option<Vec<u8>>>, Figures) {
    let business = Business::default();
    let seeds: Vec<u64> = (0..READERS + WRITERS).map(|_| dice.random()).collect();
    let mut victim = Victim::start(place);
    let readers = seeds[..READERS].iter();
    let readers = readers.map(|seed| business.read(client, stable, *seed));
    let writers = seeds[READERS..].iter();
    let writers = writers.map(|seed| business.write(client, *seed));
    let killing = async {
        let killed = kill(&mut victim, arguments, kills, dice).await;
        business.is_over.store(true, Ordering::SeqCst);
        killed
    };
    let (_, written, killed) = tokio::join!(
        futures::future::join_all(readers),
        futures::future::join_all(writers),
        killing
    );
    victim.end();
    let figures = Figures {
        killed,
        reads: business.reads.load(Ordering::SeqCst),
        writes: business.writes.load(Ordering::SeqCst),
    };
    // Each writer has keys of its own.
    (written.into_iter().flatten().collect(), figures)
}
