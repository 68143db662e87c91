//! Reading one object: from the file that was opened, whatever happens to its name meanwhile.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};
use stockroom_domain::Key;
use tokio::task::{JoinHandle, spawn_blocking};

use super::Inner;
use crate::call::OpenCall;
use crate::{ByteStream, Error, ErrorKind, Operation, Outcome, Result};

/// How many bytes are read at once. One piece is read ahead while another is on its way to the
/// client, so a reader holds twice this.
const PIECE_BYTES: u64 = 256 * 1024;

/// The most bytes that are read on the thread of the caller, when the kernel has them at hand: copying
/// them takes a few microseconds, which is less than the way to a blocking thread and back.
pub(super) const AT_HAND_BYTES: u64 = 64 * 1024;

/// A file that is being read.
pub(super) struct Reading {
    inner: Arc<Inner>,
    key: Key,
    file: Arc<OwnedFd>,
    /// What is still to be read from the file.
    left: Range<u64>,
    ahead: Ahead,
    call: OpenCall,
}

/// The next piece.
enum Ahead {
    /// Read already.
    Ready(Result<Bytes>),
    /// Being read on a blocking thread.
    Busy(JoinHandle<Result<Bytes>>),
    /// There is none: the end, or an error was told.
    Over,
}

impl Reading {
    /// Reads the first piece at once, on this thread: a small object costs one step.
    pub(super) fn begin(
        inner: Arc<Inner>,
        key: Key,
        file: OwnedFd,
        range: Range<u64>,
        call: OpenCall,
    ) -> Self {
        let mut reading = Self {
            inner,
            key,
            file: Arc::new(file),
            left: range,
            ahead: Ahead::Over,
            call,
        };
        if let Some(piece) = reading.next_piece() {
            let first = read_piece(&reading.inner, &reading.key, &reading.file, piece);
            reading.ahead = Ahead::Ready(first);
        }
        reading
    }

    /// What was read already, as a stream.
    pub(super) fn of_bytes(bytes: Bytes, mut call: OpenCall) -> ByteStream {
        if bytes.is_empty() {
            call.end(Outcome::Ok);
            return futures::stream::empty().boxed();
        }
        let handed_out = async move {
            call.received(bytes.len() as u64);
            call.end(Outcome::Ok);
            Ok(bytes)
        };
        futures::stream::once(handed_out).boxed()
    }

    /// The bytes, as a stream.
    pub(super) fn into_stream(mut self) -> ByteStream {
        if matches!(self.ahead, Ahead::Over) {
            self.call.end(Outcome::Ok);
        }
        futures::stream::unfold(self, |mut reading| async move {
            let piece = reading.next().await?;
            Some((piece, reading))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<Bytes>> {
        let piece = match std::mem::replace(&mut self.ahead, Ahead::Over) {
            Ahead::Over => return None,
            Ahead::Ready(piece) => piece,
            Ahead::Busy(task) => task.await.unwrap_or_else(|_| {
                Err(self.inner.error(
                    Operation::Get,
                    Some(&self.key),
                    "read the file",
                    Errno::CANCELED,
                ))
            }),
        };
        match &piece {
            Ok(bytes) => {
                self.call.received(bytes.len() as u64);
                match self.next_piece() {
                    Some(next) => self.ahead = Ahead::Busy(self.read_on_a_thread(next)),
                    // The last byte is handed out: clients that counted do not ask for more.
                    None => self.call.end(Outcome::Ok),
                }
            }
            Err(_) => self.call.end(Outcome::Failed),
        }
        Some(piece)
    }

    fn next_piece(&mut self) -> Option<Range<u64>> {
        let start = self.left.start;
        let end = self.left.end.min(start.saturating_add(PIECE_BYTES));
        self.left.start = end;
        (start < end).then_some(start..end)
    }

    fn read_on_a_thread(&self, piece: Range<u64>) -> JoinHandle<Result<Bytes>> {
        let (inner, key, file) = (
            Arc::clone(&self.inner),
            self.key.clone(),
            Arc::clone(&self.file),
        );
        spawn_blocking(move || read_piece(&inner, &key, &file, piece))
    }
}

/// Reads these offsets of the file, all of them.
fn read_piece(inner: &Inner, key: &Key, file: &OwnedFd, piece: Range<u64>) -> Result<Bytes> {
    // A piece is at most PIECE_BYTES long.
    let length = usize::try_from(piece.end - piece.start).unwrap_or(0);
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        let offset = piece.start + bytes.len() as u64;
        match pread(file, spare_capacity(&mut bytes), offset) {
            Ok(0) => {
                let detail = "the file became shorter while it was read";
                return Err(
                    Error::new(&inner.name, Operation::Get, ErrorKind::Corrupt, detail).about(key),
                );
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => {
                return Err(inner.error(Operation::Get, Some(key), "read the file", errno));
            }
        }
    }
    // The allocation may be larger than what was asked for.
    bytes.truncate(length);
    Ok(bytes.into())
}

/// Reads these offsets of the file without waiting for the disk; none when that is not possible, or not
/// all of them can be read.
#[cfg(target_os = "linux")]
pub(super) fn read_piece_at_hand(file: &OwnedFd, piece: &Range<u64>) -> Option<Bytes> {
    use std::io::IoSliceMut;

    use rustix::io::{ReadWriteFlags, preadv2};

    let length = usize::try_from(piece.end - piece.start).ok()?;
    let mut bytes = vec![0; length];
    let mut buffers = [IoSliceMut::new(&mut bytes)];
    let read = preadv2(file, &mut buffers, piece.start, ReadWriteFlags::NOWAIT);
    (read == Ok(length)).then(|| bytes.into())
}

/// Other systems cannot be told not to wait.
#[cfg(not(target_os = "linux"))]
pub(super) fn read_piece_at_hand(_: &OwnedFd, _: &Range<u64>) -> Option<Bytes> {
    None
}
