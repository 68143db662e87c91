//! What tells whether a file is still the one that was looked at.

use rustix::fs::Stat;
use stockroom_domain::Timestamp;

use super::attributes::{modified_at, size_bytes};

/// What a file was when it was looked at. Two of them are equal when nothing was written to the
/// file in between, and its path led to the same file, as far as the file system tells: its clock
/// may stand still for some milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    modified_at: Timestamp,
    links: u64,
}

impl FileStamp {
    #[expect(
        clippy::useless_conversion,
        reason = "the types of these fields differ between systems"
    )]
    pub(super) fn of(stat: &Stat) -> Self {
        let nanoseconds = |field| i64::try_from(field).unwrap_or(0);
        Self {
            device: u64::from(stat.st_dev),
            inode: u64::from(stat.st_ino),
            size_bytes: size_bytes(stat),
            modified: (i64::from(stat.st_mtime), nanoseconds(stat.st_mtime_nsec)),
            changed: (i64::from(stat.st_ctime), nanoseconds(stat.st_ctime_nsec)),
            modified_at: modified_at(stat),
            links: u64::from(stat.st_nlink),
        }
    }

    /// How many bytes the file had.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// When it was last written, as its owner may have set it.
    #[must_use]
    pub const fn modified_at(&self) -> Timestamp {
        self.modified_at
    }

    /// When its bytes, its names or its attributes last changed, which nobody can set.
    #[must_use]
    pub fn changed_at(&self) -> Timestamp {
        let (seconds, nanoseconds) = self.changed;
        Timestamp::from_unix_ms(
            seconds
                .saturating_mul(1_000)
                .saturating_add(nanoseconds / 1_000_000),
        )
    }

    /// Whether the file has more than one name, so that somebody may write to it by another.
    #[must_use]
    pub const fn has_other_names(&self) -> bool {
        self.links > 1
    }

    /// Whether it is the same file with the same bytes, also when its names or its attributes
    /// changed.
    #[must_use]
    pub fn has_same_bytes(&self, other: &Self) -> bool {
        let bytes = |it: &Self| (it.device, it.inode, it.size_bytes, it.modified);
        bytes(self) == bytes(other)
    }
}

impl PartialEq for FileStamp {
    fn eq(&self, other: &Self) -> bool {
        self.has_same_bytes(other) && self.changed == other.changed
    }
}

impl Eq for FileStamp {}
