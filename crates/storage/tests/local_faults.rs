//! A folder under bad conditions: a full disk, a killed process, files that change meanwhile.
#![expect(
    clippy::unwrap_used,
    reason = "in a test, ending with a panic is how it fails"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use stockroom_storage::{
    ErrorKind, Facts, Key, KeyPrefix, LocalOptions, LocalStore, Store, WriteOptions,
};

fn open(root: &Path) -> LocalStore {
    LocalStore::open(root, LocalOptions::default()).unwrap()
}

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

async fn put(store: &LocalStore, text: &str, bytes: impl Into<Bytes>) {
    let options = WriteOptions::default();
    store.put(&key(text), bytes.into(), options).await.unwrap();
}

async fn keys(store: &LocalStore) -> Vec<String> {
    let entries = store.list(&KeyPrefix::all());
    let keys = entries.map_ok(|entry| entry.key.to_string());
    keys.try_collect().await.unwrap()
}

/// A file system in memory that is unmounted at the end.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// `None` where mounting is not allowed.
    fn mount(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "stockroom-test"])
            .arg(folder.path())
            .stderr(Stdio::null())
            .status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(folder));
        }
        println!("skipped: mounting a small tmpfs is not allowed here (it needs root)");
        None
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.unwrap().success(), "umount");
    }
}

/// Invariant 4 for a full disk: a clean error, nothing visible, no upload left, and room again.
#[tokio::test]
async fn a_full_disk_is_said_and_leaves_nothing() {
    let Some(disk) = Tmpfs::mount("size=2m") else {
        return;
    };
    let store = open(disk.0.path());
    put(&store, "models/kept", "kept").await;
    let free_bytes = store.free_bytes().await.unwrap();
    assert!((1 << 20..=2 << 20).contains(&free_bytes), "{free_bytes}");

    let options = WriteOptions::default();
    let big = Bytes::from(vec![7; 3 << 20]);
    for name in ["models/kept", "models/new/big"] {
        let error = store.put(&key(name), big.clone(), options.clone()).await;
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Full);

        let mut writer = store.writer(&key(name), options.clone()).await.unwrap();
        let mut failed = None;
        for piece in std::iter::repeat_n(big.slice(..100_000), 31) {
            failed = failed.or(writer.write(piece).await.err());
        }
        let finished = writer.finish(&Facts::of(&vec![7; 3_100_000])).await;
        let failed = failed.or(finished.err()).unwrap();
        assert_eq!(failed.kind(), ErrorKind::Full, "{failed}");
    }
    assert_eq!(store.staged().await.unwrap(), []);
    assert_eq!(store.free_bytes().await.unwrap(), free_bytes);
    assert_eq!(keys(&store).await, ["models/kept"]);
    let kept = store.get(&key("models/kept"), None).await.unwrap();
    assert_eq!(kept.bytes().await.unwrap(), "kept");
    put(&store, "models/small", "there is room for this").await;
}

/// The disk has room for bytes but not for names: the directories of the object fail.
#[tokio::test]
async fn a_disk_without_room_for_names_is_full_too() {
    let Some(disk) = Tmpfs::mount("size=2m,nr_inodes=12") else {
        return;
    };
    let store = open(disk.0.path());
    let deep = key("models/1/2/3/4/5/6/7/8/9/object");
    let options = WriteOptions::default();
    let error = store.put(&deep, "x".into(), options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert_eq!(store.staged().await.unwrap(), []);
    let models = std::fs::read_dir(disk.0.path().join("models")).unwrap();
    assert_eq!(models.count(), 0, "directories are left");
    put(&store, "models/1/object", "x").await;
}

/// A process that is killed on drop, also when the test fails.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn what_a_killed_process_leaves_is_found_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "child_that_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .env("STOCKROOM_TEST_CHILD_ROOT", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut child = Killed(child);
    let lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let is_ready = lines
        .map_while(Result::ok)
        .any(|line| line.ends_with("ready"));
    assert!(is_ready, "the child ended");

    // Another process writes: its file may not be touched.
    let store = open(folder.path());
    let [live] = <[_; 1]>::try_from(store.staged().await.unwrap()).unwrap();
    assert!(live.is_in_use && live.size_bytes > 0, "{live:?}");
    assert!(live.name.ends_with("-helmet.stl"), "{live:?}");
    assert!(!store.remove_staged(&live.name).await.unwrap());

    drop(child);
    let [left] = <[_; 1]>::try_from(store.staged().await.unwrap()).unwrap();
    assert!(!left.is_in_use);
    assert_eq!(left.name, live.name);
    assert_eq!(keys(&store).await, ["models/acknowledged"]);
    assert!(store.remove_staged(&left.name).await.unwrap());
    assert!(
        store.remove_staged(&left.name).await.unwrap(),
        "gone is gone"
    );
    assert_eq!(store.staged().await.unwrap(), []);
    for name in ["", "../models/acknowledged", "/etc/passwd", ".", ".."] {
        assert!(store.remove_staged(name).await.is_err(), "{name:?}");
    }
    assert_eq!(keys(&store).await, ["models/acknowledged"]);
}

/// Not a test by itself: the process that the test above kills.
#[tokio::test]
#[ignore = "it is run by what_a_killed_process_leaves_is_found_and_removed"]
async fn child_that_is_killed() {
    let Some(root) = std::env::var_os("STOCKROOM_TEST_CHILD_ROOT") else {
        return;
    };
    let store = open(Path::new(&root));
    put(&store, "models/acknowledged", "whole").await;
    let options = WriteOptions::default();
    let mut writer = store.writer(&key("models/helmet.stl"), options).await;
    let writer = writer.as_mut().unwrap();
    for _ in 0..4 {
        writer.write(vec![1; 1 << 20].into()).await.unwrap();
    }
    println!("ready");
    std::io::stdout().flush().unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_file_that_is_cut_while_it_is_read_is_no_whole_object() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    put(&store, "models/a", vec![5; 4 << 20]).await;
    let mut read = store.get(&key("models/a"), None).await.unwrap();
    let first = read.stream.next().await.unwrap().unwrap();
    assert!(first.iter().all(|byte| *byte == 5));
    let path = folder.path().join("models/a");
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(1 << 20).unwrap();
    let rest: Result<Vec<_>, _> = read.stream.try_collect().await;
    assert_eq!(rest.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn an_empty_directory_that_a_crash_left_is_no_conflict() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    std::fs::create_dir(folder.path().join("models/a")).unwrap();
    put(&store, "models/a", "object").await;
    assert_eq!(keys(&store).await, ["models/a"]);

    put(&store, "models/b/c", "object").await;
    let options = WriteOptions::default();
    for (text, taken) in [("models/b", "a directory"), ("models/a/x", "a file")] {
        let error = store.put(&key(text), "x".into(), options.clone()).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::KeyConflict, "{taken}: {error}");
    }
    assert_eq!(store.staged().await.unwrap(), []);
}

#[tokio::test]
async fn files_that_other_programs_put_there_are_objects() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let models = folder.path().join("models");
    std::fs::write(models.join("adopted.stl"), "solid").unwrap();
    std::fs::write(models.join("no\nkey"), "x").unwrap();
    std::fs::write(models.join("no\\key"), "x").unwrap();
    std::fs::write(folder.path().join("stray"), "x").unwrap();
    assert_eq!(keys(&store).await, ["models/adopted.stl"]);
    let head = store.head(&key("models/adopted.stl")).await.unwrap();
    assert_eq!((head.size_bytes, head.sha256), (5, None));
    assert_eq!(head.content_type, None);
}

#[tokio::test]
async fn files_and_folders_are_not_for_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("made/by/us");
    let store = open(&root);
    put(&store, "models/dir/a", "x").await;
    for path in ["models/dir/a", "models/dir", "models", ".staging", ""] {
        let mode = std::fs::metadata(root.join(path)).unwrap().mode();
        assert_eq!(mode & 0o027, 0, "{path} has mode {mode:o}");
    }
}

/// Pieces below, at and above the size that goes to the disk at once.
#[tokio::test]
async fn pieces_of_any_size_arrive_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let bytes: Bytes = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    for lengths in [
        [1_000, 3],
        [600_000, 1],
        [524_288, 524_287],
        [2_000_000, 100_000],
    ] {
        let options = WriteOptions::default();
        let mut writer = store.writer(&key("models/a"), options).await.unwrap();
        let mut rest = bytes.clone();
        for length in lengths.into_iter().cycle() {
            writer
                .write(rest.split_to(rest.len().min(length)))
                .await
                .unwrap();
            if rest.is_empty() {
                break;
            }
        }
        writer.finish(&Facts::of(&bytes)).await.unwrap();
        let read = store.get(&key("models/a"), None).await.unwrap();
        assert!(read.bytes().await.unwrap() == bytes, "{lengths:?}");
    }
}

/// Directories are removed when they become empty and made when they are needed, by many threads
/// at once. No write may fail for it, and nothing that was acknowledged may be missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn directories_come_and_go_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let workers = (0..8).map(|worker| {
        let store = store.clone();
        tokio::spawn(async move {
            let name = format!("models/shared/deep/{worker}");
            for round in 0..150 {
                let bytes = format!("{worker} in round {round}");
                put(&store, &name, bytes.clone()).await;
                let read = store.get(&key(&name), None).await.unwrap();
                assert_eq!(read.bytes().await.unwrap(), bytes);
                store.delete(&key(&name)).await.unwrap();
            }
        })
    });
    futures::future::try_join_all(workers).await.unwrap();
    assert_eq!(keys(&store).await, [""; 0]);
    let models = std::fs::read_dir(folder.path().join("models")).unwrap();
    assert_eq!(models.count(), 0);
}
