//! The stream of a read: collects a chunk, checks it, passes it on, and changes the source when
//! something is wrong.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, stream};

use super::failover::{Failover, Identity, Opened};
use super::{ContinuedBy, Source, failed};
use crate::{ByteStream, CHUNK_BYTES, ChunkSums, Error, ErrorKind, Result};

pub(super) struct Reading {
    failover: Failover,
    identity: Identity,
    sums: Option<ChunkSums>,
    wanted: Range<u64>,
    continued_by: ContinuedBy,
    source: Source,
    input: ByteStream,
    /// Bytes of the next chunk that came in one piece with the end of this one.
    carry: Bytes,
    /// Everything before this offset was checked and passed on, or lies in `ready`.
    position: u64,
    /// Where reading stops: the end of the last chunk that holds wanted bytes.
    end: u64,
    /// Checked bytes that were not asked for yet.
    ready: VecDeque<Bytes>,
}

/// What a source did wrong, and at which offset.
struct Failure {
    offset: u64,
    error: Error,
}

impl Reading {
    pub(super) fn new(
        failover: Failover,
        identity: Identity,
        sums: Option<ChunkSums>,
        wanted: Range<u64>,
        opened: Opened,
        continued_by: ContinuedBy,
    ) -> Self {
        Self {
            failover,
            identity,
            sums,
            wanted,
            continued_by,
            source: opened.source,
            input: opened.stream,
            carry: Bytes::new(),
            position: opened.range.start,
            end: opened.range.end,
            ready: VecDeque::new(),
        }
    }

    pub(super) fn into_stream(self) -> ByteStream {
        stream::unfold(self, |mut reading| async move {
            let item = reading.next().await?;
            Some((item, reading))
        })
        .boxed()
    }

    async fn next(&mut self) -> Option<Result<Bytes>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Some(Ok(bytes));
            }
            if self.position == self.end {
                return None;
            }
            let Err(failure) = self.advance().await else {
                continue;
            };
            if let Err(error) = self.change_source(failure).await {
                self.position = self.end;
                return Some(Err(error));
            }
        }
    }

    /// Makes the next bytes ready: a whole chunk when it can be checked, else what comes.
    async fn advance(&mut self) -> Result<(), Failure> {
        let chunk_index = self.position / CHUNK_BYTES as u64;
        let stop = match self.sums {
            Some(_) => self.end.min((chunk_index + 1) * CHUNK_BYTES as u64),
            None => self.end,
        };
        let mut pieces = Vec::new();
        let mut offset = self.position;
        let mut sum = 0;
        while offset < stop {
            let piece = self.piece(offset, stop).await?;
            sum = crc32c::crc32c_append(sum, &piece);
            offset += piece.len() as u64;
            pieces.push(piece);
            if self.sums.is_none() {
                break;
            }
        }
        let recorded = self
            .sums
            .as_ref()
            .map(|sums| usize::try_from(chunk_index).ok().and_then(|i| sums.get(i)));
        if recorded.is_some_and(|recorded| recorded != Some(sum)) {
            return Err(self.failure(self.position, "a chunk has the wrong checksum"));
        }
        if offset == self.end {
            self.close(offset).await?;
        }
        self.release(pieces);
        Ok(())
    }

    /// The next bytes of the source, none of them beyond `stop`.
    async fn piece(&mut self, offset: u64, stop: u64) -> Result<Bytes, Failure> {
        let mut piece = std::mem::take(&mut self.carry);
        while piece.is_empty() {
            piece = match self.input.next().await {
                Some(Ok(piece)) => piece,
                Some(Err(error)) => return Err(Failure { offset, error }),
                None => return Err(self.failure(offset, "the bytes ended too early")),
            };
        }
        if let Ok(room) = usize::try_from(stop - offset)
            && piece.len() > room
        {
            self.carry = piece.split_off(room);
        }
        Ok(piece)
    }

    /// Lets the source see that it was read to its end.
    async fn close(&mut self, offset: u64) -> Result<(), Failure> {
        let end = self.input.next();
        if self.sums.is_some() {
            // The bytes are proven: nothing that still comes can change that, so nobody waits.
            let _ = end.now_or_never();
        } else if let Some(Err(error)) = end.await {
            return Err(Failure { offset, error });
        }
        self.input = stream::empty().boxed();
        Ok(())
    }

    /// Passes on of the pieces, which begin at the present position, what is wanted.
    fn release(&mut self, pieces: Vec<Bytes>) {
        for mut piece in pieces {
            let begin = self.position;
            self.position += piece.len() as u64;
            if let Some(beyond) = excess(self.position, self.wanted.end) {
                piece.truncate(piece.len().saturating_sub(beyond));
            }
            if let Some(before) = excess(self.wanted.start, begin) {
                piece = piece.split_off(before.min(piece.len()));
            }
            if !piece.is_empty() {
                self.ready.push_back(piece);
            }
        }
    }

    async fn change_source(&mut self, failure: Failure) -> Result<()> {
        // The connection is of no use any more; it is let go before another one is opened.
        self.input = stream::empty().boxed();
        self.carry = Bytes::new();
        self.failover
            .pass_over(&self.source, failure.offset, failure.error);
        let rest = self.position..self.end;
        let opened = self.failover.open(&self.identity, rest).await?;
        tracing::info!(
            from = %self.source.store.name(), to = %opened.source.store.name(),
            key = %opened.source.location, offset = self.position,
            "a read goes on from another copy"
        );
        self.continued_by.push(opened.source.store.name());
        self.source = opened.source;
        self.input = opened.stream;
        Ok(())
    }

    fn failure(&self, offset: u64, detail: &'static str) -> Failure {
        let error = failed(Some(&self.source), ErrorKind::Corrupt, detail);
        Failure { offset, error }
    }
}

/// By how many bytes `offset` lies beyond `bound`, if it does.
fn excess(offset: u64, bound: u64) -> Option<usize> {
    let excess = offset.checked_sub(bound).filter(|bytes| *bytes > 0)?;
    Some(usize::try_from(excess).unwrap_or(usize::MAX))
}
