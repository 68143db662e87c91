//! A shop doing business: clients that read, upload, replace and delete, while the server is killed
//! under them, and what every answer has to be.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::{Method, StatusCode};
use stockroom_domain::Sha256Digest;
use tokio::sync::{RwLock, RwLockWriteGuard};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::place::{Files, Place, noise};
use crate::server::Server;

const READERS: usize = 3;
const WRITERS: usize = 2;

/// How long a client tries again what a kill has cut off.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an answer may show of one key.
struct Record {
    key: String,
    /// The only one who writes to it.
    owner: usize,
    /// What it held, one after the other; none where it was deleted.
    contents: Vec<Option<Sha256Digest>>,
    /// The last of them that was acknowledged.
    acknowledged: usize,
}

#[derive(Default)]
struct Tally {
    reads: AtomicUsize,
    uploads: AtomicUsize,
    deletions: AtomicUsize,
    cuts: AtomicUsize,
    cut_uploads: AtomicUsize,
}

/// The clients and what they know.
pub(crate) struct Business {
    url: String,
    key: String,
    http: reqwest::Client,
    records: Mutex<Vec<Record>>,
    /// Odd while there is no server; another number after each kill.
    epoch: AtomicUsize,
    is_over: AtomicBool,
    /// Each writer holds it to read while it writes.
    writing: RwLock<()>,
    tally: Tally,
}

/// What the clients did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) reads: usize,
    /// New objects and replaced ones.
    pub(crate) uploads: usize,
    pub(crate) deletions: usize,
    /// Requests that a kill has cut off, and that were made again.
    pub(crate) cuts: usize,
    /// Those of them that may have stored something all the same.
    pub(crate) cut_uploads: usize,
}

impl Business {
    /// What is known of a shop with these files.
    pub(crate) fn of(server: &Server, files: &Files) -> Arc<Self> {
        let (url, key) = server.access();
        let records = files.iter().enumerate().map(|(at, (key, bytes))| Record {
            key: key.clone(),
            owner: at % WRITERS,
            contents: vec![Some(Sha256Digest::of(bytes))],
            acknowledged: 0,
        });
        // A connection of a server that was killed must not be used for the next one.
        let http = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Arc::new(Self {
            url,
            key,
            http,
            records: Mutex::new(records.collect()),
            epoch: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            writing: RwLock::new(()),
            tally: Tally::default(),
        })
    }

    /// Begins to do business, until [`Clients::end`].
    pub(crate) fn begin(self: &Arc<Self>, dice: &mut StdRng) -> Clients {
        let mut tasks = Vec::new();
        for client in 0..READERS + WRITERS {
            let business = Arc::clone(self);
            let mut dice = StdRng::seed_from_u64(dice.random());
            tasks.push(tokio::spawn(async move {
                while !business.is_over.load(Ordering::SeqCst) {
                    match client.checked_sub(READERS) {
                        None => business.read(&mut dice).await,
                        Some(writer) => business.write(writer, &mut dice).await,
                    }
                }
            }));
        }
        Clients {
            business: Arc::clone(self),
            tasks,
        }
    }

    /// Lets nobody write while it is held, and has the writers answered first.
    pub(crate) async fn pause_writers(&self) -> RwLockWriteGuard<'_, ()> {
        self.writing.write().await
    }

    /// Kills the server and starts the next one.
    pub(crate) async fn kill_server(&self, server: &mut Server, place: &Place) {
        self.without_server(server, place, async {}).await;
    }

    /// Kills the server, does something, and starts the next one. Meanwhile, and only then, requests may
    /// be cut.
    pub(crate) async fn without_server(
        &self,
        server: &mut Server,
        place: &Place,
        work: impl Future<Output = ()>,
    ) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        server.kill();
        work.await;
        server.start_again(place);
        self.epoch.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn figures(&self) -> Figures {
        let read = |count: &AtomicUsize| count.load(Ordering::SeqCst);
        Figures {
            reads: read(&self.tally.reads),
            uploads: read(&self.tally.uploads),
            deletions: read(&self.tally.deletions),
            cuts: read(&self.tally.cuts),
            cut_uploads: read(&self.tally.cut_uploads),
        }
    }

    /// What each key holds; none where it was deleted. Nobody may be writing.
    pub(crate) fn settled(&self) -> Vec<(String, Option<Sha256Digest>)> {
        let records = self.records.lock().unwrap();
        let settled = records.iter().map(|record| {
            assert_eq!(record.acknowledged + 1, record.contents.len());
            (record.key.clone(), record.contents[record.acknowledged])
        });
        settled.collect()
    }

    /// Reads every key once; what was acknowledged is there, and what was deleted is not.
    pub(crate) async fn assert_all(&self) {
        for (key, expected) in self.settled() {
            let got = self.get(&key).await;
            assert!(got == expected, "{key}: {got:?} in place of {expected:?}");
        }
    }

    async fn read(&self, dice: &mut StdRng) {
        // Something is left of the machine for those who move.
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..8))).await;
        let (at, key, from) = {
            let records = self.records.lock().unwrap();
            let at = dice.random_range(0..records.len());
            (at, records[at].key.clone(), records[at].acknowledged)
        };
        let got = self.get(&key).await;
        let records = self.records.lock().unwrap();
        let allowed = &records[at].contents[from..];
        assert!(
            allowed.contains(&got),
            "{key}: {got:?} in place of {allowed:?}"
        );
        self.tally.reads.fetch_add(1, Ordering::SeqCst);
    }

    async fn write(&self, writer: usize, dice: &mut StdRng) {
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..40))).await;
        let _held = self.writing.read().await;
        let (at, key, is_there) = self.choose(writer, dice);
        if is_there && dice.random_bool(0.3) {
            self.begin_change(at, None);
            self.delete(&key).await;
            self.tally.deletions.fetch_add(1, Ordering::SeqCst);
        } else {
            let bytes = noise(dice.random_range(0..60_000), dice.random());
            self.begin_change(at, Some(Sha256Digest::of(&bytes)));
            self.put(&key, bytes.into()).await;
            self.tally.uploads.fetch_add(1, Ordering::SeqCst);
        }
        let mut records = self.records.lock().unwrap();
        records[at].acknowledged = records[at].contents.len() - 1;
    }

    /// A key to write to, which may be new; whether it holds anything.
    fn choose(&self, writer: usize, dice: &mut StdRng) -> (usize, String, bool) {
        let mut records = self.records.lock().unwrap();
        if dice.random_bool(0.4) {
            let key = format!("models/{writer}/new {}.bin", records.len());
            records.push(Record {
                key: key.clone(),
                owner: writer,
                contents: vec![None],
                acknowledged: 0,
            });
            return (records.len() - 1, key, false);
        }
        loop {
            let at = dice.random_range(0..records.len());
            let record = &records[at];
            if record.owner == writer {
                let is_there = record.contents[record.acknowledged].is_some();
                return (at, record.key.clone(), is_there);
            }
        }
    }

    fn begin_change(&self, at: usize, content: Option<Sha256Digest>) {
        self.records.lock().unwrap()[at].contents.push(content);
    }

    async fn get(&self, key: &str) -> Option<Sha256Digest> {
        let (status, body, _) = self.call(Method::GET, key, Bytes::new()).await;
        match status {
            StatusCode::NOT_FOUND => None,
            StatusCode::OK => Some(Sha256Digest::of(&body)),
            other => panic!("GET {key}: {other}: {body:?}"),
        }
    }

    async fn put(&self, key: &str, bytes: Bytes) {
        let (status, body, cuts) = self.call(Method::PUT, key, bytes).await;
        self.tally.cut_uploads.fetch_add(cuts, Ordering::SeqCst);
        assert_eq!(status, StatusCode::CREATED, "PUT {key}: {body:?}");
    }

    async fn delete(&self, key: &str) {
        let (status, body, cuts) = self.call(Method::DELETE, key, Bytes::new()).await;
        // The one that was cut off may have deleted it.
        let is_done =
            status == StatusCode::NO_CONTENT || (status == StatusCode::NOT_FOUND && cuts > 0);
        assert!(is_done, "DELETE {key}: {status}: {body:?}");
    }

    /// The answer to a request, which is made again when a kill has cut it off; how often it was.
    async fn call(&self, method: Method, key: &str, bytes: Bytes) -> (StatusCode, Bytes, usize) {
        let path = key.replace(' ', "%20");
        let url = format!("{}/v1/objects/{path}?delivery=stream", self.url);
        let deadline = Instant::now() + PATIENCE;
        let mut cuts = 0;
        loop {
            let epoch = self.epoch.load(Ordering::SeqCst);
            let request = self.http.request(method.clone(), &url);
            let request = request.bearer_auth(&self.key).body(bytes.clone());
            let answer = async {
                let response = request.send().await?;
                Ok::<_, reqwest::Error>((response.status(), response.bytes().await?))
            };
            let error = match answer.await {
                Ok((status, body)) => {
                    self.tally.cuts.fetch_add(cuts, Ordering::SeqCst);
                    return (status, body, cuts);
                }
                Err(error) => error,
            };
            let was_killed = epoch % 2 == 1 || self.epoch.load(Ordering::SeqCst) != epoch;
            assert!(was_killed, "cut off by nobody: {method} {key}: {error:?}");
            assert!(Instant::now() < deadline, "{method} {key}: {error:?}");
            cuts += 1;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Clients at work.
pub(crate) struct Clients {
    pub(crate) business: Arc<Business>,
    tasks: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Lets them finish what they are doing; fails when one of them got a wrong answer.
    pub(crate) async fn end(self) {
        self.business.is_over.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.expect("a client got what it should");
        }
    }

    /// Fails at once when one of them has.
    #[track_caller]
    pub(crate) fn assert_content(&self) {
        let has_ended = self.tasks.iter().any(JoinHandle::is_finished);
        assert!(!has_ended, "a client got a wrong answer");
    }
}
