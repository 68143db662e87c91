//! A place where a Stockroom lives: a data folder, a database and a bucket; and exact copies of it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chaos_s3::{ChaosS3, Options};
use stockroom::app::App;
use stockroom::assemble::assemble;
use stockroom::config::{Config, Environment};
use stockroom_domain::{Clock, SystemClock, SystemEntropy, Timestamp};
use tempfile::TempDir;

use crate::database::{Database, Dialect};

/// Where the bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Local,
    S3,
    Hybrid,
}

impl Mode {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::S3 => "s3",
            Self::Hybrid => "hybrid",
        }
    }

    pub(crate) fn has_folder(self) -> bool {
        self != Self::S3
    }

    pub(crate) fn has_bucket(self) -> bool {
        self != Self::Local
    }
}

/// The machine's clock, set forward.
#[derive(Debug, Default)]
pub(crate) struct TestClock {
    offset_ms: AtomicI64,
}

impl TestClock {
    pub(crate) fn set_forward(&self, by: Duration) {
        let by_ms = i64::try_from(by.as_millis()).unwrap();
        self.offset_ms.store(by_ms, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let offset_ms = self.offset_ms.load(Ordering::SeqCst);
        Timestamp::from_unix_ms(SystemClock.now().unix_ms() + offset_ms)
    }
}

/// A data folder, a database and a bucket. They end with it.
pub(crate) struct Site {
    pub(crate) mode: Mode,
    pub(crate) chaos: Option<ChaosS3>,
    settings: Vec<(&'static str, &'static str)>,
    database: Database,
    folder: TempDir,
}

impl Site {
    /// An empty one.
    pub(crate) async fn create(
        mode: Mode,
        dialect: Dialect,
        settings: &[(&'static str, &'static str)],
    ) -> Self {
        Self {
            mode,
            chaos: bucket(mode).await,
            settings: settings.to_vec(),
            database: Database::create(dialect),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Everything that lies here, under other names. Nothing may run here meanwhile.
    pub(crate) async fn copy(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let copied = Command::new("cp")
            .args(["--archive", "--no-target-directory"])
            .args([self.data_dir(), folder.path().join("data")])
            .status()
            .unwrap();
        assert!(copied.success());
        let chaos = bucket(self.mode).await;
        if let (Some(from), Some(to)) = (&self.chaos, &chaos) {
            for key in from.keys() {
                to.plant(&key, from.body(&key).unwrap());
            }
        }
        Self {
            mode: self.mode,
            chaos,
            settings: self.settings.clone(),
            database: self.database.copy(),
            folder,
        }
    }

    /// A path beside the data folder.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The folder of the local store.
    pub(crate) fn uploads(&self) -> PathBuf {
        self.data_dir().join("uploads")
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The settings with which a Stockroom lives here.
    pub(crate) fn variables(&self) -> BTreeMap<String, OsString> {
        let data_dir = self.data_dir();
        let mut variables: BTreeMap<String, OsString> = BTreeMap::new();
        let mut set = |name: &str, value: OsString| {
            variables.insert(name.to_owned(), value);
        };
        set("DATABASE_URL", self.database.url(&data_dir).into());
        set("DATA_DIR", data_dir.into());
        set("STORAGE_MODE", self.mode.as_str().into());
        set("LISTEN", "127.0.0.1:0".into());
        if let Some(chaos) = &self.chaos {
            set("S3_ENDPOINT", chaos.endpoint().into());
            set("S3_REGION", chaos.region().into());
            set("S3_BUCKET", chaos.bucket().into());
            set("S3_KEY_ID", chaos.key_id().into());
            set("S3_APPLICATION_KEY", chaos.application_key().into());
        }
        for (name, value) in &self.settings {
            set(name, value.into());
        }
        variables
    }

    /// A Stockroom in this process. Its engine runs when a test lets it.
    pub(crate) async fn assemble(&self) -> (App, Arc<TestClock>) {
        // The process may have one already, from another test.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let environment = Environment {
            vars: self.variables(),
            working_dir: self.folder.path().to_owned(),
            ..Environment::default()
        };
        let config = Config::load(&environment).unwrap().config;
        let clock = Arc::new(TestClock::default());
        let app = assemble(
            &config,
            "http://127.0.0.1",
            Arc::<TestClock>::clone(&clock),
            Arc::new(SystemEntropy),
        )
        .await
        .unwrap();
        (app, clock)
    }

    /// What the server said.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.beside("log")).unwrap_or_default()
    }

    /// The files of the local store by their paths below its folder.
    pub(crate) fn files(&self) -> BTreeMap<String, Bytes> {
        let root = self.uploads();
        let mut files = BTreeMap::new();
        if self.mode.has_folder() {
            collect(&root, &root, &mut files);
        }
        files
    }
}

async fn bucket(mode: Mode) -> Option<ChaosS3> {
    match mode.has_bucket() {
        true => Some(ChaosS3::start(Options::b2()).await.unwrap()),
        false => None,
    }
}

fn collect(root: &Path, folder: &Path, into: &mut BTreeMap<String, Bytes>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, into);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            into.insert(name.to_owned(), std::fs::read(&path).unwrap().into());
        }
    }
}
