//! Gauges of the stores: how each one is doing, and what is recorded of it.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use stockroom_domain::{PlacementState, StoreName, Timestamp};
use stockroom_storage::Identity;

use crate::flows::overview::{Counts, StoreStatus};

type PerStore = Family<StoreLabel, Gauge<u64, AtomicU64>>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreLabel {
    store: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PlacementLabels {
    store: String,
    state: &'static str,
}

/// Registers how these stores are doing.
pub(super) fn register_health(registry: &mut Registry, stores: &[StoreStatus]) {
    let [up, open, identity_ok, free] = std::array::from_fn(|_| PerStore::default());
    for store in stores {
        if let Some(guard) = &store.guard {
            let is_open = guard.health.breaker.is_open();
            // A store that was not asked yet is neither up nor down.
            if let Some(is_reachable) = guard.health.reachable {
                set(&up, &store.name, u64::from(is_reachable && !is_open));
            }
            set(&open, &store.name, u64::from(is_open));
            let is_ours = guard.identity == Identity::Ours;
            set(&identity_ok, &store.name, u64::from(is_ours));
        }
        if let Some(bytes) = store.free_bytes {
            set(&free, &store.name, bytes);
        }
    }
    registry.register("store_up", "1 when the store answered its last call", up);
    registry.register(
        "store_breaker_open",
        "1 while calls on the store fail at once, because it did not answer a moment ago",
        open,
    );
    registry.register(
        "store_identity_ok",
        "1 when the store is known to be this catalog's own; nothing is deleted from others",
        identity_ok,
    );
    registry.register_with_unit(
        "store_free",
        "Room that is left on the disk of the store",
        Unit::Bytes,
        free,
    );
}

/// Registers what is recorded of these stores.
pub(super) fn register_counts(
    registry: &mut Registry,
    stores: &[StoreStatus],
    counts: &Counts,
    now: Timestamp,
) {
    let placements: Family<PlacementLabels, Gauge<u64, AtomicU64>> = Family::default();
    let [under_placed, oldest] = std::array::from_fn(|_| PerStore::default());
    for StoreStatus { name, .. } in stores {
        let of_store = counts.of(name);
        for state in PlacementState::ALL {
            let labels = PlacementLabels {
                store: name.to_string(),
                state: state.as_str(),
            };
            let count = of_store.placements(*state);
            placements.get_or_create(&labels).set(count);
        }
        set(&under_placed, name, of_store.under_placed);
        let age = of_store
            .oldest_under_placed_since
            .map_or(0, |since| now.since(since).as_secs());
        set(&oldest, name, age);
    }
    registry.register(
        "placements",
        "Recorded copies by store and state",
        placements,
    );
    registry.register(
        "under_placed",
        "Copies of live objects that are missing on the store or doubted",
        under_placed,
    );
    registry.register_with_unit(
        "oldest_under_placed",
        "How long the oldest of these copies has been missing or doubted; 0 when there is none",
        Unit::Seconds,
        oldest,
    );
}

fn set(family: &PerStore, store: &StoreName, value: u64) {
    let label = StoreLabel {
        store: store.to_string(),
    };
    family.get_or_create(&label).set(value);
}
