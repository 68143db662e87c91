//! Objects that are not finished, or should not be.

use bytes::Bytes;

use super::{Place, assert_absent, bytes_of, get, keys_of, put};
use crate::{ErrorKind, Facts, ObjectWriter, Store, WriteOptions};

/// Few enough for one request, and enough that a store with parts has sent some.
const LENGTHS: [usize; 2] = [1_000, 12 << 20];

/// An object appears when it is finished, not before.
///
/// # Panics
/// When the store does not keep the contract.
pub async fn nothing_is_visible_before_finish(store: &dyn Store) {
    let place = Place::new("before");
    for length in LENGTHS {
        let key = place.key(&format!("object-{length}"));
        let bytes = bytes_of(length, 6);
        let writer = begun(store, &key, &bytes).await;
        assert_absent(store, &key).await;
        assert_eq!(keys_of(store, &place.prefix("")).await, []);
        writer.finish(&Facts::of(&bytes)).await.expect("finish");
        assert!(get(store, &key).await == bytes);
        place.clear(store).await;
    }
}

/// Aborting and dropping a writer leave nothing, and leave alone what was there.
///
/// # Panics
/// When the store does not keep the contract.
pub async fn given_up_writes_leave_nothing(store: &dyn Store) {
    let place = Place::new("given-up");
    for length in LENGTHS {
        let bytes = bytes_of(length, 7);
        let (aborted, dropped) = (place.key("aborted"), place.key("dropped"));
        begun(store, &aborted, &bytes).await.abort().await;
        drop(begun(store, &dropped, &bytes).await);
        let untouched = store.writer(&aborted, WriteOptions::default()).await;
        untouched.expect("writer").abort().await;
        assert_absent(store, &aborted).await;
        assert_absent(store, &dropped).await;
        assert_eq!(keys_of(store, &place.prefix("")).await, []);

        put(store, &aborted, "old").await;
        begun(store, &aborted, &bytes).await.abort().await;
        drop(begun(store, &aborted, &bytes).await);
        assert_eq!(get(store, &aborted).await, "old");
        place.clear(store).await;
    }
}

/// An object whose length is not the promised one is not published.
///
/// # Panics
/// When the store does not keep the contract.
pub async fn wrong_facts_publish_nothing(store: &dyn Store) {
    let place = Place::new("wrong");
    let kept = place.key("kept");
    put(store, &kept, "old").await;
    for length in LENGTHS {
        let bytes = bytes_of(length, 8);
        for wrong in [bytes.slice(1..), Bytes::new(), bytes_of(length + 1, 8)] {
            let facts = Facts::of(&wrong);
            for key in [&place.key("new"), &kept] {
                let finished = begun(store, key, &bytes).await.finish(&facts).await;
                let error = finished.expect_err("wrong facts");
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            }
        }
    }
    assert_absent(store, &place.key("new")).await;
    assert_eq!(get(store, &kept).await, "old");
    assert_eq!(keys_of(store, &place.prefix("")).await, [kept]);
    place.clear(store).await;
}

async fn begun(
    store: &dyn Store,
    key: &stockroom_domain::Key,
    bytes: &Bytes,
) -> Box<dyn ObjectWriter> {
    let mut writer = store
        .writer(key, WriteOptions::default())
        .await
        .expect("writer");
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        let piece = rest.split_to(rest.len().min(100_000));
        writer.write(piece).await.expect("write");
    }
    writer
}
