//! Sweep: remove what uploads left behind that nobody owns any more.

use std::time::Duration;

use stockroom_catalog::CatalogError;
use stockroom_domain::Key;
use stockroom_storage::Error;

use crate::app::App;
use crate::workers::engine::{BATCH, lease};

/// How old a staged file must be before it is looked at. Its lock then tells whether anybody
/// still writes to it.
const STAGED_AGE: Duration = Duration::from_secs(600);

/// Sweeps what is due; how many uploads were swept.
pub(super) async fn due(app: &App) -> Result<usize, CatalogError> {
    remove_staged(app).await;
    let now = app.clock.now();
    let mut swept = 0;
    for upload in app.catalog.claim_abandoned(now, lease(now), BATCH).await? {
        match remove_everywhere(app, &upload.location).await {
            Ok(()) => {
                app.catalog.finish_abandoned(upload.object_id).await?;
                swept += 1;
            }
            Err(error) => {
                tracing::warn!(%error, object = %upload.object_id, "an abandoned upload cannot be removed yet");
            }
        }
    }
    Ok(swept)
}

async fn remove_everywhere(app: &App, location: &Key) -> Result<(), Error> {
    for store in app.stores() {
        store.delete(location).await?;
    }
    Ok(())
}

/// Removes files of uploads whose process died. Nobody waits for it, so a failure is only told.
async fn remove_staged(app: &App) {
    let Some(local) = &app.local else { return };
    let outcome: Result<(), Error> = async {
        let newest = app.clock.now().before(STAGED_AGE);
        for staged in local.staged().await? {
            if staged.modified_at < newest && local.remove_staged(&staged.name).await? {
                tracing::info!(
                    bytes = staged.size_bytes,
                    "a file of a dead upload was removed"
                );
            }
        }
        Ok(())
    }
    .await;
    if let Err(error) = outcome {
        tracing::warn!(%error, "the staging folder cannot be swept");
    }
}
