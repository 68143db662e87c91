//! A shop for one test: a server on a free port, a key of each role, and everything it leaves
//! behind laid open.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chaos_s3::{ChaosS3, Options};
use http::{HeaderMap, Method};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use stockroom::app::App;
use stockroom::assemble::assemble;
use stockroom::config::{Config, Environment};
use stockroom::http::routes;
use stockroom::http::server::{Timeouts, serve};
use stockroom::secret_key::SecretKey;
use stockroom::workers::views;
use stockroom_catalog::{KeyHash, NewKey, Page};
use stockroom_domain::{
    Clock, Entropy, KeyId, KeyPrefix, Role, SeededEntropy, Sha256Digest, SystemClock,
    SystemEntropy, Timestamp,
};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// One mebibyte: the length of the chunks that have a checksum of their own.
pub(crate) const CHUNK_BYTES: u64 = 1 << 20;

/// The key of the object by which a store is known; no upload left it.
pub(crate) const STORE_ID: &str = "models/.stockroom/store-id";

/// Where the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Local,
    S3,
    Hybrid,
}

impl Backend {
    pub(crate) const ALL: [Self; 3] = [Self::Local, Self::S3, Self::Hybrid];

    fn mode(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::S3 => "s3",
            Self::Hybrid => "hybrid",
        }
    }
}

/// Who calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    Nobody,
    Operator,
    Service,
    /// The artist `mia`, whose models the tests sell.
    Artist,
    /// The artist `otto`.
    OtherArtist,
    /// The buyer `ben`.
    Buyer,
    /// The buyer `eve`, who buys nothing.
    Stranger,
}

const KEYS: [(Who, Role, Option<&str>); 6] = [
    (Who::Operator, Role::Operator, None),
    (Who::Service, Role::Service, None),
    (Who::Artist, Role::Artist, Some("mia")),
    (Who::OtherArtist, Role::Artist, Some("otto")),
    (Who::Buyer, Role::Buyer, Some("ben")),
    (Who::Stranger, Role::Buyer, Some("eve")),
];

/// The machine's clock, set forward or back by a test.
#[derive(Debug, Default)]
pub(crate) struct TestClock {
    offset_ms: AtomicI64,
}

impl TestClock {
    pub(crate) fn set_offset_s(&self, seconds: i64) {
        self.offset_ms.store(seconds * 1_000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let offset_ms = self.offset_ms.load(Ordering::SeqCst);
        Timestamp::from_unix_ms(SystemClock.now().unix_ms() + offset_ms)
    }
}

/// A running Stockroom. It ends with the test.
pub(crate) struct Shop {
    pub(crate) backend: Backend,
    pub(crate) app: App,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) chaos: Option<ChaosS3>,
    pub(crate) stop_accepting: CancellationToken,
    pub(crate) server: JoinHandle<std::io::Result<()>>,
    address: String,
    client: reqwest::Client,
    keys: BTreeMap<Who, String>,
    folder: TempDir,
    environment: Environment,
    database: Option<TestDatabase>,
}

/// Another server of the same shop.
pub(crate) struct Beside {
    pub(crate) app: App,
    address: String,
}

impl Beside {
    /// Where a path of this server is.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.app.shutdown.cancel();
    }
}

/// A server that was just started.
struct Started {
    app: App,
    server: JoinHandle<std::io::Result<()>>,
    address: String,
}

/// Starts a server with these settings, and what it keeps in memory.
async fn start(environment: &Environment, clock: &Arc<TestClock>) -> Started {
    let config = Config::load(environment).unwrap().config;
    let listener = TcpListener::bind(config.http.listen).await.unwrap();
    let bound = listener.local_addr().unwrap();
    let app = assemble(
        &config,
        &config.http.public_url(bound),
        Arc::<TestClock>::clone(clock),
        Arc::new(SystemEntropy),
    )
    .await
    .unwrap();
    let timeouts = Timeouts {
        header: config.http.header_timeout,
        idle: config.http.idle_timeout,
        shutdown: config.http.shutdown_grace,
    };
    tokio::spawn(views::run(app.clone()));
    let router = routes::router(app.clone());
    let server = tokio::spawn(serve(listener, router, timeouts, app.shutdown.clone()));
    Started {
        app,
        server,
        address: bound.to_string(),
    }
}

impl Shop {
    /// A shop whose record is in SQLite.
    pub(crate) async fn start(backend: Backend) -> Self {
        Self::start_with(backend, &[]).await
    }

    /// The same with these settings.
    pub(crate) async fn start_with(backend: Backend, settings: &[(&str, &str)]) -> Self {
        Self::launch(backend, settings, None).await
    }

    /// A shop whose record is in PostgreSQL; none where there is no server for tests.
    pub(crate) async fn start_on_postgres(
        backend: Backend,
        settings: &[(&str, &str)],
    ) -> Option<Self> {
        let database = TestDatabase::create()?;
        Some(Self::launch(backend, settings, Some(database)).await)
    }

    async fn launch(
        backend: Backend,
        settings: &[(&str, &str)],
        database: Option<TestDatabase>,
    ) -> Self {
        // The process may have one already, from another test.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let chaos = match backend {
            Backend::Local => None,
            Backend::S3 | Backend::Hybrid => Some(ChaosS3::start(Options::b2()).await.unwrap()),
        };
        let mut environment = environment(backend, &folder, chaos.as_ref());
        if let Some(database) = &database {
            environment
                .vars
                .insert("DATABASE_URL".to_owned(), database.url.clone().into());
        }
        for (name, value) in settings {
            environment.vars.insert((*name).to_owned(), value.into());
        }
        let clock = Arc::new(TestClock::default());
        let Started {
            app,
            server,
            address,
        } = start(&environment, &clock).await;
        let stop_accepting = app.shutdown.clone();
        let mut shop = Self {
            backend,
            app,
            clock,
            chaos,
            stop_accepting,
            server,
            address,
            client: client(),
            keys: BTreeMap::new(),
            folder,
            environment,
            database,
        };
        for (who, role, subject) in KEYS {
            let (_, key) = shop.create_key(role, subject).await;
            shop.keys.insert(who, key);
        }
        shop
    }

    /// Starts another server with the same settings.
    pub(crate) async fn beside(&self) -> Beside {
        let Started { app, address, .. } = start(&self.environment, &self.clock).await;
        Beside { app, address }
    }

    /// Makes a key; its id and its secret form.
    pub(crate) async fn create_key(&self, role: Role, subject: Option<&str>) -> (KeyId, String) {
        let secret = SecretKey::generate(&*self.app.entropy);
        let now = self.app.clock.now();
        let row = self
            .app
            .catalog
            .insert_key(&NewKey {
                id: KeyId::generate(now, &*self.app.entropy),
                hash: secret.hash(),
                role,
                subject: subject.map(|text| text.parse().unwrap()),
                name: None,
                created_at: now,
                expires_at: None,
            })
            .await
            .unwrap();
        (row.id, secret.reveal())
    }

    /// Runs a statement on the PostgreSQL database of this shop.
    pub(crate) fn administer(&self, statement: &str) {
        let database = self.database.as_ref().expect("a shop on PostgreSQL");
        administer(&database.url, statement);
    }

    /// The S3 server of the modes that have one.
    pub(crate) fn chaos(&self) -> &ChaosS3 {
        self.chaos.as_ref().expect("a mode with a bucket")
    }

    /// The header with the key of one of the callers.
    pub(crate) fn authorization(&self, who: Who) -> String {
        format!("Bearer {}", self.keys[&who])
    }

    /// What the catalog knows the key of one of the callers by.
    pub(crate) fn key_hash(&self, who: Who) -> KeyHash {
        SecretKey::parse(&self.keys[&who]).unwrap().hash()
    }

    /// Where a path of this server is.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request to a path of this server.
    pub(crate) fn call(&self, who: Who, method: Method, path: &str) -> RequestBuilder {
        let request = self.fetch(method, &self.url(path));
        match who {
            Who::Nobody => request,
            _ => request.header("authorization", self.authorization(who)),
        }
    }

    pub(crate) fn get(&self, who: Who, path: &str) -> RequestBuilder {
        self.call(who, Method::GET, path)
    }

    /// A request to any URL, without a key.
    pub(crate) fn fetch(&self, method: Method, url: &str) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// A connection on which a test writes what it likes.
    pub(crate) async fn connect(&self) -> std::io::Result<TcpStream> {
        TcpStream::connect(&self.address).await
    }

    /// Sends bytes as they are and reads the one answer to its end.
    pub(crate) async fn raw(&self, request: impl AsRef<[u8]>) -> Answer {
        let mut stream = self.connect().await.unwrap();
        stream.write_all(request.as_ref()).await.unwrap();
        let mut received = Vec::new();
        tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut received))
            .await
            .expect("an answer in time, and the end of the connection after it")
            .unwrap();
        Answer::parse(&received)
    }

    /// A published model of the artist; its id.
    pub(crate) async fn published_model(&self) -> String {
        let id = self.draft_model().await;
        let patch = self
            .call(Who::Artist, Method::PATCH, &format!("/v1/models/{id}"))
            .json(&json!({"status": "published"}));
        assert_eq!(answer(patch).await.status, 200);
        id
    }

    /// A draft of the artist; its id.
    pub(crate) async fn draft_model(&self) -> String {
        let request = self
            .call(Who::Artist, Method::POST, "/v1/models")
            .json(&json!({"title": "Helmet", "price": {"amount": 1200, "currency": "EUR"}}));
        let model = answer(request).await.json(201);
        assert_eq!(model["status"], "draft");
        model["id"].as_str().unwrap().to_owned()
    }

    /// Uploads a file by PUT; the asset.
    pub(crate) async fn put_asset(&self, model: &str, filename: &str, bytes: Bytes) -> Value {
        let path = format!("/v1/models/{model}/assets/{filename}");
        let digest = repr_digest(&bytes);
        let request = self
            .call(Who::Artist, Method::PUT, &path)
            .header("repr-digest", digest)
            .body(bytes);
        answer(request).await.json(201)
    }

    /// Records a purchase by the buyer; its id.
    pub(crate) async fn sell(&self, model: &str, order_ref: &str) -> String {
        let request = self
            .call(Who::Service, Method::POST, "/v1/purchases")
            .json(&json!({"buyer": "ben", "model": model, "order_ref": order_ref}));
        let purchase = answer(request).await.json(201);
        purchase["id"].as_str().unwrap().to_owned()
    }

    /// Sets the clocks of the shop and of its bucket forward.
    pub(crate) fn set_offset_s(&self, seconds: i64) {
        self.clock.set_offset_s(seconds);
        if let Some(chaos) = &self.chaos {
            chaos.set_clock_skew(seconds);
        }
    }

    /// Waits until every store is seen to answer again.
    pub(crate) async fn stores_answer(&self) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while !self.app.stores.iter().all(|store| store.is_available()) {
            assert!(
                tokio::time::Instant::now() < deadline,
                "a store does not answer"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Everything that this server has on disk, and room for what it must not touch.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the local store lies.
    pub(crate) fn uploads_folder(&self) -> PathBuf {
        self.folder.path().join("data/uploads")
    }

    /// Everything that uploads leave somewhere.
    pub(crate) async fn traces(&self) -> Traces {
        let mut files = Vec::new();
        collect_files(&self.uploads_folder(), &mut files);
        files.retain(|file| !file.ends_with(STORE_ID));
        files.sort();
        let everything: KeyPrefix = "".parse().unwrap();
        let page = Page {
            limit: 1_000,
            after: None,
        };
        let objects = self
            .app
            .catalog
            .list_objects(&everything, &page)
            .await
            .unwrap();
        // Far in the future every lease is over. The claim ends at the same moment, so that the
        // next look finds the same rows.
        let some_day = self.app.clock.now().after(Duration::from_secs(30 * 86_400));
        let claimed = self
            .app
            .catalog
            .claim_tombstones(some_day, some_day, 1_000)
            .await
            .unwrap();
        let chaos = self.chaos.as_ref();
        Traces {
            files,
            versions_in_bucket: chaos.map_or(0, |chaos| {
                chaos.all_version_count() - chaos.versions(STORE_ID).len()
            }),
            unfinished_uploads: chaos.map_or(0, |chaos| chaos.unfinished_uploads().len()),
            objects: objects
                .items
                .iter()
                .map(|object| object.key.to_string())
                .collect(),
            intents: claimed
                .iter()
                .filter(|tombstone| !tombstone.was_live)
                .map(|upload| upload.key.to_string())
                .collect(),
        }
    }

    /// Waits until nothing but this is there any more.
    pub(crate) async fn assert_soon_only(&self, expected: &Traces, what: &str) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(5);
        loop {
            let traces = self.quiet_traces().await;
            if traces == *expected {
                return;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "{what}: left behind after 5 s: {traces:?}, expected {expected:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Like [`Shop::traces`], once no upload runs any more: the look at the intents would end it.
    pub(crate) async fn quiet_traces(&self) -> Traces {
        while !self.app.tasks.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.traces().await
    }
}

/// What there is on disk, in the bucket and in the catalog.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Traces {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) versions_in_bucket: usize,
    pub(crate) unfinished_uploads: usize,
    pub(crate) objects: Vec<String>,
    /// Uploads whose bytes the sweep would still look for.
    pub(crate) intents: Vec<String>,
}

impl Traces {
    pub(crate) const NONE: Self = Self {
        files: Vec::new(),
        versions_in_bucket: 0,
        unfinished_uploads: 0,
        objects: Vec::new(),
        intents: Vec::new(),
    };
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Sends a request.
pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.bytes().await.expect("a whole body"),
    }
}

impl Answer {
    pub(crate) fn parse(received: &[u8]) -> Self {
        let text = String::from_utf8_lossy(received);
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no head: {text:?}"));
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1))
            .expect("a status");
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| {
                let name: http::HeaderName = name.parse().unwrap();
                (name, value.trim().parse().unwrap())
            })
            .collect();
        Self {
            status: status.parse().unwrap(),
            headers,
            body: Bytes::copy_from_slice(body.as_bytes()),
        }
    }

    /// A header as text; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The body of an answer that must have this status.
    #[track_caller]
    pub(crate) fn json(&self, status: u16) -> Value {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Checks that the answer is this problem, whole and in its form.
    #[track_caller]
    pub(crate) fn assert_problem(&self, status: u16, code: &str, what: &str) {
        let is_problem = self.is_problem(status, code);
        assert!(is_problem.is_ok(), "{what}: {is_problem:?}");
    }

    /// The same as a value, for whoever has more to look at.
    pub(crate) fn is_problem(&self, status: u16, code: &str) -> Result<(), String> {
        let body = String::from_utf8_lossy(&self.body);
        let wrong = |what: &str| Err(format!("{what}: {} {body:.500}", self.status));
        if self.status != status {
            return wrong(&format!("not {status} {code}"));
        }
        if self.header("content-type") != "application/problem+json" {
            return wrong("no problem+json");
        }
        let Ok(problem) = serde_json::from_slice::<Value>(&self.body) else {
            return wrong("no JSON");
        };
        if problem["status"] != status || problem["code"] != code {
            return wrong(&format!("not {status} {code}"));
        }
        for field in ["title", "detail"] {
            if problem[field].as_str().is_none_or(str::is_empty) {
                return wrong(&format!("no {field}"));
            }
        }
        let request_id = self.header("x-request-id");
        if request_id.is_empty() || problem["request_id"] != request_id {
            return wrong("another request id");
        }
        Ok(())
    }
}

/// A binary STL of so many triangles, another one for each seed.
pub(crate) fn stl(triangles: u32, seed: u64) -> Bytes {
    let mut file = vec![b' '; 80];
    file.extend(triangles.to_le_bytes());
    let mut random = vec![0; triangles as usize * 9];
    SeededEntropy::new(seed).fill(&mut random);
    for corner in random.chunks(9) {
        let numbers = [0, 0, 1].iter().chain(corner);
        for number in numbers {
            file.extend(f32::from(*number).to_le_bytes());
        }
        file.extend([0, 0]);
    }
    file.into()
}

/// Bytes that are nothing in particular.
pub(crate) fn noise(size_bytes: usize, seed: u64) -> Bytes {
    let mut bytes = vec![0; size_bytes];
    SeededEntropy::new(seed).fill(&mut bytes);
    bytes.into()
}

/// The value of the header `Repr-Digest` for these bytes.
pub(crate) fn repr_digest(bytes: &[u8]) -> String {
    format!(
        "sha-256=:{}:",
        STANDARD.encode(Sha256Digest::of(bytes).as_bytes())
    )
}

pub(crate) fn environment(
    backend: Backend,
    folder: &TempDir,
    chaos: Option<&ChaosS3>,
) -> Environment {
    let data_dir = folder.path().join("data");
    let mut vars: BTreeMap<String, std::ffi::OsString> = BTreeMap::from([
        ("DATA_DIR".to_owned(), data_dir.into()),
        ("STORAGE_MODE".to_owned(), backend.mode().into()),
        ("LISTEN".to_owned(), "127.0.0.1:0".into()),
    ]);
    if let Some(chaos) = chaos {
        let settings = [
            ("S3_ENDPOINT", chaos.endpoint()),
            ("S3_REGION", chaos.region().to_owned()),
            ("S3_BUCKET", chaos.bucket().to_owned()),
            ("S3_KEY_ID", chaos.key_id().to_owned()),
            ("S3_APPLICATION_KEY", chaos.application_key().to_owned()),
        ];
        vars.extend(settings.map(|(name, value)| (name.to_owned(), value.into())));
    }
    Environment {
        vars,
        working_dir: folder.path().to_owned(),
        ..Environment::default()
    }
}

pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(Duration::from_secs(30))
        .build()
        .unwrap()
}

pub(crate) fn collect_files(folder: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_files(&path, into);
        } else {
            into.push(path);
        }
    }
}

/// A database with a name of its own on the PostgreSQL server for tests, removed on drop.
pub(crate) struct TestDatabase {
    server: String,
    name: String,
    pub(crate) url: String,
}

impl TestDatabase {
    pub(crate) fn create() -> Option<Self> {
        const VARIABLE: &str = "STOCKROOM_TEST_POSTGRES_URL";
        let Ok(server) = std::env::var(VARIABLE) else {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "{VARIABLE} is not set, and CI must test PostgreSQL"
            );
            println!("SKIPPED: PostgreSQL: {VARIABLE} is not set");
            return None;
        };
        let entropy: &dyn Entropy = &SystemEntropy;
        let name = format!("http_{:032x}", u128::from_be_bytes(entropy.bytes()));
        administer(&server, &format!("CREATE DATABASE {name}"));
        let (before, database) = server.rsplit_once('/').unwrap();
        let parameters = database.split_once('?').map_or("", |(_, after)| after);
        let url = format!("{before}/{name}?{parameters}");
        Some(Self { server, name, url })
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        administer(
            &self.server,
            &format!("DROP DATABASE {} WITH (FORCE)", self.name),
        );
    }
}

/// Runs one statement with PostgreSQL's own client: SQL is written in the catalog's crate alone.
fn administer(server: &str, statement: &str) {
    let done = Command::new("psql")
        .args([
            "--no-psqlrc",
            "--quiet",
            "--dbname",
            server,
            "--command",
            statement,
        ])
        .status()
        .expect("psql on the PATH, which comes with PostgreSQL");
    assert!(done.success(), "psql failed");
}
