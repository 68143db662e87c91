//! Deleting for good.
//!
//! On a bucket with versions, deleting by name only adds a hide marker, so every version and
//! marker of the key is deleted by its id: one request for their list and one for each. On a
//! bucket without versions one deletion by name does it. Which of them the bucket is, its answers
//! tell: writes and reads tell version ids. Before the first of them the list is asked for. A
//! store that cannot list versions keeps none, and nor does a bucket with only the version `null`.
//!
//! Single deletions are used throughout: DeleteObjects wants a Content-MD5 on some stores, which
//! the SDK does not send.

use aws_sdk_s3::operation::delete_object::DeleteObjectOutput;
use stockroom_domain::Key;

use super::error::Failure;
use super::list::{self, Version};
use super::{Inner, Versioning};
use crate::{Error, ErrorKind, Operation, Result};

/// The id that versions have where none are kept, or were not kept yet.
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/Versioning.html>.
const NULL_VERSION: &str = "null";

pub(super) async fn delete(inner: &Inner, key: &Key) -> Result<()> {
    match inner.versioning.get() {
        Versioning::UNHEARD_OF => by_name(inner, key).await.map(drop),
        Versioning::NONE => {
            if hides(&by_name(inner, key).await?) {
                // Versions were switched on since the bucket was last seen.
                inner.versioning.set(Versioning::KEPT);
                return by_version(inner, key).await;
            }
            Ok(())
        }
        _ => by_version(inner, key).await,
    }
}

/// Deletes what lies behind the version that readers see; how many versions and markers that were.
pub(super) async fn old_versions(inner: &Inner, key: &Key) -> Result<usize> {
    if matches!(
        inner.versioning.get(),
        Versioning::NONE | Versioning::UNHEARD_OF
    ) {
        return Ok(0);
    }
    // The whole list comes first, so that nothing is deleted before the one to keep was seen.
    let versions = match versions_of(inner, key).await {
        Ok(versions) => versions,
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            inner.versioning.set(Versioning::UNHEARD_OF);
            return Ok(0);
        }
        Err(error) => return Err(error),
    };
    // A hide marker has no size.
    if !versions
        .iter()
        .any(|it| it.is_latest && it.size_bytes.is_some())
    {
        return Ok(0);
    }
    let mut deleted = 0;
    for version in versions.iter().filter(|it| !it.is_latest) {
        one_version(inner, key, version).await?;
        deleted += 1;
    }
    Ok(deleted)
}

/// Deletes by version, as far as the store can list versions and shows them.
async fn by_version(inner: &Inner, key: &Key) -> Result<()> {
    let error = match all_versions(inner, key).await {
        Ok(deleted) => {
            match deleted {
                Deleted::Nothing => {}
                Deleted::OnlyNull => inner.versioning.set(Versioning::NONE),
                Deleted::Versions => inner.versioning.set(Versioning::KEPT),
            }
            return Ok(());
        }
        Err(error) => error,
    };
    let was_seen = inner.versioning.get() == Versioning::KEPT;
    match error.kind() {
        ErrorKind::Unsupported => {
            inner.versioning.set(Versioning::UNHEARD_OF);
            by_name(inner, key).await.map(drop)
        }
        // The list is not shown to this key. A bucket without versions needs none.
        ErrorKind::Denied if !was_seen && error.operation() == Operation::ListVersions => {
            if hides(&by_name(inner, key).await?) {
                inner.versioning.set(Versioning::KEPT);
                return Err(error);
            }
            inner.versioning.set(Versioning::NONE);
            Ok(())
        }
        _ => Err(error),
    }
}

/// Whether a deletion by name left a version behind a hide marker.
fn hides(deleted: &DeleteObjectOutput) -> bool {
    deleted.delete_marker().unwrap_or(false) || deleted.version_id().is_some()
}

async fn by_name(inner: &Inner, key: &Key) -> Result<DeleteObjectOutput> {
    let deleted = inner
        .call(Operation::Delete, |_| {
            let request = inner.client.delete_object().bucket(&inner.bucket);
            request.key(key.as_str()).send()
        })
        .await;
    match deleted {
        Err(failure) if failure.is_no_such_key() => Ok(DeleteObjectOutput::builder().build()),
        other => other.map_err(|failure| inner.error(Operation::Delete, Some(key), failure)),
    }
}

/// What there was to delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deleted {
    Nothing,
    OnlyNull,
    Versions,
}

/// Deletes every version and hide marker of a key. The newest goes last, so that none of the others
/// comes to light in between.
async fn all_versions(inner: &Inner, key: &Key) -> Result<Deleted> {
    let mut deleted = Deleted::Nothing;
    let mut versions = versions_of(inner, key).await?;
    versions.sort_by_key(|it| it.is_latest);
    for version in &versions {
        one_version(inner, key, version).await?;
        deleted = match deleted {
            Deleted::Versions => Deleted::Versions,
            _ if version.version_id == NULL_VERSION => Deleted::OnlyNull,
            _ => Deleted::Versions,
        };
    }
    Ok(deleted)
}

/// Every version and hide marker of exactly this key.
async fn versions_of(inner: &Inner, key: &Key) -> Result<Vec<Version>> {
    let mut versions = Vec::new();
    let mut next = Some(list::Marker::default());
    while let Some(marker) = next {
        let mut page = list::page_of_versions(inner, key.as_str(), marker)
            .await
            .map_err(|failure| inner.error(Operation::ListVersions, Some(key), failure))?;
        // Keys that only begin with this one are other objects.
        let entries = std::mem::take(&mut page.entries).into_iter();
        versions.extend(entries.filter(|it| it.name == key.as_str()));
        next = page.next_of(key.as_str());
    }
    Ok(versions)
}

async fn one_version(inner: &Inner, key: &Key, version: &Version) -> Result<()> {
    let deleted = inner
        .call(Operation::Delete, |_| {
            inner
                .client
                .delete_object()
                .bucket(&inner.bucket)
                .key(key.as_str())
                .version_id(&version.version_id)
                .send()
        })
        .await;
    match deleted {
        Ok(_) => Ok(()),
        Err(failure) if failure.is_no_such_key() => Ok(()),
        Err(failure) => Err(refused(inner, key, failure)),
    }
}

/// Deleting a version needs a capability of its own (Backblaze: deleteFiles).
fn refused(inner: &Inner, key: &Key, failure: Failure) -> Error {
    let error = inner.error(Operation::Delete, Some(key), failure);
    if error.kind() != ErrorKind::Denied {
        return error;
    }
    let detail = format!("the key may not delete versions: {}", error.detail());
    let named = Error::new(&inner.name, Operation::Delete, ErrorKind::Denied, detail).about(key);
    match error.code() {
        Some(code) => named.with_code(code),
        None => named,
    }
}
