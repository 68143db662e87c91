//! Receives the body of an upload.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use md5::{Digest, Md5};
use s3s::dto::StreamingBlob;
use s3s::{S3Error, S3ErrorCode, S3Result, StdError, s3_error};

use crate::content::Content;

/// The most that is reserved because a header says so, in bytes.
const MAX_RESERVE: i64 = 16 * 1024 * 1024;

/// A body that has arrived whole.
pub(super) struct Received {
    pub(super) content: Content,
    pub(super) md5: [u8; 16],
}

/// Reads a body to its end and verifies its length and Content-MD5 where they are given. With
/// `discard`, only the length is kept.
pub(super) async fn receive(
    body: Option<StreamingBlob>,
    content_length: Option<i64>,
    content_md5: Option<&str>,
    discard: bool,
) -> S3Result<Received> {
    let content_md5 = content_md5.map(parse_md5).transpose()?;
    let mut kept = match content_length {
        Some(length) if !discard => BytesMut::with_capacity(length.clamp(0, MAX_RESERVE) as usize),
        _ => BytesMut::new(),
    };
    let mut size_bytes = 0;
    let mut hasher = Md5::new();
    if let Some(mut body) = body {
        while let Some(chunk) = body.next().await {
            let chunk: Bytes = chunk.map_err(|error| broken(&error))?;
            hasher.update(&chunk);
            size_bytes += chunk.len() as u64;
            if !discard {
                kept.extend_from_slice(&chunk);
            }
        }
    }

    if content_length.is_some_and(|length| length != size_bytes as i64) {
        return Err(s3_error!(
            IncompleteBody,
            "The body is not as long as Content-Length says."
        ));
    }
    let md5: [u8; 16] = hasher.finalize().into();
    if content_md5.is_some_and(|given| given != md5) {
        return Err(s3_error!(
            BadDigest,
            "The Content-MD5 you specified did not match what we received."
        ));
    }
    let content = if discard {
        Content::Discarded(size_bytes)
    } else {
        Content::Kept(vec![kept.freeze()])
    };
    Ok(Received { content, md5 })
}

fn parse_md5(text: &str) -> S3Result<[u8; 16]> {
    BASE64_STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| s3_error!(InvalidDigest, "The Content-MD5 you specified is not valid."))
}

/// The error type of `s3s` for a payload with the wrong sha256 is private, so its text is read.
fn broken(error: &StdError) -> S3Error {
    if error.to_string().contains("Sha256Mismatch") {
        let mut error = S3Error::with_message(
            S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()),
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        );
        error.set_status_code(http::StatusCode::BAD_REQUEST);
        return error;
    }
    s3_error!(IncompleteBody, "The body ended early.")
}
