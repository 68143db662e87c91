//! `verify` with the real binary, over a folder, a bucket and both; and beside uploads and
//! deletions that go on.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, ending with a panic is how it fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use chaos_s3::{ChaosS3, Fault, FaultAction, Operation, Options};
use futures::StreamExt as _;
use rustix::fs::{XattrFlags, setxattr};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use stockroom::app::App;
use stockroom::assemble::assemble;
use stockroom::config::{Config, Environment};
use stockroom::flows::receive::Intake;
use stockroom::flows::verify::{
    Finding, HashBudget, Kind, Listener, Options as VerifyOptions, Step, verify,
};
use stockroom::flows::{deliver, objects};
use stockroom::workers::engine;
use stockroom_domain::{Clock as _, Key, Sha256Digest, StoreName, SystemClock, SystemEntropy};
use tempfile::TempDir;

/// The object in each store that tells whose it is.
const LABEL: &str = "models/.stockroom/store-id";

/// A folder of its own with a configuration, in which the program runs.
struct Place {
    folder: TempDir,
    settings: BTreeMap<&'static str, String>,
    /// Runs as long as the place.
    s3: Option<Arc<ChaosS3>>,
}

/// How the program ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn objects(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    /// The findings as `kind store key repaired`, in the order of these texts.
    fn findings(&self) -> Vec<String> {
        let objects = self.objects();
        let findings = objects
            .iter()
            .filter(|object| object.get("finding").is_some());
        let text = |value: &Value| match value {
            Value::Null => "-".to_owned(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let mut lines: Vec<String> = findings
            .map(|it| {
                assert!(it["detail"].is_string(), "{it}");
                let place = if it["key"].is_null() {
                    &it["location"]
                } else {
                    &it["key"]
                };
                ["finding", "store"]
                    .map(|name| text(&it[name]))
                    .into_iter()
                    .chain([text(place), text(&it["repaired"])])
                    .collect::<Vec<_>>()
                    .join(" ")
            })
            .collect();
        lines.sort();
        lines
    }

    /// What was done about each finding, or why nothing was.
    fn findings_done(&self) -> Vec<String> {
        let objects = self.objects();
        let done = objects.iter().filter_map(|object| object["done"].as_str());
        done.map(str::to_owned).collect()
    }

    fn summary(&self) -> Value {
        let objects = self.objects();
        let summary = objects.iter().find_map(|object| object.get("summary"));
        summary
            .cloned()
            .unwrap_or_else(|| panic!("no summary: {self:?}"))
    }

    fn error_code(&self) -> String {
        let objects = self.objects();
        let error = &objects.last().expect("an error")["error"];
        assert!(error["fix"].is_string(), "{error}");
        error["code"].as_str().expect("a code").to_owned()
    }
}

impl Place {
    fn local() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            settings: BTreeMap::new(),
            s3: None,
        }
    }

    async fn with_s3(mode: &str, options: Options) -> Self {
        let s3 = ChaosS3::start(options).await.expect("a server");
        Self::at(mode, Arc::new(s3))
    }

    fn at(mode: &str, s3: Arc<ChaosS3>) -> Self {
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

    async fn hybrid() -> Self {
        Self::with_s3("hybrid", Options::versioned()).await
    }

    fn s3(&self) -> &ChaosS3 {
        self.s3.as_ref().expect("a bucket")
    }

    /// Where the local store keeps the bytes of a location with a plain name.
    fn file(&self, location: &str) -> PathBuf {
        self.folder.path().join("data/uploads").join(location)
    }

    /// Writes a file as a Stockroom does that nobody knows of, and that has lain there since before
    /// the last month.
    fn leave(&self, location: &str, content: &str) {
        self.leave_young(location, content);
        age(&self.file(location));
    }

    /// The same, written just now.
    fn leave_young(&self, location: &str, content: &str) {
        let path = self.file(location);
        fs::write(&path, content).expect("to write");
        let sha256 = Sha256Digest::of(content.as_bytes());
        let attributes = format!("{{\"sha256\":\"{sha256}\"}}");
        let flags = XattrFlags::empty();
        setxattr(&path, "user.stockroom", attributes.as_bytes(), flags).expect("to mark");
    }

    fn spawn(&self, arguments: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_stockroom"))
            .args(arguments)
            .env_clear()
            .envs(&self.settings)
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("to run the program")
    }

    fn run_with_stdin(&self, arguments: &[&str], stdin: &[u8]) -> Ended {
        let mut child = self.spawn(arguments);
        let mut pipe = child.stdin.take().expect("a pipe");
        // A program that has no use for it may have closed it.
        let _ = pipe.write_all(stdin);
        drop(pipe);
        ended(child)
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        let put = self.run_with_stdin(&["put", "-", key, "-q"], bytes);
        assert_eq!(put.code, Some(0), "{put:?}");
    }

    fn verify(&self, arguments: &[&str]) -> Ended {
        self.run_with_stdin(&[&["verify", "--json"], arguments].concat(), b"")
    }

    /// A verification that must end with this code and these findings.
    #[track_caller]
    fn expect(&self, arguments: &[&str], code: i32, findings: &[&str]) -> Ended {
        let ended = self.verify(arguments);
        assert_eq!(ended.findings(), findings, "{arguments:?} {ended:?}");
        assert_eq!(ended.code, Some(code), "{arguments:?} {ended:?}");
        ended
    }

    async fn app(&self) -> App {
        let vars = self.settings.iter();
        let environment = Environment {
            vars: vars
                .map(|(name, value)| ((*name).to_owned(), value.into()))
                .collect(),
            working_dir: self.folder.path().to_owned(),
            ..Environment::default()
        };
        let loaded = Config::load(&environment).expect("settings");
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        assemble(&loaded.config, "http://127.0.0.1:8080", clock, entropy)
            .await
            .expect("an app")
    }
}

/// Makes a file look as if it was written 31 days ago.
fn age(path: &Path) {
    let then = SystemClock.now().before(Duration::from_secs(31 * 86_400));
    let then = Duration::from_millis(then.unix_ms().cast_unsigned());
    let file = fs::File::options().write(true).open(path);
    file.and_then(|file| file.set_modified(SystemTime::UNIX_EPOCH + then))
        .expect("to set the time");
}

/// A process that would outlive a test that fails: nobody waits for it then.
struct KilledOnPanic(Pid);

impl Drop for KilledOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // When it has ended by itself, all is well.
            let _ = kill_process(self.0, Signal::KILL);
        }
    }
}

fn ended(child: Child) -> Ended {
    let output = child.wait_with_output().expect("to wait");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// Bytes that look like nothing, the same ones for the same seed, over the border of two chunks.
fn bytes(seed: u64) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64 ^ (seed << 17);
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(140_003).flatten().collect()
}

#[tokio::test]
async fn stores_that_agree_have_no_findings_in_every_mode() {
    for (place, stores) in [
        (Place::local(), vec!["local"]),
        (Place::with_s3("s3", Options::b2()).await, vec!["s3"]),
        (
            Place::with_s3("hybrid", Options::b2()).await,
            vec!["local", "s3"],
        ),
        (
            Place::with_s3("hybrid", Options::default()).await,
            vec!["local", "s3"],
        ),
    ] {
        place.put("models/a.stl", b"first");
        place.put("models/a.stl", b"second, and the first is deleted");
        place.put("images/b.png", &[7; 100]);
        for arguments in [&[][..], &["--repair"]] {
            let ended = place.expect(arguments, 0, &[]);
            let summary = ended.summary();
            for (store, name) in summary["stores"]
                .as_array()
                .expect("stores")
                .iter()
                .zip(&stores)
            {
                assert_eq!(store["store"], *name);
                // The label is none of the objects; the deleted one is there for its grace period.
                let counts = ["listed", "listed_bytes", "present"].map(|name| store[name].as_u64());
                assert_eq!(counts, [Some(3), Some(137), Some(3)], "{store}");
                let hashed = ["hashed", "hashed_bytes"].map(|name| store[name].as_u64());
                assert_eq!(hashed, [Some(2), Some(132)], "{store}");
            }
            assert_eq!(summary["remaining"], 0);
        }
        let words = place.run_with_stdin(&["verify"], b"");
        assert_eq!(words.code, Some(0), "{words:?}");
        assert_eq!(words.stdout.lines().count(), stores.len(), "{words:?}");
        assert!(
            words
                .stdout
                .contains("3 listed (137 B), 3 present, 2 hashed (132 B)"),
            "{words:?}"
        );
    }
}

#[tokio::test]
async fn a_missing_copy_is_told_and_with_repair_brought_back() {
    let place = Place::hybrid().await;
    let content = bytes(1);
    place.put("models/a.stl", &content);
    place.put("models/b.stl", b"b");
    fs::remove_file(place.file("models/a.stl")).expect("to delete");
    assert!(place.s3().remove("models/b.stl"));
    // A look changes nothing, so the second one sees the same.
    for _ in 0..2 {
        let findings = ["missing local models/a.stl -", "missing s3 models/b.stl -"];
        let ended = place.expect(&[], 1, &findings);
        assert_eq!(ended.summary()["findings"]["missing"], 2);
        assert_eq!(ended.summary()["remaining"], 2);
    }
    place.expect(&["--store", "s3"], 1, &["missing s3 models/b.stl -"]);
    let findings = [
        "missing local models/a.stl true",
        "missing s3 models/b.stl true",
    ];
    place.expect(&["--repair"], 0, &findings);
    assert!(fs::read(place.file("models/a.stl")).expect("a file") == content);
    assert_eq!(
        place.s3().body("models/b.stl").expect("bytes").as_ref(),
        b"b"
    );
    place.expect(&["--hash-budget", "all"], 0, &[]);
}

#[tokio::test]
async fn a_copy_of_another_size_is_told_and_healed() {
    let place = Place::hybrid().await;
    let content = bytes(2);
    place.put("models/a.stl", &content);
    place.put("models/b.stl", &content);
    fs::write(place.file("models/a.stl"), &content[..9]).expect("to write");
    place.s3().plant("models/b.stl", content[1..].to_vec());
    let budget = ["--hash-budget", "none"];
    let ended = place.expect(
        &budget,
        1,
        &[
            "old_versions s3 models/b.stl -",
            "wrong_size local models/a.stl -",
            "wrong_size s3 models/b.stl -",
        ],
    );
    let detail = &ended.objects()[0]["detail"];
    assert_eq!(
        *detail,
        format!("9 bytes, not the {} recorded", content.len())
    );
    place.expect(
        &["--repair", budget[0], budget[1]],
        0,
        &[
            "old_versions s3 models/b.stl true",
            "wrong_size local models/a.stl true",
            "wrong_size s3 models/b.stl true",
        ],
    );
    assert!(fs::read(place.file("models/a.stl")).expect("a file") == content);
    assert!(place.s3().body("models/b.stl").expect("bytes") == content);
    assert_eq!(place.s3().versions("models/b.stl").len(), 1);
    place.expect(&[], 0, &[]);
}

#[tokio::test]
async fn wrong_bytes_are_found_by_reading_and_healed() {
    let place = Place::hybrid().await;
    let content = bytes(3);
    place.put("models/a.stl", &content);
    place.put("models/b.stl", &content);
    let mut damaged = content.clone();
    damaged[content.len() - 1] ^= 1;
    fs::write(place.file("models/a.stl"), &damaged).expect("to write");
    assert!(place.s3().corrupt("models/b.stl", 12));
    place.expect(&["--hash-budget", "none"], 0, &[]);
    let findings = [
        "wrong_hash local models/a.stl -",
        "wrong_hash s3 models/b.stl -",
    ];
    // What was found is not put aside: the next one finds it too.
    place.expect(&["--hash-budget", "all"], 1, &findings);
    place.expect(&[], 1, &findings);
    assert!(fs::read(place.file("models/a.stl")).expect("a file") == damaged);
    let findings = [
        "wrong_hash local models/a.stl true",
        "wrong_hash s3 models/b.stl true",
    ];
    place.expect(&["--repair"], 0, &findings);
    assert!(fs::read(place.file("models/a.stl")).expect("a file") == content);
    assert!(place.s3().body("models/b.stl").expect("bytes") == content);
    assert_eq!(place.s3().versions("models/b.stl").len(), 1);
    place.expect(&["--hash-budget", "all"], 0, &[]);
}

#[tokio::test]
async fn a_small_budget_reads_what_was_not_read_for_longest() {
    let place = Place::hybrid().await;
    for key in ["models/a", "models/b", "models/c"] {
        place.put(key, &[1; 1_000]);
    }
    let hashed = |ended: &Ended| -> Vec<u64> {
        let summary = ended.summary();
        let stores = summary["stores"].as_array().expect("stores").iter();
        stores
            .map(|store| store["hashed"].as_u64().expect("a number"))
            .collect()
    };
    // The last copy that is begun is read to its end, and both stores get their share.
    assert_eq!(
        hashed(&place.expect(&["--hash-budget", "1kB"], 0, &[])),
        [1, 0]
    );
    assert_eq!(
        hashed(&place.expect(&["--hash-budget", "4001"], 0, &[])),
        [3, 2]
    );
    assert_eq!(
        hashed(&place.expect(&["--hash-budget", "none"], 0, &[])),
        [0, 0]
    );
    // Three runs of one copy each have read all of one store.
    let place = Place::local();
    for key in ["models/a", "models/b", "models/c"] {
        place.put(key, &[1; 1_000]);
    }
    let mut damaged = fs::read(place.file("models/b")).expect("a file");
    damaged[3] = 2;
    fs::write(place.file("models/b"), damaged).expect("to write");
    let runs = (0..3).map(|_| place.verify(&["--hash-budget", "1"]).findings().len());
    assert!(runs.sum::<usize>() > 0, "three objects, three reads");
}

#[tokio::test]
async fn bytes_that_nobody_recorded_are_told_and_deleted_when_that_is_asked_for() {
    let place = Place::hybrid().await;
    place.put("models/a.stl", b"a");
    place.leave("models/left.stl", "left");
    place.s3().plant("models/left.stl", "older");
    place.s3().plant("models/left.stl", "newer");
    // What is no key is none of ours.
    place.s3().plant("elsewhere/backup.tar", "other");
    let findings = [
        "extra local models/left.stl -",
        "unimported s3 models/left.stl -",
    ];
    place.expect(&[], 1, &findings);
    let findings = [
        "extra local models/left.stl true",
        "extra s3 models/left.stl true",
    ];
    place.expect(&["--repair", "--delete-unrecorded"], 0, &findings);
    assert!(!place.file("models/left.stl").exists());
    assert_eq!(place.s3().versions("models/left.stl"), []);
    assert!(place.s3().body("elsewhere/backup.tar").is_some());
    assert!(place.file(LABEL).exists() && place.s3().body(LABEL).is_some());
    // A request to delete may arrive late, so the place is never used again.
    place.put("models/left.stl", b"mine");
    assert!(!place.file("models/left.stl").exists());
    assert_eq!(place.s3().versions("models/left.stl"), []);
    let get = place.run_with_stdin(&["get", "models/left.stl", "-"], b"");
    assert_eq!((get.code, get.stdout.as_str()), (Some(0), "mine"));
    place.expect(&["--hash-budget", "all"], 0, &[]);
}

#[tokio::test]
async fn what_came_after_a_backup_of_the_database_is_kept() {
    let place = Place::hybrid().await;
    place.put("models/a.stl", b"before");
    let backup: BTreeMap<PathBuf, Vec<u8>> = files(&place.folder.path().join("data"))
        .into_iter()
        .filter(|path| !path.starts_with(place.file("")))
        .map(|path| (path.clone(), fs::read(&path).expect("a file")))
        .collect();
    assert!(!backup.is_empty());
    place.put("models/b.stl", b"after");
    for path in files(&place.folder.path().join("data")) {
        if !path.starts_with(place.file("")) {
            fs::remove_file(path).expect("to delete");
        }
    }
    for (path, content) in backup {
        fs::write(path, content).expect("to restore");
    }
    place.expect(
        &[],
        1,
        &["extra local models/b.stl -", "extra s3 models/b.stl -"],
    );
    let findings = [
        "extra local models/b.stl false",
        "extra s3 models/b.stl false",
    ];
    let ended = place.expect(&["--repair"], 1, &findings);
    let done = "kept, because it is not known to be older than 30 days: after a restored database \
                it may be the only trace of an upload";
    assert_eq!(ended.objects()[0]["done"], done);
    // An old copy is no reason to delete a young one on another store, nor the other way round.
    age(&place.file("models/b.stl"));
    let ended = place.expect(&["--repair"], 1, &findings);
    let done = ended.findings_done();
    let why = "kept, because s3 has something there too, not known to be older than 30 days";
    assert!(done.iter().any(|it| it == why), "{ended:?}");
    let local = ["--repair", "--store", "local", "--delete-unrecorded"];
    let ended = place.expect(&local, 1, &findings[..1]);
    let why = "kept, because s3 has something there too, and is not repaired with it";
    assert_eq!(ended.findings_done(), [why]);
    // The server that begins with this database deletes nothing either.
    let app = place.app().await;
    while engine::round(&app).await {}
    app.catalog.close().await;
    assert_eq!(
        fs::read(place.file("models/b.stl")).expect("a file"),
        b"after"
    );
    assert_eq!(
        place.s3().body("models/b.stl").expect("bytes").as_ref(),
        b"after"
    );
}

#[test]
fn old_bytes_that_nobody_recorded_are_deleted_and_young_ones_kept() {
    let place = Place::local();
    place.put("models/a.stl", b"a");
    place.leave("models/old.stl", "old");
    place.leave_young("models/young.stl", "young");
    let findings = [
        "extra local models/old.stl true",
        "extra local models/young.stl false",
    ];
    place.expect(&["--repair"], 3, &findings);
    assert!(!place.file("models/old.stl").exists());
    assert!(place.file("models/young.stl").exists());
    // What comes back to a place that was given up is accounted for as deleted, however young.
    fs::write(place.file("models/old.stl"), "late").expect("to write");
    let findings = [
        "extra local models/old.stl true",
        "extra local models/young.stl false",
    ];
    place.expect(&["--repair"], 3, &findings);
    assert!(!place.file("models/old.stl").exists());
}

#[tokio::test]
async fn what_another_program_left_is_never_taken_for_our_own() {
    let place = Place::hybrid().await;
    place.put("models/a.stl", b"a");
    fs::create_dir_all(place.file("models/42")).expect("a folder");
    for name in ["models/old.stl", "models/42/older.stl", "temp/upload"] {
        fs::write(place.file(name), "an artist's").expect("to write");
        age(&place.file(name));
    }
    place.s3().plant("models/bucket.stl", "an artist's");
    // An old copy that we wrote goes, but not while another store has somebody else's there.
    place.leave("models/both.stl", "ours");
    place.s3().plant("models/both.stl", "an artist's");
    for (arguments, code, repaired) in [(&[][..], 1, "-"), (&["--repair"], 1, "false")] {
        let findings = [
            format!("extra local models/both.stl {repaired}"),
            format!("unimported local models/42/older.stl {repaired}"),
            format!("unimported local models/old.stl {repaired}"),
            format!("unimported local temp/upload {repaired}"),
            format!("unimported s3 models/both.stl {repaired}"),
            format!("unimported s3 models/bucket.stl {repaired}"),
        ];
        let ended = place.expect(arguments, code, &findings.each_ref().map(String::as_str));
        assert_eq!(ended.summary()["remaining"], 1);
    }
    for name in ["models/old.stl", "models/42/older.stl", "temp/upload"] {
        let content = fs::read_to_string(place.file(name)).expect("a file");
        assert_eq!(content, "an artist's");
    }
    assert!(place.file("models/both.stl").exists());
    assert!(place.s3().remove("models/both.stl"));
    let ended = place.verify(&["--repair"]);
    assert_eq!(ended.code, Some(0), "nothing is wrong with them: {ended:?}");
    assert!(!place.file("models/both.stl").exists());
}

#[tokio::test]
async fn the_only_copy_is_healed_when_it_was_put_back_by_hand() {
    let place = Place::local();
    let content = bytes(5);
    place.put("models/a.stl", &content);
    let mut damaged = content.clone();
    damaged[9] ^= 1;
    fs::write(place.file("models/a.stl"), &damaged).expect("to write");
    let get = place.spawn(&["get", "models/a.stl", "-"]);
    let get = get.wait_with_output().expect("to wait");
    assert!(!get.status.success(), "damaged bytes were delivered");
    let app = place.app().await;
    while engine::round(&app).await {}
    app.catalog.close().await;
    let findings = [
        "lost - models/a.stl false",
        "wrong_hash local models/a.stl false",
    ];
    place.expect(&["--repair"], 1, &findings);
    fs::write(place.file("models/a.stl"), &content).expect("to write");
    let ended = place.expect(&[], 0, &["under_placed local models/a.stl -"]);
    let detail = ended.objects()[0]["detail"].to_string();
    // The engine has given up for an hour.
    assert!(detail.contains("no other copy is left"), "{detail}");
    let findings = ["under_placed local models/a.stl true"];
    place.expect(&["--repair"], 0, &findings);
    place.expect(&["--hash-budget", "all"], 0, &[]);
}

#[tokio::test]
async fn the_only_copy_is_never_changed() {
    let place = Place::local();
    place.put("models/a.stl", b"whole");
    place.put("models/b.stl", b"whole");
    fs::write(place.file("models/a.stl"), "whale").expect("to write");
    fs::remove_file(place.file("models/b.stl")).expect("to delete");
    for (arguments, repaired) in [(&[][..], "-"), (&["--repair"], "false"), (&[], "-")] {
        let findings = [
            format!("lost - models/a.stl {repaired}"),
            format!("lost - models/b.stl {repaired}"),
            format!("missing local models/b.stl {repaired}"),
            format!("wrong_hash local models/a.stl {repaired}"),
        ];
        place.expect(arguments, 1, &findings.each_ref().map(String::as_str));
        assert_eq!(
            fs::read(place.file("models/a.stl")).expect("a file"),
            b"whale"
        );
    }
}

#[test]
fn bytes_that_somebody_moved_are_not_deleted() {
    let place = Place::local();
    place.put("models/a.stl", b"whole");
    let (from, to) = (place.file("models/a.stl"), place.file("models/moved.stl"));
    fs::rename(&from, &to).expect("to move");
    age(&to);
    place.leave("models/left.stl", "other");
    place.expect(
        &["--repair"],
        3,
        &[
            "extra local models/left.stl true",
            "extra local models/moved.stl false",
            "lost - models/a.stl false",
            "missing local models/a.stl false",
        ],
    );
    fs::rename(&to, &from).expect("to move");
    place.expect(&["--hash-budget", "all"], 0, &[]);
}

#[tokio::test]
async fn an_object_without_a_whole_copy_on_either_store_is_lost_once() {
    let place = Place::hybrid().await;
    place.put("models/a.stl", b"whole");
    place.put("models/b.stl", b"whole");
    for key in ["models/a.stl", "models/b.stl"] {
        fs::remove_file(place.file(key)).expect("to delete");
    }
    assert!(place.s3().remove("models/a.stl"));
    let ended = place.expect(
        &["--repair"],
        3,
        &[
            "lost - models/a.stl false",
            "missing local models/a.stl false",
            "missing local models/b.stl true",
            "missing s3 models/a.stl false",
        ],
    );
    let summary = ended.summary();
    assert_eq!(
        (&summary["repaired"], &summary["remaining"]),
        (&1.into(), &3.into())
    );
}

#[tokio::test]
async fn older_versions_go_when_the_newest_is_whole_and_stay_when_it_is_not() {
    let place = Place::with_s3("s3", Options::b2()).await;
    place.put("models/a.stl", b"bytes");
    place.put("models/b.stl", b"bytes");
    place.s3().plant("models/a.stl", "bytes");
    place.s3().plant("models/a.stl", "bytes");
    // The newest version is wrong and there is no other store: an older one is all there is.
    place.s3().plant("models/b.stl", "wrong");
    let none = ["--hash-budget", "none"];
    let findings = [
        "old_versions s3 models/a.stl -",
        "old_versions s3 models/b.stl -",
    ];
    let ended = place.expect(&none, 1, &findings);
    assert_eq!(ended.objects()[0]["detail"], "2 older versions, 10 bytes");
    let findings = [
        "old_versions s3 models/a.stl true",
        "old_versions s3 models/b.stl false",
    ];
    place.expect(&["--repair", none[0], none[1]], 3, &findings);
    assert_eq!(place.s3().versions("models/a.stl").len(), 1);
    assert_eq!(
        place.s3().body("models/a.stl").expect("bytes").as_ref(),
        b"bytes"
    );
    assert_eq!(place.s3().versions("models/b.stl").len(), 2);
    place.expect(
        &["--repair"],
        1,
        &[
            "lost - models/b.stl false",
            "old_versions s3 models/b.stl false",
            "wrong_hash s3 models/b.stl false",
        ],
    );
    assert_eq!(place.s3().versions("models/b.stl").len(), 2);
}

#[tokio::test]
async fn a_store_that_the_mode_gained_is_filled() {
    let mut place = Place::hybrid().await;
    place.settings.insert("STORAGE_MODE", "local".to_owned());
    place.put("models/a.stl", b"a");
    place.put("images/b.png", b"b");
    place.expect(&[], 0, &[]);
    place.settings.insert("STORAGE_MODE", "hybrid".to_owned());
    let findings = ["unplaced s3 images/b.png -", "unplaced s3 models/a.stl -"];
    place.expect(&[], 1, &findings);
    let findings = [
        "unplaced s3 images/b.png true",
        "unplaced s3 models/a.stl true",
    ];
    place.expect(&["--repair"], 0, &findings);
    assert_eq!(
        place.s3().body("models/a.stl").expect("bytes").as_ref(),
        b"a"
    );
    place.expect(&[], 0, &[]);
}

#[tokio::test]
async fn a_copy_that_is_owed_is_told_and_is_no_failure() {
    let place = Place::hybrid().await;
    let denied = FaultAction::Status {
        status: 403,
        code: "AccessDenied",
        retry_after_s: None,
    };
    place.expect(&[], 0, &[]);
    place
        .s3()
        .fault(Fault::new(Operation::PutObject, denied).forever());
    place.put("models/a.stl", b"a");
    place.expect(&[], 0, &["under_placed s3 models/a.stl -"]);
    let ended = place.expect(&["--repair"], 0, &["under_placed s3 models/a.stl false"]);
    let done = ended.objects()[0]["done"]
        .as_str()
        .expect("a reason")
        .to_owned();
    assert!(done.contains("AccessDenied"), "{done}");
    place.s3().clear_faults();
    // The engine would wait a little longer after each failure; who repairs has mended something.
    place.expect(&["--repair"], 0, &["under_placed s3 models/a.stl true"]);
    place.expect(&[], 0, &[]);
}

#[tokio::test]
async fn what_a_store_does_not_tell_is_not_missing() {
    let place = Place::hybrid().await;
    place.put("models/a.stl", b"a");
    place.expect(&[], 0, &[]);
    let denied = || FaultAction::Status {
        status: 403,
        code: "AccessDenied",
        retry_after_s: None,
    };
    let list = Fault::new(Operation::ListObjectsV2, denied()).forever();
    place.s3().fault(list);
    place.expect(&[], 1, &["unreadable s3 - -"]);
    place.expect(&["--repair"], 1, &["unreadable s3 - false"]);
    place.s3().clear_faults();
    // It is not in the list, and the store refuses to say why.
    place.s3().remove("models/a.stl");
    place
        .s3()
        .fault(Fault::new(Operation::HeadObject, denied()).forever());
    place.expect(
        &["--hash-budget", "none"],
        1,
        &["unreadable s3 models/a.stl -"],
    );
    place.s3().clear_faults();
    place.expect(&[], 1, &["missing s3 models/a.stl -"]);
}

#[tokio::test]
async fn nothing_is_deleted_when_too_much_would_go() {
    let place = Place::hybrid().await;
    place.put("models/a.stl", b"a");
    place.leave("models/left.stl", "left");
    for index in 0..11 {
        place
            .s3()
            .plant(&format!("models/left-{index}.stl"), "left");
    }
    let repair = ["--repair", "--delete-unrecorded"];
    let ended = place.verify(&repair);
    assert_eq!(
        (ended.code, ended.error_code().as_str()),
        (Some(1), "too_many_deletions")
    );
    assert_eq!(ended.findings().len(), 12);
    assert!(
        ended.findings().iter().all(|it| it.ends_with("false")),
        "{ended:?}"
    );
    assert!(place.file("models/left.stl").exists());
    assert_eq!(place.s3().keys().len(), 13);
    let ended = place.verify(&[&repair[..], &["--max-delete-share", "91"]].concat());
    assert_eq!(ended.error_code(), "too_many_deletions");
    let ended = place.verify(&[&repair[..], &["--max-delete-share", "92"]].concat());
    assert_eq!(
        (ended.code, ended.findings().len()),
        (Some(0), 12),
        "{ended:?}"
    );
    assert_eq!(place.s3().keys(), [LABEL, "models/a.stl"]);
    place.expect(&[], 0, &[]);
}

#[tokio::test]
async fn a_store_of_somebody_else_is_left_alone_until_it_is_accepted() {
    let first = Place::hybrid().await;
    first.put("models/first.stl", b"first");
    first.expect(&[], 0, &[]);
    let second = Place::at("hybrid", Arc::clone(first.s3.as_ref().expect("a bucket")));
    second.put("models/second.stl", b"second");
    second.expect(
        &[],
        1,
        &[
            "extra s3 models/first.stl -",
            "foreign_store s3 - -",
            "under_placed s3 models/second.stl -",
        ],
    );
    let ended = second.verify(&["--repair"]);
    assert_eq!(
        (ended.code, ended.error_code().as_str()),
        (Some(1), "foreign_store")
    );
    assert!(ended.findings().is_empty(), "{ended:?}");
    assert!(first.s3().body("models/first.stl").is_some());
    // Without it the other store can be mended.
    second.leave("models/left.stl", "left");
    let findings = ["extra local models/left.stl true"];
    second.expect(&["--repair", "--store", "local"], 0, &findings);
    let findings = [
        "extra s3 models/first.stl false",
        "under_placed s3 models/second.stl true",
    ];
    second.expect(&["--repair", "--accept-store", "s3"], 3, &findings);
    let findings = ["extra s3 models/first.stl true"];
    second.expect(&["--repair", "--delete-unrecorded"], 0, &findings);
    assert!(first.s3().body("models/first.stl").is_none());
    second.expect(&[], 0, &[]);
}

#[tokio::test]
async fn a_folder_that_is_not_mounted_is_no_empty_store() {
    let place = Place::hybrid().await;
    place.put("models/a.stl", b"a");
    place.expect(&[], 0, &[]);
    fs::rename(place.file(""), place.folder.path().join("elsewhere")).expect("to move");
    place.expect(
        &[],
        1,
        &["foreign_store local - -", "missing local models/a.stl -"],
    );
    let ended = place.verify(&["--repair"]);
    assert_eq!(
        (ended.code, ended.error_code().as_str()),
        (Some(1), "foreign_store")
    );
    assert!(!place.file("models/a.stl").exists());
    // A new disk in the place of the old one is filled when the operator says that it is one.
    let findings = ["missing local models/a.stl true"];
    place.expect(&["--repair", "--accept-store", "local"], 0, &findings);
    assert_eq!(fs::read(place.file("models/a.stl")).expect("a file"), b"a");
    place.expect(&[], 0, &[]);
}

#[tokio::test]
async fn a_bucket_that_does_not_answer_is_told_once() {
    let place = Place::hybrid().await;
    for key in ["models/a.stl", "models/b.stl", "models/c.stl"] {
        place.put(key, b"bytes");
    }
    fs::remove_file(place.file("models/a.stl")).expect("to delete");
    place.leave("models/left.stl", "left");
    place.s3().set_online(false).expect("to stop");
    let findings = [
        "extra local models/left.stl -",
        "missing local models/a.stl -",
        "unreadable s3 - -",
    ];
    // Whether the other copy is whole cannot be told, so nothing is lost.
    place.expect(&[], 1, &findings);
    place.s3().set_online(true).expect("to start");
    let findings = [
        "extra local models/left.stl true",
        "missing local models/a.stl true",
    ];
    place.expect(&["--repair"], 0, &findings);
}

#[tokio::test]
async fn a_deleted_object_is_healed_only_when_somebody_wants_it_back() {
    let place = Place::hybrid().await;
    place.put("models/a.stl", b"bytes");
    let removed = place.run_with_stdin(&["rm", "models/a.stl"], b"");
    assert_eq!(removed.code, Some(0), "{removed:?}");
    place.expect(&[], 0, &[]);
    fs::remove_file(place.file("models/a.stl")).expect("to delete");
    place.expect(&[], 1, &["missing local models/a.stl -"]);
    place.expect(&["--repair"], 0, &["missing local models/a.stl true"]);
    assert!(!place.file("models/a.stl").exists());
    place.expect(&[], 0, &[]);
}

#[tokio::test]
async fn copies_on_a_store_that_is_not_configured_are_out_of_reach() {
    let mut place = Place::hybrid().await;
    place.put("models/a.stl", b"a");
    place.put("models/b.stl", b"b");
    place.settings.clear();
    let ended = place.expect(&[], 1, &["unreadable s3 - -"]);
    let detail = "2 copies are recorded there, and it is not configured";
    assert_eq!(ended.objects()[0]["detail"], detail);
    place.expect(&["--store", "local"], 0, &[]);
}

#[tokio::test]
async fn a_verification_can_be_interrupted() {
    let place = Place::hybrid().await;
    place.put("models/a.stl", b"a");
    let list = Fault::new(Operation::ListObjectsV2, FaultAction::Hang).forever();
    place.s3().fault(list);
    let child = place.spawn(&["verify"]);
    while place.s3().count(Operation::ListObjectsV2) == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    kill_process(Pid::from_child(&child), Signal::INT).expect("to interrupt");
    let ended = ended(child);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(130), ""),
        "{ended:?}"
    );
}

#[test]
fn what_cannot_be_meant_is_a_usage_error() {
    let place = Place::local();
    for arguments in [
        &["--store", "s3"][..],
        &["--accept-store", "Local"],
        &["--accept-store", "loc"],
        &["--hash-budget", "much"],
        &["--hash-budget", "10 %"],
        &["--max-delete-share", "101"],
        &["--delete-unrecorded"],
        &["--accept-store"],
    ] {
        assert_eq!(place.verify(arguments).code, Some(2), "{arguments:?}");
    }
    assert!(!place.file(LABEL).exists(), "a store was looked at");
}

#[test]
fn people_get_a_table() {
    let place = Place::local();
    place.put("models/a.stl", b"a");
    place.leave("models/left.stl", "left");
    let words = place.run_with_stdin(&["verify", "--repair"], b"");
    assert_eq!(words.code, Some(0), "{words:?}");
    let lines: Vec<Vec<&str>> = words
        .stdout
        .lines()
        .map(|line| {
            line.split("  ")
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect()
        })
        .collect();
    assert_eq!(lines[0], ["finding", "store", "repaired", "key", "detail"]);
    let detail = "no object is recorded there (deleted)";
    assert_eq!(
        lines[1],
        ["extra", "local", "yes", "models/left.stl", detail]
    );
    assert_eq!(
        lines[2],
        ["local: 2 listed (5 B), 1 present, 1 hashed (1 B); extra 1"]
    );
    assert!(
        words.stderr.contains("repaired: 1, remaining: 0"),
        "{words:?}"
    );
}

/// Keeps what it is told.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Listener for Findings {
    fn finding(&mut self, finding: Finding) -> ControlFlow<()> {
        self.0.push(finding);
        ControlFlow::Continue(())
    }

    fn progress(&mut self, _: Step, _: &StoreName, _: u64) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_deletions_and_the_engine_beside_it_are_no_findings() {
    let mut place = Place::hybrid().await;
    // Bytes go at once, so that every list is out of date before it is compared.
    place.settings.insert("DELETE_GRACE", "0s".to_owned());
    let app = place.app().await;
    let engine = tokio::spawn(keep_running(app.clone()));
    let writers: Vec<_> = (0..4_u64)
        .map(|writer| {
            let app = app.clone();
            tokio::spawn(async move {
                for round in 0..40_u64 {
                    let key = format!("models/{}.stl", (writer + round) % 7);
                    if round % 5 == 4 {
                        // Another writer may have deleted it.
                        let _ = objects::retire(&app, &key.parse().expect("a key")).await;
                        continue;
                    }
                    let content = vec![round as u8; 3_000 + round as usize];
                    put(&app, &key, content).await;
                }
            })
        })
        .collect();
    let options = VerifyOptions {
        repair: true,
        stores: Vec::new(),
        hash_budget: HashBudget::All,
        max_delete_percent: 100,
        delete_unrecorded: true,
    };
    let mut findings = Findings::default();
    let mut runs = 0;
    while runs < 3 || writers.iter().any(|writer| !writer.is_finished()) {
        let summary = verify(&app, &options, &mut findings)
            .await
            .expect("to verify");
        assert_eq!(summary.refusal, None);
        runs += 1;
    }
    for writer in writers {
        writer.await.expect("no panic");
    }
    findings
        .0
        .retain(|finding| finding.kind != Kind::UnderPlaced);
    assert!(
        findings.0.is_empty(),
        "after {runs} runs: {:#?}",
        findings.0
    );

    // What was acknowledged and not deleted is there.
    let page = stockroom_catalog::Page::first(100);
    let listed = app
        .catalog
        .list_objects(&"models/".parse().expect("a prefix"), &page)
        .await;
    let mut keys = BTreeSet::new();
    for object in listed.expect("objects").items {
        let details = objects::find(&app, &object.key).await.expect("an object");
        let read = deliver::open(&app, (&details).into(), None)
            .await
            .expect("to open");
        let pieces: Vec<bytes::Bytes> = futures::TryStreamExt::try_collect(read.stream)
            .await
            .expect("to read");
        assert_eq!(
            pieces.iter().map(bytes::Bytes::len).sum::<usize>() as u64,
            object.size_bytes
        );
        keys.insert(object.key.to_string());
    }
    assert!(!keys.is_empty());
    app.shutdown.cancel();
    engine.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_beside_a_running_server_mends_everything() {
    let mut place = Place::hybrid().await;
    place.settings.insert("LISTEN", "127.0.0.1:0".to_owned());
    let app = place.app().await;
    let content = bytes(4);
    let keys: Vec<String> = (0..24).map(|index| format!("models/{index}.stl")).collect();
    for key in &keys {
        put(&app, key, content.clone()).await;
    }
    app.catalog.close().await;
    let server = place.spawn(&["serve"]);
    let _ends_with_the_test = KilledOnPanic(Pid::from_child(&server));
    for (index, key) in keys.iter().enumerate() {
        match index % 4 {
            0 => fs::remove_file(place.file(key)).expect("to delete"),
            1 => fs::write(place.file(key), "short").expect("to write"),
            2 => assert!(place.s3().corrupt(key, index as u64)),
            _ => assert!(place.s3().remove(key)),
        }
    }
    let repaired = place.verify(&["--repair"]);
    assert_eq!(repaired.code, Some(0), "{repaired:?}");
    let told = repaired.findings();
    // What the server has doubted by itself meanwhile is owed already.
    assert_eq!(told.len(), keys.len(), "{repaired:?}");
    assert!(told.iter().all(|it| it.ends_with(" true")), "{repaired:?}");
    place.expect(&["--hash-budget", "all"], 0, &[]);
    for key in &keys {
        assert!(
            fs::read(place.file(key)).expect("a file") == content,
            "{key}"
        );
        assert!(place.s3().body(key).expect("bytes") == content, "{key}");
    }
    kill_process(Pid::from_child(&server), Signal::TERM).expect("to stop");
    assert_eq!(ended(server).code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn more_objects_than_one_page_are_compared_each_once() {
    const OBJECTS: usize = 300;
    let place = Place::local();
    let app = place.app().await;
    let numbers = futures::stream::iter(0..OBJECTS);
    let puts = numbers.map(|number| {
        let app = app.clone();
        tokio::spawn(async move { put(&app, &format!("temp/{number}"), vec![1; 3]).await })
    });
    puts.buffer_unordered(32)
        .for_each(async |ended| ended.expect("no panic"))
        .await;
    app.catalog.close().await;
    for number in [0, 249, 250, OBJECTS - 1] {
        fs::remove_file(place.file(&format!("temp/{number}"))).expect("to delete");
    }
    let ended = place.verify(&["--hash-budget", "600"]);
    assert_eq!(ended.findings().len(), 8, "{ended:?}");
    let summary = &ended.summary()["stores"][0];
    let counts = ["listed", "present", "hashed"].map(|name| summary[name].as_u64());
    let there = OBJECTS as u64 - 4;
    assert_eq!(counts, [Some(there), Some(there), Some(200)]);
    assert_eq!(summary["findings"]["missing"], 4);
}

/// All files below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| {
            if path.is_dir() {
                files(&path)
            } else {
                vec![path]
            }
        })
        .collect()
}

async fn put(app: &App, key: &str, content: Vec<u8>) {
    let body = futures::stream::iter([Ok::<_, std::io::Error>(bytes::Bytes::from(content))]);
    let intake = intake(key.parse().expect("a key"));
    objects::put(app, intake, body).await.expect("to put");
}

/// What the engine of a server does, without its pauses.
async fn keep_running(app: App) {
    while !app.shutdown.is_cancelled() {
        Box::pin(engine::round(&app)).await;
        tokio::task::yield_now().await;
    }
}

fn intake(key: Key) -> Intake {
    Intake {
        key,
        content_type: "model/stl".to_owned(),
        metadata: stockroom_storage::Metadata::default(),
        announced_bytes: None,
        expected_sha256: None,
        checker: None,
    }
}
