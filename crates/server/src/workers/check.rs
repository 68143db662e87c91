//! Check: read a copy to its end and compare its hash.

use futures::TryStreamExt as _;
use stockroom_catalog::ObjectRow;
use stockroom_storage::{ContentHasher, Error, ErrorKind, Operation, Store};

use crate::workers::pace::Pace;

/// Reads a copy to its end.
///
/// # Errors
/// `NotFound` or `Corrupt` when the copy is wrong ([`is_wrong`]); that of the store when it does
/// not tell.
pub(super) async fn check(store: &dyn Store, object: &ObjectRow, pace: &Pace) -> Result<(), Error> {
    let mut read = store.get(&object.location, None).await?;
    let mut hasher = ContentHasher::new();
    while let Some(piece) = read.stream.try_next().await? {
        pace.spend(piece.len() as u64).await;
        hasher.update(&piece);
    }
    if hasher.finish().sha256 == object.sha256 {
        Ok(())
    } else {
        Err(mismatch(store, object))
    }
}

/// Whether the error says that the copy is of no use, not that the store does not tell. A file
/// whose sectors cannot be read is of no use either.
pub(super) fn is_wrong(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Denied)
}

/// The bytes are not those that were recorded.
pub(super) fn mismatch(store: &dyn Store, object: &ObjectRow) -> Error {
    let detail = "the bytes have another SHA-256 than was recorded";
    Error::new(store.name(), Operation::Get, ErrorKind::Corrupt, detail).about(&object.location)
}
