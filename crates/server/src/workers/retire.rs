//! Retire: remove the bytes of objects whose grace period is over, from every store.

use std::time::Duration;

use futures::{StreamExt as _, stream};
use stockroom_catalog::{CatalogError, ClaimedPlacement, ObjectRow, PlacementRow, PlacementStep};
use stockroom_domain::{PlacementState, StoreName};
use stockroom_storage::Store;

use super::lease;
use crate::app::App;
use crate::workers::identity;

/// How many objects are claimed at once.
const BATCH: u32 = 64;

/// How long an object waits whose bytes could not be removed. Nobody can read it, so nobody waits.
const WAIT: Duration = Duration::from_secs(60);

/// Retires what is due; how many objects are gone.
pub(super) async fn due(app: &App) -> Result<usize, CatalogError> {
    let now = app.clock.now();
    let claimed = app
        .catalog
        .claim_retiring(now, lease::until(now), BATCH)
        .await?;
    let mut retired = stream::iter(claimed)
        .map(|object| retire(app, object))
        .buffer_unordered(app.engine.concurrency);
    let mut gone = 0;
    while let Some(is_gone) = retired.next().await {
        gone += usize::from(is_gone?);
    }
    Ok(gone)
}

/// Removes every copy of an object; whether all of them are gone.
async fn retire(app: &App, object: ObjectRow) -> Result<bool, CatalogError> {
    let mut is_gone = true;
    for placement in &object.placements {
        if placement.state != PlacementState::Gone {
            is_gone &= remove(app, &object, &placement.store).await?.is_none();
        }
    }
    let now = app.clock.now();
    if is_gone {
        app.catalog.finish_retire(object.id, now).await?;
    } else {
        app.catalog.postpone_retire(object.id, now, WAIT).await?;
    }
    Ok(is_gone)
}

/// Removes copies that a migration has freed and whose grace period is over; how many are gone.
pub(super) async fn freed(app: &App) -> Result<usize, CatalogError> {
    let mut gone = 0;
    for store in app.stores.iter().filter(|store| store.is_available()) {
        let now = app.clock.now();
        let claimed = app
            .catalog
            .claim_freed(store.name(), now, lease::until(now), BATCH)
            .await?;
        let mut removed = stream::iter(claimed)
            .map(|claim| remove_freed(app, claim))
            .buffer_unordered(app.engine.concurrency);
        while let Some(is_gone) = removed.next().await {
            gone += usize::from(is_gone?);
        }
    }
    Ok(gone)
}

/// What became of the other copies of an object.
enum Others {
    /// One of them is there.
    Well,
    /// None is, and these were thought to be.
    Lost(Vec<(StoreName, &'static str)>),
    /// A store that should have one does not tell.
    Unknown(String),
}

/// Removes one freed copy, unless no other copy is well any more: then this one is kept, and looked
/// at by whoever heals doubted copies. While no other one can be seen, nothing is removed.
async fn remove_freed(app: &App, claim: ClaimedPlacement) -> Result<bool, CatalogError> {
    let (object, placement) = (&claim.object, &claim.placement);
    let name = &placement.store;
    let lost = match others(app, object, name).await {
        Others::Well => {
            let stays = remove(app, object, name).await?;
            if let Some(why) = &stays {
                postpone(app, placement, why).await?;
            }
            return Ok(stays.is_none());
        }
        Others::Lost(lost) => lost,
        Others::Unknown(why) => {
            tracing::warn!(why, object = %object.id, "a freed copy stays: the other one cannot be seen");
            postpone(app, placement, &why).await?;
            return Ok(false);
        }
    };
    let step = PlacementStep {
        object_id: object.id,
        store: name,
        from: PlacementState::Retiring,
        to: PlacementState::Suspect,
        error: Some("no other copy is well any more, so that this one is not removed"),
    };
    match app.catalog.step_placement(step, app.clock.now()).await {
        Ok(()) | Err(CatalogError::Conflict(_)) => {}
        Err(error) => return Err(error),
    }
    // Only now, so that there is something to heal them from.
    for (store, why) in lost {
        app.doubt(object.id, &store, why).await?;
    }
    app.engine_bell.notify_one();
    Ok(false)
}

/// Leaves a freed copy for a while.
async fn postpone(app: &App, placement: &PlacementRow, why: &str) -> Result<(), CatalogError> {
    let wait = Duration::from_secs(1 << placement.attempts.min(5));
    let now = app.clock.now();
    app.catalog
        .postpone_placement(placement, why, now, wait)
        .await
}

/// Whether another store has a copy, as that store says now: since the bytes were read there, a week or
/// more may have gone by.
async fn others(app: &App, object: &ObjectRow, name: &StoreName) -> Others {
    let (mut lost, mut unknown) = (Vec::new(), None);
    let others = object.placements.iter();
    for other in others.filter(|it| it.store != *name && it.state == PlacementState::Present) {
        let Some(store) = app.store(&other.store) else {
            unknown = Some(format!("{} is not configured", other.store));
            continue;
        };
        match store.head(&object.location).await {
            Ok(info) if info.size_bytes == object.size_bytes => return Others::Well,
            Ok(_) => lost.push((other.store.clone(), "the copy has another size")),
            Err(error) if error.is_not_found() => {
                lost.push((other.store.clone(), "there is no such object"));
            }
            Err(error) => unknown = Some(error.to_string()),
        }
    }
    unknown.map_or(Others::Lost(lost), Others::Unknown)
}

/// Removes one copy; why it stays, where it does.
async fn remove(
    app: &App,
    object: &ObjectRow,
    name: &StoreName,
) -> Result<Option<String>, CatalogError> {
    let Some(store) = app.store(name) else {
        tracing::warn!(object = %object.id, store = %name, "a store that holds a copy is not configured");
        return Ok(Some(format!("{name} is not configured")));
    };
    if !identity::may_delete(&store) {
        return Ok(Some(format!("{name} is not known to be the right store")));
    }
    if let Err(error) = store.delete(&object.location).await {
        tracing::warn!(%error, object = %object.id, "a copy cannot be removed yet");
        return Ok(Some(error.to_string()));
    }
    let step = PlacementStep {
        object_id: object.id,
        store: name,
        from: PlacementState::Retiring,
        to: PlacementState::Gone,
        error: None,
    };
    match app.catalog.step_placement(step, app.clock.now()).await {
        // Somebody who claimed it after us has said so already.
        Ok(()) | Err(CatalogError::Conflict(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
