//! Errors that answer "what should the caller do?".

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

use stockroom_domain::{Key, StoreName};

use crate::Operation;

/// What a store's calls give back.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation on a store failed, with the store, the operation and the key it was about.
///
/// The text holds no secret and no signed URL, so it may be logged.
pub struct Error {
    // In a box, so that a result costs no more than a pointer where nothing fails.
    parts: Box<Parts>,
}

#[derive(Debug)]
struct Parts {
    store: StoreName,
    operation: Operation,
    key: Option<Key>,
    kind: ErrorKind,
    detail: Cow<'static, str>,
    code: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of failure, told apart by what a caller can do about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The store answered and has no object under the key. This is proof, unlike a time-out.
    NotFound,
    /// No byte of the wanted range exists; the object has `size_bytes`.
    RangeNotSatisfiable {
        /// The size of the object in bytes.
        size_bytes: u64,
    },
    /// The key cannot be stored beside one that is there: on disk, `models/a` and `models/a/b`.
    KeyConflict,
    /// The store has no room left. Free some, then try again.
    Full,
    /// The store knows the caller and refuses. Check the key's capabilities.
    Denied,
    /// The store did not answer in time, or said that it cannot answer now. Try again later.
    Unavailable,
    /// The bytes are not those that were promised: wrong length or wrong checksum.
    Corrupt,
    /// The caller asked for what cannot be: a bad expiry, an object above the store's limits.
    Invalid,
    /// The store cannot do this at all.
    Unsupported,
    /// Anything else; the source tells.
    Other,
}

impl Error {
    /// An error of this kind. `detail` is one clause for people, without secrets.
    #[must_use]
    pub fn new(
        store: &StoreName,
        operation: Operation,
        kind: ErrorKind,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            parts: Box::new(Parts {
                store: store.clone(),
                operation,
                key: None,
                kind,
                detail: detail.into(),
                code: None,
                source: None,
            }),
        }
    }

    /// The same error, about this key.
    #[must_use]
    pub fn about(mut self, key: &Key) -> Self {
        self.parts.key = Some(key.clone());
        self
    }

    /// The same error, with the code that the store's own protocol gives it.
    #[must_use]
    pub fn with_code(mut self, code: impl Into<String>) -> Self {
        self.parts.code = Some(code.into());
        self
    }

    /// The same error, with what caused it.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.parts.source = Some(source.into());
        self
    }

    /// The store that failed.
    #[must_use]
    pub const fn store(&self) -> &StoreName {
        &self.parts.store
    }

    /// What was being done.
    #[must_use]
    pub const fn operation(&self) -> Operation {
        self.parts.operation
    }

    /// The key it was about, if it was about one.
    #[must_use]
    pub const fn key(&self) -> Option<&Key> {
        self.parts.key.as_ref()
    }

    /// The kind of failure.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.parts.kind
    }

    /// One clause for people: what the store said.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.parts.detail
    }

    /// The code that the store's own protocol gives the failure, such as S3's
    /// `SignatureDoesNotMatch`; none when the store did not answer, or not with one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.parts.code.as_deref()
    }

    /// Whether the store answered that no such object exists.
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        matches!(self.parts.kind, ErrorKind::NotFound)
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self.parts.kind, ErrorKind::Unavailable)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.parts.store, self.parts.operation)?;
        if let Some(key) = &self.parts.key {
            write!(f, " {key}")?;
        }
        write!(f, ": {}", self.parts.detail)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.parts, f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.parts
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}
