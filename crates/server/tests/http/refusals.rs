//! Requests that are refused before any byte is looked at: each with its status and code, in the
//! form of RFC 9457.

use http::Method;
use serde_json::{Value, json};
use stockroom_domain::Role;

use crate::support::{Answer, Backend, Shop, Who, answer, stl};

const NO_ID: &str = "01JD0000000000000000000000";

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_open_nothing() {
    let shop = Shop::start(Backend::Local).await;
    let model = shop.published_model().await;
    let asset = shop.put_asset(&model, "a.stl", stl(3, 1)).await;
    let download = format!("/v1/assets/{}/download", asset["id"].as_str().unwrap());

    let (id, revoked) = shop.create_key(Role::Artist, Some("mia")).await;
    assert!(
        shop.app
            .catalog
            .revoke_key(id, shop.app.clock.now())
            .await
            .unwrap()
    );
    let good = shop.authorization(Who::Artist);
    let headers = [
        format!("Bearer {revoked}"),
        format!("{good}0"),
        good.replacen("sr_live_", "sr_test_", 1),
        good.to_uppercase(),
        good.replacen("Bearer", "Basic", 1),
        "Bearer".to_owned(),
        "Bearer sr_live_".to_owned(),
        "Bearer ' OR 1=1 --".to_owned(),
    ];
    for header in headers {
        for path in [
            download.as_str(),
            "/v1/library",
            "/v1/models",
            "/v1/objects",
        ] {
            let request = shop.get(Who::Nobody, path).header("authorization", &header);
            let refused = answer(request).await;
            refused.assert_problem(401, "unauthenticated", path);
            assert!(
                refused.header("www-authenticate").starts_with("Bearer"),
                "{path}"
            );
        }
    }
    let twice = shop
        .get(Who::Artist, &download)
        .header("authorization", &good);
    answer(twice)
        .await
        .assert_problem(401, "unauthenticated", "two keys");
    let lower = shop
        .get(Who::Nobody, &download)
        .header("authorization", good.replacen("Bearer", "bearer", 1));
    assert_eq!(
        answer(lower).await.status,
        200,
        "a scheme is not case-sensitive (RFC 9110, 11.1)"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_without_the_right() {
    let shop = Shop::start(Backend::Local).await;
    let model = shop.published_model().await;
    let asset = shop.put_asset(&model, "a.stl", stl(3, 1)).await;
    let asset = format!("/v1/assets/{}", asset["id"].as_str().unwrap());
    let download = format!("{asset}/download");
    let sign = format!("{asset}/signed-url");
    let (model, files) = (
        format!("/v1/models/{model}"),
        format!("/v1/models/{model}/assets"),
    );
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    let cases = [
        (Who::Nobody, &get, download.as_str(), 401, "unauthenticated"),
        (Who::Service, &get, &download, 403, "forbidden"),
        (Who::Stranger, &get, &download, 403, "not_purchased"),
        (Who::Nobody, &post, &sign, 401, "unauthenticated"),
        (Who::Service, &post, &sign, 403, "forbidden"),
        (Who::Stranger, &post, &sign, 403, "not_purchased"),
        (Who::Nobody, &delete, &asset, 401, "unauthenticated"),
        (Who::Buyer, &delete, &asset, 403, "forbidden"),
        (Who::OtherArtist, &delete, &asset, 403, "forbidden"),
        (Who::Nobody, &delete, &model, 401, "unauthenticated"),
        (Who::Buyer, &delete, &model, 403, "forbidden"),
        (Who::OtherArtist, &post, &files, 403, "forbidden"),
        (Who::Nobody, &post, &files, 401, "unauthenticated"),
        (Who::Nobody, &get, "/v1/objects", 401, "unauthenticated"),
        (Who::Service, &get, "/v1/objects", 403, "forbidden"),
        (Who::Artist, &get, "/v1/objects/models/a", 403, "forbidden"),
        (
            Who::Buyer,
            &delete,
            "/v1/objects/models/a",
            403,
            "forbidden",
        ),
        (Who::Nobody, &get, "/v1/purchases", 401, "unauthenticated"),
        (
            Who::Buyer,
            &get,
            "/v1/purchases?buyer=eve",
            403,
            "forbidden",
        ),
        (Who::Nobody, &get, "/v1/library", 401, "unauthenticated"),
    ];
    for (who, method, path, status, code) in cases {
        let what = format!("{method} {path} by {who:?}");
        answer(shop.call(who, method.clone(), path))
            .await
            .assert_problem(status, code, &what);
    }
    let order = json!({"buyer": "mia", "model": "mdl_x", "order_ref": "1"});
    for (path, body) in [
        ("/v1/models", json!({"title": "x"})),
        ("/v1/purchases", order.clone()),
    ] {
        let posted = shop.call(Who::Nobody, Method::POST, path).json(&body);
        answer(posted)
            .await
            .assert_problem(401, "unauthenticated", path);
    }
    // Who is not let in is not told what is wrong with the body.
    for (who, path, status, code) in [
        (Who::Nobody, "/v1/models", 401, "unauthenticated"),
        (Who::Nobody, "/v1/purchases", 401, "unauthenticated"),
        (Who::Nobody, sign.as_str(), 401, "unauthenticated"),
        (Who::Buyer, "/v1/models", 403, "forbidden"),
        (Who::Buyer, "/v1/purchases", 403, "forbidden"),
    ] {
        let posted = shop.call(who, Method::POST, path).body("{");
        answer(posted).await.assert_problem(status, code, path);
    }
    for (who, path, body) in [
        (Who::Buyer, "/v1/models", json!({"title": "x"})),
        (
            Who::Artist,
            "/v1/models",
            json!({"title": "x", "artist": "otto"}),
        ),
        (
            Who::Artist,
            "/v1/purchases",
            json!({"buyer": "mia", "model": "mdl_x", "order_ref": "1"}),
        ),
    ] {
        let posted = shop.call(who, Method::POST, path).json(&body);
        answer(posted).await.assert_problem(403, "forbidden", path);
    }
    let acting = shop
        .get(Who::Buyer, &download)
        .header("stockroom-act-as", "mia");
    answer(acting)
        .await
        .assert_problem(403, "forbidden", "a buyer who acts for the artist");
    for bad in ["", "two words", &"x".repeat(129)] {
        let acting = shop
            .get(Who::Service, &download)
            .header("stockroom-act-as", bad);
        answer(acting)
            .await
            .assert_problem(400, "invalid_request", &format!("act as {bad:?}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist() {
    let shop = Shop::start(Backend::Local).await;
    let (get, post, put) = (Method::GET, Method::POST, Method::PUT);
    let cases = [
        (&get, format!("/v1/models/mdl_{NO_ID}")),
        (&get, "/v1/models/mdl_x".to_owned()),
        (&get, "/v1/models/%00".to_owned()),
        (&get, format!("/v1/models/mdl_{NO_ID}/assets")),
        (&post, format!("/v1/models/mdl_{NO_ID}/assets")),
        (&put, format!("/v1/models/mdl_{NO_ID}/assets/a.stl")),
        (&get, format!("/v1/assets/ast_{NO_ID}")),
        (&get, format!("/v1/assets/mdl_{NO_ID}")),
        (&get, format!("/v1/assets/ast_{NO_ID}/download")),
        (&post, format!("/v1/assets/ast_{NO_ID}/signed-url")),
        (&get, format!("/v1/purchases/pur_{NO_ID}")),
        (&post, format!("/v1/purchases/pur_{NO_ID}/refund")),
        (&get, "/v1/objects/models/nothing".to_owned()),
        (&Method::DELETE, "/v1/objects/models/nothing".to_owned()),
        (&post, "/v1/objects/models/nothing/signed-url".to_owned()),
        (&get, "/v1/nothing".to_owned()),
        (&get, "/v1".to_owned()),
        (&get, "/nothing?x=1".to_owned()),
        (&put, "/".to_owned() + &"x/".repeat(500)),
    ];
    for (method, path) in cases {
        let what = format!("{method} {path}");
        let request = shop.call(Who::Operator, method.clone(), &path);
        answer(request)
            .await
            .assert_problem(404, "not_found", &what);
    }
    let order = json!({"buyer": "ben", "model": format!("mdl_{NO_ID}"), "order_ref": "1"});
    let posted = shop
        .call(Who::Service, Method::POST, "/v1/purchases")
        .json(&order);
    answer(posted)
        .await
        .assert_problem(404, "not_found", "a purchase of no model");
    let unsigned = answer(shop.get(Who::Operator, "/files/models/a")).await;
    unsigned.assert_problem(403, "bad_signature", "a file without a signature");
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_do_not_fit() {
    let shop = Shop::start(Backend::Local).await;
    let model = shop.published_model().await;
    let order = |change: Value| {
        let mut order = json!({"buyer": "ben", "model": model, "order_ref": "1"});
        order
            .as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        order.to_string()
    };
    let long = json!({ "title": "x".repeat(201) }).to_string();
    let huge = json!({ "title": "x".repeat(1 << 20) }).to_string();
    let (models, purchases) = ("/v1/models", "/v1/purchases");
    let cases: [(&str, String, u16, &str); 22] = [
        (models, String::new(), 400, "invalid_request"),
        (models, "{".to_owned(), 400, "invalid_request"),
        (models, "[]".to_owned(), 400, "invalid_request"),
        (models, "{\"title\": 1}".to_owned(), 400, "invalid_request"),
        (models, "{}".to_owned(), 400, "invalid_request"),
        (
            models,
            "{\"title\": \"\"}".to_owned(),
            400,
            "invalid_request",
        ),
        (
            models,
            "{\"title\": \"a\\nb\"}".to_owned(),
            400,
            "invalid_request",
        ),
        (
            models,
            "{\"title\": \"a\\u0000\"}".to_owned(),
            400,
            "invalid_request",
        ),
        (
            models,
            "{\"title\": \"a\", \"description\": \"\\u0000\"}".to_owned(),
            400,
            "invalid_request",
        ),
        (
            models,
            "{\"title\": \"a\", \"colour\": \"red\"}".to_owned(),
            400,
            "invalid_request",
        ),
        (
            models,
            "{\"title\": \"a\", \"price\": {\"amount\": -1, \"currency\": \"EUR\"}}".to_owned(),
            400,
            "invalid_request",
        ),
        (
            models,
            "{\"title\": \"a\", \"price\": {\"amount\": 1.5, \"currency\": \"EUR\"}}".to_owned(),
            400,
            "invalid_request",
        ),
        (
            models,
            "{\"title\": \"a\", \"price\": {\"amount\": 1, \"currency\": \"euro\"}}".to_owned(),
            400,
            "invalid_request",
        ),
        (
            models,
            "{\"title\": \"a\", \"artist\": \"two words\"}".to_owned(),
            400,
            "invalid_request",
        ),
        (models, long, 400, "invalid_request"),
        (models, huge, 413, "too_large"),
        (
            purchases,
            order(json!({"order_ref": ""})),
            400,
            "invalid_request",
        ),
        (
            purchases,
            order(json!({"order_ref": "x".repeat(256)})),
            400,
            "invalid_request",
        ),
        (
            purchases,
            order(json!({"buyer": "x y"})),
            400,
            "invalid_request",
        ),
        (
            purchases,
            order(json!({"expires_at": "tomorrow"})),
            400,
            "invalid_request",
        ),
        (
            purchases,
            order(json!({"download_limit": -1})),
            400,
            "invalid_request",
        ),
        (
            purchases,
            order(json!({"downloads": 1})),
            400,
            "invalid_request",
        ),
    ];
    for (path, body, status, code) in cases {
        let what = format!("{path} {}", &body[..body.len().min(80)]);
        let request = shop
            .call(Who::Service, Method::POST, path)
            .header("content-type", "application/json")
            .header("stockroom-act-as", "mia")
            .body(body);
        answer(request).await.assert_problem(status, code, &what);
    }
    let status = shop
        .call(Who::Artist, Method::PATCH, &format!("/v1/models/{model}"))
        .json(&json!({"status": "sold"}));
    answer(status)
        .await
        .assert_problem(400, "invalid_request", "no such status");
    for content_type in ["text/plain", "application/x-www-form-urlencoded", ""] {
        let request = shop
            .call(Who::Artist, Method::POST, models)
            .header("content-type", content_type)
            .body("{\"title\": \"a\"}");
        answer(request)
            .await
            .assert_problem(415, "unsupported_type", content_type);
    }
    let listed = answer(shop.get(Who::Operator, models)).await.json(200);
    assert_eq!(
        listed["data"].as_array().unwrap().len(),
        1,
        "nothing was made: {listed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_that_do_not_fit() {
    let shop = Shop::start(Backend::Local).await;
    let lists = ["/v1/models", "/v1/purchases", "/v1/objects", "/v1/library"];
    for list in lists {
        for query in [
            "limit=0",
            "limit=101",
            "limit=-1",
            "limit=ten",
            "limit=1e1",
            "cursor=%00",
            "cursor=nonsense",
        ] {
            let path = format!("{list}?{query}");
            let request = shop.get(Who::Operator, &path);
            let request = match list {
                "/v1/library" => request.header("stockroom-act-as", "ben"),
                _ => request,
            };
            answer(request)
                .await
                .assert_problem(400, "invalid_request", &path);
        }
    }
    for query in [
        "/v1/models?status=sold",
        "/v1/models?artist=two%20words",
        "/v1/purchases?buyer=",
    ] {
        answer(shop.get(Who::Operator, query))
            .await
            .assert_problem(400, "invalid_request", query);
    }
}

async fn operator_raw(shop: &Shop, method: &str, target: &str, body: &str) -> Answer {
    let authorization = shop.authorization(Who::Operator);
    let length = body.len();
    shop.raw(format!(
        "{method} {target} HTTP/1.1\r\nHost: shop\r\nAuthorization: {authorization}\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    ))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_that_a_path_does_not_take() {
    let shop = Shop::start(Backend::Local).await;
    let cases = [
        (Method::PUT, "/v1/models"),
        (Method::DELETE, "/v1/library"),
        (Method::POST, "/v1/models/mdl_x"),
        (Method::POST, "/v1/assets/ast_x/download"),
        (Method::GET, "/v1/assets/ast_x/signed-url"),
        (Method::PATCH, "/v1/objects/models/a"),
        (Method::POST, "/files/models/a"),
        (Method::DELETE, "/livez"),
        (Method::TRACE, "/v1/models"),
    ];
    for (method, path) in cases {
        let what = format!("{method} {path}");
        let refused = answer(shop.call(Who::Operator, method, path)).await;
        refused.assert_problem(405, "method_not_allowed", &what);
        assert!(!refused.header("allow").is_empty(), "{what}");
    }
    let signing = operator_raw(&shop, "POST", "/v1/objects/models/a", "").await;
    assert!(
        matches!(signing.status, 404 | 405),
        "a POST to an object: {signing:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_carry_the_id_of_their_request() {
    let shop = Shop::start(Backend::Local).await;
    let own = shop
        .get(Who::Nobody, "/v1/nothing")
        .header("x-request-id", "shop-00000001");
    let own = answer(own).await;
    own.assert_problem(404, "not_found", "with an id of the caller's");
    assert_eq!(own.header("x-request-id"), "shop-00000001");
}
