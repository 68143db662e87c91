//! Hybrid when a store fails: nothing acknowledged is lost, and both copies come back.

use std::path::PathBuf;

use http::Method;
use serde_json::Value;
use stockroom::workers::engine;

use crate::support::{Backend, CHUNK_BYTES, Shop, Traces, Who, answer, stl};

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_while_the_bucket_is_away_is_copied_later() {
    let shop = Shop::start(Backend::Hybrid).await;
    let model = shop.published_model().await;
    let bytes = stl(30_000, 3);
    shop.chaos().set_online(false).unwrap();
    let asset = shop.put_asset(&model, "helmet.stl", bytes.clone()).await;
    let id = asset["id"].as_str().unwrap();
    assert_eq!(
        states(&shop, id).await,
        [("local", "present"), ("s3", "copying")].map(owned)
    );
    assert!(download(&shop, id).await == bytes);

    shop.chaos().set_online(true).unwrap();
    settle(&shop).await;
    assert_eq!(
        states(&shop, id).await,
        [("local", "present"), ("s3", "present")].map(owned)
    );
    let key = asset["key"].as_str().unwrap();
    assert!(
        shop.chaos().body(key).unwrap() == bytes,
        "the copy in the bucket"
    );
    assert!(
        std::fs::read(file(&shop, key)).unwrap() == bytes,
        "the copy on disk"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_that_flips_on_disk_is_healed_from_the_bucket() {
    let shop = Shop::start(Backend::Hybrid).await;
    let model = shop.published_model().await;
    let bytes = stl(50_000, 4);
    let asset = shop.put_asset(&model, "helmet.stl", bytes.clone()).await;
    let (id, key) = (
        asset["id"].as_str().unwrap(),
        asset["key"].as_str().unwrap(),
    );

    let mut damaged = bytes.to_vec();
    damaged[usize::try_from(CHUNK_BYTES).unwrap() + 99] ^= 1;
    std::fs::write(file(&shop, key), &damaged).unwrap();
    assert!(
        download(&shop, id).await == bytes,
        "the download is right all the same"
    );
    while !shop.app.tasks.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        states(&shop, id).await,
        [("local", "suspect"), ("s3", "present")].map(owned)
    );

    settle(&shop).await;
    assert_eq!(
        states(&shop, id).await,
        [("local", "present"), ("s3", "present")].map(owned)
    );
    assert!(
        std::fs::read(file(&shop, key)).unwrap() == bytes,
        "the copy on disk is whole again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_acknowledged_that_the_mode_does_not_allow() {
    for (backend, settings) in [
        (Backend::S3, [].as_slice()),
        (Backend::Hybrid, &[("HYBRID_ACK", "both")]),
    ] {
        let shop = Shop::start_with(backend, settings).await;
        let model = shop.draft_model().await;
        shop.chaos().set_online(false).unwrap();
        let path = format!("/v1/models/{model}/assets/a.stl");
        let put = shop.call(Who::Artist, Method::PUT, &path).body(stl(10, 1));
        let refused = answer(put).await;
        refused.assert_problem(503, "storage_unavailable", "the bucket is away");
        assert!(!refused.header("retry-after").is_empty());

        shop.chaos().set_online(true).unwrap();
        settle(&shop).await;
        assert_eq!(shop.traces().await, Traces::NONE, "{backend:?}");
        shop.put_asset(&model, "a.stl", stl(10, 1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_cannot_be_reached_are_no_missing_bytes() {
    let shop = Shop::start(Backend::S3).await;
    let model = shop.published_model().await;
    let bytes = stl(10, 1);
    let asset = shop.put_asset(&model, "a.stl", bytes.clone()).await;
    let id = asset["id"].as_str().unwrap();
    shop.chaos().set_online(false).unwrap();
    let path = format!("/v1/assets/{id}/download?delivery=stream");
    let away = answer(shop.get(Who::Artist, &path)).await;
    away.assert_problem(503, "storage_unavailable", "the bucket is away");
    shop.chaos().set_online(true).unwrap();
    let back = answer(shop.get(Who::Artist, &path)).await;
    assert!(back.status == 200 && back.body == bytes, "{}", back.status);
    assert_eq!(states(&shop, id).await, [("s3", "present")].map(owned));
}

/// Runs the engine until nothing is due; what failed a moment ago is due a little later.
async fn settle(shop: &Shop) {
    shop.clock.set_offset_s(60);
    while engine::round(&shop.app).await {}
    shop.clock.set_offset_s(0);
}

async fn download(shop: &Shop, asset: &str) -> bytes::Bytes {
    let path = format!("/v1/assets/{asset}/download");
    let answer = answer(shop.call(Who::Artist, Method::GET, &path)).await;
    assert_eq!(answer.status, 200);
    answer.body
}

async fn states(shop: &Shop, asset: &str) -> Vec<(String, String)> {
    let asset = answer(shop.get(Who::Operator, &format!("/v1/assets/{asset}")))
        .await
        .json(200);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let placements = asset["placements"].as_array().unwrap();
    placements
        .iter()
        .map(|it| (text(&it["store"]), text(&it["state"])))
        .collect()
}

fn owned((store, state): (&str, &str)) -> (String, String) {
    (store.to_owned(), state.to_owned())
}

fn file(shop: &Shop, key: &str) -> PathBuf {
    shop.uploads_folder().join(key)
}
