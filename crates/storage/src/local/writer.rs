//! Writing one object, with a disk that may be slower than the client.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::io::Errno;
use stockroom_domain::Key;
use tokio::task::{JoinHandle, spawn_blocking};

use super::Inner;
use super::attributes::Attributes;
use super::staging::StagedFile;
use crate::call::OpenCall;
use crate::{
    Error, ErrorKind, Facts, ObjectWriter, Operation, Outcome, Result, WriteOptions, Written,
};

/// How many bytes go to the disk at once. Small pieces are gathered until there are so many,
/// because each step to a blocking thread costs some ten microseconds. One piece is on its way
/// while the next is gathered, so a writer holds twice this at most, and what its caller hands it.
const PIECE_BYTES: usize = 512 * 1024;

/// An object on its way to disk.
#[derive(Debug)]
pub(super) struct LocalWriter {
    inner: Arc<Inner>,
    key: Key,
    options: WriteOptions,
    gathered: Vec<u8>,
    /// The buffer of the piece before, to be used again.
    spare: Vec<u8>,
    file: FileState,
    call: OpenCall,
}

/// Where the file is at the moment.
#[derive(Debug)]
enum FileState {
    /// Nowhere: nothing was sent to the disk yet. An object that is a single piece is made and published
    /// in one step.
    Unmade,
    /// On a blocking thread that writes a piece.
    Busy(JoinHandle<Piece>),
    /// Gone: published, removed, or lost to an error.
    Gone,
}

/// What comes back from a blocking thread: the buffer is used again.
type Piece = (Vec<u8>, Result<StagedFile>);

impl LocalWriter {
    pub(super) fn new(inner: Arc<Inner>, key: Key, options: WriteOptions, call: OpenCall) -> Self {
        Self {
            inner,
            key,
            options,
            gathered: Vec::new(),
            spare: Vec::new(),
            file: FileState::Unmade,
            call,
        }
    }

    /// Waits for the piece that is on its way and takes the file, if there is one yet. Safe to be given up while
    /// it waits: nothing is taken before.
    async fn take_file(&mut self) -> Result<Option<StagedFile>> {
        let written = match &mut self.file {
            FileState::Busy(task) => Some(task.await),
            FileState::Unmade | FileState::Gone => None,
        };
        let file = std::mem::replace(&mut self.file, FileState::Gone);
        match (written, file) {
            (Some(Ok((buffer, Ok(staged)))), _) => {
                self.spare = buffer;
                Ok(Some(staged))
            }
            (Some(Ok((_, Err(error)))), _) => Err(error),
            (Some(Err(_)), _) => Err(self.inner.error(
                Operation::Put,
                Some(&self.key),
                "write the bytes",
                Errno::CANCELED,
            )),
            (None, FileState::Unmade) => Ok(None),
            (None, _) => Err(Error::new(
                &self.inner.name,
                Operation::Put,
                ErrorKind::Other,
                "an earlier write failed",
            )
            .about(&self.key)),
        }
    }

    /// Sends what was gathered to the disk, when the piece before is done.
    async fn send_gathered(&mut self) -> Result<()> {
        let staged = self.take_file().await?;
        let mut piece = std::mem::replace(&mut self.gathered, std::mem::take(&mut self.spare));
        let (inner, key) = (Arc::clone(&self.inner), self.key.clone());
        self.file = FileState::Busy(spawn_blocking(move || {
            let written = inner.append(&key, staged, &piece);
            piece.clear();
            (piece, written)
        }));
        Ok(())
    }

    /// Sends a big piece to the disk without copying it.
    async fn send_bytes(&mut self, piece: Bytes) -> Result<()> {
        let staged = self.take_file().await?;
        let spare = std::mem::take(&mut self.spare);
        let (inner, key) = (Arc::clone(&self.inner), self.key.clone());
        self.file = FileState::Busy(spawn_blocking(move || {
            (spare, inner.append(&key, staged, &piece))
        }));
        Ok(())
    }

    /// Makes room for so many bytes more, up to a piece. Small objects take no more than twice what they need.
    fn make_room(&mut self, bytes: usize) {
        let needed = self.gathered.len() + bytes;
        if needed > self.gathered.capacity() {
            let doubled = 2 * self.gathered.capacity();
            let capacity = needed.max(doubled).min(PIECE_BYTES);
            self.gathered.reserve_exact(capacity - self.gathered.len());
        }
    }

    async fn take(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            if self.gathered.is_empty() && bytes.len() >= PIECE_BYTES {
                self.send_bytes(std::mem::take(&mut bytes)).await?;
                continue;
            }
            let room = PIECE_BYTES - self.gathered.len();
            let piece = bytes.split_to(room.min(bytes.len()));
            self.make_room(piece.len());
            self.gathered.extend_from_slice(&piece);
            if self.gathered.len() == PIECE_BYTES {
                self.send_gathered().await?;
            }
        }
        Ok(())
    }

    async fn publish(&mut self, facts: &Facts) -> Result<Written> {
        let staged = self.take_file().await?;
        let (inner, key) = (Arc::clone(&self.inner), self.key.clone());
        let last = std::mem::take(&mut self.gathered);
        let size_bytes = facts.size_bytes;
        let attributes = Attributes::new(&self.options, facts);
        let work = move || {
            let staged = inner.append(&key, staged, &last)?;
            inner.publish(&key, staged, size_bytes, &attributes)
        };
        self.inner
            .blocking(Operation::Put, Some(&self.key), work)
            .await
    }
}

#[async_trait]
impl ObjectWriter for LocalWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.call.sent(bytes.len() as u64);
        let taken = self.take(bytes).await;
        if taken.is_err() {
            self.call.end(Outcome::Failed);
        }
        taken
    }

    async fn finish(mut self: Box<Self>, facts: &Facts) -> Result<Written> {
        let result = self.publish(facts).await;
        self.call.end(match result {
            Ok(_) => Outcome::Ok,
            Err(_) => Outcome::Failed,
        });
        result
    }

    async fn abort(mut self: Box<Self>) {
        // Without a file there never was one, or an earlier failure has removed it and was told.
        if let Ok(Some(staged)) = self.take_file().await {
            // Removing a big file takes a while.
            spawn_blocking(move || drop(staged)).await.ok();
        }
    }
}
