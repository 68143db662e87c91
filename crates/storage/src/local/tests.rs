//! What needs a view inside: both ways to resolve a path, and syncs that fail.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use futures::TryStreamExt as _;
use tempfile::TempDir;

use super::sync::scripted;
use super::*;

/// A root with links planted in it, beside a folder that nobody may touch.
struct Planted {
    folder: TempDir,
    store: LocalStore,
}

impl Planted {
    /// `models/` holds `real/object`, links to the file and the folder outside and to what lies
    /// beside them, and a pipe.
    async fn new(resolves_in_kernel: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "secret").unwrap();
        let root = folder.path().join("root");
        let store = LocalStore::open(&root, LocalOptions::default()).unwrap();
        if !resolves_in_kernel {
            #[cfg(target_os = "linux")]
            store.inner.folder.confined.forget_openat2();
        }
        put(&store, "models/real/object", "bytes").await.unwrap();
        let models = root.join("models");
        symlink("../../outside/secret", models.join("file")).unwrap();
        symlink(&outside, models.join("dir")).unwrap();
        symlink("real", models.join("beside")).unwrap();
        symlink("nothing", models.join("dangling")).unwrap();
        symlink("..", models.join("real/up")).unwrap();
        rustix::fs::mkfifoat(
            rustix::fs::CWD,
            models.join("pipe"),
            rustix::fs::Mode::from_raw_mode(0o600),
        )
        .unwrap();
        Self { folder, store }
    }

    /// Nothing outside was changed, and no upload is left.
    async fn assert_untouched(&self) {
        let outside = self.folder.path().join("outside");
        let names: Vec<_> = fs::read_dir(&outside)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["secret"]);
        assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
        assert_eq!(self.store.staged().await.unwrap(), []);
    }
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

async fn put(store: &LocalStore, text: &str, bytes: &'static str) -> Result<Written> {
    let options = WriteOptions::default();
    store.put(&key(text), Bytes::from(bytes), options).await
}

async fn get(store: &LocalStore, text: &str) -> Result<Bytes> {
    store.get(&key(text), None).await?.bytes().await
}

const THROUGH_LINKS: [&str; 4] = [
    "models/dir/secret",
    "models/beside/object",
    "models/dangling/x",
    "models/real/up/real/object",
];

#[tokio::test]
async fn links_are_not_read() {
    for resolves_in_kernel in [true, false] {
        let planted = Planted::new(resolves_in_kernel).await;
        let store = &planted.store;
        let ends_in_link = ["models/file", "models/dir", "models/dangling"];
        for text in THROUGH_LINKS.iter().chain(&ends_in_link) {
            let got = get(store, text).await.unwrap_err();
            assert_eq!(got.kind(), ErrorKind::Denied, "{got}");
            let head = store.head(&key(text)).await.unwrap_err();
            assert_eq!(head.kind(), ErrorKind::Denied, "{head}");
            assert!(store.exists(&key(text)).await.is_err());
        }
        assert_eq!(get(store, "models/real/object").await.unwrap(), "bytes");
        planted.assert_untouched().await;
    }
}

#[tokio::test]
async fn links_are_not_written_through() {
    for resolves_in_kernel in [true, false] {
        let planted = Planted::new(resolves_in_kernel).await;
        let store = &planted.store;
        for text in THROUGH_LINKS {
            let error = put(store, text, "new").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        }
        // A link in the place of the object is replaced itself.
        for text in ["models/file", "models/dir", "models/dangling"] {
            put(store, text, "new").await.unwrap();
            assert_eq!(get(store, text).await.unwrap(), "new");
        }
        assert_eq!(get(store, "models/real/object").await.unwrap(), "bytes");
        planted.assert_untouched().await;
    }
}

#[tokio::test]
async fn links_are_not_deleted_through() {
    for resolves_in_kernel in [true, false] {
        let planted = Planted::new(resolves_in_kernel).await;
        let store = &planted.store;
        for text in THROUGH_LINKS {
            let error = store.delete(&key(text)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        }
        // The link itself is what lies under the key, so it goes.
        for text in ["models/file", "models/dir"] {
            store.delete(&key(text)).await.unwrap();
            assert!(!store.exists(&key(text)).await.unwrap());
        }
        assert_eq!(get(store, "models/real/object").await.unwrap(), "bytes");
        planted.assert_untouched().await;
    }
}

#[tokio::test]
async fn links_are_not_listed() {
    for resolves_in_kernel in [true, false] {
        let planted = Planted::new(resolves_in_kernel).await;
        let store = &planted.store;
        for prefix in ["", "models/", "models/re"] {
            let entries = store.list(&prefix.parse().unwrap());
            let entries: Vec<_> = entries.try_collect().await.unwrap();
            let keys: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
            assert_eq!(keys, ["models/real/object"], "{prefix:?}");
        }
        for prefix in ["models/dir/", "models/beside/o", "models/real/up/real/"] {
            let entries = store.list(&prefix.parse().unwrap());
            let listed: Result<Vec<_>> = entries.try_collect().await;
            assert_eq!(listed.unwrap_err().kind(), ErrorKind::Denied, "{prefix}");
        }
        planted.assert_untouched().await;
    }
}

#[tokio::test]
async fn a_pipe_is_refused_at_once() {
    let planted = Planted::new(true).await;
    let refused = tokio::time::timeout(Duration::from_secs(2), get(&planted.store, "models/pipe"));
    let error = refused.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
}

#[cfg(target_os = "linux")]
fn read_without_waiting(file: &fs::File) -> Result<usize, Errno> {
    let mut bytes = [0; 1];
    let mut buffers = [std::io::IoSliceMut::new(&mut bytes)];
    rustix::io::preadv2(file, &mut buffers, 0, rustix::io::ReadWriteFlags::NOWAIT)
}

/// A file that was just written is at hand, as far as the file system knows how to tell. What may not be
/// read, or is not there, is left to the way that has an answer to it.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_is_at_hand_is_read_without_another_thread() {
    let planted = Planted::new(true).await;
    let (store, root) = (&planted.store, planted.folder.path().join("root"));
    let at_hand = |text: &str, range| store.inner.read_at_hand(&key(text), range);
    let Some((info, range, bytes)) = at_hand("models/real/object", None) else {
        // tmpfs does not know how to read without waiting.
        let file = fs::File::open(root.join("models/real/object")).unwrap();
        assert_eq!(read_without_waiting(&file), Err(Errno::OPNOTSUPP));
        return;
    };
    assert_eq!(
        (info.size_bytes, range, &bytes[..]),
        (5, 0..5, &b"bytes"[..])
    );
    let head = store.head(&key("models/real/object")).await.unwrap();
    assert_eq!(info, head);
    let suffix = at_hand("models/real/object", Some(ByteRange::Suffix(2)));
    let (_, range, bytes) = suffix.expect("a part of it");
    assert_eq!((range, &bytes[..]), (3..5, &b"es"[..]));
    for text in [
        "models/file",
        "models/dir/secret",
        "models/beside/object",
        "models/pipe",
        "models/real",
        "models/nothing",
    ] {
        assert!(at_hand(text, None).is_none(), "{text}");
    }
    assert!(at_hand("models/real/object", Some(ByteRange::From(5))).is_none());

    // As soon as somebody else writes to the file, other bytes are read.
    fs::write(root.join("models/real/object"), "other").unwrap();
    let (_, _, bytes) = at_hand("models/real/object", None).unwrap();
    assert_eq!(&bytes[..], b"other");
    let large = vec![7; usize::try_from(reader::AT_HAND_BYTES).unwrap() + 1];
    store
        .put(&key("models/large"), large.into(), WriteOptions::default())
        .await
        .unwrap();
    assert!(
        at_hand("models/large", None).is_none(),
        "copying it takes too long"
    );
    assert!(at_hand("models/large", Some(ByteRange::Suffix(9))).is_some());
}

#[tokio::test]
async fn linked_folders_of_the_store_are_refused() {
    let planted = Planted::new(true).await;
    let root = planted.folder.path().join("root");
    fs::remove_dir(root.join(".staging")).unwrap();
    symlink("../outside", root.join(".staging")).unwrap();
    let error = put(&planted.store, "models/new", "new").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    let error = planted.store.staged().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");

    let other = planted.folder.path().join("other");
    fs::create_dir(&other).unwrap();
    symlink("../outside", other.join("images")).unwrap();
    let error = LocalStore::open(&other, LocalOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    let outside = fs::read_dir(planted.folder.path().join("outside")).unwrap();
    assert_eq!(outside.count(), 1);

    // The root's own path is the operator's: it may be a link.
    let link = planted.folder.path().join("link");
    symlink("root", &link).unwrap();
    fs::remove_file(root.join(".staging")).unwrap();
    let store = LocalStore::open(&link, LocalOptions::default()).unwrap();
    assert_eq!(get(&store, "models/real/object").await.unwrap(), "bytes");
}

/// Invariant 4: after a sync that failed there is an error, the object is not there, the one it
/// would have replaced is, and nothing is left in between. Each sync of a write fails once.
#[test]
fn a_failed_sync_is_never_acknowledged() {
    for replaces in [false, true] {
        let mut failures = 0;
        loop {
            let folder = tempfile::tempdir().unwrap();
            let store = LocalStore::open(folder.path(), LocalOptions::default()).unwrap();
            let inner = &store.inner;
            let key = key("models/a/b/object");
            if replaces {
                publish_here(inner, &key, b"old").unwrap();
            }
            scripted::fail_after(Some(failures));
            let published = publish_here(inner, &key, b"new");
            if scripted::is_pending() {
                scripted::fail_after(None);
                published.unwrap();
                break;
            }
            let error = published.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Other, "{error}");
            let path = folder.path().join("models/a/b/object");
            if replaces {
                assert_eq!(fs::read(path).unwrap(), b"old");
            } else {
                let models = fs::read_dir(folder.path().join("models")).unwrap();
                assert_eq!(models.count(), 0, "after {failures} syncs");
            }
            assert_eq!(staging::staged(&inner.folder).unwrap(), []);
            // The same call works when the disk does.
            publish_here(inner, &key, b"new").unwrap();
            failures += 1;
        }
        // The file, and the directory it gets its name in; new directories are synced into theirs.
        assert_eq!(failures, if replaces { 2 } else { 4 });
    }
}

#[test]
fn a_delete_that_is_not_durable_is_an_error_and_can_be_repeated() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path(), LocalOptions::default()).unwrap();
    let key = key("models/a/object");
    publish_here(&store.inner, &key, b"old").unwrap();
    for _ in 0..2 {
        scripted::fail_after(Some(0));
        let error = store.inner.delete(&key).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other, "{error}");
    }
    store.inner.delete(&key).unwrap();
    assert!(!folder.path().join("models/a").exists());
}

/// What another process made is not trusted to be on the disk.
#[test]
fn a_directory_that_was_found_is_synced_before_it_is_used() {
    let folder = tempfile::tempdir().unwrap();
    let store = LocalStore::open(folder.path(), LocalOptions::default()).unwrap();
    fs::create_dir_all(folder.path().join("models/a/b")).unwrap();
    scripted::fail_after(Some(1));
    let error = publish_here(&store.inner, &key("models/a/b/object"), b"new").unwrap_err();
    assert!(error.detail().contains("make the directories"), "{error}");
    publish_here(&store.inner, &key("models/a/b/object"), b"new").unwrap();
    // Once it is known, a write costs two syncs.
    scripted::fail_after(Some(2));
    publish_here(&store.inner, &key("models/a/b/other"), b"new").unwrap();
    assert!(scripted::is_pending());
}

/// Publishes on this thread, whose syncs can be scripted.
fn publish_here(inner: &Inner, key: &Key, bytes: &[u8]) -> Result<Written> {
    let options = WriteOptions::default();
    let staged = inner.append(key, None, bytes)?;
    let facts = Facts::of(bytes);
    let attributes = Attributes::new(&options, &facts);
    inner.publish(key, staged, facts.size_bytes, &attributes)
}
