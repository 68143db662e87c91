//! What can go wrong on the way of bytes, in words that both HTTP and the command line use.

use std::time::Duration;

use stockroom_catalog::CatalogError;
use stockroom_domain::{Denial, KeyError, Sha256Digest};
use stockroom_formats::Rejection;
use stockroom_storage::UploadError;

/// Why a flow ended without having done what it was asked for. Nothing is left behind then.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// The gate said no.
    #[error("the gate said no: {0:?}")]
    Denied(Denial),
    /// There is no such object.
    #[error("there is no such object")]
    NotFound,
    /// The text is no key, or one that is kept for the stores themselves.
    #[error("{0}")]
    InvalidKey(#[from] InvalidKey),
    /// The body broke off.
    #[error("the body broke off before its end")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The body is shorter than it was said to be.
    #[error("the body has {actual_bytes} bytes, not the {announced_bytes} that were announced")]
    Incomplete {
        /// What the caller said.
        announced_bytes: u64,
        /// What came.
        actual_bytes: u64,
    },
    /// Nothing came for too long.
    #[error("nothing came for {} seconds", .0.as_secs())]
    Stalled(Duration),
    /// The body is larger than allowed.
    #[error("the file is larger than the {limit_bytes} bytes that are allowed")]
    TooLarge {
        /// The setting `MAX_UPLOAD_BYTES`.
        limit_bytes: u64,
    },
    /// The bytes have another digest than was announced.
    #[error("the bytes that came have the SHA-256 {actual}, not {expected}")]
    DigestMismatch {
        /// What the caller said.
        expected: Sha256Digest,
        /// What came.
        actual: Sha256Digest,
    },
    /// The file is not one that can be sold.
    #[error("{0}")]
    Rejected(#[from] Rejection),
    /// A store failed.
    #[error("{0}")]
    Storage(#[from] stockroom_storage::Error),
    /// The catalog failed.
    #[error("{0}")]
    Catalog(#[from] CatalogError),
    /// A signed URL was asked for with an expiry that no store can give.
    #[error("a signed URL lives from 1 second to 7 days")]
    Expiry,
}

/// Why a text is no key for an object.
#[derive(Debug, thiserror::Error)]
pub enum InvalidKey {
    /// It is no key at all.
    #[error("{0}")]
    Malformed(#[from] KeyError),
    /// Keys there are made by Stockroom itself.
    #[error("keys below {0}/ are made by Stockroom itself; choose another")]
    Reserved(&'static str),
}

impl From<UploadError> for FlowError {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::DigestMismatch { expected, actual } => {
                Self::DigestMismatch { expected, actual }
            }
            UploadError::Store(error) => Self::Storage(error),
        }
    }
}
