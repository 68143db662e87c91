//! Secrets where none belong: in headers, cookies, queries, paths and bodies.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chaos_s3::{Fault, FaultAction, Operation};
use reqwest::Method;
use serde_json::json;
use stockroom_domain::{Clock as _, SystemClock};

use crate::evidence::secret;
use crate::job::{Shop, call, stl};
use crate::signed;
use crate::site::Site;

/// Sends secrets in every place of a request that a mistake could put them into.
pub(crate) async fn misplace(site: &mut Site, shop: &Shop) {
    in_headers(site, shop).await;
    in_queries(site, shop).await;
    in_bodies(site, shop).await;
    in_events(site, shop).await;
    in_the_place_of_an_id(site, shop).await;
    in_broken_requests(site).await;
}

/// A secret with this name that is looked for from now on.
fn canary(site: &mut Site, name: &str) -> String {
    let secret = secret(name);
    site.evidence.watch(name, &secret);
    secret
}

async fn in_headers(site: &mut Site, shop: &Shop) {
    let password = canary(site, "a-password");
    let basic = format!("Basic {}", STANDARD.encode(format!("user:{password}")));
    let no_key = canary(site, "a-bearer-that-is-no-key");
    for value in [
        basic.clone(),
        format!("Bearer {no_key}"),
        format!("Bearer sr_live_{no_key}"),
        format!("Bearer {} {no_key}", shop.buyer),
        no_key.clone(),
    ] {
        for path in ["/v1/models", "/v1/library", "/v1/objects/temp/a%20b"] {
            let request = site
                .request(Method::GET, path)
                .header("authorization", &value);
            site.send("a bad Authorization", request).await;
        }
    }
    // The client makes a header of it, as curl does.
    let mut url: url::Url = format!("http://{}/v1/models", site.address())
        .parse()
        .unwrap();
    url.set_username("user").unwrap();
    url.set_password(Some(&password)).unwrap();
    let request = site.fetch(Method::GET, url.as_str());
    site.send("a password in the URL", request).await;

    for name in [
        "cookie",
        "x-api-key",
        "x-auth-token",
        "x-amz-security-token",
        "proxy-authorization",
        "x-forwarded-for",
        "x-real-ip",
        "forwarded",
        "referer",
        "user-agent",
        "origin",
        "accept",
        "range",
        "if-range",
        "if-none-match",
        "if-match",
        "content-type",
        "content-encoding",
        "repr-digest",
        "x-request-id",
        "stockroom-act-as",
        "traceparent",
    ] {
        let value = canary(site, &format!("in-{name}"));
        // With a space, so that it is neither the name of a request nor of a user.
        let value = format!("session={value}; a b");
        for (method, path) in [
            (Method::GET, format!("/v1/assets/{}/download", shop.asset)),
            (Method::GET, "/files/models/nothing?sig=x".to_owned()),
            (Method::POST, "/v1/models".to_owned()),
            (Method::PUT, "/v1/objects/temp/headers".to_owned()),
            (Method::OPTIONS, "/v1/models".to_owned()),
        ] {
            // What an object is of is kept and shown with it.
            if name == "content-type" && method == Method::PUT {
                continue;
            }
            let request = site
                .request(method, &path)
                .bearer_auth(&shop.operator)
                .header(name, &value)
                .body("bytes");
            site.send(&format!("a secret in {name}"), request).await;
        }
    }
    // Headers of one answer that go to the stores with the bytes.
    let metadata = site
        .request(Method::PUT, "/v1/objects/temp/metadata")
        .bearer_auth(&shop.operator)
        .header("cookie", secret("in-cookie"))
        .body("bytes");
    site.send("a secret beside an upload", metadata)
        .await
        .json(201);
}

async fn in_queries(site: &mut Site, shop: &Shop) {
    let token = canary(site, "in-the-query");
    let token: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
    for path in [
        "/livez".to_owned(),
        "/metrics".to_owned(),
        "/docs".to_owned(),
        "/nowhere".to_owned(),
        "/v1/models".to_owned(),
        "/v1/objects".to_owned(),
        "/v1/audit".to_owned(),
        "/v1/purchases".to_owned(),
        "/v1/library".to_owned(),
        "/v1/objects/temp/a%20b".to_owned(),
        "/files/temp/a%20b".to_owned(),
        format!("/v1/assets/{}/download", shop.asset),
        format!("/v1/purchases/{}/receipt", shop.purchase),
        format!("/v1/purchases/{}/explain", shop.purchase),
    ] {
        for query in [
            format!("token={token}"),
            format!("limit={token}&status={token}"),
            format!("cursor={token}"),
            format!("artist={token}&buyer={token}%20&model={token}&key={token}"),
            format!("delivery={token}&format={token}&deep={token}&asset={token}"),
            format!("kid=k1&exp={token}&method=GET&sig={token}"),
        ] {
            for method in [Method::GET, Method::DELETE] {
                let request = site
                    .request(method, &format!("{path}?{query}"))
                    .bearer_auth(&shop.buyer);
                site.send("a secret in the query", request).await;
            }
            let request = site
                .request(Method::GET, &format!("{path}?{query}"))
                .bearer_auth(&shop.operator);
            site.send("a secret in the query of an operator", request)
                .await;
        }
    }
}

async fn in_bodies(site: &mut Site, shop: &Shop) {
    let value = canary(site, "in-a-body");
    let key = shop.operator.clone();
    for (path, body) in [
        ("/v1/models", format!("{{\"title\": \"{value}")),
        ("/v1/models", json!(value).to_string()),
        ("/v1/models", json!([value]).to_string()),
        ("/v1/models", json!({"title": 1, "price": value}).to_string()),
        (
            "/v1/models",
            json!({"title": "A", "artist": "mia", "price": {"amount": value, "currency": "EUR"}})
                .to_string(),
        ),
        (
            "/v1/models",
            json!({"title": "A", "artist": "mia", "price": {"amount": 1, "currency": value}})
                .to_string(),
        ),
        (
            "/v1/models",
            json!({"title": "A", "artist": format!("{value} b")}).to_string(),
        ),
        (
            "/v1/models",
            json!({"title": format!("{value}\n"), "artist": "mia"}).to_string(),
        ),
        (
            "/v1/models",
            json!({"title": value.repeat(100), "artist": "mia"}).to_string(),
        ),
        (
            "/v1/models",
            json!({"title": "A", "artist": "mia", "tags": [format!("{value}\n")]}).to_string(),
        ),
        ("/v1/keys", json!({"role": value}).to_string()),
        (
            "/v1/keys",
            json!({"role": "service", "expires_at": value}).to_string(),
        ),
        (
            "/v1/keys",
            json!({"role": "service", "subject": value}).to_string(),
        ),
        (
            "/v1/purchases",
            json!({"buyer": "ben", "model": value, "order_ref": "A-9"}).to_string(),
        ),
        (
            "/v1/purchases",
            json!({"buyer": "ben", "model": shop.model, "order_ref": format!("{value}\n")})
                .to_string(),
        ),
        (
            "/v1/purchases",
            json!({"buyer": "ben", "model": shop.model, "order_ref": "A-9", "download_limit": value})
                .to_string(),
        ),
        (
            "/v1/objects/temp/a%20b/signed-url",
            json!({"expires_in": value}).to_string(),
        ),
        (
            "/v1/objects/temp/a%20b/signed-url",
            json!({"disposition": value}).to_string(),
        ),
    ] {
        let request = site
            .request(Method::POST, path)
            .bearer_auth(&key)
            .header("content-type", "application/json")
            .body(body);
        let answer = site.send(&format!("a bad body to {path}"), request).await;
        assert!((400..500).contains(&answer.status), "{}", answer.place);
    }
    let path = format!("/v1/models/{}", shop.model);
    let body = json!({"status": value});
    call(site, &key, Method::PATCH, &path, Some(body))
        .await
        .json(400);

    let path = format!("{path}/assets");
    for (boundary, body) in [
        (value.as_str(), "bytes".to_owned()),
        ("x", format!("--x\r\n{value}\r\n\r\n{value}")),
        (
            "x",
            format!(
                "--x\r\ncontent-disposition: form-data; name=\"{value}\"\r\n\r\n{value}\r\n--x--"
            ),
        ),
        (
            "x",
            format!(
                "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a/{value}\"\r\n\r\n{value}\r\n--x--"
            ),
        ),
        (
            "x",
            format!(
                "--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a.stl\"\r\n\r\nsolid {value}\r\n--x--"
            ),
        ),
    ] {
        let request = site
            .request(Method::POST, &path)
            .bearer_auth(&key)
            .header(
                "content-type",
                format!("multipart/form-data; boundary=\"{boundary}\""),
            )
            .body(body);
        let answer = site.send("a bad form", request).await;
        assert!((400..500).contains(&answer.status), "{}", answer.place);
    }
}

/// Events whose signature is wrong, and events that are signed and say what does not fit.
async fn in_events(site: &mut Site, shop: &Shop) {
    let value = canary(site, "in-an-event");
    let signature = canary(site, "as-a-signature");
    let now = SystemClock.now().unix_seconds();
    let body = signed::created("A-3", &shop.model).to_string();
    let (time, old) = (now.to_string(), (now - 1_000).to_string());
    for headers in [
        vec![("webhook-signature", format!("v1,{signature}"))],
        vec![
            ("webhook-id", signature.clone()),
            ("webhook-timestamp", time.clone()),
            ("webhook-signature", format!("v1,{signature}")),
        ],
        vec![
            ("webhook-id", format!("a.{signature}")),
            ("webhook-timestamp", signature.clone()),
            ("webhook-signature", signature.clone()),
        ],
        vec![("stripe-signature", signature.clone())],
        vec![("stripe-signature", format!("t={signature},v1={signature}"))],
        vec![("stripe-signature", format!("t={old},v1={signature}"))],
        vec![
            ("stripe-signature", signature.clone()),
            ("webhook-signature", signature.clone()),
        ],
    ] {
        let request = site.request(Method::POST, "/v1/webhooks/purchases");
        let request = signed::with(request, headers, body.clone().into());
        assert_eq!(site.send("an event of nobody", request).await.status, 403);
    }
    let event = |data: serde_json::Value| json!({"type": "purchase.created", "data": data});
    for body in [
        format!("{{\"type\": \"{value}"),
        json!({"type": [value]}).to_string(),
        json!({"type": value, "data": value}).to_string(),
        event(json!(value)).to_string(),
        event(json!({"order_ref": format!("{value}\n"), "buyer": "ben", "model": "m"})).to_string(),
        event(json!({"order_ref": "A-4", "buyer": format!("{value} b"), "model": "m"})).to_string(),
        event(json!({"order_ref": "A-4", "buyer": "ben", "model": value})).to_string(),
        event(json!({"order_ref": "A-4", "buyer": "ben", "model": "m", "expires_at": value}))
            .to_string(),
        event(json!({"order_ref": "A-4", "buyer": "ben", "model": "m", "download_limit": value}))
            .to_string(),
    ] {
        let body = body.into_bytes();
        let headers = signed::standard(&site.standard_secret, "msg_2", now, &body);
        let request = site.request(Method::POST, "/v1/webhooks/purchases");
        let request = signed::with(request, headers, body);
        site.send("an event that does not fit", request).await;
    }
    for (field, text) in [
        ("buyer", format!("{value} b")),
        ("model", value.clone()),
        ("expires_at", value.clone()),
        ("download_limit", value.clone()),
    ] {
        let mut event = signed::session("pi_2", &shop.model);
        event["data"]["object"]["metadata"][field] = json!(text);
        let body = event.to_string().into_bytes();
        let headers = signed::stripe(&site.stripe_secret, now, &body);
        let request = site.request(Method::POST, "/v1/webhooks/purchases");
        let request = signed::with(request, headers, body);
        site.send("an event of Stripe that does not fit", request)
            .await;
    }
}

/// A key where its id belongs: whoever makes this mistake calls with an operator's key, and what
/// operators do is on record.
async fn in_the_place_of_an_id(site: &mut Site, shop: &Shop) {
    let secret = shop.service.clone();
    for (method, path) in [
        (Method::GET, format!("/v1/keys/{secret}")),
        (Method::POST, format!("/v1/keys/{secret}/revoke")),
        (Method::GET, format!("/v1/models/{secret}")),
        (Method::PATCH, format!("/v1/models/{secret}")),
        (Method::DELETE, format!("/v1/models/{secret}")),
        (Method::DELETE, format!("/v1/assets/{secret}")),
        (Method::POST, format!("/v1/assets/{secret}/signed-url")),
        (Method::POST, format!("/v1/purchases/{secret}/refund")),
        (Method::GET, format!("/v1/purchases/{secret}/receipt")),
        (Method::POST, format!("/{secret}")),
        (Method::DELETE, format!("/v1/{secret}/{secret}")),
    ] {
        call(site, &shop.operator, method, &path, None).await;
    }
}

/// What the HTTP library itself refuses.
async fn in_broken_requests(site: &mut Site) {
    let value = canary(site, "in-a-broken-request");
    let address = site.address().to_owned();
    for head in [
        format!("GET /v1/models?token={value} HTTP/9.9\r\n\r\n"),
        format!("{value} / HTTP/1.1\r\n\r\n"),
        format!(
            "GET http://user:{value}@{address}/v1/models?token={value} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
        ),
        format!(
            "CONNECT user:{value}@{address} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"
        ),
        format!(
            "GET /v1/models HTTP/1.1\r\nhost: user:{value}@{address}\r\nconnection: close\r\n\r\n"
        ),
        format!("GET /v1/models HTTP/1.1\r\n{value} {value}\r\n\r\n"),
        format!("GET /v1/models HTTP/1.1\r\ncookie: {value}\0\r\n\r\n"),
        format!("POST /v1/models HTTP/1.1\r\nhost: a\r\ncontent-length: {value}\r\n\r\n"),
        format!("POST /v1/models HTTP/1.1\r\nhost: a\r\ntransfer-encoding: {value}\r\n\r\n{value}"),
        format!("POST /v1/models HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{value}"),
        format!(
            "GET /v1/models HTTP/1.1\r\ncookie: {}\r\n\r\n",
            value.repeat(4_000)
        ),
        format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{value}"),
        format!("{value}\r\n\r\n"),
    ] {
        site.raw("a broken request", head.as_bytes()).await;
    }
}

/// A bucket that fails in the middle of everything, so that the S3 library's errors are told.
pub(crate) async fn break_the_bucket(site: &mut Site, shop: &Shop) {
    let path = format!("/v1/assets/{}/download", shop.asset);
    let denied = FaultAction::Status {
        status: 403,
        code: "SignatureDoesNotMatch",
        retry_after_s: None,
    };
    for action in [
        denied.clone(),
        FaultAction::internal_error(),
        FaultAction::TruncateBody(10),
        FaultAction::ResetAfterResponseBytes(10),
        FaultAction::FlipBit { offset: 90 },
    ] {
        site.chaos.fault(Fault::new(Operation::GetObject, action));
        call(site, &shop.buyer, Method::GET, &path, None).await;
        site.chaos.clear_faults();
    }
    site.chaos
        .fault(Fault::new(Operation::PutObject, denied.clone()).forever());
    let put = site
        .request(
            Method::PUT,
            &format!("/v1/models/{}/assets/c.stl", shop.model),
        )
        .bearer_auth(&shop.artist)
        .body(stl());
    site.send("an upload past a bucket that refuses", put).await;
    site.chaos.clear_faults();
    site.chaos
        .fault(Fault::new(Operation::Any, denied).forever());
    for arguments in [&["doctor"][..], &["check", "--json"]] {
        assert_eq!(site.run(arguments).code, Some(1), "{arguments:?}");
    }
    site.chaos.clear_faults();
    site.chaos.set_online(false).unwrap();
    call(site, &shop.buyer, Method::GET, &path, None).await;
    let put = site
        .request(
            Method::PUT,
            &format!("/v1/models/{}/assets/d.stl", shop.model),
        )
        .bearer_auth(&shop.artist)
        .body(stl());
    site.send("an upload without a bucket", put).await;
    let path = format!("/v1/purchases/{}/explain?deep=true", shop.purchase);
    call(site, &shop.operator, Method::GET, &path, None).await;
    call(site, &shop.operator, Method::GET, "/v1/storage", None).await;
    site.chaos.set_online(true).unwrap();
}
