//! Lists, page by page: objects, versions, unfinished uploads.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;

use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use aws_sdk_s3::types::EncodingType;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use percent_encoding::percent_decode_str;
use stockroom_domain::{Key, Timestamp};

use super::Inner;
use super::error::Failure;
use super::info::{size_of, timestamp_of};
use crate::{ListEntry, Operation, Result};

/// One version of an object, or one hide marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The key as the store has it; other programs may have written what is no
    /// [`Key`](crate::Key).
    pub name: String,
    /// The id of the version.
    pub version_id: String,
    /// The size in bytes; none for a hide marker.
    pub size_bytes: Option<u64>,
    /// Whether it is what a reader of the key sees.
    pub is_latest: bool,
    /// When it was written.
    pub modified_at: Timestamp,
}

/// An object by the name that it has in the bucket, whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedObject {
    /// The name; other programs may have written what is no [`Key`](crate::Key).
    pub name: Vec<u8>,
    /// The size in bytes.
    pub size_bytes: u64,
    /// When it was last written, by the store's clock.
    pub modified_at: Timestamp,
}

/// A multipart upload that was begun and neither finished nor given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedUpload {
    /// The key as the store has it.
    pub name: String,
    /// The id of the upload.
    pub upload_id: String,
    /// When it was begun, by the store's clock.
    pub began_at: Timestamp,
}

/// A page of a list, and where the next one begins; none after the last.
pub(super) struct Page<T, M> {
    pub(super) entries: VecDeque<T>,
    next: Option<M>,
}

/// Where the next page begins: after this key, and there after this version or upload.
#[derive(Debug, Clone, Default)]
pub(super) struct Marker {
    key: Option<String>,
    id: Option<String>,
}

pub(super) fn objects(inner: Arc<Inner>, prefix: String) -> BoxStream<'static, Result<ListEntry>> {
    let entry = |object: NamedObject| {
        // What is no key was written by somebody else and is none of ours.
        let key = Key::try_from(&*object.name).ok()?;
        Some(ListEntry {
            key,
            size_bytes: object.size_bytes,
            modified_at: object.modified_at,
        })
    };
    names(inner, prefix)
        .try_filter_map(move |object| std::future::ready(Ok(entry(object))))
        .boxed()
}

pub(super) fn names(inner: Arc<Inner>, prefix: String) -> BoxStream<'static, Result<NamedObject>> {
    paged(Operation::List, inner, move |inner, marker| {
        let prefix = prefix.clone();
        async move { page_of_objects(&inner, &prefix, marker).await }
    })
}

pub(super) fn versions(inner: Arc<Inner>, prefix: String) -> BoxStream<'static, Result<Version>> {
    paged(Operation::ListVersions, inner, move |inner, marker| {
        let prefix = prefix.clone();
        async move { page_of_versions(&inner, &prefix, marker.unwrap_or_default()).await }
    })
}

pub(super) fn uploads(
    inner: Arc<Inner>,
    prefix: String,
) -> BoxStream<'static, Result<UnfinishedUpload>> {
    paged(Operation::ListUploads, inner, move |inner, marker| {
        let prefix = prefix.clone();
        async move { page_of_uploads(&inner, &prefix, marker.unwrap_or_default()).await }
    })
}

/// The entries of all pages. A page is asked for when the one before it is used up.
fn paged<T, M, F>(
    operation: Operation,
    inner: Arc<Inner>,
    page: impl Fn(Arc<Inner>, Option<M>) -> F + Send + 'static,
) -> BoxStream<'static, Result<T>>
where
    T: Send + 'static,
    M: Send + 'static,
    F: Future<Output = Result<Page<T, M>, Failure>> + Send,
{
    enum At<M> {
        Beginning,
        Page(M),
        End,
    }
    let state = (VecDeque::new(), At::Beginning, page, inner);
    futures::stream::try_unfold(
        state,
        move |(mut entries, mut at, page, inner)| async move {
            loop {
                if let Some(entry) = entries.pop_front() {
                    return Ok(Some((entry, (entries, at, page, inner))));
                }
                let marker = match at {
                    At::Beginning => None,
                    At::Page(marker) => Some(marker),
                    At::End => return Ok(None),
                };
                let next = page(Arc::clone(&inner), marker)
                    .await
                    .map_err(|failure| inner.error(operation, None, failure))?;
                entries = next.entries;
                at = next.next.map_or(At::End, At::Page);
            }
        },
    )
    .boxed()
}

async fn page_of_objects(
    inner: &Inner,
    prefix: &str,
    token: Option<String>,
) -> Result<Page<NamedObject, String>, Failure> {
    let output = inner
        .call(Operation::List, |_| {
            inner
                .client
                .list_objects_v2()
                .bucket(&inner.bucket)
                .prefix(prefix)
                .encoding_type(EncodingType::Url)
                .set_continuation_token(token.clone())
                .send()
        })
        .await?;
    let encoding = output.encoding_type();
    let entry = |object: &aws_sdk_s3::types::Object| {
        Some(NamedObject {
            name: bytes_of(object.key()?, encoding),
            size_bytes: size_of(object.size())?,
            modified_at: timestamp_of(object.last_modified()),
        })
    };
    Ok(Page {
        entries: output.contents().iter().filter_map(entry).collect(),
        next: output.next_continuation_token().map(str::to_owned),
    })
}

pub(super) async fn page_of_versions(
    inner: &Inner,
    prefix: &str,
    marker: Marker,
) -> Result<Page<Version, Marker>, Failure> {
    let output = inner
        .call(Operation::ListVersions, |_| {
            inner
                .client
                .list_object_versions()
                .bucket(&inner.bucket)
                .prefix(prefix)
                .encoding_type(EncodingType::Url)
                .set_key_marker(marker.key.clone())
                .set_version_id_marker(marker.id.clone())
                .send()
        })
        .await?;
    let next = output.is_truncated().unwrap_or(false).then(|| Marker {
        key: output
            .next_key_marker()
            .and_then(|key| decoded(key, output.encoding_type())),
        id: output.next_version_id_marker().map(str::to_owned),
    });
    Ok(Page {
        entries: versions_of(&output),
        next,
    })
}

/// Versions and hide markers come in two lists; here they are one, in the order of their keys.
fn versions_of(output: &ListObjectVersionsOutput) -> VecDeque<Version> {
    let encoding = output.encoding_type();
    let versions = output.versions().iter().filter_map(|version| {
        Some(Version {
            name: decoded(version.key()?, encoding)?,
            version_id: version.version_id()?.to_owned(),
            size_bytes: Some(size_of(version.size())?),
            is_latest: version.is_latest().unwrap_or(false),
            modified_at: timestamp_of(version.last_modified()),
        })
    });
    let markers = output.delete_markers().iter().filter_map(|marker| {
        Some(Version {
            name: decoded(marker.key()?, encoding)?,
            version_id: marker.version_id()?.to_owned(),
            size_bytes: None,
            is_latest: marker.is_latest().unwrap_or(false),
            modified_at: timestamp_of(marker.last_modified()),
        })
    });
    let mut all: Vec<Version> = versions.chain(markers).collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    all.into()
}

async fn page_of_uploads(
    inner: &Inner,
    prefix: &str,
    marker: Marker,
) -> Result<Page<UnfinishedUpload, Marker>, Failure> {
    let output = inner
        .call(Operation::ListUploads, |_| {
            inner
                .client
                .list_multipart_uploads()
                .bucket(&inner.bucket)
                .prefix(prefix)
                .encoding_type(EncodingType::Url)
                .set_key_marker(marker.key.clone())
                .set_upload_id_marker(marker.id.clone())
                .send()
        })
        .await?;
    let encoding = output.encoding_type();
    let entry = |upload: &aws_sdk_s3::types::MultipartUpload| {
        Some(UnfinishedUpload {
            name: decoded(upload.key()?, encoding)?,
            upload_id: upload.upload_id()?.to_owned(),
            began_at: timestamp_of(upload.initiated()),
        })
    };
    let next = output.is_truncated().unwrap_or(false).then(|| Marker {
        key: output
            .next_key_marker()
            .and_then(|key| decoded(key, encoding)),
        id: output.next_upload_id_marker().map(str::to_owned),
    });
    Ok(Page {
        entries: output.uploads().iter().filter_map(entry).collect(),
        next,
    })
}

/// A name as it is. Lists are asked for with names encoded as in URLs, because XML cannot hold
/// every character; a store says whether it did. A space may be written as `+` then.
fn bytes_of(name: &str, encoding: Option<&EncodingType>) -> Vec<u8> {
    if encoding != Some(&EncodingType::Url) {
        return name.as_bytes().to_vec();
    }
    percent_decode_str(&name.replace('+', " ")).collect()
}

/// The same as text, if it is text.
fn decoded(name: &str, encoding: Option<&EncodingType>) -> Option<String> {
    String::from_utf8(bytes_of(name, encoding)).ok()
}

impl<T> Page<T, Marker> {
    /// Where the next page begins, unless it can hold no more of the entries with this key.
    pub(super) fn next_of(self, key: &str) -> Option<Marker> {
        self.next
            .filter(|next| next.key.as_deref().is_none_or(|next| next <= key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_only_when_the_store_encoded_them() {
        let url = Some(&EncodingType::Url);
        assert_eq!(decoded("a+b%2Bc%C3%A9", url).as_deref(), Some("a b+cé"));
        assert_eq!(decoded("a+b%2B", None).as_deref(), Some("a+b%2B"));
        assert_eq!(decoded("%FF", url), None);
    }

    #[test]
    fn a_page_that_ends_beyond_a_key_is_the_last_for_it() {
        let next_of = |next: Option<&str>| {
            let next = Marker {
                key: next.map(str::to_owned),
                id: None,
            };
            let page: Page<(), Marker> = Page {
                entries: VecDeque::new(),
                next: Some(next),
            };
            page.next_of("models/a").is_some()
        };
        assert!(next_of(Some("models/a")) && next_of(None));
        assert!(!next_of(Some("models/a/b")));
    }
}
