//! What the tests of `S3Store` share: a real S3 server in the process, a store that reaches it,
//! and everything the store told its observer.

#![allow(
    dead_code,
    reason = "each test file is a crate of its own and uses a part of this"
)]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chaos_s3::{ChaosS3, Options};
use stockroom_domain::{Entropy as _, SeededEntropy, SystemClock, SystemEntropy};
use stockroom_storage::conformance::{Fetch, FetchRequest, Fetched};
use stockroom_storage::{
    BillingClass, Call, Facts, Key, ObjectWriter, Observer, Operation, Outcome, Result, S3Config,
    S3Store, Secret, Store as _, WriteOptions, Written,
};

/// The size of parts in these tests, where a test does not say otherwise.
pub(crate) const PART_BYTES: usize = 64 << 10;

/// A server, a store on it, and what the store told.
pub(crate) struct Bench {
    pub(crate) server: ChaosS3,
    pub(crate) store: S3Store,
    pub(crate) told: Arc<Told>,
}

impl Bench {
    pub(crate) async fn start(options: Options) -> Self {
        Self::start_with(options, |_| {}).await
    }

    pub(crate) async fn start_with(options: Options, change: impl FnOnce(&mut S3Config)) -> Self {
        let server = ChaosS3::start(options).await.expect("a server");
        let mut config = config_of(&server);
        change(&mut config);
        let (store, told) = connect(&config);
        Self {
            server,
            store,
            told,
        }
    }

    /// Nothing can be seen, and nothing is left that would be billed.
    pub(crate) fn assert_nothing_left(&self, what: &str) {
        assert_eq!(self.server.keys(), [""; 0], "{what}: a visible object");
        let uploads = self.server.unfinished_uploads();
        assert!(uploads.is_empty(), "{what}: unfinished {uploads:?}");
    }
}

/// A configuration that reaches the server, and is quick to give up.
pub(crate) fn config_of(server: &ChaosS3) -> S3Config {
    let mut config = S3Config::new(
        server.endpoint(),
        server.region(),
        server.bucket(),
        server.key_id(),
        Secret::new(server.application_key()),
    );
    config.ca_pem = server.ca_pem().map(|pem| pem.as_bytes().to_vec());
    config.part_bytes = PART_BYTES as u64;
    config.retries.base = Duration::from_millis(2);
    config.timeouts.connect = Duration::from_secs(2);
    config.timeouts.answer = Duration::from_millis(400);
    config.timeouts.complete = Duration::from_millis(400);
    config.timeouts.read_idle = Duration::from_millis(400);
    config
}

pub(crate) fn connect(config: &S3Config) -> (S3Store, Arc<Told>) {
    let told = Arc::new(Told::default());
    let store = S3Store::connect_with(
        config,
        Arc::new(SystemClock),
        Arc::new(SystemEntropy),
        told.clone(),
    )
    .expect("a configuration that works");
    (store, told)
}

/// Keeps what the observer is told.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<Vec<ToldCall>>);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ToldCall {
    pub(crate) operation: Operation,
    pub(crate) class: BillingClass,
    pub(crate) outcome: Outcome,
    pub(crate) sent_bytes: u64,
    pub(crate) received_bytes: u64,
}

impl Observer for Told {
    fn call(&self, call: &Call<'_>) {
        self.0.lock().unwrap().push(ToldCall {
            operation: call.operation,
            class: call.operation.billing_class(),
            outcome: call.outcome,
            sent_bytes: call.sent_bytes,
            received_bytes: call.received_bytes,
        });
    }
}

impl Told {
    /// What was told since the last time.
    pub(crate) fn take(&self) -> Vec<ToldCall> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// The operations with their outcomes since the last time, sorted by neither.
    pub(crate) fn take_outcomes(&self) -> Vec<(Operation, Outcome)> {
        let calls = self.take();
        calls.iter().map(|it| (it.operation, it.outcome)).collect()
    }
}

pub(crate) fn key(text: &str) -> Key {
    text.parse().expect("a key")
}

/// Bytes in which every piece differs from every other, the same for the same seed.
pub(crate) fn bytes(seed: u64, size_bytes: usize) -> Bytes {
    let mut all = vec![0; size_bytes];
    SeededEntropy::new(seed).fill(&mut all);
    all.into()
}

/// Writes what is all at hand.
pub(crate) async fn put(store: &S3Store, name: &str, bytes: Bytes) -> Result<Written> {
    store.put(&key(name), bytes, WriteOptions::default()).await
}

/// Begins to write, without telling anything first.
pub(crate) async fn writer(store: &S3Store, name: &str) -> Box<dyn ObjectWriter> {
    let writer = store.writer(&key(name), WriteOptions::default()).await;
    writer.expect("nothing to go wrong yet")
}

/// Writes in pieces of another size than parts have, without telling the size first.
pub(crate) async fn stream_in(store: &S3Store, key: &Key, bytes: &Bytes) -> Result<Written> {
    let writer = store.writer(key, WriteOptions::default()).await?;
    finish(writer, bytes).await
}

pub(crate) async fn finish(mut writer: Box<dyn ObjectWriter>, bytes: &Bytes) -> Result<Written> {
    let facts = Facts::of(bytes);
    for start in (0..bytes.len()).step_by(20_000) {
        let piece = bytes.slice(start..bytes.len().min(start + 20_000));
        if let Err(error) = writer.write(piece).await {
            writer.abort().await;
            return Err(error);
        }
    }
    writer.finish(&facts).await
}

pub(crate) async fn read_all(store: &S3Store, key: &Key) -> Result<Bytes> {
    store.get(key, None).await?.bytes().await
}

/// Waits until something is so; fails after five seconds.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    eventually_async(what, async || is_so()).await;
}

/// The same, where looking takes a request.
pub(crate) async fn eventually_async(what: &str, is_so: impl AsyncFn() -> bool) {
    for _ in 0..500 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within five seconds: {what}");
}

/// A store on the Garage that the environment names; none when it names none. Where CI=true that
/// is an error: a suite that skips in silence is worth nothing.
pub(crate) fn garage() -> Option<S3Store> {
    let variable = |name: &str| std::env::var(format!("STOCKROOM_TEST_GARAGE_{name}"));
    let Ok(endpoint) = variable("ENDPOINT") else {
        let what = "STOCKROOM_TEST_GARAGE_ENDPOINT is not set";
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "Garage: {what}");
        println!("skipped, because there is no Garage: {what} (scripts/dev-garage starts one)");
        return None;
    };
    let value = |name: &str| variable(name).unwrap_or_else(|_| panic!("{name} beside ENDPOINT"));
    let mut config = S3Config::new(
        endpoint,
        value("REGION"),
        value("BUCKET"),
        value("KEY_ID"),
        Secret::new(value("APPLICATION_KEY")),
    );
    config.part_bytes = 5 << 20;
    Some(connect(&config).0)
}

/// Sends what the conformance suite asks for, as a browser would.
pub(crate) fn fetch() -> Fetch {
    // A provider that is there already is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    Box::new(move |request: FetchRequest| {
        let method = request.method.as_str().parse().expect("a method");
        let sent = client
            .request(method, &request.url)
            .body(request.body)
            .send();
        Box::pin(async move {
            let answer = sent.await.expect("an answer");
            let header = |name| {
                let value = answer.headers().get(name)?;
                Some(value.to_str().expect("text").to_owned())
            };
            Fetched {
                status: answer.status().as_u16(),
                content_type: header("content-type"),
                content_disposition: header("content-disposition"),
                body: answer.bytes().await.expect("a body"),
            }
        })
    })
}
