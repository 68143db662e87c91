//! What the tests of several stores share: real stores in temporary folders, and faults that are
//! put around them.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, ending with a panic is how it fails"
)]
#![allow(
    dead_code,
    unused_imports,
    reason = "each test file is a crate of its own and uses a part of this"
)]

pub(crate) mod bucket;
pub(crate) mod faulty;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::TryStreamExt as _;
use stockroom_domain::{Entropy as _, SeededEntropy, SystemEntropy};
use stockroom_storage::{
    ByteStream, Doubt, Doubts, Error, Key, KeyPrefix, LocalOptions, LocalStore, SigningKey,
    SigningKeys, Store, UrlSigner, WriteOptions,
};

pub(crate) use bucket::{Bucket, PART_BYTES};
pub(crate) use faulty::{Faults, Faulty, Trouble};

static FOLDERS: AtomicUsize = AtomicUsize::new(0);

pub(crate) fn key(text: &str) -> Key {
    text.parse().expect("a key")
}

/// Bytes in which every piece differs from every other, the same for the same seed.
pub(crate) fn bytes(seed: u64, size_bytes: usize) -> Bytes {
    let mut all = vec![0; size_bytes];
    SeededEntropy::new(seed).fill(&mut all);
    all.into()
}

/// Numbers that repeat themselves for the same seed.
pub(crate) struct Dice(SeededEntropy);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(SeededEntropy::new(seed))
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        usize::try_from(u64::from_le_bytes(bytes) % bound as u64).expect("below a usize")
    }
}

/// Keeps every doubt.
#[derive(Debug, Default)]
pub(crate) struct Doubted(Mutex<Vec<Doubt>>);

impl Doubted {
    pub(crate) fn take(&self) -> Vec<Doubt> {
        std::mem::take(&mut self.0.lock().expect("no panic elsewhere"))
    }
}

impl Doubts for Doubted {
    fn doubt(&self, doubt: &Doubt) {
        self.0
            .lock()
            .expect("no panic elsewhere")
            .push(doubt.clone());
    }
}

/// All bytes of a stream, or its error.
pub(crate) async fn collect(stream: ByteStream) -> Result<Bytes, Error> {
    let pieces: Vec<Bytes> = stream.try_collect().await?;
    Ok(pieces.concat().into())
}

/// The keys that a store lists.
pub(crate) async fn keys(store: &dyn Store) -> Vec<String> {
    let entries: Vec<_> = store
        .list(&KeyPrefix::all())
        .try_collect()
        .await
        .expect("a list");
    let mut keys: Vec<_> = entries
        .into_iter()
        .map(|entry| entry.key.as_str().to_owned())
        .collect();
    keys.sort();
    keys
}

/// A local store in a temporary folder.
pub(crate) struct Folder {
    root: tempfile::TempDir,
    pub(crate) store: Arc<LocalStore>,
    /// What its signed URLs begin with.
    pub(crate) base_url: String,
}

impl Folder {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        let number = FOLDERS.fetch_add(1, Ordering::Relaxed);
        let base_url = format!("http://folder-{number}.test/");
        let signing_key = SigningKey::generate("test", &SystemEntropy).expect("a key");
        let keys = SigningKeys::new(vec![signing_key]).expect("keys");
        let options = LocalOptions::default().signer(UrlSigner::new(keys, &base_url));
        let store = Arc::new(LocalStore::open(root.path(), options).expect("a store"));
        Self {
            root,
            store,
            base_url,
        }
    }

    /// Puts an object into this store alone.
    pub(crate) async fn put(&self, name: &str, content: &Bytes) {
        let put = self
            .store
            .put(&key(name), content.clone(), WriteOptions::default())
            .await;
        put.expect("a put");
    }

    /// The file of an object.
    pub(crate) fn path_of(&self, key: &str) -> PathBuf {
        self.root.path().join(key)
    }

    /// How many files there are, those of unfinished uploads included.
    pub(crate) fn files(&self) -> usize {
        let mut count = 0;
        let mut folders = vec![self.root.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    count += 1;
                }
            }
        }
        count
    }
}

/// The most memory that this process ever had, in bytes.
pub(crate) fn resident_peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1));
    kibibytes
        .and_then(|n| n.parse::<u64>().ok())
        .expect("a number")
        * 1_024
}

/// Waits until `done` holds, at most five seconds.
pub(crate) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..500 {
        if done() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("this did not come true within five seconds: {what}");
}

/// A store under another name, without faults.
pub(crate) fn renamed(name: &str, store: Arc<dyn Store>) -> Arc<Faulty> {
    Arc::new(Faulty::new(name, store))
}
