//! A data folder, a database and a bucket, and any number of Stockrooms that work with them.
//!
//! The clock of these Stockrooms can be set hours ahead while they run. Their stores keep to the
//! machine's clock, as the bucket does, which takes no request whose signature is of another time.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chaos_s3::{ChaosS3, Options};
use http::Method;
use reqwest::RequestBuilder;
use stockroom::app::{App, Bucket, Parts};
use stockroom::assemble;
use stockroom::config::{Config, EngineSettings};
use stockroom::http::routes;
use stockroom::http::server::{Timeouts, serve};
use stockroom::secret_key::SecretKey;
use stockroom::workers::engine;
use stockroom::workers::identity::label_key;
use stockroom::workers::scrub::Budgets;
use stockroom_catalog::NewKey;
use stockroom_domain::{Clock, KeyId, Role, SystemClock, SystemEntropy, Timestamp};
use stockroom_storage::{
    GuardOptions, GuardedStore, HybridOptions, Mode, S3Config, S3Retries, S3Store, S3Timeouts,
    Storage, Store,
};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::support::{self, Backend, TestDatabase, Who};

/// The machine's clock, set forward and never back.
#[derive(Debug, Default)]
pub(crate) struct WorldClock {
    ahead_ms: AtomicI64,
}

impl WorldClock {
    pub(crate) fn advance(&self, by: Duration) {
        let by_ms = i64::try_from(by.as_millis()).unwrap();
        self.ahead_ms.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        let ahead_ms = self.ahead_ms.load(Ordering::SeqCst);
        Timestamp::from_unix_ms(SystemClock.now().unix_ms() + ahead_ms)
    }
}

/// What outlives a process.
pub(crate) struct World {
    pub(crate) backend: Backend,
    pub(crate) clock: Arc<WorldClock>,
    pub(crate) chaos: Option<ChaosS3>,
    settings: BTreeMap<String, String>,
    folder: TempDir,
    _database: Option<TestDatabase>,
}

/// A running Stockroom. Its engine runs when a test lets it.
pub(crate) struct Server {
    pub(crate) app: App,
    address: String,
    client: reqwest::Client,
    keys: BTreeMap<Who, String>,
    engine: Option<JoinHandle<()>>,
}

impl World {
    /// An empty one with its record in SQLite, or in a database of its own on PostgreSQL.
    pub(crate) async fn create(
        backend: Backend,
        settings: &[(&str, &str)],
        database: Option<TestDatabase>,
    ) -> Self {
        // The process may have one already, from another test.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let chaos = match backend {
            Backend::Local => None,
            Backend::S3 | Backend::Hybrid => Some(ChaosS3::start(Options::b2()).await.unwrap()),
        };
        let mut own: BTreeMap<String, String> = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        if let Some(database) = &database {
            own.insert("DATABASE_URL".to_owned(), database.url.clone());
        }
        Self {
            backend,
            clock: Arc::default(),
            chaos,
            settings: own,
            folder: quick_folder(),
            _database: database,
        }
    }

    /// Starts a Stockroom here, beside those that run already.
    pub(crate) async fn serve(&self) -> Server {
        let mut environment = support::environment(self.backend, &self.folder, self.chaos.as_ref());
        let settings = self.settings.iter();
        environment
            .vars
            .extend(settings.map(|(name, value)| (name.clone(), value.into())));
        let config = Config::load(&environment).unwrap().config;
        let listener = TcpListener::bind(config.http.listen).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let app = assembled(&config, Arc::clone(&self.clock)).await;
        let timeouts = Timeouts {
            header: config.http.header_timeout,
            idle: config.http.idle_timeout,
            shutdown: config.http.shutdown_grace,
        };
        let router = routes::router(app.clone());
        tokio::spawn(serve(listener, router, timeouts, app.shutdown.clone()));
        let mut keys = BTreeMap::new();
        for (who, role, subject) in [
            (Who::Operator, Role::Operator, None),
            (Who::Artist, Role::Artist, Some("mia")),
        ] {
            keys.insert(who, create_key(&app, role, subject).await);
        }
        Server {
            app,
            address,
            client: support::client(),
            keys,
            engine: None,
        }
    }

    /// The S3 server of the modes that have one.
    pub(crate) fn chaos(&self) -> &ChaosS3 {
        self.chaos.as_ref().expect("a mode with a bucket")
    }

    /// The folder of the local store.
    pub(crate) fn uploads(&self) -> PathBuf {
        self.folder.path().join("data/uploads")
    }
}

impl Server {
    /// A request to a path of this server.
    pub(crate) fn call(&self, who: Who, method: Method, path: &str) -> RequestBuilder {
        self.client
            .request(method, format!("http://{}{path}", self.address))
            .bearer_auth(&self.keys[&who])
    }

    /// Where it listens, and the head of a request with the key of a caller.
    pub(crate) fn raw(&self, who: Who, method: &Method, path: &str) -> (&str, String) {
        let key = &self.keys[&who];
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: shop\r\nAuthorization: Bearer {key}\r\n");
        (&self.address, head)
    }

    /// Lets the engine run beside everything else.
    pub(crate) fn start_engine(&mut self) {
        self.engine = Some(tokio::spawn(engine::run(self.app.clone())));
    }

    /// Ends the process without a word: the engine stays where it is, with its claims and leases.
    pub(crate) async fn kill(mut self) {
        if let Some(engine) = self.engine.take() {
            engine.abort();
            let ended = engine.await;
            assert!(
                ended.is_err_and(|error| error.is_cancelled()),
                "the engine failed"
            );
        }
        self.app.shutdown.cancel();
    }

    /// Waits until nothing runs in the background but the engine.
    pub(crate) async fn idle(&self) {
        while !self.app.tasks.is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A folder in memory where there is such a place: what waits for the disk is proven elsewhere,
/// and ten thousand operations wait for it longer than for everything else together.
fn quick_folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

/// The running parts, with a client of the bucket that is as impatient as a test.
async fn assembled(config: &Config, clock: Arc<WorldClock>) -> App {
    let machine: Arc<dyn Clock> = Arc::new(SystemClock);
    let entropy = Arc::new(SystemEntropy);
    let url = "http://127.0.0.1";
    let usual = assemble::parts(config, url, Arc::clone(&machine), entropy)
        .await
        .unwrap();
    let s3 = config.storage.s3.as_ref().map(|settings| {
        let impatient = S3Config {
            timeouts: S3Timeouts {
                connect: Duration::from_millis(500),
                answer: Duration::from_millis(500),
                complete: Duration::from_millis(500),
                read_idle: Duration::from_millis(500),
            },
            retries: S3Retries {
                attempts: 3,
                base: Duration::from_millis(20),
                longest_wait: Duration::from_millis(100),
                deadline: Duration::from_secs(1),
            },
            ..settings.store_config()
        };
        let entropy = Arc::clone(&usual.entropy);
        let store = S3Store::connect_with(
            &impatient,
            Arc::clone(&machine),
            entropy,
            Arc::<_>::clone(&usual.metrics) as _,
        );
        Bucket {
            store: Arc::new(store.unwrap()),
            settings: settings.clone(),
        }
    });
    let guard = |store: Arc<dyn Store>| {
        let recovered = Arc::clone(&usual.engine_bell);
        let options = GuardOptions {
            first_wait: Duration::from_millis(20),
            longest_wait: Duration::from_millis(200),
            probe_timeout: Duration::from_secs(1),
            ..GuardOptions::new(Arc::clone(&machine), label_key(), recovered)
        };
        GuardedStore::new(store, options)
    };
    let local = usual.local.clone().map(|store| guard(store));
    let bucket = s3.as_ref().map(|s3| guard(Arc::clone(&s3.store) as _));
    let storage = match (config.storage.mode, &local, &bucket) {
        (Mode::Local, Some(local), _) => Storage::local(Arc::clone(local) as _),
        (Mode::S3, _, Some(bucket)) => Storage::s3(Arc::clone(bucket) as _),
        (Mode::Hybrid, Some(local), Some(bucket)) => {
            let options = HybridOptions {
                read: config.storage.hybrid_read,
                ack: config.storage.hybrid_ack,
            };
            Storage::hybrid(Arc::clone(local) as _, Arc::clone(bucket) as _, options)
        }
        _ => panic!("the stores of the mode are configured"),
    };
    App::new(Parts {
        storage,
        stores: local.into_iter().chain(bucket).collect(),
        buckets: s3.into_iter().collect(),
        clock,
        scrub: Budgets::new(&unhurried(usual.engine)),
        ..usual
    })
}

/// The scrub's budget is one of real time, which a test does not have.
fn unhurried(settings: EngineSettings) -> EngineSettings {
    let all = Some(1 << 50);
    EngineSettings {
        scrub_local_bytes_per_day: all,
        scrub_s3_bytes_per_day: all,
        ..settings
    }
}

async fn create_key(app: &App, role: Role, subject: Option<&str>) -> String {
    let secret = SecretKey::generate(&*app.entropy);
    let now = app.clock.now();
    let key = NewKey {
        id: KeyId::generate(now, &*app.entropy),
        hash: secret.hash(),
        role,
        subject: subject.map(|text| text.parse().unwrap()),
        name: None,
        created_at: now,
        expires_at: None,
    };
    app.catalog.insert_key(&key).await.unwrap();
    secret.reveal()
}
