//! From settings to running parts.

use std::sync::Arc;
use std::time::Duration;

use stockroom_catalog::{Catalog, CatalogError, ConnectOptions};
use stockroom_domain::{Clock, Entropy, StoreName};
use stockroom_storage::{
    GuardOptions, GuardedStore, HybridOptions, LocalOptions, LocalStore, Mode, Observer, S3Config,
    S3ConfigError, S3Retries, S3Store, S3Timeouts, Storage, Store, UrlSigner,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, Bucket, Limits, Parts};
use crate::config::{Config, S3Settings, SigningKeysError};
use crate::flows::events::send::Sender;
use crate::flows::hot::HotFiles;
use crate::flows::keys::KeyUses;
use crate::flows::ledger::Ledger;
use crate::flows::migrate::pace::MigrationPace;
use crate::flows::overview::LastCounts;
use crate::http::limits::RateLimits;
use crate::telemetry::metrics::Metrics;
use crate::workers::identity::label_key;
use crate::workers::pace::Pace;
use crate::workers::scrub::Budgets;
use crate::workers::sweep::LastLook;

/// Why the settings do not make a running Stockroom.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// The database cannot be used.
    #[error("the database cannot be used: {0}")]
    Catalog(#[from] CatalogError),
    /// The folder of the local store cannot be used.
    #[error("the storage folder cannot be used: {0}")]
    Local(#[source] stockroom_storage::Error),
    /// The bucket's settings cannot work.
    #[error("the bucket cannot be used: {0}")]
    S3(#[from] S3ConfigError),
    /// The keys for local links cannot be read or made.
    #[error("the signing keys cannot be used: {0}")]
    SigningKeys(#[from] SigningKeysError),
    /// The mode needs a bucket and none is configured. Loading the settings rules this out.
    #[error("the mode {0} needs a bucket")]
    NoBucket(Mode),
}

/// Opens the database and the stores. Sends nothing to a bucket.
///
/// # Errors
/// The first part that cannot be used.
pub async fn assemble(
    config: &Config,
    public_url: &str,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<App, AssembleError> {
    let parts = parts(config, public_url, clock, entropy).await?;
    Ok(App::new(parts))
}

/// The same, for whoever exchanges some of the parts before they run.
///
/// # Errors
/// The first part that cannot be used.
pub async fn parts(
    config: &Config,
    public_url: &str,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> Result<Parts, AssembleError> {
    let metrics = Arc::new(Metrics::new());
    let engine_bell = Arc::default();
    let signer = UrlSigner::new(config.signing.load_or_create(&*entropy)?, public_url);
    let options = ConnectOptions {
        entropy: Arc::clone(&entropy),
        ..ConnectOptions::default()
    };
    let catalog = Catalog::connect(config.database.url().expose(), &options).await?;
    let stores = open_stores(config, &signer, &clock, &entropy, &metrics)?;
    let guards = guards(&stores, &clock, &engine_bell);
    let storage = storage(config, &guards)?;
    Ok(Parts {
        catalog,
        storage,
        stores: guards,
        local: stores.local,
        buckets: stores.buckets,
        signer,
        purchase_events: config.purchase_events.clone(),
        event_sender: Sender::new(&config.webhooks),
        clock,
        entropy,
        metrics,
        delivery: config.http.delivery,
        limits: Limits {
            max_upload_bytes: config.http.max_upload_bytes,
            max_form_files: config.http.max_form_files,
            idle_timeout: config.http.idle_timeout,
            delete_grace: config.storage.delete_grace,
        },
        callers: config.callers.clone(),
        rate_limits: RateLimits::new(&config.callers),
        public_url: public_url.to_owned(),
        hot_files: HotFiles::new(config.http.file_cache_bytes),
        ledger: Ledger::default(),
        key_uses: KeyUses::default(),
        last_counts: LastCounts::default(),
        tasks: TaskTracker::new(),
        shutdown: CancellationToken::new(),
        engine_bell,
        clearing_bell: Notify::new(),
        engine: config.engine,
        migration_pace: MigrationPace::default(),
        pace: Pace::per_second(config.engine.max_bytes_per_second),
        scrub: Budgets::new(&config.engine),
        uploads_looked_at: LastLook::default(),
        foreign_looked_at: LastLook::default(),
    })
}

/// The bucket's client, and how patient it is. A buyer or an artist waits at the other end, so
/// giving up after 20 seconds beats trying for three minutes. The first of them to meet a bucket
/// that does not answer opens its breaker.
fn s3_config(settings: &S3Settings) -> S3Config {
    S3Config {
        retries: S3Retries {
            attempts: 4,
            base: Duration::from_millis(500),
            longest_wait: Duration::from_secs(8),
            deadline: Duration::from_secs(20),
        },
        timeouts: S3Timeouts {
            answer: Duration::from_secs(10),
            ..S3Timeouts::default()
        },
        ..settings.store_config()
    }
}

struct Stores {
    local: Option<Arc<LocalStore>>,
    buckets: Vec<Bucket>,
}

/// Opens every store there is, also outside the mode: copies on them stay readable.
fn open_stores(
    config: &Config,
    signer: &UrlSigner,
    clock: &Arc<dyn Clock>,
    entropy: &Arc<dyn Entropy>,
    metrics: &Arc<Metrics>,
) -> Result<Stores, AssembleError> {
    let observer: Arc<dyn Observer> = Arc::<Metrics>::clone(metrics);
    let open = |settings: &S3Settings| {
        let store = S3Store::connect_with(
            &s3_config(settings),
            Arc::clone(clock),
            Arc::clone(entropy),
            Arc::clone(&observer),
        )?;
        Ok::<_, S3ConfigError>(Bucket {
            store: Arc::new(store),
            settings: settings.clone(),
        })
    };
    let buckets = config.storage.buckets().map(open);
    let buckets = buckets.collect::<Result<Vec<_>, _>>()?;
    // In the mode s3 no folder is made, but one that is there may still hold copies.
    let wants_local = config.storage.mode != Mode::S3 || config.storage.dir.is_dir();
    let local = if wants_local {
        let options = LocalOptions::default()
            .clock(Arc::clone(clock))
            .entropy(Arc::clone(entropy))
            .observer(observer)
            .signer(signer.clone());
        let store = LocalStore::open(&config.storage.dir, options).map_err(AssembleError::Local)?;
        Some(Arc::new(store))
    } else {
        None
    };
    Ok(Stores { local, buckets })
}

/// A guard for each store. What reads and writes goes through them.
fn guards(
    stores: &Stores,
    clock: &Arc<dyn Clock>,
    recovered: &Arc<Notify>,
) -> Vec<Arc<GuardedStore>> {
    let local = stores.local.clone().map(|store| store as Arc<dyn Store>);
    let buckets = stores.buckets.iter();
    let buckets = buckets.map(|bucket| Arc::clone(&bucket.store) as Arc<dyn Store>);
    let guard = |store| {
        let (clock, recovered) = (Arc::clone(clock), Arc::clone(recovered));
        GuardedStore::new(store, GuardOptions::new(clock, label_key(), recovered))
    };
    local.into_iter().chain(buckets).map(guard).collect()
}

fn storage(config: &Config, guards: &[Arc<GuardedStore>]) -> Result<Storage, AssembleError> {
    let mode = config.storage.mode;
    let store = |name: &StoreName| {
        let guard = guards.iter().find(|guard| guard.name() == name);
        guard.map(|guard| Arc::clone(guard) as Arc<dyn Store>)
    };
    let s3 = config.storage.s3.as_ref();
    let s3 = s3.and_then(|settings| store(&settings.name));
    match (mode, store(&StoreName::LOCAL), s3) {
        (Mode::Local, Some(local), _) => Ok(Storage::local(local)),
        (Mode::S3, _, Some(s3)) => Ok(Storage::s3(s3)),
        (Mode::Hybrid, Some(local), Some(s3)) => {
            let options = HybridOptions {
                read: config.storage.hybrid_read,
                ack: config.storage.hybrid_ack,
            };
            Ok(Storage::hybrid(local, s3, options))
        }
        _ => Err(AssembleError::NoBucket(mode)),
    }
}
