//! Keys over HTTP: made, shown once, used, and ended.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use stockroom_domain::Role;

use crate::support::{Answer, Backend, Shop, Who, answer, stl};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_once_and_opens_what_its_role_may() {
    let shop = Shop::start(Backend::Local).await;
    let body = json!({"role": "artist", "subject": "mia", "name": "Mia's laptop"});
    let answered = create(&shop, &body).await;
    assert_eq!(answered.header("cache-control"), "no-store");
    let created = answered.json(201);
    let (id, secret) = (text(&created, "id"), text(&created, "key"));
    assert!(id.starts_with("key_") && secret.starts_with("sr_live_"));
    assert_eq!(
        (&created["role"], &created["subject"], &created["name"]),
        (&json!("artist"), &json!("mia"), &json!("Mia's laptop"))
    );
    let by_key = |method, path: &str| {
        let request = shop.call(Who::Nobody, method, path);
        request.header("authorization", format!("Bearer {secret}"))
    };
    let model = by_key(Method::POST, "/v1/models").json(&json!({"title": "Helmet"}));
    assert_eq!(answer(model).await.json(201)["artist"], "mia");

    for path in [format!("/v1/keys/{id}"), "/v1/keys?limit=1".to_owned()] {
        let shown = answer(shop.get(Who::Operator, &path)).await;
        let body = String::from_utf8_lossy(&shown.body).into_owned();
        assert!(body.contains(id) && !body.contains("sr_live_"), "{body}");
        assert_eq!(shown.status, 200);
    }

    let revoke = format!("/v1/keys/{id}/revoke");
    let revoked = answer(shop.call(Who::Operator, Method::POST, &revoke)).await;
    let revoked_at = revoked.json(200)["revoked_at"].clone();
    assert!(revoked_at.is_string());
    let library = answer(by_key(Method::GET, "/v1/library")).await;
    library.assert_problem(401, "unauthenticated", "a revoked key");
    let again = answer(shop.call(Who::Operator, Method::POST, &revoke)).await;
    assert_eq!(
        again.json(200)["revoked_at"],
        revoked_at,
        "its first time stays"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_may_revoke_the_key_it_calls_with() {
    let shop = Shop::start(Backend::Local).await;
    let created = create(&shop, &json!({"role": "operator"})).await.json(201);
    let bearer = format!("Bearer {}", text(&created, "key"));
    let path = format!("/v1/keys/{}/revoke", text(&created, "id"));
    let call = || shop.call(Who::Nobody, Method::POST, &path);
    let revoked = answer(call().header("authorization", &bearer)).await;
    assert!(revoked.json(200)["revoked_at"].is_string());
    let after = answer(call().header("authorization", &bearer)).await;
    after.assert_problem(401, "unauthenticated", "a key that revoked itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_ends_at_its_expiry() {
    let shop = Shop::start(Backend::Local).await;
    let expires_at = shop.app.clock.now().after(Duration::from_secs(60));
    let body = json!({"role": "buyer", "subject": "ben", "expires_at": expires_at});
    let created = create(&shop, &body).await.json(201);
    assert_eq!(created["expires_at"], json!(expires_at));
    let bearer = format!("Bearer {}", text(&created, "key"));
    let library = || {
        shop.get(Who::Nobody, "/v1/library")
            .header("authorization", &bearer)
    };
    assert_eq!(answer(library()).await.status, 200);
    shop.set_offset_s(61);
    answer(library())
        .await
        .assert_problem(401, "unauthenticated", "an expired key");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_the_operators_business() {
    let shop = Shop::start(Backend::Local).await;
    let (id, _) = shop.create_key(Role::Service, None).await;
    let calls = [
        (Method::POST, "/v1/keys".to_owned()),
        (Method::GET, "/v1/keys".to_owned()),
        (Method::GET, format!("/v1/keys/{id}")),
        (Method::POST, format!("/v1/keys/{id}/revoke")),
    ];
    for (method, path) in &calls {
        for (who, status, code) in [
            (Who::Nobody, 401, "unauthenticated"),
            (Who::Service, 403, "forbidden"),
            (Who::Artist, 403, "forbidden"),
            (Who::Buyer, 403, "forbidden"),
        ] {
            let request = shop
                .call(who, method.clone(), path)
                .json(&json!({"role": "operator"}));
            let what = format!("{who:?} {method} {path}");
            answer(request).await.assert_problem(status, code, &what);
        }
    }
    let row = shop.app.catalog.find_key_by_id(id).await.unwrap().unwrap();
    assert_eq!(row.revoked_at, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_makes_no_sense_is_refused() {
    let shop = Shop::start(Backend::Local).await;
    let count = || async {
        let page = stockroom_catalog::Page::first(100);
        shop.app.catalog.list_keys(&page).await.unwrap().items.len()
    };
    let before = count().await;
    for body in [
        json!({}),
        json!({"role": "root"}),
        json!({"role": "Operator"}),
        json!({"role": "buyer"}),
        json!({"role": "artist", "subject": null}),
        json!({"role": "service", "subject": "ben"}),
        json!({"role": "operator", "subject": "ben"}),
        json!({"role": "buyer", "subject": "two words"}),
        json!({"role": "service", "name": ""}),
        json!({"role": "service", "name": "a\nb"}),
        json!({"role": "service", "name": "n".repeat(201)}),
        json!({"role": "service", "expires_at": "2020-01-01T00:00:00Z"}),
        json!({"role": "service", "expires_at": "tomorrow"}),
        json!({"role": "service", "key": "sr_live_of_my_choice"}),
    ] {
        let what = body.to_string();
        create(&shop, &body)
            .await
            .assert_problem(400, "invalid_request", &what);
    }
    assert_eq!(count().await, before);
    for id in ["key_01k0000000000000000000000x", "mdl_1", "sr_live_canary"] {
        for (method, path) in [
            (Method::GET, format!("/v1/keys/{id}")),
            (Method::POST, format!("/v1/keys/{id}/revoke")),
        ] {
            let gone = answer(shop.call(Who::Operator, method, &path)).await;
            gone.assert_problem(404, "not_found", &path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_use_of_a_key_is_noted_once_a_minute() {
    let shop = Shop::start(Backend::Local).await;
    let model = shop.published_model().await;
    let asset = shop.put_asset(&model, "a.stl", stl(12, 1)).await;
    shop.sell(&model, "order 1").await;
    let (id, secret) = shop.create_key(Role::Buyer, Some("ben")).await;
    let bearer = format!("Bearer {secret}");
    let download = format!("/v1/assets/{}/download", text(&asset, "id"));
    let call = async |path: &str| {
        let request = shop.get(Who::Nobody, path).header("authorization", &bearer);
        assert_eq!(answer(request).await.status, 200, "{path}");
        while !shop.app.tasks.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let row = shop.app.catalog.find_key_by_id(id).await.unwrap();
        row.unwrap().last_used_at
    };
    let before = shop.app.clock.now();
    let first = call(&download).await.expect("a download is a use");
    assert!(before <= first && first <= shop.app.clock.now());
    assert_eq!(
        call("/v1/library").await,
        Some(first),
        "less than a minute later"
    );
    shop.set_offset_s(61);
    let second = call("/v1/library").await.expect("a use");
    assert!(second.since(first) >= Duration::from_secs(60));

    // Nobody's key, and one that ended, are not used.
    assert_eq!(
        answer(shop.get(Who::Nobody, "/v1/models")).await.status,
        200
    );
    let now = shop.app.clock.now();
    shop.app.catalog.revoke_key(id, now).await.unwrap();
    shop.set_offset_s(180);
    let refused = shop
        .get(Who::Nobody, &download)
        .header("authorization", &bearer);
    assert_eq!(answer(refused).await.status, 401);
    let listed = answer(shop.get(Who::Operator, &format!("/v1/keys/{id}"))).await;
    assert_eq!(listed.json(200)["last_used_at"], json!(second));
}

async fn create(shop: &Shop, body: &Value) -> Answer {
    answer(
        shop.call(Who::Operator, Method::POST, "/v1/keys")
            .json(body),
    )
    .await
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}
