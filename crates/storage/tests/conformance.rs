//! The conformance suite on every store there is. A store without its row here is not done.
#![expect(
    clippy::expect_used,
    reason = "in a test, ending with a panic is how it fails"
)]

mod s3_support;
mod support;

use std::path::Path;
use std::sync::Arc;

use stockroom_domain::{SystemClock, SystemEntropy};
use stockroom_storage::conformance::{Expectations, all};
use stockroom_storage::{
    Ack, GuardOptions, GuardedStore, HybridOptions, LocalOptions, LocalStore, ReadOrder, S3Store,
    SigningKey, SigningKeys, Storage, Store, UrlSigner,
};

fn local(root: &Path) -> LocalStore {
    let key = SigningKey::generate("test", &SystemEntropy).expect("a key");
    let keys = SigningKeys::new(vec![key]).expect("keys");
    let signer = UrlSigner::new(keys, "http://127.0.0.1:8080");
    LocalStore::open(root, LocalOptions::default().signer(signer)).expect("a folder")
}

#[tokio::test]
async fn a_folder_passes() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = local(folder.path());
    let expectations = Expectations {
        keeps_attributes: store.keeps_metadata(),
        ..Expectations::default()
    };
    all(&store, &expectations).await;
    // Every function removed what it wrote, and no upload is left.
    assert_eq!(store.staged().await.expect("staged"), []);
    let temp = folder.path().join("temp");
    let left = std::fs::read_dir(temp).expect("temp/").count();
    assert_eq!(left, 0, "directories without objects are left");
    assert_eq!(store.name().as_str(), "local");
}

#[tokio::test]
async fn a_hybrid_that_reads_from_the_folder_first_passes() {
    let options = HybridOptions {
        read: ReadOrder::LocalFirst,
        ack: Ack::Any,
    };
    hybrid_passes(chaos_s3::Options::default(), options).await;
}

#[tokio::test]
async fn a_hybrid_that_reads_from_the_bucket_first_passes() {
    let options = HybridOptions {
        read: ReadOrder::S3First,
        ack: Ack::Both,
    };
    hybrid_passes(chaos_s3::Options::b2(), options).await;
}

async fn hybrid_passes(server: chaos_s3::Options, options: HybridOptions) {
    let folder = support::Folder::new();
    // Small pages, so that a list over several of them needs few objects.
    let page_entries = 50;
    let bucket = support::Bucket::start(server.page_size(page_entries)).await;
    let s3 = Arc::new(bucket.store.clone());
    let storage = Storage::hybrid(folder.store.clone(), s3, options);
    let expectations = Expectations {
        keeps_attributes: folder.store.keeps_metadata(),
        page_entries,
        ..Expectations::default()
    };
    all(&storage, &expectations).await;
    assert_eq!(folder.files(), 0);
    // What was dropped is given up in the background.
    let server = &bucket.server;
    let is_clean = || server.all_version_count() == 0 && server.unfinished_uploads().is_empty();
    support::eventually("the bucket is clean", is_clean).await;
}

#[tokio::test]
async fn a_bucket_passes() {
    bucket_passes(chaos_s3::Options::default()).await;
}

#[tokio::test]
async fn a_bucket_with_versions_passes() {
    bucket_passes(chaos_s3::Options::versioned()).await;
}

#[tokio::test]
async fn a_bucket_as_strict_as_backblaze_passes() {
    bucket_passes(chaos_s3::Options::b2()).await;
}

#[tokio::test]
async fn a_guarded_folder_passes() {
    let folder = support::Folder::new();
    let store = guarded(folder.store.clone());
    let expectations = Expectations {
        keeps_attributes: folder.store.keeps_metadata(),
        ..Expectations::default()
    };
    all(&*store, &expectations).await;
    assert_eq!(folder.files(), 0);
    assert!(store.is_available());
}

#[tokio::test]
async fn a_guarded_bucket_passes() {
    let mut guard = None;
    bucket_passes_as(chaos_s3::Options::b2(), |store| {
        let store = guarded(Arc::new(store));
        guard = Some(Arc::clone(&store));
        store
    })
    .await;
    assert!(guard.expect("a guard").is_available());
}

fn guarded(store: Arc<dyn Store>) -> Arc<GuardedStore> {
    let probe_key = "models/.stockroom/store-id".parse().expect("a key");
    let options = GuardOptions::new(Arc::new(SystemClock), probe_key, Arc::default());
    GuardedStore::new(store, options)
}

async fn bucket_passes(options: chaos_s3::Options) {
    bucket_passes_as(options, |store| Arc::new(store)).await;
}

async fn bucket_passes_as(
    options: chaos_s3::Options,
    wrap: impl FnOnce(S3Store) -> Arc<dyn Store>,
) {
    // Small pages, so that a list over several of them needs few objects.
    let page_entries = 50;
    let options = options.page_size(page_entries);
    let bench = s3_support::Bench::start_with(options, |config| {
        config.part_bytes = chaos_s3::B2_MIN_PART_SIZE_BYTES;
        config.timeouts = stockroom_storage::S3Timeouts::default();
    })
    .await;
    let expectations = Expectations {
        page_entries,
        fetch: Some(s3_support::fetch()),
        ..Expectations::default()
    };
    let store = wrap(bench.store.clone());
    all(&*store, &expectations).await;
    let server = &bench.server;
    let is_clean = || server.all_version_count() == 0 && server.unfinished_uploads().is_empty();
    s3_support::eventually("the bucket is clean", is_clean).await;
}

#[tokio::test]
async fn garage_passes() {
    let Some(store) = s3_support::garage() else {
        return;
    };
    let expectations = Expectations {
        fetch: Some(s3_support::fetch()),
        ..Expectations::default()
    };
    all(&store, &expectations).await;
}
