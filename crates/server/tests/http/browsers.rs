//! What browsers are told: which pages may call, and what they may do with an answer.

use http::{HeaderMap, Method};

use crate::support::{Answer, Backend, Shop, Who, answer};

const SHOP: &str = "https://shop.example";

#[tokio::test(flavor = "multi_thread")]
async fn no_page_of_another_origin_may_call_unless_it_is_set() {
    let shop = Shop::start(Backend::Local).await;
    let asked = preflight(&shop, SHOP).await;
    asked.assert_problem(405, "method_not_allowed", "a preflight");
    assert_eq!(access_control(&asked.headers), [""; 0]);
    for path in [
        "/v1/models",
        "/v1/library",
        "/nowhere",
        "/openapi.json",
        "/docs",
    ] {
        let called = answer(shop.get(Who::Nobody, path).header("origin", SHOP)).await;
        assert_eq!(access_control(&called.headers), [""; 0], "{path}");
        assert_eq!(
            called.header("cross-origin-resource-policy"),
            "same-origin",
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_the_origins_that_are_set_may_call() {
    let settings = [
        (
            "CORS_ORIGINS",
            "https://shop.example, http://localhost:5173",
        ),
        ("RATE_LIMIT_PER_KEY", "1/m"),
    ];
    let shop = Shop::start_with(Backend::Local, &settings).await;
    let asked = preflight(&shop, SHOP).await;
    assert_eq!(asked.status, 200);
    assert_eq!(asked.header("access-control-allow-origin"), SHOP);
    assert_eq!(asked.header("access-control-max-age"), "3600");
    assert_eq!(asked.header("access-control-allow-credentials"), "");
    let allowed = asked.header("access-control-allow-headers").to_lowercase();
    let wanted = "authorization,content-type,range,if-none-match,stockroom-act-as,repr-digest";
    assert_eq!(allowed, wanted);
    assert!(asked.header("vary").to_lowercase().contains("origin"));
    assert!(asked.header("x-request-id").starts_with("req_"));

    // Refusals can be read too, with what they say beside their body.
    for (who, path, status) in [
        (Who::Nobody, "/v1/models", 200),
        (Who::Nobody, "/v1/library", 401),
        (Who::Nobody, "/nowhere", 404),
        (Who::Buyer, "/v1/library", 200),
        (Who::Buyer, "/v1/library", 429),
    ] {
        let called = answer(shop.get(who, path).header("origin", SHOP)).await;
        assert_eq!(called.status, status, "{path}");
        assert_eq!(called.header("access-control-allow-origin"), SHOP, "{path}");
        assert_eq!(
            called.header("cross-origin-resource-policy"),
            "cross-origin",
            "{path}"
        );
        let exposed = called
            .header("access-control-expose-headers")
            .to_lowercase();
        let wanted = "etag,content-range,content-disposition,retry-after,x-request-id";
        assert_eq!(exposed, wanted, "{path}");
    }
    let wrong_method = shop
        .call(Who::Nobody, Method::PUT, "/v1/models")
        .header("origin", SHOP);
    let wrong_method = answer(wrong_method).await;
    wrong_method.assert_problem(405, "method_not_allowed", "PUT");
    assert_eq!(wrong_method.header("access-control-allow-origin"), SHOP);
    assert_eq!(
        wrong_method
            .headers
            .get_all("access-control-allow-origin")
            .iter()
            .count(),
        1
    );

    for stranger in [
        "https://evil.example",
        "http://shop.example",
        "https://shop.example:8443",
        "https://shop.example.evil.example",
        "https://SHOP.example",
        "null",
    ] {
        let asked = preflight(&shop, stranger).await;
        assert_eq!(
            asked.header("access-control-allow-origin"),
            "",
            "{stranger}"
        );
        let called = answer(
            shop.get(Who::Nobody, "/v1/models")
                .header("origin", stranger),
        )
        .await;
        assert_eq!(
            called.header("access-control-allow-origin"),
            "",
            "{stranger}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_star_lets_every_page_call_and_none_with_cookies() {
    let shop = Shop::start_with(Backend::Local, &[("CORS_ORIGINS", "*")]).await;
    let asked = preflight(&shop, "https://anybody.example").await;
    assert_eq!(asked.header("access-control-allow-origin"), "*");
    assert_eq!(asked.header("access-control-allow-credentials"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_says_what_a_browser_may_do_with_it() {
    let settings = [("PUBLIC_URL", "https://files.shop.example")];
    let secure = Shop::start_with(Backend::Local, &settings).await;
    let plain = Shop::start(Backend::Local).await;
    for path in [
        "/v1/models",
        "/v1/library",
        "/nowhere",
        "/livez",
        "/docs",
        "/docs/page.js",
    ] {
        for (shop, transport) in [(&secure, "max-age=31536000"), (&plain, "")] {
            let called = answer(shop.get(Who::Nobody, path)).await;
            for (name, value) in [
                ("strict-transport-security", transport),
                ("x-content-type-options", "nosniff"),
                ("x-frame-options", "DENY"),
                ("referrer-policy", "no-referrer"),
                ("cross-origin-resource-policy", "same-origin"),
            ] {
                assert_eq!(called.header(name), value, "{path}");
            }
            let policy = called.header("content-security-policy");
            assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
        }
    }
}

async fn preflight(shop: &Shop, origin: &str) -> Answer {
    let request = shop
        .call(Who::Nobody, Method::OPTIONS, "/v1/models")
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization");
    answer(request).await
}

/// The names of the headers that let pages call.
fn access_control(headers: &HeaderMap) -> Vec<&str> {
    let names = headers.keys().map(http::HeaderName::as_str);
    names
        .filter(|name| name.starts_with("access-control-"))
        .collect()
}
