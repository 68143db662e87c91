//! The record of what operators did.

use std::process::Command;
use std::time::Duration;

use chaos_s3::{Fault, FaultAction, Operation};
use http::Method;
use serde_json::{Value, json};
use stockroom_domain::Role;
use tokio::io::AsyncWriteExt as _;

use crate::support::{Backend, Shop, Who, answer};

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_changes_is_on_record_before_the_answer() {
    let shop = Shop::start(Backend::Local).await;
    let key = operator_key(&shop).await;
    let calls = [
        (
            Method::POST,
            "/v1/models",
            json!({"title": "A", "artist": "mia"}),
            201,
        ),
        (Method::POST, "/v1/models", json!({"title": ""}), 400),
        (Method::PUT, "/v1/objects/models/a%20b", json!("bytes"), 201),
        (Method::PUT, "/v1/objects/elsewhere/a", json!("bytes"), 400),
        (Method::DELETE, "/v1/objects/models/a%20b", json!(null), 204),
        (Method::DELETE, "/v1/objects/models/a%20b", json!(null), 404),
        (Method::POST, "/v1/keys", json!({"role": "service"}), 201),
        (Method::POST, "/v1/keys", json!({"role": "buyer"}), 400),
    ];
    for (method, path, body, status) in calls {
        let request = shop.call(Who::Operator, method.clone(), path).json(&body);
        let answered = answer(request).await;
        assert_eq!(answered.status, status, "{method} {path}");
        let newest = &record(&shop, "?limit=1").await[0];
        let route = if path.starts_with("/v1/objects/") {
            "/v1/objects/{*key}"
        } else {
            path
        };
        assert_eq!(newest["action"], format!("{method} {route}"));
        assert_eq!(newest["status"], status, "{method} {path}");
        assert_eq!(newest["key"], key);
        assert_eq!(newest["request_id"], answered.header("x-request-id"));
        assert_eq!(newest["address"], "127.0.0.1");
        assert!(newest["id"].as_str().unwrap().starts_with("aud_"));
        let target = match (path.strip_prefix("/v1/objects/"), status) {
            (Some(named), _) => json!(named),
            (None, 201) => answered.json(201)["id"].clone(),
            (None, _) => Value::Null,
        };
        assert_eq!(newest["target"], target, "{method} {path}");
    }
    let on_behalf = shop
        .call(Who::Operator, Method::POST, "/v1/models")
        .header("stockroom-act-as", "mia")
        .json(&json!({"title": "B"}));
    assert_eq!(answer(on_behalf).await.status, 201);
    assert_eq!(record(&shop, "").await.len(), 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_reads_or_is_no_operator_is_not_on_record() {
    let shop = Shop::start(Backend::Local).await;
    let model = shop.published_model().await;
    shop.sell(&model, "order 1").await;
    let (revoked, secret) = shop.create_key(Role::Operator, None).await;
    let now = shop.app.clock.now();
    shop.app.catalog.revoke_key(revoked, now).await.unwrap();
    let refused = shop
        .call(Who::Nobody, Method::DELETE, &format!("/v1/models/{model}"))
        .header("authorization", format!("Bearer {secret}"));
    assert_eq!(answer(refused).await.status, 401);
    for (who, method, path) in [
        (Who::Nobody, Method::POST, "/v1/models"),
        (Who::Buyer, Method::POST, "/v1/keys"),
        (Who::Service, Method::DELETE, "/v1/objects/models/a"),
        (Who::Operator, Method::GET, "/v1/keys"),
        (Who::Operator, Method::HEAD, "/v1/objects/models/a"),
    ] {
        answer(shop.call(who, method, path)).await;
    }
    assert_eq!(record(&shop, "").await, [] as [Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_too_often_is_not_on_record() {
    let shop = Shop::start_with(Backend::Local, &[("RATE_LIMIT_PER_KEY", "1/m")]).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let request = shop.call(Who::Operator, Method::PUT, "/v1/objects/models/a");
        statuses.push(answer(request.body("bytes")).await.status);
    }
    assert_eq!(statuses, [201, 429, 429]);
    let page = stockroom_catalog::Page::first(10);
    let entries = shop.app.catalog.list_audit(None, &page).await.unwrap();
    assert_eq!(entries.items.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_comes_in_pages_and_by_key() {
    let shop = Shop::start(Backend::Local).await;
    let (other, secret) = shop.create_key(Role::Operator, None).await;
    for number in 0..5 {
        for bearer in [
            shop.authorization(Who::Operator),
            format!("Bearer {secret}"),
        ] {
            let path = format!("/v1/objects/models/{number}");
            let request = shop.call(Who::Nobody, Method::PUT, &path).body("bytes");
            assert_eq!(
                answer(request.header("authorization", bearer)).await.status,
                201
            );
        }
    }
    let (mut cursor, mut targets) = (String::new(), Vec::new());
    loop {
        let path = format!("/v1/audit?key={other}&limit=2&cursor={cursor}");
        let page = answer(shop.get(Who::Operator, &path)).await.json(200);
        for entry in page["data"].as_array().unwrap() {
            assert_eq!(entry["key"], other.to_string());
            targets.push(entry["target"].as_str().unwrap().to_owned());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(
        targets,
        ["models/4", "models/3", "models/2", "models/1", "models/0"]
    );
    assert_eq!(record(&shop, "").await.len(), 10);
    assert_eq!(record(&shop, "?key=nonsense").await, [] as [Value; 0]);
    for (who, status, code) in [
        (Who::Nobody, 401, "unauthenticated"),
        (Who::Service, 403, "forbidden"),
        (Who::Artist, 403, "forbidden"),
    ] {
        let refused = answer(shop.get(who, "/v1/audit")).await;
        refused.assert_problem(status, code, "the record");
    }
    let odd = answer(shop.get(Who::Operator, "/v1/audit?cursor=x")).await;
    odd.assert_problem(400, "invalid_request", "a cursor");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_who_goes_away_is_on_record_without_a_status() {
    let shop = Shop::start(Backend::S3).await;
    let wait = FaultAction::Delay(Duration::from_secs(1));
    shop.chaos().fault(Fault::new(Operation::PutObject, wait));
    let mut stream = shop.connect().await.unwrap();
    let request = format!(
        "PUT /v1/objects/models/a HTTP/1.1\r\nHost: shop\r\nAuthorization: {}\r\n\
         Content-Length: 5\r\n\r\nbytes",
        shop.authorization(Who::Operator)
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    while shop.app.tasks.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(stream);
    let entries = loop {
        let entries = record(&shop, "").await;
        if !entries.is_empty() {
            break entries;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["action"], "PUT /v1/objects/{*key}");
    assert_eq!(entries[0]["target"], "models/a");
    assert_eq!(entries[0]["status"], Value::Null);
    // It was done all the same.
    while !shop.app.tasks.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let read = answer(shop.get(Who::Operator, "/v1/objects/models/a?delivery=stream")).await;
    assert!(matches!(read.status, 200 | 302), "{}", read.status);
    assert_eq!(record(&shop, "").await.len(), 1);
    // Nor is it counted among those that are being answered: there is only the one that asks.
    let metrics = answer(shop.get(Who::Nobody, "/metrics")).await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(
        metrics.contains("\nstockroom_http_requests_in_flight 1\n"),
        "{metrics}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_stays_done_when_the_record_cannot_be_written() {
    let Some(shop) = Shop::start_on_postgres(Backend::Local, &[]).await else {
        return;
    };
    shop.administer("ALTER TABLE audit_log RENAME TO away");
    let request = shop.call(Who::Operator, Method::PUT, "/v1/objects/models/a");
    assert_eq!(answer(request.body("bytes")).await.status, 201);
    let read = answer(shop.get(Who::Operator, "/v1/objects/models/a")).await;
    assert_eq!(read.body, "bytes");
    let metrics = answer(shop.get(Who::Nobody, "/metrics")).await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(
        metrics.contains("\nstockroom_audit_failures_total 1\n"),
        "{metrics}"
    );
    shop.administer("ALTER TABLE away RENAME TO audit_log");
    assert_eq!(record(&shop, "").await, [] as [Value; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_made_and_revoked_on_the_command_line_are_on_record() {
    let shop = Shop::start(Backend::Local).await;
    let stockroom = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_stockroom"))
            .args(arguments)
            .env_clear()
            .env("DATA_DIR", shop.uploads_folder().parent().unwrap())
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let line = String::from_utf8(output.stdout).unwrap();
        serde_json::from_str::<Value>(&line).unwrap()
    };
    let created = stockroom(&["key", "create", "--role", "service", "--json"]);
    stockroom(&["key", "revoke", created["id"].as_str().unwrap(), "--json"]);
    let entries = record(&shop, "").await;
    let actions: Vec<&Value> = entries.iter().map(|entry| &entry["action"]).collect();
    assert_eq!(actions, ["stockroom key revoke", "stockroom key create"]);
    for entry in &entries {
        assert_eq!(entry["target"], created["id"]);
        for unknown in ["key", "status", "request_id", "address"] {
            assert_eq!(entry[unknown], Value::Null);
        }
    }
}

async fn record(shop: &Shop, query: &str) -> Vec<Value> {
    let page = answer(shop.get(Who::Operator, &format!("/v1/audit{query}"))).await;
    page.json(200)["data"].as_array().unwrap().clone()
}

/// The id of the key that the tests' operator calls with.
async fn operator_key(shop: &Shop) -> String {
    let keys = answer(shop.get(Who::Operator, "/v1/keys?limit=100"))
        .await
        .json(200);
    let keys = keys["data"].as_array().unwrap();
    let operator = keys.iter().find(|key| key["role"] == "operator").unwrap();
    operator["id"].as_str().unwrap().to_owned()
}
