//! The stable codes of errors, each with its status and title.

use http::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:ident, $title:literal;)+) => {
        /// What kind of problem it is. Outside programs test for the text, so it never changes.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $name),+
        }

        impl Code {
            /// All codes.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The code in the body.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// The status of the response.
            #[must_use]
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),+ }
            }

            /// The code in words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),+ }
            }
        }
    };
}

codes! {
    /// The key of an object is none.
    InvalidKey = "invalid_key", BAD_REQUEST, "Not a key";
    /// A parameter, a header or a field is wrong.
    InvalidRequest = "invalid_request", BAD_REQUEST, "Invalid request";
    /// The form cannot be read as one.
    BadMultipart = "bad_multipart", BAD_REQUEST, "Broken form";
    /// No valid key was sent.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "A valid key is needed";
    /// The user has not bought it, or not any more.
    NotPurchased = "not_purchased", FORBIDDEN, "Not purchased";
    /// The purchase's downloads are used up.
    DownloadLimitReached = "download_limit_reached", FORBIDDEN, "Download limit reached";
    /// The key may not do this.
    Forbidden = "forbidden", FORBIDDEN, "Forbidden";
    /// The signature of a URL is not ours, or that of an event is none that we know.
    BadSignature = "bad_signature", FORBIDDEN, "Bad signature";
    /// The signature of a URL or an event is right and has ended.
    SignatureExpired = "signature_expired", FORBIDDEN, "Signature expired";
    /// There is nothing, or nothing the caller may know of.
    NotFound = "not_found", NOT_FOUND, "Not found";
    /// The path exists, not with this method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, "Method not allowed";
    /// The order was recorded before with other contents.
    OrderConflict = "order_conflict", CONFLICT, "Order conflict";
    /// The key cannot be stored beside one that is there, or names an object.
    KeyConflict = "key_conflict", CONFLICT, "Key conflict";
    /// The asset's model was deleted.
    ModelDeleted = "model_deleted", CONFLICT, "Model deleted";
    /// The object holds the bytes of an asset.
    ObjectInUse = "object_in_use", CONFLICT, "Object in use";
    /// The migration cannot do this now, or another one is not finished.
    MigrationConflict = "migration_conflict", CONFLICT, "Migration conflict";
    /// A precondition of the request does not hold.
    PreconditionFailed = "precondition_failed", PRECONDITION_FAILED, "Precondition failed";
    /// The body is larger than allowed.
    TooLarge = "too_large", PAYLOAD_TOO_LARGE, "Too large";
    /// The body's type is not one we take.
    UnsupportedType = "unsupported_type", UNSUPPORTED_MEDIA_TYPE, "Unsupported type";
    /// No byte of the range exists.
    RangeNotSatisfiable = "range_not_satisfiable", RANGE_NOT_SATISFIABLE, "Range not satisfiable";
    /// The bytes are not those whose digest was sent.
    DigestMismatch = "digest_mismatch", UNPROCESSABLE_ENTITY, "Digest mismatch";
    /// The file is damaged or not what its name says.
    InvalidModelFile = "invalid_model_file", UNPROCESSABLE_ENTITY, "Invalid model file";
    /// The caller asks too often.
    TooManyRequests = "too_many_requests", TOO_MANY_REQUESTS, "Too many requests";
    /// The client was too slow.
    RequestTimeout = "request_timeout", REQUEST_TIMEOUT, "Request timeout";
    /// We failed.
    Internal = "internal_error", INTERNAL_SERVER_ERROR, "Internal error";
    /// A store refused or answered with what cannot be right.
    StorageError = "storage_error", BAD_GATEWAY, "Storage error";
    /// A store or the database cannot be reached now.
    StorageUnavailable = "storage_unavailable", SERVICE_UNAVAILABLE, "Storage unavailable";
    /// A store has no room left.
    StorageFull = "storage_full", INSUFFICIENT_STORAGE, "Storage full";
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_snake_case_and_unique() {
        let texts: HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        for text in texts {
            assert!(
                text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{text}"
            );
        }
    }
}
