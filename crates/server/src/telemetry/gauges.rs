//! Gauges, which are made anew for each scrape, so that what nothing is known of any more is absent
//! instead of old.

use prometheus_client::registry::Registry;
use stockroom_domain::Timestamp;

use super::metrics::PREFIX;
use super::{migration, stores};
use crate::flows::overview::{Counts, StoreStatus};

/// The gauges of these stores and of a migration between them; without `counts`, only of how the
/// stores are doing.
#[must_use]
pub fn gauges(stores: &[StoreStatus], counts: Option<&Counts>, now: Timestamp) -> Registry {
    let mut registry = Registry::with_prefix(PREFIX);
    stores::register_health(&mut registry, stores);
    if let Some(counts) = counts {
        stores::register_counts(&mut registry, stores, counts, now);
        if let Some(status) = &counts.migration {
            migration::register(&mut registry, status);
        }
    }
    registry
}
