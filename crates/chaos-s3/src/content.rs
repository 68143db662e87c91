//! The bytes of an object or a part, in memory.

use std::collections::VecDeque;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use futures::Stream;
use s3s::StdError;
use s3s::stream::{ByteStream, RemainingLength};

/// How many bytes one step of a download yields at most.
const CHUNK_BYTES: usize = 64 * 1024;

static ZEROS: [u8; CHUNK_BYTES] = [0; CHUNK_BYTES];

/// Bytes that were kept, or only the length of bytes that were thrown away.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    Kept(Vec<Bytes>),
    /// Reads back as this many zero bytes.
    Discarded(u64),
}

impl Content {
    pub(crate) fn size_bytes(&self) -> u64 {
        match self {
            Self::Kept(pieces) => pieces.iter().map(|piece| piece.len() as u64).sum(),
            Self::Discarded(size_bytes) => *size_bytes,
        }
    }

    /// Puts contents after one another without copying them.
    pub(crate) fn concat<'a>(parts: impl Iterator<Item = &'a Self>) -> Self {
        let mut pieces = Vec::new();
        let mut discarded = 0;
        for part in parts {
            match part {
                Self::Kept(more) => pieces.extend(more.iter().cloned()),
                Self::Discarded(size_bytes) => discarded += size_bytes,
            }
        }
        if discarded > 0 {
            return Self::Discarded(discarded);
        }
        Self::Kept(pieces)
    }

    /// The bytes in `range`, which must lie within the content.
    pub(crate) fn read(&self, range: Range<u64>) -> ContentStream {
        let remaining = range.end - range.start;
        let mut pieces = VecDeque::new();
        if let Self::Kept(kept) = self {
            let mut start = 0;
            for piece in kept {
                let end = start + piece.len() as u64;
                let from = range.start.clamp(start, end) - start;
                let to = range.end.clamp(start, end) - start;
                if from < to {
                    pieces.push_back(piece.slice(from as usize..to as usize));
                }
                start = end;
            }
        }
        ContentStream { pieces, remaining }
    }

    /// All bytes in one piece.
    pub(crate) fn to_bytes(&self) -> Bytes {
        match self {
            Self::Kept(pieces) if pieces.len() == 1 => pieces[0].clone(),
            Self::Kept(pieces) => pieces.concat().into(),
            Self::Discarded(size_bytes) => vec![0; *size_bytes as usize].into(),
        }
    }

    /// Flips the lowest bit of the byte at `offset`; false if there is no such stored byte.
    pub(crate) fn flip_bit(&mut self, offset: u64) -> bool {
        let Self::Kept(pieces) = self else {
            return false;
        };
        let mut start = 0;
        for piece in pieces {
            let end = start + piece.len() as u64;
            if offset < end {
                *piece = flipped(piece, (offset - start) as usize);
                return true;
            }
            start = end;
        }
        false
    }
}

/// A copy of `bytes` with the lowest bit at `index` flipped.
pub(crate) fn flipped(bytes: &Bytes, index: usize) -> Bytes {
    let mut copy = BytesMut::from(bytes.as_ref());
    copy[index] ^= 1;
    copy.freeze()
}

/// A range of a content, as the body of an answer.
#[derive(Debug)]
pub(crate) struct ContentStream {
    /// Empty for discarded content, which reads as zeros.
    pieces: VecDeque<Bytes>,
    remaining: u64,
}

impl Stream for ContentStream {
    type Item = Result<Bytes, StdError>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.remaining == 0 {
            return Poll::Ready(None);
        }
        let chunk = match self.pieces.front_mut() {
            Some(piece) => {
                let chunk = piece.split_to(piece.len().min(CHUNK_BYTES));
                if piece.is_empty() {
                    self.pieces.pop_front();
                }
                chunk
            }
            None => {
                let size = self.remaining.min(CHUNK_BYTES as u64) as usize;
                Bytes::from_static(&ZEROS[..size])
            }
        };
        self.remaining -= chunk.len() as u64;
        Poll::Ready(Some(Ok(chunk)))
    }
}

impl ByteStream for ContentStream {
    fn remaining_length(&self) -> RemainingLength {
        RemainingLength::new_exact(self.remaining as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::TryStreamExt;

    async fn read(content: &Content, range: Range<u64>) -> Vec<u8> {
        let chunks: Vec<Bytes> = content.read(range).try_collect().await.unwrap();
        chunks.concat()
    }

    #[tokio::test]
    async fn ranges_cross_pieces() {
        let content = Content::Kept(vec!["abc".into(), "".into(), "defg".into()]);
        let whole = b"abcdefg";
        for start in 0..=7 {
            for end in start..=7 {
                let expected = &whole[start..end];
                let got = read(&content, start as u64..end as u64).await;
                assert_eq!(got, expected, "{start}..{end}");
            }
        }
    }

    #[tokio::test]
    async fn discarded_content_reads_as_zeros() {
        let content = Content::Discarded(200_000);
        assert_eq!(read(&content, 10..150_010).await, vec![0; 150_000]);
        assert_eq!(content.to_bytes().len(), 200_000);
    }

    #[test]
    fn a_flipped_bit_is_in_the_right_byte() {
        let mut content = Content::Kept(vec!["abc".into(), "def".into()]);
        assert!(content.flip_bit(4));
        assert_eq!(content.to_bytes(), "abcddf");
        assert!(!content.flip_bit(6));
    }
}
