//! Parts of objects.

use super::{Place, bytes_of, put};
use crate::{ByteRange, ErrorKind, Store};

/// Every kind of range delivers its bytes and says which they are; one without bytes is refused.
///
/// # Panics
/// When the store does not keep the contract.
pub async fn ranges_deliver_their_bytes(store: &dyn Store) {
    let place = Place::new("ranges");
    let key = place.key("object");
    let length = 600_001_u64;
    let bytes = bytes_of(600_001, 5);
    put(store, &key, bytes.clone()).await;

    let inclusive = |first, last| ByteRange::Inclusive { first, last };
    let satisfiable = [
        (ByteRange::From(0), 0..length),
        (ByteRange::From(1), 1..length),
        (ByteRange::From(length - 1), length - 1..length),
        (inclusive(0, 0), 0..1),
        (inclusive(0, length - 1), 0..length),
        (inclusive(262_143, 262_144), 262_143..262_145),
        (inclusive(100, 599_999), 100..600_000),
        (inclusive(5, u64::MAX), 5..length),
        (ByteRange::Suffix(1), length - 1..length),
        (ByteRange::Suffix(300_000), length - 300_000..length),
        (ByteRange::Suffix(u64::MAX), 0..length),
    ];
    for (range, offsets) in satisfiable {
        let read = store.get(&key, Some(range)).await;
        let read = read.unwrap_or_else(|error| panic!("{range:?}: {error}"));
        assert_eq!(read.range, offsets, "{range:?}");
        assert_eq!(read.info.size_bytes, length, "{range:?}");
        let part = read.bytes().await.expect("bytes");
        let (start, end) = (offsets.start as usize, offsets.end as usize);
        assert!(part == bytes.slice(start..end), "{range:?}");
    }
    let unsatisfiable = [
        ByteRange::From(length),
        ByteRange::From(u64::MAX),
        inclusive(length, u64::MAX),
        inclusive(5, 4),
        ByteRange::Suffix(0),
    ];
    for range in unsatisfiable {
        assert_refused(store, &key, range, length).await;
    }

    let empty = place.key("empty");
    put(store, &empty, "").await;
    let whole = store.get(&empty, None).await.expect("get");
    assert_eq!(whole.range, 0..0);
    assert_eq!(whole.bytes().await.expect("bytes"), "");
    for range in [ByteRange::From(0), inclusive(0, 9), ByteRange::Suffix(5)] {
        assert_refused(store, &empty, range, 0).await;
    }

    let absent = store
        .get(&place.key("absent"), Some(ByteRange::From(0)))
        .await;
    assert!(absent.expect_err("a part of nothing").is_not_found());
    place.clear(store).await;
}

async fn assert_refused(
    store: &dyn Store,
    key: &stockroom_domain::Key,
    range: ByteRange,
    size_bytes: u64,
) {
    let refused = store.get(key, Some(range)).await;
    let error = refused.expect_err("a range without bytes");
    let expected = ErrorKind::RangeNotSatisfiable { size_bytes };
    assert_eq!(error.kind(), expected, "{range:?}: {error}");
}
