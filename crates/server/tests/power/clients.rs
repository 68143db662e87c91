//! Clients that upload, replace and delete, and note what they are told.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use reqwest::RequestBuilder;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use stockroom_domain::Sha256Digest;

use crate::ledger::Ledger;
use crate::support::{answer, noise, repr_digest, stl};

/// How many files of one client lie on the disk at most.
const MOST_FILES: usize = 60;

/// How a client reaches the server.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    pub(crate) http: reqwest::Client,
    pub(crate) url: String,
    /// An operator's.
    pub(crate) key: String,
}

impl Access {
    fn call(&self, method: Method, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.url);
        self.http.request(method, url).bearer_auth(&self.key)
    }
}

/// One client. It does one thing after the other, and nobody else touches what is its own.
pub(crate) struct Client {
    name: String,
    access: Access,
    ledger: Arc<Ledger>,
    random: StdRng,
    model: String,
    /// The assets of the model by file name, oldest version first: id and key.
    assets: BTreeMap<String, Vec<(String, String)>>,
    objects: Vec<String>,
    made: u32,
}

impl Client {
    /// A client with a model of its own.
    pub(crate) async fn new(name: &str, access: Access, ledger: Arc<Ledger>, seed: u64) -> Self {
        let model = access
            .call(Method::POST, "/v1/models")
            .json(&json!({"title": name, "artist": name}));
        let model = answer(model).await.json(201);
        Self {
            name: name.to_owned(),
            access,
            ledger,
            random: StdRng::seed_from_u64(seed),
            model: model["id"].as_str().unwrap().to_owned(),
            assets: BTreeMap::new(),
            objects: Vec::new(),
            made: 0,
        }
    }

    /// Does one thing and waits until it is acknowledged.
    pub(crate) async fn step(&mut self) {
        let files = self.objects.len() + self.assets.values().map(Vec::len).sum::<usize>();
        let dice = if files >= MOST_FILES { 90 } else { 0 };
        match self.random.random_range(dice..100) {
            0..30 => self.put_asset().await,
            30..45 => self.post_form().await,
            45..70 => self.put_object().await,
            70..85 => self.replace_object().await,
            85..95 => self.delete_object().await,
            _ => self.delete_asset().await,
        }
    }

    async fn put_asset(&mut self) {
        let bytes = self.model_file();
        let filename = self.filename();
        self.ledger.send(Sha256Digest::of(&bytes));
        let path = format!("/v1/models/{}/assets/{filename}", self.model);
        let put = self
            .access
            .call(Method::PUT, &path)
            .header("repr-digest", repr_digest(&bytes))
            .body(bytes.clone());
        let asset = answer(put).await.json(201);
        self.note_asset(&asset, &bytes);
    }

    async fn post_form(&mut self) {
        let mut form = Form::new();
        let mut files = Vec::new();
        for _ in 0..self.random.random_range(1..=3) {
            let bytes = self.model_file();
            self.ledger.send(Sha256Digest::of(&bytes));
            let part = Part::stream(bytes.clone()).file_name(self.filename());
            form = form.part("file", part);
            files.push(bytes);
        }
        let path = format!("/v1/models/{}/assets", self.model);
        let post = self.access.call(Method::POST, &path).multipart(form);
        let assets = answer(post).await.json(201);
        let assets = assets["data"].as_array().unwrap();
        assert_eq!(assets.len(), files.len());
        for (asset, bytes) in assets.iter().zip(&files) {
            self.note_asset(asset, bytes);
        }
    }

    fn note_asset(&mut self, asset: &Value, bytes: &Bytes) {
        let text = |field: &str| asset[field].as_str().unwrap().to_owned();
        let digest = Sha256Digest::of(bytes);
        assert_eq!(text("sha256"), digest.to_string());
        self.ledger.acknowledge(&text("key"), Some(digest));
        let versions = self.assets.entry(text("filename")).or_default();
        versions.push((text("id"), text("key")));
    }

    async fn put_object(&mut self) {
        self.made += 1;
        // Most objects get directories of their own, so that names of directories are at stake too.
        let key = match self.made % 3 {
            0 => format!("images/{}/{}", self.name, self.made),
            1 => format!("thumbnails/{}/{}/object", self.name, self.made),
            _ => format!("temp/{}/{}/a/b/object", self.name, self.made),
        };
        self.put(&key).await;
        self.objects.push(key);
    }

    async fn replace_object(&mut self) {
        match self.random_object() {
            Some(at) => self.put(&self.objects[at].clone()).await,
            None => self.put_object().await,
        }
    }

    async fn put(&mut self, key: &str) {
        let size_bytes = self.random.random_range(0..30_000);
        let bytes = noise(size_bytes, self.random.random());
        let content = Some(Sha256Digest::of(&bytes));
        self.ledger.begin(key, content);
        let path = format!("/v1/objects/{key}");
        let put = self.access.call(Method::PUT, &path).body(bytes);
        let object = answer(put).await.json(201);
        assert_eq!(object["key"], key);
        self.ledger.acknowledge(key, content);
    }

    async fn delete_object(&mut self) {
        let Some(at) = self.random_object() else {
            return self.put_object().await;
        };
        let key = self.objects.swap_remove(at);
        self.ledger.begin(&key, None);
        let path = format!("/v1/objects/{key}");
        let deleted = answer(self.access.call(Method::DELETE, &path)).await;
        assert_eq!(deleted.status, 204);
        self.ledger.acknowledge(&key, None);
    }

    /// Deletes the newest version of a file, and with it the older ones.
    async fn delete_asset(&mut self) {
        let Some((_, versions)) = self.assets.pop_last() else {
            return self.put_asset().await;
        };
        for (_, key) in &versions {
            self.ledger.begin(key, None);
        }
        let (newest, _) = versions.last().unwrap();
        let path = format!("/v1/assets/{newest}");
        let deleted = answer(self.access.call(Method::DELETE, &path)).await;
        assert_eq!(deleted.status, 204);
        for (_, key) in &versions {
            self.ledger.acknowledge(key, None);
        }
    }

    fn random_object(&mut self) -> Option<usize> {
        let count = self.objects.len();
        (count > 0).then(|| self.random.random_range(0..count))
    }

    /// One of a few names, so that there are versions.
    fn filename(&mut self) -> String {
        format!("part-{}.stl", self.random.random_range(0..5))
    }

    /// Now and then a file of several chunks, else a small one.
    fn model_file(&mut self) -> Bytes {
        let triangles = match self.random.random_range(0..40) {
            0 => 25_000,
            _ => self.random.random_range(1..400),
        };
        stl(triangles, self.random.random())
    }
}
