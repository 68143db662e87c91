//! What an operator sees of the stores: how each one is doing, and what is recorded of it.
//!
//! How a store is doing is known to this process and costs nothing to tell. What is recorded is
//! counted in the catalog, which takes a second for some million copies, so the counts are kept
//! for a moment and no dashboard can hurt. HTTP and `/metrics` show both, `doctor` counts by
//! itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use stockroom_catalog::{Catalog, CatalogError};
use stockroom_domain::{MigrationState, PlacementState, StoreName, Timestamp};
use stockroom_storage::{GuardedStore, Health, Identity, Store as _};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::app::App;
use crate::flows::migrate;

/// How long counts are kept at least.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// Counts that were slow to make are kept for so many times as long as that took, so that counting
/// never is more than a small part of the database's work.
const KEPT_FOR_TIMES: u32 = 10;

/// How long whoever can do without the counts waits for them, and for the free space of a disk.
const PATIENCE: Duration = Duration::from_secs(2);

/// How a store is doing, as this process knows it.
#[derive(Debug, Clone)]
pub struct StoreStatus {
    /// The store.
    pub name: StoreName,
    /// Whether new objects are written to it.
    pub is_mode_member: bool,
    /// What its guard has seen; none for a store that is recorded and not configured any more.
    pub guard: Option<GuardStatus>,
    /// How much room is left, in bytes; none where that cannot be told, as for a bucket.
    pub free_bytes: Option<u64>,
}

/// What the guard of a store has seen.
#[derive(Debug, Clone)]
pub struct GuardStatus {
    /// How its calls went.
    pub health: Health,
    /// Whether it is this catalog's own.
    pub identity: Identity,
}

/// What is recorded of all stores, and of what is being moved between them.
#[derive(Debug, Clone)]
pub struct Counts {
    /// When it was counted.
    pub as_of: Timestamp,
    /// The migration that is at work or paused, and how far it is.
    pub migration: Option<migrate::Status>,
    stores: BTreeMap<StoreName, StoreCounts>,
}

/// What is recorded of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreCounts {
    placements: HashMap<PlacementState, u64>,
    /// How many copies of live objects are missing there or doubted.
    pub under_placed: u64,
    /// Since when the oldest of them is.
    pub oldest_under_placed_since: Option<Timestamp>,
}

impl StoreCounts {
    /// How many of its placements are in this state, those of deleted objects included.
    #[must_use]
    pub fn placements(&self, state: PlacementState) -> u64 {
        self.placements.get(&state).copied().unwrap_or(0)
    }
}

impl Counts {
    /// Counts now.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read(catalog: &Catalog, now: Timestamp) -> Result<Self, CatalogError> {
        let mut stores: BTreeMap<StoreName, StoreCounts> = BTreeMap::new();
        for count in catalog.counts_by_state().await? {
            let of_store = stores.entry(count.store).or_default();
            of_store.placements.insert(count.state, count.placements);
        }
        for owed in catalog.under_placed().await? {
            let of_store = stores.entry(owed.store).or_default();
            of_store.under_placed = owed.placements;
            of_store.oldest_under_placed_since = Some(owed.oldest_since);
        }
        let current = catalog.current_migration().await?;
        let migration = match current.filter(|it| it.state != MigrationState::Finished) {
            Some(unfinished) => Some(migrate::status_of(catalog, unfinished).await?),
            None => None,
        };
        Ok(Self {
            as_of: now,
            migration,
            stores,
        })
    }

    /// What is recorded of one store.
    #[must_use]
    pub fn of(&self, store: &StoreName) -> StoreCounts {
        self.stores.get(store).cloned().unwrap_or_default()
    }

    /// How many copies of live objects are missing or doubted, on all stores together.
    #[must_use]
    pub fn under_placed(&self) -> u64 {
        self.stores.values().map(|store| store.under_placed).sum()
    }
}

/// The last counts.
#[derive(Debug, Default)]
pub struct LastCounts(Mutex<Option<Kept>>);

#[derive(Debug)]
struct Kept {
    counts: Arc<Counts>,
    until: Instant,
}

/// Every configured store in the order of the settings, then those of which `counts` has
/// something recorded.
pub async fn stores(app: &App, counts: Option<&Counts>) -> Vec<StoreStatus> {
    let configured = app.stores.iter().map(|store| status(app, store));
    let mut stores = join_all(configured).await;
    let recorded = counts.iter().flat_map(|counts| counts.stores.keys());
    let forgotten = recorded.filter(|name| app.store(name).is_none());
    stores.extend(forgotten.map(|name| StoreStatus {
        name: name.clone(),
        is_mode_member: false,
        guard: None,
        free_bytes: None,
    }));
    stores
}

/// What is recorded of the stores, counted a moment ago at most. Whoever asks while somebody
/// counts waits for the same counts.
///
/// # Errors
/// When the database fails.
pub async fn counts(app: &App) -> Result<Arc<Counts>, CatalogError> {
    let mut last = app.last_counts.0.lock().await;
    let begun = Instant::now();
    if let Some(kept) = last.as_ref().filter(|kept| begun < kept.until) {
        return Ok(Arc::clone(&kept.counts));
    }
    let counts = Arc::new(Counts::read(&app.catalog, app.clock.now()).await?);
    let ended = Instant::now();
    let kept_for = KEPT_FOR.max((ended - begun) * KEPT_FOR_TIMES);
    *last = Some(Kept {
        counts: Arc::clone(&counts),
        until: ended + kept_for,
    });
    Ok(counts)
}

/// The same for somebody who can do without: none when the database does not answer soon. The
/// counting goes on then, so that the next one who asks finds it done.
pub async fn counts_if_soon(app: &App) -> Option<Arc<Counts>> {
    let counting = app.clone();
    let task = app.tasks.spawn(async move { counts(&counting).await });
    let outcome = tokio::time::timeout(PATIENCE, task).await.ok()?.ok()?;
    outcome
        .inspect_err(|error| tracing::warn!(%error, "the copies cannot be counted"))
        .ok()
}

async fn status(app: &App, store: &GuardedStore) -> StoreStatus {
    let free_bytes = match &app.local {
        Some(local) if local.name() == store.name() => {
            let answer = tokio::time::timeout(PATIENCE, local.free_bytes()).await;
            answer.ok().and_then(Result::ok)
        }
        _ => None,
    };
    StoreStatus {
        name: store.name().clone(),
        is_mode_member: app.storage.store(store.name()).is_some(),
        guard: Some(GuardStatus {
            health: store.health(),
            identity: store.identity(),
        }),
        free_bytes,
    }
}
