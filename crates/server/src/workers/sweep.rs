//! Sweep: remove what nobody owns any more: bytes of uploads whose server died, bytes that landed
//! after their object was deleted, staged files, uploads in parts that never ended.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use stockroom_catalog::{CatalogError, ObjectAt, Tombstone};
use stockroom_domain::{Key, KeyPrefix, ObjectState, PlacementState, Timestamp};
use stockroom_storage::{Error, S3Store, Store, UnfinishedUpload};

use super::lease;
use crate::app::{App, Bucket};
use crate::workers::identity;

/// How many rows are claimed at once.
const BATCH: u32 = 64;

/// How old a staged file must be before it is looked at. Its lock then tells whether anybody
/// still writes to it.
const STAGED_AGE: Duration = Duration::from_secs(600);

/// How old an upload in parts must be before it is looked at: older than the lease of an upload
/// that begins now, so that one whose row cannot be seen yet is left alone.
const UPLOAD_AGE: Duration = Duration::from_secs(900);

/// How long the engine may take to copy one object in parts, also at a slow pace.
const COPY_AGE: Duration = Duration::from_secs(7 * 86_400);

/// How often a bucket is asked for its unfinished uploads; each page of them may cost money.
const LOOK_INTERVAL: Duration = Duration::from_secs(3_600);

/// How many unfinished uploads are looked up in the catalog at once.
const LOOKUP: usize = 500;

/// When something was last looked at that is not looked at each time.
#[derive(Debug, Default)]
pub struct LastLook(Mutex<Option<Timestamp>>);

/// Sweeps what is due; how much was swept.
pub(super) async fn due(app: &App) -> Result<usize, CatalogError> {
    remove_staged(app).await;
    let swept = remove_tombstones(app).await?;
    Ok(swept + abort_uploads(app).await?)
}

/// Deletes once more what a record says is gone.
async fn remove_tombstones(app: &App) -> Result<usize, CatalogError> {
    let now = app.clock.now();
    let claimed = app
        .catalog
        .claim_tombstones(now, lease::until(now), BATCH)
        .await?;
    let mut removals = stream::iter(claimed)
        .map(|tombstone| remove_everywhere(app, tombstone))
        .buffer_unordered(app.engine.concurrency);
    let mut swept = 0;
    while let Some(is_removed) = removals.next().await {
        swept += usize::from(is_removed?);
    }
    Ok(swept)
}

async fn remove_everywhere(app: &App, tombstone: Tombstone) -> Result<bool, CatalogError> {
    let mut is_removed = true;
    for store in &app.stores {
        // A store that is away, or not known to be ours, is looked at when it is: the row waits.
        if !identity::may_delete(store) {
            is_removed = false;
        } else if let Err(error) = store.delete(&tombstone.location).await {
            tracing::warn!(%error, object = %tombstone.object_id, "what was given up cannot be removed yet");
            is_removed = false;
        }
    }
    if !is_removed {
        return Ok(false);
    }
    app.catalog
        .finish_tombstone(tombstone.object_id, app.clock.now())
        .await?;
    Ok(true)
}

/// Removes files of uploads whose process died. Nobody waits for it, so a failure is only told.
async fn remove_staged(app: &App) {
    let Some(local) = &app.local else { return };
    let outcome: Result<(), Error> = async {
        let newest = app.clock.now().before(STAGED_AGE);
        for staged in local.staged().await? {
            if staged.modified_at < newest && local.remove_staged(&staged.name).await? {
                tracing::info!(
                    bytes = staged.size_bytes,
                    "a file of a dead upload was removed"
                );
            }
        }
        Ok(())
    }
    .await;
    if let Err(error) = outcome {
        tracing::warn!(%error, "the staging folder cannot be swept");
    }
}

/// Gives up uploads in parts that nobody owns; how many.
async fn abort_uploads(app: &App) -> Result<usize, CatalogError> {
    let is_ours = |bucket: &&Bucket| {
        app.store(&bucket.settings.name)
            .is_some_and(|it| identity::may_delete(&it))
    };
    let ours: Vec<&Bucket> = app.buckets.iter().filter(is_ours).collect();
    if ours.is_empty() || !app.uploads_looked_at.is_due(app.clock.now(), LOOK_INTERVAL) {
        return Ok(0);
    }
    let mut aborted = 0;
    for bucket in ours {
        aborted += abort_uploads_in(app, &bucket.store).await?;
    }
    Ok(aborted)
}

async fn abort_uploads_in(app: &App, s3: &S3Store) -> Result<usize, CatalogError> {
    let newest = app.clock.now().before(UPLOAD_AGE);
    let mut batches = s3
        .unfinished_uploads(&KeyPrefix::all())
        .try_filter(|upload| std::future::ready(upload.began_at < newest))
        .try_chunks(LOOKUP);
    let mut aborted = 0;
    while let Some(batch) = batches.next().await {
        match batch {
            Ok(uploads) => aborted += abort_unowned(app, s3, uploads).await?,
            Err(error) => {
                tracing::warn!(error = %error.1, store = %s3.name(), "the bucket's unfinished uploads cannot be listed");
                app.uploads_looked_at.forget();
                break;
            }
        }
    }
    Ok(aborted)
}

async fn abort_unowned(
    app: &App,
    s3: &S3Store,
    uploads: Vec<UnfinishedUpload>,
) -> Result<usize, CatalogError> {
    // What is no key was begun by another program, whose business it is.
    let keyed: Vec<(Key, UnfinishedUpload)> = uploads
        .into_iter()
        .filter_map(|upload| Some((upload.name.parse().ok()?, upload)))
        .collect();
    let locations: Vec<Key> = keyed.iter().map(|(key, _)| key.clone()).collect();
    let objects = app.catalog.objects_at(&locations, app.clock.now()).await?;
    let oldest_copy = app.clock.now().before(COPY_AGE);
    let mut aborted = 0;
    for (location, upload) in keyed {
        let object = objects.iter().find(|object| object.location == location);
        let is_recent = upload.began_at > oldest_copy;
        if object.is_some_and(|object| is_owned(object, s3, is_recent)) {
            continue;
        }
        match s3.abort_upload(&upload).await {
            Ok(()) => aborted += 1,
            Err(error) => tracing::warn!(%error, "an unfinished upload stays for now"),
        }
    }
    Ok(aborted)
}

/// Whether somebody may still be sending parts: an upload with a lease, or the engine.
fn is_owned(object: &ObjectAt, s3: &S3Store, is_recent: bool) -> bool {
    match object.state {
        ObjectState::Receiving => object.is_leased,
        ObjectState::Live | ObjectState::Retiring => {
            let is_placed = object.placements.iter().any(|placement| {
                placement.store == *s3.name()
                    && matches!(
                        placement.state,
                        PlacementState::Copying | PlacementState::Suspect
                    )
            });
            is_placed && is_recent
        }
        ObjectState::Gone => false,
    }
}

impl LastLook {
    /// Whether it is time to look again; if so, this is the look.
    pub(super) fn is_due(&self, now: Timestamp, interval: Duration) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = last.is_none_or(|last| now.since(last) >= interval);
        if is_due {
            *last = Some(now);
        }
        is_due
    }

    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
