//! What counts as one download.
//!
//! A buyer's client asks for a file in many ways: at once, in eight ranges side by side, again
//! from where the line broke. All of this is one download. It is told from a second one by bytes
//! alone, because a client can say what it likes: a download is the requests that together send
//! about one file.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{DownloadId, Timestamp, UnknownState};

/// How long a download may be continued, from its beginning: as long as a signed URL lives.
pub const DOWNLOAD_WINDOW: Duration = Duration::from_secs(7 * 86_400);

/// What may be sent twice of a large file. Bytes that were handed to the connection and lost with
/// it are sent again; more than this does not fit into the buffers on the way.
const MAX_REPEATED_BYTES: u64 = 16 << 20;

/// The bytes of a file of this size that are still one download: the file, and of a part that was
/// lost on the way up to 16 MiB again, but no more than half of the file.
#[must_use]
pub const fn allowance_bytes(size_bytes: u64) -> u64 {
    let half = size_bytes / 2;
    let repeated = if half < MAX_REPEATED_BYTES {
        half
    } else {
        MAX_REPEATED_BYTES
    };
    size_bytes.saturating_add(repeated)
}

/// A download of one file with one purchase, as far as it got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Download {
    /// Its id.
    pub id: DownloadId,
    /// When its first bytes were granted.
    pub began_at: Timestamp,
    /// The size of the file in bytes.
    pub size_bytes: u64,
    /// The bytes that its answers sent, and those that answers which have not ended may still send.
    pub charged_bytes: u64,
}

impl Download {
    /// Whether a request for `bytes` more at the moment `now` belongs to this download. If not, it
    /// begins another one.
    #[must_use]
    pub fn takes(&self, bytes: u64, now: Timestamp) -> bool {
        let is_open = now < self.began_at.after(DOWNLOAD_WINDOW);
        let total_bytes = self.charged_bytes.saturating_add(bytes);
        is_open && total_bytes <= allowance_bytes(self.size_bytes)
    }

    /// Whether any request at all can still belong to it.
    #[must_use]
    pub fn takes_more(&self, now: Timestamp) -> bool {
        self.takes(1, now)
    }
}

/// How an answer gave a buyer's bytes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantKind {
    /// It sent them.
    Stream,
    /// It led to a signed URL.
    Redirect,
    /// It handed out a signed URL.
    SignedUrl,
    /// It sent them to whoever followed a signed URL of this server.
    Link,
}

impl GrantKind {
    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Stream, Self::Redirect, Self::SignedUrl, Self::Link];

    /// The name of the kind in receipts and in the catalog.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Redirect => "redirect",
            Self::SignedUrl => "signed_url",
            Self::Link => "link",
        }
    }
}

impl fmt::Display for GrantKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for GrantKind {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownState::new("kind of grant", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededEntropy;

    fn now() -> Timestamp {
        Timestamp::from_unix_ms(1_000_000)
    }

    fn download(size_bytes: u64, charged_bytes: u64) -> Download {
        Download {
            id: DownloadId::generate(now(), &SeededEntropy::new(1)),
            began_at: now(),
            size_bytes,
            charged_bytes,
        }
    }

    #[test]
    fn the_parts_of_a_file_are_one_download_and_the_file_again_is_another() {
        let size_bytes = 1_000;
        assert!(download(size_bytes, 0).takes(1_000, now()));
        assert!(download(size_bytes, 400).takes(600, now()));
        // What a broken line swallowed is sent again.
        assert!(download(size_bytes, 1_000).takes(500, now()));
        assert!(!download(size_bytes, 1_000).takes(501, now()));
        assert!(!download(size_bytes, 1_000).takes(1_000, now()));
        assert!(!download(size_bytes, 1_000).takes(999, now()));
        assert!(!download(size_bytes, u64::MAX).takes(1, now()));
    }

    #[test]
    fn of_a_large_file_only_what_fits_on_the_way_may_be_sent_twice() {
        let size_bytes = 1 << 30;
        assert_eq!(allowance_bytes(size_bytes), (1 << 30) + (16 << 20));
        assert!(download(size_bytes, size_bytes).takes(16 << 20, now()));
        assert!(!download(size_bytes, size_bytes).takes((16 << 20) + 1, now()));
        assert_eq!(allowance_bytes(u64::MAX), u64::MAX);
    }

    #[test]
    fn a_download_can_be_continued_for_a_week() {
        let last = now().after(DOWNLOAD_WINDOW - Duration::from_millis(1));
        assert!(download(1_000, 0).takes_more(last));
        assert!(!download(1_000, 0).takes_more(now().after(DOWNLOAD_WINDOW)));
        assert!(!download(1_000, 1_500).takes_more(now()));
        assert!(download(1_000, 1_499).takes_more(now()));
    }
}
