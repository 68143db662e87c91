//! Multipart uploads.

use md5::{Digest, Md5};
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::objects::check_write;
use super::receive::receive;
use super::{Store, metadata_of};
use crate::content::Content;
use crate::locked;
use crate::options::Options;
use crate::state::{self, StoredObject, Upload};

/// The highest part number.
///
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>.
const MAX_PART_NUMBER: i32 = 10_000;

impl Store {
    pub(super) async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        let metadata = metadata_of!(input);
        let now = self.clock.now();
        let upload_id =
            locked(&self.state).begin_upload(&input.bucket, &input.key, metadata, now)?;
        Ok(S3Response::new(CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(upload_id),
            ..CreateMultipartUploadOutput::default()
        }))
    }

    pub(super) async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        let input = request.input;
        if !(1..=MAX_PART_NUMBER).contains(&input.part_number) {
            return Err(s3_error!(
                InvalidArgument,
                "Part number must be an integer between 1 and 10000, inclusive"
            ));
        }
        locked(&self.state)
            .bucket(&input.bucket)?
            .upload(&input.key, &input.upload_id)?;
        let received = receive(
            input.body,
            input.content_length,
            input.content_md5.as_deref(),
            self.options.discard_bodies,
        )
        .await?;

        let part = state::Part {
            content: received.content,
            md5: received.md5,
            modified: self.clock.now(),
        };
        // The upload may have been aborted while the part was on its way.
        let mut state = locked(&self.state);
        let bucket = state.bucket_mut(&input.bucket)?;
        let upload = bucket.upload_mut(&input.key, &input.upload_id)?;
        upload.parts.insert(input.part_number, part);
        Ok(S3Response::new(UploadPartOutput {
            e_tag: Some(ETag::Strong(hex::encode(received.md5))),
            ..UploadPartOutput::default()
        }))
    }

    pub(super) async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let listed = input.multipart_upload.and_then(|upload| upload.parts);
        let listed = listed
            .filter(|parts| !parts.is_empty())
            .ok_or_else(|| s3_error!(MalformedXML, "You must specify at least one part"))?;

        let mut state = locked(&self.state);
        let bucket = state.bucket_mut(&input.bucket)?;
        check_write(
            bucket,
            &input.key,
            input.if_match.as_ref(),
            input.if_none_match.as_ref(),
        )?;
        let upload = bucket.upload(&input.key, &input.upload_id)?;
        let object = assemble(&self.options, upload, &listed)?;
        let etag = object.etag.clone();
        bucket.uploads.remove(&input.upload_id);
        let version_id = state.put(&input.bucket, &input.key, object, self.clock.now())?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            location: Some(format!("/{}/{}", input.bucket, input.key)),
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: Some(ETag::Strong(etag)),
            version_id,
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    pub(super) async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        let mut state = locked(&self.state);
        let bucket = state.bucket_mut(&input.bucket)?;
        bucket.upload(&input.key, &input.upload_id)?;
        bucket.uploads.remove(&input.upload_id);
        Ok(S3Response::with_status(
            AbortMultipartUploadOutput::default(),
            http::StatusCode::NO_CONTENT,
        ))
    }

    pub(super) async fn list_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let input = request.input;
        let limit = super::listing::page_limit(&self.options, input.max_parts)?;
        let marker = input.part_number_marker.unwrap_or(0);
        let state = locked(&self.state);
        let upload = state
            .bucket(&input.bucket)?
            .upload(&input.key, &input.upload_id)?;
        let mut parts: Vec<Part> = upload
            .parts
            .range(marker.saturating_add(1)..)
            .take(limit + 1)
            .map(|(number, part)| Part {
                part_number: Some(*number),
                e_tag: Some(ETag::Strong(hex::encode(part.md5))),
                size: Some(part.content.size_bytes() as i64),
                last_modified: Some(part.modified.into()),
                ..Part::default()
            })
            .collect();
        let is_truncated = parts.len() > limit;
        parts.truncate(limit);
        let last = parts.last().and_then(|part| part.part_number);
        Ok(S3Response::new(ListPartsOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            upload_id: Some(input.upload_id),
            max_parts: Some(limit as i32),
            part_number_marker: Some(marker),
            next_part_number_marker: last.filter(|_| is_truncated),
            is_truncated: Some(is_truncated),
            parts: Some(parts),
            ..ListPartsOutput::default()
        }))
    }
}

/// Puts the listed parts together, as far as the rules allow.
fn assemble(
    options: &Options,
    upload: &Upload,
    listed: &[CompletedPart],
) -> S3Result<StoredObject> {
    let ascending = listed.is_sorted_by(|a, b| a.part_number < b.part_number);
    if !ascending {
        return Err(s3_error!(
            InvalidPartOrder,
            "The list of parts was not in ascending order."
        ));
    }
    let parts: Vec<&state::Part> = listed
        .iter()
        .map(|part| find_part(upload, part))
        .collect::<S3Result<_>>()?;
    check_sizes(options, &parts)?;

    let mut md5_of_md5s = Md5::new();
    for part in &parts {
        md5_of_md5s.update(part.md5);
    }
    Ok(StoredObject {
        content: Content::concat(parts.iter().map(|part| &part.content)),
        etag: format!("{}-{}", hex::encode(md5_of_md5s.finalize()), parts.len()),
        metadata: upload.metadata.clone(),
    })
}

fn find_part<'a>(upload: &'a Upload, listed: &CompletedPart) -> S3Result<&'a state::Part> {
    let part = listed.part_number.and_then(|n| upload.parts.get(&n));
    part.filter(|part| {
        let given = listed.e_tag.as_ref().map(ETag::value);
        given == Some(&hex::encode(part.md5))
    })
    .ok_or_else(|| {
        s3_error!(
            InvalidPart,
            "One or more of the specified parts could not be found, or its ETag did not match."
        )
    })
}

fn check_sizes(options: &Options, parts: &[&state::Part]) -> S3Result<()> {
    let sizes: Vec<u64> = parts.iter().map(|part| part.content.size_bytes()).collect();
    let Some((last, others)) = sizes.split_last() else {
        return Ok(());
    };
    if others
        .iter()
        .any(|size| *size < options.min_part_size_bytes)
    {
        return Err(s3_error!(
            EntityTooSmall,
            "Your proposed upload is smaller than the minimum allowed size"
        ));
    }
    if options.equal_parts
        && others
            .iter()
            .any(|size| *size != others[0] || *last > *size)
    {
        return Err(unequal_parts());
    }
    Ok(())
}

fn unequal_parts() -> S3Error {
    s3_error!(
        InvalidPart,
        "All non-trailing parts must have the same length."
    )
}
