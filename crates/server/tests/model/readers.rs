//! Readers in the way of writers: no reader sees a mixture of two contents, or less than the
//! response announced.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, Method};
use stockroom::workers::engine;
use stockroom_domain::Sha256Digest;

use crate::dice::{self, Dice};
use crate::support::{Backend, Shop, Who, answer};

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_whole_contents_on_local_disk() {
    read_and_write(Backend::Local, "readers_see_whole_contents_on_local_disk").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_whole_contents_on_s3() {
    read_and_write(Backend::S3, "readers_see_whole_contents_on_s3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_whole_contents_on_both() {
    read_and_write(Backend::Hybrid, "readers_see_whole_contents_on_both").await;
}

const READERS: u64 = 8;
const KEYS: usize = 6;
const READS: u64 = 10_000;
/// The sizes of the contents: most small, some of several chunks, so that a response is still
/// under way when its object is replaced.
const SIZES: [usize; 10] = [
    1, 700, 4_000, 9_000, 20_000, 20_001, 65_536, 150_000, 1_048_576, 2_500_000,
];

/// What the readers met.
#[derive(Debug, Default)]
struct Seen {
    whole: AtomicU64,
    parts: AtomicU64,
    missing: AtomicU64,
    replaced: AtomicU64,
    deleted: AtomicU64,
}

/// All contents that are ever written, by their ETags.
type Contents = BTreeMap<String, Bytes>;

async fn read_and_write(backend: Backend, test: &str) {
    let seed = dice::seed(test, 31);
    // Long enough that no content goes while a request for it is under way, and short enough
    // that the engine removes some of them while others are read.
    let shop = Arc::new(Shop::start_with(backend, &[("DELETE_GRACE", "2s")]).await);
    let contents = Arc::new(contents(seed));
    let seen = Arc::new(Seen::default());
    let engine = tokio::spawn(engine::run(shop.app.clone()));
    for index in 0..KEYS {
        put(&shop, &key(index), content(&contents, index)).await;
    }
    let writers: Vec<_> = (0..KEYS)
        .map(|index| {
            let dice = Dice::of_task(seed, 1_000 + index as u64);
            let all: Vec<Bytes> = contents.values().cloned().collect();
            let writer = write(Arc::clone(&shop), key(index), all, dice, Arc::clone(&seen));
            tokio::spawn(writer)
        })
        .collect();
    let readers: Vec<_> = (0..READERS)
        .map(|task| {
            let dice = Dice::of_task(seed, task);
            let reader = read(
                Arc::clone(&shop),
                Arc::clone(&contents),
                dice,
                Arc::clone(&seen),
            );
            tokio::spawn(reader)
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    for writer in &writers {
        writer.abort();
    }
    for writer in writers {
        assert!(writer.await.unwrap_err().is_cancelled(), "a writer failed");
    }
    shop.app.shutdown.cancel();
    engine.await.unwrap();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "figure: readers on {backend:?}: {READS} reads ({} whole, {} parts, {} of a deleted key), \
         0 mixed, 0 short, during {} replacements and {} deletions",
        count(&seen.whole),
        count(&seen.parts),
        count(&seen.missing),
        count(&seen.replaced),
        count(&seen.deleted),
    );
    assert!(count(&seen.parts) > READS / 8, "{seen:?}");
    assert!(count(&seen.whole) > READS / 8, "{seen:?}");
    assert!(count(&seen.replaced) > 100, "{seen:?}");
    assert!(count(&seen.deleted) > 20, "{seen:?}");
}

fn contents(seed: u64) -> Contents {
    let mut dice = Dice::new(seed);
    let sizes = SIZES.iter().cycle().take(3 * SIZES.len());
    sizes
        .map(|size_bytes| {
            let bytes = dice.noise(*size_bytes);
            (etag(&bytes), bytes)
        })
        .collect()
}

fn content(contents: &Contents, index: usize) -> Bytes {
    contents.values().nth(index).unwrap().clone()
}

fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", Sha256Digest::of(bytes))
}

fn key(index: usize) -> String {
    format!("/v1/objects/models/shared/{index}.bin")
}

/// Replaces, deletes and makes a key again, without end.
async fn write(
    shop: Arc<Shop>,
    key: String,
    contents: Vec<Bytes>,
    mut dice: Dice,
    seen: Arc<Seen>,
) {
    let mut exists = true;
    loop {
        if exists && dice.percent(25) {
            let gone = answer(shop.call(Who::Operator, Method::DELETE, &key)).await;
            assert_eq!(gone.status, 204);
            seen.deleted.fetch_add(1, Ordering::Relaxed);
            exists = false;
        } else {
            put(&shop, &key, dice.pick(&contents)).await;
            seen.replaced.fetch_add(1, Ordering::Relaxed);
            exists = true;
        }
        tokio::time::sleep(Duration::from_millis(dice.below(30))).await;
    }
}

async fn put(shop: &Shop, key: &str, bytes: Bytes) {
    let put = shop.call(Who::Operator, Method::PUT, key).body(bytes);
    answer(put).await.json(201);
}

/// Reads now this key, now that one, whole or in parts.
async fn read(shop: Arc<Shop>, contents: Arc<Contents>, mut dice: Dice, seen: Arc<Seen>) {
    let mut last_etags: BTreeMap<String, String> = BTreeMap::new();
    for _ in 0..READS / READERS {
        let key = key(dice.index(KEYS));
        let mut request = shop.get(Who::Operator, &key);
        let range = dice.percent(60).then(|| any_range(&mut dice));
        if let Some((first, last)) = range {
            request = request.header("range", format!("bytes={first}-{last}"));
        }
        let expected_etag = last_etags.get(&key).filter(|_| dice.percent(40)).cloned();
        if let Some(etag) = &expected_etag {
            request = request.header("if-range", etag);
        }
        let is_slow = dice.percent(3);
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let mut body = Vec::new();
        let mut stream = response.bytes_stream();
        while let Some(piece) = stream.next().await {
            body.extend_from_slice(&piece.expect("the body is whole"));
            if is_slow {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        match status {
            200 => seen.whole.fetch_add(1, Ordering::Relaxed),
            206 => seen.parts.fetch_add(1, Ordering::Relaxed),
            404 => {
                seen.missing.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            // The range begins beyond the end of the content that is there now.
            416 => continue,
            _ => panic!(
                "{key} {range:?}: {status} {}",
                String::from_utf8_lossy(&body)
            ),
        };
        let etag = text(&headers, "etag");
        let content = contents
            .get(&etag)
            .expect("the ETag of a content that was written");
        let part = if status == 206 {
            if let Some(expected) = &expected_etag {
                assert_eq!(
                    *expected, etag,
                    "{key}: a part of another content than If-Range names"
                );
            }
            content_range(
                &headers,
                content.len(),
                range.expect("a part only where one was asked for"),
            )
        } else {
            assert!(
                range.is_none() || expected_etag.is_some_and(|expected| expected != etag),
                "{key}: the whole where a part was asked for"
            );
            0..content.len()
        };
        assert_eq!(
            text(&headers, "content-length"),
            part.len().to_string(),
            "{key}"
        );
        assert_eq!(body.len(), part.len(), "{key}: a short body");
        assert!(
            body == content[part.clone()],
            "{key} {part:?}: other bytes than the ETag says"
        );
        last_etags.insert(key, etag);
    }
}

/// The first and last offset of a range that most contents have.
fn any_range(dice: &mut Dice) -> (u64, u64) {
    let end = dice.pick(&[700, 4_000, 20_000, 1_100_000]);
    let first = dice.below(end);
    (first, first + dice.below(end))
}

/// The range that the response says it holds, which must be the one that was asked for.
fn content_range(headers: &HeaderMap, size_bytes: usize, asked: (u64, u64)) -> Range<usize> {
    let first = usize::try_from(asked.0).unwrap();
    let last = usize::try_from(asked.1).unwrap().min(size_bytes - 1);
    assert_eq!(
        text(headers, "content-range"),
        format!("bytes {first}-{last}/{size_bytes}")
    );
    first..last + 1
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
        .to_owned()
}
