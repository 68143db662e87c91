//! A breaker around a bucket over the real S3 protocol, while the bucket misbehaves.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, ending with a panic is how it fails"
)]

mod support;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chaos_s3::{Fault, FaultAction, Operation, Options};
use futures::TryStreamExt as _;
use stockroom_domain::SystemClock;
use stockroom_storage::{
    Ack, ErrorKind, GuardOptions, GuardedStore, HybridOptions, KeyPrefix, ReadOrder, Storage,
    Store, WriteOptions,
};
use support::{Bucket, Folder, bytes, collect, key};
use tokio::sync::Notify;
use tokio::time::Instant;

const KEY: &str = "models/a.stl";
const ODD: &str = "models/odd.stl";

struct Guarded {
    bucket: Bucket,
    recovered: Arc<Notify>,
    store: Arc<GuardedStore>,
}

impl Guarded {
    /// With 300,000 bytes under [`KEY`] and under [`ODD`].
    async fn new(first_wait: Duration) -> Self {
        let bucket = Bucket::start(Options::b2()).await;
        let recovered = Arc::new(Notify::new());
        let probe_key = key("models/.stockroom/store-id");
        let options = GuardOptions {
            first_wait,
            ..GuardOptions::new(Arc::new(SystemClock), probe_key, recovered.clone())
        };
        let store = GuardedStore::new(Arc::new(bucket.store.clone()), options);
        for name in [KEY, ODD] {
            bucket.server.plant(name, bytes(1, 300_000));
        }
        store.head(&key(KEY)).await.unwrap();
        bucket.server.clear_calls();
        Self {
            bucket,
            recovered,
            store,
        }
    }

    fn is_open(&self) -> bool {
        self.store.health().breaker.is_open()
    }

    fn hang(&self) {
        let fault = Fault::new(Operation::Any, FaultAction::Hang).forever();
        self.bucket.server.fault(fault);
    }
}

/// So long that no probe comes in between.
const LONG: Duration = Duration::from_secs(3_600);
/// So short that a test need not wait.
const SHORT: Duration = Duration::from_millis(20);

#[tokio::test]
async fn a_bucket_that_hangs_costs_the_first_caller_only() {
    let guarded = Guarded::new(LONG).await;
    let (store, server) = (&guarded.store, &guarded.bucket.server);
    guarded.hang();
    let began = Instant::now();
    let error = store.get(&key(KEY), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    // The time-out of the store under test is a second.
    assert!(began.elapsed() >= Duration::from_millis(900));
    let requests = server.count(Operation::Any);
    assert!(requests > 0 && guarded.is_open());

    // Time stands still from here on, unless somebody waits.
    tokio::time::pause();
    let began = Instant::now();
    for _ in 0..100 {
        assert!(store.get(&key(KEY), None).await.is_err());
        assert!(store.head(&key(KEY)).await.is_err());
        let options = WriteOptions::default();
        let put = store.put(&key(KEY), bytes(2, 9), options).await;
        assert!(put.is_err());
        assert!(store.delete(&key(KEY)).await.is_err());
        let list = store.list(&KeyPrefix::all());
        assert!(list.try_collect::<Vec<_>>().await.is_err());
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(server.count(Operation::Any), requests);
}

#[tokio::test]
async fn a_hybrid_goes_on_without_the_bucket_and_takes_it_back() {
    let guarded = Guarded::new(SHORT).await;
    let (store, server) = (&guarded.store, &guarded.bucket.server);
    let folder = Folder::new();
    let options = HybridOptions {
        read: ReadOrder::S3First,
        ack: Ack::Any,
    };
    let storage = Storage::hybrid(folder.store.clone(), store.clone(), options);
    let content = bytes(3, 50_000);
    let name = key("models/b.stl");

    server.set_online(false).unwrap();
    store.head(&name).await.unwrap_err();
    assert!(!store.is_available());
    let mut upload = storage
        .upload(&name, WriteOptions::default())
        .await
        .unwrap();
    upload.write(content.clone()).await.unwrap();
    let stored = upload.finish().await.unwrap();
    assert!(stored.placements[0].1.is_ok());
    let refused = stored.placements[1].1.as_ref().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    let got = storage.get(&name, None).await.unwrap();
    assert!(got.bytes().await.unwrap() == content);

    server.set_online(true).unwrap();
    let recovered = guarded.recovered.notified();
    let asks = async {
        while !store.is_available() {
            tokio::time::sleep(SHORT).await;
        }
    };
    let back = tokio::time::timeout(Duration::from_secs(20), asks).await;
    assert!(back.is_ok(), "the bucket was not taken back");
    recovered.await;
    storage
        .put(&name, content.clone(), WriteOptions::default())
        .await
        .unwrap();
    assert_eq!(server.body(name.as_str()), Some(content));
}

#[tokio::test]
async fn one_odd_object_does_not_take_the_bucket_out() {
    let guarded = Guarded::new(LONG).await;
    let (store, server) = (&guarded.store, &guarded.bucket.server);
    let hang = Fault::new(Operation::GetObject, FaultAction::Hang);
    server.fault(hang.key_prefix(ODD).forever());
    let odd = tokio::spawn({
        let store = Arc::clone(store);
        async move { store.get(&key(ODD), None).await.map(drop) }
    });
    let is_under_way = || server.count(Operation::GetObject) == 1;
    support::eventually("the odd object is asked for", is_under_way).await;
    store.head(&key(KEY)).await.unwrap();
    let error = odd.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(store.is_available());

    // The same where its bytes never come to their end.
    server.clear_faults();
    let reset = Fault::new(
        Operation::GetObject,
        FaultAction::ResetAfterResponseBytes(1_000),
    );
    server.fault(reset.key_prefix(ODD).forever());
    for _ in 0..5 {
        let odd = store.get(&key(ODD), None).await.unwrap();
        store.head(&key(KEY)).await.unwrap();
        let error = collect(odd.stream).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(store.is_available());
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_opens_it() {
    for operation in [Operation::GetObject, Operation::ListObjectsV2] {
        let guarded = Guarded::new(LONG).await;
        let (store, server) = (&guarded.store, &guarded.bucket.server);
        let action = match operation {
            Operation::GetObject => FaultAction::ResetAfterResponseBytes(1_000),
            _ => FaultAction::internal_error(),
        };
        server.fault(Fault::new(operation, action).forever());
        let error = match operation {
            Operation::GetObject => {
                let got = store.get(&key(KEY), None).await.unwrap();
                collect(got.stream).await.unwrap_err()
            }
            _ => {
                let list = store.list(&KeyPrefix::all());
                list.try_collect::<Vec<_>>().await.unwrap_err()
            }
        };
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{operation:?}");
        assert!(guarded.is_open(), "{operation:?}");
    }
}

#[tokio::test]
async fn an_upload_that_dies_opens_it() {
    let guarded = Guarded::new(LONG).await;
    let broken = FaultAction::internal_error();
    let fault = Fault::new(Operation::PutObject, broken).forever();
    guarded.bucket.server.fault(fault);
    let content = bytes(4, 1_000);
    let options = WriteOptions::default();
    let writer = guarded.store.writer(&key("temp/w"), options).await;
    let mut writer = writer.unwrap();
    writer.write(content.clone()).await.unwrap();
    assert!(!guarded.is_open());
    let facts = stockroom_storage::Facts::of(&content);
    writer.finish(&facts).await.unwrap_err();
    assert!(guarded.is_open());
}

#[tokio::test]
async fn opening_and_closing_are_logged_once() {
    let lines = Lines::default();
    let collector = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::INFO)
        .with_writer({
            let lines = lines.clone();
            move || lines.clone()
        });
    let _logging = tracing::subscriber::set_default(collector.finish());
    let guarded = Guarded::new(SHORT).await;
    let (store, server) = (&guarded.store, &guarded.bucket.server);

    server.set_online(false).unwrap();
    let first = store.head(&key(KEY)).await.unwrap_err();
    for _ in 0..10 {
        store.head(&key(KEY)).await.unwrap_err();
    }
    server.set_online(true).unwrap();
    let asks = async {
        while !store.is_available() {
            tokio::time::sleep(SHORT).await;
        }
    };
    let back = tokio::time::timeout(Duration::from_secs(20), asks).await;
    assert!(back.is_ok(), "the bucket was not taken back");
    store.head(&key(KEY)).await.unwrap();

    let lines = lines.about("a store ");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains(" WARN ") && lines[0].contains("does not answer"));
    assert!(lines[1].contains(" INFO ") && lines[1].contains("answers again"));
    for line in &lines {
        assert!(line.contains("store=s3"), "{line}");
        assert!(line.contains(&first.to_string()), "{line}");
    }
}

/// Keeps what is logged.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    fn about(&self, what: &str) -> Vec<String> {
        let bytes = self.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        let lines = text.lines().filter(|line| line.contains(what));
        lines.map(str::to_owned).collect()
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
