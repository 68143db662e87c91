//! Finding objects by the beginning of their keys.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use stockroom_domain::Key;

use super::{CONCURRENT_CALLS, Place, keys_of, list_of, put};
use crate::Store;

/// A prefix may end anywhere, also within a segment, and finds exactly what begins with it.
///
/// # Panics
/// When the store does not keep the contract.
pub async fn lists_by_prefix(store: &dyn Store) {
    let place = Place::new("prefix");
    let mut keys: Vec<Key> = ["a", "ab", "abc/d", "abc/de/f", "abd", "b/a", "é/ü"]
        .into_iter()
        .map(|name| place.key(name))
        .collect();
    let long = "l".repeat(300);
    keys.push(place.key(&format!("{long}/x")));
    keys.push(place.key(&format!("{long}y")));
    for (index, key) in keys.iter().enumerate() {
        put(store, key, vec![0; index]).await;
    }
    let ends = [
        "",
        "a",
        "ab",
        "abc",
        "abc/",
        "abc/d",
        "abc/de",
        "abc/de/",
        "b",
        "b/",
        "c",
        "c/d/",
        "é/",
        "l",
        &long[..255],
        &long,
        &format!("{long}/"),
        &format!("{long}y"),
        &format!("{long}z"),
    ];
    for end in ends {
        let prefix = place.prefix(end);
        let mut expected: Vec<&Key> = keys.iter().filter(|key| prefix.matches(key)).collect();
        expected.sort();
        let found = keys_of(store, &prefix).await;
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{end:?}");
    }
    for entry in list_of(store, &place.prefix("")).await {
        let index = keys.iter().position(|key| *key == entry.key);
        assert_eq!(Some(entry.size_bytes as usize), index, "{}", entry.key);
        let head = store.head(&entry.key).await.expect("head");
        // S3 gives whole seconds in one answer and milliseconds in the other.
        let apart_ms = (entry.modified_at.unix_ms() - head.modified_at.unix_ms()).abs();
        assert!(apart_ms < 1_000, "{}", entry.key);
    }
    place.clear(store).await;
}

/// A list that fits neither one page of `page_entries` nor two has every object once.
///
/// # Panics
/// When the store does not keep the contract.
pub async fn lists_many(store: &dyn Store, page_entries: usize) {
    let place = Place::new("many");
    let many = 2 * page_entries + page_entries / 2;
    let keys: BTreeSet<Key> = (0..many)
        .map(|n| place.key(&format!("dir-{}/object-{n:04}", n % 3)))
        .collect();
    futures::stream::iter(&keys)
        .for_each_concurrent(CONCURRENT_CALLS, |key| put(store, key, "x"))
        .await;
    let found = keys_of(store, &place.prefix("")).await;
    assert_eq!(found.len(), many, "each once");
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), keys);
    let prefix = place.prefix("dir-1/object-1");
    let part = keys_of(store, &prefix).await;
    assert!(
        part.iter()
            .eq(keys.iter().filter(|key| prefix.matches(key)))
    );
    place.clear(store).await;
}
