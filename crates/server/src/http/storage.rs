//! `GET /v1/storage`

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use stockroom_domain::{PlacementState, StoreName, Timestamp};
use stockroom_storage::{Breaker, Health, Identity, LastError, Mode};
use utoipa::ToSchema;

use crate::app::App;
use crate::flows::overview::{self, Counts, StoreCounts, StoreStatus};
use crate::http::auth;
use crate::http::problem::{Problem, ProblemBody};

/// The stores as an operator sees them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Storage)]
pub struct StorageView {
    /// `local`, `s3` or `hybrid`.
    pub mode: &'static str,
    /// Each configured store, and those of which something is recorded all the same.
    pub stores: Vec<StoreView>,
    /// How many copies of objects are missing or doubted, on all stores together.
    pub under_placed: u64,
    /// When the copies were counted, a moment ago at most. RFC 3339, UTC.
    #[schema(value_type = String)]
    pub as_of: Timestamp,
}

/// How a store is doing, and what is recorded of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Store)]
pub struct StoreView {
    /// `local` or `s3`.
    #[schema(value_type = String)]
    pub name: StoreName,
    /// Whether the mode writes new objects to it. Copies on another store stay readable.
    pub mode_member: bool,
    /// Whether it is configured. Of one that is not, only the record is known.
    pub configured: bool,
    /// Whether it answered its last call; `null` before the first one.
    pub reachable: Option<bool>,
    /// `ours`; `foreign` when it carries the id of another Stockroom or none where there should be
    /// one, and is not written to then; `unknown` while it did not tell.
    pub identity: &'static str,
    /// The circuit breaker; `null` for a store that is not configured.
    pub breaker: Option<BreakerView>,
    /// How long the beginning of a call takes, in milliseconds, smoothed; `null` before the first.
    pub latency_ms: Option<f64>,
    /// Its last failure, whatever came after it.
    pub last_error: Option<StoreErrorView>,
    /// When a call last succeeded. RFC 3339, UTC.
    #[schema(value_type = Option<String>)]
    pub last_success_at: Option<Timestamp>,
    /// How many copies are recorded there, by state, those of deleted objects included.
    pub placements: PlacementsView,
    /// How many copies of objects are missing there or doubted, and made or replaced soon.
    pub under_placed: u64,
    /// Since when the oldest of them is. RFC 3339, UTC.
    #[schema(value_type = Option<String>)]
    pub oldest_under_placed_since: Option<Timestamp>,
    /// How much room is left on its disk; `null` for a bucket.
    pub free_bytes: Option<u64>,
}

/// The circuit breaker of a store.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Breaker)]
pub struct BreakerView {
    /// `closed`; `open` while calls fail at once, because the store did not answer a moment ago.
    pub state: &'static str,
    /// RFC 3339, UTC.
    #[schema(value_type = String)]
    pub since: Timestamp,
}

/// A failure of a store.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StoreError)]
pub struct StoreErrorView {
    /// RFC 3339, UTC.
    #[schema(value_type = String)]
    pub at: Timestamp,
    /// What was being done: `get`, `put`, ...
    pub operation: &'static str,
    /// What the store said.
    pub detail: String,
}

/// How many copies are in each state.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Placements)]
pub struct PlacementsView {
    /// They are missing, and made as soon as the store takes them.
    pub copying: u64,
    /// They are there.
    pub present: u64,
    /// They are doubted, and checked or replaced soon.
    pub suspect: u64,
    /// They are being removed.
    pub retiring: u64,
    /// They were removed; the record stays.
    pub gone: u64,
}

/// Shows how each store is doing and what is missing on it.
#[utoipa::path(get, path = "/v1/storage", tag = "service",
    responses(
        (status = 200, description = "The stores, for an operator.", body = StorageView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn storage(
    State(app): State<App>,
    identity: auth::Identity,
) -> Result<Json<StorageView>, Problem> {
    identity.require_operator()?;
    let counts = overview::counts(&app).await?;
    let stores = overview::stores(&app, Some(&counts)).await;
    Ok(Json(StorageView::of(app.storage.mode(), stores, &counts)))
}

impl StorageView {
    fn of(mode: Mode, stores: Vec<StoreStatus>, counts: &Counts) -> Self {
        let view = |store: StoreStatus| {
            let counted = counts.of(&store.name);
            StoreView::of(store, &counted)
        };
        Self {
            mode: mode.as_str(),
            stores: stores.into_iter().map(view).collect(),
            under_placed: counts.under_placed(),
            as_of: counts.as_of,
        }
    }
}

impl StoreView {
    fn of(store: StoreStatus, counted: &StoreCounts) -> Self {
        let health = store.guard.as_ref().map(|guard| &guard.health);
        let identity = store.guard.as_ref().map(|guard| guard.identity);
        Self {
            mode_member: store.is_mode_member,
            configured: store.guard.is_some(),
            reachable: health.and_then(|health| health.reachable),
            identity: identity.unwrap_or(Identity::Unknown).as_str(),
            breaker: health.map(|health| health.breaker.into()),
            latency_ms: health.and_then(latency_ms),
            last_error: health
                .and_then(|health| health.last_error.as_ref())
                .map(StoreErrorView::from),
            last_success_at: health.and_then(|health| health.last_success_at),
            placements: counted.into(),
            under_placed: counted.under_placed,
            oldest_under_placed_since: counted.oldest_under_placed_since,
            free_bytes: store.free_bytes,
            name: store.name,
        }
    }
}

/// In whole microseconds: what is behind them is noise.
fn latency_ms(health: &Health) -> Option<f64> {
    let micros = u32::try_from(health.latency?.as_micros()).unwrap_or(u32::MAX);
    Some(f64::from(micros) / 1_000.0)
}

impl From<Breaker> for BreakerView {
    fn from(breaker: Breaker) -> Self {
        Self {
            state: breaker.as_str(),
            since: breaker.since(),
        }
    }
}

impl From<&LastError> for StoreErrorView {
    fn from(error: &LastError) -> Self {
        Self {
            at: error.at,
            operation: error.operation.as_str(),
            detail: error.detail.clone(),
        }
    }
}

impl From<&StoreCounts> for PlacementsView {
    fn from(counts: &StoreCounts) -> Self {
        Self {
            copying: counts.placements(PlacementState::Copying),
            present: counts.placements(PlacementState::Present),
            suspect: counts.placements(PlacementState::Suspect),
            retiring: counts.placements(PlacementState::Retiring),
            gone: counts.placements(PlacementState::Gone),
        }
    }
}
