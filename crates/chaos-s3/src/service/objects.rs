//! Operations on single objects.

use std::ops::Range as Span;
use std::time::SystemTime;

use s3s::auth::Credentials;
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::receive::receive;
use super::{Store, metadata_of};
use crate::access::{covers, delete_needs, not_entitled};
use crate::locked;
use crate::state::{self, Deleted, State, StoredObject, Version};

/// The largest object that one PUT or one CopyObject makes, in bytes.
const MAX_SINGLE_BYTES: u64 = 5 * 1024 * 1024 * 1024;

/// The largest number of entries in one DeleteObjects.
const MAX_DELETES: usize = 1_000;

/// The inputs of GET and HEAD are different types with the same fields.
macro_rules! lookup_of {
    ($request:expr) => {
        Lookup {
            credentials: $request.credentials,
            bucket: $request.input.bucket,
            key: $request.input.key,
            version_id: $request.input.version_id,
            range: $request.input.range,
            conditions: Conditions {
                if_match: $request.input.if_match,
                if_none_match: $request.input.if_none_match,
                if_modified_since: $request.input.if_modified_since,
                if_unmodified_since: $request.input.if_unmodified_since,
            },
        }
    };
}

impl Store {
    pub(super) async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        locked(&self.state).bucket(&input.bucket)?;
        let received = receive(
            input.body,
            input.content_length,
            input.content_md5.as_deref(),
            self.options.discard_bodies,
        )
        .await?;
        if received.content.size_bytes() > MAX_SINGLE_BYTES {
            return Err(s3_error!(EntityTooLarge, "One PUT may send at most 5 GiB."));
        }

        let etag = hex::encode(received.md5);
        let object = StoredObject {
            content: received.content,
            etag: etag.clone(),
            metadata: metadata_of!(input),
        };
        let mut state = locked(&self.state);
        check_write(
            state.bucket(&input.bucket)?,
            &input.key,
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
        )?;
        let version_id = state.put(&input.bucket, &input.key, object, self.clock.now())?;
        Ok(S3Response::new(PutObjectOutput {
            e_tag: Some(ETag::Strong(etag)),
            version_id,
            ..PutObjectOutput::default()
        }))
    }

    pub(super) async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let found = self.look_up(&lookup_of!(request))?;
        // s3s itself applies the response-* overrides of the query.
        Ok(S3Response::new(GetObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some((found.span.end - found.span.start) as i64),
            content_range: found.content_range,
            body: Some(StreamingBlob::new(found.object.content.read(found.span))),
            e_tag: Some(ETag::Strong(found.object.etag)),
            last_modified: Some(found.modified.into()),
            version_id: found.version_id,
            content_type: told_type(found.object.metadata.content_type),
            cache_control: found.object.metadata.cache_control,
            content_disposition: found.object.metadata.content_disposition,
            content_encoding: found.object.metadata.content_encoding,
            content_language: found.object.metadata.content_language,
            metadata: Some(found.object.metadata.user.into_iter().collect()),
            ..GetObjectOutput::default()
        }))
    }

    pub(super) async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let found = self.look_up(&lookup_of!(request))?;
        Ok(S3Response::new(HeadObjectOutput {
            accept_ranges: Some("bytes".to_owned()),
            content_length: Some((found.span.end - found.span.start) as i64),
            content_range: found.content_range,
            e_tag: Some(ETag::Strong(found.object.etag)),
            last_modified: Some(found.modified.into()),
            version_id: found.version_id,
            content_type: told_type(found.object.metadata.content_type),
            cache_control: found.object.metadata.cache_control,
            content_disposition: found.object.metadata.content_disposition,
            content_encoding: found.object.metadata.content_encoding,
            content_language: found.object.metadata.content_language,
            metadata: Some(found.object.metadata.user.into_iter().collect()),
            ..HeadObjectOutput::default()
        }))
    }

    fn look_up(&self, lookup: &Lookup) -> S3Result<Found> {
        let caller = self.caller(lookup.credentials.as_ref())?;
        let state = locked(&self.state);
        let bucket = state.bucket(&lookup.bucket)?;
        let found = bucket.find(&lookup.key, lookup.version_id.as_deref());
        let (version, object) = self.hide_missing(found, caller)?;
        lookup.conditions.check(version, object)?;
        let (span, content_range) = span_of(lookup.range, object.content.size_bytes())?;
        Ok(Found {
            object: object.clone(),
            modified: version.modified,
            version_id: bucket.told_version(version),
            span,
            content_range,
        })
    }

    pub(super) async fn copy_object(
        &self,
        request: S3Request<CopyObjectInput>,
    ) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = request.input;
        let CopySource::Bucket {
            bucket: source_bucket,
            key: source_key,
            version_id: source_version,
        } = &input.copy_source
        else {
            return Err(s3_error!(
                NotImplemented,
                "Only a bucket can be copied from"
            ));
        };
        let caller = self.caller(request.credentials.as_ref())?;
        let other_bucket = caller
            .bucket
            .as_ref()
            .is_some_and(|b| **b != **source_bucket);
        if other_bucket || !covers(caller, source_key) {
            return Err(not_entitled(self.options.profile));
        }

        let mut state = locked(&self.state);
        let bucket = state.bucket(source_bucket)?;
        let (version, source) = bucket.find(source_key, source_version.as_deref())?;
        if source.content.size_bytes() > MAX_SINGLE_BYTES {
            return Err(s3_error!(
                InvalidRequest,
                "One copy may make at most 5 GiB."
            ));
        }
        let unmet = match &input.copy_source_if_match {
            Some(condition) => !names(condition, &source.etag),
            None => false,
        };
        if unmet {
            return Err(precondition_failed());
        }
        let copy_source_version_id = bucket.told_version(version);
        let mut object = source.clone();
        let replaces = input
            .metadata_directive
            .as_ref()
            .is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
        if replaces {
            object.metadata = metadata_of!(input);
        }

        let etag = object.etag.clone();
        let now = self.clock.now();
        let version_id = state.put(&input.bucket, &input.key, object, now)?;
        Ok(S3Response::new(CopyObjectOutput {
            copy_object_result: Some(CopyObjectResult {
                e_tag: Some(ETag::Strong(etag)),
                last_modified: Some(now.into()),
                ..CopyObjectResult::default()
            }),
            copy_source_version_id,
            version_id,
            ..CopyObjectOutput::default()
        }))
    }

    pub(super) async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        let Deleted {
            version_id,
            is_delete_marker,
        } = locked(&self.state).delete(
            &input.bucket,
            &input.key,
            input.version_id.as_deref(),
            self.clock.now(),
        )?;
        Ok(S3Response::with_status(
            DeleteObjectOutput {
                delete_marker: is_delete_marker.then_some(true),
                version_id,
                ..DeleteObjectOutput::default()
            },
            http::StatusCode::NO_CONTENT,
        ))
    }

    pub(super) async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let input = request.input;
        if input.delete.objects.len() > MAX_DELETES {
            return Err(s3_error!(
                MalformedXML,
                "At most 1000 keys may be deleted at once."
            ));
        }
        let caller = self.caller(request.credentials.as_ref())?;
        let profile = self.options.profile;
        let mut state = locked(&self.state);
        state.bucket(&input.bucket)?;

        let mut deleted = Vec::new();
        let mut errors = Vec::new();
        for entry in input.delete.objects {
            let needed = delete_needs(profile, entry.version_id.is_some());
            if !caller.can(needed) || !covers(caller, &entry.key) {
                let refusal = not_entitled(profile);
                errors.push(Error {
                    code: Some(refusal.code().as_str().to_owned()),
                    key: Some(entry.key),
                    message: refusal.message().map(str::to_owned),
                    version_id: entry.version_id,
                });
                continue;
            }
            deleted.push(delete_entry(
                &mut state,
                &input.bucket,
                entry,
                self.clock.now(),
            )?);
        }
        let quiet = input.delete.quiet == Some(true);
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: (!quiet).then_some(deleted),
            errors: (!errors.is_empty()).then_some(errors),
            ..DeleteObjectsOutput::default()
        }))
    }
}

/// Refuses a write whose `If-Match` or `If-None-Match` does not hold.
pub(super) fn check_write(
    bucket: &state::Bucket,
    key: &str,
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> S3Result<()> {
    let current = bucket.visible(key).map(|(_, object)| &*object.etag);
    if let Some(condition) = if_match {
        let Some(etag) = current else {
            return Err(s3_error!(NoSuchKey, "The specified key does not exist."));
        };
        if !names(condition, etag) {
            return Err(precondition_failed());
        }
    }
    if let (Some(condition), Some(etag)) = (if_none_match, current)
        && names(condition, etag)
    {
        return Err(precondition_failed());
    }
    Ok(())
}

fn delete_entry(
    state: &mut State,
    bucket: &str,
    entry: ObjectIdentifier,
    now: SystemTime,
) -> S3Result<DeletedObject> {
    let done = state.delete(bucket, &entry.key, entry.version_id.as_deref(), now)?;
    Ok(DeletedObject {
        delete_marker: done.is_delete_marker.then_some(true),
        delete_marker_version_id: done.version_id.filter(|_| done.is_delete_marker),
        key: Some(entry.key),
        version_id: entry.version_id,
    })
}

/// What a GET and a HEAD have in common.
struct Lookup {
    credentials: Option<Credentials>,
    bucket: String,
    key: String,
    version_id: Option<String>,
    range: Option<Range>,
    conditions: Conditions,
}

struct Found {
    object: StoredObject,
    modified: SystemTime,
    version_id: Option<String>,
    span: Span<u64>,
    content_range: Option<String>,
}

/// The conditions of a GET or HEAD, RFC 9110 section 13.
struct Conditions {
    if_match: Option<ETagCondition>,
    if_none_match: Option<ETagCondition>,
    if_modified_since: Option<Timestamp>,
    if_unmodified_since: Option<Timestamp>,
}

impl Conditions {
    fn check(&self, version: &Version, object: &StoredObject) -> S3Result<()> {
        let modified = Timestamp::from(whole_seconds(version.modified));
        let failed = match (&self.if_match, &self.if_unmodified_since) {
            (Some(condition), _) => !names(condition, &object.etag),
            (None, Some(since)) => modified > *since,
            (None, None) => false,
        };
        if failed {
            return Err(precondition_failed());
        }
        let unchanged = match (&self.if_none_match, &self.if_modified_since) {
            (Some(condition), _) => names(condition, &object.etag),
            (None, Some(since)) => modified <= *since,
            (None, None) => false,
        };
        if unchanged {
            return Err(s3_error!(NotModified));
        }
        Ok(())
    }
}

/// HTTP dates have no fractions, so a time is compared without its own.
fn whole_seconds(time: SystemTime) -> SystemTime {
    let since_epoch = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(since_epoch.as_secs())
}

fn names(condition: &ETagCondition, etag: &str) -> bool {
    match condition {
        ETagCondition::Any => true,
        ETagCondition::ETag(given) => given.value() == etag,
    }
}

/// The bytes a range asks for, and the `Content-Range` to tell.
fn span_of(range: Option<Range>, size_bytes: u64) -> S3Result<(Span<u64>, Option<String>)> {
    let Some(range) = range else {
        return Ok((0..size_bytes, None));
    };
    // The last bytes of nothing are none, which no Content-Range can tell.
    let span = range.check(size_bytes).ok().filter(|span| !span.is_empty());
    let span = span.ok_or_else(|| {
        let mut error = s3_error!(InvalidRange, "The requested range is not satisfiable");
        let mut headers = http::HeaderMap::new();
        if let Ok(value) = http::HeaderValue::try_from(format!("bytes */{size_bytes}")) {
            headers.insert(http::header::CONTENT_RANGE, value);
        }
        error.set_headers(headers);
        error
    })?;
    let told = format!(
        "bytes {}-{}/{size_bytes}",
        span.start,
        span.end.saturating_sub(1)
    );
    Ok((span, Some(told)))
}

fn told_type(content_type: Option<String>) -> Option<String> {
    content_type.or_else(|| Some("binary/octet-stream".to_owned()))
}

fn precondition_failed() -> S3Error {
    s3_error!(
        PreconditionFailed,
        "At least one of the pre-conditions you specified did not hold"
    )
}
