//! Booking: what the engine asks of the catalog while it makes copies, many at once: each
//! transaction costs a sync of the disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use stockroom_catalog::{CatalogError, ObjectDetails, ObjectRow, Placed, PlacementRow};
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

/// A copy that is there and is yet to be noted.
pub(super) struct Copied {
    pub(super) store: Arc<GuardedStore>,
    pub(super) placement: PlacementRow,
    pub(super) object: ObjectRow,
    /// What speaks for it.
    pub(super) proof: Proof,
    /// Since when it is there.
    pub(super) at: Instant,
}

/// What a copy may be `present` on the strength of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Proof {
    /// The store compared what it took with digests, and said that it has it.
    Acknowledged,
    /// It was read from the store and matched its hash.
    Read,
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
    let mut alike: BTreeMap<(StoreName, &str, Proof), Vec<Copied>> = BTreeMap::new();
    for it in copied {
        let (state, proof) = (it.placement.state.as_str(), it.proof);
        let kind = (it.store.name().clone(), state, proof);
        alike.entry(kind).or_default().push(it);
    }
    for ((store, _, proof), copied) in alike {
        let Some(from) = copied.first().map(|it| it.placement.state) else {
            continue;
        };
        let objects: Vec<ObjectId> = copied.iter().map(|it| it.placement.object_id).collect();
        let these = Placed {
            store: &store,
            from,
            objects: &objects,
            was_read: proof == Proof::Read,
        };
        let noted = app.catalog.note_placed(these, app.clock.now()).await?;
        let noted: BTreeSet<ObjectId> = noted.into_iter().collect();
        *placed += noted.len();
        for it in copied {
            if !noted.contains(&it.placement.object_id) {
                left_over(app, &it).await?;
            }
        }
    }
    Ok(())
}

/// Looks at a copy that was not wanted any more when it was there. When the object was deleted meanwhile,
/// the copy must not outlive it; else somebody was faster, with the same bytes at the same place.
async fn left_over(app: &App, copied: &Copied) -> Result<(), CatalogError> {
    let Copied { store, object, .. } = copied;
    let placements = app.catalog.placements_of(object.id).await?;
    let there = placements.iter().find(|it| it.store == *store.name());
    let is_going =
        there.is_some_and(|it| matches!(it.state, PlacementState::Retiring | PlacementState::Gone));
    if is_going && let Err(error) = store.delete(&object.location).await {
        // The second look at the deleted object will find it.
        tracing::warn!(%error, "the copy of a deleted object stays for now");
    }
    Ok(())
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
