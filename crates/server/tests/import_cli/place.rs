//! A folder of its own in which the program runs, and what an old service left in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chaos_s3::{ChaosS3, Options};
use serde_json::Value;
use stockroom::app::App;
use stockroom::assemble::assemble;
use stockroom::config::{Config, Environment};
use stockroom::workers::engine;
use stockroom_domain::{Clock as _, ManualClock, Sha256Digest, SystemClock, SystemEntropy};
use tempfile::TempDir;

/// A folder of its own with a configuration, in which the program runs.
pub(crate) struct Place {
    folder: TempDir,
    pub(crate) settings: BTreeMap<&'static str, String>,
    /// Runs as long as the place.
    pub(crate) s3: Option<Arc<ChaosS3>>,
}

/// How the program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("text")
    }

    pub(crate) fn objects(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.text().lines().map(parse).collect()
    }

    /// What became of each file, as `path outcome`, in the order of these texts.
    pub(crate) fn outcomes(&self) -> Vec<String> {
        let objects = self.objects();
        let reports = objects
            .iter()
            .filter(|object| object["outcome"].is_string());
        let mut lines: Vec<String> = reports
            .map(|it| format!("{} {}", text(&it["path"]), text(&it["outcome"])))
            .collect();
        lines.sort();
        lines
    }

    /// Why a file was not taken.
    pub(crate) fn reason(&self, path: &str) -> String {
        let objects = self.objects();
        let report = objects.iter().find(|object| object["path"] == path);
        let report = report.unwrap_or_else(|| panic!("nothing of {path}: {self:?}"));
        text(&report["reason"])
    }

    pub(crate) fn summary(&self) -> Value {
        let objects = self.objects();
        let summary = objects.iter().find_map(|object| object.get("summary"));
        summary
            .cloned()
            .unwrap_or_else(|| panic!("no summary: {self:?}"))
    }

    pub(crate) fn error_code(&self) -> String {
        let objects = self.objects();
        text(&objects.last().expect("an error")["error"]["code"])
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Place {
    pub(crate) fn local() -> Self {
        let place = Self {
            folder: tempfile::tempdir().expect("a folder"),
            settings: BTreeMap::new(),
            s3: None,
        };
        fs::create_dir_all(place.uploads()).expect("a folder");
        place
    }

    pub(crate) async fn with_s3(mode: &str, options: Options) -> Self {
        let s3 = Arc::new(ChaosS3::start(options).await.expect("a server"));
        let mut place = Self::local();
        place.settings = BTreeMap::from([
            ("STORAGE_MODE", mode.to_owned()),
            ("S3_ENDPOINT", s3.endpoint()),
            ("S3_REGION", s3.region().to_owned()),
            ("S3_BUCKET", s3.bucket().to_owned()),
            ("S3_KEY_ID", s3.key_id().to_owned()),
            ("S3_APPLICATION_KEY", s3.application_key().to_owned()),
        ]);
        place.s3 = Some(s3);
        place
    }

    pub(crate) fn s3(&self) -> &ChaosS3 {
        self.s3.as_ref().expect("a bucket")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The storage folder.
    pub(crate) fn uploads(&self) -> PathBuf {
        self.path("data/uploads")
    }

    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_stockroom"))
            .args(arguments)
            .env_clear()
            .envs(&self.settings)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("to run the program")
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.spawn(arguments))
    }

    /// An import that must end with this code.
    #[track_caller]
    pub(crate) fn import(&self, arguments: &[&str], code: i32) -> Ended {
        let ended = self.run(&[&["import", "--json"], arguments].concat());
        assert_eq!(ended.code, Some(code), "{arguments:?} {ended:?}");
        ended
    }

    /// Makes sure that the record and the stores agree, by reading everything.
    #[track_caller]
    pub(crate) fn expect_verified(&self) {
        let ended = self.run(&["verify", "--json", "--hash-budget", "all"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let findings: Vec<Value> = ended
            .objects()
            .into_iter()
            .filter(|it| it["finding"].is_string() && it["finding"] != "unimported")
            .collect();
        assert!(findings.is_empty(), "{findings:?}");
    }

    /// Makes sure that a download gives exactly these bytes.
    #[track_caller]
    pub(crate) fn expect_bytes(&self, key: &str, bytes: &[u8]) {
        let get = self.run(&["get", key, "-"]);
        assert_eq!(get.code, Some(0), "{key}: {}", get.stderr);
        assert!(get.stdout == bytes, "{key} has other bytes");
    }

    /// Everything that is recorded: key, hash, what it is sold as.
    pub(crate) fn exported(&self) -> Vec<Value> {
        let export = self.run(&["export", "--format", "json"]);
        assert_eq!(export.code, Some(0), "{export:?}");
        export.objects()
    }

    /// The recorded keys with their hashes.
    pub(crate) fn recorded(&self) -> BTreeMap<String, String> {
        let exported = self.exported();
        let pairs = exported
            .iter()
            .map(|it| (text(&it["key"]), text(&it["sha256"])));
        pairs.collect()
    }

    /// The placements of a key, as `store=state`.
    pub(crate) fn placements(&self, key: &str) -> Vec<String> {
        let exported = self.exported();
        let object = exported.iter().find(|it| it["key"] == key);
        let object = object.unwrap_or_else(|| panic!("no {key}"));
        let placements = object["placements"].as_array().expect("placements");
        placements
            .iter()
            .map(|it| format!("{}={}", text(&it["store"]), text(&it["state"])))
            .collect()
    }

    /// The parts that a server has, an hour ahead or now.
    pub(crate) async fn app(&self, ahead: Duration) -> App {
        let vars = self.settings.iter();
        let environment = Environment {
            vars: vars
                .map(|(name, value)| ((*name).to_owned(), value.into()))
                .collect(),
            working_dir: self.folder.path().to_owned(),
            ..Environment::default()
        };
        let loaded = Config::load(&environment).expect("settings");
        let clock = Arc::new(ManualClock::new(SystemClock.now().after(ahead)));
        let entropy = Arc::new(SystemEntropy);
        assemble(&loaded.config, "http://127.0.0.1:8080", clock, entropy)
            .await
            .expect("an app")
    }

    /// Lets the engine do everything that is due so long from now.
    pub(crate) async fn engine(&self, ahead: Duration) {
        if let Some(s3) = &self.s3 {
            s3.set_clock_skew(ahead.as_secs().cast_signed());
        }
        let app = self.app(ahead).await;
        while Box::pin(engine::round(&app)).await {}
        app.catalog.close().await;
        if let Some(s3) = &self.s3 {
            s3.set_clock_skew(0);
        }
    }
}

pub(crate) fn ended(child: Child) -> Ended {
    let output = child.wait_with_output().expect("to wait");
    Ended {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// What an old service has in its folder: path and bytes of each file.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// A few files in the four folders, one of them over the border of several chunks.
pub(crate) fn old_files() -> Files {
    let mut files = Files::new();
    for (index, name) in [
        "models/42/helmet.stl",
        "models/7/Schild Ü.stl",
        "models/a.glb",
    ]
    .into_iter()
    .enumerate()
    {
        files.insert(name.to_owned(), stl(u32::try_from(index).expect("few") + 1));
    }
    files.insert("models/large.bin".to_owned(), bytes(7, 3_000_001));
    files.insert("thumbnails/42/small.png".to_owned(), bytes(8, 900));
    files.insert("images/empty.txt".to_owned(), Vec::new());
    files
}

/// Writes files into a folder.
pub(crate) fn write_all(root: &Path, files: &Files) {
    for (path, content) in files {
        write(root, path, content);
    }
}

pub(crate) fn write(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, content).expect("to write");
}

/// The hashes of files by their paths.
pub(crate) fn hashes(files: &Files) -> BTreeMap<String, String> {
    let hash = |(path, content): (&String, &Vec<u8>)| {
        (path.clone(), Sha256Digest::of(content).to_string())
    };
    files.iter().map(hash).collect()
}

/// All files below a folder, by their paths from there.
pub(crate) fn files_below(root: &Path) -> Vec<String> {
    fn walk(root: &Path, dir: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(dir).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let path = path.strip_prefix(root).expect("below it");
                found.push(path.to_string_lossy().into_owned());
            }
        }
    }
    let mut found = Vec::new();
    walk(root, root, &mut found);
    found.sort();
    found
}

/// A binary STL of so many triangles.
pub(crate) fn stl(triangles: u32) -> Vec<u8> {
    let mut file = vec![b' '; 80];
    file.extend(triangles.to_le_bytes());
    for index in 0..triangles {
        let at = index as f32;
        let corners = [[at, 0.0, 0.0], [at + 1.0, 0.0, 0.0], [at, 1.0, 0.0]];
        for number in [[0.0_f32, 0.0, 1.0]].iter().chain(&corners).flatten() {
            file.extend(number.to_le_bytes());
        }
        file.extend([0, 0]);
    }
    file
}

/// Bytes that look like nothing, the same ones for the same seed.
pub(crate) fn bytes(seed: u64, length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64 ^ (seed << 17);
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(length).collect()
}
