//! What was deleted comes back while the grace period lasts, for whoever might delete it.

use bytes::Bytes;
use http::Method;
use serde_json::Value;
use stockroom::workers::engine;

use crate::support::{Answer, Backend, Shop, Traces, Who, answer, noise, stl};

/// Beyond the grace period of the shops here, and not so far that the bucket refuses requests with
/// such a time.
const LATER_S: i64 = 600;

#[tokio::test(flavor = "multi_thread")]
async fn an_object_comes_back_and_stays() {
    for backend in Backend::ALL {
        let shop = Shop::start_with(backend, &[("DELETE_GRACE", "5m")]).await;
        // The second key looks like a call.
        for path in ["/v1/objects/models/42/a.bin", "/v1/objects/models/restore"] {
            let (old, new) = (noise(50_000, 1), noise(60_000, 2));
            put_object(&shop, path, &old).await;
            let newer = put_object(&shop, path, &new).await;
            let taken = restore(&shop, Who::Operator, path).await;
            taken.assert_problem(409, "key_conflict", "the key has an object");
            assert_eq!(delete(&shop, Who::Operator, path).await, 204);
            for (who, status, code) in [
                (Who::Nobody, 401, "unauthenticated"),
                (Who::Service, 403, "forbidden"),
                (Who::Artist, 403, "forbidden"),
            ] {
                let refused = restore(&shop, who, path).await;
                refused.assert_problem(status, code, &format!("{who:?}"));
            }
            let restored = restore(&shop, Who::Operator, path).await.json(200);
            assert_eq!(restored, newer, "the object that was there last");
            assert!(answer(shop.get(Who::Operator, path)).await.body == new);
        }
        let nothing = restore(&shop, Who::Operator, "/v1/objects/models/none").await;
        nothing.assert_problem(404, "not_found", "a key that never was");
        let reserved = restore(&shop, Who::Operator, "/v1/objects/models/.versions/x").await;
        reserved.assert_problem(400, "invalid_key", "a reserved key");

        // What was replaced goes when its time has come, what was restored stays.
        shop.clock.set_offset_s(LATER_S);
        while engine::round(&shop.app).await {}
        let traces = shop.traces().await;
        assert_eq!(traces.objects, ["models/42/a.bin", "models/restore"]);
        let copies = traces.files.len() + traces.versions_in_bucket;
        let expected = if backend == Backend::Hybrid { 4 } else { 2 };
        assert_eq!(copies, expected, "{backend:?}: {traces:?}");
        for path in ["/v1/objects/models/42/a.bin", "/v1/objects/models/restore"] {
            let read = answer(shop.get(Who::Operator, path)).await;
            assert!(read.body == noise(60_000, 2), "{backend:?}: {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_grace_period_nothing_comes_back() {
    let shop = Shop::start_with(Backend::Hybrid, &[("DELETE_GRACE", "5m")]).await;
    let (object, model) = ("/v1/objects/images/a.bin", shop.published_model().await);
    put_object(&shop, object, &noise(1_000, 1)).await;
    let asset = shop.put_asset(&model, "a.stl", stl(20, 1)).await;
    let (asset, model) = (asset_path(&asset), format!("/v1/models/{model}"));
    for (who, path) in [
        (Who::Operator, object),
        (Who::Artist, asset.as_str()),
        (Who::Artist, model.as_str()),
    ] {
        assert_eq!(delete(&shop, who, path).await, 204);
        shop.clock.set_offset_s(LATER_S);
        let late = restore(&shop, who, path).await;
        late.assert_problem(
            404,
            "not_found",
            "it is late, and the bytes are still there",
        );
        shop.clock.set_offset_s(0);
        if path != model {
            assert_eq!(
                restore(&shop, who, path).await.status,
                200,
                "{path}: in time again"
            );
        }
    }
    // The model has no file whose bytes could be gone, but for the one that went with it.
    assert_eq!(delete(&shop, Who::Operator, object).await, 204);
    shop.clock.set_offset_s(LATER_S);
    while engine::round(&shop.app).await {}
    assert_eq!(shop.traces().await, Traces::NONE);
    shop.clock.set_offset_s(0);
    for (who, path) in [(Who::Operator, object), (Who::Artist, model.as_str())] {
        let gone = restore(&shop, who, path).await;
        gone.assert_problem(
            404,
            "not_found",
            "the bytes are gone, whatever the clock says",
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_comes_back_with_its_older_versions() {
    let shop = Shop::start_with(Backend::Hybrid, &[("DELETE_GRACE", "5m")]).await;
    let model = shop.published_model().await;
    shop.sell(&model, "order 1").await;
    let (first, second) = (stl(30, 1), stl(40, 2));
    let old = shop.put_asset(&model, "a.stl", first.clone()).await;
    let new = shop.put_asset(&model, "a.stl", second.clone()).await;
    let path = asset_path(&new);
    assert_eq!(delete(&shop, Who::Artist, &path).await, 204);
    assert_eq!(download(&shop, &old).await.status, 404);
    let by_key = format!("/v1/objects/{}", new["key"].as_str().unwrap());
    let by_key = restore(&shop, Who::Operator, &by_key).await;
    by_key.assert_problem(409, "object_in_use", "the bytes of a file, by their key");
    for who in [Who::Nobody, Who::OtherArtist, Who::Buyer, Who::Stranger] {
        let refused = restore(&shop, who, &path).await;
        refused.assert_problem(404, "not_found", &format!("{who:?}"));
    }

    let restored = restore(&shop, Who::Artist, &path).await.json(200);
    assert_eq!(restored, new);
    let again = restore(&shop, Who::Service, &path).await.json(200);
    assert_eq!(again, new, "it is there already");
    let strangers = restore(&shop, Who::Stranger, &path).await;
    strangers.assert_problem(403, "forbidden", "a file that everybody may know of");
    for (asset, bytes) in [(&old, &first), (&new, &second)] {
        let read = download(&shop, asset).await;
        assert!(read.status == 200 && read.body == *bytes, "{}", read.status);
    }
    shop.clock.set_offset_s(LATER_S);
    while engine::round(&shop.app).await {}
    let read = download(&shop, &old).await;
    assert!(
        read.status == 200 && read.body == first,
        "it stays: {}",
        read.status
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_comes_back_with_its_files_and_for_its_buyers() {
    let settings = &[("DELETE_GRACE", "5m")];
    a_model_comes_back(Shop::start_with(Backend::Hybrid, settings).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_comes_back_with_postgres() {
    let settings = &[("DELETE_GRACE", "5m")];
    if let Some(shop) = Shop::start_on_postgres(Backend::Hybrid, settings).await {
        a_model_comes_back(shop).await;
    }
}

async fn a_model_comes_back(shop: Shop) {
    let model = shop.published_model().await;
    shop.sell(&model, "order 1").await;
    let before = shop
        .put_asset(&model, "deleted-before.stl", stl(10, 1))
        .await;
    assert_eq!(delete(&shop, Who::Artist, &asset_path(&before)).await, 204);
    // The bucket is away, so that the model is deleted while a copy of its file is owed.
    shop.chaos().set_online(false).unwrap();
    let bytes = stl(50, 2);
    let asset = shop.put_asset(&model, "a.stl", bytes.clone()).await;
    let path = format!("/v1/models/{model}");
    assert_eq!(delete(&shop, Who::Artist, &path).await, 204);
    assert_eq!(download(&shop, &asset).await.status, 404);
    let alone = restore(&shop, Who::Artist, &asset_path(&asset)).await;
    alone.assert_problem(409, "model_deleted", "a file whose model is deleted");
    for who in [Who::Nobody, Who::OtherArtist, Who::Buyer] {
        let refused = restore(&shop, who, &path).await;
        refused.assert_problem(404, "not_found", &format!("{who:?}"));
    }

    let restored = restore(&shop, Who::Service, &path).await.json(200);
    assert_eq!(restored["id"], model.as_str());
    assert_eq!(restored["status"], "published");
    assert_eq!(
        restore(&shop, Who::Artist, &path).await.status,
        200,
        "it is there already"
    );
    let read = download(&shop, &asset).await;
    assert!(read.status == 200 && read.body == bytes, "{}", read.status);
    let library = answer(shop.get(Who::Buyer, "/v1/library")).await.json(200);
    assert_eq!(library["data"][0]["model_details"]["id"], model.as_str());
    let listed = answer(shop.get(Who::Nobody, &format!("{path}/assets")))
        .await
        .json(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "{listed}");
    let earlier = answer(shop.get(Who::Artist, &asset_path(&before))).await;
    assert_eq!(earlier.status, 404, "what was deleted before stays deleted");

    shop.chaos().set_online(true).unwrap();
    shop.stores_answer().await;
    shop.clock.set_offset_s(LATER_S);
    while engine::round(&shop.app).await {}
    let seen = answer(shop.get(Who::Operator, &asset_path(&asset)))
        .await
        .json(200);
    let states = seen["placements"].as_array().unwrap();
    assert_eq!(states.len(), 2, "{seen}");
    assert!(
        states.iter().all(|it| it["state"] == "present"),
        "what was owed came: {seen}"
    );
    let key = asset["key"].as_str().unwrap();
    assert!(shop.chaos().body(key).unwrap() == bytes);
    assert_eq!(shop.chaos().body(before["key"].as_str().unwrap()), None);
}

fn asset_path(asset: &Value) -> String {
    format!("/v1/assets/{}", asset["id"].as_str().unwrap())
}

async fn put_object(shop: &Shop, path: &str, bytes: &Bytes) -> Value {
    let put = shop.call(Who::Operator, Method::PUT, path);
    answer(put.body(bytes.clone())).await.json(201)
}

async fn delete(shop: &Shop, who: Who, path: &str) -> u16 {
    answer(shop.call(who, Method::DELETE, path)).await.status
}

async fn restore(shop: &Shop, who: Who, path: &str) -> Answer {
    answer(shop.call(who, Method::POST, &format!("{path}/restore"))).await
}

async fn download(shop: &Shop, asset: &Value) -> Answer {
    answer(shop.get(Who::Buyer, &format!("{}/download", asset_path(asset)))).await
}
