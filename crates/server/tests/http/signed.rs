//! Events about orders, signed as shops and Stripe sign them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use sha2::Sha256;

/// The settings of a server that takes events of both dialects.
pub(crate) const SETTINGS: [(&str, &str); 2] = [
    ("PURCHASE_WEBHOOK_SECRETS", SECRET),
    ("STRIPE_WEBHOOK_SECRETS", STRIPE_SECRET),
];
/// The base64 of: not a real secret, not a real one
pub(crate) const SECRET: &str = "whsec_bm90IGEgcmVhbCBzZWNyZXQsIG5vdCBhIHJlYWwgb25l";
pub(crate) const STRIPE_SECRET: &str = "whsec_not-a-real-secret-of-an-endpoint";

/// The headers of an event that follows the Standard Webhooks specification.
pub(crate) fn standard(
    secret: &str,
    id: &str,
    unix_seconds: i64,
    body: &[u8],
) -> [(&'static str, String); 3] {
    let key = STANDARD
        .decode(secret.strip_prefix("whsec_").unwrap())
        .unwrap();
    let mac = mac(&key, format!("{id}.{unix_seconds}.").as_bytes(), body);
    [
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", unix_seconds.to_string()),
        ("webhook-signature", format!("v1,{}", STANDARD.encode(mac))),
    ]
}

/// The header of an event of Stripe.
pub(crate) fn stripe(secret: &str, unix_seconds: i64, body: &[u8]) -> [(&'static str, String); 1] {
    let mac = mac(
        secret.as_bytes(),
        format!("{unix_seconds}.").as_bytes(),
        body,
    );
    let header = format!(
        "t={unix_seconds},v1={},v0={}",
        hex::encode(mac),
        "0".repeat(64)
    );
    [("stripe-signature", header)]
}

/// The request with these headers and this body.
pub(crate) fn with(
    request: RequestBuilder,
    headers: impl IntoIterator<Item = (&'static str, String)>,
    body: Vec<u8>,
) -> RequestBuilder {
    let request = request
        .header("content-type", "application/json")
        .body(body);
    headers.into_iter().fold(request, |request, (name, value)| {
        request.header(name, value)
    })
}

/// `purchase.created`, for the buyer `ben`.
pub(crate) fn created(order_ref: &str, model: &str) -> Value {
    json!({
        "type": "purchase.created",
        "timestamp": "2026-11-23T09:30:00Z",
        "data": {"order_ref": order_ref, "buyer": "ben", "model": model},
    })
}

/// `purchase.refunded`.
pub(crate) fn refunded(order_ref: &str) -> Value {
    json!({
        "type": "purchase.refunded",
        "timestamp": "2026-11-23T09:40:00Z",
        "data": {"order_ref": order_ref, "reason": "returned"},
    })
}

/// `checkout.session.completed` with a payment that was made, of the buyer `ben`.
pub(crate) fn session(payment_intent: &str, model: &str) -> Value {
    stripe_event(
        "checkout.session.completed",
        &json!({
            "id": format!("cs_{payment_intent}"),
            "object": "checkout.session",
            "mode": "payment",
            "status": "complete",
            "payment_status": "paid",
            "payment_intent": payment_intent,
            "metadata": {"buyer": "ben", "model": model},
        }),
    )
}

/// `charge.refunded`, of the whole amount.
pub(crate) fn charge_refunded(payment_intent: &str) -> Value {
    stripe_event(
        "charge.refunded",
        &json!({
            "id": format!("ch_{payment_intent}"),
            "object": "charge",
            "amount": 1200,
            "amount_refunded": 1200,
            "refunded": true,
            "payment_intent": payment_intent,
        }),
    )
}

/// An event of Stripe about this object.
pub(crate) fn stripe_event(kind: &str, object: &Value) -> Value {
    json!({
        "id": "evt_1",
        "object": "event",
        "api_version": "2025-09-30.clover",
        "created": 1_764_000_000,
        "livemode": false,
        "type": kind,
        "data": {"object": object},
    })
}

fn mac(key: &[u8], before: &[u8], body: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(before);
    mac.update(body);
    mac.finalize().into_bytes().into()
}
