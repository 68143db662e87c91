//! `stockroom signing-key` with the real binary, and with a real server that honours the links.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, ending with a panic is how it fails"
)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use stockroom_domain::{Entropy, SeededEntropy};
use tempfile::TempDir;

/// A key of 37 characters that stands in the place of a secret.
const SECRET: &str = "canary-canary-canary-canary-canary-ca";

/// What the server logs.
const LOG: &str = "server.log";

/// A folder of its own, in which the program runs.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_stockroom"));
        command
            .args(arguments)
            .env_clear()
            .env("LISTEN", "127.0.0.1:0")
            .current_dir(self.0.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        ended(
            self.command(arguments)
                .output()
                .expect("to run the program"),
        )
    }

    fn objects(&self, arguments: &[&str]) -> Vec<Value> {
        let (code, stdout, stderr) = self.run(&[arguments, &["--json"]].concat());
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
        objects(&stdout)
    }

    /// The ids of the keys, the one that signs first.
    fn kids(&self) -> Vec<String> {
        let listed = self.objects(&["signing-key", "list"]);
        for (index, key) in listed.iter().enumerate() {
            assert_eq!(key["signs"], index == 0, "{listed:?}");
        }
        let kid = |key: &Value| key["kid"].as_str().expect("an id").to_owned();
        listed.iter().map(kid).collect()
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("data/signing-keys")
    }

    fn secrets(&self) -> Vec<String> {
        let content = fs::read_to_string(self.file()).expect("the file");
        let entries = content.trim_end().split(',');
        let secret = |entry: &str| entry.split_once(':').expect("a colon").1.to_owned();
        entries.map(secret).collect()
    }

    /// What the program says when it refuses.
    fn refused(&self, arguments: &[&str], exit: i32) -> Value {
        let (code, stdout, _) = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(code, Some(exit), "{stdout}");
        objects(&stdout)[0]["error"].clone()
    }
}

fn ended(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn objects(stdout: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    stdout.lines().map(parse).collect()
}

#[test]
fn keys_are_listed_exchanged_and_retired_without_their_secrets() {
    let place = Place::new();
    assert!(place.kids().is_empty());
    assert!(!place.file().exists(), "a list makes no key");
    let first = place.objects(&["signing-key", "rotate"]);
    assert_eq!(first, [json!({"kid": "k1", "signs": true})]);
    for _ in 0..3 {
        place.objects(&["signing-key", "rotate"]);
    }
    assert_eq!(place.kids(), ["k4", "k3", "k2", "k1"]);
    let mode = fs::metadata(place.file())
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);

    let signs = place.refused(&["signing-key", "retire", "k4"], 1);
    assert!(
        signs["fix"].as_str().expect("a fix").contains("rotate"),
        "{signs}"
    );
    let unknown = place.refused(&["signing-key", "retire", SECRET], 1);
    assert_eq!(unknown["code"], "not_found");
    assert!(!unknown.to_string().contains("canary"), "{unknown}");
    for arguments in [&["retire"][..], &["retire", "k1", "--old"], &["exchange"]] {
        let (code, ..) = place.run(&[&["signing-key"], arguments].concat());
        assert_eq!(code, Some(2), "{arguments:?}");
    }
    let retired = place.objects(&["signing-key", "retire", "k2"]);
    assert_eq!(retired, [json!({"kid": "k2", "retired": true})]);
    assert_eq!(place.kids(), ["k4", "k3", "k1"]);

    let before = place.secrets();
    let shown = [
        place.run(&["signing-key", "rotate"]),
        place.run(&["signing-key", "list"]),
        place.run(&["signing-key", "retire", "--old"]),
    ];
    assert!(shown.iter().all(|(code, ..)| *code == Some(0)), "{shown:?}");
    assert!(shown[0].2.contains("SIGHUP"), "{shown:?}");
    for secret in before.iter().chain(&place.secrets()) {
        assert!(!format!("{shown:?}").contains(secret), "a secret was shown");
    }
    assert_eq!(place.kids(), ["k5"]);
}

#[test]
fn keys_that_are_set_elsewhere_are_exchanged_there() {
    let place = Place::new();
    place.objects(&["signing-key", "rotate"]);
    let before = fs::read(place.file()).expect("the file");
    let variable = |arguments: &[&str]| {
        let mut command = place.command(&[&["signing-key"], arguments, &["--json"]].concat());
        let command = command.env("SIGNING_KEYS", format!("new:{SECRET},old:{SECRET}"));
        ended(command.output().expect("to run the program"))
    };
    for arguments in [&["rotate"][..], &["retire", "old"], &["retire", "--old"]] {
        let (code, stdout, stderr) = variable(arguments);
        assert_eq!((code, stderr.as_str()), (Some(2), ""), "{stdout}");
        let error = &objects(&stdout)[0]["error"];
        let detail = error["detail"].as_str().expect("a detail");
        assert!(detail.contains("(environment)"), "{error}");
        let fix = error["fix"].as_str().expect("a fix");
        assert!(fix.contains("where SIGNING_KEYS is set"), "{error}");
        assert!(!stdout.contains("canary"), "a secret was shown");
    }
    let (_, stdout, _) = variable(&["list"]);
    let kids: Vec<_> = objects(&stdout)
        .iter()
        .map(|key| key["kid"].clone())
        .collect();
    assert_eq!(kids, ["new", "old"]);

    fs::write(
        place.0.path().join(".env"),
        format!("SIGNING_KEYS=k:{SECRET}\n"),
    )
    .expect("to write");
    let error = place.refused(&["signing-key", "rotate"], 2);
    assert!(
        error["detail"]
            .as_str()
            .expect("a detail")
            .contains(".env line 1"),
        "{error}"
    );
    assert_eq!(fs::read(place.file()).expect("the file"), before);
}

#[test]
fn programs_that_exchange_keys_at_once_lose_none() {
    let place = Place::new();
    let rotations: Vec<Child> = (0..8)
        .map(|_| {
            let mut command = place.command(&["signing-key", "rotate", "--json"]);
            command.spawn().expect("to run the program")
        })
        .collect();
    let mut made: Vec<String> = rotations
        .into_iter()
        .map(|child| {
            let (code, stdout, stderr) = ended(child.wait_with_output().expect("to wait"));
            assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
            objects(&stdout)[0]["kid"]
                .as_str()
                .expect("an id")
                .to_owned()
        })
        .collect();
    made.sort();
    let mut kept = place.kids();
    kept.sort();
    assert_eq!(
        kept,
        (1..=8)
            .map(|number| format!("k{number}"))
            .collect::<Vec<_>>()
    );
    assert_eq!(made, kept);
}

#[test]
fn a_kill_in_the_middle_leaves_every_key_that_was_told() {
    const SEED: u64 = 20;
    println!("seed {SEED}");
    let entropy = SeededEntropy::new(SEED);
    let place = Place::new();
    place.objects(&["signing-key", "rotate"]);
    let mut killed = 0;
    for _ in 0..60 {
        let before = place.secrets();
        let mut command = place.command(&["signing-key", "rotate", "--json"]);
        let mut child = command.spawn().expect("to run the program");
        let delay = u64::from(u16::from_le_bytes(entropy_bytes(&entropy))) % 12_000;
        std::thread::sleep(Duration::from_micros(delay));
        child.kill().expect("to kill it");
        let (code, stdout, _) = ended(child.wait_with_output().expect("to wait"));
        killed += u32::from(code.is_none());
        let after = place.secrets();
        assert!(after.ends_with(&before), "a key was lost");
        if let Some(key) = objects(&stdout).first() {
            assert_eq!(key["kid"], format!("k{}", after.len()));
            assert_eq!(after.len(), before.len() + 1);
        }
    }
    println!(
        "{killed} of 60 were killed, {} keys were made",
        place.secrets().len()
    );
    assert!(killed > 0);
    let last = place.objects(&["signing-key", "rotate"]);
    assert_eq!(
        last[0]["kid"],
        place.kids()[0],
        "what a kill left is in nobody's way"
    );
    let names = fs::read_dir(place.0.path().join("data")).expect("a folder");
    let hidden = names.filter(|name| {
        let name = name.as_ref().expect("a name").file_name();
        name.to_string_lossy().starts_with(".signing-keys")
    });
    assert_eq!(hidden.count(), 0);
}

fn entropy_bytes(entropy: &dyn Entropy) -> [u8; 2] {
    entropy.bytes()
}

/// A server that ends with the test.
struct Server {
    child: Child,
    url: String,
    key: String,
}

impl Server {
    fn start(place: &Place) -> Self {
        let key = place.objects(&["key", "create", "--role", "operator"]);
        let mut command = place.command(&["serve", "--json"]);
        let log = fs::File::create(place.0.path().join(LOG)).expect("a file");
        let mut child = command.stderr(log).spawn().expect("to run the program");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        Self {
            child,
            url: objects(&line)[0]["url"].as_str().expect("a URL").to_owned(),
            key: key[0]["key"].as_str().expect("a key").to_owned(),
        }
    }

    fn tell_to_read_again(&self) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        let pid = Pid::from_raw(pid).expect("a process");
        kill_process(pid, Signal::HUP).expect("to send a signal");
    }

    /// A link to the object, without the address of the server.
    async fn link(&self) -> String {
        let url = format!("{}/v1/objects/models/a.bin/signed-url", self.url);
        let answer = client().post(url).bearer_auth(&self.key).send().await;
        let answer: Value = answer.expect("an answer").json().await.expect("JSON");
        let link = answer["url"].as_str().expect("a link");
        link.strip_prefix(&self.url)
            .expect("a local link")
            .to_owned()
    }

    /// What a link gives.
    async fn follow(&self, link: &str) -> u16 {
        let answer = client().get(format!("{}{link}", self.url)).send().await;
        answer.expect("an answer").status().as_u16()
    }

    /// Waits until this key signs.
    async fn signs_with(&self, kid: &str) -> String {
        for _ in 0..200 {
            let link = self.link().await;
            if link.contains(&format!("kid={kid}&")) {
                return link;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{kid} does not sign");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, which the test has noticed then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn soon(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..200 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not soon: {what}");
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a client")
}

fn place_with_an_object() -> Place {
    let place = Place::new();
    fs::write(place.0.path().join("a.bin"), "some bytes").expect("to write a file");
    let (code, ..) = place.run(&["put", "a.bin", "models/a.bin", "-q"]);
    assert_eq!(code, Some(0));
    place
}

#[tokio::test]
async fn links_live_as_long_as_their_key() {
    let place = place_with_an_object();
    let server = Server::start(&place);
    let old = server.signs_with("k1").await;
    assert_eq!(server.follow(&old).await, 200);
    place.objects(&["signing-key", "rotate"]);
    drop(server);

    let server = Server::start(&place);
    let new = server.signs_with("k2").await;
    assert_eq!(server.follow(&old).await, 200, "the keys overlap");
    assert_eq!(server.follow(&new).await, 200);
    place.objects(&["signing-key", "retire", "k1"]);
    drop(server);

    let server = Server::start(&place);
    assert_eq!(server.follow(&old).await, 403, "it died with its key");
    assert_eq!(server.follow(&new).await, 200);
}

#[tokio::test]
async fn a_server_that_runs_reads_the_keys_again_when_it_is_told_to() {
    let place = place_with_an_object();
    let server = Server::start(&place);
    let old = server.signs_with("k1").await;
    place.objects(&["signing-key", "rotate"]);
    assert!(server.link().await.contains("kid=k1&"), "nobody told it");
    server.tell_to_read_again();
    let new = server.signs_with("k2").await;
    assert_eq!(server.follow(&old).await, 200, "the keys overlap");

    // A file that cannot be used changes nothing.
    let keys = fs::read(place.file()).expect("the file");
    fs::write(place.file(), "k3:short\n").expect("to write");
    server.tell_to_read_again();
    soon("it says so", || {
        let log = fs::read_to_string(place.0.path().join(LOG)).expect("the log");
        log.contains("the signing keys stay as they are")
    })
    .await;
    fs::write(place.file(), &keys).expect("to write");
    assert_eq!(server.follow(&new).await, 200);

    place.objects(&["signing-key", "retire", "--old"]);
    server.tell_to_read_again();
    for _ in 0..200 {
        if server.follow(&old).await == 403 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.follow(&old).await, 403, "it died with its key");
    assert_eq!(server.follow(&new).await, 200);
}
