//! Scrub: read copies that nobody looked at for long, slowly, so that damage is found while
//! another copy is still whole. What a bucket keeps beside a good copy is removed on the way.

use std::time::Duration;

use stockroom_catalog::{CatalogError, ClaimedPlacement};
use stockroom_domain::StoreName;
use stockroom_storage::{GuardedStore, Store};

use super::versions::remove_old_versions;
use crate::app::App;
use crate::config::EngineSettings;
use crate::flows::prove::{is_wrong, prove};
use crate::workers::pace::Pace;

/// Each copy is read again after this time, as far as the budget allows.
pub const INTERVAL: Duration = Duration::from_secs(30 * 86_400);

/// How long a claimed copy is left alone by other servers. Two that read the same one do no harm.
const LEASE: Duration = Duration::from_secs(3_600);

/// How many bytes may be read of each store.
#[derive(Debug)]
pub struct Budgets {
    local: Option<Pace>,
    others: Option<Pace>,
}

impl Budgets {
    /// The budgets of these settings.
    #[must_use]
    pub fn new(settings: &EngineSettings) -> Self {
        Self {
            local: settings.scrub_local_bytes_per_day.map(Pace::per_day),
            others: settings.scrub_s3_bytes_per_day.map(Pace::per_day),
        }
    }

    /// The budget of a store; none where nothing may be read.
    fn of(&self, store: &StoreName) -> Option<&Pace> {
        if *store == StoreName::LOCAL {
            self.local.as_ref()
        } else {
            self.others.as_ref()
        }
    }
}

/// Reads one copy of each store that has budget left; how many were read.
pub(super) async fn due(app: &App) -> Result<usize, CatalogError> {
    let mut read = 0;
    for store in app.stores.iter().filter(|store| store.is_available()) {
        let Some(budget) = app.scrub.of(store.name()).filter(|budget| budget.is_paid()) else {
            continue;
        };
        let now = app.clock.now();
        let claimed = app
            .catalog
            .claim_unverified(store.name(), now.before(INTERVAL), now, now.after(LEASE), 1)
            .await?;
        for claim in claimed {
            budget.spend(claim.object.size_bytes).await;
            look(app, store, &claim).await?;
            read += 1;
        }
    }
    Ok(read)
}

/// Reads a copy and notes what was seen. The engine heals what is doubted.
async fn look(
    app: &App,
    store: &GuardedStore,
    claim: &ClaimedPlacement,
) -> Result<(), CatalogError> {
    let object = &claim.object;
    match prove(app, store, object, |_| {}).await {
        Ok(()) => {
            remove_old_versions(app, store, object).await;
            let now = app.clock.now();
            app.catalog
                .note_verified(object.id, store.name(), now)
                .await
                .map(drop)
        }
        Err(error) if is_wrong(&error) => {
            tracing::warn!(%error, object = %object.id, "a copy is damaged");
            app.doubt(object.id, store.name(), error.detail()).await
        }
        Err(error) => {
            tracing::info!(%error, object = %object.id, "a copy cannot be looked at now");
            Ok(())
        }
    }
}
