//! How often callers may ask, and what is refused before it can do harm.

use http::Method;

use crate::support::{Backend, Shop, Who, answer, stl};

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_calls_too_often_waits_and_no_other_does() {
    let settings = [("RATE_LIMIT_PER_KEY", "6/m")];
    let shop = Shop::start_with(Backend::Local, &settings).await;
    let models = |who| answer(shop.get(who, "/v1/models"));
    assert_eq!(models(Who::Buyer).await.status, 200);
    let refused = models(Who::Buyer).await;
    refused.assert_problem(429, "too_many_requests", "the second call");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=10).contains(&wait), "{wait}");
    assert_eq!(models(Who::Operator).await.status, 200, "another key");
    for _ in 0..3 {
        assert_eq!(models(Who::Nobody).await.status, 200, "no key");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_and_all_other_calls_of_a_key_are_counted_together() {
    let settings = [("RATE_LIMIT_PER_KEY", "3/s")];
    let shop = Shop::start_with(Backend::Local, &settings).await;
    let model = shop.published_model().await;
    let asset = shop.put_asset(&model, "a.stl", stl(12, 1)).await;
    shop.sell(&model, "order 1").await;
    let download = format!("/v1/assets/{}/download", asset["id"].as_str().unwrap());
    let mut statuses = Vec::new();
    for path in [
        &download,
        "/v1/library",
        &download,
        "/v1/library",
        &download,
    ] {
        statuses.push(answer(shop.get(Who::Buyer, path)).await.status);
    }
    // On a slow machine a call may have been earned back meanwhile.
    let (admitted, rest) = statuses.split_at(3);
    assert_eq!(admitted, [200; 3]);
    assert!(rest.contains(&429), "{statuses:?}");
    assert!(rest.iter().all(|status| matches!(status, 200 | 429)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_limited_before_its_key_is_looked_up_but_may_ask_for_health() {
    let settings = [("RATE_LIMIT_PER_ADDRESS", "2/m")];
    let shop = Shop::start_with(Backend::Local, &settings).await;
    let guess = || {
        let request = shop.get(Who::Nobody, "/v1/library");
        request.header("authorization", "Bearer sr_live_guess")
    };
    answer(guess())
        .await
        .assert_problem(401, "unauthenticated", "the first guess");
    let refused = answer(guess()).await;
    refused.assert_problem(429, "too_many_requests", "the second guess");
    assert!(!refused.header("retry-after").is_empty());
    for (method, path) in [
        (Method::GET, "/v1/models"),
        (Method::GET, "/nowhere"),
        (Method::PATCH, "/v1/models"),
        (Method::GET, "/files/models/a?signature=x"),
        (Method::GET, "/metrics"),
    ] {
        let refused = answer(shop.call(Who::Operator, method, path)).await;
        refused.assert_problem(429, "too_many_requests", path);
    }
    for path in ["/livez", "/readyz", "/livez", "/readyz"] {
        assert_eq!(
            answer(shop.get(Who::Nobody, path)).await.status,
            200,
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_behind_a_trusted_proxy_are_told_apart() {
    let settings = [
        ("RATE_LIMIT_PER_ADDRESS", "1/m"),
        ("TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.0/8"),
    ];
    let shop = Shop::start_with(Backend::Local, &settings).await;
    let from = |forwarded: &'static str| {
        let request = shop.get(Who::Nobody, "/v1/models");
        let answered = answer(request.header("x-forwarded-for", forwarded));
        async { answered.await.status }
    };
    assert_eq!(from("203.0.113.1").await, 200);
    assert_eq!(from("203.0.113.1").await, 429);
    assert_eq!(from("203.0.113.2, 10.0.0.9").await, 200);
    assert_eq!(
        from("8.8.8.8, 203.0.113.2").await,
        429,
        "the beginning is anybody's"
    );
    assert_eq!(from("2001:db8::1").await, 200);
    assert_eq!(from("[2001:db8::2]:4711").await, 429, "the same network");
    assert_eq!(from("2001:db8:0:1::1").await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_another_address_by_saying_so() {
    let settings = [("RATE_LIMIT_PER_ADDRESS", "1/m")];
    let shop = Shop::start_with(Backend::Local, &settings).await;
    let mut statuses = Vec::new();
    for number in 1..=3 {
        let address = format!("203.0.113.{number}");
        let request = shop
            .get(Who::Nobody, "/v1/models")
            .header("x-forwarded-for", &address)
            .header("x-real-ip", &address)
            .header("forwarded", format!("for={address}"));
        statuses.push(answer(request).await.status);
    }
    assert_eq!(statuses, [200, 429, 429]);
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_is_nested_too_deep_is_refused_on_every_route_that_takes_json() {
    let shop = Shop::start(Backend::Local).await;
    let model = shop.published_model().await;
    let asset = shop.put_asset(&model, "a.stl", stl(12, 1)).await;
    let object = shop.call(Who::Operator, Method::PUT, "/v1/objects/models/a");
    assert_eq!(answer(object.body("a")).await.status, 201);
    let (arrays, objects) = ("[".repeat(10_000), "{\"a\":".repeat(10_000));
    let bodies = [
        format!("{arrays}{}", "]".repeat(10_000)),
        format!("{objects}1{}", "}".repeat(10_000)),
        arrays.clone(),
    ];
    for (method, path, field) in [
        (Method::POST, "/v1/models".to_owned(), "title"),
        (Method::PATCH, format!("/v1/models/{model}"), "description"),
        (Method::POST, "/v1/purchases".to_owned(), "buyer"),
        (Method::POST, "/v1/keys".to_owned(), "role"),
        (
            Method::POST,
            format!("/v1/assets/{}/signed-url", asset["id"].as_str().unwrap()),
            "expires_in",
        ),
        (
            Method::POST,
            "/v1/objects/models/a/signed-url".to_owned(),
            "expires_in",
        ),
    ] {
        for nested in &bodies {
            for body in [
                nested.clone(),
                format!("{{\"{field}\": {nested}}}"),
                format!("{{\"unknown\": {nested}}}"),
            ] {
                let request = shop
                    .call(Who::Operator, method.clone(), &path)
                    .header("content-type", "application/json")
                    .body(body);
                let what = format!("{method} {path}");
                answer(request)
                    .await
                    .assert_problem(400, "invalid_request", &what);
            }
        }
    }
    assert_eq!(answer(shop.get(Who::Nobody, "/livez")).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_that_callers_make_up_are_counted_as_one() {
    let shop = Shop::start(Backend::Local).await;
    for number in 0..50 {
        let request =
            format!("ZZ{number} /v1/models HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n");
        let refused = shop.raw(request).await;
        refused.assert_problem(405, "method_not_allowed", "a method of one's own");
    }
    let metrics = answer(shop.get(Who::Nobody, "/metrics")).await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(!metrics.contains("ZZ"), "{metrics}");
    let counted = r#"http_requests_total{route="/v1/models",method="OTHER",status="405"} 50"#;
    assert!(metrics.contains(counted), "{metrics}");
}
