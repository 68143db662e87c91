//! Events that nobody signed, or that were changed, kept back or sent again.

use http::Method;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::row::{Row, ensure};
use super::stage::Stage;
use crate::purchase_events::{OTHER_SECRET, OTHER_STRIPE_SECRET};
use crate::signed::{self, SECRET, STRIPE_SECRET};
use crate::support::{Answer, Who};

const PATH: &str = "/v1/webhooks/purchases";
const PING: &str = r#"{"type": "ping", "data": {"object": {}}}"#;

type Headers = Vec<(&'static str, String)>;

fn send(stage: &Stage, headers: Headers, body: &[u8]) -> RequestBuilder {
    let request = stage.shop.call(Who::Nobody, Method::POST, PATH);
    signed::with(request, headers, body.to_vec())
}

fn standard(at: i64, body: &[u8]) -> Headers {
    signed::standard(SECRET, "msg_1", at, body).to_vec()
}

fn stripe(at: i64, body: &[u8]) -> Headers {
    signed::stripe(STRIPE_SECRET, at, body).to_vec()
}

pub(super) fn rows(stage: &Stage) -> Vec<Row> {
    let mut rows = changed_bodies(stage);
    rows.extend(moments(stage));
    rows.extend(headers(stage));
    rows.extend(bodies(stage));
    rows.extend(replays(stage));
    rows
}

/// Bodies that are not, byte by byte, what was signed.
fn changed_bodies(stage: &Stage) -> Vec<Row> {
    let event = signed::created("hostile", &stage.model);
    let pretty = serde_json::to_string_pretty(&event).unwrap();
    let compact = event.to_string();
    let reordered = json!({"data": event["data"], "type": event["type"]}).to_string();
    let now = stage.unix_seconds();
    [
        ("written again in one line", &pretty, compact.clone()),
        ("written again over several lines", &compact, pretty.clone()),
        ("written again without a field", &compact, reordered),
        (
            "for another buyer",
            &compact,
            compact.replace("\"ben\"", "\"eve\""),
        ),
        (
            "for another order",
            &compact,
            compact.replace("hostile", "hostilf"),
        ),
        (
            "a letter escaped",
            &compact,
            compact.replace("\"ben\"", "\"b\\u0065n\""),
        ),
        ("a line more", &compact, format!("{compact}\n")),
        ("a blank in front", &compact, format!(" {compact}")),
        (
            "a mark of UTF-8 in front",
            &compact,
            format!("\u{feff}{compact}"),
        ),
        (
            "a letter less",
            &compact,
            compact[..compact.len() - 1].to_owned(),
        ),
        ("two bodies", &compact, compact.repeat(2)),
        ("nothing", &compact, String::new()),
    ]
    .into_iter()
    .map(|(name, signed, sent)| {
        assert_ne!(*signed, sent);
        let by_shop = send(stage, standard(now, signed.as_bytes()), sent.as_bytes());
        let by_stripe = send(stage, stripe(now, signed.as_bytes()), sent.as_bytes());
        Row::refused(name, by_shop, 403, "bad_signature").or(by_stripe)
    })
    .collect()
}

/// Signatures that are right and of another moment. Some seconds are left for the test itself.
fn moments(stage: &Stage) -> Vec<Row> {
    let now = stage.unix_seconds();
    let both = |at| {
        let by_shop = send(stage, standard(at, PING.as_bytes()), PING.as_bytes());
        (
            by_shop,
            send(stage, stripe(at, PING.as_bytes()), PING.as_bytes()),
        )
    };
    let mut rows = Vec::new();
    for (name, at) in [
        ("stale by an hour", now - 3_600),
        ("stale by seconds", now - 305),
        ("of 1970", 0),
        ("of the future", now + 330),
        ("of the next century", now + 3_200_000_000),
        ("of the last second there is", i64::MAX),
    ] {
        let (by_shop, by_stripe) = both(at);
        rows.push(Row::refused(name, by_shop, 403, "signature_expired").or(by_stripe));
    }
    for (name, at) in [
        ("nearly stale", now - 290),
        ("nearly of the future", now + 290),
    ] {
        let (by_shop, by_stripe) = both(at);
        let is_ignored =
            |got: &Answer| ensure(got.json(200)["outcome"] == "ignored", "another outcome");
        let row = Row::answered(name, by_shop, 200, is_ignored);
        rows.push(row.then(Row::answered(name, by_stripe, 200, is_ignored)));
    }
    rows
}

/// Headers that are not those of one dialect, or not of this event.
fn headers(stage: &Stage) -> Vec<Row> {
    let now = stage.unix_seconds();
    let body = PING.as_bytes();
    let (of_shop, of_stripe) = (standard(now, body), stripe(now, body));
    let without = |index: usize| {
        let mut headers = of_shop.clone();
        headers.remove(index);
        headers
    };
    let twice = |index: usize| {
        let mut headers = of_shop.clone();
        headers.push(headers[index].clone());
        headers
    };
    let instead = |index: usize, value: &str| {
        let mut headers = of_shop.clone();
        value.clone_into(&mut headers[index].1);
        headers
    };
    let of_stripe_instead = |value: String| vec![("stripe-signature", value)];
    let signature = &of_shop[2].1;
    let stripe_value = &of_stripe[0].1;
    let in_time = format!("t={now}");
    let mut rows: Vec<Row> = [
        ("no header", Vec::new()),
        ("no id", without(0)),
        ("no timestamp", without(1)),
        ("no signature", without(2)),
        ("two ids", twice(0)),
        ("two timestamps", twice(1)),
        ("two signatures", twice(2)),
        ("an empty id", instead(0, "")),
        ("another id", instead(0, "msg_2")),
        ("an id with a full stop", instead(0, "msg.1")),
        ("an id that is not ASCII", instead(0, "m\u{e9}ssage")),
        ("another timestamp", instead(1, &(now + 60).to_string())),
        ("a time in words", instead(1, "now")),
        ("a time with a plus sign", instead(1, &format!("+{now}"))),
        ("a time with zeros", instead(1, &format!("00{now}"))),
        ("a time with a fraction", instead(1, &format!("{now}.0"))),
        (
            "a time beyond all numbers",
            instead(1, "99999999999999999999"),
        ),
        ("an empty time", instead(1, "")),
        ("no scheme", instead(2, &signature[3..])),
        (
            "another scheme",
            instead(2, &signature.replace("v1,", "v1a,")),
        ),
        ("a scheme and nothing", instead(2, "v1,")),
        (
            "a signature without its padding",
            instead(2, signature.trim_end_matches('=')),
        ),
        (
            "a signature in hex",
            instead(2, &format!("v1,{}", "0".repeat(64))),
        ),
        (
            "3,000 wrong signatures",
            instead(2, "v1,AAAA ".repeat(3_000).trim_end()),
        ),
        (
            "another secret",
            signed::standard(OTHER_SECRET, "msg_1", now, body).to_vec(),
        ),
        (
            "Stripe's secret",
            signed::stripe(SECRET, now, body).to_vec(),
        ),
        (
            "another secret of Stripe",
            signed::stripe(OTHER_STRIPE_SECRET, now, body).to_vec(),
        ),
        ("both dialects", [&of_shop[..], &of_stripe[..]].concat()),
        (
            "two headers of Stripe",
            [&of_stripe[..], &of_stripe[..]].concat(),
        ),
        (
            "no time of Stripe",
            of_stripe_instead(stripe_value.replace("t=", "x=")),
        ),
        (
            "two times of Stripe",
            of_stripe_instead(format!("{stripe_value},{in_time}")),
        ),
        (
            "another time of Stripe",
            of_stripe_instead(stripe_value.replace(&in_time, &format!("t={}", now + 1))),
        ),
        (
            "only v0",
            of_stripe_instead(stripe_value.replace("v1=", "v2=")),
        ),
        (
            "an empty header of Stripe",
            of_stripe_instead(String::new()),
        ),
        (
            "a signature of Stripe in capitals",
            of_stripe_instead(
                stripe_value
                    .to_uppercase()
                    .replace("T=", "t=")
                    .replace("V1=", "v1="),
            ),
        ),
    ]
    .into_iter()
    .map(|(name, headers)| Row::refused(name, send(stage, headers, body), 403, "bad_signature"))
    .collect();
    let with_key = stage
        .shop
        .call(Who::Operator, Method::POST, PATH)
        .body(PING);
    rows.push(Row::refused(
        "a key is no signature",
        with_key,
        403,
        "bad_signature",
    ));
    rows
}

/// Bodies that are signed and do not fit.
fn bodies(stage: &Stage) -> Vec<Row> {
    let now = stage.unix_seconds();
    let signed = |body: &[u8]| send(stage, standard(now, body), body);
    let created = |change: fn(&mut Value)| {
        let mut event = signed::created("hostile", &stage.model);
        change(&mut event["data"]);
        event.to_string().into_bytes()
    };
    let twice = signed::created("hostile", &stage.model)
        .to_string()
        .replace("\"buyer\":\"ben\"", "\"buyer\":\"ben\",\"buyer\":\"eve\"");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let mut rows: Vec<Row> = [
        ("no event", b"[]".to_vec()),
        ("no JSON", b"nonsense".to_vec()),
        ("no body", Vec::new()),
        ("no UTF-8", b"{\"type\": \"\xff\"}".to_vec()),
        ("no type", br#"{"data": {}}"#.to_vec()),
        ("no data", br#"{"type": "purchase.created"}"#.to_vec()),
        ("100,000 brackets", deep.into_bytes()),
        ("a field twice", twice.into_bytes()),
        (
            "a field that is misspelt",
            created(|data| data["download_limits"] = json!(5)),
        ),
        (
            "an order without a name",
            created(|data| data["order_ref"] = json!("")),
        ),
        (
            "an order with a line break",
            created(|data| data["order_ref"] = json!("A\n1")),
        ),
        (
            "an order with NUL",
            created(|data| data["order_ref"] = json!("A\0")),
        ),
        (
            "an order with too long a name",
            created(|data| data["order_ref"] = json!("x".repeat(256))),
        ),
        (
            "a buyer with a blank",
            created(|data| data["buyer"] = json!("two words")),
        ),
        (
            "a buyer with too long a name",
            created(|data| data["buyer"] = json!("x".repeat(129))),
        ),
        (
            "an expiry in words",
            created(|data| data["expires_at"] = json!("tomorrow")),
        ),
        (
            "a limit below nothing",
            created(|data| data["download_limit"] = json!(-1)),
        ),
        (
            "a limit beyond all numbers",
            created(|data| data["download_limit"] = json!(u64::MAX)),
        ),
        (
            "a limit with a fraction",
            created(|data| data["download_limit"] = json!(1.5)),
        ),
    ]
    .into_iter()
    .map(|(name, body)| Row::refused(name, signed(&body), 400, "invalid_request"))
    .collect();
    for (name, model) in [
        ("a model that is none", "helmet"),
        (
            "a model that is not there",
            "mdl_01jd0000000000000000000000",
        ),
        ("a model that climbs", "../../etc/passwd"),
    ] {
        let event = signed::created("hostile", model).to_string();
        rows.push(Row::refused(
            name,
            signed(event.as_bytes()),
            404,
            "not_found",
        ));
    }
    let large = format!("{{\"type\": \"{}\"}}", "x".repeat(1 << 20));
    rows.push(Row::refused(
        "more than 1 MiB",
        signed(large.as_bytes()),
        413,
        "too_large",
    ));
    let sold = signed::created("order-1", &stage.model).to_string();
    for (name, changed) in [
        ("an order of another", sold.replace("\"ben\"", "\"eve\"")),
        (
            "an order with another limit",
            sold.replace("\"ben\"", "\"ben\",\"download_limit\":1"),
        ),
    ] {
        let request = signed(changed.as_bytes());
        rows.push(Row::refused(name, request, 409, "order_conflict"));
    }
    rows
}

/// The same event again, which is no harm and has no effect.
fn replays(stage: &Stage) -> Vec<Row> {
    let now = stage.unix_seconds();
    let outcome = |name: &str, request: RequestBuilder, expected: &'static str| {
        Row::answered(name, request, 200, move |got| {
            ensure(got.json(200)["outcome"] == expected, "another outcome")
        })
    };
    let event = signed::created("replayed", &stage.model).to_string();
    let first = || send(stage, standard(now, event.as_bytes()), event.as_bytes());
    let other_id = signed::standard(SECRET, "msg_2", now, event.as_bytes()).to_vec();
    let refund = signed::refunded("replayed").to_string();
    let refund = |at| send(stage, standard(at, refund.as_bytes()), refund.as_bytes());
    vec![
        outcome("an event", first(), "recorded").and_kept(),
        outcome("a replay, byte by byte", first(), "unchanged"),
        outcome(
            "a replay with another id",
            send(stage, other_id, event.as_bytes()),
            "unchanged",
        ),
        outcome("a replay after the refund", refund(now), "refunded")
            .then(outcome("", first(), "unchanged"))
            .then(outcome("", refund(now + 1), "unchanged")),
    ]
}
