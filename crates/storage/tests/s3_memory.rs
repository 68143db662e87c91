//! How much memory large objects take, measured by the system. Each test is a process of its own
//! under nextest; the bodies are large and nothing of them is kept on either side.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod s3_support;

use bytes::Bytes;
use chaos_s3::Options;
use futures::TryStreamExt as _;
use s3_support::{Bench, key, writer};
use stockroom_storage::{ContentHasher, Store as _};

const OBJECT_BYTES: u64 = 256 << 20;
const PIECE_BYTES: u64 = 512 << 10;
const LIMIT_BYTES: u64 = 64 << 20;

/// The most memory this process ever had, in bytes (`proc_pid_status(5)`).
fn peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() << 10
}

#[tokio::test]
async fn a_large_upload_and_download_take_little_memory() {
    let bench = Bench::start_with(Options::default().discard_bodies(), |config| {
        config.part_bytes = 8 << 20;
        // The server shares the machine with everything else that is tested.
        config.timeouts = stockroom_storage::S3Timeouts::default();
    })
    .await;
    let before = peak_bytes();
    let mut writer = writer(&bench.store, "models/a").await;
    let mut hasher = ContentHasher::new();
    for _ in 0..OBJECT_BYTES / PIECE_BYTES {
        // A new buffer each time, as a connection would give. It holds no zeros: the system lends
        // those out without memory.
        let piece = Bytes::from(vec![1; PIECE_BYTES as usize]);
        hasher.update(&piece);
        writer.write(piece).await.unwrap();
    }
    writer.finish(&hasher.finish()).await.unwrap();
    let uploaded = peak_bytes() - before;
    assert!(
        uploaded < LIMIT_BYTES,
        "the upload took {} MiB",
        uploaded >> 20
    );

    let mut got = bench.store.get(&key("models/a"), None).await.unwrap();
    let mut received_bytes = 0;
    while let Some(bytes) = got.stream.try_next().await.unwrap() {
        received_bytes += bytes.len() as u64;
    }
    assert_eq!(received_bytes, OBJECT_BYTES);
    let both = peak_bytes() - before;
    assert!(both < LIMIT_BYTES, "with the download {} MiB", both >> 20);
    println!(
        "upload {} MiB, with download {} MiB",
        uploaded >> 20,
        both >> 20
    );
}
