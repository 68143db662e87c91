//! What an operator sees of the stores, as JSON and as metrics.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use stockroom::workers::engine;
use stockroom_domain::{Clock as _, StoreName};

use crate::support::{Answer, Backend, STORE_ID, Shop, Who, answer, stl};

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_seen_from_its_first_upload_to_its_last_copy() {
    an_outage_is_seen(Shop::start(Backend::Hybrid).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_seen_with_postgres() {
    if let Some(shop) = Shop::start_on_postgres(Backend::Hybrid, &[]).await {
        an_outage_is_seen(shop).await;
    }
}

async fn an_outage_is_seen(shop: Shop) {
    let model = shop.published_model().await;
    while engine::round(&shop.app).await {}
    let quiet = storage(&shop).await;
    assert_eq!(
        (&quiet["mode"], &quiet["under_placed"]),
        (&json!("hybrid"), &json!(0))
    );
    for name in ["local", "s3"] {
        let store = of(&quiet, name);
        assert_eq!(store["identity"], "ours", "{store}");
        assert_eq!(store["reachable"], true, "{store}");
        assert_eq!(store["breaker"]["state"], "closed", "{store}");
        assert_eq!(store["mode_member"], true, "{store}");
        assert!(store["latency_ms"].is_number(), "{store}");
        assert!(store["last_success_at"].is_string(), "{store}");
        assert!(store["last_error"].is_null(), "{store}");
    }
    assert!(of(&quiet, "local")["free_bytes"].as_u64().unwrap() > 0);
    assert!(of(&quiet, "s3")["free_bytes"].is_null());

    shop.chaos().set_online(false).unwrap();
    shop.put_asset(&model, "a.stl", stl(20, 1)).await;
    shop.put_asset(&model, "b.stl", stl(20, 2)).await;
    let outage = storage_with(&shop, 2).await;
    let bucket = of(&outage, "s3");
    assert_eq!(bucket["breaker"]["state"], "open", "{bucket}");
    assert_eq!(bucket["reachable"], false, "{bucket}");
    assert_eq!(bucket["under_placed"], 2, "{bucket}");
    assert_eq!(bucket["placements"]["copying"], 2, "{bucket}");
    assert!(bucket["oldest_under_placed_since"].is_string(), "{bucket}");
    let error = &bucket["last_error"];
    assert_eq!(error["operation"], "put", "{bucket}");
    assert!(
        error["at"].is_string() && error["detail"].is_string(),
        "{bucket}"
    );
    let folder = of(&outage, "local");
    assert_eq!(folder["placements"]["present"], 2, "{folder}");
    assert_eq!(folder["under_placed"], 0, "{folder}");
    assert!(folder["oldest_under_placed_since"].is_null(), "{folder}");
    let metrics = metrics(&shop).await;
    for line in [
        r#"stockroom_store_up{store="local"} 1"#,
        r#"stockroom_store_up{store="s3"} 0"#,
        r#"stockroom_store_breaker_open{store="local"} 0"#,
        r#"stockroom_store_breaker_open{store="s3"} 1"#,
        r#"stockroom_store_identity_ok{store="s3"} 1"#,
        r#"stockroom_placements{store="local",state="present"} 2"#,
        r#"stockroom_placements{store="s3",state="copying"} 2"#,
        r#"stockroom_placements{store="s3",state="present"} 0"#,
        r#"stockroom_under_placed{store="local"} 0"#,
        r#"stockroom_under_placed{store="s3"} 2"#,
        r#"stockroom_oldest_under_placed_seconds{store="local"} 0"#,
    ] {
        assert!(
            metrics.lines().any(|have| have == line),
            "{line} is not in\n{metrics}"
        );
    }
    for begin in [
        r#"stockroom_oldest_under_placed_seconds{store="s3"} "#,
        r#"stockroom_store_free_bytes{store="local"} "#,
    ] {
        assert!(
            metrics.lines().any(|have| have.starts_with(begin)),
            "{begin}"
        );
    }
    assert!(!metrics.contains(r#"stockroom_store_free_bytes{store="s3"}"#));
    assert_eq!(metrics.matches("# EOF\n").count(), 1);
    assert!(metrics.ends_with("# EOF\n"));

    shop.chaos().set_online(true).unwrap();
    shop.stores_answer().await;
    shop.clock.set_offset_s(60);
    while engine::round(&shop.app).await {}
    let healed = storage_with(&shop, 0).await;
    let bucket = of(&healed, "s3");
    assert_eq!(bucket["breaker"]["state"], "closed", "{bucket}");
    assert_eq!(bucket["reachable"], true, "{bucket}");
    assert_eq!(bucket["placements"]["present"], 2, "{bucket}");
    assert_eq!(bucket["placements"]["copying"], 0, "{bucket}");
    assert!(bucket["oldest_under_placed_since"].is_null(), "{bucket}");
    assert_eq!(
        bucket["last_error"]["operation"], "put",
        "it is still told: {bucket}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_operators_see_the_stores() {
    let shop = Shop::start(Backend::Local).await;
    let nobody = answer(shop.get(Who::Nobody, "/v1/storage")).await;
    nobody.assert_problem(401, "unauthenticated", "nobody");
    for who in [Who::Service, Who::Artist, Who::Buyer] {
        let other = answer(shop.get(who, "/v1/storage")).await;
        other.assert_problem(403, "forbidden", &format!("{who:?}"));
    }
    let local = storage(&shop).await;
    assert_eq!(local["mode"], "local");
    assert_eq!(local["stores"].as_array().unwrap().len(), 1, "{local}");
    assert_eq!(
        of(&local, "local")["reachable"],
        Value::Null,
        "nobody asked it yet"
    );
}

/// The id object of another Stockroom's store, and the id in it.
const OTHER: &str = r#"{"store_id": "str_of_somebody_else", "about": ""}"#;
const OTHER_ID: &str = "str_of_somebody_else";

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_somebody_else_is_seen_and_nothing_is_written_to_it() {
    for (backend, ack) in [(Backend::S3, "any"), (Backend::Hybrid, "both")] {
        let shop = Shop::start_with(backend, &[("HYBRID_ACK", ack)]).await;
        let model = shop.published_model().await;
        shop.chaos().plant(STORE_ID, OTHER);
        while engine::round(&shop.app).await {}
        let bucket = of(&storage(&shop).await, "s3");
        assert_eq!(bucket["identity"], "foreign", "{bucket}");
        let metrics = metrics(&shop).await;
        let line = r#"stockroom_store_identity_ok{store="s3"} 0"#;
        assert!(metrics.lines().any(|have| have == line), "{metrics}");

        let before = shop.chaos().all_version_count();
        let refused = upload(&shop, &model).await;
        refused.assert_problem(502, "storage_error", "an upload to another store");
        while engine::round(&shop.app).await {}
        assert_eq!(shop.chaos().all_version_count(), before);
        assert_eq!(shop.chaos().body(STORE_ID).unwrap(), OTHER);
        assert_eq!(shop.traces().await.objects, Vec::<String>::new());

        // What an operator does who means this bucket.
        let catalog = &shop.app.catalog;
        let adopted = catalog.adopt_store_id(&StoreName::S3, OTHER_ID);
        adopted.await.unwrap();
        // A store of somebody else is looked at again after a while.
        shop.set_offset_s(60);
        while engine::round(&shop.app).await {}
        assert_eq!(of(&storage(&shop).await, "s3")["identity"], "ours");
        assert_eq!(upload(&shop, &model).await.status, 201);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_somebody_else_is_owed_its_copies_until_it_is_accepted() {
    let shop = Shop::start(Backend::Hybrid).await;
    let model = shop.published_model().await;
    shop.chaos().plant(STORE_ID, OTHER);
    while engine::round(&shop.app).await {}
    assert_eq!(upload(&shop, &model).await.status, 201, "the folder has it");
    shop.clock.set_offset_s(60);
    while engine::round(&shop.app).await {}
    storage_with(&shop, 1).await;
    assert_eq!(shop.chaos().keys(), [STORE_ID]);

    let adopted = shop.app.catalog.adopt_store_id(&StoreName::S3, OTHER_ID);
    adopted.await.unwrap();
    shop.set_offset_s(120);
    while engine::round(&shop.app).await {}
    storage_with(&shop, 0).await;
    assert_eq!(shop.chaos().keys().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_store_owes_that_is_not_configured_is_not_forgotten() {
    let shop = Shop::start(Backend::Local).await;
    let model = shop.published_model().await;
    let asset = shop.put_asset(&model, "a.stl", stl(20, 1)).await;
    let key = asset["key"].as_str().unwrap().parse().unwrap();
    let found = shop.app.catalog.find_object(&key).await.unwrap();
    let (object, now) = (found.unwrap().object.id, shop.clock.now());
    let catalog = &shop.app.catalog;
    catalog
        .add_placement(object, &StoreName::S3, now)
        .await
        .unwrap();
    let seen = storage_with(&shop, 1).await;
    let bucket = of(&seen, "s3");
    assert_eq!(bucket["configured"], false, "{bucket}");
    assert_eq!(bucket["mode_member"], false, "{bucket}");
    assert_eq!(bucket["breaker"], Value::Null, "{bucket}");
    assert_eq!(bucket["identity"], "unknown", "{bucket}");
    assert_eq!(bucket["placements"]["copying"], 1, "{bucket}");
    let metrics = metrics(&shop).await;
    assert!(
        metrics.contains("stockroom_under_placed{store=\"s3\"} 1\n"),
        "{metrics}"
    );
    assert!(
        !metrics.contains("stockroom_store_up{store=\"s3\"}"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_of_dashboards_counts_once_a_second() {
    let shop = Shop::start(Backend::Local).await;
    let begun = tokio::time::Instant::now();
    let looks = (0..50).map(|_| storage(&shop));
    let looks = futures::future::join_all(looks).await;
    let counted: BTreeSet<_> = looks.iter().map(|it| it["as_of"].as_str()).collect();
    let most = begun.elapsed().as_secs() + 1;
    assert!(counted.len() as u64 <= most, "{counted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_answer_without_the_database() {
    let shop = Shop::start(Backend::Local).await;
    while engine::round(&shop.app).await {}
    shop.app.catalog.close().await;
    let metrics = metrics(&shop).await;
    assert!(
        metrics.contains("stockroom_store_up{store=\"local\"} 1\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("stockroom_storage_operations_total{"),
        "{metrics}"
    );
    assert!(!metrics.contains("stockroom_placements{"), "{metrics}");
}

async fn upload(shop: &Shop, model: &str) -> Answer {
    let path = format!("/v1/models/{model}/assets/a.stl");
    answer(shop.call(Who::Artist, Method::PUT, &path).body(stl(20, 1))).await
}

async fn storage(shop: &Shop) -> Value {
    answer(shop.get(Who::Operator, "/v1/storage"))
        .await
        .json(200)
}

/// The stores once so many copies are owed: counts are kept for a moment.
async fn storage_with(shop: &Shop, under_placed: u64) -> Value {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    loop {
        let seen = storage(shop).await;
        if seen["under_placed"] == under_placed {
            return seen;
        }
        assert!(tokio::time::Instant::now() < deadline, "{seen}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn of(storage: &Value, name: &str) -> Value {
    let stores = storage["stores"].as_array().unwrap();
    let store = stores.iter().find(|store| store["name"] == name);
    store
        .unwrap_or_else(|| panic!("no {name} in {storage}"))
        .clone()
}

async fn metrics(shop: &Shop) -> String {
    let answer = answer(shop.get(Who::Nobody, "/metrics")).await;
    assert_eq!(answer.status, 200);
    String::from_utf8(answer.body.to_vec()).unwrap()
}
