//! An upload: bytes pass once, to every store and through the hash.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join;
use stockroom_domain::{Key, Sha256Digest, StoreName};

use crate::tee::Tee;
use crate::{Ack, CHUNK_BYTES, ContentHasher, Error, Facts, Result, Store, WriteOptions, Written};

/// An object on its way to one or several stores. Nothing of it is visible before
/// [`finish`](Upload::finish).
///
/// Every call waits for the slowest store that is still in, so memory stays bounded by what the
/// stores themselves hold back. That also means that a store which hangs blocks the fast one,
/// under [`Ack::Any`] too, until its own time-out gives it up: opening stores with time-outs that
/// suit the waiting client is up to the caller.
///
/// A store that fails is given up, and its error kept for [`Stored::placements`]. Under
/// [`Ack::Any`] the upload goes on while a store is left, except when the failure is the caller's
/// own (`KeyConflict`, `Invalid`): such a store could never be given its copy later either.
///
/// Dropping an upload gives it up on all stores; [`abort`](Upload::abort) also waits for that.
/// Cancelling a `write` gives the upload up as well. Cancelling a `finish` may leave the object
/// visible on some stores: run it to its end, in a task of its own if need be.
#[derive(Debug)]
pub struct Upload {
    tee: Tee,
    hasher: ContentHasher,
}

/// An upload is done: at least one store has a durable copy.
#[derive(Debug)]
pub struct Stored {
    /// The facts of the bytes that were stored.
    pub facts: Facts,
    /// How it ended on each store, in the order in which the stores were given. Under
    /// [`Ack::Both`] all of them are `Ok`, under [`Ack::Any`] at least one is.
    pub placements: Vec<(StoreName, Result<Written, Error>)>,
}

/// An upload failed, and is acknowledged by no store.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// The bytes are not those that were announced. Send them again.
    #[error("the bytes that came have the SHA-256 {actual}, not {expected}")]
    DigestMismatch {
        /// The digest that was announced.
        expected: Sha256Digest,
        /// The digest of the bytes that came.
        actual: Sha256Digest,
    },
    /// Too few stores took the object: the error that tells most of what to do.
    #[error(transparent)]
    Store(#[from] Error),
}

impl Upload {
    /// Opens a writer for `key` on all stores at the same time.
    ///
    /// # Errors
    /// Under [`Ack::Any`] when no store could be opened, under [`Ack::Both`] when one could not.
    /// Nothing is left behind then.
    pub async fn open(
        stores: &[Arc<dyn Store>],
        key: &Key,
        options: WriteOptions,
        ack: Ack,
    ) -> Result<Self> {
        Ok(Self {
            tee: Tee::open(stores, key, &options, ack).await?,
            hasher: ContentHasher::new(),
        })
    }

    /// Takes the next bytes; waits while a store is behind.
    ///
    /// # Errors
    /// When too few stores are left. The upload is given up everywhere then; `abort` still waits
    /// until that is done.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        let Self { tee, hasher, .. } = self;
        // Long pieces are cut so that hashing one does not hold up the other tasks of the thread.
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(CHUNK_BYTES));
            // The stores are asked first, so that disk and network work while this task hashes.
            let hash = async { hasher.update(&piece) };
            let (written, ()) = join(tee.write(&piece), hash).await;
            written?;
        }
        Ok(())
    }

    /// How many bytes were taken so far.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.hasher.size_bytes()
    }

    /// The facts of the bytes that were taken so far.
    #[must_use]
    pub fn facts_so_far(&self) -> Facts {
        self.hasher.clone().finish()
    }

    /// Makes the object durable and visible on all stores that are still in.
    ///
    /// # Errors
    /// As [`finish_expecting`](Upload::finish_expecting).
    pub async fn finish(self) -> Result<Stored, UploadError> {
        self.finish_expecting(None).await
    }

    /// The same, provided that the bytes have this SHA-256, if one is given.
    ///
    /// # Errors
    /// - `DigestMismatch` when they have another, or another than [`WriteOptions::sha256`] said;
    ///   nothing was visible at any moment.
    /// - `Store` when too few stores have a durable copy. Stores that had published theirs have
    ///   it deleted again; where that fails too, it is logged and the object stays there. A store
    ///   that could not be reached may show the object later: whoever records uploads deletes the
    ///   key of a failed one again when the stores answer.
    pub async fn finish_expecting(
        self,
        expected: Option<Sha256Digest>,
    ) -> Result<Stored, UploadError> {
        let facts = self.hasher.finish();
        let actual = facts.sha256;
        for expected in [expected, self.tee.announced()].into_iter().flatten() {
            if expected != actual {
                self.tee.give_up().await;
                return Err(UploadError::DigestMismatch { expected, actual });
            }
        }
        let placements = self.tee.finish(&facts).await?;
        Ok(Stored { facts, placements })
    }

    /// Gives the upload up on all stores and waits until nothing is left, as far as the stores
    /// can be reached.
    pub async fn abort(self) {
        self.tee.give_up().await;
    }
}
