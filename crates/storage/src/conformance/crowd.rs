//! Many callers at once.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt as _;

use super::{CONCURRENT_CALLS, Place, assert_absent, bytes_of, get, put};
use crate::Store;

/// Readers that begin before, while and after an object is replaced see one version of it, or an
/// error in the middle, but never parts of two.
///
/// # Panics
/// When the store does not keep the contract.
pub async fn readers_never_see_a_mixture(store: &dyn Store) {
    const LENGTH: usize = 3_000_000;
    let place = Place::new("mixture");
    let key = place.key("object");
    put(store, &key, vec![0; LENGTH]).await;

    // A reader that is in the middle while the object is replaced and then deleted.
    let mut slow = store.get(&key, None).await.expect("get");
    let first = slow.stream.next().await.expect("a piece").expect("bytes");
    assert!(first.iter().all(|byte| *byte == 0));

    let is_over = AtomicBool::new(false);
    let write = async {
        for version in 1..=12_u8 {
            put(store, &key, vec![version; LENGTH]).await;
        }
        is_over.store(true, Ordering::Relaxed);
    };
    let read = || async {
        let mut whole = 0;
        while !is_over.load(Ordering::Relaxed) {
            let result = store.get(&key, None).await;
            let result = result.unwrap_or_else(|error| panic!("get while replaced: {error}"));
            if let Ok(bytes) = result.bytes().await {
                assert_eq!(bytes.len(), LENGTH);
                assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a mixture");
                whole += 1;
            }
        }
        whole
    };
    let ((), first_reads, second_reads) = futures::join!(write, read(), read());
    assert!(first_reads + second_reads > 0, "no read ended well");

    store.delete(&key).await.expect("delete");
    let mut length = first.len();
    while let Some(piece) = slow.stream.next().await {
        let Ok(piece) = piece else {
            length = LENGTH;
            break;
        };
        assert!(piece.iter().all(|byte| *byte == 0), "a mixture");
        length += piece.len();
    }
    assert_eq!(length, LENGTH, "the end of the old bytes, or an error");
    place.clear(store).await;
}

/// Fifty objects in shared directories are written, read and deleted, all at the same time.
///
/// # Panics
/// When the store does not keep the contract.
pub async fn many_at_once(store: &dyn Store) {
    let place = Place::new("crowd");
    let place = &place;
    for round in 0..3_u64 {
        futures::stream::iter(0..50_u64)
            .for_each_concurrent(CONCURRENT_CALLS, |n| async move {
                // Directories come and go while others write into them.
                let key = place.key(&format!("{}/shared/{n}", n % 4));
                let bytes = bytes_of(2_000 + n as usize, n + 100 * round);
                put(store, &key, bytes.clone()).await;
                assert!(get(store, &key).await == bytes, "{key}");
                store.delete(&key).await.expect("delete");
                assert_absent(store, &key).await;
            })
            .await;
    }
    place.clear(store).await;
}
