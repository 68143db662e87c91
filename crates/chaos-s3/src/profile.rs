//! What the strict B2 profile refuses because of a request's headers.

use http::request::Parts;

use crate::answer::Refusal;
use crate::operation::{Operation, query_pairs};

/// Header names and prefixes of names that B2 does not take.
///
/// Source: <https://www.backblaze.com/docs/cloud-storage-s3-compatible-api> and the error texts
/// that B2 answered to the AWS SDKs of 2025.
const UNSUPPORTED: [&str; 6] = [
    "x-amz-checksum-",
    "x-amz-sdk-checksum-algorithm",
    "x-amz-trailer",
    "x-amz-tagging",
    "x-amz-acl",
    "x-amz-grant-",
];

/// Refuses what B2 refuses. Only for the B2 profile.
pub(crate) fn check(operation: Operation, parts: &Parts) -> Result<(), Refusal> {
    let header_names = parts.headers.keys().map(|name| name.as_str().to_owned());
    // A presigned URL carries such headers in its query.
    let query_names =
        query_pairs(parts.uri.query().unwrap_or("")).map(|(name, _)| name.to_lowercase());
    for name in header_names.chain(query_names) {
        if UNSUPPORTED.iter().any(|refused| name.starts_with(refused)) {
            return Err(unsupported(&name));
        }
    }

    let payload = parts.headers.get("x-amz-content-sha256");
    if payload.is_some_and(|payload| payload.as_bytes().ends_with(b"-TRAILER")) {
        return Err(unsupported("x-amz-trailer"));
    }

    let writes = matches!(
        operation,
        Operation::PutObject | Operation::CompleteMultipartUpload | Operation::CopyObject
    );
    for name in ["if-match", "if-none-match"] {
        if writes && parts.headers.contains_key(name) {
            return Err(Refusal::new(
                501,
                "NotImplemented",
                "A header you provided implies functionality that is not implemented.",
            )
            .element("Header", name));
        }
    }

    if operation == Operation::DeleteObjects && !parts.headers.contains_key("content-md5") {
        return Err(Refusal::new(
            400,
            "MissingContentMD5",
            "Missing required header for this request: Content-MD5",
        ));
    }
    Ok(())
}

fn unsupported(header: &str) -> Refusal {
    Refusal::new(
        400,
        "InvalidArgument",
        format!("Unsupported header '{header}' received for this API call."),
    )
}
