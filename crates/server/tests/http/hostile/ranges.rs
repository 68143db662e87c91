//! Ranges and conditions that overflow, mean nothing, or come in thousands.

use http::Method;
use reqwest::RequestBuilder;
use stockroom_domain::Sha256Digest;

use super::row::{Row, ensure};
use super::stage::Stage;
use crate::support::Who;

const MAX: &str = "18446744073709551615";

pub(super) fn rows(stage: &Stage) -> Vec<Row> {
    let etag = format!("\"{}\"", Sha256Digest::of(&stage.stock));
    let mut rows = unsatisfiable(stage);
    let many = |piece: &str, count| format!("bytes={}", vec![piece; count].join(","));
    let whole = [
        ("backwards", "bytes=5-2".to_owned()),
        ("backwards by the largest number", format!("bytes={MAX}-0")),
        ("another unit", "items=0-1".to_owned()),
        ("no unit", "0-1".to_owned()),
        ("no equals sign", "bytes 0-1".to_owned()),
        ("no range", "bytes=".to_owned()),
        ("nothing at all", String::new()),
        ("a dash", "bytes=-".to_owned()),
        ("letters", "bytes=a-b".to_owned()),
        ("two dashes", "bytes=--1".to_owned()),
        ("three numbers", "bytes=1-2-3".to_owned()),
        ("a plus sign", "bytes=+1-2".to_owned()),
        ("hex", "bytes=0x1-0x2".to_owned()),
        ("a fraction", "bytes=0.5-1".to_owned()),
        ("an exponent", "bytes=1e2-1e3".to_owned()),
        ("blanks within", "bytes=0 - 1".to_owned()),
        ("no comma's end", "bytes=0-1,".to_owned()),
        (
            "digits of another script",
            "bytes=\u{661}-\u{662}".to_owned(),
        ),
        ("two ranges", "bytes=0-1,5-6".to_owned()),
        ("two ranges that overlap", "bytes=0-999,0-999".to_owned()),
        ("2,000 ranges", many("0-0", 2_000)),
        ("2,000 ranges of all", many("0-", 2_000)),
        ("2,000 ranges from the end", many("-1", 2_000)),
        (
            "a number of 50,000 digits, and another range",
            format!("bytes={}-,0-0", "9".repeat(50_000)),
        ),
    ];
    for (name, value) in whole {
        rows.push(is_whole(
            stage,
            name,
            get(stage).header("range", value.as_bytes()),
        ));
    }
    rows.extend([
        is_whole(
            stage,
            "two headers",
            get(stage)
                .header("range", "bytes=0-0")
                .header("range", "bytes=1-1"),
        ),
        is_whole(
            stage,
            "bytes that are no text",
            get(stage).header("range", &b"bytes=\xff-"[..]),
        ),
    ]);
    let range = |request: RequestBuilder| request.header("range", "bytes=0-9");
    for (name, value) in [
        (
            "If-Range of a version before",
            format!("\"{}\"", "0".repeat(64)),
        ),
        ("If-Range that is weak", format!("W/{etag}")),
        (
            "If-Range with a date",
            "Wed, 21 Oct 2026 07:28:00 GMT".to_owned(),
        ),
        (
            "If-Range with a date to come",
            "Thu, 01 Jan 2099 00:00:00 GMT".to_owned(),
        ),
        ("If-Range with a star", "*".to_owned()),
        ("If-Range with a list", format!("{etag}, {etag}")),
        ("If-Range without quotes", etag.trim_matches('"').to_owned()),
        (
            "If-Range of 50 KiB",
            format!("\"{}\"", "x".repeat(50 << 10)),
        ),
        ("If-Range with nothing", String::new()),
    ] {
        rows.push(is_whole(
            stage,
            name,
            range(get(stage)).header("if-range", value),
        ));
    }
    for (name, value, first, last) in [
        (
            "an end beyond all numbers",
            format!("bytes=0-{}", "9".repeat(30)),
            0,
            999,
        ),
        (
            "an end of the largest number",
            format!("bytes=999-{MAX}"),
            999,
            999,
        ),
        (
            "a suffix beyond all numbers",
            format!("bytes=-{}", "9".repeat(30)),
            0,
            999,
        ),
        (
            "a suffix of the largest number",
            format!("bytes=-{MAX}"),
            0,
            999,
        ),
        (
            "zeros in front",
            format!("bytes={}1-1", "0".repeat(1_000)),
            1,
            1,
        ),
        ("the last byte", "bytes=-1".to_owned(), 999, 999),
    ] {
        rows.push(is_part(
            stage,
            name,
            get(stage).header("range", value),
            first,
            last,
        ));
    }
    rows.push(is_part(
        stage,
        "If-Range of this version",
        range(get(stage)).header("if-range", &etag),
        0,
        9,
    ));
    rows.extend(conditions(stage, &etag));
    rows
}

fn get(stage: &Stage) -> RequestBuilder {
    stage.shop.get(Who::Operator, "/v1/objects/models/stock")
}

fn unsatisfiable(stage: &Stage) -> Vec<Row> {
    let digits = "9".repeat(30);
    let ranges = [
        ("a suffix of nothing", "bytes=-0".to_owned()),
        ("from the end on", "bytes=1000-".to_owned()),
        ("behind the end", "bytes=1000-1999".to_owned()),
        ("from the largest number", format!("bytes={MAX}-")),
        ("from one more", "bytes=18446744073709551616-".to_owned()),
        ("the largest number alone", format!("bytes={MAX}-{MAX}")),
        ("from beyond all numbers", format!("bytes={digits}-")),
        ("beyond all numbers", format!("bytes={digits}-{digits}")),
        (
            "a number of 50,000 digits",
            format!("bytes={}-", "9".repeat(50_000)),
        ),
    ];
    let mut rows: Vec<Row> = ranges
        .into_iter()
        .map(|(name, value)| {
            let request = get(stage).header("range", value);
            Row::refused(name, request, 416, "range_not_satisfiable")
        })
        .collect();
    for (name, value) in [
        ("the first byte of nothing", "bytes=0-"),
        ("the last byte of nothing", "bytes=-1"),
    ] {
        let request = stage.shop.get(Who::Operator, "/v1/objects/models/empty");
        let request = request.header("range", value);
        rows.push(Row::refused(name, request, 416, "range_not_satisfiable"));
    }
    rows
}

/// A request that is answered with all bytes.
fn is_whole(stage: &Stage, name: &str, request: RequestBuilder) -> Row {
    let stock = stage.stock.clone();
    Row::answered(name, request, 200, move |got| {
        let has_no_range = got.header("content-range").is_empty();
        ensure(got.body == stock && has_no_range, "not the whole")
    })
}

/// A request that is answered with these bytes.
fn is_part(stage: &Stage, name: &str, request: RequestBuilder, first: usize, last: usize) -> Row {
    let stock = stage.stock.clone();
    Row::answered(name, request, 206, move |got| {
        let range = format!("bytes {first}-{last}/{}", stock.len());
        ensure(got.header("content-range") == range, "another range")?;
        ensure(got.body == stock[first..=last], "other bytes")
    })
}

fn conditions(stage: &Stage, etag: &str) -> Vec<Row> {
    let others = "\"x\", ".repeat(2_000);
    let large = format!("\"{}\"", "x".repeat(50 << 10));
    let head = stage
        .shop
        .call(Who::Operator, Method::HEAD, "/v1/objects/models/stock");
    let not_modified = |name, value: String| {
        let request = get(stage).header("if-none-match", value);
        Row::answered(name, request, 304, |got| {
            ensure(got.body.is_empty(), "a body")
        })
    };
    let failed = |name, value: &str| {
        let request = get(stage).header("if-match", value);
        Row::refused(name, request, 412, "precondition_failed")
    };
    vec![
        Row::answered(
            "a range of HEAD",
            head.header("range", "bytes=0-9"),
            200,
            |got| ensure(got.header("content-length") == "1000", "another length"),
        ),
        not_modified("our ETag behind 2,000 others", format!("{others}{etag}")),
        failed("an ETag of 50 KiB", &large),
        failed("2,000 ETags of others", others.trim_end_matches(", ")),
        failed("our ETag without quotes", etag.trim_matches('"')),
        failed("our ETag in capitals", &etag.to_uppercase()),
        failed("our ETag, weak", &format!("W/{etag}")),
        Row::refused(
            "another ETag before a range that is none",
            get(stage)
                .header("if-match", "\"x\"")
                .header("range", "bytes=-0"),
            412,
            "precondition_failed",
        ),
    ]
}
