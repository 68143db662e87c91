//! What is computed over an object's bytes while they pass by, once.

use std::fmt;

use sha2::{Digest, Sha256};
use stockroom_domain::Sha256Digest;

/// How many bytes each chunk sum covers. The last chunk of an object may be shorter.
pub const CHUNK_BYTES: usize = 1 << 20;

/// The facts of some bytes: how many, their SHA-256, and a checksum for each chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// How many bytes there are.
    pub size_bytes: u64,
    /// The SHA-256 of all of them.
    pub sha256: Sha256Digest,
    /// The CRC32C of each [`CHUNK_BYTES`] of them.
    pub chunk_sums: ChunkSums,
}

impl Facts {
    /// The facts of bytes that are all at hand.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = ContentHasher::new();
        hasher.update(bytes);
        hasher.finish()
    }
}

/// CRC32C (RFC 3720, appendix B.4) of each [`CHUNK_BYTES`] of an object, so that a reader can
/// check any part of it without reading the rest.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct ChunkSums(Vec<u32>);

/// The bytes are no list of chunk sums.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a list of chunk sums has four bytes for each chunk")]
pub struct ChunkSumsError;

impl ChunkSums {
    /// The sum of the chunk with this index.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<u32> {
        self.0.get(index).copied()
    }

    /// How many chunks there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no chunk: the object is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object of `size_bytes` has this many chunks.
    #[must_use]
    pub fn fits(&self, size_bytes: u64) -> bool {
        u64::try_from(self.0.len()) == Ok(size_bytes.div_ceil(CHUNK_BYTES as u64))
    }

    /// Whether these bytes are the chunk with this index.
    #[must_use]
    pub fn matches(&self, index: usize, chunk: &[u8]) -> bool {
        self.get(index) == Some(crc32c::crc32c(chunk))
    }

    /// Four bytes for each sum, most significant first.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|sum| sum.to_be_bytes()).collect()
    }

    /// Reads what [`ChunkSums::to_bytes`] wrote.
    ///
    /// # Errors
    /// When the length is no multiple of four.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ChunkSumsError> {
        let (sums, rest) = bytes.as_chunks::<4>();
        if rest.is_empty() {
            Ok(Self(
                sums.iter().map(|sum| u32::from_be_bytes(*sum)).collect(),
            ))
        } else {
            Err(ChunkSumsError)
        }
    }
}

impl fmt::Debug for ChunkSums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} chunk sums", self.0.len())
    }
}

/// Computes [`Facts`] over bytes that pass by in pieces of any size.
#[derive(Clone, Default)]
pub struct ContentHasher {
    size_bytes: u64,
    sha256: Sha256,
    sums: Vec<u32>,
    open_sum: u32,
    open_bytes: usize,
}

impl ContentHasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        self.size_bytes += bytes.len() as u64;
        self.sha256.update(bytes);
        while !bytes.is_empty() {
            let room = CHUNK_BYTES - self.open_bytes;
            let (head, rest) = bytes.split_at(room.min(bytes.len()));
            self.open_sum = crc32c::crc32c_append(self.open_sum, head);
            self.open_bytes += head.len();
            if self.open_bytes == CHUNK_BYTES {
                self.close_chunk();
            }
            bytes = rest;
        }
    }

    /// How many bytes were taken so far.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// The facts of all bytes that were taken.
    #[must_use]
    pub fn finish(mut self) -> Facts {
        if self.open_bytes > 0 {
            self.close_chunk();
        }
        Facts {
            size_bytes: self.size_bytes,
            sha256: Sha256Digest::from_bytes(self.sha256.finalize().into()),
            chunk_sums: ChunkSums(self.sums),
        }
    }

    fn close_chunk(&mut self) {
        self.sums.push(self.open_sum);
        self.open_sum = 0;
        self.open_bytes = 0;
    }
}

impl fmt::Debug for ContentHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHasher after {} bytes", self.size_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pieces_do_not_matter() {
        let bytes: Vec<u8> = (0..2 * CHUNK_BYTES + 7).map(|n| (n % 251) as u8).collect();
        let whole = Facts::of(&bytes);
        for piece_bytes in [1_000, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1] {
            let mut hasher = ContentHasher::new();
            bytes
                .chunks(piece_bytes)
                .for_each(|piece| hasher.update(piece));
            assert_eq!(hasher.finish(), whole, "{piece_bytes}");
        }
        assert_eq!(whole.chunk_sums.len(), 3);
        assert!(whole.chunk_sums.fits(whole.size_bytes));
        assert!(whole.chunk_sums.matches(2, &bytes[2 * CHUNK_BYTES..]));
        assert!(!whole.chunk_sums.matches(1, &bytes[..CHUNK_BYTES - 1]));
    }

    #[test]
    fn nothing_has_no_chunk() {
        let facts = Facts::of(b"");
        assert_eq!(facts.size_bytes, 0);
        assert!(facts.chunk_sums.is_empty() && facts.chunk_sums.fits(0));
        assert_eq!(facts.sha256, Sha256Digest::of(b""));
    }

    #[test]
    fn sums_read_back_and_follow_the_standard() {
        // The check value of CRC-32C for "123456789", as in the catalogue of CRC algorithms.
        let sums = Facts::of(b"123456789").chunk_sums;
        assert_eq!(sums.get(0), Some(0xe306_9283));
        assert_eq!(ChunkSums::from_bytes(&sums.to_bytes()), Ok(sums));
        assert_eq!(ChunkSums::from_bytes(&[1, 2, 3]), Err(ChunkSumsError));
    }
}
