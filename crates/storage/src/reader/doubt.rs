//! What a read noticed about the copies it met.

use std::fmt;

use stockroom_domain::{Key, StoreName};

use crate::{Error, ErrorKind};

/// A read could not use a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// The store that holds the copy, or should.
    pub store: StoreName,
    /// The key under which the copy lies there.
    pub location: Key,
    /// The offset in the object from which on the copy was of no use. For a chunk whose sum is
    /// wrong it is the beginning of the chunk.
    pub offset: u64,
    /// What was wrong.
    pub kind: DoubtKind,
    /// One clause for people, without secrets.
    pub detail: String,
}

/// What was wrong with a copy, told apart by whom it concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DoubtKind {
    /// The copy has another size or other bytes than were recorded.
    Corrupt,
    /// The store answered that it has no such object.
    Missing,
    /// The store failed or did not answer. Nothing is known of the copy.
    Unavailable,
    /// The store refused. Nothing is known of the copy.
    Denied,
}

impl DoubtKind {
    /// Whether the doubt concerns this one copy; else it concerns the store as a whole, and the
    /// copy may be well.
    #[must_use]
    pub const fn is_about_placement(self) -> bool {
        match self {
            Self::Corrupt | Self::Missing => true,
            Self::Unavailable | Self::Denied => false,
        }
    }

    /// The name in logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Corrupt => "corrupt",
            Self::Missing => "missing",
            Self::Unavailable => "unavailable",
            Self::Denied => "denied",
        }
    }
}

impl fmt::Display for DoubtKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl From<&Error> for DoubtKind {
    fn from(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::Missing,
            // The range that is asked for always exists in an object of the recorded size.
            ErrorKind::Corrupt | ErrorKind::RangeNotSatisfiable { .. } => Self::Corrupt,
            ErrorKind::Denied => Self::Denied,
            ErrorKind::Unavailable
            | ErrorKind::Full
            | ErrorKind::KeyConflict
            | ErrorKind::Invalid
            | ErrorKind::Unsupported
            | ErrorKind::Other => Self::Unavailable,
        }
    }
}

/// Is told of every doubt. It must return at once: it runs on the path of the bytes.
pub trait Doubts: fmt::Debug + Send + Sync + 'static {
    /// A read could not use a copy.
    fn doubt(&self, doubt: &Doubt);
}

/// Listens to nothing. Doubts are logged all the same.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoDoubts;

impl Doubts for NoDoubts {
    fn doubt(&self, _: &Doubt) {}
}
