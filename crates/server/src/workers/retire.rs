//! Retire: remove the bytes of objects whose grace period is over, from every store.

use stockroom_catalog::{CatalogError, ObjectRow};
use stockroom_domain::PlacementState;
use stockroom_storage::Error;

use crate::app::App;
use crate::workers::engine::{BATCH, lease};

/// Retires what is due; how many objects are gone.
pub(super) async fn due(app: &App) -> Result<usize, CatalogError> {
    let now = app.clock.now();
    let mut gone = 0;
    for object in app.catalog.claim_retiring(now, lease(now), BATCH).await? {
        match remove(app, &object).await {
            Ok(true) => {
                app.catalog
                    .finish_retire(object.id, app.clock.now())
                    .await?;
                gone += 1;
            }
            // The claim runs out, and then it is tried again.
            Ok(false) => {
                tracing::warn!(object = %object.id, "a store that holds a copy is not configured");
            }
            Err(error) => {
                tracing::warn!(%error, object = %object.id, "a copy cannot be removed yet");
            }
        }
    }
    Ok(gone)
}

/// Removes every copy; whether all stores that hold one are known here.
async fn remove(app: &App, object: &ObjectRow) -> Result<bool, Error> {
    let mut is_complete = true;
    for placement in &object.placements {
        if placement.state == PlacementState::Gone {
            continue;
        }
        match app.store(&placement.store) {
            Some(store) => store.delete(&object.location).await?,
            None => is_complete = false,
        }
    }
    Ok(is_complete)
}
