//! What is there before an operation: a shop with two objects and a model, prepared once and
//! copied for every point.

use bytes::Bytes;
use futures::stream;
use stockroom::app::App;
use stockroom::flows::objects;
use stockroom::flows::receive::Intake;
use stockroom::secret_key::SecretKey;
use stockroom::workers::engine;
use stockroom_catalog::{NewKey, NewModel};
use stockroom_domain::{
    Entropy as _, KeyId, ModelId, ModelStatus, PlacementState, Role, SeededEntropy,
};
use stockroom_storage::Metadata;

use crate::database::Dialect;
use crate::scenario::Scenario;
use crate::site::{Mode, Site};

/// An object that no operation touches.
pub(crate) const BASE: &str = "images/base.bin";
/// The object that is replaced, deleted or damaged.
pub(crate) const SHELF: &str = "images/shelf.bin";
/// An object that goes to a bucket in parts.
pub(crate) const LARGE: &str = "images/large.bin";
/// An object that is put afterwards, to see that the server goes on.
pub(crate) const NEXT: &str = "images/next.bin";

/// A site with what lies there.
pub(crate) struct Template {
    pub(crate) site: Site,
    /// An operator's key.
    pub(crate) key: String,
    pub(crate) model: ModelId,
    pub(crate) bytes: Contents,
}

/// The bytes that the operations are about. No two are the same.
pub(crate) struct Contents {
    pub(crate) base: Bytes,
    pub(crate) shelf: Bytes,
    pub(crate) new: Bytes,
    pub(crate) file: Bytes,
    pub(crate) other_file: Bytes,
    pub(crate) next: Bytes,
    pub(crate) large: Bytes,
}

impl Contents {
    fn make() -> Self {
        Self {
            base: noise(70_000, 1),
            // More than a chunk, and more than one write.
            shelf: noise(1_200_000, 2),
            new: noise(1_300_000, 3),
            file: stl(24_000, 4),
            other_file: stl(100, 5),
            next: noise(600_000, 6),
            // One part is 8 MiB.
            large: noise((8 << 20) + 400_000, 7),
        }
    }
}

/// What an operation needs to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Before {
    /// Settings beside those of the mode.
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// The shelf's object was deleted, its grace period is over and its bytes are still there.
    pub(crate) is_deleted: bool,
}

/// Makes templates; operations that need the same share one.
pub(crate) struct Templates {
    mode: Mode,
    dialect: Dialect,
    last: Option<(Before, Template)>,
}

impl Templates {
    pub(crate) const fn new(mode: Mode, dialect: Dialect) -> Self {
        Self {
            mode,
            dialect,
            last: None,
        }
    }

    /// What is there before this operation.
    pub(crate) async fn of(&mut self, scenario: Scenario) -> &Template {
        let wanted = scenario.before();
        let last = self.last.take().filter(|(before, _)| *before == wanted);
        let template = match last {
            Some((_, template)) => template,
            None => Template::make(self.mode, self.dialect, wanted).await,
        };
        &self.last.insert((wanted, template)).1
    }
}

impl Template {
    async fn make(mode: Mode, dialect: Dialect, before: Before) -> Self {
        let site = Site::create(mode, dialect, before.settings).await;
        let bytes = Contents::make();
        let (app, _) = site.assemble().await;
        let key = operator_key(&app).await;
        let model = model(&app).await;
        put(&app, BASE, &bytes.base).await;
        put(&app, SHELF, &bytes.shelf).await;
        while engine::round(&app).await {}
        if before.is_deleted {
            let key = SHELF.parse().unwrap();
            let now = app.clock.now();
            app.catalog.retire_object(&key, now).await.unwrap();
        }
        app.catalog.close().await;
        Self {
            site,
            key,
            model,
            bytes,
        }
    }
}

async fn operator_key(app: &App) -> String {
    let secret = SecretKey::generate(&*app.entropy);
    let now = app.clock.now();
    let key = NewKey {
        id: KeyId::generate(now, &*app.entropy),
        hash: secret.hash(),
        role: Role::Operator,
        subject: None,
        name: None,
        created_at: now,
        expires_at: None,
    };
    app.catalog.insert_key(&key).await.unwrap();
    secret.reveal()
}

async fn model(app: &App) -> ModelId {
    let now = app.clock.now();
    let model = NewModel {
        id: ModelId::generate(now, &*app.entropy),
        artist: "mia".parse().unwrap(),
        title: "Helmet".to_owned(),
        description: None,
        license: None,
        tags: Vec::new(),
        price: None,
        status: ModelStatus::Published,
        created_at: now,
    };
    app.catalog.insert_model(model).await.unwrap().id
}

async fn put(app: &App, key: &str, bytes: &Bytes) {
    let intake = Intake {
        key: key.parse().unwrap(),
        content_type: "application/octet-stream".to_owned(),
        metadata: Metadata::default(),
        announced_bytes: Some(bytes.len() as u64),
        expected_sha256: None,
        checker: None,
    };
    let body = stream::iter([Ok::<_, std::io::Error>(bytes.clone())]);
    let object = objects::put(app, intake, body).await.unwrap();
    let mut placements = object.placements.iter();
    assert!(placements.all(|placement| placement.state == PlacementState::Present));
}

/// Bytes that are nothing in particular.
fn noise(size_bytes: usize, seed: u64) -> Bytes {
    let mut bytes = vec![0; size_bytes];
    SeededEntropy::new(seed).fill(&mut bytes);
    bytes.into()
}

/// A binary STL of so many triangles.
fn stl(triangles: u32, seed: u64) -> Bytes {
    let mut file = vec![b' '; 80];
    file.extend(triangles.to_le_bytes());
    let mut random = vec![0; triangles as usize * 9];
    SeededEntropy::new(seed).fill(&mut random);
    for corners in random.chunks(9) {
        for number in [0, 0, 1].iter().chain(corners) {
            file.extend(f32::from(*number).to_le_bytes());
        }
        file.extend([0, 0]);
    }
    file.into()
}
