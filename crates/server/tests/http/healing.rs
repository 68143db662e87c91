//! Hybrid when a store fails: nothing acknowledged is lost, and both copies come back.

use std::path::PathBuf;

use chaos_s3::{Fault, FaultAction, Operation};
use http::Method;
use serde_json::Value;
use stockroom::workers::{engine, identity};

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
async fn a_copy_is_read_back_before_it_is_present() {
    let shop = Shop::start(Backend::Hybrid).await;
    let model = shop.published_model().await;
    shop.chaos().set_online(false).unwrap();
    let asset = shop.put_asset(&model, "helmet.stl", stl(30_000, 3)).await;
    let id = asset["id"].as_str().unwrap();
    shop.chaos().set_online(true).unwrap();
    shop.stores_answer().await;
    identity::settle_all(&shop.app).await;
    // The bucket takes the bytes and gives others back.
    shop.chaos().fault(
        Fault::new(
            Operation::GetObject,
            FaultAction::FlipBit { offset: 70_000 },
        )
        .key_prefix("models/mdl_"),
    );
    shop.set_offset_s(60);
    while engine::round(&shop.app).await {}
    assert_eq!(
        states(&shop, id).await,
        [("local", "present"), ("s3", "copying")].map(owned)
    );
    settle(&shop).await;
    assert_eq!(
        states(&shop, id).await,
        [("local", "present"), ("s3", "present")].map(owned)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_without_another_is_the_last_resort() {
    let shop = Shop::start(Backend::Local).await;
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
    let path = format!("/v1/assets/{id}/download");
    let whole = shop.get(Who::Artist, &path).send().await.unwrap();
    assert!(whole.bytes().await.is_err(), "the answer is cut");
    while !shop.app.tasks.is_empty() {
        tokio::task::yield_now().await;
    }
    settle(&shop).await;
    assert_eq!(states(&shop, id).await, [("local", "suspect")].map(owned));
    let first = shop.get(Who::Artist, &path).header("range", "bytes=0-99");
    let first = answer(first).await;
    assert!(first.status == 206 && first.body == bytes.slice(..100));

    // Somebody puts the file back by hand. It is looked at again within the hour.
    std::fs::write(file(&shop, key), &bytes).unwrap();
    shop.set_offset_s(4 * 3_600);
    while engine::round(&shop.app).await {}
    assert_eq!(states(&shop, id).await, [("local", "present")].map(owned));
    assert!(download(&shop, id).await == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_that_nobody_met_is_found_by_the_scrub() {
    let shop = Shop::start(Backend::Hybrid).await;
    let model = shop.published_model().await;
    let bytes = stl(1_000, 4);
    let asset = shop.put_asset(&model, "helmet.stl", bytes.clone()).await;
    let (id, key) = (
        asset["id"].as_str().unwrap(),
        asset["key"].as_str().unwrap(),
    );
    let mut damaged = bytes.to_vec();
    damaged[99] ^= 1;
    std::fs::write(file(&shop, key), &damaged).unwrap();
    settle(&shop).await;
    assert!(
        std::fs::read(file(&shop, key)).unwrap() == damaged,
        "nobody looks before its time"
    );
    shop.set_offset_s(31 * 86_400);
    while engine::round(&shop.app).await {}
    assert!(std::fs::read(file(&shop, key)).unwrap() == bytes);
    assert_eq!(
        states(&shop, id).await,
        [("local", "present"), ("s3", "present")].map(owned)
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
async fn bytes_whose_arrival_was_never_confirmed_are_removed() {
    let shop = Shop::start(Backend::S3).await;
    let model = shop.draft_model().await;
    // The bucket keeps the bytes, and tells nobody.
    for (operation, action) in [
        (Operation::PutObject, FaultAction::LoseAnswerAfterCommit),
        (Operation::HeadObject, FaultAction::internal_error()),
        (Operation::DeleteObject, FaultAction::internal_error()),
    ] {
        let fault = Fault::new(operation, action).key_prefix("models/mdl_");
        shop.chaos().fault(fault.times(1_000));
    }
    let path = format!("/v1/models/{model}/assets/a.stl");
    let put = shop.call(Who::Artist, Method::PUT, &path).body(stl(10, 1));
    assert_eq!(answer(put).await.status, 503);
    let has_arrived = |key: &String| key.ends_with("a.stl");
    assert!(shop.chaos().keys().iter().any(has_arrived));

    shop.chaos().clear_faults();
    settle(&shop).await;
    assert_eq!(shop.traces().await, Traces::NONE);
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
    shop.stores_answer().await;
    let back = answer(shop.get(Who::Artist, &path)).await;
    assert!(back.status == 200 && back.body == bytes, "{}", back.status);
    assert_eq!(states(&shop, id).await, [("s3", "present")].map(owned));
}

/// Runs the engine until nothing is due: what failed a moment ago is due a little later, and what
/// was given up is looked at once more after an hour.
async fn settle(shop: &Shop) {
    shop.stores_answer().await;
    for later_s in [60, 2 * 3_600] {
        shop.set_offset_s(later_s);
        while engine::round(&shop.app).await {}
    }
    shop.set_offset_s(0);
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
