//! Signed events about orders: a shop's own, and Stripe's.

use http::Method;
use serde_json::{Value, json};
use stockroom_domain::Clock as _;

use crate::signed::{self, SECRET, SETTINGS, STRIPE_SECRET};
use crate::support::{Answer, Backend, Shop, Who, answer, stl};

const PATH: &str = "/v1/webhooks/purchases";
// The base64 of: another one that is not real
pub(crate) const OTHER_SECRET: &str = "whsec_YW5vdGhlciBvbmUgdGhhdCBpcyBub3QgcmVhbA==";
pub(crate) const OTHER_STRIPE_SECRET: &str = "whsec_another-secret-that-is-not-real";

async fn shop() -> Shop {
    Shop::start_with(Backend::Local, &SETTINGS).await
}

fn now(shop: &Shop) -> i64 {
    shop.clock.now().unix_seconds()
}

/// Sends a body with these headers and no key.
async fn send(
    shop: &Shop,
    headers: impl IntoIterator<Item = (&'static str, String)>,
    body: impl Into<Vec<u8>>,
) -> Answer {
    let request = shop.call(Who::Nobody, Method::POST, PATH);
    answer(signed::with(request, headers, body.into())).await
}

/// An event of the shop, signed now.
async fn tell(shop: &Shop, event: &Value) -> Answer {
    let body = event.to_string();
    let headers = signed::standard(SECRET, "msg_1", now(shop), body.as_bytes());
    send(shop, headers, body).await
}

/// An event of Stripe, signed now.
async fn tell_as_stripe(shop: &Shop, event: &Value) -> Answer {
    // Stripe sends its events over several lines.
    let body = serde_json::to_string_pretty(event).unwrap();
    let headers = signed::stripe(STRIPE_SECRET, now(shop), body.as_bytes());
    send(shop, headers, body).await
}

/// What became of an event that was taken.
#[track_caller]
fn assert_outcome(answer: &Answer, outcome: &str, order_ref: &str, status: Option<&str>) {
    let body = answer.json(200);
    assert_eq!(body["outcome"], outcome, "{body}");
    assert_eq!(body["order_ref"], order_ref, "{body}");
    match status {
        None => assert_eq!(body["purchase"], Value::Null, "{body}"),
        Some(status) => {
            assert_eq!(body["purchase"]["order_ref"], order_ref, "{body}");
            assert_eq!(body["purchase"]["status"], status, "{body}");
        }
    }
}

/// How many purchases there are.
async fn purchases(shop: &Shop) -> usize {
    let list = answer(shop.get(Who::Operator, "/v1/purchases"))
        .await
        .json(200);
    list["data"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shops_event_opens_a_file_and_a_refund_closes_it() {
    let shop = shop().await;
    let model = shop.published_model().await;
    let asset = shop.put_asset(&model, "a.stl", stl(3, 1)).await;
    let download = format!("/v1/assets/{}/download", asset["id"].as_str().unwrap());
    answer(shop.get(Who::Buyer, &download))
        .await
        .assert_problem(403, "not_purchased", "before");

    let mut event = signed::created("A-1", &model);
    event["data"]["expires_at"] = json!("2099-01-01T00:00:00Z");
    event["data"]["download_limit"] = json!(5);
    let recorded = tell(&shop, &event).await;
    assert_outcome(&recorded, "recorded", "A-1", Some("active"));
    let purchase = &recorded.json(200)["purchase"];
    assert_eq!(purchase["buyer"], "ben");
    assert_eq!(purchase["model"], model.as_str());
    assert_eq!(purchase["expires_at"], "2099-01-01T00:00:00.000Z");
    assert_eq!(purchase["download_limit"], 5);
    assert_eq!(answer(shop.get(Who::Buyer, &download)).await.status, 200);

    let refund = tell(&shop, &signed::refunded("A-1")).await;
    assert_outcome(&refund, "refunded", "A-1", Some("refunded"));
    let resumed = shop.get(Who::Buyer, &download).header("range", "bytes=9-");
    for request in [shop.get(Who::Buyer, &download), resumed] {
        answer(request)
            .await
            .assert_problem(403, "not_purchased", "after");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkout_of_stripe_opens_a_file_and_a_refund_closes_it() {
    let shop = shop().await;
    let model = shop.published_model().await;
    let asset = shop.put_asset(&model, "a.stl", stl(3, 1)).await;
    let download = format!("/v1/assets/{}/download", asset["id"].as_str().unwrap());

    let mut event = signed::session("pi_1", &model);
    event["data"]["object"]["metadata"]["download_limit"] = json!("5");
    let recorded = tell_as_stripe(&shop, &event).await;
    assert_outcome(&recorded, "recorded", "pi_1", Some("active"));
    assert_eq!(recorded.json(200)["purchase"]["download_limit"], 5);
    assert_eq!(answer(shop.get(Who::Buyer, &download)).await.status, 200);

    let refund = tell_as_stripe(&shop, &signed::charge_refunded("pi_1")).await;
    assert_outcome(&refund, "refunded", "pi_1", Some("refunded"));
    answer(shop.get(Who::Buyer, &download))
        .await
        .assert_problem(403, "not_purchased", "after");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_again_changes_nothing() {
    let shop = shop().await;
    let model = shop.published_model().await;
    let body = signed::created("A-1", &model).to_string();
    let headers = signed::standard(SECRET, "msg_1", now(&shop), body.as_bytes());
    let first = send(&shop, headers.clone(), body.clone()).await;
    assert_outcome(&first, "recorded", "A-1", Some("active"));
    // A replay, byte by byte, and the same event in another delivery.
    let replay = send(&shop, headers.clone(), body.clone()).await;
    assert_outcome(&replay, "unchanged", "A-1", Some("active"));
    assert_eq!(replay.json(200)["purchase"], first.json(200)["purchase"]);
    let other = signed::standard(SECRET, "msg_2", now(&shop), body.as_bytes());
    let again = send(&shop, other, body.clone()).await;
    assert_outcome(&again, "unchanged", "A-1", Some("active"));

    for expected in ["refunded", "unchanged"] {
        let refund = tell(&shop, &signed::refunded("A-1")).await;
        assert_outcome(&refund, expected, "A-1", Some("refunded"));
    }
    let replay = send(&shop, headers, body).await;
    assert_outcome(&replay, "unchanged", "A-1", Some("refunded"));
    assert_eq!(purchases(&shop).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_comes_first_is_remembered() {
    let shop = shop().await;
    let model = shop.published_model().await;
    for expected in ["refunded", "unchanged"] {
        let refund = tell(&shop, &signed::refunded("A-1")).await;
        assert_outcome(&refund, expected, "A-1", None);
    }
    let recorded = tell(&shop, &signed::created("A-1", &model)).await;
    assert_outcome(&recorded, "recorded", "A-1", Some("refunded"));
    let refund = tell(&shop, &signed::refunded("A-1")).await;
    assert_outcome(&refund, "unchanged", "A-1", Some("refunded"));

    // By the other way of recording a purchase it is no other.
    tell(&shop, &signed::refunded("A-2")).await.json(200);
    let request = shop
        .call(Who::Service, Method::POST, "/v1/purchases")
        .json(&json!({"buyer": "ben", "model": model, "order_ref": "A-2"}));
    assert_eq!(answer(request).await.json(201)["status"], "refunded");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_calls_of_the_shop_are_about_the_same_orders() {
    let shop = shop().await;
    let model = shop.published_model().await;
    let id = shop.sell(&model, "A-1").await;
    let known = tell(&shop, &signed::created("A-1", &model)).await;
    assert_outcome(&known, "unchanged", "A-1", Some("active"));
    assert_eq!(known.json(200)["purchase"]["id"], id.as_str());
    let refund = shop.call(
        Who::Service,
        Method::POST,
        &format!("/v1/purchases/{id}/refund"),
    );
    assert_eq!(answer(refund).await.json(200)["status"], "refunded");
    let known = tell(&shop, &signed::refunded("A-1")).await;
    assert_outcome(&known, "unchanged", "A-1", Some("refunded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_secret_is_exchanged_both_are_known() {
    let standard = format!("{SECRET},{OTHER_SECRET}");
    let stripe = format!("{STRIPE_SECRET},{OTHER_STRIPE_SECRET}");
    let settings = [
        ("PURCHASE_WEBHOOK_SECRETS", standard.as_str()),
        ("STRIPE_WEBHOOK_SECRETS", stripe.as_str()),
    ];
    let during = Shop::start_with(Backend::Local, &settings).await;
    let after = shop().await;
    let body = r#"{"type": "ping", "data": {"object": {}}}"#;
    for (shop, secret, stripe_secret, status) in [
        (&during, SECRET, STRIPE_SECRET, 200),
        (&during, OTHER_SECRET, OTHER_STRIPE_SECRET, 200),
        (&after, SECRET, STRIPE_SECRET, 200),
        (&after, OTHER_SECRET, OTHER_STRIPE_SECRET, 403),
    ] {
        let standard = signed::standard(secret, "msg_1", now(shop), body.as_bytes());
        let stripe = signed::stripe(stripe_secret, now(shop), body.as_bytes());
        assert_eq!(send(shop, standard, body).await.status, status, "{secret}");
        assert_eq!(send(shop, stripe, body).await.status, status, "{secret}");
    }
    // A sender that exchanges its secret signs with both.
    let [id, timestamp, (name, old)] =
        signed::standard(OTHER_SECRET, "msg_1", now(&after), body.as_bytes());
    let [_, _, (_, new)] = signed::standard(SECRET, "msg_1", now(&after), body.as_bytes());
    let headers = [id, timestamp, (name, format!("{old} {new}"))];
    assert_eq!(send(&after, headers, body).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_secret_the_setting_is_named() {
    let shop = Shop::start(Backend::Local).await;
    let body = r#"{"type": "ping"}"#;
    let standard = signed::standard(SECRET, "msg_1", now(&shop), body.as_bytes());
    let stripe = signed::stripe(STRIPE_SECRET, now(&shop), body.as_bytes());
    for (answer, setting) in [
        (
            send(&shop, standard, body).await,
            "PURCHASE_WEBHOOK_SECRETS",
        ),
        (send(&shop, stripe, body).await, "STRIPE_WEBHOOK_SECRETS"),
    ] {
        answer.assert_problem(403, "bad_signature", setting);
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(body.contains(setting) && !body.contains("whsec_"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_that_ended_before_its_event_came_is_recorded() {
    let shop = shop().await;
    let model = shop.published_model().await;
    let mut event = signed::created("A-1", &model);
    event["data"]["expires_at"] = json!("2020-01-01T00:00:00Z");
    let recorded = tell(&shop, &event).await;
    assert_outcome(&recorded, "recorded", "A-1", Some("expired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_paid_later_is_recorded_then() {
    let shop = shop().await;
    let model = shop.published_model().await;
    let mut event = signed::session("pi_1", &model);
    event["data"]["object"]["payment_status"] = json!("unpaid");
    let ignored = tell_as_stripe(&shop, &event).await.json(200);
    assert_eq!(ignored["outcome"], "ignored");
    assert_eq!(ignored["order_ref"], Value::Null);
    assert!(ignored["reason"].as_str().unwrap().contains("not paid"));
    assert_eq!(purchases(&shop).await, 0);

    event["type"] = json!("checkout.session.async_payment_succeeded");
    event["data"]["object"]["payment_status"] = json!("paid");
    let recorded = tell_as_stripe(&shop, &event).await;
    assert_outcome(&recorded, "recorded", "pi_1", Some("active"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partial_refund_leaves_the_purchase_as_it_is() {
    let shop = shop().await;
    let model = shop.published_model().await;
    tell_as_stripe(&shop, &signed::session("pi_1", &model))
        .await
        .json(200);
    let mut partial = signed::charge_refunded("pi_1");
    partial["data"]["object"]["refunded"] = json!(false);
    partial["data"]["object"]["amount_refunded"] = json!(100);
    let ignored = tell_as_stripe(&shop, &partial).await.json(200);
    assert_eq!(ignored["outcome"], "ignored");
    let again = tell_as_stripe(&shop, &signed::session("pi_1", &model)).await;
    assert_outcome(&again, "unchanged", "pi_1", Some("active"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dispute_before_the_session_was_completed_ends_it() {
    let shop = shop().await;
    let model = shop.published_model().await;
    let dispute = signed::stripe_event(
        "charge.dispute.created",
        &json!({"id": "dp_1", "object": "dispute", "charge": "ch_1", "payment_intent": "pi_1",
            "reason": "fraudulent", "status": "needs_response"}),
    );
    let disputed = tell_as_stripe(&shop, &dispute).await;
    assert_outcome(&disputed, "refunded", "pi_1", None);
    let recorded = tell_as_stripe(&shop, &signed::session("pi_1", &model)).await;
    assert_outcome(&recorded, "recorded", "pi_1", Some("refunded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_else_an_account_sells_is_ignored() {
    let shop = shop().await;
    let mut without_model = signed::session("pi_1", "");
    without_model["data"]["object"]["metadata"] = json!({"cart": "7"});
    for event in [
        without_model,
        signed::stripe_event("invoice.paid", &json!({"id": "in_1"})),
        signed::stripe_event(
            "charge.refunded",
            &json!({"refunded": true, "payment_intent": null}),
        ),
    ] {
        let ignored = tell_as_stripe(&shop, &event).await.json(200);
        assert_eq!(ignored["outcome"], "ignored", "{event}");
        assert_eq!(ignored["purchase"], Value::Null, "{event}");
    }
    let other = json!({"type": "user.created", "data": {"id": 1}});
    assert_eq!(tell(&shop, &other).await.json(200)["outcome"], "ignored");
    assert_eq!(purchases(&shop).await, 0);
}
