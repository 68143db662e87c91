//! What is said about an object: its media type, its metadata, and how it shall be shown.

use http::Method;
use reqwest::RequestBuilder;
use serde_json::json;

use super::row::{Row, anything, ensure};
use super::stage::Stage;
use crate::support::{Answer, Who};

pub(super) fn rows(stage: &Stage) -> Vec<Row> {
    let mut rows = media_types(stage);
    rows.extend(metadata(stage));
    rows.extend(links(stage));
    rows
}

const OBJECT: &str = "/v1/objects/models/label";

fn put(stage: &Stage) -> RequestBuilder {
    let put = stage.shop.call(Who::Operator, Method::PUT, OBJECT);
    put.body("bytes")
}

fn names_the_header(got: &Answer) -> Result<(), String> {
    got.is_problem(400, "invalid_request")?;
    let detail = got.json(400)["detail"].to_string();
    ensure(
        detail.contains("Content-Type"),
        "it does not say what is wrong",
    )
}

/// Types that could not be said again, by a header, by a link or by a bucket.
fn media_types(stage: &Stage) -> Vec<Row> {
    let long = format!("model/{}", "x".repeat(300));
    let mut rows: Vec<Row> = [
        ("a type of 306 bytes", long.as_bytes()),
        ("a type with a tab", b"model/stl;\tx=1"),
        ("a type that is no ASCII", b"model/\xff"),
        ("an empty type", b""),
    ]
    .into_iter()
    .map(|(name, value)| {
        let request = put(stage).header("content-type", value);
        Row::answered(name, request, 400, names_the_header)
    })
    .collect();
    let two = put(stage).header("content-type", "model/stl");
    let two = two.header("content-type", "text/html");
    rows.push(Row::answered("two types", two, 400, names_the_header));
    // Whatever it is called, a browser runs nothing of it.
    for (name, value) in [
        ("a page", "text/html"),
        ("a picture with a program in it", "image/svg+xml"),
        ("a program", "application/javascript"),
        ("no type at all", "nonsense"),
        ("a type with quotes", "text/html; charset=\"x"),
    ] {
        let read = stage.shop.get(Who::Operator, OBJECT);
        rows.push(
            Row::answered(
                name,
                put(stage).header("content-type", value),
                201,
                anything,
            )
            .and_kept()
            .then(Row::answered("", read, 200, move |got| {
                ensure(got.header("content-type") == value, "another type")?;
                let policy = got.header("content-security-policy");
                let is_safe = policy.contains("sandbox")
                    && policy.contains("default-src 'none'")
                    && got.header("x-content-type-options") == "nosniff"
                    && got.header("content-disposition").starts_with("attachment");
                ensure(is_safe, "a browser could run it")
            })),
        );
    }
    rows
}

fn metadata(stage: &Stage) -> Vec<Row> {
    let long_name = format!("stockroom-meta-{}", "n".repeat(65));
    let (long, largest) = ("v".repeat(1_100), "v".repeat(60_000));
    [
        (
            "a value of 1,100 bytes",
            "stockroom-meta-note",
            long.as_bytes(),
        ),
        (
            "a value of 60,000 bytes",
            "stockroom-meta-note",
            largest.as_bytes(),
        ),
        (
            "a value that is no ASCII",
            "stockroom-meta-note",
            "\u{e4}".as_bytes(),
        ),
        ("a value that is no UTF-8", "stockroom-meta-note", b"\xff"),
        ("a value with a tab", "stockroom-meta-note", b"a\tb"),
        ("a name of 65 bytes", &long_name, b"v"),
        ("no name", "stockroom-meta-", b"v"),
        ("a name with an underscore", "stockroom-meta-a_b", b"v"),
        ("a name with a dot", "stockroom-meta-a.b", b"v"),
        (
            "a name that is the server's own",
            "stockroom-meta-stockroom-id",
            b"v",
        ),
    ]
    .into_iter()
    .map(|(name, header, value)| {
        let request = put(stage).header(header, value);
        Row::refused(name, request, 400, "invalid_request")
    })
    .collect()
}

/// What a link shall be like.
fn links(stage: &Stage) -> Vec<Row> {
    let path = format!("/v1/assets/{}/signed-url", stage.asset);
    let sign = |path: &str, body: &str| {
        let request = stage.shop.call(Who::Operator, Method::POST, path);
        let request = request.header("content-type", "application/json");
        request.body(body.to_owned())
    };
    [
        ("no life", json!({"expires_in": 0}).to_string()),
        ("a life before now", json!({"expires_in": -1}).to_string()),
        (
            "a second more than 7 days",
            json!({"expires_in": 604_801}).to_string(),
        ),
        (
            "the longest life there is",
            json!({"expires_in": u64::MAX}).to_string(),
        ),
        (
            "a life beyond all numbers",
            r#"{"expires_in": 1e400}"#.to_owned(),
        ),
        (
            "a life with a fraction",
            json!({"expires_in": 1.5}).to_string(),
        ),
        ("a life in words", json!({"expires_in": "900"}).to_string()),
        (
            "two lives",
            r#"{"expires_in": 1, "expires_in": 604800}"#.to_owned(),
        ),
        (
            "another disposition",
            json!({"disposition": "form-data"}).to_string(),
        ),
        (
            "a disposition with a header",
            json!({"disposition": "inline\r\nX: y"}).to_string(),
        ),
        (
            "another type",
            json!({"content_type": "text/html"}).to_string(),
        ),
        ("another object", json!({"key": "models/stock"}).to_string()),
        ("another method", json!({"method": "PUT"}).to_string()),
    ]
    .into_iter()
    .map(|(name, body)| {
        Row::refused(name, sign(&path, &body), 400, "invalid_request")
            .or(sign("/v1/objects/models/stock/signed-url", &body))
    })
    .collect()
}
