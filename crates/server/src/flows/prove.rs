//! Prove: read a copy to its end and compare its hash with the record.

use std::pin::pin;

use bytes::Bytes;
use futures::{Stream, TryStreamExt as _};
use stockroom_catalog::ObjectRow;
use stockroom_domain::{Key, Sha256Digest, StoreName};
use stockroom_storage::{ContentHasher, Error, ErrorKind, Facts, Operation, Store};

use crate::app::App;

/// Reads a copy to its end, at the pace of the work in the background. `progress` is told how many
/// bytes came.
///
/// # Errors
/// `NotFound` or `Corrupt` when the copy is wrong ([`is_wrong`]); that of the store when it does
/// not tell.
pub async fn prove(
    app: &App,
    store: &dyn Store,
    object: &ObjectRow,
    progress: impl FnMut(u64),
) -> Result<(), Error> {
    let sha256 = sha256_at(app, store, &object.location, progress).await?;
    if sha256 == object.sha256 {
        Ok(())
    } else {
        Err(mismatch(store, object, sha256))
    }
}

/// The hash of whatever lies at a location. `progress` is told how many bytes came.
///
/// # Errors
/// That of the store.
pub async fn sha256_at(
    app: &App,
    store: &dyn Store,
    location: &Key,
    mut progress: impl FnMut(u64),
) -> Result<Sha256Digest, Error> {
    let read = store.get(location, None).await?;
    let facts = facts_of(app, read.stream, |piece| progress(piece.len() as u64)).await?;
    Ok(facts.sha256)
}

/// The facts of bytes that are read to their end, at the pace of the work in the background.
/// `also` sees each piece.
///
/// # Errors
/// The first error of the stream.
pub async fn facts_of<E>(
    app: &App,
    stream: impl Stream<Item = Result<Bytes, E>>,
    mut also: impl FnMut(&Bytes),
) -> Result<Facts, E> {
    let mut stream = pin!(stream);
    let mut hasher = ContentHasher::new();
    while let Some(piece) = stream.try_next().await? {
        app.pace.spend(piece.len() as u64).await;
        hasher.update(&piece);
        also(&piece);
    }
    Ok(hasher.finish())
}

/// Whether an error of a read proves that the copy is of no use; else the store only does not
/// tell. A file whose sectors cannot be read is of no use either, but an odd answer of a bucket
/// proves nothing.
#[must_use]
pub fn is_wrong(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::RangeNotSatisfiable { .. } => true,
        ErrorKind::Other => *error.store() == StoreName::LOCAL,
        _ => false,
    }
}

/// The bytes are not those that were recorded.
#[must_use]
pub fn mismatch(store: &dyn Store, object: &ObjectRow, actual: Sha256Digest) -> Error {
    let detail = format!(
        "the bytes have the SHA-256 {actual}, not {} as recorded",
        object.sha256
    );
    Error::new(store.name(), Operation::Get, ErrorKind::Corrupt, detail).about(&object.location)
}
