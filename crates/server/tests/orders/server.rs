//! The real server, in a process that is killed and started again.

use std::process::{Command as BlockingCommand, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, watch};

use crate::database::{Database, Dialect};
use crate::signed;

/// A place where a Stockroom lives, and the one that runs there. All of it ends with its owner.
pub(crate) struct Site {
    /// The ids of the models on sale.
    pub(crate) models: Vec<String>,
    server: Mutex<Child>,
    address: watch::Sender<String>,
    settings: Vec<(String, String)>,
    key: String,
    client: reqwest::Client,
    folder: TempDir,
    _database: Database,
}

impl Site {
    /// A running server with three models.
    pub(crate) async fn create(dialect: Dialect) -> Self {
        // The clients need one, although nothing here is encrypted.
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("data");
        let database = Database::create(dialect);
        let mut settings = vec![
            ("DATABASE_URL".to_owned(), database.url(&data_dir)),
            ("DATA_DIR".to_owned(), data_dir.display().to_string()),
            ("LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
            ("LOG".to_owned(), "warn".to_owned()),
            (
                "WEBHOOK_ALLOWED_NETWORKS".to_owned(),
                "127.0.0.0/8".to_owned(),
            ),
        ];
        for (name, value) in signed::SETTINGS {
            settings.push((name.to_owned(), value.to_owned()));
        }
        let key = operator_key(&settings, &folder);
        let (server, address) = start(&settings, &folder).await;
        let mut site = Self {
            models: Vec::new(),
            server: Mutex::new(server),
            address: watch::Sender::new(address),
            settings,
            key,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            folder,
            _database: database,
        };
        for title in ["Helmet", "Dragon", "Vase"] {
            let body = json!({"title": title, "artist": "mia", "price": null});
            let request = site.call(reqwest::Method::POST, "/v1/models").json(&body);
            let model: Value = answer(request).await;
            site.models.push(model["id"].as_str().unwrap().to_owned());
        }
        site
    }

    /// Has a program told of purchases; what the messages are signed with.
    pub(crate) async fn connect(&self, url: &str) -> String {
        let body = json!({"url": url, "events": ["purchase.created", "purchase.refunded"]});
        let request = self.call(reqwest::Method::POST, "/v1/webhook-endpoints");
        let endpoint = answer(request.json(&body)).await;
        endpoint["secret"].as_str().unwrap().to_owned()
    }

    /// Where the server is reached: another place after each restart.
    pub(crate) fn address(&self) -> watch::Receiver<String> {
        self.address.subscribe()
    }

    /// Ends the server without a warning and starts the next one.
    pub(crate) async fn kill_and_restart(&self) {
        let mut server = self.server.lock().await;
        server.kill().await.unwrap();
        let (next, address) = start(&self.settings, &self.folder).await;
        *server = next;
        self.address.send_replace(address);
    }

    /// All purchases that are recorded.
    pub(crate) async fn purchases(&self) -> Vec<Value> {
        let mut purchases = Vec::new();
        let mut path = "/v1/purchases?limit=100".to_owned();
        loop {
            let page = answer(self.call(reqwest::Method::GET, &path)).await;
            purchases.extend(page["data"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => path = format!("/v1/purchases?limit=100&cursor={next}"),
                None => return purchases,
            }
        }
    }

    fn call(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}{path}", *self.address.borrow());
        self.client.request(method, url).bearer_auth(&self.key)
    }
}

async fn answer(request: reqwest::RequestBuilder) -> Value {
    let response = request.send().await.unwrap();
    let (status, body) = (response.status(), response.bytes().await.unwrap());
    assert!(
        status.is_success(),
        "{status}: {}",
        String::from_utf8_lossy(&body)
    );
    serde_json::from_slice(&body).unwrap()
}

/// Starts a server and waits until it listens; the process and its URL.
async fn start(settings: &[(String, String)], folder: &TempDir) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_stockroom"))
        .args(["serve", "--json"])
        .env_clear()
        .envs(settings.iter().cloned())
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().expect("a line");
    let said: Value = serde_json::from_str(&line).unwrap();
    let address = said["address"].as_str().expect(&line);
    let url = format!("http://{address}");
    (child, url)
}

/// Makes a key for an operator.
fn operator_key(settings: &[(String, String)], folder: &TempDir) -> String {
    let output = BlockingCommand::new(env!("CARGO_BIN_EXE_stockroom"))
        .args(["--json", "key", "create", "--role", "operator"])
        .env_clear()
        .envs(settings.iter().cloned())
        .current_dir(folder.path())
        .output()
        .unwrap();
    let key: Value = serde_json::from_slice(&output.stdout).unwrap();
    key["key"].as_str().expect("a key").to_owned()
}
