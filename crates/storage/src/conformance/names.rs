//! Keys that a store could take for something else.

use stockroom_domain::{Key, MAX_KEY_BYTES};

use super::{Place, assert_absent, get, keys_of, put};
use crate::{ErrorKind, Store, WriteOptions};

/// Spaces, signs with a meaning in URLs, letters in two forms of Unicode, long segments and the
/// longest key: each is an object of its own, and lists show it as it is.
///
/// # Panics
/// When the store does not keep the contract.
pub async fn odd_keys_are_kept_as_they_are(store: &dyn Store) {
    let place = Place::new("names");
    let mut keys: Vec<Key> = [
        "plain",
        "a space",
        " leading and trailing ",
        "100%",
        "%2F",
        "%2e%2e",
        "a+b",
        "a b+c%20d",
        "what?",
        "a#b",
        "a&b=c;d",
        "'single' \"double\" `back`",
        "<tag>|*:!$@~^,()[]{}",
        ".hidden",
        "...",
        "-rf",
        "Plain",
        "Grüße, 世界 🦀",
        "caf\u{e9}",
        "cafe\u{301}",
        "dir/with/many/segments",
        "dir/with space/and%2Fpercent",
    ]
    .into_iter()
    .map(|name| place.key(name))
    .collect();
    for length in [254, 255, 256, 300, 600] {
        keys.push(place.key(&format!("{}.stl", "l".repeat(length - 4))));
    }
    keys.push(place.key(&format!("{}/below", "é".repeat(200))));
    let room = MAX_KEY_BYTES - place.key("x").as_str().len() + 1;
    keys.push(place.key(&"x".repeat(room)));
    keys.push(place.key(&format!("{}z", "y/".repeat(40))));

    for key in &keys {
        put(store, key, key.as_str().to_owned()).await;
    }
    for key in &keys {
        assert_eq!(get(store, key).await, key.as_str());
    }
    keys.sort();
    assert_eq!(keys_of(store, &place.prefix("")).await, keys);
    for (index, key) in keys.iter().enumerate() {
        store.delete(key).await.expect("delete");
        assert_absent(store, key).await;
        if let Some(next) = keys.get(index + 1) {
            assert!(store.exists(next).await.expect("exists"), "{next}");
        }
    }
    place.clear(store).await;
}

/// A key and one below it: a store keeps both, or refuses the second and leaves the first alone.
///
/// # Panics
/// When the store does not keep the contract.
pub async fn conflicting_keys_leave_the_first_alone(store: &dyn Store) {
    let place = Place::new("conflict");
    for (first, second) in [("a", "a/b"), ("b/c/d", "b"), ("c", "c/d/e")] {
        let (first, second) = (place.key(first), place.key(second));
        assert_absent(store, &second).await;
        put(store, &first, "first").await;
        assert_absent(store, &second).await;
        store.delete(&second).await.expect("delete of nothing");
        let options = WriteOptions::default();
        match store.put(&second, "second".into(), options).await {
            Ok(_) => assert_eq!(get(store, &second).await, "second"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::KeyConflict, "{error}");
                assert_absent(store, &second).await;
            }
        }
        assert_eq!(get(store, &first).await, "first");
        store.delete(&first).await.expect("delete");
        put(store, &second, "alone").await;
        assert_eq!(get(store, &second).await, "alone");
    }
    place.clear(store).await;
}
