//! The main job, end to end: upload, store, record, verify the purchase, deliver; in every mode.

use http::Method;
use reqwest::multipart::{Form, Part};
use serde_json::{Value, json};
use stockroom::workers::engine;
use stockroom_domain::Sha256Digest;

use crate::support::{Answer, Backend, CHUNK_BYTES, Shop, Traces, Who, answer, repr_digest, stl};

/// Deleted bytes go with the next round of the engine.
const NO_GRACE: (&str, &str) = ("DELETE_GRACE", "0s");

#[tokio::test(flavor = "multi_thread")]
async fn main_job_on_local_disk() {
    main_job(&Shop::start_with(Backend::Local, &[NO_GRACE]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn main_job_on_s3() {
    main_job(&Shop::start_with(Backend::S3, &[NO_GRACE]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn main_job_on_both() {
    main_job(&Shop::start_with(Backend::Hybrid, &[NO_GRACE]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn main_job_on_both_with_postgres() {
    if let Some(shop) = Shop::start_on_postgres(Backend::Hybrid, &[NO_GRACE]).await {
        main_job(&shop).await;
    }
}

/// The file that is sold: three chunks, the last one short.
const TRIANGLES: u32 = 50_000;
const FILENAME: &str = "Größe 100 %.stl";

async fn main_job(shop: &Shop) {
    let bytes = stl(TRIANGLES, 1);
    let model = shop.draft_model().await;
    let asset = upload_by_form(shop, &model, &bytes).await;
    upload_by_put(shop, &model).await;
    let download = format!("/v1/assets/{asset}/download?delivery=stream");

    a_draft_is_seen_by_its_artist_alone(shop, &model, &asset).await;
    publish(shop, &model).await;
    nobody_gets_unbought_bytes(shop, &download).await;

    let purchase = purchase(shop, &model).await;
    the_buyer_gets_the_bytes(shop, &download, &bytes).await;
    ranges_are_exact(shop, &download, &bytes).await;
    conditions_hold(shop, &download, &bytes).await;
    delivery_follows_mode_and_wish(shop, &asset, &bytes).await;
    signed_urls_carry_their_permission(shop, &asset, &bytes).await;
    the_library_holds_what_was_bought(shop, &model, &purchase, &asset).await;
    nobody_gets_unbought_bytes(shop, &download).await;

    a_refund_ends_access(shop, &purchase, &download).await;
    a_deleted_model_is_gone(shop, &model, &asset, &download).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_gives_what_was_agreed() {
    let shop = Shop::start(Backend::Local).await;
    let bytes = stl(30_000, 1);
    let agreements = [
        (json!({"download_limit": 2}), 2, "download_limit_reached"),
        (
            json!({"expires_at": "2020-01-01T00:00:00Z"}),
            0,
            "not_purchased",
        ),
    ];
    for (terms, allowed, code) in agreements {
        let model = shop.published_model().await;
        let asset = shop.put_asset(&model, "a.stl", bytes.clone()).await;
        let path = format!("/v1/assets/{}/download", asset["id"].as_str().unwrap());
        let mut order = json!({"buyer": "ben", "model": model, "order_ref": code});
        order
            .as_object_mut()
            .unwrap()
            .extend(terms.as_object().unwrap().clone());
        let purchase = shop
            .call(Who::Service, Method::POST, "/v1/purchases")
            .json(&order);
        let purchase = answer(purchase).await.json(201);
        for _ in 0..allowed {
            let whole = answer(shop.get(Who::Buyer, &path)).await;
            assert!(whole.status == 200 && whole.body == bytes, "{terms}");
        }
        answer(shop.get(Who::Buyer, &path))
            .await
            .assert_problem(403, code, "no more than that");
        let seen = format!("/v1/purchases/{}", purchase["id"].as_str().unwrap());
        let seen = answer(shop.get(Who::Buyer, &seen)).await.json(200);
        assert_eq!(seen["downloads"], allowed, "{seen}");
    }
}

async fn upload_by_form(shop: &Shop, model: &str, bytes: &bytes::Bytes) -> String {
    let part = |bytes: bytes::Bytes, name: &'static str| {
        Part::stream(bytes)
            .file_name(name)
            .mime_str("application/octet-stream")
            .unwrap()
    };
    let form = Form::new()
        .part("file", part(bytes.clone(), FILENAME))
        .part("file", part(stl(7, 2), "small.stl"));
    let path = format!("/v1/models/{model}/assets");
    let list = answer(shop.call(Who::Artist, Method::POST, &path).multipart(form))
        .await
        .json(201);
    let assets = list["data"].as_array().unwrap();
    assert_eq!(assets.len(), 2);
    let asset = &assets[0];
    assert_eq!(asset["filename"], FILENAME);
    assert_eq!(asset["format"], "stl");
    assert_eq!(asset["content_type"], "model/stl");
    assert_eq!(asset["size"], bytes.len());
    assert_eq!(asset["sha256"], Sha256Digest::of(bytes).to_string());
    assert_eq!(asset["version"], 1);
    assert_eq!(asset["model"], model);
    assert!(
        asset["key"].as_str().unwrap().starts_with("models/"),
        "{asset}"
    );
    assert!(
        asset["placements"].is_null(),
        "an artist sees no placements: {asset}"
    );
    asset["id"].as_str().unwrap().to_owned()
}

async fn upload_by_put(shop: &Shop, model: &str) {
    for version in 1..=2 {
        let asset = shop.put_asset(model, "again.stl", stl(11, version)).await;
        assert_eq!(asset["version"], version);
    }
}

async fn a_draft_is_seen_by_its_artist_alone(shop: &Shop, model: &str, asset: &str) {
    let paths = [
        format!("/v1/models/{model}"),
        format!("/v1/models/{model}/assets"),
        format!("/v1/assets/{asset}"),
        format!("/v1/assets/{asset}/download"),
    ];
    for path in &paths {
        for who in [Who::OtherArtist, Who::Buyer, Who::Stranger] {
            let what = format!("{path} by {who:?}");
            answer(shop.get(who, path))
                .await
                .assert_problem(404, "not_found", &what);
        }
    }
    let own = answer(shop.get(Who::Artist, &paths[2])).await.json(200);
    assert_eq!(own["id"], asset);
    let seen = answer(shop.get(Who::Operator, &paths[2])).await.json(200);
    let stores: Vec<&Value> = seen["placements"]
        .as_array()
        .unwrap()
        .iter()
        .map(|placement| &placement["store"])
        .collect();
    match shop.backend {
        Backend::Local => assert_eq!(stores, ["local"]),
        Backend::S3 => assert_eq!(stores, ["s3"]),
        Backend::Hybrid => assert_eq!(stores, ["local", "s3"]),
    }
}

async fn publish(shop: &Shop, model: &str) {
    let path = format!("/v1/models/{model}");
    let patch = json!({"status": "published"});
    let foreign = shop
        .call(Who::OtherArtist, Method::PATCH, &path)
        .json(&patch);
    answer(foreign)
        .await
        .assert_problem(404, "not_found", "another artist's patch of a draft");
    let own = shop.call(Who::Artist, Method::PATCH, &path).json(&patch);
    assert_eq!(answer(own).await.json(200)["status"], "published");
    assert_eq!(
        answer(shop.get(Who::Nobody, &path)).await.json(200)["id"],
        model
    );
}

async fn nobody_gets_unbought_bytes(shop: &Shop, download: &str) {
    for who in [Who::Stranger, Who::OtherArtist] {
        for method in [Method::GET, Method::HEAD] {
            let answer = answer(shop.call(who, method.clone(), download)).await;
            assert_eq!(answer.status, 403, "{who:?} {method}");
        }
        let refused = answer(shop.get(who, download).header("range", "bytes=0-0")).await;
        refused.assert_problem(403, "not_purchased", &format!("{who:?}"));
    }
    let anonymous = answer(shop.get(Who::Nobody, download)).await;
    anonymous.assert_problem(401, "unauthenticated", "no key");
    let shop_alone = answer(shop.get(Who::Service, download)).await;
    shop_alone.assert_problem(403, "forbidden", "a service key without a user");
    let for_eve = shop
        .get(Who::Service, download)
        .header("stockroom-act-as", "eve");
    answer(for_eve)
        .await
        .assert_problem(403, "not_purchased", "a service key for a stranger");
}

async fn purchase(shop: &Shop, model: &str) -> String {
    let record = |body: Value| {
        answer(
            shop.call(Who::Service, Method::POST, "/v1/purchases")
                .json(&body),
        )
    };
    let order = json!({"buyer": "ben", "model": model, "order_ref": "order 1"});
    let first = record(order.clone()).await.json(201);
    assert_eq!(first["status"], "active");
    assert_eq!(first["downloads"], 0);
    assert_eq!(record(order).await.json(200)["id"], first["id"]);
    for other in [
        json!({"buyer": "eve", "model": model, "order_ref": "order 1"}),
        json!({"buyer": "ben", "model": model, "order_ref": "order 1", "download_limit": 3}),
    ] {
        record(other)
            .await
            .assert_problem(409, "order_conflict", "another body");
    }
    first["id"].as_str().unwrap().to_owned()
}

async fn the_buyer_gets_the_bytes(shop: &Shop, download: &str, bytes: &[u8]) {
    let whole = answer(shop.get(Who::Buyer, download)).await;
    assert_eq!(whole.status, 200);
    assert!(whole.body == bytes, "other bytes than were uploaded");
    assert_eq!(whole.header("content-type"), "model/stl");
    assert_eq!(whole.header("content-length"), bytes.len().to_string());
    assert_eq!(
        whole.header("etag"),
        format!("\"{}\"", Sha256Digest::of(bytes))
    );
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("repr-digest"), repr_digest(bytes));
    assert_eq!(whole.header("x-content-type-options"), "nosniff");
    let disposition = whole.header("content-disposition");
    assert!(disposition.starts_with("attachment;"), "{disposition}");
    assert!(
        disposition.contains("filename*=UTF-8''Gr%C3%B6%C3%9Fe%20100%20%25.stl"),
        "{disposition}"
    );

    let head = answer(shop.call(Who::Buyer, Method::HEAD, download)).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
    for name in [
        "content-length",
        "etag",
        "content-type",
        "content-disposition",
        "accept-ranges",
    ] {
        assert_eq!(head.header(name), whole.header(name), "{name} of HEAD");
    }
    let acted = shop
        .get(Who::Service, download)
        .header("stockroom-act-as", "ben");
    assert!(
        answer(acted).await.body == bytes,
        "the shop's backend gets the bytes for its user"
    );
}

async fn ranges_are_exact(shop: &Shop, download: &str, bytes: &[u8]) {
    let size = bytes.len() as u64;
    let cases = [
        ("bytes=0-0".to_owned(), 0, 0),
        (
            format!("bytes={}-{}", CHUNK_BYTES - 1, CHUNK_BYTES),
            CHUNK_BYTES - 1,
            CHUNK_BYTES,
        ),
        (
            format!("bytes={}-{}", CHUNK_BYTES, 2 * CHUNK_BYTES - 1),
            CHUNK_BYTES,
            2 * CHUNK_BYTES - 1,
        ),
        (format!("bytes=7-{}", 2 * CHUNK_BYTES), 7, 2 * CHUNK_BYTES),
        (
            format!("bytes={}-", CHUNK_BYTES + 1),
            CHUNK_BYTES + 1,
            size - 1,
        ),
        ("bytes=-1".to_owned(), size - 1, size - 1),
        (
            format!("bytes=-{CHUNK_BYTES}"),
            size - CHUNK_BYTES,
            size - 1,
        ),
        (format!("bytes=-{}", size + 5), 0, size - 1),
        (format!("bytes=3-{}", size + 5), 3, size - 1),
        ("bytes=0-99999999999999999999999".to_owned(), 0, size - 1),
        (
            format!("BYTES={}-{}", size - 1, size - 1),
            size - 1,
            size - 1,
        ),
    ];
    for (range, first, last) in cases {
        let part = answer(shop.get(Who::Buyer, download).header("range", &range)).await;
        assert_eq!(part.status, 206, "{range}");
        assert_eq!(
            part.header("content-range"),
            format!("bytes {first}-{last}/{size}"),
            "{range}"
        );
        assert_eq!(
            part.header("content-length"),
            (last - first + 1).to_string(),
            "{range}"
        );
        let expected = &bytes[usize::try_from(first).unwrap()..=usize::try_from(last).unwrap()];
        assert!(part.body == expected, "{range}: other bytes");
    }
    for range in [
        format!("bytes={size}-"),
        "bytes=-0".to_owned(),
        format!("bytes={size}-{}", size + 9),
    ] {
        let refused = answer(shop.get(Who::Buyer, download).header("range", &range)).await;
        refused.assert_problem(416, "range_not_satisfiable", &range);
        assert_eq!(
            refused.header("content-range"),
            format!("bytes */{size}"),
            "{range}"
        );
    }
}

async fn conditions_hold(shop: &Shop, download: &str, bytes: &[u8]) {
    let etag = format!("\"{}\"", Sha256Digest::of(bytes));
    let weak = format!("W/{etag}");
    let range = ("range", "bytes=0-9");
    let cases: &[(&[(&str, &str)], u16)] = &[
        (&[("if-none-match", &etag)], 304),
        (&[("if-none-match", &weak)], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"other\"")], 200),
        (&[("if-match", &etag)], 200),
        (&[("if-match", "\"other\"")], 412),
        (&[("if-match", &weak)], 412),
        (&[range, ("if-range", &etag)], 206),
        (&[range, ("if-range", &weak)], 200),
        (&[range, ("if-range", "\"other\"")], 200),
        (&[range, ("if-range", "Wed, 21 Oct 2026 07:28:00 GMT")], 200),
        (&[range, ("if-none-match", &etag)], 304),
    ];
    for (headers, status) in cases {
        let mut request = shop.get(Who::Buyer, download);
        for (name, value) in *headers {
            request = request.header(*name, *value);
        }
        let answer = answer(request).await;
        assert_eq!(answer.status, *status, "{headers:?}");
        match status {
            304 => assert_eq!(
                (answer.body.len(), answer.header("etag")),
                (0, etag.as_str())
            ),
            412 => answer.assert_problem(412, "precondition_failed", "if-match"),
            206 => assert!(answer.body == bytes[..10]),
            _ => assert!(answer.body == bytes, "{headers:?}"),
        }
    }
}

async fn delivery_follows_mode_and_wish(shop: &Shop, asset: &str, bytes: &[u8]) {
    let path = format!("/v1/assets/{asset}/download");
    let default = answer(shop.get(Who::Buyer, &path)).await;
    let expected = if shop.backend == Backend::S3 {
        302
    } else {
        200
    };
    assert_eq!(default.status, expected, "{:?}", shop.backend);

    let redirect = answer(shop.get(Who::Buyer, &format!("{path}?delivery=redirect"))).await;
    assert_eq!((redirect.status, redirect.body.len()), (302, 0));
    assert!(redirect.header("cache-control").contains("no-store"));
    let there = answer(shop.fetch(Method::GET, redirect.header("location"))).await;
    assert_eq!(there.status, 200);
    assert!(there.body == bytes, "other bytes behind the redirect");
    let disposition = there.header("content-disposition");
    assert!(
        disposition.contains("filename*=UTF-8''Gr%C3%B6"),
        "{disposition}"
    );
    assert_eq!(there.header("content-type"), "model/stl");

    let wrong = answer(shop.get(Who::Buyer, &format!("{path}?delivery=pigeon"))).await;
    wrong.assert_problem(400, "invalid_request", "a delivery that does not exist");
}

async fn signed_urls_carry_their_permission(shop: &Shop, asset: &str, bytes: &[u8]) {
    let path = format!("/v1/assets/{asset}/signed-url");
    let refused = answer(shop.call(Who::Stranger, Method::POST, &path)).await;
    refused.assert_problem(403, "not_purchased", "a stranger asks for a URL");
    for expires_in in [
        json!(0),
        json!(604_801),
        json!(-1),
        json!("900"),
        json!(1.5),
    ] {
        let body = json!({ "expires_in": expires_in });
        let refused = answer(shop.call(Who::Buyer, Method::POST, &path).json(&body)).await;
        refused.assert_problem(400, "invalid_request", &format!("expires_in {expires_in}"));
    }

    let sign = async |body: Value| {
        let signed = answer(shop.call(Who::Buyer, Method::POST, &path).json(&body))
            .await
            .json(200);
        signed["url"].as_str().unwrap().to_owned()
    };
    let url = sign(json!({"expires_in": 604_800, "disposition": "inline"})).await;
    let whole = answer(shop.fetch(Method::GET, &url)).await;
    assert_eq!(whole.status, 200);
    assert!(whole.body == bytes, "other bytes behind the signed URL");
    assert!(whole.header("content-disposition").starts_with("inline;"));
    let part = answer(shop.fetch(Method::GET, &url).header("range", "bytes=5-8")).await;
    assert_eq!(part.status, 206);
    assert!(part.body == bytes[5..=8]);

    // Of both ends of the URL one character is another.
    for at in [url.len() - 1, url.find("models/").unwrap() + 8] {
        let mut tampered = url.clone().into_bytes();
        tampered[at] = if tampered[at] == b'0' { b'1' } else { b'0' };
        let tampered = String::from_utf8(tampered).unwrap();
        let answer = answer(shop.fetch(Method::GET, &tampered)).await;
        assert_refused_link(shop, &answer, "bad_signature");
    }

    shop.clock.set_offset_s(-120);
    let expired = sign(json!({"expires_in": 60})).await;
    shop.clock.set_offset_s(0);
    let answer = answer(shop.fetch(Method::GET, &expired)).await;
    assert_refused_link(shop, &answer, "signature_expired");
}

/// Links to the bucket are refused by the bucket, in its own words.
#[track_caller]
fn assert_refused_link(shop: &Shop, answer: &Answer, code: &str) {
    match shop.backend {
        Backend::S3 => assert_eq!(answer.status, 403, "{code}"),
        Backend::Local | Backend::Hybrid => answer.assert_problem(403, code, "a link"),
    }
}

async fn the_library_holds_what_was_bought(shop: &Shop, model: &str, purchase: &str, asset: &str) {
    let library = answer(shop.get(Who::Buyer, "/v1/library")).await.json(200);
    let entries = library["data"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "{library}");
    assert_eq!(entries[0]["id"], purchase);
    assert_eq!(entries[0]["model_details"]["id"], model);
    assert!(entries[0]["downloads"].as_u64().unwrap() > 0, "{library}");
    let assets = entries[0]["assets"].as_array().unwrap();
    assert!(assets.iter().any(|entry| entry["id"] == asset), "{library}");
    let again: Vec<_> = assets
        .iter()
        .filter(|entry| entry["filename"] == "again.stl")
        .collect();
    assert_eq!(again.len(), 1, "only the newest version: {library}");
    assert_eq!(again[0]["version"], 2);

    let nothing = answer(shop.get(Who::Stranger, "/v1/library"))
        .await
        .json(200);
    assert_eq!(nothing["data"], json!([]));
    let anonymous = answer(shop.get(Who::Nobody, "/v1/library")).await;
    anonymous.assert_problem(401, "unauthenticated", "a library of nobody");
}

async fn a_refund_ends_access(shop: &Shop, purchase: &str, download: &str) {
    let path = format!("/v1/purchases/{purchase}/refund");
    let by_buyer = answer(shop.call(Who::Buyer, Method::POST, &path)).await;
    by_buyer.assert_problem(403, "forbidden", "a refund by the buyer");
    let refund = answer(shop.call(Who::Service, Method::POST, &path))
        .await
        .json(200);
    assert_eq!(refund["status"], "refunded");
    let whole = answer(shop.get(Who::Buyer, download)).await;
    whole.assert_problem(403, "not_purchased", "a download after the refund");
    let resumed = shop
        .get(Who::Buyer, download)
        .header("range", "bytes=1000-");
    answer(resumed)
        .await
        .assert_problem(403, "not_purchased", "a resumed download");
}

async fn a_deleted_model_is_gone(shop: &Shop, model: &str, asset: &str, download: &str) {
    shop.sell(model, "order 2").await;
    assert_eq!(answer(shop.get(Who::Buyer, download)).await.status, 200);
    let signing = format!("/v1/assets/{asset}/signed-url");
    let signed = answer(shop.call(Who::Buyer, Method::POST, &signing))
        .await
        .json(200);

    let path = format!("/v1/models/{model}");
    let foreign = answer(shop.call(Who::OtherArtist, Method::DELETE, &path)).await;
    foreign.assert_problem(403, "forbidden", "deletion by another artist");
    assert_eq!(
        answer(shop.call(Who::Artist, Method::DELETE, &path))
            .await
            .status,
        204
    );
    for who in [Who::Artist, Who::Buyer, Who::Stranger, Who::Operator] {
        for path in [path.as_str(), download, &format!("/v1/assets/{asset}")] {
            let what = format!("{path} by {who:?}");
            answer(shop.get(who, path))
                .await
                .assert_problem(404, "not_found", &what);
        }
    }
    if shop.backend != Backend::S3 {
        let url = signed["url"].as_str().unwrap();
        let link = answer(shop.fetch(Method::GET, url)).await;
        link.assert_problem(404, "not_found", "a link to a deleted file");
    }
    while engine::round(&shop.app).await {}
    assert_eq!(
        shop.traces().await,
        Traces::NONE,
        "the bytes are gone from every store"
    );
}
