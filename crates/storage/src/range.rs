//! Byte ranges of an object.

use std::ops::Range;

/// Which bytes of an object are wanted, as in RFC 9110, section 14.1.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ByteRange {
    /// From this offset to the end: `bytes=500-`.
    From(u64),
    /// From `first` to `last`, both included; `last` may lie beyond the end: `bytes=0-499`.
    Inclusive {
        /// The offset of the first byte.
        first: u64,
        /// The offset of the last byte.
        last: u64,
    },
    /// The last so many bytes, or all when there are fewer: `bytes=-500`.
    Suffix(u64),
}

/// No byte of the range exists in an object of this size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no byte of the range exists in an object of {size_bytes} bytes")]
pub struct UnsatisfiableRange {
    /// The size of the object in bytes.
    pub size_bytes: u64,
}

impl ByteRange {
    /// The offsets that the range means in an object of `size_bytes`; never empty.
    ///
    /// # Errors
    /// When no byte of the range exists.
    pub fn resolve(self, size_bytes: u64) -> Result<Range<u64>, UnsatisfiableRange> {
        let range = match self {
            Self::From(first) => first..size_bytes,
            Self::Inclusive { first, last } => first..last.saturating_add(1).min(size_bytes),
            Self::Suffix(length) => size_bytes.saturating_sub(length)..size_bytes,
        };
        if range.start < range.end {
            Ok(range)
        } else {
            Err(UnsatisfiableRange { size_bytes })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_mean_what_the_rfc_says() {
        let inclusive = |first, last| ByteRange::Inclusive { first, last };
        assert_eq!(ByteRange::From(3).resolve(10), Ok(3..10));
        assert_eq!(inclusive(0, 0).resolve(10), Ok(0..1));
        assert_eq!(inclusive(2, u64::MAX).resolve(10), Ok(2..10));
        assert_eq!(ByteRange::Suffix(3).resolve(10), Ok(7..10));
        assert_eq!(ByteRange::Suffix(u64::MAX).resolve(10), Ok(0..10));
        let unsatisfiable = [
            (ByteRange::From(10), 10),
            (ByteRange::From(u64::MAX), 10),
            (inclusive(5, 4), 10),
            (ByteRange::Suffix(0), 10),
            (ByteRange::From(0), 0),
            (ByteRange::Suffix(5), 0),
        ];
        for (range, size_bytes) in unsatisfiable {
            assert_eq!(
                range.resolve(size_bytes),
                Err(UnsatisfiableRange { size_bytes })
            );
        }
    }
}
