//! Against Garage, an S3 server of other people: what the conformance suite does not ask of every
//! store. Needs the environment that `scripts/dev-garage` prints, prefixed STOCKROOM_TEST_GARAGE_.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod s3_support;

use futures::TryStreamExt as _;
use s3_support::{bytes, eventually_async, garage, key, put, read_all, stream_in, writer};
use stockroom_storage::{ByteRange, ErrorKind, Facts, KeyPrefix, S3Store, Store as _};

/// A prefix that no other test and no earlier run has.
fn place(name: &str) -> String {
    format!("temp/garage-{name}-{}", std::process::id())
}

async fn unfinished(store: &S3Store, prefix: &str) -> usize {
    let prefix: KeyPrefix = prefix.parse().unwrap();
    let uploads: Vec<_> = store
        .unfinished_uploads(&prefix)
        .try_collect()
        .await
        .unwrap();
    uploads.len()
}

#[tokio::test]
async fn parts_become_one_object() {
    let Some(store) = garage() else { return };
    let name = key(&format!("{}/a b+é%.stl", place("parts")));
    let sent = bytes(1, 3 * (5 << 20) + 1);
    let written = stream_in(&store, &name, &sent).await.unwrap();
    assert!(read_all(&store, &name).await.unwrap() == sent);
    let info = store.head(&name).await.unwrap();
    assert_eq!(
        (info.size_bytes, &info.etag),
        (sent.len() as u64, &written.etag)
    );
    let border = 5 << 20;
    let range = ByteRange::Inclusive {
        first: border - 1,
        last: border,
    };
    let got = store
        .get(&name, Some(range))
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert!(got == sent[(5 << 20) - 1..=(5 << 20)]);
    store.delete(&name).await.unwrap();
    assert!(!store.exists(&name).await.unwrap());
}

#[tokio::test]
async fn what_is_given_up_leaves_no_parts() {
    let Some(store) = garage() else { return };
    let place = place("abort");
    let sent = bytes(2, 11 << 20);
    let mut dropped = writer(&store, &format!("{place}/dropped")).await;
    let mut aborted = writer(&store, &format!("{place}/aborted")).await;
    let mut refused = writer(&store, &format!("{place}/refused")).await;
    for writer in [&mut dropped, &mut aborted, &mut refused] {
        writer.write(sent.clone()).await.unwrap();
    }
    assert_eq!(unfinished(&store, &place).await, 3);
    aborted.abort().await;
    let error = refused.finish(&Facts::of(b"other")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    drop(dropped);
    let is_clean = async || unfinished(&store, &place).await == 0;
    eventually_async("no upload is left", is_clean).await;
}

#[tokio::test]
async fn a_bucket_without_versions_is_learned() {
    let Some(store) = garage() else { return };
    // The first deletion of a store that has seen no answer yet: Garage lists no versions.
    let name = key(&format!("{}/a", place("delete")));
    store.delete(&name).await.unwrap();
    put(&store, name.as_str(), bytes(3, 10)).await.unwrap();
    store.delete(&name).await.unwrap();
    assert!(store.head(&name).await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn probes_are_answered() {
    let Some(store) = garage() else { return };
    store.probe_bucket().await.unwrap();
    store.probe_list().await.unwrap();
}
