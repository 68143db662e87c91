//! Listings: objects, versions and unfinished uploads, page by page.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::dto::*;
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::Store;
use super::walk::{Entry, Position, walk};
use crate::locked;
use crate::options::Options;
use crate::state;

/// What `encoding-type=url` leaves as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'/');

impl Store {
    pub(super) async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let limit = page_limit(&self.options, input.max_keys)?;
        let encode = encoder(input.encoding_type.as_ref());
        let prefix = input.prefix.clone().unwrap_or_default();
        let delimiter = input.delimiter.as_deref().filter(|d| !d.is_empty());
        let after = match (&input.continuation_token, &input.start_after) {
            (Some(token), _) => Some(Position::from_token(token)?),
            (None, Some(start)) => Some(Position::Key(start.clone())),
            (None, None) => None,
        };

        let state = locked(&self.state);
        let bucket = state.bucket(&input.bucket)?;
        let mut entries = walk(&bucket.objects, &prefix, delimiter, after.as_ref(), visible);
        let mut contents = Vec::new();
        let mut common_prefixes = Vec::new();
        let mut last = None;
        for entry in entries.by_ref().take(limit) {
            match entry {
                Entry::Key(key, version) => {
                    last = Some(Position::Key(key.to_owned()));
                    contents.push(told_object(encode(key), version));
                }
                Entry::Prefix(common) => {
                    last = Some(Position::Prefix(common.to_owned()));
                    common_prefixes.push(told_prefix(encode(common)));
                }
            }
        }
        let is_truncated = last.is_some() && entries.next().is_some();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encode(&prefix)),
            delimiter: input.delimiter.as_deref().map(encode),
            start_after: input.start_after.as_deref().map(encode),
            encoding_type: input.encoding_type,
            max_keys: Some(limit as i32),
            key_count: Some((contents.len() + common_prefixes.len()) as i32),
            continuation_token: input.continuation_token,
            next_continuation_token: last.filter(|_| is_truncated).map(|l| l.to_token()),
            is_truncated: Some(is_truncated),
            contents: Some(contents),
            common_prefixes: Some(common_prefixes),
            ..ListObjectsV2Output::default()
        }))
    }

    pub(super) async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let input = request.input;
        let limit = page_limit(&self.options, input.max_keys)?;
        let encode = encoder(input.encoding_type.as_ref());
        let prefix = input.prefix.clone().unwrap_or_default();
        let delimiter = input.delimiter.as_deref().filter(|d| !d.is_empty());
        let key_marker = input.key_marker.as_deref().filter(|k| !k.is_empty());
        let id_marker = input.version_id_marker.as_deref();
        let after = key_marker.map(|key| match delimiter {
            Some(delimiter) if key.ends_with(delimiter) => Position::Prefix(key.to_owned()),
            _ => Position::Key(key.to_owned()),
        });

        let state = locked(&self.state);
        let bucket = state.bucket(&input.bucket)?;
        let rest_of_marked = match (key_marker, id_marker) {
            (Some(key), Some(id)) if !id.is_empty() => older_versions(bucket, key, id),
            _ => Vec::new(),
        };
        let following = walk(&bucket.objects, &prefix, delimiter, after.as_ref(), Some)
            .flat_map(version_entries);
        let mut entries = rest_of_marked.into_iter().chain(following);
        let listed: Vec<VersionEntry<'_>> = entries.by_ref().take(limit).collect();
        let last = listed.last().filter(|_| entries.next().is_some());

        let mut page = version_page(&listed, encode);
        page.is_truncated = Some(last.is_some());
        match last {
            Some(VersionEntry::Prefix(common)) => page.next_key_marker = Some(encode(common)),
            Some(VersionEntry::Version { key, version, .. }) => {
                page.next_key_marker = Some(encode(key));
                page.next_version_id_marker = Some(version.version_id.clone());
            }
            None => {}
        }
        Ok(S3Response::new(ListObjectVersionsOutput {
            name: Some(input.bucket),
            prefix: Some(encode(&prefix)),
            delimiter: input.delimiter.as_deref().map(encode),
            key_marker: input.key_marker.as_deref().map(encode),
            version_id_marker: input.version_id_marker,
            encoding_type: input.encoding_type,
            max_keys: Some(limit as i32),
            ..page
        }))
    }

    /// Unfinished uploads in the order of their keys and, for one key, of their beginning. A
    /// delimiter is not applied.
    pub(super) async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = request.input;
        let limit = page_limit(&self.options, input.max_uploads)?;
        let encode = encoder(input.encoding_type.as_ref());
        let prefix = input.prefix.clone().unwrap_or_default();
        let key_marker = input.key_marker.as_deref().unwrap_or("");
        let id_marker = input.upload_id_marker.as_deref().unwrap_or("");

        let state = locked(&self.state);
        let bucket = state.bucket(&input.bucket)?;
        let mut found: Vec<(&str, &str, &state::Upload)> = bucket
            .uploads
            .iter()
            .map(|(id, upload)| (&*upload.key, &**id, upload))
            .filter(|(key, _, _)| key.starts_with(&prefix))
            .filter(|(key, id, _)| match key_marker {
                "" => true,
                // Without an upload id, the marked key has been told whole.
                _ if id_marker.is_empty() => *key > key_marker,
                _ => (*key, *id) > (key_marker, id_marker),
            })
            .collect();
        found.sort_by_key(|(key, id, _)| (*key, *id));
        let is_truncated = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| is_truncated);
        let next_key_marker = last.map(|(key, _, _)| encode(key));
        let next_upload_id_marker = last.map(|(_, id, _)| (*id).to_owned());
        let uploads = found
            .iter()
            .map(|(key, id, upload)| MultipartUpload {
                key: Some(encode(key)),
                upload_id: Some((*id).to_owned()),
                initiated: Some(upload.initiated.into()),
                ..MultipartUpload::default()
            })
            .collect();
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: Some(encode(&prefix)),
            key_marker: input.key_marker.as_deref().map(encode),
            upload_id_marker: input.upload_id_marker,
            next_key_marker,
            next_upload_id_marker,
            encoding_type: input.encoding_type,
            max_uploads: Some(limit as i32),
            is_truncated: Some(is_truncated),
            uploads: Some(uploads),
            ..ListMultipartUploadsOutput::default()
        }))
    }
}

/// How many entries a page holds: what was asked for, within what the server gives.
pub(super) fn page_limit(options: &Options, asked: Option<i32>) -> S3Result<usize> {
    let Some(asked) = asked else {
        return Ok(options.page_size);
    };
    let asked = usize::try_from(asked).map_err(|_: std::num::TryFromIntError| -> S3Error {
        s3_error!(InvalidArgument, "The page size must not be negative")
    })?;
    Ok(asked.min(options.page_size))
}

enum VersionEntry<'a> {
    Prefix(&'a str),
    Version {
        key: &'a str,
        is_latest: bool,
        version: &'a state::Version,
    },
}

#[expect(
    clippy::ptr_arg,
    reason = "it is passed where the map's values are Vecs"
)]
fn visible(versions: &Vec<state::Version>) -> Option<&state::Version> {
    versions.last().filter(|version| version.object.is_some())
}

/// The versions of one key, newest first.
fn newest_first<'a>(
    key: &'a str,
    versions: &'a [state::Version],
) -> impl Iterator<Item = VersionEntry<'a>> {
    let newest_first = versions.iter().rev().enumerate();
    newest_first.map(move |(age, version)| VersionEntry::Version {
        key,
        is_latest: age == 0,
        version,
    })
}

fn version_entries<'a>(entry: Entry<'a, &'a Vec<state::Version>>) -> Vec<VersionEntry<'a>> {
    match entry {
        Entry::Prefix(common) => vec![VersionEntry::Prefix(common)],
        Entry::Key(key, versions) => newest_first(key, versions).collect(),
    }
}

/// The versions of a key that a listing tells after the one with this id, even where that one has
/// been deleted in the meantime.
fn older_versions<'a>(
    bucket: &'a state::Bucket,
    key: &'a str,
    version_id: &str,
) -> Vec<VersionEntry<'a>> {
    let versions = bucket.objects.get(key).map_or(&[][..], Vec::as_slice);
    let mut entries: Vec<_> = newest_first(key, versions).collect();
    entries.retain(|entry| match entry {
        VersionEntry::Prefix(_) => false,
        VersionEntry::Version { version, .. } => version.version_id.as_str() < version_id,
    });
    entries
}

/// S3 tells versions, delete markers and common prefixes in three lists.
fn version_page(
    entries: &[VersionEntry<'_>],
    encode: impl Fn(&str) -> String,
) -> ListObjectVersionsOutput {
    let mut versions = Vec::new();
    let mut delete_markers = Vec::new();
    let mut common_prefixes = Vec::new();
    for entry in entries {
        match entry {
            VersionEntry::Prefix(common) => common_prefixes.push(told_prefix(encode(common))),
            VersionEntry::Version {
                key,
                is_latest,
                version,
            } => match &version.object {
                Some(object) => {
                    versions.push(told_version(encode(key), *is_latest, version, object));
                }
                None => delete_markers.push(told_marker(encode(key), *is_latest, version)),
            },
        }
    }
    ListObjectVersionsOutput {
        versions: Some(versions),
        delete_markers: Some(delete_markers),
        common_prefixes: Some(common_prefixes),
        ..ListObjectVersionsOutput::default()
    }
}

fn encoder(encoding: Option<&EncodingType>) -> impl Fn(&str) -> String + Copy {
    let url = encoding.is_some_and(|encoding| encoding.as_str() == EncodingType::URL);
    move |text: &str| match url {
        true => utf8_percent_encode(text, PLAIN).to_string(),
        false => text.to_owned(),
    }
}

fn told_object(key: String, version: &state::Version) -> Object {
    let object = version.object.as_ref();
    Object {
        key: Some(key),
        e_tag: object.map(|object| ETag::Strong(object.etag.clone())),
        size: object.map(|object| object.content.size_bytes() as i64),
        last_modified: Some(version.modified.into()),
        storage_class: Some(ObjectStorageClass::from_static(
            ObjectStorageClass::STANDARD,
        )),
        ..Object::default()
    }
}

fn told_version(
    key: String,
    is_latest: bool,
    version: &state::Version,
    object: &state::StoredObject,
) -> ObjectVersion {
    ObjectVersion {
        key: Some(key),
        version_id: Some(version.version_id.clone()),
        is_latest: Some(is_latest),
        e_tag: Some(ETag::Strong(object.etag.clone())),
        size: Some(object.content.size_bytes() as i64),
        last_modified: Some(version.modified.into()),
        ..ObjectVersion::default()
    }
}

fn told_marker(key: String, is_latest: bool, version: &state::Version) -> DeleteMarkerEntry {
    DeleteMarkerEntry {
        key: Some(key),
        version_id: Some(version.version_id.clone()),
        is_latest: Some(is_latest),
        last_modified: Some(version.modified.into()),
        ..DeleteMarkerEntry::default()
    }
}

fn told_prefix(prefix: String) -> CommonPrefix {
    CommonPrefix {
        prefix: Some(prefix),
    }
}
