//! The server of a shop, in a process of its own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::place::Place;

pub(crate) struct Server {
    child: Child,
    url: String,
    key: String,
    client: reqwest::Client,
}

impl Server {
    pub(crate) async fn start(place: &Place) -> Self {
        let made = place.run(&["key", "create", "--role", "operator"]).only();
        let (child, url) = serve(place);
        Self {
            child,
            url,
            key: made["key"].as_str().unwrap().to_owned(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
        }
    }

    pub(crate) fn stop(mut self) {
        self.kill();
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts the next one after it was killed; clients find it where LISTEN says.
    pub(crate) fn start_again(&mut self, place: &Place) {
        (self.child, self.url) = serve(place);
    }

    /// Where it is reached, and with which key.
    pub(crate) fn access(&self) -> (String, String) {
        (self.url.clone(), self.key.clone())
    }

    /// The bytes under a key; none when there is no such object.
    pub(crate) async fn get(&self, key: &str) -> Option<Vec<u8>> {
        let response = self.call(Method::GET, key).send().await.unwrap();
        match response.status() {
            StatusCode::NOT_FOUND => None,
            StatusCode::OK => Some(response.bytes().await.unwrap().to_vec()),
            other => panic!("{key}: {other}: {:?}", response.text().await),
        }
    }

    pub(crate) async fn put(&self, key: &str, bytes: Vec<u8>) {
        let response = self
            .call(Method::PUT, key)
            .body(bytes)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::CREATED, "{key}");
    }

    pub(crate) async fn delete(&self, key: &str) {
        let response = self.call(Method::DELETE, key).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT, "{key}");
    }

    /// What it tells whoever watches it.
    pub(crate) async fn metrics(&self) -> String {
        let url = format!("{}/metrics", self.url);
        let response = self.client.get(url).send().await.unwrap();
        response.text().await.unwrap()
    }

    fn call(&self, method: Method, key: &str) -> reqwest::RequestBuilder {
        let path = key.replace(' ', "%20");
        let url = format!("{}/v1/objects/{path}?delivery=stream", self.url);
        self.client.request(method, url).bearer_auth(&self.key)
    }
}

/// Starts a server and waits until it listens; the process and its URL.
fn serve(place: &Place) -> (Child, String) {
    let mut command = place.command(&["serve"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    tokio::task::block_in_place(|| BufReader::new(stdout).read_line(&mut line)).unwrap();
    let said: Value = serde_json::from_str(&line).expect("the server began to listen");
    (
        child,
        format!("http://{}", said["address"].as_str().unwrap()),
    )
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
