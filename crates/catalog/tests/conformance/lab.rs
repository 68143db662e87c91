//! A new catalog for each test, on each database, and what tests put into it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::{Connection, PgConnection};
use stockroom_catalog::{
    AssetRow, Catalog, ConnectOptions, ModelRow, NewAsset, NewModel, NewPurchase, NewUpload,
    ObjectFacts, ObjectRow, PurchaseRow, ReceivedUpload, Recorded, RecordedObject, Tombstone,
    Upload,
};
use stockroom_domain::{
    AssetId, Clock, Entropy, Key, ManualClock, ModelId, ModelStatus, ObjectId, PlacementState,
    PurchaseId, SeededEntropy, Sha256Digest, StoreName, Subject, SystemEntropy, Timestamp,
};

/// Makes two tests of each function: one on SQLite, one on PostgreSQL.
macro_rules! on_both_databases {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                $crate::lab::on_sqlite(|lab| Box::pin(super::$name(lab))).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                $crate::lab::on_postgres(|lab| Box::pin(super::$name(lab))).await;
            })+
        }
    };
}
pub(crate) use on_both_databases;

/// How many tasks race in tests of races.
pub(crate) const RACERS: u32 = 16;

/// A catalog of its own for one test.
pub(crate) struct Lab {
    pub(crate) catalog: Catalog,
    pub(crate) url: String,
    clock: ManualClock,
    entropy: SeededEntropy,
}

pub(crate) async fn on_sqlite(test: impl for<'l> FnOnce(&'l Lab) -> BoxFuture<'l, ()>) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/new/stockroom.db", folder.path().display());
    let lab = Lab::new(url).await;
    test(&lab).await;
    lab.catalog.close().await;
}

pub(crate) async fn on_postgres(test: impl for<'l> FnOnce(&'l Lab) -> BoxFuture<'l, ()>) {
    let Some(database) = TestDatabase::create().await else {
        return;
    };
    let outcome = AssertUnwindSafe(async {
        let lab = Lab::new(database.url.clone()).await;
        test(&lab).await;
        lab.catalog.close().await;
    })
    .catch_unwind()
    .await;
    database.remove().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// A database with a name of its own on the server for tests.
pub(crate) struct TestDatabase {
    server: String,
    name: String,
    pub(crate) url: String,
}

impl TestDatabase {
    /// None where there is no server for tests; in CI that is an error.
    pub(crate) async fn create() -> Option<Self> {
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
        let name = format!("catalog_{:032x}", u128::from_be_bytes(entropy.bytes()));
        administer(&server, format!("CREATE DATABASE {name}")).await;
        let (before, database) = server.rsplit_once('/').unwrap();
        let parameters = database.split_once('?').map_or("", |(_, after)| after);
        let url = format!("{before}/{name}?{parameters}");
        Some(Self { server, name, url })
    }

    pub(crate) async fn remove(self) {
        administer(
            &self.server,
            format!("DROP DATABASE {} WITH (FORCE)", self.name),
        )
        .await;
    }
}

async fn administer(server: &str, statement: String) {
    let mut connection = PgConnection::connect(server).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

impl Lab {
    async fn new(url: String) -> Self {
        let system: &dyn Entropy = &SystemEntropy;
        let seed = u64::from_be_bytes(system.bytes());
        println!("seed {seed}");
        Self {
            catalog: Catalog::connect(&url, &ConnectOptions::default())
                .await
                .unwrap(),
            url,
            clock: ManualClock::new(Timestamp::from_unix_ms(1_763_888_400_000)),
            entropy: SeededEntropy::new(seed),
        }
    }

    /// The present moment. Each call is a millisecond later, so that ids sort in the order in
    /// which they were made.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.advance(Duration::from_millis(1));
        self.clock.now()
    }

    pub(crate) fn after(&self, seconds: u64) -> Timestamp {
        self.now().after(Duration::from_secs(seconds))
    }

    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        let entropy: &dyn Entropy = &self.entropy;
        entropy.bytes()
    }

    pub(crate) fn id<T>(&self, generate: impl Fn(Timestamp, &dyn Entropy) -> T) -> T {
        generate(self.now(), &self.entropy)
    }

    pub(crate) fn new_model(&self, artist: &str) -> NewModel {
        NewModel {
            id: self.id(ModelId::generate),
            artist: subject(artist),
            title: "Helmet".to_owned(),
            description: None,
            license: None,
            tags: Vec::new(),
            price: None,
            status: ModelStatus::Published,
            created_at: self.now(),
        }
    }

    pub(crate) async fn model(&self, artist: &str) -> ModelRow {
        let model = self.new_model(artist);
        self.catalog.insert_model(model).await.unwrap()
    }

    pub(crate) fn new_upload(&self, key: &str) -> NewUpload {
        NewUpload {
            object_id: self.id(ObjectId::generate),
            key: key.parse().unwrap(),
            content_type: "model/stl".to_owned(),
            metadata: BTreeMap::from([("artist".to_owned(), "Käthe".to_owned())]),
            opened_at: self.now(),
            lease_until: self.after(60),
        }
    }

    pub(crate) async fn open(&self, key: &str) -> Upload {
        let upload = self.new_upload(key);
        self.catalog.open_upload(upload).await.unwrap()
    }

    /// The upload as received, present on both stores.
    pub(crate) fn received(&self, upload: &Upload) -> ReceivedUpload {
        received(upload.object_id)
    }

    /// A live object under the key.
    pub(crate) async fn put(&self, key: &str) -> RecordedObject {
        let upload = self.open(key).await;
        self.catalog
            .record_object(&self.received(&upload), self.now(), self.after(3600))
            .await
            .unwrap()
    }

    /// A live object that is on the local disk and still to be copied to S3.
    pub(crate) async fn under_placed(&self, key: &str) -> ObjectRow {
        let upload = self.open(key).await;
        let mut received = self.received(&upload);
        received.placements = vec![
            (StoreName::LOCAL, PlacementState::Present),
            (StoreName::S3, PlacementState::Copying),
        ];
        let now = self.now();
        let recorded = self.catalog.record_object(&received, now, now).await;
        recorded.unwrap().object
    }

    pub(crate) async fn new_asset(&self, model_id: ModelId, filename: &str) -> NewAsset {
        let id = self.id(AssetId::generate);
        let upload = self
            .open(&format!("models/{model_id}/{id}-{filename}"))
            .await;
        NewAsset {
            id,
            model_id,
            filename: filename.parse().unwrap(),
            format: "stl".to_owned(),
            report: None,
            upload: self.received(&upload),
        }
    }

    /// A recorded asset.
    pub(crate) async fn asset(&self, model_id: ModelId, filename: &str) -> AssetRow {
        let asset = self.new_asset(model_id, filename).await;
        let mut recorded = self
            .catalog
            .record_assets(&[asset], self.now())
            .await
            .unwrap();
        assert_eq!(recorded.len(), 1);
        recorded.remove(0)
    }

    pub(crate) fn new_purchase(&self, buyer: &str, model_id: ModelId) -> NewPurchase {
        let id = self.id(PurchaseId::generate);
        NewPurchase {
            id,
            buyer: subject(buyer),
            model_id,
            order_ref: format!("order {id}"),
            purchased_at: self.now(),
            expires_at: None,
            download_limit: None,
        }
    }

    pub(crate) async fn buy(&self, new: NewPurchase) -> PurchaseRow {
        match self.catalog.record_purchase(&new).await.unwrap() {
            Recorded::New(row) => row,
            Recorded::Same(row) => panic!("{row:?} was there before"),
        }
    }
}

/// What was received of an upload, present on both stores.
pub(crate) fn received(object_id: ObjectId) -> ReceivedUpload {
    ReceivedUpload {
        object_id,
        facts: facts(),
        placements: vec![
            (StoreName::S3, PlacementState::Present),
            (StoreName::LOCAL, PlacementState::Present),
        ],
    }
}

/// The upload as the sweep is given it.
pub(crate) fn tombstone(upload: &Upload) -> Tombstone {
    Tombstone {
        object_id: upload.object_id,
        key: upload.key.clone(),
        location: upload.location.clone(),
        was_live: false,
    }
}

pub(crate) fn facts() -> ObjectFacts {
    ObjectFacts {
        size_bytes: 3,
        sha256: Sha256Digest::of(b"abc"),
        chunk_sums: vec![0, 1, 2, 255],
    }
}

pub(crate) fn subject(text: &str) -> Subject {
    text.parse().unwrap()
}

pub(crate) fn key(text: &str) -> Key {
    text.parse().unwrap()
}

/// Runs a task for each racer at the same time and gives back what they returned.
pub(crate) async fn race<T, F>(racer: impl Fn(u32) -> F) -> Vec<T>
where
    T: Send + Debug + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = (0..RACERS).map(|n| tokio::spawn(racer(n))).collect();
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.push(task.await.unwrap());
    }
    outcomes
}

/// The conflict that the error is.
#[macro_export]
macro_rules! assert_conflict {
    ($outcome:expr, $conflict:pat $(if $guard:expr)?) => {
        match $outcome {
            Err(stockroom_catalog::CatalogError::Conflict($conflict)) $(if $guard)? => {}
            other => panic!("{other:?}"),
        }
    };
}

/// The thing that the error says is not there.
#[macro_export]
macro_rules! assert_not_found {
    ($outcome:expr, $noun:ident) => {
        match $outcome {
            Err(stockroom_catalog::CatalogError::NotFound(stockroom_catalog::Noun::$noun)) => {}
            other => panic!("{other:?}"),
        }
    };
}
