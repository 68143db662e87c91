//! A server that is told to stop: what it has given buyers stands in their receipts afterwards.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test, ending with a panic is how it fails"
)]

use std::path::Path;
use std::process::{Command as Once, Stdio};
use std::time::Duration;

use futures::StreamExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Enough for a batch to be waiting when the signal comes.
const DOWNLOADS: usize = 40;

struct Server {
    child: Child,
    url: String,
    client: reqwest::Client,
}

fn environment(folder: &Path) -> [(&'static str, String); 4] {
    [
        ("DATA_DIR", folder.join("data").display().to_string()),
        ("LISTEN", "127.0.0.1:0".to_owned()),
        ("SHUTDOWN_GRACE", "500ms".to_owned()),
        ("LOG", "warn".to_owned()),
    ]
}

fn stockroom(folder: &Path, arguments: &[&str]) -> Value {
    let output = Once::new(env!("CARGO_BIN_EXE_stockroom"))
        .args(arguments)
        .arg("--json")
        .env_clear()
        .envs(environment(folder))
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

impl Server {
    async fn start(folder: &Path) -> Self {
        // The process may have one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut child = Command::new(env!("CARGO_BIN_EXE_stockroom"))
            .args(["serve", "--json"])
            .env_clear()
            .envs(environment(folder))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = lines.next_line().await.unwrap().expect("that it listens");
        let said: Value = serde_json::from_str(&said).unwrap();
        Self {
            child,
            url: format!("http://{}", said["address"].as_str().unwrap()),
            client: reqwest::Client::builder()
                .no_proxy()
                .timeout(Duration::from_secs(30))
                .build()
                .unwrap(),
        }
    }

    async fn call(&self, key: &str, method: &str, path: &str, body: Value) -> Value {
        let response = self
            .client
            .request(method.parse().unwrap(), format!("{}{path}", self.url))
            .bearer_auth(key)
            .json(&body)
            .send()
            .await
            .unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{method} {path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    fn get(&self, key: &str, path: &str) -> reqwest::RequestBuilder {
        self.client
            .get(format!("{}{path}", self.url))
            .bearer_auth(key)
    }

    /// Tells the server to stop, and waits until it has.
    async fn stop(mut self) {
        let pid = self.child.id().expect("a process").to_string();
        let told = Once::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(told.success());
        assert!(self.child.wait().await.unwrap().success());
    }
}

/// A binary STL that does not fit into the buffers on the way.
fn large_stl() -> Vec<u8> {
    let triangles: u32 = 600_000;
    let mut file = vec![b' '; 80];
    file.extend(triangles.to_le_bytes());
    let triangle = [
        0.0_f32, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0,
    ];
    let mut bytes: Vec<u8> = triangle.iter().flat_map(|it| it.to_le_bytes()).collect();
    bytes.extend([0, 0]);
    file.extend(bytes.repeat(triangles as usize));
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_given_is_lost_on_shutdown() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let operator = stockroom(folder, &["key", "create", "--role", "operator"]);
    let operator = operator["key"].as_str().unwrap();
    let buyer = ["key", "create", "--role", "buyer", "--subject", "ben"];
    let buyer = stockroom(folder, &buyer);
    let buyer = buyer["key"].as_str().unwrap();

    let server = Server::start(folder).await;
    let model = json!({"title": "Helmet", "artist": "mia"});
    let model = server.call(operator, "POST", "/v1/models", model).await;
    let model = model["id"].as_str().unwrap();
    let file = large_stl();
    let size = file.len() as u64;
    let upload = server
        .client
        .put(format!("{}/v1/models/{model}/assets/a.stl", server.url))
        .bearer_auth(operator)
        .body(file);
    let asset: Value = upload.send().await.unwrap().json().await.unwrap();
    let path = format!("/v1/assets/{}/download", asset["id"].as_str().unwrap());
    let purchase = json!({"buyer": "ben", "model": model, "order_ref": "1"});
    let purchase = server
        .call(operator, "POST", "/v1/purchases", purchase)
        .await;

    // One that nobody reads on, and then many small ones, the last of them just before the signal.
    let stalled = server.get(buyer, &path).send().await.unwrap();
    let mut stalled = stalled.bytes_stream();
    let mut received = 0;
    while received < 1_000 {
        received += stalled.next().await.unwrap().unwrap().len();
    }
    for _ in 0..DOWNLOADS {
        let part = server.get(buyer, &path).header("range", "bytes=100-199");
        let part = part.send().await.unwrap().bytes().await.unwrap();
        assert_eq!(part.len(), 100);
    }
    server.stop().await;
    drop(stalled);

    let server = Server::start(folder).await;
    let receipt = format!("/v1/purchases/{}/receipt", purchase["id"].as_str().unwrap());
    let receipt = server.get(operator, &receipt).send().await.unwrap();
    let receipt: Value = receipt.json().await.unwrap();
    let downloads = receipt["downloads"].as_array().unwrap();
    let grants: Vec<&Value> = downloads
        .iter()
        .flat_map(|download| download["grants"].as_array().unwrap())
        .collect();
    assert_eq!(grants.len(), DOWNLOADS + 1, "{receipt}");
    for grant in &grants[1..] {
        assert_eq!(grant["sent_bytes"], 100, "{grant}");
    }
    let cut = grants[0];
    let sent_bytes = cut["sent_bytes"].as_u64().expect("the end of the cut one");
    assert!(sent_bytes >= received as u64 && sent_bytes < size, "{cut}");
    server.stop().await;
}
