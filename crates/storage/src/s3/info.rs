//! What the store knows of an object, and HEAD.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::primitives::DateTime;
use stockroom_domain::{Key, Sha256Digest, Timestamp};

use super::Inner;
use super::error::Failure;
use crate::{Error, ErrorKind, Metadata, ObjectInfo, Operation, Result, WriteOptions, Written};

/// The user metadata that holds the SHA-256 an object was written with, in hex.
const SHA256: &str = "stockroom-sha256";

/// The user metadata that holds the random mark of the upload that made an object. It proves
/// that an upload took effect whose answer was lost.
const UPLOAD: &str = "stockroom-upload";

/// What is written beside the bytes.
#[derive(Debug, Clone)]
pub(super) struct Label {
    pub(super) content_type: Option<String>,
    pub(super) metadata: HashMap<String, String>,
    /// The value of `stockroom-upload`.
    mark: String,
}

impl Label {
    pub(super) fn new(
        options: &WriteOptions,
        sha256: Option<Sha256Digest>,
        mark: [u8; 16],
    ) -> Self {
        let mark = hex::encode(mark);
        let mut metadata: HashMap<String, String> = options
            .metadata
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        metadata.insert(UPLOAD.to_owned(), mark.clone());
        if let Some(sha256) = sha256 {
            metadata.insert(SHA256.to_owned(), sha256.to_string());
        }
        Self {
            content_type: options.content_type.clone(),
            metadata,
            mark,
        }
    }
}

/// Reads what is known of an object.
pub(super) async fn head(inner: &Inner, key: &Key) -> Result<ObjectInfo> {
    let output = inner
        .call(Operation::Head, |_| {
            let request = inner.client.head_object().bucket(&inner.bucket);
            request.key(key.as_str()).send()
        })
        .await;
    match output {
        Ok(output) => {
            inner.versioning.learn_from_read(output.version_id());
            of_head(inner, key, &output)
        }
        Err(failure) if failure.status() == Some(404) => Err(absence(inner, key, failure).await),
        Err(failure) => Err(inner.error(Operation::Head, Some(key), failure)),
    }
}

/// Whether an object is the one that was written with this label: its answer was lost, but it
/// took effect. `None` also when the store does not answer now.
pub(super) async fn proof(
    inner: &Inner,
    key: &Key,
    label: &Label,
    size_bytes: u64,
) -> Option<Written> {
    let (output, span) = inner
        .attempt(Operation::Head, |_| {
            let request = inner.client.head_object().bucket(&inner.bucket);
            request.key(key.as_str()).send()
        })
        .await
        .ok()?;
    span.end(crate::Outcome::Ok);
    let mark = output.metadata().and_then(|metadata| metadata.get(UPLOAD));
    let is_ours = mark == Some(&label.mark) && size_of(output.content_length()) == Some(size_bytes);
    is_ours.then(|| Written {
        etag: output.e_tag().map(unquoted),
    })
}

/// A HEAD was answered 404. Its answer has no code, so it may also mean that the bucket is not
/// there; as long as nothing has shown the bucket, a GET of one byte tells which it is.
async fn absence(inner: &Inner, key: &Key, failure: Failure) -> Error {
    let not_found = || {
        Error::new(
            &inner.name,
            Operation::Head,
            ErrorKind::NotFound,
            "there is no such object",
        )
        .about(key)
    };
    if inner.bucket_is_there.load(Ordering::Relaxed) {
        return not_found();
    }
    let told = inner
        .call(Operation::Get, |_| {
            let request = inner.client.get_object().bucket(&inner.bucket);
            request.key(key.as_str()).range("bytes=0-0").send()
        })
        .await;
    match told {
        // It came to be in between; when it was asked for, it was not there.
        Ok(_) => not_found(),
        Err(told) if told.is_no_such_key() => {
            inner.bucket_is_there.store(true, Ordering::Relaxed);
            not_found()
        }
        Err(told) if told.code().is_some() => inner.error(Operation::Head, Some(key), told),
        Err(_) => inner.error(Operation::Head, Some(key), failure),
    }
}

fn of_head(inner: &Inner, key: &Key, output: &HeadObjectOutput) -> Result<ObjectInfo> {
    let size_bytes = size_of(output.content_length())
        .ok_or_else(|| unreadable(inner, Operation::Head, key, "it does not tell the size"))?;
    let (metadata, sha256) = metadata_of(output.metadata());
    Ok(ObjectInfo {
        size_bytes,
        content_type: output.content_type().map(str::to_owned),
        modified_at: timestamp_of(output.last_modified()),
        sha256,
        metadata,
        etag: output.e_tag().map(unquoted),
        is_stockrooms: has_mark(output.metadata()),
    })
}

/// What a GET tells of the whole object, whose size was read off its range.
pub(super) fn of_get(output: &GetObjectOutput, size_bytes: u64) -> ObjectInfo {
    let (metadata, sha256) = metadata_of(output.metadata());
    ObjectInfo {
        size_bytes,
        content_type: output.content_type().map(str::to_owned),
        modified_at: timestamp_of(output.last_modified()),
        sha256,
        metadata,
        etag: output.e_tag().map(unquoted),
        is_stockrooms: has_mark(output.metadata()),
    }
}

/// Whether an upload of this store made the object.
fn has_mark(metadata: Option<&HashMap<String, String>>) -> bool {
    metadata.is_some_and(|metadata| metadata.contains_key(UPLOAD))
}

/// An answer that is not as the protocol says.
pub(super) fn unreadable(inner: &Inner, operation: Operation, key: &Key, what: &str) -> Error {
    Error::new(
        &inner.name,
        operation,
        ErrorKind::Other,
        format!("the answer cannot be used: {what}"),
    )
    .about(key)
}

/// The metadata that is the caller's, and the SHA-256 beside it. What other programs wrote and
/// does not fit our rules is left out.
fn metadata_of(found: Option<&HashMap<String, String>>) -> (Metadata, Option<Sha256Digest>) {
    let mut metadata = Metadata::default();
    let mut sha256 = None;
    for (name, value) in found.into_iter().flatten() {
        if name == SHA256 {
            sha256 = value.parse().ok();
        } else {
            let _ = metadata.insert(name, value);
        }
    }
    (metadata, sha256)
}

pub(super) fn timestamp_of(time: Option<&DateTime>) -> Timestamp {
    let unix_ms = time.and_then(|time| time.to_millis().ok());
    Timestamp::from_unix_ms(unix_ms.unwrap_or(0))
}

pub(super) fn size_of(length: Option<i64>) -> Option<u64> {
    length.and_then(|length| u64::try_from(length).ok())
}

/// An ETag without its quotes.
pub(super) fn unquoted(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}
