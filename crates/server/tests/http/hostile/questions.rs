//! Queries and JSON that try to be understood as something else.

use http::Method;
use serde_json::Value;

use super::row::{Ask, Row, ensure};
use super::stage::Stage;
use crate::support::Who;

pub(super) fn rows(stage: &Stage) -> Vec<Row> {
    let mut rows = searches(stage);
    rows.extend(queries(stage));
    rows.extend(bodies(stage));
    rows
}

fn get(stage: &Stage, path: &str) -> Ask {
    stage.wire(Who::Operator, "GET", path, "").into()
}

/// Words that mean something to a database, and nothing here.
fn searches(stage: &Stage) -> Vec<Row> {
    [
        ("a quote", "%27"),
        ("two quotes", "%22"),
        ("a quote that is not closed", "%22Helmet"),
        ("SQL", "%27%20OR%201=1%20--"),
        ("a second statement", "x%27;%20DROP%20TABLE%20models;%20--"),
        ("a wildcard", "%25"),
        ("a wildcard for a letter", "_elmet"),
        ("a wildcard in the end", "Helm*"),
        ("an operator", "Helmet%20AND"),
        ("an operator between words", "Helmet%20NOT%20x"),
        ("a word near another", "NEAR(a%20b)"),
        ("a column", "title:Helmet"),
        ("a bracket", "("),
        ("a caret", "%5EHelmet"),
        ("a minus sign", "-Helmet"),
        ("an ampersand and an exclamation mark", "%26%20!"),
        ("a backslash", "%5C"),
        ("a backslash and a wildcard", "%5C%25"),
        ("2,000 words", &"a+".repeat(2_000)),
        (
            "Unicode that is composed of much",
            &"a%CC%81%CC%81%CC%81".repeat(300),
        ),
    ]
    .into_iter()
    .map(|(name, text)| {
        Row::answered(
            name,
            get(stage, &format!("/v1/models?q={text}")),
            200,
            |got| {
                let list = got.json(200);
                ensure(list["data"].is_array(), "no list")
            },
        )
    })
    .collect()
}

fn queries(stage: &Stage) -> Vec<Row> {
    let (long, cursor) = ("x".repeat(50_000), "A".repeat(50_000));
    let mut rows: Vec<Row> = [
        ("a limit twice", "/v1/models?limit=1&limit=2".to_owned()),
        (
            "a limit beyond all numbers",
            "/v1/models?limit=18446744073709551616".to_owned(),
        ),
        ("a limit with a blank", "/v1/models?limit=+1".to_owned()),
        ("a search for NUL", "/v1/models?q=a%00b".to_owned()),
        (
            "a user of 50,000 bytes",
            format!("/v1/models?artist={long}"),
        ),
        (
            "a user with a line break",
            "/v1/purchases?buyer=a%0Ab".to_owned(),
        ),
        ("a user with NUL", "/v1/purchases?buyer=a%00b".to_owned()),
        (
            "a cursor of 50,000 bytes",
            format!("/v1/models?cursor={cursor}"),
        ),
        (
            "a cursor in another base",
            "/v1/objects?cursor=..%2F..%2F".to_owned(),
        ),
        (
            "a cursor with SQL",
            "/v1/purchases?cursor=%27%20OR%201=1%20--".to_owned(),
        ),
        (
            "a status with NUL",
            "/v1/models?status=published%00".to_owned(),
        ),
    ]
    .into_iter()
    .map(|(name, path)| Row::refused(name, get(stage, &path), 400, "invalid_request"))
    .collect();
    let too_long = format!("/v1/objects?prefix=models/{}", "a".repeat(2_000));
    rows.push(Row::refused(
        "a prefix that is too long",
        get(stage, &too_long),
        400,
        "invalid_key",
    ));
    for (name, path) in [
        ("a parameter nobody knows", "/v1/models?admin=true&debug=1"),
        (
            "10,000 parameters",
            &format!("/v1/models?{}", "a&".repeat(10_000)),
        ),
        ("brackets", "/v1/models?filter[$ne]=1&limit=1"),
    ] {
        rows.push(Row::answered(name, get(stage, path), 200, |got| {
            ensure(got.json(200)["data"].is_array(), "no list")
        }));
    }
    rows
}

/// Bodies in which two readers could see two things.
fn bodies(stage: &Stage) -> Vec<Row> {
    let post = |body: &[u8]| {
        let request = stage.shop.call(Who::Artist, Method::POST, "/v1/models");
        let request = request.header("content-type", "application/json");
        request.body(body.to_vec())
    };
    let utf16: Vec<u8> = r#"{"title":"a"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut rows: Vec<Row> = [
        ("a field twice", br#"{"title":"a","title":"b"}"#.to_vec()),
        (
            "a field twice, once escaped",
            br#"{"title":"a","\u0074itle":"b"}"#.to_vec(),
        ),
        ("two values", br#"{"title":"a"}{"title":"b"}"#.to_vec()),
        (
            "a mark of UTF-8 in front",
            b"\xef\xbb\xbf{\"title\":\"a\"}".to_vec(),
        ),
        ("UTF-16", utf16),
        ("no UTF-8", b"{\"title\":\"\xff\"}".to_vec()),
        ("half of a surrogate", br#"{"title":"\ud800"}"#.to_vec()),
        ("a comment", br#"{"title":"a"/**/}"#.to_vec()),
        ("a comma too many", br#"{"title":"a",}"#.to_vec()),
        ("single quotes", b"{'title':'a'}".to_vec()),
        (
            "no number",
            br#"{"title":"a","price":{"amount":NaN,"currency":"EUR"}}"#.to_vec(),
        ),
        (
            "a number beyond all",
            br#"{"title":"a","price":{"amount":1e999,"currency":"EUR"}}"#.to_vec(),
        ),
        (
            "a number one too large",
            br#"{"title":"a","price":{"amount":9223372036854775808,"currency":"EUR"}}"#.to_vec(),
        ),
        (
            "a field of every object",
            br#"{"title":"a","__proto__":{"artist":"otto"}}"#.to_vec(),
        ),
        (
            "the id of another",
            br#"{"title":"a","id":"mdl_01jd0000000000000000000000"}"#.to_vec(),
        ),
        (
            "10,000 tags",
            format!(r#"{{"title":"a","tags":[{}"x"]}}"#, "\"x\",".repeat(10_000)).into_bytes(),
        ),
    ]
    .into_iter()
    .map(|(name, body)| Row::refused(format!("JSON: {name}"), post(&body), 400, "invalid_request"))
    .collect();
    let coded = post(b"\x1f\x8b\x08\0\0\0\0\0").header("content-encoding", "gzip");
    rows.push(Row::refused("JSON: packed", coded, 400, "invalid_request"));
    let markup = "<script>alert(1)</script>";
    let body = serde_json::json!({ "title": markup }).to_string();
    rows.push(
        Row::answered("JSON: markup", post(body.as_bytes()), 201, move |got| {
            let model: Value = got.json(201);
            let is_json = got.header("content-type").starts_with("application/json");
            ensure(is_json && model["title"] == markup, "another title")
        })
        .and_kept(),
    );
    rows
}
