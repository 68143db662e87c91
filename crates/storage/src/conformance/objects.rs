//! Whole objects: written, read, replaced, deleted.

use bytes::Bytes;

use super::{Place, assert_absent, bytes_of, get, keys_of, pieces_of, put};
use crate::{Facts, Metadata, Store, WriteOptions};

const MIB: usize = 1 << 20;

/// One object from its first to its last day.
///
/// # Panics
/// When the store does not keep the contract.
pub async fn put_get_head_delete(store: &dyn Store) {
    let place = Place::new("one");
    let key = place.key("dir/helmet.stl");
    assert_absent(store, &key).await;

    put(store, &key, "solid helmet").await;
    assert_eq!(get(store, &key).await, "solid helmet");
    let head = store.head(&key).await.expect("head");
    assert_eq!(head.size_bytes, 12);
    assert!(store.exists(&key).await.expect("exists"));
    let read = store.get(&key, None).await.expect("get");
    assert_eq!(read.info, head, "get and head say the same");
    assert_eq!(read.range, 0..12);
    let keys = keys_of(store, &place.prefix("")).await;
    assert_eq!(keys, std::slice::from_ref(&key));

    store.delete(&key).await.expect("delete");
    assert_absent(store, &key).await;
    assert_eq!(keys_of(store, &place.prefix("")).await, []);
}

/// Objects around every size at which a store may change its way, put and streamed.
///
/// # Panics
/// When the store does not keep the contract.
pub async fn sizes_round_trip(store: &dyn Store) {
    let place = Place::new("sizes");
    for length in [0, 1, 20_000, MIB - 1, MIB, MIB + 1] {
        let key = place.key(&format!("put-{length}"));
        let bytes = bytes_of(length, 1);
        put(store, &key, bytes.clone()).await;
        assert!(get(store, &key).await == bytes, "put of {length} bytes");
    }
    for length in [0, 1, 20_000, MIB + 1, 9 * MIB, 21 * MIB] {
        let key = place.key(&format!("streamed-{length}"));
        let bytes = bytes_of(length, 2);
        stream(store, &key, &bytes).await;
        assert!(get(store, &key).await == bytes, "stream of {length} bytes");
        let head = store.head(&key).await.expect("head");
        assert_eq!(head.size_bytes, length as u64);
    }
    place.clear(store).await;
}

/// A second object under the same key takes the place of the first, whatever their sizes.
///
/// # Panics
/// When the store does not keep the contract.
pub async fn replaces(store: &dyn Store) {
    let place = Place::new("replace");
    let key = place.key("again");
    let versions = [bytes_of(9 * MIB, 3), Bytes::from("short"), Bytes::new()];
    for bytes in versions.iter().chain(&versions) {
        stream(store, &key, bytes).await;
        assert!(get(store, &key).await == *bytes, "{} bytes", bytes.len());
        assert_eq!(keys_of(store, &place.prefix("")).await.len(), 1);
    }
    place.clear(store).await;
    assert_absent(store, &key).await;
}

/// Deleting what is not there is no error, and what was deleted stays deleted.
///
/// # Panics
/// When the store does not keep the contract.
pub async fn deletes_twice(store: &dyn Store) {
    let place = Place::new("delete");
    let key = place.key("gone");
    store.delete(&key).await.expect("delete of nothing");
    assert_absent(store, &key).await;
    put(store, &key, "a").await;
    put(store, &key, "b").await;
    store.delete(&key).await.expect("first delete");
    store.delete(&key).await.expect("second delete");
    assert_absent(store, &key).await;
    put(store, &key, "c").await;
    assert_eq!(get(store, &key).await, "c");
    place.clear(store).await;
}

/// Media type, metadata and SHA-256 come back as they were given.
///
/// # Panics
/// When the store does not keep the contract.
pub async fn attributes_are_kept(store: &dyn Store) {
    let place = Place::new("attributes");
    let mut metadata = Metadata::default();
    metadata.insert("artist-id", "u 42").expect("metadata");
    metadata
        .insert("asset-id", "\"%C3%BC\" =?x")
        .expect("metadata");
    let small = Bytes::from("cube");
    let big = bytes_of(9 * MIB, 4);
    for (name, bytes) in [("small", small), ("big", big)] {
        let facts = Facts::of(&bytes);
        let options = WriteOptions {
            content_type: Some("model/stl".to_owned()),
            metadata: metadata.clone(),
            size_hint_bytes: Some(facts.size_bytes),
            sha256: Some(facts.sha256),
        };
        let key = place.key(name);
        let put = store.put(&key, bytes, options).await.expect("put");
        let head = store.head(&key).await.expect("head");
        assert_eq!(head.content_type.as_deref(), Some("model/stl"), "{name}");
        assert_eq!(head.metadata, metadata, "{name}");
        assert_eq!(head.sha256, Some(facts.sha256), "{name}");
        assert!(put.etag.is_none() || put.etag == head.etag, "{name}");
        let read = store.get(&key, None).await.expect("get");
        assert_eq!(read.info, head, "{name}");
    }
    let plain = place.key("plain");
    put(store, &plain, "no metadata").await;
    let head = store.head(&plain).await.expect("head");
    assert!(head.metadata.is_empty());
    place.clear(store).await;
}

async fn stream(store: &dyn Store, key: &stockroom_domain::Key, bytes: &Bytes) {
    let options = WriteOptions::default();
    let mut writer = store.writer(key, options).await.expect("writer");
    for piece in pieces_of(bytes) {
        writer.write(piece).await.expect("write");
    }
    writer.finish(&Facts::of(bytes)).await.expect("finish");
}
