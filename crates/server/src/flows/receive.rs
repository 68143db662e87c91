//! The way of an upload up to the record: receive -> check -> store.
//!
//! An intent row is written first, in a transaction of its own. The bytes then pass once: to the
//! format check, to the hash and to every store of the mode. When something fails, everything is
//! taken back before the error is returned. What a crash leaves behind is found by the intent
//! row and removed by the sweep.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use stockroom_catalog::{NewUpload, ObjectFacts, ReceivedUpload};
use stockroom_domain::{Key, ObjectId, PlacementState, Sha256Digest, StoreName, Timestamp};
use stockroom_formats::{Checker, Report};
use stockroom_storage::{Facts, Metadata, Store as _, Stored, Upload, WriteOptions};
use tokio::task::AbortHandle;

use crate::app::App;
use crate::flows::error::FlowError;

/// How long an upload may be silent before the sweep takes it for abandoned. Far longer than
/// `LEASE_RENEWAL`, so that one slow transaction does no harm.
pub const LEASE: Duration = Duration::from_secs(600);
const LEASE_RENEWAL: Duration = Duration::from_secs(60);

/// What is known of an upload before its first byte.
#[derive(Debug)]
pub struct Intake {
    /// The key under which readers will find the object.
    pub key: Key,
    /// The media type to keep with the object.
    pub content_type: String,
    /// The user metadata to keep on the stores.
    pub metadata: Metadata,
    /// How many bytes were announced; fewer are an error, and so are more.
    pub announced_bytes: Option<u64>,
    /// The digest that was announced.
    pub expected_sha256: Option<Sha256Digest>,
    /// The check of the file's format, for what is sold.
    pub checker: Option<Checker>,
}

/// Bytes that are durable and that no reader can see yet: the catalog does not know of them.
#[derive(Debug)]
pub struct Received {
    /// The object's row in the catalog.
    pub object: ObjectId,
    /// Where the bytes lie on the stores.
    pub location: Key,
    /// Size and digests.
    pub facts: Facts,
    /// What is known of the bytes on each store of the mode.
    pub placements: Vec<(StoreName, PlacementState)>,
    /// What the format check found.
    pub report: Option<Report>,
    /// Keeps the sweep away while other files of the same call still come.
    #[expect(
        dead_code,
        reason = "it works by being there, and ends when it is dropped"
    )]
    kept: Kept,
}

impl Received {
    /// What the catalog records of it.
    #[must_use]
    pub fn upload(&self) -> ReceivedUpload {
        ReceivedUpload {
            object_id: self.object,
            facts: recorded_facts(&self.facts),
            placements: self.placements.clone(),
        }
    }
}

/// What the catalog records of the facts of bytes.
#[must_use]
pub fn recorded_facts(facts: &Facts) -> ObjectFacts {
    ObjectFacts {
        size_bytes: facts.size_bytes,
        sha256: facts.sha256,
        chunk_sums: facts.chunk_sums.to_bytes(),
    }
}

/// Takes the bytes of one object and makes them durable on the stores of the mode.
///
/// Run it in a task of its own: when the caller goes away, the body ends with an error and
/// everything is taken back; a future that is dropped could not do that.
///
/// # Errors
/// Any [`FlowError`]; nothing is left behind then.
pub async fn receive<S, E>(app: &App, intake: Intake, body: S) -> Result<Received, FlowError>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    refuse_announced_size(app, &intake)?;
    let now = app.clock.now();
    let object = ObjectId::generate(now, &*app.entropy);
    let location = app
        .catalog
        .open_upload(NewUpload {
            object_id: object,
            key: intake.key.clone(),
            content_type: intake.content_type.clone(),
            metadata: intake
                .metadata
                .iter()
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .collect(),
            opened_at: now,
            lease_until: now.after(LEASE),
        })
        .await?
        .location;
    let upload = match open(app, &location, &intake).await {
        Ok(upload) => upload,
        Err(error) => {
            // No byte has left.
            forget(app, object).await;
            return Err(error);
        }
    };
    match store(app, object, upload, intake, body).await {
        Ok((stored, report)) => Ok(Received {
            kept: Kept::begin(app, object),
            object,
            location,
            placements: placement_states(&stored),
            facts: stored.facts,
            report,
        }),
        Err(error) => {
            match error {
                // A store that failed may still show the object later, when a lost request
                // arrives after all: the row stays, so that the sweep looks again.
                FlowError::Storage(_) => leave_to_the_sweep(app, object).await,
                _ => forget(app, object).await,
            }
            Err(error)
        }
    }
}

/// Takes back bytes that were received and will not be recorded.
pub async fn discard(app: &App, received: Received) {
    let mut is_clean = true;
    for (name, state) in &received.placements {
        let Some(store) = app.store(name) else {
            continue;
        };
        if *state != PlacementState::Present {
            // A store that failed may still show the object later; the sweep looks again.
            is_clean = false;
        } else if let Err(error) = store.delete(&received.location).await {
            tracing::warn!(%error, "an unrecorded object stays behind until the sweep");
            is_clean = false;
        }
    }
    if is_clean {
        forget(app, received.object).await;
    } else {
        leave_to_the_sweep(app, received.object).await;
    }
}

fn refuse_announced_size(app: &App, intake: &Intake) -> Result<(), FlowError> {
    let limit_bytes = app.limits.max_upload_bytes;
    match intake.announced_bytes {
        Some(bytes) if bytes > limit_bytes => Err(FlowError::TooLarge { limit_bytes }),
        _ => Ok(()),
    }
}

async fn open(app: &App, location: &Key, intake: &Intake) -> Result<Upload, FlowError> {
    let options = WriteOptions {
        content_type: Some(intake.content_type.clone()),
        metadata: intake.metadata.clone(),
        size_hint_bytes: intake.announced_bytes,
        sha256: intake.expected_sha256,
    };
    Ok(app.storage.upload(location, options).await?)
}

async fn store<S, E>(
    app: &App,
    object: ObjectId,
    mut upload: Upload,
    intake: Intake,
    body: S,
) -> Result<(Stored, Option<Report>), FlowError>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let passed = pass_bytes(
        app,
        object,
        intake.announced_bytes,
        intake.checker,
        body,
        &mut upload,
    );
    match passed.await {
        Ok(report) => Ok((
            upload.finish_expecting(intake.expected_sha256).await?,
            report,
        )),
        Err(error) => {
            upload.abort().await;
            Err(error)
        }
    }
}

async fn pass_bytes<S, E>(
    app: &App,
    object: ObjectId,
    announced_bytes: Option<u64>,
    mut checker: Option<Checker>,
    body: S,
    upload: &mut Upload,
) -> Result<Option<Report>, FlowError>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let limit_bytes = app.limits.max_upload_bytes;
    let mut lease = Lease {
        object,
        renewed_at: app.clock.now(),
    };
    let mut body = pin!(body);
    while let Some(piece) = next_piece(app, &mut body).await? {
        let total_bytes = upload.size_bytes().saturating_add(piece.len() as u64);
        if total_bytes > limit_bytes {
            return Err(FlowError::TooLarge { limit_bytes });
        }
        if let Some(checker) = &mut checker {
            checker.update(&piece)?;
        }
        upload.write(piece).await?;
        lease.renew(app).await?;
    }
    let actual_bytes = upload.size_bytes();
    match announced_bytes {
        Some(announced_bytes) if announced_bytes != actual_bytes => {
            return Err(FlowError::Incomplete {
                announced_bytes,
                actual_bytes,
            });
        }
        _ => {}
    }
    Ok(checker.map(Checker::finish).transpose()?)
}

async fn next_piece<S, E>(app: &App, body: &mut S) -> Result<Option<Bytes>, FlowError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match tokio::time::timeout(app.limits.idle_timeout, body.next()).await {
        Err(_) => Err(FlowError::Stalled(app.limits.idle_timeout)),
        Ok(None) => Ok(None),
        Ok(Some(Ok(piece))) => Ok(Some(piece)),
        Ok(Some(Err(error))) => Err(FlowError::Body(error.into())),
    }
}

/// The claim of a running upload on its row, renewed now and then so that no sweep removes it.
struct Lease {
    object: ObjectId,
    renewed_at: Timestamp,
}

impl Lease {
    async fn renew(&mut self, app: &App) -> Result<(), FlowError> {
        let now = app.clock.now();
        if now.since(self.renewed_at) < LEASE_RENEWAL {
            return Ok(());
        }
        match app
            .catalog
            .extend_lease(self.object, now.after(LEASE))
            .await
        {
            Ok(()) => self.renewed_at = now,
            Err(error) if error.is_refusal() => return Err(error.into()),
            // The lease is long; a database that is busy for a moment ends no upload.
            Err(error) => tracing::warn!(%error, "the lease of an upload is not renewed yet"),
        }
        Ok(())
    }
}

/// The claim of an upload whose bytes are all there, renewed until it is recorded or discarded:
/// the other files of a form may take longer than a lease.
#[derive(Debug)]
struct Kept(AbortHandle);

impl Kept {
    fn begin(app: &App, object: ObjectId) -> Self {
        let app = app.clone();
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(LEASE_RENEWAL).await;
                let lease_until = app.clock.now().after(LEASE);
                if let Err(error) = app.catalog.extend_lease(object, lease_until).await {
                    tracing::warn!(%error, %object, "the lease of an upload is not renewed yet");
                }
            }
        });
        Self(renewing.abort_handle())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn placement_states(stored: &Stored) -> Vec<(StoreName, PlacementState)> {
    let state = |result: &Result<_, _>| match result {
        Ok(_) => PlacementState::Present,
        // The store owes its copy: the engine will place it.
        Err(_) => PlacementState::Copying,
    };
    stored
        .placements
        .iter()
        .map(|(name, result)| (name.clone(), state(result)))
        .collect()
}

/// Gives an upload up that may have left something on a store. The sweep removes it.
async fn leave_to_the_sweep(app: &App, object: ObjectId) {
    match app.catalog.abandon_upload(object, app.clock.now()).await {
        Ok(_) => app.engine_bell.notify_one(),
        Err(error) => {
            tracing::warn!(%error, %object, "an intent row waits for its lease to end");
        }
    }
}

/// Removes the intent row of an upload that left nothing on any store.
async fn forget(app: &App, object: ObjectId) {
    if let Err(error) = app.catalog.discard_upload(object).await {
        tracing::warn!(%error, %object, "an intent row stays behind until the sweep");
    }
}
