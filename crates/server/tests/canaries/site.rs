//! A real server whose every secret is a canary, and whose every word is kept.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command as BlockingCommand, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chaos_s3::{AccessKey, ChaosS3, Options};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

use crate::database::{Database, Dialect};
use crate::evidence::{Evidence, Place, secret};

/// Everything, and once more by name what a library would say of requests.
const LOG: &str = "trace,stockroom=trace,aws_config=trace,aws_runtime=trace,aws_sdk_s3=trace,\
    aws_sigv4=trace,aws_smithy_runtime=trace,aws_smithy_http_client=trace,h2=trace,hyper=trace,\
    hyper_util=trace,reqwest=trace,rustls=trace,sqlx=trace,tower=trace,tower_http=trace";

/// What a Stockroom is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// Whether there is a bucket beside the folder.
    pub(crate) is_hybrid: bool,
    pub(crate) dialect: Dialect,
    /// `text` or `json`.
    pub(crate) log_format: &'static str,
}

/// A place where a Stockroom lives, the one that runs there, and what it showed.
pub(crate) struct Site {
    pub(crate) kind: Kind,
    pub(crate) evidence: Evidence,
    /// The S3 server that it uses, or one that it never speaks to.
    pub(crate) chaos: ChaosS3,
    pub(crate) standard_secret: String,
    pub(crate) stripe_secret: String,
    address: String,
    settings: Vec<(String, String)>,
    server: Child,
    stdout: BufReader<ChildStdout>,
    client: reqwest::Client,
    folder: TempDir,
    _database: Database,
}

/// What was answered to a request.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) body: Vec<u8>,
    pub(crate) place: Place,
}

impl Answer {
    /// The body of an answer that must have this status.
    #[track_caller]
    pub(crate) fn json(&self, status: u16) -> Value {
        let body = String::from_utf8_lossy(&self.body);
        assert_eq!(self.status, status, "{}: {body}", self.place);
        serde_json::from_str(&body).unwrap()
    }
}

/// What a command printed.
pub(crate) struct Printed {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) place: Place,
}

impl Site {
    /// A running server.
    pub(crate) async fn create(kind: Kind) -> Self {
        // The clients need one, although nothing here is encrypted.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let database = Database::create(kind.dialect);
        let mut evidence = Evidence::default();

        // The id stands between slashes in what is signed, so it has none.
        let key_id = "canary-S3_KEY_ID-4f7a".to_owned();
        let application_key = secret("S3_APPLICATION_KEY");
        let key = AccessKey::new(&key_id, &application_key);
        let chaos = ChaosS3::start(Options::b2().access_key(key)).await.unwrap();
        evidence.watch("S3_KEY_ID", &key_id);
        evidence.watch("S3_APPLICATION_KEY", &application_key);
        let application_key_file = folder.path().join("application-key");
        fs::write(&application_key_file, format!("{application_key}\n")).unwrap();

        let signing_key = secret("SIGNING_KEYS-not-a-real-secret");
        evidence.watch("SIGNING_KEYS", &signing_key);
        let standard = secret("PURCHASE_WEBHOOK_SECRETS");
        evidence.watch("PURCHASE_WEBHOOK_SECRETS", &standard);
        let standard_secret = format!("whsec_{}", STANDARD.encode(&standard));
        let stripe_secret = format!("whsec_{}", secret("STRIPE_WEBHOOK_SECRETS"));
        evidence.watch("STRIPE_WEBHOOK_SECRETS", &stripe_secret);
        // One setting from each kind of source.
        fs::write(
            folder.path().join(".env"),
            format!("STRIPE_WEBHOOK_SECRETS={stripe_secret}\n"),
        )
        .unwrap();

        let mut settings: Vec<(String, String)> = [
            ("LISTEN", "127.0.0.1:0"),
            ("LOG", LOG),
            ("LOG_FORMAT", kind.log_format),
            ("SHUTDOWN_GRACE", "2s"),
            ("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.1"),
            ("S3_REGION", chaos.region()),
            ("S3_BUCKET", chaos.bucket()),
            ("S3_KEY_ID", &key_id),
            ("PURCHASE_WEBHOOK_SECRETS", &standard_secret),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let mut set = |name: &str, value: String| settings.push((name.to_owned(), value));
        set("DATA_DIR", data_dir.display().to_string());
        set("S3_ENDPOINT", chaos.endpoint());
        set(
            "S3_APPLICATION_KEY_FILE",
            application_key_file.display().to_string(),
        );
        set(
            "DATABASE_URL",
            database_url(&database, &data_dir, &mut evidence),
        );
        if kind.is_hybrid {
            set("STORAGE_MODE", "hybrid".to_owned());
            set("HYBRID_READ", "s3-first".to_owned());
            set("SIGNING_KEYS", format!("k1:{signing_key}"));
        } else {
            let file = data_dir.join("signing-keys");
            fs::create_dir(&data_dir).unwrap();
            fs::write(&file, format!("k1:{signing_key}\n")).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        }
        // What other programs are given, and what was meant for this one under another name.
        for name in [
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
            "STRIPE_API_KEY",
            "S3_SECRET_KEY",
            "S3_APPLICATION_KEYS",
            "STORAGE_PASSWORD",
            "PGPASSWORD",
            "RUST_LOG",
        ] {
            evidence.watch(name, &secret(name));
            set(name, secret(name));
        }
        evidence.watch("HTTPS_PROXY", &secret("HTTPS_PROXY"));
        let proxy = format!("http://user:{}@127.0.0.1:9", secret("HTTPS_PROXY"));
        set("HTTPS_PROXY", proxy);

        let (server, stdout, address) = start(&settings, &folder, &mut evidence).await;
        Self {
            kind,
            evidence,
            chaos,
            standard_secret,
            stripe_secret,
            address,
            settings,
            server,
            stdout,
            client: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .timeout(Duration::from_secs(30))
                .build()
                .unwrap(),
            folder,
            _database: database,
        }
    }

    /// Where the server is reached, such as `127.0.0.1:8080`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// A request to a path of the server.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.fetch(method, &format!("http://{}{path}", self.address))
    }

    /// A request to any URL.
    pub(crate) fn fetch(&self, method: Method, url: &str) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends a request and keeps the whole answer.
    pub(crate) async fn send(&mut self, what: &str, request: RequestBuilder) -> Answer {
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let mut shown = format!("{status}\n").into_bytes();
        for (name, value) in &headers {
            shown.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\n"].concat());
        }
        // One that is cut off, because no copy is left, has shown what came before.
        let body = response.bytes().await.unwrap_or_default().to_vec();
        shown.extend(&body);
        let location = headers
            .get("location")
            .map(|value| value.to_str().unwrap().to_owned());
        Answer {
            status,
            location,
            body,
            place: self.evidence.add(&format!("the answer to {what}"), shown),
        }
    }

    /// Sends bytes as they are, and keeps what comes back until the connection ends.
    pub(crate) async fn raw(&mut self, what: &str, bytes: &[u8]) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        // The server may answer and leave before it has read everything.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut received = Vec::new();
        let reading = stream.read_to_end(&mut received);
        let _ = tokio::time::timeout(Duration::from_secs(10), reading)
            .await
            .expect("an end of the connection");
        self.evidence
            .add(&format!("the answer to {what}"), received);
    }

    /// Runs a command where the server lives, and keeps what it prints.
    pub(crate) fn run(&mut self, arguments: &[&str]) -> Printed {
        let output = command(&self.settings, &self.folder)
            .args(arguments)
            .output()
            .unwrap();
        let what = arguments.join(" ");
        let place = self
            .evidence
            .add(&format!("stdout of {what}"), output.stdout.clone());
        self.evidence
            .add(&format!("stderr of {what}"), output.stderr);
        Printed {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            place,
        }
    }

    /// Changes a setting for the commands that are run from now on.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Tells the server to read its signing keys again.
    pub(crate) fn reload(&self) {
        self.signal("-HUP");
    }

    /// Ends the server in its own way, keeps the rest of what it said, and returns its log.
    pub(crate) async fn end(mut self) -> (Evidence, String) {
        self.signal("-TERM");
        let mut rest = Vec::new();
        self.stdout.read_to_end(&mut rest).await.unwrap();
        let ended = self.server.wait().await.unwrap();
        assert!(ended.success(), "{ended}");
        self.evidence.add("stdout of the server", rest);
        let log = fs::read_to_string(log_file(&self.folder)).unwrap();
        self.evidence.add("the log", log.clone());
        (self.evidence, log)
    }

    fn signal(&self, signal: &str) {
        let pid = self.server.id().expect("a process").to_string();
        let told = BlockingCommand::new("kill").args([signal, &pid]).status();
        assert!(told.unwrap().success());
    }
}

/// The address of the database. Its password is watched; a server that asks for none is given one.
fn database_url(
    database: &Database,
    data_dir: &std::path::Path,
    evidence: &mut Evidence,
) -> String {
    let url = database.url(data_dir);
    let Some(address) = url.strip_prefix("postgres://") else {
        return url;
    };
    let (who, place) = address.split_once('@').expect("a user");
    let (user, password) = match who.split_once(':') {
        Some((user, password)) => (user, password.to_owned()),
        None => (who, "canary-DATABASE_URL-4f7a".to_owned()),
    };
    evidence.watch("DATABASE_URL", &password);
    format!("postgres://{user}:{password}@{place}")
}

fn log_file(folder: &TempDir) -> PathBuf {
    folder.path().join("log")
}

fn command(settings: &[(String, String)], folder: &TempDir) -> BlockingCommand {
    let mut command = BlockingCommand::new(env!("CARGO_BIN_EXE_stockroom"));
    command
        .env_clear()
        .envs(settings.iter().cloned())
        .current_dir(folder.path())
        .stdin(Stdio::null());
    command
}

/// Starts a server and waits until it listens.
async fn start(
    settings: &[(String, String)],
    folder: &TempDir,
    evidence: &mut Evidence,
) -> (Child, BufReader<ChildStdout>, String) {
    let log = File::create(log_file(folder)).unwrap();
    let mut child = Command::from(command(settings, folder))
        .args(["serve", "--json"])
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).await.unwrap();
    evidence.add("the first line of the server", line.clone());
    let said: Value = serde_json::from_str(&line).unwrap_or_else(|error| {
        let log = fs::read_to_string(log_file(folder)).unwrap_or_default();
        panic!("{error}: {line}: {log}")
    });
    let address = said["address"].as_str().expect("an address").to_owned();
    (child, stdout, address)
}
