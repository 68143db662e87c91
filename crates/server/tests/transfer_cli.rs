//! `put`, `get`, `ls`, `stat`, `rm`, `sign` and `check` with the real binary, in the three modes.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, ending with a panic is how it fails"
)]

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chaos_s3::{AccessKey, Capability, ChaosS3, Fault, FaultAction, Operation, Options};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The key of the object by which a store is known.
const STORE_ID: &str = "models/.stockroom/store-id";

const STEPS: [&str; 9] = [
    "config",
    "connect",
    "upload",
    "exists",
    "size",
    "download",
    "signed_url",
    "list",
    "delete",
];

/// A folder of its own with a configuration, in which the program runs.
struct Place {
    folder: TempDir,
    settings: Vec<(&'static str, String)>,
    /// Runs as long as the place.
    s3: Option<ChaosS3>,
}

/// How the program ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

impl Ended {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("text")
    }

    fn objects(&self) -> Vec<Value> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.text().lines().map(parse).collect()
    }

    fn error_code(&self) -> String {
        let objects = self.objects();
        let error = &objects.last().expect("an error")["error"];
        assert!(error["detail"].is_string(), "{error}");
        error["code"].as_str().expect("a code").to_owned()
    }
}

impl Place {
    fn local() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            settings: Vec::new(),
            s3: None,
        }
    }

    async fn with_s3(mode: &str, options: Options) -> Self {
        let s3 = ChaosS3::start(options).await.expect("a server");
        let mut place = Self::local();
        place.settings = vec![
            ("STORAGE_MODE", mode.to_owned()),
            ("S3_ENDPOINT", s3.endpoint()),
            ("S3_REGION", s3.region().to_owned()),
            ("S3_BUCKET", s3.bucket().to_owned()),
            ("S3_KEY_ID", s3.key_id().to_owned()),
            ("S3_APPLICATION_KEY", s3.application_key().to_owned()),
        ];
        if let Some(pem) = s3.ca_pem() {
            fs::write(place.path("ca.pem"), pem).expect("to write");
            place.settings.push(("S3_CA_FILE", "ca.pem".to_owned()));
        }
        place.s3 = Some(s3);
        place
    }

    async fn all_modes() -> Vec<Self> {
        vec![
            Self::local(),
            Self::with_s3("s3", Options::b2()).await,
            Self::with_s3("hybrid", Options::b2()).await,
        ]
    }

    fn s3(&self) -> &ChaosS3 {
        self.s3.as_ref().expect("a bucket")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The names in the working folder, without those of the configuration.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("text")
            })
            .filter(|name| name != "data" && name != "ca.pem")
            .collect();
        names.sort();
        names
    }

    /// The versions of all objects in the bucket but the one it is known by.
    fn stored_versions(&self) -> usize {
        self.s3().all_version_count() - self.s3().versions(STORE_ID).len()
    }

    /// The files of the local store that are no folder, also those that are not finished, but not
    /// the one it is known by.
    fn stored_files(&self) -> usize {
        fn count(folder: PathBuf) -> usize {
            let Ok(entries) = fs::read_dir(folder) else {
                return 0;
            };
            let paths = entries.map(|entry| entry.expect("an entry").path());
            paths
                .map(|path| if path.is_dir() { count(path) } else { 1 })
                .sum()
        }
        let known_by = self.path("data/uploads").join(STORE_ID).is_file();
        count(self.path("data/uploads")) - usize::from(known_by)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stockroom"));
        command
            .args(arguments)
            .env_clear()
            .envs(self.settings.iter().map(|(name, value)| (*name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with_stdin(arguments, b"")
    }

    fn run_with_stdin(&self, arguments: &[&str], stdin: &[u8]) -> Ended {
        let mut child = self.command(arguments).spawn().expect("to run the program");
        let mut pipe = child.stdin.take().expect("a pipe");
        // A program that has no use for it may have closed it.
        let _ = pipe.write_all(stdin);
        drop(pipe);
        ended(child)
    }

    /// The objects that a command prints, which must succeed and be silent otherwise.
    fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let ended = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(
            (ended.code, ended.stderr.as_str()),
            (Some(0), ""),
            "{arguments:?} {ended:?}"
        );
        ended.objects()
    }
}

fn ended(child: Child) -> Ended {
    let output = child.wait_with_output().expect("to wait");
    Ended {
        code: output.status.code(),
        stdout: output.stdout,
        stderr: String::from_utf8(output.stderr).expect("text"),
    }
}

/// Bytes that look like nothing, the same ones each time, over the border of several chunks.
fn bytes() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(400_003).flatten().collect()
}

#[tokio::test]
async fn what_was_put_is_got_back_in_every_mode() {
    let content = bytes();
    for place in Place::all_modes().await {
        fs::write(place.path("helmet.bin"), &content).expect("to write");
        let put = &place.json(&["put", "helmet.bin", "models/42/helmet.stl"])[0];
        assert_eq!(put["key"], "models/42/helmet.stl");
        assert_eq!(put["size"], content.len());
        assert_eq!(put["content_type"], "model/stl");
        let copies = put["placements"].as_array().expect("placements");
        assert!(
            copies.iter().all(|copy| copy["state"] == "present"),
            "{put}"
        );

        let got = &place.json(&["get", "models/42/helmet.stl", "copy.stl"])[0];
        assert_eq!(got["file"], "copy.stl");
        assert_eq!(got["sha256"], put["sha256"]);
        assert!(fs::read(place.path("copy.stl")).expect("a file") == content);
        // Without a FILE it is named as the key ends, and - is stdout with nothing else on it.
        let named = place.run(&["get", "models/42/helmet.stl"]);
        assert_eq!(named.code, Some(0), "{named:?}");
        assert!(fs::read(place.path("helmet.stl")).expect("a file") == content);
        let piped = place.run(&["get", "models/42/helmet.stl", "-", "-q"]);
        assert_eq!((piped.code, piped.stderr.as_str()), (Some(0), ""));
        assert!(piped.stdout == content);
        assert_eq!(place.names(), ["copy.stl", "helmet.bin", "helmet.stl"]);
    }
}

#[tokio::test]
async fn stdin_is_stored_and_replaces_what_was_there() {
    for place in Place::all_modes().await {
        for content in ["first", "", "a second one"] {
            let put = place.run_with_stdin(&["put", "-", "temp/note"], content.as_bytes());
            assert_eq!(put.code, Some(0), "{put:?}");
            let got = place.run(&["get", "temp/note", "-"]);
            assert_eq!(got.text(), content);
        }
        let stat = &place.json(&["stat", "temp/note"])[0];
        assert_eq!(stat["content_type"], "application/octet-stream");
    }
}

#[tokio::test]
async fn objects_are_listed_shown_and_deleted() {
    for place in Place::all_modes().await {
        // More than one page of the catalog would take too many runs; keys sort by bytes.
        for key in ["models/b.stl", "models/a.stl", "images/a.png"] {
            let put = place.run_with_stdin(&["put", "-", key, "-q"], key.as_bytes());
            assert_eq!((put.code, put.stderr.as_str()), (Some(0), ""), "{put:?}");
        }
        let keys = |arguments: &[&str]| -> Vec<Value> {
            place
                .json(arguments)
                .into_iter()
                .map(|object| object["key"].clone())
                .collect()
        };
        assert_eq!(
            keys(&["ls"]),
            ["images/a.png", "models/a.stl", "models/b.stl"]
        );
        assert_eq!(keys(&["ls", "models/"]), ["models/a.stl", "models/b.stl"]);
        assert!(keys(&["ls", "temp/"]).is_empty());
        let table = place.run(&["ls"]);
        let last = table.text().lines().last().expect("a line");
        assert!(
            last.ends_with("models/b.stl") && last.contains("12 "),
            "{last}"
        );

        let stat = &place.json(&["stat", "models/a.stl"])[0];
        assert_eq!(stat["size"], 12);
        assert!(
            stat["location"]
                .as_str()
                .is_some_and(|at| at.starts_with("models/")),
            "{stat}"
        );
        assert!(stat["placements"][0]["verified_at"].is_string(), "{stat}");
        let shown = place.run(&["stat", "models/a.stl"]);
        assert!(shown.text().contains("present, verified at"), "{shown:?}");

        let removed = &place.json(&["rm", "models/a.stl"])[0];
        assert_eq!(
            (&removed["key"], &removed["deleted"]),
            (&json!("models/a.stl"), &json!(true))
        );
        assert_eq!(keys(&["ls", "models/"]), ["models/b.stl"]);
        for command in ["rm", "stat", "sign"] {
            let gone = place.run(&[command, "models/a.stl", "--json"]);
            assert_eq!(
                (gone.code, gone.error_code().as_str()),
                (Some(1), "not_found"),
                "{command}"
            );
        }
    }
}

#[tokio::test]
async fn what_was_deleted_is_restored_while_its_bytes_are_kept() {
    for place in Place::all_modes().await {
        let code = |arguments: &[&str]| {
            let ended = place.run(&[arguments, &["--json"]].concat());
            (ended.code, ended.error_code())
        };
        let refused = |code: &str| (Some(1), code.to_owned());
        let restore = &["restore", "models/a.stl"];
        assert_eq!(code(restore), refused("not_found"));
        place.run_with_stdin(&["put", "-", "models/a.stl"], b"bytes");
        let before = place.json(&["stat", "models/a.stl"]);
        assert_eq!(code(restore), refused("key_conflict"));

        place.json(&["rm", "models/a.stl"]);
        assert_eq!(place.json(restore), before);
        let got = place.run(&["get", "models/a.stl", "-"]);
        assert_eq!((got.code, got.text()), (Some(0), "bytes"));
        place.json(&["rm", "models/a.stl"]);
        let shown = place.run(restore);
        assert_eq!(shown.code, Some(0), "{shown:?}");
        assert!(shown.text().contains("models/a.stl\n"), "{shown:?}");
        let ended = place.run(&["restore", "elsewhere/a", "--json"]);
        assert_eq!(
            (ended.code, ended.error_code().as_str()),
            (Some(2), "invalid_key")
        );
    }
}

#[tokio::test]
async fn a_signed_url_is_alone_on_stdout_and_works() {
    for place in Place::all_modes().await {
        place.run_with_stdin(&["put", "-", "models/a.stl"], b"bytes");
        let signed = place.run(&["sign", "models/a.stl", "--expires", "5m"]);
        assert_eq!(signed.code, Some(0), "{signed:?}");
        let url = signed.text().trim_end();
        assert!(
            url.starts_with("http://127.0.0.1:") && url.lines().count() == 1,
            "{url}"
        );
        assert!(!signed.stderr.contains("http"), "{signed:?}");
        let object = &place.json(&["sign", "models/a.stl", "--inline"])[0];
        assert!(object["expires_at"].is_string());
        assert!(
            object["url"]
                .as_str()
                .is_some_and(|url| url.contains("inline")),
            "{object}"
        );
        // A local one needs the server; the bucket's own is fetched here.
        if place.settings.iter().any(|(_, value)| value == "s3") {
            let client = reqwest_over_http();
            let answer = client.get(url).send().await.expect("an answer");
            assert_eq!(answer.bytes().await.expect("a body").as_ref(), b"bytes");
        }
    }
}

/// Nothing here is fetched over TLS, so no authority is trusted.
fn reqwest_over_http() -> reqwest::Client {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy();
    client.build().expect("a client")
}

#[test]
fn arguments_that_cannot_be_meant_are_usage_errors_and_make_nothing() {
    let place = Place::local();
    fs::write(place.path("a.stl"), "bytes").expect("to write");
    for arguments in [
        &["put", "a.stl", "elsewhere/a.stl"][..],
        &["put", "a.stl", "models/../a.stl"],
        &["put", "a.stl", "models/.versions/a.stl"],
        &["get", "models/"],
        &["stat", "models//a"],
        &["rm", "a.stl"],
        &["sign", "/models/a.stl"],
        &["ls", "elsewhere/"],
    ] {
        let ended = place.run(&[arguments, &["--json"]].concat());
        assert_eq!(
            (ended.code, ended.error_code().as_str()),
            (Some(2), "invalid_key"),
            "{ended:?}"
        );
        let ended = place.run(arguments);
        assert_eq!((ended.code, ended.text()), (Some(2), ""), "{arguments:?}");
    }
    for arguments in [
        &["put", "a.stl"][..],
        &["sign", "models/a.stl", "--expires", "8d"],
        &["sign", "models/a.stl", "--expires", "500ms"],
        &["get", "models/a.stl", "-", "--json"],
    ] {
        assert_eq!(place.run(arguments).code, Some(2), "{arguments:?}");
    }
    assert!(!place.path("data").exists(), "a database was made");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let place = Place::local();
    for file in ["absent.stl", "."] {
        let ended = place.run(&["put", file, "models/a.stl", "--json"]);
        assert_eq!(
            (ended.code, ended.error_code().as_str()),
            (Some(1), "file_unreadable")
        );
        assert!(ended.text().contains(file), "{ended:?}");
    }
    assert!(!place.path("data").exists(), "a database was made");
}

#[tokio::test]
async fn a_get_that_fails_leaves_no_file_and_keeps_the_one_that_was_there() {
    for place in Place::all_modes().await {
        let missing = place.run(&["get", "models/a.stl", "--json"]);
        assert_eq!(
            (missing.code, missing.error_code().as_str()),
            (Some(1), "not_found")
        );
        fs::write(place.path("kept"), "kept").expect("to write");
        place.run(&["get", "models/a.stl", "kept"]);
        assert_eq!(place.names(), ["kept"]);
        assert_eq!(fs::read(place.path("kept")).expect("a file"), b"kept");
    }
    // The bytes are damaged: the part that is right came before.
    let place = Place::with_s3("s3", Options::default()).await;
    let content = bytes();
    place.run_with_stdin(&["put", "-", "models/a.stl"], &content);
    fs::write(place.path("a.stl"), "kept").expect("to write");
    let location = place.json(&["stat", "models/a.stl"])[0]["location"].clone();
    let offset = content.len() as u64 - 1;
    assert!(
        place
            .s3()
            .corrupt(location.as_str().expect("a key"), offset)
    );
    let damaged = place.run(&["get", "models/a.stl", "--json"]);
    assert_eq!(
        (damaged.code, damaged.error_code().as_str()),
        (Some(1), "storage_error")
    );
    assert_eq!(place.names(), ["a.stl"]);
    assert_eq!(fs::read(place.path("a.stl")).expect("a file"), b"kept");
    // Before the program ended it noted that this copy cannot be trusted.
    let stat = &place.json(&["stat", "models/a.stl"])[0];
    assert_eq!(stat["placements"][0]["state"], "suspect", "{stat}");
}

#[test]
fn a_get_goes_into_a_folder_through_a_link_and_over_no_device() {
    let place = Place::local();
    place.run_with_stdin(&["put", "-", "models/a.stl"], b"bytes");
    fs::create_dir(place.path("folder")).expect("a folder");
    fs::write(place.path("folder/old"), "old").expect("to write");
    std::os::unix::fs::symlink("folder/old", place.path("link")).expect("a link");
    for (file, written) in [("folder", "folder/a.stl"), ("link", "folder/old")] {
        let got = place.run(&["get", "models/a.stl", file]);
        assert_eq!(got.code, Some(0), "{got:?}");
        assert_eq!(fs::read(place.path(written)).expect("a file"), b"bytes");
    }
    assert!(place.path("link").is_symlink());
    let device = place.run(&["get", "models/a.stl", "/dev/null", "--json"]);
    assert_eq!(
        (device.code, device.error_code().as_str()),
        (Some(1), "file_unwritable")
    );
    let nowhere = place.run(&["get", "models/a.stl", "absent/a.stl", "--json"]);
    assert_eq!(
        (nowhere.code, nowhere.error_code().as_str()),
        (Some(1), "file_unwritable")
    );
}

#[tokio::test]
async fn an_interrupted_put_takes_back_what_was_written() {
    for place in Place::all_modes().await {
        let mut child = place
            .command(&["put", "-", "models/a.stl"])
            .spawn()
            .expect("to run");
        let mut pipe = child.stdin.take().expect("a pipe");
        // Enough that a multipart upload has begun and the folder has bytes, and no end.
        let content = vec![7; 12 << 20];
        let written = std::thread::spawn(move || pipe.write_all(&content).map(|()| pipe));
        let pipe = written.join().expect("no panic").expect("to write");
        std::thread::sleep(Duration::from_millis(200));
        let process = Pid::from_child(&child);
        kill_process(process, Signal::INT).expect("to interrupt");
        let ended = ended(child);
        drop(pipe);
        assert_eq!((ended.code, ended.text()), (Some(130), ""), "{ended:?}");
        assert!(place.json(&["ls"]).is_empty());
        assert_eq!(place.stored_files(), 0);
        if let Some(s3) = &place.s3 {
            assert_eq!(s3.count(Operation::CreateMultipartUpload), 1);
            assert_eq!(
                (s3.unfinished_uploads().len(), place.stored_versions()),
                (0, 0)
            );
        }
    }
}

#[tokio::test]
async fn a_second_interruption_waits_for_no_store() {
    let place = Place::with_s3("s3", Options::b2()).await;
    for operation in [Operation::UploadPart, Operation::AbortMultipartUpload] {
        place
            .s3()
            .fault(Fault::new(operation, FaultAction::Hang).forever());
    }
    let mut child = place
        .command(&["put", "-", "models/a.stl"])
        .spawn()
        .expect("to run");
    let mut pipe = child.stdin.take().expect("a pipe");
    pipe.write_all(&vec![7; 9 << 20]).expect("to write");
    std::thread::sleep(Duration::from_millis(200));
    let process = Pid::from_child(&child);
    kill_process(process, Signal::INT).expect("to interrupt");
    std::thread::sleep(Duration::from_millis(500));
    assert!(
        child.try_wait().expect("to ask").is_none(),
        "it did not try to take anything back"
    );
    kill_process(process, Signal::INT).expect("to interrupt");
    let ended = ended(child);
    assert_eq!((ended.code, ended.text()), (Some(130), ""), "{ended:?}");
    assert_eq!(place.s3().count(Operation::AbortMultipartUpload), 1);
}

#[tokio::test]
async fn a_hybrid_takes_an_object_while_its_bucket_is_away_and_says_so() {
    let place = Place::with_s3("hybrid", Options::b2()).await;
    let denied = FaultAction::Status {
        status: 403,
        code: "AccessDenied",
        retry_after_s: None,
    };
    place
        .s3()
        .fault(Fault::new(Operation::PutObject, denied).forever());
    let put = place.run_with_stdin(&["put", "-", "models/a.stl"], b"bytes");
    assert_eq!(put.code, Some(0), "{put:?}");
    assert!(
        put.stderr.contains("the copy on s3 could not be made yet"),
        "{put:?}"
    );
    assert_eq!(place.run(&["get", "models/a.stl", "-"]).stdout, b"bytes");
}

#[tokio::test]
async fn a_store_that_refuses_is_an_error_with_its_reason() {
    let mut place = Place::with_s3("s3", Options::b2()).await;
    for (name, value) in &mut place.settings {
        if *name == "S3_APPLICATION_KEY" {
            *value = "wrong-canary".to_owned();
        }
    }
    let put = place.run_with_stdin(&["put", "-", "models/a.stl", "--json"], b"bytes");
    assert_eq!(
        (put.code, put.error_code().as_str()),
        (Some(1), "storage_error"),
        "{put:?}"
    );
    assert!(
        !put.text().contains("canary") && !put.stderr.contains("canary"),
        "{put:?}"
    );
    assert!(place.json(&["ls"]).is_empty());
}

/// The results of the nine steps, which must be these and in this order.
fn steps(ended: &Ended) -> Vec<Value> {
    let steps = ended.objects();
    let names: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["step"].as_str())
        .collect();
    assert_eq!(names, STEPS, "{ended:?}");
    for step in &steps {
        let fields = step.as_object().expect("an object");
        assert_eq!(fields.len(), 4, "{step}");
        assert!(step["ms"].is_u64() && step["detail"].is_string(), "{step}");
    }
    steps
}

fn green(steps: &[Value]) -> Vec<&str> {
    let green = steps.iter().filter(|step| step["ok"] == true);
    green.filter_map(|step| step["step"].as_str()).collect()
}

#[tokio::test]
async fn a_check_is_green_in_every_mode_and_leaves_nothing() {
    let mut places = Place::all_modes().await;
    places.push(Place::with_s3("s3", Options::default().tls()).await);
    places.push(Place::with_s3("hybrid", Options::versioned()).await);
    let mut behind_a_path = Place::local();
    behind_a_path.settings = vec![("PUBLIC_URL", "https://shop.example/files/".to_owned())];
    places.push(behind_a_path);
    for place in places {
        let ended = place.run(&["check", "--json"]);
        assert_eq!(
            (ended.code, ended.stderr.as_str()),
            (Some(0), ""),
            "{ended:?}"
        );
        let steps = steps(&ended);
        assert_eq!(green(&steps), STEPS);
        assert!(
            !ended.text().contains("X-Amz-Signature"),
            "a signed URL was shown"
        );
        assert_eq!(place.stored_files(), 0);
        if let Some(s3) = &place.s3 {
            assert_eq!(s3.all_version_count(), 0);
            assert_eq!(s3.count(Operation::PutObject), 1);
        }
        if place.settings.iter().any(|(_, value)| value == "hybrid") {
            for step in &steps[1..] {
                let detail = step["detail"].as_str().expect("text");
                assert!(
                    detail.contains("local: ") && detail.contains("s3: "),
                    "{detail}"
                );
            }
        }
        // The storage is checked without a database.
        assert!(!place.path("data/stockroom.db").exists());
        let told = place.run(&["check"]);
        assert_eq!(told.text().matches('✓').count(), 9, "{told:?}");
    }
}

#[tokio::test]
async fn a_check_with_a_wrong_secret_is_red_from_the_connection_on() {
    for mode in ["s3", "hybrid"] {
        let mut place = Place::with_s3(mode, Options::b2()).await;
        for (name, value) in &mut place.settings {
            if *name == "S3_APPLICATION_KEY" {
                *value = "wrong-canary".to_owned();
            }
        }
        let ended = place.run(&["check", "--json"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let steps = steps(&ended);
        assert_eq!(green(&steps), ["config"]);
        let detail = steps[1]["detail"].as_str().expect("text");
        assert!(detail.contains("SignatureDoesNotMatch"), "{detail}");
        assert!(
            steps[2..]
                .iter()
                .all(|step| step["detail"] == "skipped: connect failed")
        );
        assert!(!ended.text().contains("canary") && !ended.stderr.contains("canary"));
        let told = place.run(&["check"]);
        assert_eq!(
            (told.code, told.text().matches('✗').count()),
            (Some(1), 8),
            "{told:?}"
        );
    }
}

#[tokio::test]
async fn a_check_that_fails_in_the_middle_still_cleans_up() {
    let key = AccessKey::new("reader-key", "reader-application-key");
    let key = key.without(Capability::ReadFiles);
    let mut place = Place::with_s3("hybrid", Options::b2().access_key(key)).await;
    for (name, value) in &mut place.settings {
        match *name {
            "S3_KEY_ID" => *value = "reader-key".to_owned(),
            "S3_APPLICATION_KEY" => *value = "reader-application-key".to_owned(),
            _ => {}
        }
    }
    let ended = place.run(&["check", "--json"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let steps = steps(&ended);
    assert_eq!(green(&steps)[..3], ["config", "connect", "upload"]);
    assert_eq!(steps[3]["ok"], false, "{ended:?}");
    assert_eq!(steps[4]["detail"], "skipped: exists failed");
    assert_eq!(
        (place.stored_files(), place.s3().all_version_count()),
        (0, 0),
        "{ended:?}"
    );
}

#[tokio::test]
async fn an_interrupted_check_still_cleans_up() {
    let place = Place::with_s3("s3", Options::b2()).await;
    place
        .s3()
        .fault(Fault::new(Operation::GetObject, FaultAction::Hang));
    let child = place.command(&["check", "--json"]).spawn().expect("to run");
    for _ in 0..200 {
        if place.s3().count(Operation::GetObject) > 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    kill_process(Pid::from_child(&child), Signal::INT).expect("to interrupt");
    let ended = ended(child);
    assert_eq!(
        (ended.code, ended.error_code().as_str()),
        (Some(130), "interrupted"),
        "{ended:?}"
    );
    let objects = ended.objects();
    assert_eq!(objects[5]["detail"], "interrupted");
    assert_eq!(
        (&objects[8]["step"], &objects[8]["ok"]),
        (&json!("delete"), &json!(true))
    );
    assert_eq!(place.s3().all_version_count(), 0);
}

#[test]
fn a_url_for_an_unknown_port_is_refused() {
    let mut place = Place::local();
    place.run_with_stdin(&["put", "-", "models/a.stl"], b"bytes");
    place.settings = vec![("LISTEN", "127.0.0.1:0".to_owned())];
    let refused = place.run(&["sign", "models/a.stl", "--json"]);
    assert_eq!(
        (refused.code, refused.error_code().as_str()),
        (Some(1), "configuration")
    );
    place
        .settings
        .push(("PUBLIC_URL", "https://files.example".to_owned()));
    let signed = place.json(&["sign", "models/a.stl"]);
    let url = signed[0]["url"].as_str().expect("a URL");
    assert!(
        url.starts_with("https://files.example/files/models/a.stl?"),
        "{url}"
    );
}
