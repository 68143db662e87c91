//! Why can this buyer not download? Each link of the chain is broken for real, in every mode where
//! that makes a difference, and must be the one that is named, with what to do about it.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, ending with a panic is how it fails"
)]

#[path = "http/support.rs"]
#[expect(
    dead_code,
    reason = "the tests of the HTTP interface use the rest of it"
)]
mod support;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use chaos_s3::{AccessKey, ChaosS3, Fault, FaultAction, Operation, Options};
use http::Method;
use serde_json::{Value, json};
use stockroom::flows::explain::chain::{State, StepName};
use stockroom::flows::explain::{self, Question};
use stockroom::workers::identity;
use stockroom_catalog::{NewAsset, NewUpload, ObjectFacts, PlacementStep, ReceivedUpload};
use stockroom_domain::{
    AssetId, Category, Clock as _, Key, ObjectId, PlacementState, Sha256Digest, StoreName,
};
use stockroom_storage::{Store as _, WriteOptions};

use support::{Backend, Shop, Who, answer, stl};

const STEPS: [&str; 8] = [
    "purchase",
    "model",
    "asset",
    "record",
    "placements",
    "bytes",
    "link",
    "clock",
];

/// How the chain was found: one state for each link.
#[derive(Debug, Clone)]
struct Chain(Value);

impl Chain {
    /// Checks the form of an answer.
    #[track_caller]
    fn read(answer: Value) -> Self {
        let text = answer.to_string();
        for secret in ["X-Amz", "sig=", "exp=", "Signature="] {
            assert!(!text.contains(secret), "a signed URL was shown: {text}");
        }
        let steps = answer["steps"].as_array().expect("steps");
        let names: Vec<_> = steps.iter().map(|step| step["step"].clone()).collect();
        assert_eq!(names, STEPS, "{text}");
        for step in steps {
            let outcomes = step["assets"]
                .as_array()
                .into_iter()
                .flatten()
                .chain([step]);
            for outcome in outcomes {
                let (ok, state) = (&outcome["ok"], outcome["state"].as_str().expect("a state"));
                let (expected, has_fix) = match state {
                    "ok" => (json!(true), false),
                    "warning" => (json!(true), true),
                    "broken" | "unknown" => (json!(false), true),
                    "skipped" => (Value::Null, false),
                    other => panic!("{other}: {text}"),
                };
                assert_eq!(*ok, expected, "{outcome}");
                assert_eq!(outcome["fix"].is_string(), has_fix, "{outcome}");
                for field in ["detail", "fix"] {
                    let sentence = outcome[field].as_str().unwrap_or("Nothing.");
                    let is_sentence = sentence.ends_with('.') && !sentence.contains("..");
                    assert!(is_sentence && !sentence.contains("  "), "{sentence}");
                }
            }
        }
        let chain = Self(answer);
        let broken = chain.0["first_broken"].as_str();
        assert_eq!(chain.0["ok"], broken.is_none(), "{text}");
        match broken {
            Some(step) => {
                assert_eq!(chain.step(step)["ok"], false, "{text}");
                assert_eq!(chain.0["fix"], chain.step(step)["fix"], "{text}");
            }
            None => assert_eq!(chain.0["fix"], Value::Null, "{text}"),
        }
        chain
    }

    #[track_caller]
    fn step(&self, name: &str) -> &Value {
        let steps = self.0["steps"].as_array().expect("steps");
        steps
            .iter()
            .find(|step| step["step"] == name)
            .expect("it is there")
    }

    fn state(&self, name: &str) -> &str {
        self.step(name)["state"].as_str().expect("a state")
    }

    fn detail(&self, name: &str) -> &str {
        self.step(name)["detail"].as_str().expect("a detail")
    }

    fn fix(&self) -> &str {
        self.0["fix"].as_str().unwrap_or_default()
    }

    /// Nothing keeps the buyer from downloading. What cannot be reached from elsewhere, as in every
    /// test, is said of the link.
    #[track_caller]
    fn assert_whole(&self, warnings: &[&str]) {
        assert_eq!(self.0["first_broken"], Value::Null, "{:#}", self.0);
        for name in STEPS {
            let expected = if warnings.contains(&name) || name == "link" {
                "warning"
            } else {
                "ok"
            };
            assert_eq!(self.state(name), expected, "{:#}", self.0);
        }
    }

    /// This link is the first to mend, and the fix says this.
    #[track_caller]
    fn assert_broken(&self, step: &str, state: &str, fix: &str) {
        assert_eq!(self.0["first_broken"], step, "{:#}", self.0);
        assert_eq!(self.state(step), state, "{:#}", self.0);
        assert!(self.fix().contains(fix), "{fix}: {}", self.fix());
    }
}

/// A shop that sold a published model with one file.
struct Sale {
    shop: Shop,
    model: String,
    asset: Value,
    purchase: String,
}

impl Sale {
    async fn of(backend: Backend) -> Self {
        Self::with(backend, &[]).await
    }

    async fn with(backend: Backend, settings: &[(&str, &str)]) -> Self {
        let shop = Shop::start_with(backend, settings).await;
        identity::settle_all(&shop.app).await;
        let model = shop.published_model().await;
        let asset = shop.put_asset(&model, "helmet.stl", stl(100, 7)).await;
        let purchase = shop.sell(&model, "order-1").await;
        Self {
            shop,
            model,
            asset,
            purchase,
        }
    }

    async fn explain(&self) -> Chain {
        self.ask(&self.purchase, "").await
    }

    async fn explain_deep(&self) -> Chain {
        self.ask(&self.purchase, "?deep=true").await
    }

    async fn ask(&self, purchase: &str, query: &str) -> Chain {
        let path = format!("/v1/purchases/{purchase}/explain{query}");
        let answer = answer(self.shop.get(Who::Service, &path)).await;
        Chain::read(answer.json(200))
    }

    async fn call(&self, method: Method, path: &str) {
        let answer = answer(self.shop.call(Who::Operator, method, path)).await;
        assert!(matches!(answer.status, 200 | 204), "{path}: {answer:?}");
    }

    fn asset_path(&self) -> String {
        format!("/v1/assets/{}", self.asset["id"].as_str().unwrap())
    }

    async fn downloads(&self) -> u16 {
        let path = format!("{}/download?delivery=stream", self.asset_path());
        answer(self.shop.get(Who::Buyer, &path)).await.status
    }

    fn location(&self) -> &str {
        self.asset["key"].as_str().unwrap()
    }

    /// The file on disk.
    fn file(&self) -> PathBuf {
        self.shop.uploads_folder().join(self.location())
    }
}

/// A port of this machine that nobody listens on.
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_purchase_is_whole_in_every_mode() {
    for backend in Backend::ALL {
        let sale = Sale::of(backend).await;
        let before = sale.shop.traces().await;
        let chain = sale.explain().await;
        chain.assert_whole(&[]);
        assert_eq!(chain.0["order_ref"], "order-1");
        assert_eq!(chain.0["purchase"], sale.purchase);
        assert!(chain.detail("bytes").contains("is there with 5084 bytes"));
        assert!(!chain.detail("bytes").contains("was read"), "{chain:?}");
        let deep = sale.explain_deep().await;
        deep.assert_whole(&[]);
        let copies = if backend == Backend::Hybrid { 2 } else { 1 };
        let read = deep
            .detail("bytes")
            .matches("was read and has the recorded SHA-256");
        assert_eq!(read.count(), copies, "{deep:?}");
        assert_eq!(sale.shop.traces().await, before, "an answer leaves nothing");
        let purchase = answer(
            sale.shop
                .get(Who::Operator, &format!("/v1/purchases/{}", sale.purchase)),
        );
        assert_eq!(purchase.await.json(200)["downloads"], 0, "{backend:?}");
        assert_eq!(sale.downloads().await, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_that_ended_is_the_first_broken_link() {
    let sale = Sale::of(Backend::Local).await;
    let sell = async |body: Value| {
        let request = sale.shop.call(Who::Service, Method::POST, "/v1/purchases");
        let purchase = answer(request.json(&body)).await.json(201);
        purchase["id"].as_str().unwrap().to_owned()
    };
    let body = |order: &str| json!({"buyer": "eve", "model": sale.model, "order_ref": order});
    let mut used_up = body("order-2");
    used_up["download_limit"] = 0.into();
    let used_up = sell(used_up).await;
    let chain = sale.ask(&used_up, "").await;
    chain.assert_broken("purchase", "broken", "download_limit");
    assert!(chain.detail("purchase").contains("0 of 0"), "{chain:?}");

    let mut expiring = body("order-3");
    expiring["expires_at"] = sale
        .shop
        .clock
        .now()
        .after(Duration::from_secs(60))
        .to_string()
        .into();
    let expiring = sell(expiring).await;
    let allowed = sale.ask(&expiring, "").await;
    allowed.assert_whole(&[]);
    assert!(
        allowed.detail("purchase").contains("until 20"),
        "{allowed:?}"
    );
    let said = sale.ask(&used_up, "").await;
    said.assert_broken("purchase", "broken", "\"order-3\"");
    sale.shop.set_offset_s(61);
    let chain = sale.ask(&expiring, "").await;
    chain.assert_broken("purchase", "broken", "expires_at");
    // All that comes after it is looked at all the same.
    assert_eq!(chain.state("bytes"), "ok");

    sale.call(
        Method::POST,
        &format!("/v1/purchases/{}/refund", sale.purchase),
    )
    .await;
    let chain = sale.explain().await;
    chain.assert_broken("purchase", "broken", "If the refund was a mistake");
    assert!(
        chain
            .detail("purchase")
            .starts_with("It was refunded at 20")
    );
    assert_eq!(sale.downloads().await, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_is_named_and_can_be_restored() {
    let sale = Sale::with(Backend::Local, &[("DELETE_GRACE", "5m")]).await;
    let model = format!("/v1/models/{}", sale.model);
    sale.call(Method::DELETE, &model).await;
    let chain = sale.explain().await;
    chain.assert_broken("model", "broken", &format!("POST {model}/restore"));
    assert_eq!(chain.state("asset"), "broken");
    assert!(chain.detail("asset").contains("Deleted: helmet.stl"));
    for step in ["record", "placements", "bytes", "link"] {
        assert_eq!(chain.state(step), "skipped");
    }
    assert_eq!(chain.state("clock"), "ok");
    sale.shop.set_offset_s(301);
    sale.explain()
        .await
        .assert_broken("model", "broken", "refund the order");
    sale.shop.set_offset_s(0);
    sale.call(Method::POST, &format!("{model}/restore")).await;
    sale.explain().await.assert_whole(&[]);

    sale.call(Method::DELETE, &sale.asset_path()).await;
    let restore = format!("POST {}/restore", sale.asset_path());
    sale.explain()
        .await
        .assert_broken("asset", "broken", &restore);
    let asked = format!("?asset={}", sale.asset["id"].as_str().unwrap());
    let chain = sale.ask(&sale.purchase, &asked).await;
    chain.assert_broken("asset", "broken", &restore);

    // Another file is there, and the deleted one is named beside it.
    sale.shop
        .put_asset(&sale.model, "sword.stl", stl(10, 1))
        .await;
    let chain = sale.explain().await;
    chain.assert_whole(&[]);
    let expected = "sword.stl, version 1, is there. Deleted: helmet.stl.";
    assert_eq!(chain.detail("asset"), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn drafts_are_no_obstacle_and_a_model_without_files_is() {
    let sale = Sale::of(Backend::Local).await;
    let draft = sale.shop.draft_model().await;
    let purchase = sale.shop.sell(&draft, "order-2").await;
    let empty = sale.ask(&purchase, "").await;
    empty.assert_broken("asset", "broken", &format!("PUT /v1/models/{draft}/assets"));
    assert!(empty.detail("model").contains("is a draft"), "{empty:?}");
    let first = sale.shop.put_asset(&draft, "a.stl", stl(10, 1)).await;
    sale.shop.put_asset(&draft, "a.stl", stl(20, 2)).await;
    let chain = sale.ask(&purchase, "").await;
    chain.assert_whole(&[]);
    assert!(chain.detail("asset").contains("version 2"), "{chain:?}");

    let ask = async |id: &str| sale.ask(&purchase, &format!("?asset={id}")).await;
    let older = ask(first["id"].as_str().unwrap()).await;
    older.assert_whole(&[]);
    assert!(older.detail("asset").contains("version 1"), "{older:?}");
    let other = ask(sale.asset["id"].as_str().unwrap()).await;
    other.assert_broken("asset", "broken", "record one if it was paid");
    let nothing = AssetId::generate(sale.shop.clock.now(), &*sale.shop.app.entropy);
    let nothing = ask(&nothing.to_string()).await;
    nothing.assert_broken("asset", "broken", "one of the model's files");
}

/// Records a file whose chunk sums are these.
async fn record_with_sums(sale: &Sale, filename: &str, chunk_sums: Vec<u8>) -> AssetId {
    let app = &sale.shop.app;
    let (now, entropy) = (app.clock.now(), &*app.entropy);
    let bytes = Bytes::from_static(b"some bytes");
    let new = NewUpload {
        object_id: ObjectId::generate(now, entropy),
        key: Key::new(Category::Models, filename).unwrap(),
        content_type: "model/stl".to_owned(),
        metadata: std::collections::BTreeMap::new(),
        opened_at: now,
        lease_until: now,
    };
    let upload = app.catalog.open_upload(new).await.unwrap();
    let store = app.store(&StoreName::LOCAL).unwrap();
    let options = WriteOptions::default();
    store
        .put(&upload.location, bytes.clone(), options)
        .await
        .unwrap();
    let asset = NewAsset {
        id: AssetId::generate(now, entropy),
        model_id: sale.model.parse().unwrap(),
        filename: filename.parse().unwrap(),
        format: "stl".to_owned(),
        report: None,
        upload: ReceivedUpload {
            object_id: upload.object_id,
            facts: ObjectFacts {
                size_bytes: bytes.len() as u64,
                sha256: Sha256Digest::of(&bytes),
                chunk_sums,
            },
            placements: vec![(StoreName::LOCAL, PlacementState::Present)],
        },
    };
    let rows = app.catalog.record_assets(&[asset], now).await.unwrap();
    rows[0].id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_facts_do_not_fit_is_seen() {
    let sale = Sale::of(Backend::Local).await;
    let ask = async |id: AssetId| sale.ask(&sale.purchase, &format!("?asset={id}")).await;
    let download = async |id: AssetId| {
        let path = format!("/v1/assets/{id}/download");
        answer(sale.shop.get(Who::Buyer, &path)).await.status
    };
    let too_many = record_with_sums(&sale, "many.stl", vec![0; 8]).await;
    let chain = ask(too_many).await;
    chain.assert_broken("record", "broken", "upload the file again");
    assert_eq!(download(too_many).await, 502);
    let odd = record_with_sums(&sale, "odd.stl", vec![0; 3]).await;
    let chain = ask(odd).await;
    chain.assert_whole(&["record"]);
    assert_eq!(download(odd).await, 200, "the bytes are sent unchecked");

    // Of several files, those with something to say are listed.
    let chain = sale.explain().await;
    chain.assert_broken("record", "broken", "upload the file again");
    assert!(
        chain
            .detail("record")
            .starts_with("2 of 3 files: many.stl: ")
    );
    let assets = chain.step("record")["assets"].as_array().unwrap();
    let of = |asset: &Value| (asset["filename"].clone(), asset["state"].clone());
    let expected = [("odd.stl", "warning"), ("many.stl", "broken")];
    let expected = expected.map(|(name, state)| (json!(name), json!(state)));
    assert_eq!(assets.iter().map(of).collect::<Vec<_>>(), expected);
}

async fn step_placement(sale: &Sale, from: PlacementState, to: PlacementState) {
    let app = &sale.shop.app;
    let location: Key = sale.location().parse().unwrap();
    let object = app
        .catalog
        .find_object_by_location(&location)
        .await
        .unwrap();
    let step = PlacementStep {
        object_id: object.unwrap().object.id,
        store: &StoreName::LOCAL,
        from,
        to,
        error: Some("a sector cannot be read"),
    };
    app.catalog
        .step_placement(step, app.clock.now())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_that_are_doubted_or_owed_are_said_and_no_copy_at_all_is_broken() {
    use PlacementState::{Copying, Present, Suspect};
    for backend in [Backend::Local, Backend::Hybrid] {
        let sale = Sale::of(backend).await;
        step_placement(&sale, Present, Suspect).await;
        let chain = sale.explain().await;
        chain.assert_whole(&["placements"]);
        let detail = chain.detail("placements");
        assert!(detail.contains("doubted on local since 20"), "{detail}");
        assert!(detail.contains("(a sector cannot be read)"), "{detail}");
        step_placement(&sale, Suspect, Copying).await;
        let chain = sale.explain().await;
        assert!(
            chain
                .detail("placements")
                .contains("missing on local since 20")
        );
        if backend == Backend::Hybrid {
            chain.assert_whole(&["placements"]);
        } else {
            chain.assert_broken("placements", "broken", "stockroom verify --repair");
            assert_eq!(chain.state("bytes"), "skipped");
            assert_eq!(sale.downloads().await, 503);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_gone_cut_or_changed_on_disk_are_found() {
    let sale = Sale::of(Backend::Local).await;
    let content = fs::read(sale.file()).unwrap();
    let mut changed = content.clone();
    changed[1_000] ^= 1;
    fs::write(sale.file(), &changed).unwrap();
    sale.explain().await.assert_whole(&[]);
    let chain = sale.explain_deep().await;
    chain.assert_broken("bytes", "broken", "from a backup");
    assert!(
        chain.detail("bytes").contains("the bytes have the SHA-256"),
        "{chain:?}"
    );
    fs::write(sale.file(), &content[..1_000]).unwrap();
    let chain = sale.explain().await;
    chain.assert_broken("bytes", "broken", "from a backup");
    assert!(
        chain
            .detail("bytes")
            .contains("has 1000 bytes in place of 5084")
    );
    fs::remove_file(sale.file()).unwrap();
    let chain = sale.explain().await;
    chain.assert_broken("bytes", "broken", sale.location());
    assert_eq!(chain.detail("bytes"), "The copy on local is not there.");
    assert_eq!(chain.state("placements"), "ok", "an answer doubts nothing");
    fs::write(sale.file(), &content).unwrap();
    sale.explain_deep().await.assert_whole(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_gone_cut_or_changed_in_the_bucket_are_found() {
    let sale = Sale::of(Backend::S3).await;
    let chaos = sale.shop.chaos();
    let content = chaos.body(sale.location()).unwrap();
    assert!(chaos.corrupt(sale.location(), 1_000));
    sale.explain().await.assert_whole(&[]);
    let chain = sale.explain_deep().await;
    chain.assert_broken("bytes", "broken", "from a backup");
    assert_eq!(chain.state("link"), "skipped");
    chaos.plant(sale.location(), content.slice(..1_000));
    let chain = sale.explain().await;
    chain.assert_broken("bytes", "broken", "from a backup");
    assert!(
        chain
            .detail("bytes")
            .contains("has 1000 bytes in place of 5084")
    );
    assert!(chaos.remove(sale.location()));
    let chain = sale.explain().await;
    chain.assert_broken("bytes", "broken", sale.location());
    assert_eq!(chain.detail("bytes"), "The copy on s3 is not there.");
    chaos.plant(sale.location(), content);
    sale.explain_deep().await.assert_whole(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_copies_one_is_enough_and_the_other_one_is_said() {
    let sale = Sale::of(Backend::Hybrid).await;
    let chaos = sale.shop.chaos();
    fs::remove_file(sale.file()).unwrap();
    let chain = sale.explain().await;
    chain.assert_whole(&["bytes"]);
    let detail = "The copy on local is not there. The copy on s3 is there with 5084 bytes.";
    assert_eq!(chain.detail("bytes"), detail);
    let fix = chain.step("bytes")["fix"].as_str().unwrap();
    assert!(fix.contains("stockroom verify --repair"), "{fix}");
    assert!(chaos.corrupt(sale.location(), 1_000));
    sale.explain().await.assert_whole(&["bytes"]);
    sale.explain_deep()
        .await
        .assert_broken("bytes", "broken", "from a backup");
    assert!(chaos.remove(sale.location()));
    sale.explain()
        .await
        .assert_broken("bytes", "broken", "from a backup");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_does_not_answer_is_unknown_and_not_missing() {
    go_offline(Backend::S3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_bucket_that_does_not_answer_the_copy_on_disk_is_enough() {
    go_offline(Backend::Hybrid).await;
}

async fn go_offline(backend: Backend) {
    let sale = Sale::of(backend).await;
    sale.shop
        .put_asset(&sale.model, "sword.stl", stl(10, 1))
        .await;
    sale.shop.chaos().set_online(false).unwrap();
    // The second answer comes while the breaker is open.
    for _ in 0..2 {
        let chain = sale.explain().await;
        if backend == Backend::Hybrid {
            chain.assert_whole(&["bytes", "clock"]);
        } else {
            chain.assert_broken("bytes", "unknown", "stockroom doctor");
            assert_eq!(chain.state("link"), "skipped");
        }
        let detail = chain.detail("bytes");
        assert!(
            detail.contains("Whether s3 has it cannot be told"),
            "{detail}"
        );
        assert!(!detail.contains("not there"), "{detail}");
        assert_eq!(chain.state("clock"), "warning");
    }
    if backend == Backend::Hybrid {
        fs::remove_file(sale.file()).unwrap();
        let chain = sale.explain().await;
        chain.assert_broken("bytes", "unknown", "stockroom doctor");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_hangs_is_waited_for_once() {
    let sale = Sale::of(Backend::S3).await;
    for number in 0..11 {
        let name = format!("part-{number}.stl");
        sale.shop
            .put_asset(&sale.model, &name, stl(10, number))
            .await;
    }
    let hang = Fault::new(Operation::HeadObject, FaultAction::Hang);
    sale.shop.chaos().fault(hang.forever());
    sale.shop.chaos().clear_calls();
    let app = &sale.shop.app;
    let purchase = explain::find(app, "order-1").await.unwrap().unwrap();
    let question = Question {
        asset: None,
        max_read_bytes: None,
        patience: Duration::from_secs(1),
    };
    let explanation = explain::explain(app, purchase, question).await.unwrap();
    let broken = explanation
        .first_broken()
        .expect("a link that cannot be told");
    assert_eq!(
        (broken.name, broken.outcome.state),
        (StepName::Bytes, State::Unknown)
    );
    let detail = &broken.outcome.detail;
    assert!(
        detail.contains("there was no answer within 1 s"),
        "{detail}"
    );
    assert_eq!(broken.assets.len(), 12);
    // Those that were under way at the same time, and none after them.
    assert_eq!(sale.shop.chaos().count(Operation::HeadObject), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_off_is_what_to_mend() {
    for backend in [Backend::S3, Backend::Hybrid] {
        let sale = Sale::of(backend).await;
        sale.shop.chaos().set_clock_skew(120);
        let chain = sale.explain().await;
        chain.assert_whole(&["clock"]);
        assert!(
            chain.detail("clock").contains(" s behind the server's"),
            "{chain:?}"
        );
        sale.shop.chaos().set_clock_skew(1_200);
        let chain = sale.explain().await;
        if backend == Backend::Hybrid {
            chain.assert_whole(&["bytes", "clock"]);
            continue;
        }
        chain.assert_broken("clock", "broken", "timedatectl");
        // What the bucket refuses to tell is not said to be missing.
        assert_eq!(chain.state("bytes"), "unknown");
        assert!(
            chain.step("bytes")["fix"]
                .as_str()
                .unwrap()
                .contains("timedatectl")
        );
    }
    let sale = Sale::of(Backend::Local).await;
    sale.shop.set_offset_s(3_600);
    let early = sale.shop.sell(&sale.model, "order-2").await;
    sale.shop.set_offset_s(0);
    let chain = sale.ask(&early, "").await;
    chain.assert_whole(&["clock"]);
    assert!(chain.detail("clock").contains("s from now"), "{chain:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_bucket_does_not_take_is_said_with_its_reason() {
    let wrong = [("S3_APPLICATION_KEY", "not-the-secret-not-the-secret")];
    let sale = Sale::of(Backend::S3).await;
    let ended = sale
        .run_with(&wrong, &["explain", "order-1", "--json"])
        .await;
    ended
        .chain(1)
        .assert_broken("bytes", "unknown", "applicationKey");

    // The copy on disk is enough, but not for a link that the bucket should honour.
    let wrong = [wrong[0], ("HYBRID_READ", "s3-first")];
    let sale = Sale::of(Backend::Hybrid).await;
    let ended = sale
        .run_with(&wrong[..1], &["explain", "order-1", "--json"])
        .await;
    let chain = ended.chain(0);
    chain.assert_whole(&["bytes"]);
    assert!(
        chain.step("bytes")["fix"]
            .as_str()
            .unwrap()
            .contains("applicationKey")
    );
    let ended = sale
        .run_with(&wrong, &["explain", "order-1", "--json"])
        .await;
    ended
        .chain(1)
        .assert_broken("link", "broken", "applicationKey");

    // The key is right, and what stands at the public address does not take its signature.
    let start = async |secret: &str| {
        let key = AccessKey::new("the-key", secret);
        ChaosS3::start(Options::b2().access_key(key)).await.unwrap()
    };
    let (bucket, public) = (start("a-secret").await, start("another-secret").await);
    let (endpoint, public) = (bucket.endpoint(), public.endpoint());
    let settings = [
        ("S3_ENDPOINT", endpoint.as_str()),
        ("S3_PUBLIC_ENDPOINT", &public),
        ("S3_KEY_ID", "the-key"),
        ("S3_APPLICATION_KEY", "a-secret"),
    ];
    let chain = Sale::with(Backend::S3, &settings).await.explain().await;
    chain.assert_broken("link", "broken", "Host header");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_buyers_cannot_use_is_found_by_using_it() {
    let closed = format!("http://127.0.0.1:{}", closed_port());
    let setting = [("S3_PUBLIC_ENDPOINT", closed.as_str())];
    let sale = Sale::with(Backend::S3, &setting).await;
    let chain = sale.explain().await;
    chain.assert_broken("link", "broken", "S3_PUBLIC_ENDPOINT");
    assert!(
        chain.detail("link").contains("no connection can be made"),
        "{chain:?}"
    );
    assert!(
        !chain.detail("link").contains("through this server"),
        "{chain:?}"
    );

    // Links of this server do not lead there.
    Sale::with(Backend::Hybrid, &setting)
        .await
        .explain()
        .await
        .assert_whole(&[]);
    let first = [setting[0], ("HYBRID_READ", "s3-first")];
    let chain = Sale::with(Backend::Hybrid, &first).await.explain().await;
    chain.assert_broken("link", "broken", "S3_PUBLIC_ENDPOINT");
    assert!(
        chain.detail("link").contains("through this server"),
        "{chain:?}"
    );

    // Another server of the same kind, which does not have the file.
    let other = ChaosS3::start(Options::b2()).await.unwrap();
    let endpoint = other.endpoint();
    let sale = Sale::with(Backend::S3, &[("S3_PUBLIC_ENDPOINT", &endpoint)]).await;
    let chain = sale.explain().await;
    chain.assert_broken("link", "broken", "verify");
    assert!(chain.detail("link").contains("404 NoSuchKey"), "{chain:?}");
    other.plant(sale.location(), "other bytes");
    let chain = sale.explain().await;
    chain.assert_broken("link", "broken", "another server");

    let nowhere = [("PUBLIC_URL", "http://0.0.0.0:8080")];
    let sale = Sale::with(Backend::Local, &nowhere).await;
    sale.explain()
        .await
        .assert_broken("link", "broken", "PUBLIC_URL");
    let public = [("PUBLIC_URL", "https://files.example.com")];
    let chain = Sale::with(Backend::Local, &public).await.explain().await;
    assert_eq!(chain.state("link"), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_authority_is_trusted_for_links_too() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    let start = async || ChaosS3::start(Options::b2().tls()).await.unwrap();
    let (bucket, stranger) = (start().await, start().await);
    fs::write(&ca, bucket.ca_pem().expect("an authority")).unwrap();
    let endpoint = bucket.endpoint();
    let settings = [
        ("S3_ENDPOINT", endpoint.as_str()),
        ("S3_CA_FILE", ca.to_str().unwrap()),
    ];
    let sale = Sale::with(Backend::S3, &settings).await;
    let chain = sale.explain().await;
    chain.assert_whole(&[]);
    let clock = "The clock agrees with the server's.";
    assert_eq!(chain.detail("clock"), clock);

    // The same data, and an address whose certificate another authority has signed.
    let elsewhere = stranger.endpoint();
    let public = [settings[0], settings[1], ("S3_PUBLIC_ENDPOINT", &elsewhere)];
    let ended = sale
        .run_with(&public, &["explain", "order-1", "--json"])
        .await;
    let chain = ended.chain(1);
    chain.assert_broken("link", "broken", "certificate");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_work_is_bounded_and_what_was_left_out_is_said() {
    let sale = Sale::of(Backend::Local).await;
    for number in 0..explain::MAX_ASSETS {
        let name = format!("part-{number}.stl");
        sale.shop
            .put_asset(&sale.model, &name, stl(10, number.into()))
            .await;
    }
    let chain = sale.explain().await;
    chain.assert_whole(&[]);
    assert!(
        chain.detail("asset").starts_with("More than 20 files"),
        "{chain:?}"
    );
    let expected = "Every copy is there with its size (20 files).";
    assert_eq!(chain.detail("bytes"), expected);

    let app = &sale.shop.app;
    let purchase = explain::find(app, "order-1").await.unwrap().unwrap();
    let question = Question {
        asset: Some(sale.asset["id"].as_str().unwrap().parse().unwrap()),
        max_read_bytes: Some(5_083),
        patience: Question::PATIENCE,
    };
    let explanation = explain::explain(app, purchase, question).await.unwrap();
    assert!(explanation.first_broken().is_none());
    let bytes = &explanation.steps[5].outcome.detail;
    assert!(
        bytes.contains("was not read: one question reads at most 5083 bytes"),
        "{bytes}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shop_itself_is_answered_and_nobody_else() {
    let sale = Sale::of(Backend::Local).await;
    let path = format!("/v1/purchases/{}/explain", sale.purchase);
    for (who, status, code) in [
        (Who::Nobody, 401, "unauthenticated"),
        (Who::Artist, 403, "forbidden"),
        (Who::Buyer, 403, "forbidden"),
        (Who::Stranger, 403, "forbidden"),
    ] {
        let refused = answer(sale.shop.get(who, &path)).await;
        refused.assert_problem(status, code, &format!("{who:?}"));
    }
    for who in [Who::Service, Who::Operator] {
        let acting = sale.shop.get(who, &path).header("stockroom-act-as", "ben");
        let refused = answer(acting).await;
        refused.assert_problem(403, "forbidden", "for a user");
        assert_eq!(answer(sale.shop.get(who, &path)).await.status, 200);
    }
    for id in ["pur_0", "pur_01k0000000000000000000000x", &sale.model] {
        let unknown = sale
            .shop
            .get(Who::Operator, &format!("/v1/purchases/{id}/explain"));
        answer(unknown).await.assert_problem(404, "not_found", id);
    }
    for query in ["asset=nonsense", "deep=perhaps"] {
        let odd = sale.shop.get(Who::Operator, &format!("{path}?{query}"));
        answer(odd)
            .await
            .assert_problem(400, "invalid_request", query);
    }
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

    /// The chain that was printed, in the form of the HTTP answer.
    #[track_caller]
    fn chain(&self, code: i32) -> Chain {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        let mut objects = self.objects();
        let mut answer = objects.pop().expect("a summary")["summary"].clone();
        answer["steps"] = objects.into();
        Chain::read(answer)
    }
}

impl Sale {
    /// Runs the program beside the server, on the same data, with everything logged.
    async fn run_with(&self, settings: &[(&str, &str)], arguments: &[&str]) -> Ended {
        let data_dir = self.shop.uploads_folder();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_stockroom"));
        command
            .args(arguments)
            .env_clear()
            .current_dir(data_dir.parent().unwrap())
            .env("DATA_DIR", data_dir.parent().unwrap())
            .env("LISTEN", "127.0.0.1:0")
            .env("LOG", "trace")
            .envs(
                settings
                    .iter()
                    .copied()
                    .filter(|_| self.shop.chaos.is_none()),
            );
        if let Some(chaos) = &self.shop.chaos {
            let mode = match self.shop.backend {
                Backend::Hybrid => "hybrid",
                _ => "s3",
            };
            command
                .env("STORAGE_MODE", mode)
                .env("S3_ENDPOINT", chaos.endpoint())
                .env("S3_REGION", chaos.region())
                .env("S3_BUCKET", chaos.bucket())
                .env("S3_KEY_ID", chaos.key_id())
                .env("S3_APPLICATION_KEY", chaos.application_key())
                .envs(settings.iter().copied());
        }
        let output = command.output().await.unwrap();
        let ended = Ended {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        for secret in ["X-Amz-Signature", "sig="] {
            assert!(!format!("{ended:?}").contains(secret), "{ended:?}");
        }
        ended
    }

    async fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(&[], arguments).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_prints_the_chain_for_people_and_for_programs() {
    for backend in Backend::ALL {
        let sale = Sale::of(backend).await;
        for order in ["order-1", &sale.purchase] {
            let chain = sale
                .run(&["explain", order, "--json", "--deep"])
                .await
                .chain(0);
            chain.assert_whole(&[]);
            assert!(chain.detail("bytes").contains("was read"), "{chain:?}");
        }
        let ended = sale.run(&["explain", "order-1"]).await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains("✓ bytes "), "{ended:?}");
        assert!(
            ended
                .stdout
                .ends_with("Nothing keeps the buyer from downloading.\n")
        );
    }
    let sale = Sale::of(Backend::Local).await;
    fs::remove_file(sale.file()).unwrap();
    let ended = sale.run(&["explain", "order-1"]).await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let first = lines
        .iter()
        .position(|line| line.starts_with("✗ bytes"))
        .expect("the link");
    assert!(
        lines[first + 1]
            .trim_start()
            .starts_with("-> Put the file back")
    );
    assert!(
        ended.stdout.ends_with("First to mend: bytes.\n"),
        "{ended:?}"
    );
    let asset = sale.asset["id"].as_str().unwrap();
    let chain = sale
        .run(&["explain", "order-1", "--json", "--asset", asset])
        .await
        .chain(1);
    chain.assert_broken("bytes", "broken", "from a backup");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_nobody_told_of_is_said_with_what_to_check() {
    let sale = Sale::of(Backend::Local).await;
    for order in ["order-2", "pur_01k0000000000000000000000x", ""] {
        let ended = sale.run(&["explain", order, "--json"]).await;
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let error = &ended.objects()[0]["error"];
        assert_eq!(error["code"], "not_found");
        assert!(
            error["fix"].as_str().unwrap().contains("webhook"),
            "{error}"
        );
    }
    let ended = sale
        .run(&["explain", "order-1", "--asset", "helmet.stl"])
        .await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_not_mounted_is_no_proof_that_files_are_gone() {
    let sale = Sale::of(Backend::Local).await;
    let uploads = sale.shop.uploads_folder();
    let elsewhere = uploads.with_file_name("elsewhere");
    fs::rename(&uploads, &elsewhere).unwrap();
    let chain = sale.run(&["explain", "order-1", "--json"]).await.chain(1);
    chain.assert_broken("bytes", "unknown", "Mount the right disk");
    assert!(!chain.detail("bytes").contains("is not there"), "{chain:?}");
    fs::remove_dir_all(&uploads).unwrap();
    fs::rename(&elsewhere, &uploads).unwrap();
    let chain = sale.run(&["explain", "order-1", "--json"]).await.chain(0);
    chain.assert_whole(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_not_set_up_any_more_is_named() {
    let sale = Sale::of(Backend::S3).await;
    let data_dir = sale.shop.uploads_folder();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_stockroom"))
        .args(["explain", "order-1", "--json"])
        .env_clear()
        .current_dir(data_dir.parent().unwrap())
        .env("DATA_DIR", data_dir.parent().unwrap())
        .output()
        .await
        .unwrap();
    let ended = Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    let chain = ended.chain(1);
    chain.assert_broken("placements", "broken", "Set up the store s3 again");
}
