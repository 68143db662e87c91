//! What is kept of an object besides its bytes: in an extended attribute of its file.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use rustix::fs::{Stat, XattrFlags, fgetxattr, fsetxattr};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use stockroom_domain::{Sha256Digest, Timestamp};

use crate::sign::is_media_type;
use crate::{Facts, Metadata, ObjectInfo, WriteOptions};

/// The attribute's name.
const NAME: &str = "user.stockroom";
/// More than [`Metadata`], a media type and a digest need as JSON; the block size that limits
/// attributes on ext4.
const MAX_BYTES: usize = 4_096;

/// The content of the attribute.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attributes {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Sha256Digest>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    /// Another program wrote the file, and it became an object where it lies.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_adopted: bool,
}

impl Attributes {
    pub(super) fn new(options: &WriteOptions, facts: &Facts) -> Self {
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self {
            content_type: options.content_type.clone(),
            sha256: Some(facts.sha256),
            metadata: options.metadata.iter().map(owned).collect(),
            is_adopted: false,
        }
    }

    /// Those of a file that another program wrote.
    pub(super) fn adopted(options: &WriteOptions, facts: &Facts) -> Self {
        Self {
            is_adopted: true,
            ..Self::new(options, facts)
        }
    }

    /// Writes them to a file. Returns whether the file system keeps them.
    pub(super) fn write_to(&self, file: BorrowedFd<'_>) -> Result<bool, Errno> {
        let json = serde_json::to_vec(self).map_err(|_| Errno::INVAL)?;
        match fsetxattr(file, NAME, &json, XattrFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOTSUP | Errno::NOSYS) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads those of a file. What other programs wrote there is ignored where it does not fit.
    pub(super) fn read_from(file: BorrowedFd<'_>) -> Self {
        let mut room = [MaybeUninit::uninit(); MAX_BYTES];
        let json = match fgetxattr(file, NAME, &mut room) {
            Ok((json, _)) => json,
            // Adopted files have none, and some file systems keep none.
            Err(Errno::NODATA | Errno::NOTSUP | Errno::NOSYS) => return Self::default(),
            Err(error) => {
                tracing::warn!(%error, "an object's attributes cannot be read");
                return Self::default();
            }
        };
        serde_json::from_slice(json).unwrap_or_else(|error| {
            tracing::warn!(%error, "an object's attributes are none of ours");
            Self::default()
        })
    }

    /// What is known of the object whose file has these attributes and this status.
    pub(super) fn into_info(self, stat: &Stat) -> ObjectInfo {
        let mut metadata = Metadata::default();
        for (name, value) in &self.metadata {
            // A value that another program put there and that no store would take is left out.
            metadata.insert(name, value).ok();
        }
        ObjectInfo {
            size_bytes: size_bytes(stat),
            content_type: self.content_type.filter(|text| is_media_type(text)),
            modified_at: modified_at(stat),
            sha256: self.sha256,
            metadata,
            etag: Some(etag(stat)),
            is_stockrooms: self.sha256.is_some() && !self.is_adopted,
        }
    }
}

/// A validator that changes whenever the file does.
pub(super) fn etag(stat: &Stat) -> String {
    format!(
        "{:x}-{:x}-{:x}.{:x}",
        stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec
    )
}

pub(super) fn size_bytes(stat: &Stat) -> u64 {
    // A file's size is never negative.
    u64::try_from(stat.st_size).unwrap_or(0)
}

#[expect(
    clippy::useless_conversion,
    reason = "the types of these fields differ between systems"
)]
pub(super) fn modified_at(stat: &Stat) -> Timestamp {
    let (seconds, nanoseconds) = (i64::from(stat.st_mtime), stat.st_mtime_nsec);
    let ms = i64::try_from(nanoseconds / 1_000_000).unwrap_or(0);
    Timestamp::from_unix_ms(seconds.saturating_mul(1_000).saturating_add(ms))
}
