//! From the errors of the flows to what callers are told.

use stockroom_catalog::{CatalogError, Conflict};
use stockroom_formats::Rejection;
use stockroom_storage::ErrorKind;

use crate::flows::error::{FlowError, InvalidKey};
use crate::http::codes::Code;
use crate::http::pace;
use crate::http::problem::Problem;

impl From<FlowError> for Problem {
    fn from(error: FlowError) -> Self {
        match error {
            FlowError::Denied(denial) => denial.into(),
            FlowError::NotFound => Self::not_found(),
            FlowError::InvalidKey(reason) => reason.into(),
            FlowError::Body(ref cause) if let Some(problem) = pace::too_slow(&**cause) => problem,
            FlowError::Body(_) | FlowError::Incomplete { .. } => Self::invalid(
                "The body broke off before its end. Nothing was stored; send it again.",
            )
            .caused_by(error),
            FlowError::Stalled(limit) => Self::new(
                Code::RequestTimeout,
                format!(
                    "Nothing came for {} seconds. Nothing was stored; send it again.",
                    limit.as_secs()
                ),
            ),
            FlowError::TooLarge { limit_bytes } => Self::new(
                Code::TooLarge,
                format!("The file is larger than the {limit_bytes} bytes that are allowed."),
            ),
            FlowError::DigestMismatch { expected, actual } => Self::new(
                Code::DigestMismatch,
                format!(
                    "The bytes that came have the SHA-256 {actual}, not {expected}. Nothing was stored; send them again."
                ),
            ),
            FlowError::Rejected(rejection) => rejection.into(),
            FlowError::Storage(error) => error.into(),
            FlowError::Catalog(error) => error.into(),
            FlowError::Expiry => {
                Self::invalid("expires_in is a number of seconds from 1 to 604800 (7 days).")
            }
        }
    }
}

impl From<InvalidKey> for Problem {
    fn from(reason: InvalidKey) -> Self {
        Self::new(Code::InvalidKey, format!("This is no key: {reason}."))
    }
}

impl From<Rejection> for Problem {
    fn from(rejection: Rejection) -> Self {
        let code = match rejection {
            Rejection::UnsupportedType(_) => Code::UnsupportedType,
            Rejection::InvalidModelFile(_) => Code::InvalidModelFile,
        };
        Self::new(code, rejection.to_string())
    }
}

impl From<stockroom_storage::Error> for Problem {
    fn from(error: stockroom_storage::Error) -> Self {
        let (code, detail) = match error.kind() {
            ErrorKind::Full => (
                Code::StorageFull,
                "The storage has no room left. Nothing was stored; tell the operator.",
            ),
            ErrorKind::KeyConflict => (
                Code::KeyConflict,
                "A key cannot lie below another one that is a file. Choose another key.",
            ),
            ErrorKind::Unavailable => (
                Code::StorageUnavailable,
                "The storage cannot be reached now. Try again later.",
            ),
            ErrorKind::RangeNotSatisfiable { size_bytes } => {
                return Self::range_not_satisfiable(size_bytes);
            }
            ErrorKind::Invalid => (
                Code::InvalidRequest,
                "The storage cannot do this with the file.",
            ),
            _ => (
                Code::StorageError,
                "The storage failed to do this. Tell the operator the request id; stockroom doctor finds the cause.",
            ),
        };
        let mut problem = Self::new(code, detail);
        if code == Code::StorageUnavailable {
            problem = problem.with_header(
                http::header::RETRY_AFTER,
                http::HeaderValue::from_static("5"),
            );
        }
        problem.caused_by(error)
    }
}

impl From<CatalogError> for Problem {
    fn from(error: CatalogError) -> Self {
        match error {
            CatalogError::NotFound(_) => Self::not_found(),
            CatalogError::Conflict(Conflict::Order) => Self::new(
                Code::OrderConflict,
                "This order_ref was recorded before with another body. Use another order_ref for another order.",
            ),
            CatalogError::Conflict(Conflict::ObjectInUse { asset }) => Self::new(
                Code::ObjectInUse,
                format!("The object holds the bytes of {asset}. Delete the asset instead."),
            ),
            CatalogError::Conflict(Conflict::KeyTaken) => Self::new(
                Code::KeyConflict,
                "The key names an object, so none that was deleted before can return to it.",
            ),
            CatalogError::Conflict(Conflict::AssetObject { asset }) => Self::new(
                Code::ObjectInUse,
                format!("The object holds the bytes of {asset}. Restore the asset instead."),
            ),
            CatalogError::Conflict(Conflict::ModelDeleted { model }) => Self::new(
                Code::ModelDeleted,
                format!("The model {model} was deleted too. Restore it first."),
            ),
            CatalogError::InvalidText { field, reason } => {
                Self::invalid(format!("{field} {reason}."))
            }
            CatalogError::TooLarge { field } => Self::invalid(format!("{field} is too large.")),
            CatalogError::InvalidCursor => {
                Self::invalid("cursor is not one that this list gave. Begin again without it.")
            }
            CatalogError::Full(_) => Self::new(
                Code::StorageFull,
                "The database has no room left. Nothing was recorded; tell the operator.",
            )
            .caused_by(error),
            CatalogError::Busy(_) | CatalogError::Unavailable(_) => Self::new(
                Code::StorageUnavailable,
                "The database cannot answer now. Try again later.",
            )
            .with_header(
                http::header::RETRY_AFTER,
                http::HeaderValue::from_static("5"),
            )
            .caused_by(error),
            other => Self::internal(other),
        }
    }
}
