//! Events to other programs: signed, sent until they are taken, and to nobody but those who may be
//! called.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{HeaderMap, Method};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde_json::{Value, json};
use stockroom::config::{CaFile, WebhookSettings};
use stockroom::flows::events::send::{SendError, Sender};
use stockroom::workers::outbox;

use crate::receiver::{Received, Receiver, Reply};
use crate::support::{Answer, Backend, Shop, Who, answer, stl};

const PATH: &str = "/v1/webhook-endpoints";
const LOOPBACK: (&str, &str) = ("WEBHOOK_ALLOWED_NETWORKS", "127.0.0.0/8");

/// A shop that may send events to this machine, and sends them.
async fn shop() -> Shop {
    started(Shop::start_with(Backend::Local, &[LOOPBACK]).await)
}

fn started(shop: Shop) -> Shop {
    shop.app.tasks.spawn(outbox::run(shop.app.clone()));
    shop
}

async fn post(shop: &Shop, path: &str, body: &Value) -> Answer {
    answer(shop.call(Who::Operator, Method::POST, path).json(body)).await
}

/// Has events sent to a receiver; id and secret of the endpoint.
async fn connect(shop: &Shop, url: &str, events: &[&str]) -> (String, String) {
    let created = post(shop, PATH, &json!({"url": url, "events": events})).await;
    assert_eq!(created.header("cache-control"), "no-store");
    let endpoint = created.json(201);
    let text = |name: &str| endpoint[name].as_str().unwrap().to_owned();
    (text("id"), text("secret"))
}

async fn get(shop: &Shop, path: &str) -> Value {
    answer(shop.get(Who::Operator, path)).await.json(200)
}

async fn patch(shop: &Shop, id: &str, body: &Value) -> Value {
    let request = shop.call(Who::Operator, Method::PATCH, &format!("{PATH}/{id}"));
    answer(request.json(body)).await.json(200)
}

/// Waits until the newest delivery to an endpoint is in a state; the delivery.
async fn until_newest(shop: &Shop, id: &str, is_there: impl Fn(&Value) -> bool) -> Value {
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        let list = get(shop, &format!("{PATH}/{id}/deliveries?limit=1")).await;
        let newest = &list["data"][0];
        if is_there(newest) {
            return newest.clone();
        }
        assert!(tokio::time::Instant::now() < deadline, "it is {newest}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

fn has_failed_times(attempts: u64) -> impl Fn(&Value) -> bool {
    move |it| it["attempts"] == attempts && it["last_error"].is_string()
}

/// Lets time pass for the server, which then looks what is due.
fn let_pass(shop: &Shop, now_s: i64) {
    shop.set_offset_s(now_s);
    shop.app.catalog.events_bell().notify_one();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_signed_to_whoever_asked() {
    let shop = shop().await;
    let receiver = Receiver::start().await;
    let sales = Receiver::start().await;
    let (id, secret) = connect(&shop, &receiver.url(), &["*"]).await;
    connect(
        &shop,
        &sales.url(),
        &["purchase.created", "purchase.refunded"],
    )
    .await;

    let model = shop.published_model().await;
    let asset = shop.put_asset(&model, "a.stl", stl(3, 1)).await;
    let purchase = shop.sell(&model, "A-1").await;
    let download = format!("/v1/assets/{}/download", asset["id"].as_str().unwrap());
    assert_eq!(answer(shop.get(Who::Buyer, &download)).await.status, 200);
    // A download without a limit is recorded a moment later.
    let received = receiver.until(6).await;
    let refund = format!("/v1/purchases/{purchase}/refund");
    answer(shop.call(Who::Service, Method::POST, &refund))
        .await
        .json(200);
    let received_all = receiver.until(7).await;
    assert_eq!(received_all.len(), 7);
    let mut kinds: Vec<String> = received_all.iter().map(Received::kind).collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        [
            "asset.created",
            "download.started",
            "model.created",
            "model.published",
            "model.updated",
            "purchase.created",
            "purchase.refunded",
        ]
    );
    assert_eq!(received_all[6].kind(), "purchase.refunded");
    for event in &received_all {
        assert!(event.is_signed_with(&secret), "{event:?}");
        assert_eq!(event.header("content-type"), "application/json");
        assert_eq!(event.json()["id"], event.header("webhook-id"));
        assert!(event.header("user-agent").starts_with("Stockroom/"));
        assert_eq!(event.header("authorization"), "");
    }
    let told = received.iter().find(|it| it.kind() == "asset.created");
    assert_eq!(told.unwrap().json()["data"]["sha256"], asset["sha256"]);
    let sold = sales.until(2).await;
    assert_eq!(sold[0].json()["data"]["order_ref"], "A-1");
    assert_eq!(sold[1].kind(), "purchase.refunded");

    let newest = until_newest(&shop, &id, |it| it["status"] == "delivered").await;
    assert_eq!(newest["type"], "purchase.refunded");
    assert_eq!(newest["body"], received_all[6].json());
    assert_eq!(newest["last_status"], 204);
    let metrics = answer(shop.get(Who::Nobody, "/metrics")).await.body;
    let metrics = String::from_utf8_lossy(&metrics);
    assert!(metrics.contains(r#"stockroom_event_attempts_total{outcome="delivered"}"#));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_sent_again_until_it_is_taken() {
    let shop = shop().await;
    let receiver = Receiver::start().await;
    let (id, secret) = connect(&shop, &receiver.url(), &["model.created"]).await;
    receiver.reply([
        Reply::Status(500),
        Reply::Header(429, "retry-after", "3600".to_owned()),
    ]);
    shop.draft_model().await;
    receiver.until(1).await;
    let first = until_newest(&shop, &id, has_failed_times(1)).await;
    assert_eq!(first["status"], "waiting");
    assert_eq!(first["last_error"], "it answered 500");
    let_pass(&shop, 10);
    receiver.until(2).await;
    // The second wait is five minutes, and the endpoint asked for an hour.
    let second = until_newest(&shop, &id, has_failed_times(2)).await;
    assert_eq!(second["last_status"], 429);
    let_pass(&shop, 3_500);
    let_pass(&shop, 3_700);
    let received = receiver.until(3).await;
    until_newest(&shop, &id, |it| it["status"] == "delivered").await;
    assert_eq!(received.len(), 3);
    for event in &received {
        assert!(event.is_signed_with(&secret));
        assert_eq!(event.body, received[0].body);
        assert_eq!(event.header("webhook-id"), received[0].header("webhook-id"));
    }
    // Each attempt is signed anew, so that it is not taken for a replay.
    assert_ne!(
        received[0].header("webhook-timestamp"),
        received[2].header("webhook-timestamp")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_taken_for_three_days_is_given_up_and_can_be_sent_again() {
    let shop = shop().await;
    let receiver = Receiver::start().await;
    let (id, _) = connect(&shop, &receiver.url(), &["model.created"]).await;
    receiver.reply(vec![Reply::Status(503); 10]);
    shop.draft_model().await;
    for attempt in 1..=10 {
        receiver.until(attempt).await;
        until_newest(&shop, &id, has_failed_times(attempt as u64)).await;
        let_pass(&shop, attempt as i64 * 2 * 86_400);
    }
    let given_up = until_newest(&shop, &id, |it| it["status"] == "failed").await;
    assert_eq!(given_up["attempts"], 10);
    assert_eq!(given_up["next_attempt_at"], Value::Null);
    let failed = get(&shop, &format!("{PATH}/{id}/deliveries?status=failed")).await;
    assert_eq!(failed["data"].as_array().unwrap().len(), 1);

    let event = given_up["event"].as_str().unwrap();
    let again = format!("{PATH}/{id}/deliveries/{event}/redeliver");
    let begun = post(&shop, &again, &json!({})).await.json(200);
    assert_eq!(
        (&begun["status"], &begun["attempts"]),
        (&json!("waiting"), &json!(0))
    );
    let received = receiver.until(11).await;
    until_newest(&shop, &id, |it| it["status"] == "delivered").await;
    assert_eq!(received[10].header("webhook-id"), event);
    // And once more, although it was taken.
    post(&shop, &again, &json!({})).await.json(200);
    receiver.until(12).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_answers_410_is_disabled() {
    let shop = shop().await;
    let receiver = Receiver::start().await;
    let (id, _) = connect(&shop, &receiver.url(), &["model.created"]).await;
    receiver.reply([Reply::Status(410)]);
    shop.draft_model().await;
    receiver.until(1).await;
    until_newest(&shop, &id, |it| it["status"] == "failed").await;
    let endpoint = get(&shop, &format!("{PATH}/{id}")).await;
    assert_eq!(endpoint["status"], "disabled");
    assert_eq!(
        endpoint["disabled_reason"],
        "it answered 410: it is gone for good"
    );
    shop.draft_model().await;
    let deliveries = get(&shop, &format!("{PATH}/{id}/deliveries")).await;
    assert_eq!(deliveries["data"].as_array().unwrap().len(), 1);
    assert_eq!(receiver.received().len(), 1);

    let endpoint = patch(&shop, &id, &json!({"status": "enabled"})).await;
    assert_eq!(endpoint["status"], "enabled");
    assert_eq!(endpoint["disabled_reason"], Value::Null);
    let again = format!("{PATH}/{id}/redeliver");
    let begun = post(&shop, &again, &json!({})).await.json(200);
    assert_eq!(begun["events"], 1);
    // It rested because it had failed.
    let_pass(&shop, 10);
    receiver.until(2).await;
    until_newest(&shop, &id, |it| it["status"] == "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_exchanged_without_a_gap() {
    let shop = shop().await;
    let receiver = Receiver::start().await;
    let (id, first) = connect(&shop, &receiver.url(), &["*"]).await;
    let rotate = format!("{PATH}/{id}/rotate-secret");
    let rotated = post(&shop, &rotate, &json!({"overlap": 600})).await;
    assert_eq!(rotated.header("cache-control"), "no-store");
    let rotated = rotated.json(200);
    let second = rotated["secret"].as_str().unwrap();
    assert!(rotated["old_secret_until"].is_string());
    let test = format!("{PATH}/{id}/test");
    let told = post(&shop, &test, &json!({})).await.json(202);
    let event = receiver.until(1).await.remove(0);
    assert_eq!(event.kind(), "endpoint.test");
    assert_eq!(event.header("webhook-id"), told["event"]);
    assert!(event.is_signed_with(&first) && event.is_signed_with(second));
    shop.set_offset_s(700);
    post(&shop, &test, &json!({})).await.json(202);
    let event = receiver.until(2).await.remove(1);
    assert!(event.is_signed_with(second) && !event.is_signed_with(&first));
    // No other answer shows a secret.
    for path in [PATH.to_owned(), format!("{PATH}/{id}")] {
        let shown = get(&shop, &path).await.to_string();
        assert!(!shown.contains("whsec_"), "{shown}");
    }
    let wrong = post(&shop, &rotate, &json!({"overlap": 700_000})).await;
    wrong.assert_problem(400, "invalid_request", "a long overlap");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_does_not_answer_keeps_no_other_waiting() {
    let shop = shop().await;
    let (hanging, other) = (Receiver::start().await, Receiver::start().await);
    connect(&shop, &hanging.url(), &["model.created"]).await;
    hanging.reply(vec![Reply::Never; 100]);
    for _ in 0..20 {
        shop.draft_model().await;
    }
    hanging.until(1).await;
    connect(&shop, &other.url(), &["model.created"]).await;
    for count in 1..=5 {
        shop.draft_model().await;
        other.until(count).await;
    }
    // It has taken nothing yet, and is asked for no more at once than it may be.
    assert!(hanging.received().len() <= 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_endpoint_gets_nothing_any_more() {
    let shop = shop().await;
    let receiver = Receiver::start().await;
    let (id, _) = connect(&shop, &receiver.url(), &["*"]).await;
    let path = format!("{PATH}/{id}");
    let deleted = answer(shop.call(Who::Operator, Method::DELETE, &path)).await;
    assert_eq!(deleted.status, 204);
    shop.draft_model().await;
    for (method, below) in [
        (Method::GET, ""),
        (Method::DELETE, ""),
        (Method::GET, "/deliveries"),
        (Method::POST, "/test"),
        (Method::POST, "/redeliver"),
        (Method::POST, "/rotate-secret"),
        (
            Method::POST,
            "/deliveries/evt_01k9g9q3v5w8x2y4z6a8b0c2d4/redeliver",
        ),
    ] {
        let request = shop.call(Who::Operator, method.clone(), &format!("{path}{below}"));
        let what = format!("{method} {below}");
        answer(request)
            .await
            .assert_problem(404, "not_found", &what);
    }
    assert_eq!(get(&shop, PATH).await["data"], json!([]));
    assert_eq!(receiver.received().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_in_a_private_network_is_refused_unless_it_is_allowed() {
    let shop = Shop::start(Backend::Local).await;
    for url in [
        "https://127.0.0.1/",
        "https://[::1]/hooks",
        "https://169.254.169.254/latest/meta-data/",
        "https://2130706433/",
        "https://192.168.1.10:8443/",
        "http://shop.example/",
        "https://user:pass@shop.example/",
        "ftp://shop.example/",
        "shop.example/hooks",
        "",
    ] {
        let body = json!({"url": url, "events": ["*"]});
        let refused = post(&shop, PATH, &body).await;
        refused.assert_problem(400, "invalid_request", url);
        let detail = refused.json(400)["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with("url "), "{detail}");
    }
    for body in [
        json!({"url": "https://shop.example/", "events": []}),
        json!({"url": "https://shop.example/", "events": ["everything"]}),
        json!({"url": "https://shop.example/"}),
        json!({"url": "https://shop.example/", "events": ["*"], "secret": "whsec_x"}),
        json!({"url": "https://shop.example/", "events": ["*"], "description": "a\nb"}),
    ] {
        let what = body.to_string();
        let refused = post(&shop, PATH, &body).await;
        refused.assert_problem(400, "invalid_request", &what);
    }
    assert_eq!(get(&shop, PATH).await["data"], json!([]));
}

/// A name says nothing of where it leads, so each connection is looked at.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_into_a_private_network_is_not_called() {
    let shop = started(Shop::start(Backend::Local).await);
    let receiver = Receiver::start().await;
    let url = format!("https://localhost:{}/", receiver.address.port());
    let (id, _) = connect(&shop, &url, &["model.created"]).await;
    shop.draft_model().await;
    let refused = until_newest(&shop, &id, has_failed_times(1)).await;
    let error = refused["last_error"].as_str().unwrap();
    assert!(error.contains("WEBHOOK_ALLOWED_NETWORKS"), "{error}");
    assert_eq!(refused["status"], "waiting");
    assert_eq!(receiver.received().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    let shop = shop().await;
    let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
    let (id, _) = connect(&shop, &receiver.url(), &["model.created"]).await;
    for (attempt, status) in [(1, 307), (2, 308)] {
        receiver.reply([Reply::Header(status, "location", elsewhere.url())]);
        match attempt {
            1 => drop(shop.draft_model().await),
            _ => let_pass(&shop, 10),
        }
        let refused = until_newest(&shop, &id, has_failed_times(attempt)).await;
        assert_eq!(refused["last_status"], status);
        let error = refused["last_error"].as_str().unwrap();
        assert!(error.contains("redirects are not followed"), "{error}");
    }
    assert_eq!(elsewhere.received().len(), 0);
}

/// A name that stands for one address after the other, and the last one from then on.
struct Fickle {
    answers: Vec<Vec<SocketAddr>>,
    asked: AtomicUsize,
}

impl Resolve for Fickle {
    fn resolve(&self, _: Name) -> Resolving {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.answers[asked.min(self.answers.len() - 1)].clone();
        Box::pin(async move { Ok(Box::new(answer.into_iter()) as Addrs) })
    }
}

/// The address that is connected to is the one that was looked at: whoever changes what a name
/// stands for in between gains nothing. The one address that is allowed here stands for the public
/// internet.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_changes_its_mind_leads_nowhere_else() {
    let allowed = Receiver::start_at("127.0.0.2:0").await;
    let port = allowed.address.port();
    let inside = Receiver::start_at(&format!("127.0.0.1:{port}")).await;
    let settings = WebhookSettings {
        allowed_networks: vec!["127.0.0.2/32".parse().unwrap()],
        ca: None,
    };
    let (a, b) = (allowed.address, inside.address);
    let names = Fickle {
        answers: vec![vec![a], vec![b], vec![b, a], vec![b, b]],
        asked: AtomicUsize::new(0),
    };
    let sender = Sender::with_names(&settings, Arc::new(names));
    let url = format!("http://rebind.example:{port}/");
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        // A connection that is kept would not be looked up again.
        allowed.reply([Reply::Header(204, "connection", "close".to_owned())]);
        let sent = sender.send(&url, HeaderMap::new(), "{}".to_owned()).await;
        outcomes.push(sent.map(|answer| answer.status.as_u16()));
    }
    let refused = Err(SendError::Refused);
    assert_eq!(outcomes, [Ok(204), refused.clone(), Ok(204), refused]);
    assert_eq!(allowed.received().len(), 2);
    assert_eq!(inside.received().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_proves_who_it_is_by_its_certificate() {
    let (address, ca_pem) = secure_receiver().await;
    let settings = |ca_pem: Option<String>| WebhookSettings {
        allowed_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ca: ca_pem.map(|pem| CaFile {
            path: "ca.pem".into(),
            pem: pem.into_bytes(),
        }),
    };
    let url = format!("https://localhost:{}/", address.port());
    let send = |sender: Sender| {
        let url = url.clone();
        async move { sender.send(&url, HeaderMap::new(), "{}".to_owned()).await }
    };
    let trusted = send(Sender::new(&settings(Some(ca_pem)))).await;
    assert_eq!(trusted.map(|answer| answer.status.as_u16()), Ok(202));
    let stranger = send(Sender::new(&settings(None))).await;
    let Err(SendError::Failed(error)) = &stranger else {
        panic!("{stranger:?}");
    };
    assert!(error.to_lowercase().contains("certificate"), "{error}");
    assert!(!error.contains("/hooks"), "{error}");
}

/// A server behind TLS that answers 202 to everything; its address and the authority to trust.
async fn secure_receiver() -> (SocketAddr, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key.unwrap())
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(tls));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut buffer = [0; 4_096];
                let read = stream.read(&mut buffer).await;
                assert!(read.is_ok_and(|bytes| bytes > 0));
                let reply =
                    b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                stream.write_all(reply).await.unwrap();
                stream.shutdown().await.ok();
            });
        }
    });
    (address, certified.cert.pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_for_a_server_that_sends_them() {
    let shop = Shop::start_with(Backend::Local, &[LOOPBACK]).await;
    let receiver = Receiver::start().await;
    let (id, secret) = connect(&shop, &receiver.url(), &["model.created"]).await;
    for _ in 0..30 {
        shop.draft_model().await;
    }
    let now = shop.app.clock.now();
    assert_eq!(receiver.received().len(), 0);
    shop.app.tasks.spawn(outbox::run(shop.app.clone()));
    let received = receiver.until(30).await;
    let mut ids: Vec<_> = received
        .iter()
        .map(|it| it.header("webhook-id").to_owned())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 30);
    // The moment of signing is that of the attempt.
    let signed_at: i64 = received[0].header("webhook-timestamp").parse().unwrap();
    assert!(signed_at >= now.unix_seconds());
    assert!(received.iter().all(|it| it.is_signed_with(&secret)));
    until_newest(&shop, &id, |it| it["status"] == "delivered").await;
}
