//! Booking: what the engine asks of the catalog while it makes copies, many at once: each
//! transaction costs a sync of the disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use stockroom_catalog::{
    CatalogError, Conflict, ObjectDetails, ObjectRow, PlacementRow, PlacementStep,
};
use stockroom_domain::{ObjectId, PlacementState, StoreName};
use stockroom_storage::{GuardedStore, Store as _};
use tokio::time::Instant;

use super::lease;
use crate::app::App;

/// A claimed placement whose turn has not come.
pub(super) struct Ahead {
    pub(super) store: Arc<GuardedStore>,
    pub(super) placement: PlacementRow,
    pub(super) details: ObjectDetails,
    pub(super) claimed_at: Instant,
    /// When the claim was made or last renewed.
    held_at: Instant,
}

/// A copy that was read back and is yet to be noted.
pub(super) struct Copied {
    pub(super) store: Arc<GuardedStore>,
    pub(super) placement: PlacementRow,
    pub(super) object: ObjectRow,
    /// When it was read back.
    pub(super) at: Instant,
}

/// What is to be asked.
pub(super) struct Order {
    /// Copies to be noted.
    pub(super) copied: Vec<Copied>,
    /// How many placements to claim at most.
    pub(super) limit: usize,
    /// Stores for which none are to be claimed.
    pub(super) without_source: BTreeSet<StoreName>,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Booked {
    /// How many copies count now.
    pub(super) placed: usize,
    pub(super) claimed: Vec<Ahead>,
    /// Whether more may be due than were claimed.
    pub(super) may_be_more: bool,
    /// What went wrong; copies that were not noted are owed still.
    pub(super) failure: Option<CatalogError>,
}

/// Notes copies and claims others.
pub(super) async fn book(app: App, order: Order) -> Booked {
    let mut booked = Booked::default();
    let outcome = async {
        note(&app, order.copied, &mut booked.placed).await?;
        if order.limit > 0 {
            claim(
                &app,
                &order.without_source,
                order.limit,
                &mut booked.claimed,
            )
            .await?;
            booked.may_be_more = booked.claimed.len() >= order.limit;
        }
        Ok(())
    }
    .await;
    booked.failure = outcome.err();
    booked
}

async fn claim(
    app: &App,
    without_source: &BTreeSet<StoreName>,
    limit: usize,
    claimed: &mut Vec<Ahead>,
) -> Result<(), CatalogError> {
    let stores = app.stores.iter().filter(|store| store.is_available());
    for store in stores.filter(|store| !without_source.contains(store.name())) {
        let now = app.clock.now();
        let missing = u32::try_from(limit - claimed.len().min(limit)).unwrap_or(u32::MAX);
        if missing == 0 {
            break;
        }
        let claims = app
            .catalog
            .claim_placements(store.name(), now, lease::until(now), missing)
            .await?;
        let claimed_at = Instant::now();
        claimed.extend(claims.into_iter().map(|claim| Ahead {
            store: Arc::clone(store),
            placement: claim.placement,
            details: ObjectDetails {
                object: claim.object,
                chunk_sums: claim.chunk_sums,
            },
            claimed_at,
            held_at: claimed_at,
        }));
    }
    Ok(())
}

/// Notes that copies are there, those of one store in one transaction.
async fn note(app: &App, copied: Vec<Copied>, placed: &mut usize) -> Result<(), CatalogError> {
    let mut alike: BTreeMap<(StoreName, &str), Vec<Copied>> = BTreeMap::new();
    for it in copied {
        let kind = (it.store.name().clone(), it.placement.state.as_str());
        alike.entry(kind).or_default().push(it);
    }
    for ((store, _), copied) in alike {
        let Some(from) = copied.first().map(|it| it.placement.state) else {
            continue;
        };
        let objects: Vec<ObjectId> = copied.iter().map(|it| it.placement.object_id).collect();
        let now = app.clock.now();
        let noted = app.catalog.note_placed(&store, from, &objects, now).await?;
        let noted: BTreeSet<ObjectId> = noted.into_iter().collect();
        for it in copied {
            if noted.contains(&it.placement.object_id) || note_one(app, &it).await? {
                *placed += 1;
            }
        }
    }
    Ok(())
}

/// Notes that one copy is there; whether it counts. When the object was deleted meanwhile, the copy
/// must not outlive it.
async fn note_one(app: &App, copied: &Copied) -> Result<bool, CatalogError> {
    let Copied {
        store,
        placement,
        object,
        ..
    } = copied;
    let step = PlacementStep {
        object_id: placement.object_id,
        store: store.name(),
        from: placement.state,
        to: PlacementState::Present,
        error: None,
    };
    match app.catalog.step_placement(step, app.clock.now()).await {
        Ok(()) => Ok(true),
        Err(CatalogError::Conflict(Conflict::PlacementMoved {
            found: PlacementState::Retiring | PlacementState::Gone,
        })) => {
            if let Err(error) = store.delete(&object.location).await {
                // The second look at the deleted object will find it.
                tracing::warn!(%error, "the copy of a deleted object stays for now");
            }
            Ok(false)
        }
        // Somebody else was faster, with the same bytes at the same place.
        Err(CatalogError::Conflict(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Keeps claims whose turn does not come soon, as those at work are kept.
pub(super) async fn renew(app: &App, ahead: &mut VecDeque<Ahead>) {
    for _ in 0..ahead.len() {
        let Some(mut it) = ahead.pop_front() else {
            return;
        };
        if it.held_at.elapsed() >= lease::RENEWAL {
            if !lease::renew(app, &it.placement).await {
                continue;
            }
            it.held_at = Instant::now();
        }
        ahead.push_back(it);
    }
}

/// Gives back what was claimed and not begun, so that nobody has to wait until the claims are over.
pub(super) async fn give_back(app: &App, ahead: VecDeque<Ahead>) {
    let mut claims: BTreeMap<StoreName, Vec<ObjectId>> = BTreeMap::new();
    for it in ahead {
        let of_store = claims.entry(it.store.name().clone()).or_default();
        of_store.push(it.placement.object_id);
    }
    for (store, objects) in claims {
        let now = app.clock.now();
        if let Err(error) = app.catalog.return_placements(&store, &objects, now).await {
            tracing::warn!(%error, "claims that were not needed last until they are over");
        }
    }
}
