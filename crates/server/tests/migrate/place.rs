//! A shop on disk with a bucket beside it, and the program that is run in it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chaos_s3::{Call, ChaosS3, Operation, Options};
use serde_json::Value;
use stockroom::app::App;
use stockroom::assemble::assemble;
use stockroom::config::{Config, Environment};
use stockroom::workers::{engine, identity, migrate};
use stockroom_domain::{
    Clock, Entropy, MigrationState, SeededEntropy, SystemClock, SystemEntropy, Timestamp,
};
use tempfile::TempDir;

/// The key of the object by which a store is known.
pub(crate) const STORE_ID: &str = "models/.stockroom/store-id";

/// The bytes of files by their keys.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

pub(crate) struct Place {
    folder: Arc<TempDir>,
    s3: Arc<ChaosS3>,
    mode: &'static str,
    other_settings: Vec<(&'static str, String)>,
}

/// How the program ended, always with `--json`.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
}

impl Ended {
    pub(crate) fn lines(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    #[track_caller]
    pub(crate) fn only(&self) -> Value {
        let mut lines = self.lines();
        assert_eq!((self.code, lines.len()), (0, 1), "{}", self.stdout);
        lines.remove(0)
    }

    pub(crate) fn last(&self) -> Value {
        self.lines().pop().expect("a line")
    }

    pub(crate) fn error_code(&self) -> String {
        let last = self.last();
        let code = last["error"]["code"].as_str();
        code.unwrap_or_else(|| panic!("{last}")).to_owned()
    }
}

/// The program while it runs. It is killed when this is dropped.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn wait(mut self) -> Ended {
        let mut stdout = String::new();
        let mut pipe = self.0.stdout.take().expect("a pipe");
        pipe.read_to_string(&mut stdout).unwrap();
        let status = self.0.wait().unwrap();
        Ended {
            code: status.code().unwrap_or(-1),
            stdout,
        }
    }

    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Place {
    pub(crate) async fn start() -> Self {
        // The process may have one already, from another test.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self {
            folder: Arc::new(tempfile::tempdir().unwrap()),
            s3: Arc::new(ChaosS3::start(Options::b2()).await.unwrap()),
            mode: "local",
            other_settings: Vec::new(),
        }
    }

    /// The same shop with these settings instead of its own.
    pub(crate) fn with_settings(self, other_settings: Vec<(&'static str, String)>) -> Self {
        Self {
            other_settings,
            ..self
        }
    }

    /// The folder in which the program runs.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The same shop in another mode.
    pub(crate) fn in_mode(self, mode: &'static str) -> Self {
        Self { mode, ..self }
    }

    pub(crate) fn s3(&self) -> &ChaosS3 {
        &self.s3
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        let data_dir = self.folder.path().join("data").display().to_string();
        let mut settings = vec![
            ("DATA_DIR", data_dir),
            ("STORAGE_MODE", self.mode.to_owned()),
            ("LISTEN", "127.0.0.1:0".to_owned()),
            ("LOG", "warn".to_owned()),
            ("S3_ENDPOINT", self.s3.endpoint()),
            ("S3_REGION", self.s3.region().to_owned()),
            ("S3_BUCKET", self.s3.bucket().to_owned()),
            ("S3_KEY_ID", self.s3.key_id().to_owned()),
            ("S3_APPLICATION_KEY", self.s3.application_key().to_owned()),
        ];
        settings.retain(|(name, _)| self.other_settings.iter().all(|(other, _)| other != name));
        settings.extend(self.other_settings.clone());
        settings
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stockroom"));
        command
            .args(arguments)
            .arg("--json")
            .env_clear()
            .envs(self.settings())
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        let output = tokio::task::block_in_place(|| self.command(arguments).output()).unwrap();
        Ended {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
        }
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        Running(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Begins to run the program, whose output nobody reads.
    pub(crate) fn spawn_unheard(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        Running(command.stdout(Stdio::null()).spawn().unwrap())
    }

    /// The parts of this shop in the process of the test, with a clock that is ahead.
    pub(crate) async fn app(&self, ahead: Duration) -> App {
        let vars = self.settings();
        let environment = Environment {
            vars: vars
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect(),
            working_dir: self.folder.path().to_owned(),
            ..Environment::default()
        };
        let config = Config::load(&environment).unwrap().config;
        let app = assemble(
            &config,
            "http://127.0.0.1:1",
            Arc::new(Ahead(ahead)),
            Arc::new(SystemEntropy),
        );
        app.await.unwrap()
    }

    /// Works on the migration in the process of the test until it is finished, at a time when what
    /// was claimed by others is free again.
    pub(crate) async fn finish_later(&self) {
        let app = self.app(Duration::from_secs(200)).await;
        identity::settle_all(&app).await;
        let mut place = migrate::Place::default();
        for _ in 0..1_000 {
            let current = app.catalog.current_migration().await.unwrap().unwrap();
            if current.state == MigrationState::Finished {
                app.catalog.close().await;
                return;
            }
            migrate::step(&app, &mut place).await.unwrap();
            engine::round(&app).await;
        }
        panic!("the migration does not end");
    }

    pub(crate) async fn put_files(&self, count: usize) -> Files {
        self.put_files_from(0, count).await
    }

    /// Stores files of some 40 kB; their bytes by their keys.
    pub(crate) async fn put_files_from(&self, first: usize, count: usize) -> Files {
        let app = self.app(Duration::ZERO).await;
        identity::settle_all(&app).await;
        let mut files = Files::new();
        for number in first..first + count {
            let key = format!("images/{}/file {number}.bin", number % 3);
            let bytes = noise(40_000 + number, number as u64);
            crate::store(&app, &key, bytes.clone()).await;
            files.insert(key, bytes);
        }
        app.catalog.close().await;
        files
    }

    /// Stores files that go to a bucket in two parts each; their bytes by their keys.
    pub(crate) async fn put_large_files(&self, count: usize) -> Files {
        let app = self.app(Duration::ZERO).await;
        let mut files = Files::new();
        for number in 0..count {
            let key = format!("models/large {number}.bin");
            let bytes = noise(70_001, 5_000 + number as u64).repeat(130);
            crate::store(&app, &key, bytes.clone()).await;
            files.insert(key, bytes);
        }
        app.catalog.close().await;
        files
    }

    /// Has an engine do all that is due after a while, in the process of the test.
    pub(crate) async fn later(&self, ahead: Duration) {
        let app = self.app(ahead).await;
        identity::settle_all(&app).await;
        // In a box: it is a large future.
        while Box::pin(engine::round(&app)).await {}
        app.catalog.close().await;
    }

    /// Waits until the status of the migration is like this.
    pub(crate) async fn until_status(&self, is_there: impl Fn(&Value) -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let status = self.run(&["migrate", "status"]);
            if status.code == 0 && is_there(&status.last()) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{}", status.stdout);
        }
    }

    /// How often an object was read from the bucket.
    pub(crate) fn reads(&self) -> usize {
        let is_of_object = |call: &Call| {
            call.operation == Operation::GetObject && call.key.as_deref() != Some(STORE_ID)
        };
        self.s3.calls().into_iter().filter(is_of_object).count()
    }

    pub(crate) fn keys_in_bucket(&self) -> Vec<String> {
        let mut keys = self.s3.keys();
        keys.retain(|key| key != STORE_ID);
        keys
    }

    pub(crate) fn path_on_disk(&self, key: &str) -> PathBuf {
        self.uploads().join(key)
    }

    fn uploads(&self) -> PathBuf {
        let mut others = self.other_settings.iter();
        match others.find(|(name, _)| *name == "STORAGE_DIR") {
            Some((_, folder)) => folder.into(),
            None => self.folder.path().join("data/uploads"),
        }
    }

    pub(crate) fn files_on_disk(&self) -> Vec<String> {
        let root = self.uploads();
        let mut found = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => found.push(path.strip_prefix(&root).unwrap().display().to_string()),
                }
            }
        }
        found.retain(|path| path != STORE_ID);
        found
    }

    #[track_caller]
    pub(crate) fn assert_in_bucket(&self, files: &Files) {
        for (key, bytes) in files {
            let body = self.s3.body(key);
            assert!(body.as_deref() == Some(bytes), "{key} is not in the bucket");
        }
    }

    #[track_caller]
    pub(crate) fn assert_readable(&self, files: &Files) {
        for (key, bytes) in files {
            let copy = self.folder.path().join("copy");
            let got = self.run(&["get", key, copy.to_str().unwrap()]);
            assert_eq!(got.code, 0, "{key}: {}", got.stdout);
            assert!(fs::read(&copy).unwrap() == *bytes, "{key} is other bytes");
            fs::remove_file(copy).unwrap();
        }
    }

    /// Nothing differs between the record and the stores, by hash.
    #[track_caller]
    pub(crate) fn assert_verified(&self) {
        let verified = self.run(&["verify", "--hash-budget", "all"]);
        assert_eq!(verified.code, 0, "{}", verified.stdout);
    }
}

#[derive(Debug)]
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> Timestamp {
        SystemClock.now().after(self.0)
    }
}

/// Bytes that are nothing in particular, others for each seed.
pub(crate) fn noise(size_bytes: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; size_bytes];
    SeededEntropy::new(seed).fill(&mut bytes);
    bytes
}
