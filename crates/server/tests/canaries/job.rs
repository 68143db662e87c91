//! What a shop does with its Stockroom all day, over HTTP.

use reqwest::Method;
use serde_json::{Value, json};
use stockroom_domain::{Clock as _, SystemClock};

use crate::evidence::secret;
use crate::signed;
use crate::site::{Answer, Site};

/// The keys and records that the calls left.
pub(crate) struct Shop {
    pub(crate) operator: String,
    pub(crate) service: String,
    pub(crate) artist: String,
    pub(crate) buyer: String,
    pub(crate) model: String,
    pub(crate) asset: String,
    pub(crate) purchase: String,
}

/// Makes keys, sells a model in every way there is, and hands its file out in every way.
pub(crate) async fn trade(site: &mut Site) -> Shop {
    let operator = first_key(site);
    let service = key(site, &operator, json!({"role": "service"})).await;
    let artist = json!({"role": "artist", "subject": "mia", "name": "Mia"});
    let artist = key(site, &operator, artist).await;
    let buyer = key(site, &operator, json!({"role": "buyer", "subject": "ben"})).await;

    let body = json!({"title": "Helmet", "price": {"amount": 1200, "currency": "EUR"}});
    let model = call(site, &artist, Method::POST, "/v1/models", Some(body)).await;
    let model = text(&model.json(201)["id"]);
    let path = format!("/v1/models/{model}");
    let body = json!({"status": "published"});
    call(site, &artist, Method::PATCH, &path, Some(body))
        .await
        .json(200);
    let put = site
        .request(Method::PUT, &format!("{path}/assets/helmet.stl"))
        .bearer_auth(&artist)
        .body(stl());
    let asset = text(&site.send("PUT of a file", put).await.json(201)["id"]);
    let boundary = "between-two-files";
    let form = site
        .request(Method::POST, &format!("{path}/assets"))
        .bearer_auth(&artist)
        .header(
            "content-type",
            format!("multipart/form-data; boundary={boundary}"),
        )
        .body(form(boundary));
    site.send("POST of a form", form).await.json(201);

    let body = json!({"buyer": "ben", "model": model, "order_ref": "A-1"});
    let purchase = call(site, &service, Method::POST, "/v1/purchases", Some(body)).await;
    let purchase = text(&purchase.json(201)["id"]);
    let shop = Shop {
        operator,
        service,
        artist,
        buyer,
        model,
        asset,
        purchase,
    };
    tell_others(site, &shop).await;
    deliver_events(site, &shop).await;
    hand_out(site, &shop).await;
    keep_objects(site, &shop).await;
    shop
}

/// The first key is made on the command line, and shown there.
fn first_key(site: &mut Site) -> String {
    let printed = site.run(&["key", "create", "--role", "operator", "--json"]);
    assert_eq!(printed.code, Some(0), "{}", printed.stdout);
    let key: Value = serde_json::from_str(&printed.stdout).unwrap();
    let key = text(&key["key"]);
    site.evidence.watch("the first operator's key", &key);
    site.evidence
        .allow("the first operator's key", &printed.place);
    let printed = site.run(&["key", "create", "--role", "service"]);
    assert_eq!(printed.code, Some(0), "{}", printed.stdout);
    let other = printed.stdout.trim();
    site.evidence.watch("a key from the command line", other);
    site.evidence
        .allow("a key from the command line", &printed.place);
    key
}

async fn key(site: &mut Site, operator: &str, body: Value) -> String {
    let name = format!("the key of {body}");
    let answer = call(site, operator, Method::POST, "/v1/keys", Some(body)).await;
    let key = text(&answer.json(201)["key"]);
    site.evidence.watch(&name, &key);
    site.evidence.allow(&name, &answer.place);
    key
}

/// What an operator wrote into the URL of an endpoint is shown to operators, and to nobody else.
const IN_AN_ENDPOINT: &str = "in-the-URL-of-an-endpoint";

/// Has events sent to where nobody listens, so that each attempt is an error that is told. Their
/// secrets are shown once.
async fn tell_others(site: &mut Site, shop: &Shop) {
    let token = secret(IN_AN_ENDPOINT);
    site.evidence.watch(IN_AN_ENDPOINT, &token);
    let body = json!({"url": format!("http://127.0.0.1:9/hook?{token}"), "events": ["*"]});
    let path = "/v1/webhook-endpoints";
    let answer = call(site, &shop.operator, Method::POST, path, Some(body)).await;
    let id = text(&answer.json(201)["id"]);
    watch_endpoint(site, "an endpoint", &answer);
    let path = format!("{path}/{id}/rotate-secret");
    let answer = call(site, &shop.operator, Method::POST, &path, None).await;
    watch_endpoint(site, "an endpoint, rotated", &answer);
    let path = format!("/v1/webhook-endpoints/{id}/test");
    let tested = call(site, &shop.operator, Method::POST, &path, None).await;
    assert_eq!(tested.status, 202);
}

fn watch_endpoint(site: &mut Site, whose: &str, answer: &Answer) {
    let shown: Value = serde_json::from_slice(&answer.body).unwrap();
    let secret = text(&shown["secret"]);
    let name = format!("the secret of {whose}");
    site.evidence.watch(&name, &secret);
    site.evidence.allow(&name, &answer.place);
    site.evidence.allow(IN_AN_ENDPOINT, &answer.place);
}

/// Events with signatures that are right: they open nothing a second time, and are nobody's business.
async fn deliver_events(site: &mut Site, shop: &Shop) {
    let now = SystemClock.now().unix_seconds();
    let body = signed::created("A-2", &shop.model).to_string().into_bytes();
    let headers = signed::standard(&site.standard_secret, "msg_1", now, &body);
    let signature = headers[2].1.strip_prefix("v1,").unwrap().to_owned();
    site.evidence.watch("the signature of an event", &signature);
    let request = site.request(Method::POST, "/v1/webhooks/purchases");
    let request = signed::with(request, headers, body);
    site.send("an event", request).await.json(200);

    for event in [
        signed::session("pi_1", &shop.model),
        signed::charge_refunded("pi_1"),
    ] {
        let body = event.to_string().into_bytes();
        let headers = signed::stripe(&site.stripe_secret, now, &body);
        let signature = headers[0].1.split([',', '=']).nth(3).unwrap().to_owned();
        let name = format!("the signature of {}", event["type"]);
        site.evidence.watch(&name, &signature);
        let request = site.request(Method::POST, "/v1/webhooks/purchases");
        let request = signed::with(request, headers, body);
        site.send("an event of Stripe", request).await.json(200);
    }
}

/// Downloads: streams, parts, links, and redirects to where the bytes lie.
async fn hand_out(site: &mut Site, shop: &Shop) {
    let path = format!("/v1/assets/{}/download", shop.asset);
    let download = call(site, &shop.buyer, Method::GET, &path, None).await;
    assert_eq!((download.status, download.body), (200, stl()));
    let part = site
        .request(Method::GET, &path)
        .bearer_auth(&shop.service)
        .header("stockroom-act-as", "ben")
        .header("range", "bytes=10-19");
    assert_eq!(site.send("a part of a file", part).await.status, 206);

    let redirect = format!("{path}?delivery=redirect");
    let answer = call(site, &shop.buyer, Method::GET, &redirect, None).await;
    assert!((300..400).contains(&answer.status), "{}", answer.status);
    let url = answer.location.clone().expect("a location");
    use_link(site, "a redirect", &url, &answer).await;

    let sign = format!("/v1/assets/{}/signed-url", shop.asset);
    let body = json!({"expires_in": 60, "disposition": "inline"});
    let answer = call(site, &shop.buyer, Method::POST, &sign, Some(body)).await;
    let url = text(&answer.json(200)["url"]);
    use_link(site, "a link", &url, &answer).await;
    assert_eq!(
        url.contains("X-Amz-Signature"),
        site.kind.is_hybrid,
        "who signs"
    );
}

/// Watches the signature of a URL, which its own answer has to show, and opens the URL: as it is,
/// with the other method, altered, and with something added.
pub(crate) async fn use_link(site: &mut Site, what: &str, url: &str, answer: &Answer) {
    let (path, query) = url.split_once('?').expect("a query");
    let signature = query
        .split('&')
        .find_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            matches!(name, "sig" | "X-Amz-Signature").then_some(value)
        })
        .expect("a signature");
    let name = format!("the signature of {what}");
    site.evidence.watch(&name, signature);
    site.evidence.allow(&name, &answer.place);
    if query.contains("X-Amz-Credential") {
        // Whoever signs for a bucket names the key; the URL is of no use without.
        site.evidence.allow("S3_KEY_ID", &answer.place);
    }
    let opened = site.fetch(Method::GET, url);
    assert_eq!(site.send(what, opened).await.status, 200);
    // The rest is for this server: a bucket says what it likes.
    if !url.contains(site.address()) {
        return;
    }
    for (method, url) in [
        (Method::HEAD, url.to_owned()),
        (Method::PUT, url.to_owned()),
        (Method::GET, url.replace("exp=", "exp=1")),
        (Method::GET, url.replace("exp=", "exp=x")),
        (Method::GET, format!("{url}&more=1")),
        (Method::GET, format!("{path}/more?{query}")),
        (Method::GET, url.replace("/files/", "/v1/objects/")),
        (Method::GET, url.replace("/files/", "/filed/")),
    ] {
        let request = site.fetch(method, &url);
        site.send("a link that was altered", request).await;
    }
}

/// What an operator keeps under keys of its own.
async fn keep_objects(site: &mut Site, shop: &Shop) {
    for _ in 0..2 {
        let put = site
            .request(Method::PUT, "/v1/objects/temp/a%20b")
            .bearer_auth(&shop.operator)
            .header("content-type", "text/plain")
            .body("bytes");
        site.send("PUT of an object", put).await.json(201);
    }
    let path = "/v1/objects/temp/a%20b/signed-url";
    let answer = call(site, &shop.operator, Method::POST, path, None).await;
    let url = text(&answer.json(200)["url"]);
    use_link(site, "a link to an object", &url, &answer).await;
    let path = "/v1/objects/temp/a%20b";
    let deleted = call(site, &shop.operator, Method::DELETE, path, None).await;
    assert_eq!(deleted.status, 204);
    let restore = "/v1/objects/temp/a%20b/restore";
    call(site, &shop.operator, Method::POST, restore, None)
        .await
        .json(200);
}

/// Reads every page and list that there is.
pub(crate) async fn read_everything(site: &mut Site, shop: &Shop) {
    let Shop {
        model,
        asset,
        purchase,
        ..
    } = shop;
    let path = |text: &str| text.to_owned();
    let paths = [
        path("/metrics"),
        path("/livez"),
        path("/readyz"),
        path("/openapi.json"),
        path("/docs"),
        path("/v1/audit?limit=100"),
        path("/v1/storage"),
        path("/v1/keys?limit=100"),
        path("/v1/webhook-endpoints"),
        path("/v1/models"),
        path("/v1/objects?limit=100"),
        path("/v1/purchases"),
        format!("/v1/models/{model}"),
        format!("/v1/models/{model}/assets?versions=all"),
        format!("/v1/assets/{asset}"),
        format!("/v1/purchases/{purchase}"),
        format!("/v1/purchases/{purchase}/receipt"),
        format!("/v1/purchases/{purchase}/receipt?format=csv"),
        format!("/v1/purchases/{purchase}/explain?deep=true"),
    ];
    for path in paths {
        let answer = call(site, &shop.operator, Method::GET, &path, None).await;
        assert_eq!(answer.status, 200, "{path}");
        if path == "/v1/webhook-endpoints" {
            site.evidence.allow(IN_AN_ENDPOINT, &answer.place);
        }
    }
    let library = call(site, &shop.buyer, Method::GET, "/v1/library", None).await;
    library.json(200);
}

/// A call with a key.
pub(crate) async fn call(
    site: &mut Site,
    key: &str,
    method: Method,
    path: &str,
    body: Option<Value>,
) -> Answer {
    let what = format!("{method} {path}");
    let mut request = site.request(method, path).bearer_auth(key);
    if let Some(body) = body {
        request = request.json(&body);
    }
    site.send(&what, request).await
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// A binary STL of two triangles.
pub(crate) fn stl() -> Vec<u8> {
    let mut file = vec![b' '; 80];
    file.extend(2_u32.to_le_bytes());
    for corner in [1.0_f32, 2.0] {
        let numbers = [
            0.0, 0.0, 1.0, 0.0, 0.0, 0.0, corner, 0.0, 0.0, 0.0, corner, 0.0,
        ];
        file.extend(numbers.iter().flat_map(|number: &f32| number.to_le_bytes()));
        file.extend([0, 0]);
    }
    file
}

fn form(boundary: &str) -> Vec<u8> {
    let head = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"b.stl\"\r\n\r\n"
    );
    let end = format!("\r\n--{boundary}--\r\n");
    [head.as_bytes(), &stl(), end.as_bytes()].concat()
}
