//! A store behind its breaker: what opens it, what closes it, and what it costs meanwhile.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, ending with a panic is how it fails"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use stockroom_domain::ManualClock;
use stockroom_storage::{
    Breaker, Error, ErrorKind, Facts, GuardOptions, GuardedStore, Identity, KeyPrefix, Operation,
    SignRequest, Store, Timestamp, WriteOptions,
};
use support::{Faults, Faulty, Folder, Trouble, bytes, collect, key};
use tokio::sync::Notify;
use tokio::time::{Instant, advance};

const KEY: &str = "models/a.stl";
const REFUSED: &str = "the store failed a moment ago and is being probed";

/// A folder with faults around it, behind a breaker.
struct Guarded {
    folder: Folder,
    faulty: Arc<Faulty>,
    clock: Arc<ManualClock>,
    recovered: Arc<Notify>,
    store: Arc<GuardedStore>,
}

impl Guarded {
    /// With an object under [`KEY`].
    async fn new() -> Self {
        let guarded = Self::with(|_| {});
        guarded.folder.put(KEY, &bytes(1, 1_000)).await;
        guarded
    }

    fn with(change: impl FnOnce(&mut GuardOptions)) -> Self {
        let folder = Folder::new();
        let faulty = support::renamed("s3", folder.store.clone());
        let clock = Arc::new(ManualClock::new(Timestamp::from_unix_ms(1_000)));
        let recovered = Arc::new(Notify::new());
        let probe_key = key("models/.stockroom/store-id");
        let mut options = GuardOptions::new(clock.clone(), probe_key, recovered.clone());
        change(&mut options);
        Self {
            store: GuardedStore::new(faulty.clone(), options),
            folder,
            faulty,
            clock,
            recovered,
        }
    }

    fn is_open(&self) -> bool {
        self.store.health().breaker.is_open()
    }

    async fn head(&self) -> Result<(), Error> {
        self.store.head(&key(KEY)).await.map(drop)
    }

    /// Every head fails from now on, and one did.
    async fn open(&self) {
        self.faulty.set(head_fails(ErrorKind::Unavailable));
        self.head().await.unwrap_err();
        assert!(self.is_open());
    }

    /// Runs everything that can run now.
    async fn settle(&self) {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    /// Whether asking starts a probe now.
    async fn probes(&self) -> bool {
        let before = self.faulty.heads();
        assert!(!self.store.is_available());
        self.settle().await;
        self.faulty.heads() > before
    }
}

fn head_fails(kind: ErrorKind) -> Faults {
    Faults {
        head: Some(kind),
        ..Faults::default()
    }
}

/// The bytes go wrong in the middle.
fn read_fails(kind: ErrorKind) -> Faults {
    Faults {
        read: Some((500, Trouble::Error(kind))),
        ..Faults::default()
    }
}

fn plain() -> WriteOptions {
    WriteOptions::default()
}

/// Each kind of call, and how it ends.
async fn every_call(store: &GuardedStore) -> Vec<(&'static str, Result<(), Error>)> {
    let name = key("temp/every-call");
    let list: Result<Vec<_>, _> = store.list(&KeyPrefix::all()).try_collect().await;
    vec![
        ("writer", store.writer(&name, plain()).await.map(drop)),
        (
            "put",
            store.put(&name, bytes(2, 9), plain()).await.map(drop),
        ),
        ("get", store.get(&key(KEY), None).await.map(drop)),
        ("head", store.head(&key(KEY)).await.map(drop)),
        ("exists", store.exists(&key(KEY)).await.map(drop)),
        ("list", list.map(drop)),
        ("delete", store.delete(&name).await),
    ]
}

#[tokio::test(start_paused = true)]
async fn while_it_is_open_every_call_fails_at_once() {
    let guarded = Guarded::new().await;
    for (call, result) in every_call(&guarded.store).await {
        assert!(result.is_ok(), "{call}: {result:?}");
    }
    guarded.open().await;
    // The store would answer again, but nobody is let through to it.
    guarded.faulty.set(Faults::default());
    let began = Instant::now();
    for (call, result) in every_call(&guarded.store).await {
        let error = result.expect_err(call);
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{call}");
        assert_eq!(error.detail(), REFUSED, "{call}");
        let is_list = call == "list";
        assert_eq!(error.key().is_none(), is_list, "{call}");
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(!guarded.store.is_available());
    // Signing sends nothing.
    let request = SignRequest::get(Duration::from_secs(60));
    let signed = guarded.store.signed_url(&key(KEY), &request).await.unwrap();
    assert!(signed.url.starts_with(&guarded.folder.base_url));
}

#[tokio::test]
async fn only_an_unanswered_call_opens_it() {
    let guarded = Guarded::new().await;
    let answers = [
        (ErrorKind::NotFound, false),
        (ErrorKind::RangeNotSatisfiable { size_bytes: 7 }, false),
        (ErrorKind::KeyConflict, true),
        (ErrorKind::Full, true),
        (ErrorKind::Denied, true),
        (ErrorKind::Corrupt, true),
        (ErrorKind::Invalid, true),
        (ErrorKind::Unsupported, true),
        (ErrorKind::Other, true),
    ];
    for (kind, is_kept) in answers {
        guarded.faulty.set(head_fails(kind));
        guarded.clock.advance(Duration::from_secs(1));
        assert_eq!(guarded.head().await.unwrap_err().kind(), kind);
        let health = guarded.store.health();
        assert!(!health.breaker.is_open(), "{kind:?}");
        assert_eq!(health.reachable, Some(true), "{kind:?}");
        let kept = health.last_error.map(|error| error.kind);
        assert_eq!(kept == Some(kind), is_kept, "{kind:?}");
        assert_eq!(kept.is_none(), !is_kept, "{kind:?}");
    }
    guarded.faulty.set(head_fails(ErrorKind::Unavailable));
    guarded.head().await.unwrap_err();
    assert!(guarded.is_open());
}

#[tokio::test]
async fn health_tells_what_happened_and_when() {
    let guarded = Guarded::new().await;
    let at = |s: i64| Timestamp::from_unix_ms(s * 1_000);
    let health = guarded.store.health();
    assert_eq!(health.breaker, Breaker::Closed { since: at(1) });
    assert_eq!((health.reachable, health.latency), (None, None));
    assert_eq!((health.last_success_at, &health.last_error), (None, &None));
    assert!(guarded.store.is_available());

    guarded.clock.set(at(2));
    guarded.head().await.unwrap();
    let health = guarded.store.health();
    assert_eq!(health.last_success_at, Some(at(2)));
    assert_eq!(health.reachable, Some(true));
    assert!(health.latency.is_some());

    guarded.clock.set(at(3));
    guarded.open().await;
    guarded.clock.set(at(4));
    guarded.head().await.unwrap_err();
    let health = guarded.store.health();
    assert_eq!(health.breaker, Breaker::Open { since: at(3) });
    assert_eq!(health.breaker.since(), at(3));
    assert_eq!(health.reachable, Some(false));
    assert_eq!(health.last_success_at, Some(at(2)));
    // What the breaker refused is no failure of the store.
    let error = health.last_error.unwrap();
    assert_eq!((error.at, error.operation), (at(3), Operation::Head));
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert_eq!(error.detail, "scripted");
    let shown = format!("{:?}", guarded.store);
    assert!(
        shown.contains("Open") && shown.contains("Unknown"),
        "{shown}"
    );
}

#[tokio::test]
async fn an_error_in_the_middle_of_a_stream_opens_it() {
    for (kind, opens) in [(ErrorKind::Unavailable, true), (ErrorKind::Corrupt, false)] {
        let guarded = Guarded::new().await;
        guarded.faulty.set(read_fails(kind));
        // That the stream could be opened is an answer, but no other call's.
        let got = guarded.store.get(&key(KEY), None).await.unwrap();
        assert!(!guarded.is_open());
        assert_eq!(collect(got.stream).await.unwrap_err().kind(), kind);
        assert_eq!(guarded.is_open(), opens, "{kind:?}");
        let health = guarded.store.health();
        assert_eq!(health.last_error.unwrap().operation, Operation::Get);
        assert_eq!(health.reachable, Some(!opens));
    }
}

#[tokio::test]
async fn an_answer_to_somebody_else_keeps_it_closed() {
    #[derive(Debug, Clone, Copy)]
    enum Meanwhile {
        Nothing,
        Head,
        NotFound,
        Denied,
        StreamOpened,
        StreamEnded,
        StreamDropped,
        ListEnded,
        Written,
        GivenUp,
    }
    use Meanwhile::*;
    let cases = [
        (Nothing, true),
        (Head, false),
        (NotFound, false),
        (Denied, false),
        (StreamOpened, false),
        (StreamEnded, false),
        (StreamDropped, true),
        (ListEnded, false),
        (Written, false),
        (GivenUp, true),
    ];
    for (meanwhile, opens) in cases {
        let guarded = Guarded::new().await;
        let (store, faulty) = (&guarded.store, &guarded.faulty);
        let earlier = store.get(&key(KEY), None).await.unwrap();
        let mut writer = store.writer(&key("temp/w"), plain()).await.unwrap();
        writer.write(bytes(3, 9)).await.unwrap();

        faulty.set(read_fails(ErrorKind::Unavailable));
        let odd = store.get(&key(KEY), None).await.unwrap();
        faulty.set(Faults::default());
        match meanwhile {
            Nothing => {}
            Head => guarded.head().await.unwrap(),
            NotFound => assert!(!store.exists(&key("models/none")).await.unwrap()),
            Denied => {
                faulty.set(head_fails(ErrorKind::Denied));
                guarded.head().await.unwrap_err();
            }
            StreamOpened => drop(store.get(&key(KEY), None).await.unwrap()),
            StreamEnded => drop(earlier.bytes().await.unwrap()),
            StreamDropped => drop(earlier),
            ListEnded => {
                let nothing: Vec<_> = store.list(&"temp/none".parse().unwrap()).collect().await;
                assert_eq!(nothing.len(), 0);
            }
            Written => {
                let written = writer.finish(&Facts::of(&bytes(3, 9))).await;
                written.map(drop).unwrap();
            }
            GivenUp => writer.abort().await,
        }
        odd.bytes().await.unwrap_err();
        assert_eq!(guarded.is_open(), opens, "{meanwhile:?}");
        assert_eq!(store.health().reachable, Some(false), "{meanwhile:?}");
    }
}

#[tokio::test]
async fn a_writer_that_fails_opens_it() {
    let unavailable = Some(ErrorKind::Unavailable);
    let open = Faults {
        open: unavailable,
        ..Faults::default()
    };
    let write = Faults {
        write: Some((5, ErrorKind::Unavailable)),
        ..Faults::default()
    };
    let finish = Faults {
        finish: unavailable,
        ..Faults::default()
    };
    for (step, faults) in [("open", open), ("write", write), ("finish", finish)] {
        let guarded = Guarded::new().await;
        guarded.faulty.set(faults);
        let content = bytes(4, 9);
        let result = async {
            let mut writer = guarded.store.writer(&key("temp/w"), plain()).await?;
            if let Err(error) = writer.write(content.clone()).await {
                writer.abort().await;
                return Err(error);
            }
            writer.finish(&Facts::of(&content)).await
        };
        let error = result.await.unwrap_err();
        assert_eq!(error.detail(), "scripted", "{step}");
        assert!(guarded.is_open(), "{step}");
    }
}

#[tokio::test(start_paused = true)]
async fn probes_come_one_at_a_time_with_growing_waits() {
    let guarded = Guarded::new().await;
    guarded.open().await;
    for wait_s in [1, 2, 4, 5, 5] {
        advance(Duration::from_secs(wait_s) - Duration::from_millis(1)).await;
        assert!(!guarded.probes().await, "earlier than after {wait_s} s");
        advance(Duration::from_millis(1)).await;
        assert!(guarded.probes().await, "after {wait_s} s");
        assert!(guarded.is_open());
        assert!(!guarded.probes().await, "twice after {wait_s} s");
    }
    // A user's call starts one too, and is refused nevertheless.
    advance(Duration::from_secs(5)).await;
    let before = guarded.faulty.heads();
    assert_eq!(guarded.head().await.unwrap_err().detail(), REFUSED);
    guarded.settle().await;
    assert_eq!(guarded.faulty.heads(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_is_given_up_and_the_only_one() {
    let guarded = Guarded::new().await;
    guarded.open().await;
    guarded.faulty.set(Faults {
        head_hangs: true,
        ..Faults::default()
    });
    advance(Duration::from_secs(1)).await;
    assert!(guarded.probes().await);
    let before = guarded.faulty.heads();
    for _ in 0..9 {
        advance(Duration::from_secs(1)).await;
        assert!(!guarded.probes().await);
        assert!(guarded.head().await.is_err());
    }
    advance(Duration::from_secs(1)).await;
    guarded.settle().await;
    let error = guarded.store.health().last_error.unwrap();
    assert_eq!(error.operation, Operation::Probe);
    assert_eq!(error.detail, "no answer to a probe within 10 s");
    assert_eq!(guarded.faulty.heads(), before);
    // The next one is due two seconds after the end of this one.
    assert!(!guarded.probes().await);
    advance(Duration::from_secs(2)).await;
    assert!(guarded.probes().await);
}

#[tokio::test(start_paused = true)]
async fn an_answered_probe_closes_it_and_rings() {
    for answer in [None, Some(ErrorKind::NotFound), Some(ErrorKind::Denied)] {
        let guarded = Guarded::new().await;
        guarded.open().await;
        guarded.faulty.set(Faults {
            head: answer,
            ..Faults::default()
        });
        guarded.clock.advance(Duration::from_secs(1));
        advance(Duration::from_secs(1)).await;
        let recovered = guarded.recovered.notified();
        assert!(guarded.probes().await);
        // The answer is waited for: paused time moves on only if it does not come.
        let rung = tokio::time::timeout(Duration::from_secs(1), recovered).await;
        assert!(rung.is_ok(), "{answer:?}");
        let health = guarded.store.health();
        let since = Timestamp::from_unix_ms(2_000);
        assert_eq!(health.breaker, Breaker::Closed { since }, "{answer:?}");
        assert_eq!(health.reachable, Some(true));
        assert!(guarded.store.is_available());
        guarded.faulty.set(Faults::default());
        guarded.head().await.unwrap();

        // The next time the waits begin anew.
        guarded.open().await;
        advance(Duration::from_secs(1)).await;
        assert!(guarded.probes().await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_from_before_the_outage_neither_closes_nor_opens_it() {
    let guarded = Guarded::new().await;
    let good = guarded.store.get(&key(KEY), None).await.unwrap();
    guarded.faulty.set(read_fails(ErrorKind::Unavailable));
    let bad = guarded.store.get(&key(KEY), None).await.unwrap();
    guarded.open().await;
    // Bytes that were under way may come to their end after the store is gone.
    good.bytes().await.unwrap();
    assert!(guarded.is_open());
    guarded.faulty.set(Faults::default());
    advance(Duration::from_secs(1)).await;
    assert!(guarded.probes().await);
    guarded.recovered.notified().await;
    bad.bytes().await.unwrap_err();
    assert!(!guarded.is_open());
}

#[tokio::test]
async fn a_foreign_store_is_read_and_never_changed() {
    let guarded = Guarded::new().await;
    let store = &guarded.store;
    assert_eq!(store.identity(), Identity::Unknown);
    store.set_identity(Identity::Ours);
    assert_eq!(store.identity(), Identity::Ours);
    for (call, result) in every_call(store).await {
        assert!(result.is_ok(), "{call}: {result:?}");
    }
    store.set_identity(Identity::Foreign);
    assert_eq!(store.identity(), Identity::Foreign);
    assert!(!store.is_available());
    for (call, result) in every_call(store).await {
        if ["writer", "put", "delete"].contains(&call) {
            let error = result.expect_err(call);
            assert_eq!(error.kind(), ErrorKind::Denied, "{call}");
            assert!(error.detail().contains("another Stockroom"), "{error}");
            assert!(error.detail().contains("`stockroom verify`"), "{error}");
        } else {
            assert!(result.is_ok(), "{call}: {result:?}");
        }
    }
    assert!(store.delete(&key(KEY)).await.is_err());
    assert!(guarded.folder.path_of(KEY).exists());
    // It is the guard that refused: nothing is wrong with the store.
    assert_eq!(store.health().last_error, None);
    assert_eq!(
        format!("{:?}", store.inner()),
        format!("{:?}", guarded.faulty)
    );
    store.set_identity(Identity::Ours);
    assert!(store.is_available());
}

/// A breaker whose probes are due at once, opened in a runtime of its own.
fn opened_in(runtime: &tokio::runtime::Runtime) -> Guarded {
    let guarded = Guarded::with(|options| {
        options.first_wait = Duration::ZERO;
        options.longest_wait = Duration::ZERO;
    });
    runtime.block_on(guarded.open());
    guarded
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let builder = builder.worker_threads(2).enable_all();
    builder.build().expect("a runtime")
}

#[test]
fn without_a_runtime_nothing_is_probed() {
    let runtime = runtime();
    let guarded = opened_in(&runtime);
    let before = guarded.faulty.heads();
    assert!(!guarded.store.is_available());
    let list = guarded.store.list(&KeyPrefix::all());
    assert_eq!(guarded.faulty.heads(), before);
    runtime.block_on(async {
        assert!(list.try_collect::<Vec<_>>().await.is_err());
        guarded.faulty.set(Faults::default());
        assert!(!guarded.store.is_available());
        guarded.recovered.notified().await;
        assert!(guarded.store.is_available());
    });
}

#[test]
fn a_probe_whose_runtime_ends_is_followed_by_another() {
    let first = runtime();
    let guarded = opened_in(&first);
    guarded.faulty.set(Faults {
        head_hangs: true,
        ..Faults::default()
    });
    first.block_on(async {
        let before = guarded.faulty.heads();
        assert!(!guarded.store.is_available());
        let began = || guarded.faulty.heads() > before;
        support::eventually("the probe has begun", began).await;
    });
    drop(first);
    guarded.faulty.set(Faults::default());
    runtime().block_on(async {
        assert!(!guarded.store.is_available());
        let rung = guarded.recovered.notified();
        let rung = tokio::time::timeout(Duration::from_secs(5), rung).await;
        assert!(rung.is_ok(), "no probe followed");
    });
    assert!(!guarded.is_open());
}

#[test]
fn many_callers_at_once_start_one_probe() {
    let runtime = runtime();
    let guarded = opened_in(&runtime);
    guarded.faulty.set(Faults {
        head_hangs: true,
        ..Faults::default()
    });
    let before = guarded.faulty.heads();
    runtime.block_on(async {
        let callers = (0..200).map(|_| {
            let store = Arc::clone(&guarded.store);
            tokio::spawn(async move { store.head(&key(KEY)).await.is_err() })
        });
        for caller in futures::future::join_all(callers).await {
            assert!(caller.unwrap());
        }
        let began = || guarded.faulty.heads() > before;
        support::eventually("a probe has begun", began).await;
    });
    assert_eq!(guarded.faulty.heads(), before + 1);
}
