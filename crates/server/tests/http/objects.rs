//! The storage facade as operators use it: any bytes, under any key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use stockroom::workers::engine;
use stockroom_domain::Sha256Digest;

use crate::support::{Backend, Shop, Traces, Who, answer, noise, repr_digest};

#[tokio::test(flavor = "multi_thread")]
async fn an_object_goes_in_and_comes_out_everywhere() {
    for backend in Backend::ALL {
        let shop = Shop::start_with(backend, &[("DELETE_GRACE", "0s")]).await;
        for (seed, (path, key)) in KEYS.iter().enumerate() {
            round_trip(&shop, path, key, noise(1_500_000, seed as u64)).await;
        }
        list_page_by_page(&shop).await;
        for (path, _) in KEYS {
            let path = format!("/v1/objects/{path}");
            let deleted = answer(shop.call(Who::Operator, Method::DELETE, &path)).await;
            assert_eq!((deleted.status, deleted.body.len()), (204, 0));
            for method in [Method::GET, Method::DELETE] {
                let gone = answer(shop.call(Who::Operator, method, &path)).await;
                gone.assert_problem(404, "not_found", &path);
            }
        }
        while engine::round(&shop.app).await {}
        assert_eq!(shop.traces().await, Traces::NONE, "{backend:?}");
    }
}

/// Keys as a URL and as they are.
const KEYS: [(&str, &str); 5] = [
    ("models/42/helmet.stl", "models/42/helmet.stl"),
    ("images/a%20b+c&d=e%25%23%3F.png", "images/a b+c&d=e%#?.png"),
    (
        "images/Gr%C3%B6%C3%9Fe/%F0%9F%A7%A2.png",
        "images/Größe/🧢.png",
    ),
    ("temp/%252e%252e", "temp/%2e%2e"),
    ("thumbnails/signed-url", "thumbnails/signed-url"),
];

async fn round_trip(shop: &Shop, path: &str, key: &str, bytes: Bytes) {
    let path = format!("/v1/objects/{path}");
    let put = shop
        .call(Who::Operator, Method::PUT, &path)
        .header("content-type", "model/stl")
        .header("repr-digest", repr_digest(&bytes))
        .header("stockroom-meta-artist-id", "u-42")
        .header("stockroom-meta-note", "two words")
        .body(bytes.clone());
    let object = answer(put).await.json(201);
    assert_eq!(object["key"], key);
    assert_eq!(object["size"], bytes.len());
    assert_eq!(object["sha256"], Sha256Digest::of(&bytes).to_string());
    assert_eq!(
        object["metadata"],
        json!({"artist-id": "u-42", "note": "two words"})
    );
    let placements = object["placements"].as_array().unwrap();
    assert!(
        placements.iter().all(|it| it["state"] == "present"),
        "{object}"
    );

    let whole = answer(shop.get(Who::Operator, &path)).await;
    assert_eq!(whole.status, 200);
    assert!(whole.body == bytes, "{key}: other bytes");
    let head = answer(shop.call(Who::Operator, Method::HEAD, &path)).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    for (name, value) in [
        ("content-type", "model/stl"),
        ("content-length", "1500000"),
        ("stockroom-meta-artist-id", "u-42"),
        ("stockroom-meta-note", "two words"),
        ("etag", &format!("\"{}\"", Sha256Digest::of(&bytes))),
    ] {
        assert_eq!(
            (whole.header(name), head.header(name)),
            (value, value),
            "{key}: {name}"
        );
    }
    let part = answer(
        shop.get(Who::Operator, &path)
            .header("range", "bytes=1048570-1048580"),
    )
    .await;
    assert_eq!(part.status, 206);
    assert!(part.body == bytes[1_048_570..=1_048_580]);

    let signing = format!("{path}/signed-url");
    let signed = answer(shop.call(Who::Operator, Method::POST, &signing))
        .await
        .json(200);
    let there = answer(shop.fetch(Method::GET, signed["url"].as_str().unwrap())).await;
    assert_eq!(
        there.status,
        200,
        "{key}: {}",
        String::from_utf8_lossy(&there.body)
    );
    assert!(there.body == bytes, "{key}: other bytes behind the URL");
    if let Some(chaos) = &shop.chaos {
        assert!(
            chaos.body(key).unwrap() == bytes,
            "{key}: other bytes in the bucket"
        );
        assert_eq!(chaos.metadata(key).unwrap().user["artist-id"], "u-42");
    }
}

async fn list_page_by_page(shop: &Shop) {
    let mut found = Vec::new();
    let mut query = "/v1/objects?limit=2".to_owned();
    loop {
        let page = answer(shop.get(Who::Operator, &query)).await.json(200);
        let objects = page["data"].as_array().unwrap();
        assert!(objects.len() <= 2);
        found.extend(
            objects
                .iter()
                .map(|object| object["key"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        query = format!("/v1/objects?limit=2&cursor={cursor}");
    }
    let mut expected = KEYS.map(|(_, key)| key.to_owned());
    expected.sort();
    assert_eq!(found, expected);
    for (prefix, count) in [
        ("images/", 2),
        ("images/Gr", 1),
        ("models/4", 1),
        ("models/5", 0),
    ] {
        let page = answer(shop.get(Who::Operator, &format!("/v1/objects?prefix={prefix}"))).await;
        assert_eq!(
            page.json(200)["data"].as_array().unwrap().len(),
            count,
            "{prefix}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_one_version_whole_while_it_is_replaced() {
    for backend in Backend::ALL {
        let shop = Arc::new(Shop::start(backend).await);
        let path = "/v1/objects/models/hot.bin";
        let versions: Vec<Bytes> = (0..4).map(|seed| noise(1_200_000, seed)).collect();
        put(&shop, path, &versions[0]).await;

        let is_over = Arc::new(AtomicBool::new(false));
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let (shop, versions, is_over) =
                    (Arc::clone(&shop), versions.clone(), Arc::clone(&is_over));
                tokio::spawn(async move {
                    let mut reads = 0;
                    while !is_over.load(Ordering::SeqCst) {
                        let read = answer(shop.get(Who::Operator, path)).await;
                        assert_eq!(read.status, 200);
                        assert!(versions.contains(&read.body), "a mixture");
                        reads += 1;
                    }
                    reads
                })
            })
            .collect();
        let mut ids = Vec::new();
        for version in versions.iter().cycle().skip(1).take(6) {
            ids.push(put(&shop, path, version).await["id"].clone());
        }
        is_over.store(true, Ordering::SeqCst);
        for reader in readers {
            assert!(reader.await.unwrap() > 0, "a reader that read nothing");
        }
        let last = answer(shop.get(Who::Operator, path)).await;
        assert!(last.body == versions[2], "the last version stays");
        ids.dedup();
        assert_eq!(ids.len(), 6, "each version has an id of its own");
        assert_eq!(shop.traces().await.objects, ["models/hot.bin"]);
    }
}

async fn put(shop: &Shop, path: &str, bytes: &Bytes) -> Value {
    answer(
        shop.call(Who::Operator, Method::PUT, path)
            .body(bytes.clone()),
    )
    .await
    .json(201)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bytes_of_an_asset_are_not_replaced_or_deleted_by_key() {
    let shop = Shop::start(Backend::Hybrid).await;
    let model = shop.published_model().await;
    let bytes = crate::support::stl(9, 1);
    let asset = shop.put_asset(&model, "a.stl", bytes.clone()).await;
    let before = shop.traces().await;
    let path = format!("/v1/objects/{}", asset["key"].as_str().unwrap());
    for request in [
        shop.call(Who::Operator, Method::PUT, &path)
            .body("other bytes"),
        shop.call(Who::Operator, Method::DELETE, &path),
    ] {
        answer(request)
            .await
            .assert_problem(409, "object_in_use", &path);
        assert_eq!(shop.traces().await, before);
    }
    let digest = shop
        .call(Who::Operator, Method::PUT, "/v1/objects/models/new")
        .header("repr-digest", repr_digest(b"x"));
    answer(digest.body("y"))
        .await
        .assert_problem(422, "digest_mismatch", "another digest");
    assert_eq!(shop.traces().await, before);
    assert!(answer(shop.get(Who::Operator, &path)).await.body == bytes);
}
