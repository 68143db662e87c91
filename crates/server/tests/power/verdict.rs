//! What is left after a power cut, and whether that is right.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use stockroom::app::App;
use stockroom::assemble::assemble;
use stockroom::config::{Config, Environment};
use stockroom::http::routes::router;
use stockroom::workers::engine;
use stockroom_catalog::{ObjectRow, Page};
use stockroom_domain::{KeyPrefix, Sha256Digest, SystemEntropy};
use tower::ServiceExt as _;

use crate::ledger::{Content, Record};
use crate::server::Settings;
use crate::support::{STORE_ID, TestClock, collect_files};

/// How far the clock is set forward for the sweep: all leases are over by then.
const LATER_S: i64 = 6 * 3_600;

/// What was found on the disks after power cuts.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// How many acknowledged objects were read.
    pub(crate) objects: usize,
    /// How many acknowledged deletions were looked for.
    pub(crate) deletions: usize,
    /// What was acknowledged and is not so any more.
    pub(crate) lost: Vec<String>,
    /// What nobody owns, or what breaks another promise.
    pub(crate) wrong: Vec<String>,
}

/// What is wrong with a key, each named once.
type Problems = BTreeMap<String, String>;

impl Verdict {
    fn of(record: &Record, mut problems: Problems) -> Self {
        let mut verdict = Self::default();
        for (key, known) in record.keys() {
            match known.certain() {
                Some(Some(_)) => verdict.objects += 1,
                Some(None) => verdict.deletions += 1,
                // It was under way when the power was cut, and is neither the one nor the other.
                None => {
                    verdict.wrong.extend(problems.remove(key));
                    continue;
                }
            }
            verdict.lost.extend(problems.remove(key));
        }
        verdict
    }

    /// Adds that of another cut.
    pub(crate) fn add(&mut self, other: Self) {
        self.objects += other.objects;
        self.deletions += other.deletions;
        self.lost.extend(other.lost);
        self.wrong.extend(other.wrong);
    }
}

/// Starts Stockroom on what a power cut left, first as it is, then after the engine did all that
/// is due hours later.
pub(crate) async fn judge(
    settings: &Settings,
    storage_dir: &Path,
    operator_key: &str,
    record: &Record,
) -> Verdict {
    let clock = Arc::new(TestClock::default());
    let environment = Environment {
        vars: settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.into()))
            .collect(),
        working_dir: storage_dir.to_owned(),
        ..Environment::default()
    };
    let config = Config::load(&environment).unwrap().config;
    let url = config.http.public_url(config.http.listen);
    let entropy = Arc::new(SystemEntropy);
    let app = assemble(&config, &url, Arc::<TestClock>::clone(&clock), entropy)
        .await
        .expect("Stockroom does not start after the power cut");
    let shop = Shop {
        router: router(app.clone()),
        authorization: format!("Bearer {operator_key}"),
    };
    let mut problems = Problems::new();
    shop.compare(record, "at once", &mut problems).await;
    clock.set_offset_s(LATER_S);
    while engine::round(&app).await {}
    shop.compare(record, "after the sweep", &mut problems).await;
    let mut verdict = Verdict::of(record, problems);
    find_strangers(&app, &shop, storage_dir, record, &mut verdict).await;
    shop.is_in_business(&mut verdict).await;

    drop(shop);
    app.shutdown.cancel();
    app.tasks.close();
    app.tasks.wait().await;
    app.catalog.close().await;
    verdict
}

struct Shop {
    router: Router,
    authorization: String,
}

impl Shop {
    /// Reads every key that clients know of and compares it with what they were told.
    async fn compare(&self, record: &Record, when: &str, problems: &mut Problems) {
        for (key, known) in record.keys() {
            let found = self.read(key).await;
            if found.is_ok_and(|content| known.possible().contains(&content)) {
                continue;
            }
            let problem = format!("{when}, {key}: {found:?}, but {known:?}");
            problems.entry(key.clone()).or_insert(problem);
        }
    }

    /// What lies under the key, or the status that was the answer.
    async fn read(&self, key: &str) -> Result<Content, Unreadable> {
        match self.call(Method::GET, key, Body::empty()).await {
            Ok((StatusCode::OK, bytes)) => Ok(Some(Sha256Digest::of(&bytes))),
            Ok((StatusCode::NOT_FOUND, _)) => Ok(None),
            Ok((status, _)) => Err(Unreadable::Status(status)),
            Err(unreadable) => Err(unreadable),
        }
    }

    async fn call(
        &self,
        method: Method,
        key: &str,
        body: Body,
    ) -> Result<(StatusCode, Bytes), Unreadable> {
        let request = Request::builder()
            .method(method)
            .uri(format!("/v1/objects/{key}"))
            .header("host", "127.0.0.1")
            .header("authorization", &self.authorization)
            .body(body)
            .unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        match axum::body::to_bytes(response.into_body(), usize::MAX).await {
            Ok(bytes) => Ok((status, bytes)),
            Err(_) => Err(Unreadable::Cut),
        }
    }

    /// The power is back, so customers come.
    async fn is_in_business(&self, verdict: &mut Verdict) {
        let (key, bytes) = ("models/after/the-cut", b"the power is back");
        let put = self.call(Method::PUT, key, Body::from(bytes.as_slice()));
        let put = put.await.map(|(status, _)| status);
        let found = self.read(key).await;
        if put != Ok(StatusCode::CREATED) || found != Ok(Some(Sha256Digest::of(bytes))) {
            let problem = format!("a new object: {put:?}, and then {found:?}");
            verdict.wrong.push(problem);
        }
    }
}

/// Why bytes that should be there cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unreadable {
    Status(StatusCode),
    Cut,
}

/// Looks for objects that nobody sent or that cannot be read, and for files that no object has.
async fn find_strangers(
    app: &App,
    shop: &Shop,
    storage_dir: &Path,
    record: &Record,
    verdict: &mut Verdict,
) {
    let mut locations = BTreeSet::new();
    for object in live_objects(app).await {
        match shop.read(object.key.as_str()).await {
            Ok(Some(digest)) if digest == object.sha256 && record.sent.contains(&digest) => {}
            found => {
                let problem = format!("{} is live and reads {found:?}", object.key);
                verdict.wrong.push(problem);
            }
        }
        locations.insert(PathBuf::from(object.location.as_str()));
    }
    for file in object_files(storage_dir) {
        let path = file.strip_prefix(storage_dir).unwrap();
        if !locations.contains(path) {
            verdict
                .wrong
                .push(format!("{} is an orphan", path.display()));
        }
    }
}

async fn live_objects(app: &App) -> Vec<ObjectRow> {
    let everything: KeyPrefix = "".parse().unwrap();
    let mut page = Page::first(Page::MAX_LIMIT);
    let mut objects = Vec::new();
    loop {
        let found = app.catalog.list_objects(&everything, &page).await.unwrap();
        objects.extend(found.items);
        match found.next {
            Some(next) => page.after = Some(next),
            None => return objects,
        }
    }
}

/// All files in the folder of a store, staged ones too, but the one that tells whose it is.
pub(crate) fn object_files(storage_dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect_files(storage_dir, &mut files);
    files.retain(|file| !file.ends_with(STORE_ID));
    files.sort();
    files
}
