//! Small files that are asked for again and again, in memory.
//!
//! A file is found by its SHA-256, which was computed of the very bytes that are kept. So they cannot be out of date, and
//! nothing has to be forgotten: whether a caller may have them, and which bytes an asset has, is asked of the gate and of
//! the record each time.

use std::fmt;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use stockroom_domain::Sha256Digest;

/// The largest file that is kept.
const LARGEST_BYTES: u64 = 64 * 1024;

/// What an entry takes besides the bytes, about.
const ENTRY_BYTES: u64 = 128;

/// The files, the ones first to go that are asked for least.
pub struct HotFiles(Option<Cache<Sha256Digest, Hot, Weight>>);

#[derive(Clone)]
enum Hot {
    /// Asked for once. Most files are asked for once in a long while, and are not worth computing a hash.
    Asked,
    Kept(Bytes),
}

#[derive(Clone)]
struct Weight;

impl Weighter<Sha256Digest, Hot> for Weight {
    fn weight(&self, _: &Sha256Digest, hot: &Hot) -> u64 {
        match hot {
            Hot::Asked => ENTRY_BYTES,
            Hot::Kept(bytes) => ENTRY_BYTES + bytes.len() as u64,
        }
    }
}

/// What is known here of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Known {
    /// Its bytes.
    Bytes(Bytes),
    /// It was asked for before: whoever reads all of it hands it to [`HotFiles::keep`].
    Again,
    /// It is too large, or asked for the first time.
    Nothing,
}

impl HotFiles {
    /// Room for so many bytes; none keeps nothing.
    #[must_use]
    pub fn new(room_bytes: Option<u64>) -> Self {
        Self(room_bytes.map(|room_bytes| {
            let items = usize::try_from(room_bytes / (LARGEST_BYTES / 4)).unwrap_or(usize::MAX);
            Cache::with_weighter(items, room_bytes, Weight)
        }))
    }

    /// Looks for the file with this SHA-256 and size, and notes that somebody asked for it.
    #[must_use]
    pub fn find(&self, sha256: Sha256Digest, size_bytes: u64) -> Known {
        let Some(files) = &self.0 else {
            return Known::Nothing;
        };
        if !(1..=LARGEST_BYTES).contains(&size_bytes) {
            return Known::Nothing;
        }
        match files.get(&sha256) {
            Some(Hot::Kept(bytes)) => Known::Bytes(bytes),
            Some(Hot::Asked) => Known::Again,
            None => {
                files.insert(sha256, Hot::Asked);
                Known::Nothing
            }
        }
    }

    /// Keeps a file, when its bytes have this SHA-256.
    pub fn keep(&self, sha256: Sha256Digest, bytes: &[u8]) {
        if let Some(files) = &self.0
            && Sha256Digest::of(bytes) == sha256
        {
            // What they came in may be a part of something larger.
            let kept = Hot::Kept(Bytes::copy_from_slice(bytes));
            files.insert(sha256, kept);
        }
    }
}

impl fmt::Debug for HotFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.0.as_ref().map_or(0, Cache::len);
        write!(f, "HotFiles({entries} entries)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM_BYTES: u64 = 1 << 20;

    fn find(files: &HotFiles, bytes: &[u8]) -> Known {
        files.find(Sha256Digest::of(bytes), bytes.len() as u64)
    }

    #[test]
    fn a_file_is_kept_when_it_is_asked_for_again() {
        let files = HotFiles::new(Some(ROOM_BYTES));
        let bytes = Bytes::from_static(b"solid");
        assert_eq!(find(&files, &bytes), Known::Nothing);
        assert_eq!(find(&files, &bytes), Known::Again);
        files.keep(Sha256Digest::of(&bytes), &bytes);
        assert_eq!(find(&files, &bytes), Known::Bytes(bytes));
    }

    #[test]
    fn what_has_another_sha_256_is_not_kept() {
        let files = HotFiles::new(Some(ROOM_BYTES));
        let wanted = Sha256Digest::of(b"solid");
        let _ = files.find(wanted, 5);
        files.keep(wanted, b"solit");
        assert_eq!(files.find(wanted, 5), Known::Again);
    }

    #[test]
    fn what_is_large_or_empty_or_not_wanted_is_not_kept() {
        let (files, none) = (HotFiles::new(Some(ROOM_BYTES)), HotFiles::new(None));
        for _ in 0..3 {
            assert_eq!(find(&files, &vec![1; 64 * 1024 + 1]), Known::Nothing);
            assert_eq!(find(&files, b""), Known::Nothing);
            assert_eq!(find(&none, b"solid"), Known::Nothing);
        }
        none.keep(Sha256Digest::of(b"solid"), b"solid");
        assert_eq!(find(&none, b"solid"), Known::Nothing);
    }

    #[test]
    fn files_take_no_more_than_their_room() {
        let files = HotFiles::new(Some(ROOM_BYTES));
        for n in 0..200_u32 {
            let bytes = n.to_le_bytes().repeat(8 * 1024);
            let _ = find(&files, &bytes);
            files.keep(Sha256Digest::of(&bytes), &bytes);
        }
        let cache = files.0.as_ref().unwrap();
        assert!(cache.weight() <= ROOM_BYTES, "{}", cache.weight());
        assert!(cache.len() > 8, "{} files of 32 KiB", cache.len());
    }
}
