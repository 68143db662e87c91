//! Whose the stores are: do they carry the ids that the database knows?

use std::sync::Arc;
use std::time::Duration;

use stockroom_catalog::Catalog;
use stockroom_domain::StoreName;
use stockroom_storage::Store;

use super::finding::{Finding, clause};
use super::record::Stores;
use crate::workers::identity::{Comparison, LookError, compare};

/// How long a store may take to tell.
const WAIT: Duration = Duration::from_secs(10);

/// Compares the ids, and takes the stores of somebody else out of those that are looked into: what
/// is not in them proves nothing.
pub(super) async fn examine(catalog: &Catalog, stores: &mut Stores, findings: &mut Vec<Finding>) {
    for store in stores.all() {
        let name = store.name();
        let finding = match compared(catalog, &store).await {
            Ok(Comparison::Ours) => Finding::ok(
                "store.identity",
                format!("The store {name} carries the id that the database knows."),
            ),
            Ok(Comparison::Unlabelled { .. }) => Finding::info(
                "store.new",
                format!("The store {name} carries no id yet; a server that starts writes one."),
            ),
            Ok(Comparison::Foreign(reason)) => {
                stores.disown(name);
                foreign(name, reason)
            }
            Err(why) => Finding::info(
                "store.unknown",
                format!(
                    "Whose the store {name} is cannot be told: {}.",
                    clause(&why)
                ),
            ),
        };
        findings.push(finding);
    }
}

async fn compared(catalog: &Catalog, store: &Arc<dyn Store>) -> Result<Comparison, String> {
    match tokio::time::timeout(WAIT, compare(catalog, &**store)).await {
        Ok(Ok(comparison)) => Ok(comparison),
        Ok(Err(LookError::Store(error))) => Err(error.detail().to_owned()),
        Ok(Err(LookError::Catalog(error))) => Err(error.to_string()),
        Err(_) => Err(format!("it did not answer within {} s", WAIT.as_secs())),
    }
}

/// A store that is not the one of the record.
pub(crate) fn foreign(name: &StoreName, reason: &str) -> Finding {
    let right_one = if *name == StoreName::LOCAL {
        "Mount the right disk, or set STORAGE_DIR to the right folder, and start the server again."
    } else {
        "Set S3_BUCKET and S3_ENDPOINT to the right bucket, or DATABASE_URL to the right database, \
         and start the server again."
    };
    Finding::error(
        "store.foreign",
        format!("The store {name} is another one, and nothing is written to it: {reason}."),
        format!(
            "{right_one} If the store was replaced on purpose, run stockroom verify --accept-store \
             {name}."
        ),
    )
}
