//! Objects that are on no store of the mode: they are readable, and a migration brings them over.

use stockroom_catalog::Catalog;
use stockroom_domain::{KeyPrefix, StoreName};
use stockroom_storage::Mode;

use super::finding::Finding;
use crate::config::StorageSettings;

/// Counts, for each store of the mode, the objects that have no copy there. What cannot be counted is
/// told of elsewhere. This looks at all objects: about a second for a million.
pub(super) async fn examine(
    catalog: &Catalog,
    storage: &StorageSettings,
    findings: &mut Vec<Finding>,
) {
    for store in &storage.of_the_mode() {
        let counts = catalog.plan_counts(store, &KeyPrefix::all()).await;
        let elsewhere = counts.map_or(0, |counts| counts.to_copy);
        // What is owed is told of with what the store owes.
        let owed = catalog.count_owed(store).await.unwrap_or(0);
        let left = elsewhere.saturating_sub(owed);
        if left > 0 {
            findings.push(of_store(store, storage.mode, left));
        }
    }
}

fn of_store(store: &StoreName, mode: Mode, objects: u64) -> Finding {
    let are = match objects {
        1 => "1 object is".to_owned(),
        many => format!("{many} objects are"),
    };
    Finding::info(
        "placements.elsewhere",
        format!(
            "{are} not on {store}, which the mode {} writes to; they stay readable where they are. \
             stockroom migrate run --to {store} brings them over.",
            mode.as_str()
        ),
    )
}
