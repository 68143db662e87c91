//! Everything a running Stockroom is made of, in one place, made once.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use stockroom_catalog::{Catalog, CatalogError, ObjectRow, PlacementStep};
use stockroom_domain::{Clock, Entropy, ObjectId, PlacementState, StoreName};
use stockroom_storage::{
    Doubt, Doubts, GuardedStore, LocalStore, S3Store, Storage, Store, UrlSigner,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{CallerSettings, Delivery, EngineSettings, PurchaseEventSettings, S3Settings};
use crate::flows::events::send::Sender;
use crate::flows::hot::HotFiles;
use crate::flows::keys::KeyUses;
use crate::flows::ledger::Ledger;
use crate::flows::migrate::pace::MigrationPace;
use crate::flows::overview::LastCounts;
use crate::flows::receive::Received;
use crate::http::limits::RateLimits;
use crate::telemetry::metrics::Metrics;
use crate::workers::pace::Pace;
use crate::workers::scrub::Budgets;
use crate::workers::sweep::LastLook;

/// A handle to the running parts; clones are the same parts.
#[derive(Debug, Clone)]
pub struct App(Arc<Parts>);

/// The running parts.
#[derive(Debug)]
pub struct Parts {
    /// What is known.
    pub catalog: Catalog,
    /// The stores of the mode, for new objects.
    pub storage: Storage,
    /// Every store that is configured, also outside the mode: copies on it stay readable. The
    /// folder comes first.
    pub stores: Vec<Arc<GuardedStore>>,
    /// The folder, for what only a folder can do.
    pub local: Option<Arc<LocalStore>>,
    /// The buckets, for what only a bucket can do; that of the mode comes first.
    pub buckets: Vec<Bucket>,
    /// Signs and checks this server's own URLs.
    pub signer: UrlSigner,
    /// The secrets that events about orders are signed with.
    pub purchase_events: PurchaseEventSettings,
    /// Sends events to endpoints.
    pub event_sender: Sender,
    /// The present moment.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// How downloads get their bytes when the caller does not say.
    pub delivery: Delivery,
    /// Bounds of what callers may do.
    pub limits: Limits,
    /// What callers may do, and what is believed of them.
    pub callers: CallerSettings,
    /// How often callers have asked.
    pub rate_limits: RateLimits,
    /// Where this server is reached, without a slash at the end.
    pub public_url: String,
    /// Small files that are wanted often.
    pub hot_files: HotFiles,
    /// What was given on the account of purchases and is not in the catalog yet.
    pub ledger: Ledger,
    /// Uses of keys that are not in the catalog yet.
    pub key_uses: KeyUses,
    /// What was counted last for whoever watches the stores.
    pub last_counts: LastCounts,
    /// Work that must end before the process does.
    pub tasks: TaskTracker,
    /// Says that the process is about to end.
    pub shutdown: CancellationToken,
    /// Wakes the engine when a store is owed a copy, or answers again.
    pub engine_bell: Arc<Notify>,
    /// Wakes what deletes when a migration has freed copies.
    pub clearing_bell: Notify,
    /// What the work in the background may use.
    pub engine: EngineSettings,
    /// Bounds the bytes that the copies of a migration move.
    pub migration_pace: MigrationPace,
    /// Bounds the bytes that copies move.
    pub pace: Pace,
    /// Bounds the bytes that are read to see that they are well.
    pub scrub: Budgets,
    /// When the buckets were last asked for uploads in parts that never ended.
    pub uploads_looked_at: LastLook,
    /// When stores of somebody else were last looked at.
    pub foreign_looked_at: LastLook,
}

/// A bucket and the way to it.
#[derive(Debug, Clone)]
pub struct Bucket {
    /// What it can do.
    pub store: Arc<S3Store>,
    /// How it is reached, for whoever looks at the way.
    pub settings: S3Settings,
}

/// Bounds of what callers may do.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The largest file, in bytes.
    pub max_upload_bytes: u64,
    /// The most files in one form.
    pub max_form_files: usize,
    /// How long a body may make no progress.
    pub idle_timeout: Duration,
    /// How long the bytes of a deleted object stay.
    pub delete_grace: Duration,
}

impl App {
    /// A handle to these parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// The configured store of this name.
    #[must_use]
    pub fn store(&self, name: &StoreName) -> Option<Arc<GuardedStore>> {
        self.stores
            .iter()
            .find(|store| store.name() == name)
            .cloned()
    }

    /// The bucket of this name.
    #[must_use]
    pub fn bucket(&self, name: &StoreName) -> Option<&Bucket> {
        self.buckets
            .iter()
            .find(|bucket| bucket.settings.name == *name)
    }

    /// Wakes the engine when one of these objects owes a store its copy.
    pub fn wake_engine<'a>(&self, received: impl IntoIterator<Item = &'a Received>) {
        let owes = received
            .into_iter()
            .flat_map(|received| &received.placements)
            .any(|(_, state)| *state == PlacementState::Copying);
        if owes {
            self.engine_bell.notify_one();
        }
    }

    /// Marks a copy that is present suspect, and wakes the engine, which heals it. One that was
    /// doubted or deleted meanwhile stays as it is.
    ///
    /// # Errors
    /// When the database fails, or knows of no such copy.
    pub async fn doubt(
        &self,
        object_id: ObjectId,
        store: &StoreName,
        why: &str,
    ) -> Result<(), CatalogError> {
        let step = PlacementStep {
            object_id,
            store,
            from: PlacementState::Present,
            to: PlacementState::Suspect,
            error: Some(why),
        };
        match self.catalog.step_placement(step, self.clock.now()).await {
            Ok(()) => {
                self.engine_bell.notify_one();
                Ok(())
            }
            Err(CatalogError::Conflict(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A listener that marks a copy of this object suspect when a read could not use it.
    #[must_use]
    pub fn doubts_about(&self, object: &ObjectRow) -> Arc<dyn Doubts> {
        Arc::new(PlacementDoubts {
            app: self.clone(),
            object: object.id,
        })
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

#[derive(Debug)]
struct PlacementDoubts {
    app: App,
    object: ObjectId,
}

impl Doubts for PlacementDoubts {
    fn doubt(&self, doubt: &Doubt) {
        self.app.metrics.doubt(&doubt.store, doubt.kind);
        if !doubt.kind.is_about_placement() {
            return;
        }
        let (app, object, doubt) = (self.app.clone(), self.object, doubt.clone());
        // The reader must not wait for the catalog.
        self.app.tasks.spawn(async move {
            if let Err(error) = app.doubt(object, &doubt.store, &doubt.detail).await {
                tracing::debug!(%error, %object, "the doubt is not noted");
            }
        });
    }
}
