//! Place: give a store the copy that it owes, verified by hash.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt as _;
use stockroom_catalog::{CatalogError, ClaimedPlacement, ObjectDetails, PlacementStep};
use stockroom_domain::{ObjectState, PlacementState};
use stockroom_storage::{
    ContentHasher, Error, ErrorKind, Metadata, Operation, Source, Store, WriteOptions,
};

use crate::app::App;
use crate::flows::deliver::{self, Recorded};
use crate::workers::engine::{BATCH, lease};

/// The longest wait between two attempts at the same placement.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Places what is due on this store; how many were placed.
pub(super) async fn due(app: &App, store: &Arc<dyn Store>) -> Result<usize, CatalogError> {
    let mut placed = 0;
    for state in [PlacementState::Copying, PlacementState::Suspect] {
        let now = app.clock.now();
        let claimed = app
            .catalog
            .claim_placements(store.name(), state, now, lease(now), BATCH)
            .await?;
        for claim in claimed {
            if app.shutdown.is_cancelled() {
                return Ok(placed);
            }
            placed += usize::from(settle(app, store, claim).await?);
        }
    }
    Ok(placed)
}

/// Tries one placement and notes how it went.
async fn settle(
    app: &App,
    store: &Arc<dyn Store>,
    claim: ClaimedPlacement,
) -> Result<bool, CatalogError> {
    let ClaimedPlacement { placement, object } = claim;
    if object.state != ObjectState::Live {
        // Its placements are the business of those who retire it.
        return Ok(false);
    }
    let Some(details) = app.catalog.find_object_by_id(object.id).await? else {
        return Ok(false);
    };
    let outcome = match placement.state {
        PlacementState::Suspect => heal(app, store, &details).await?,
        _ => copy(app, store, &details).await?,
    };
    match outcome {
        Ok(()) => Ok(true),
        Err(error) => {
            tracing::warn!(%error, object = %object.id, store = %store.name(), "a copy is still owed");
            let wait = Duration::from_secs(1 << placement.attempts.min(9)).min(LONGEST_WAIT);
            let now = app.clock.now();
            app.catalog
                .postpone_placement(&placement, &error.to_string(), now, wait)
                .await?;
            Ok(false)
        }
    }
}

/// Looks whether a doubted copy is well after all; else replaces it by one that is.
async fn heal(
    app: &App,
    store: &Arc<dyn Store>,
    details: &ObjectDetails,
) -> Result<Result<(), Error>, CatalogError> {
    if verify(store, details).await.is_ok() {
        step(
            app,
            store,
            details,
            PlacementState::Suspect,
            PlacementState::Present,
        )
        .await?;
        return Ok(Ok(()));
    }
    step(
        app,
        store,
        details,
        PlacementState::Suspect,
        PlacementState::Copying,
    )
    .await?;
    copy(app, store, details).await
}

/// Copies the object from the first healthy copy to the store.
async fn copy(
    app: &App,
    store: &Arc<dyn Store>,
    details: &ObjectDetails,
) -> Result<Result<(), Error>, CatalogError> {
    if let Err(error) = transfer(app, store, details).await {
        return Ok(Err(error));
    }
    let placed = step(
        app,
        store,
        details,
        PlacementState::Copying,
        PlacementState::Present,
    )
    .await;
    if let Err(CatalogError::Conflict(_)) = placed {
        // It was deleted while it was copied. The copy must not outlive it.
        return Ok(store.delete(&details.object.location).await);
    }
    placed.map(Ok)
}

async fn transfer(app: &App, store: &Arc<dyn Store>, details: &ObjectDetails) -> Result<(), Error> {
    let object = &details.object;
    let others: Vec<Source> = deliver::sources(app, object)
        .into_iter()
        .filter(|source| source.store.name() != store.name())
        .collect();
    let mut read = deliver::open_from(app, others, Recorded::from(details)).await?;
    let mut writer = store.writer(&object.location, options(details)).await?;
    let mut hasher = ContentHasher::new();
    let passed: Result<(), Error> = async {
        while let Some(piece) = read.stream.try_next().await? {
            hasher.update(&piece);
            writer.write(piece).await?;
        }
        Ok(())
    }
    .await;
    let facts = hasher.finish();
    match passed {
        Ok(()) if facts.sha256 == object.sha256 => writer.finish(&facts).await.map(drop),
        Ok(()) => {
            writer.abort().await;
            Err(mismatch(store, details))
        }
        Err(error) => {
            writer.abort().await;
            Err(error)
        }
    }
}

/// Reads a copy to its end and compares its hash.
async fn verify(store: &Arc<dyn Store>, details: &ObjectDetails) -> Result<(), Error> {
    let mut read = store.get(&details.object.location, None).await?;
    let mut hasher = ContentHasher::new();
    while let Some(piece) = read.stream.try_next().await? {
        hasher.update(&piece);
    }
    if hasher.finish().sha256 == details.object.sha256 {
        Ok(())
    } else {
        Err(mismatch(store, details))
    }
}

fn mismatch(store: &Arc<dyn Store>, details: &ObjectDetails) -> Error {
    let detail = "the bytes have another SHA-256 than was recorded";
    Error::new(store.name(), Operation::Get, ErrorKind::Corrupt, detail)
        .about(&details.object.location)
}

fn options(details: &ObjectDetails) -> WriteOptions {
    let object = &details.object;
    let mut metadata = Metadata::default();
    for (name, value) in &object.metadata {
        // It was accepted when the object was stored; were a rule narrower by now, the catalog
        // still knows the value.
        let _ = metadata.insert(name, value);
    }
    WriteOptions {
        content_type: Some(object.content_type.clone()),
        metadata,
        size_hint_bytes: Some(object.size_bytes),
        sha256: Some(object.sha256),
    }
}

async fn step(
    app: &App,
    store: &Arc<dyn Store>,
    details: &ObjectDetails,
    from: PlacementState,
    to: PlacementState,
) -> Result<(), CatalogError> {
    let step = PlacementStep {
        object_id: details.object.id,
        store: store.name(),
        from,
        to,
        error: None,
    };
    app.catalog.step_placement(step, app.clock.now()).await
}
