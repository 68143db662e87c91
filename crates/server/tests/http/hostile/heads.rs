//! Messages that are no HTTP, are two messages, or are larger than anything.

use http::Method;

use super::row::{Row, anything, ensure};
use super::stage::Stage;
use crate::support::{Answer, Who};

pub(super) fn rows(stage: &Stage) -> Vec<Row> {
    let mut rows = lengths(stage);
    rows.extend(codings(stage));
    rows.extend(chunks(stage));
    rows.extend(lines(stage));
    rows.extend(targets(stage));
    rows.extend(sizes(stage));
    rows
}

const OBJECT: &str = "/v1/objects/models/hostile";

/// A PUT of an object with these lines in its head, and what follows the head.
fn put(stage: &Stage, lines: &str, rest: &str) -> String {
    let head = stage.head(Who::Operator, "PUT", OBJECT);
    format!("{head}{lines}\r\n\r\n{rest}")
}

/// That there is one answer on the connection.
fn is_one(got: &Answer) -> Result<(), String> {
    let body = String::from_utf8_lossy(&got.body);
    ensure(!body.contains("HTTP/1.1"), "a second answer")
}

/// Which bytes are the body.
fn lengths(stage: &Stage) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, lines) in [
        ("two lengths", "Content-Length: 5\r\nContent-Length: 6"),
        ("two lengths in one line", "Content-Length: 5, 6"),
        ("a length twice in one line", "Content-Length: 5, 5"),
        ("a length below nothing", "Content-Length: -5"),
        ("a length with a plus sign", "Content-Length: +5"),
        ("a length in hex", "Content-Length: 0x5"),
        ("a length with a fraction", "Content-Length: 5.0"),
        ("an empty length", "Content-Length:"),
        ("a length in words", "Content-Length: five"),
        (
            "a length beyond all numbers",
            "Content-Length: 18446744073709551616",
        ),
    ] {
        rows.push(Row::dropped(name, put(stage, lines, "bytes!"), 400));
    }
    let length = |length: &str| put(stage, &format!("Content-Length: {length}"), "bytes");
    rows.extend([
        Row::dropped("the largest length", length("18446744073709551615"), 431),
        Row::refused(
            "an exabyte",
            length("1152921504606846976"),
            413,
            "too_large",
        ),
        Row::refused(
            "one byte more than is taken",
            length("300001"),
            413,
            "too_large",
        ),
        Row::answered(
            "the same length twice",
            put(stage, "Content-Length: 5\r\nContent-Length: 5", "bytes"),
            201,
            |got| ensure(got.json(201)["size"] == 5, "another size"),
        )
        .and_kept(),
    ]);
    // The chunks count, the length does not, and the connection ends behind them (RFC 9112, 6.3), so
    // that nothing is smuggled past a proxy that counts otherwise.
    let smuggled = "5\r\nbytes\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: shop\r\n\r\n";
    for (name, lines) in [
        (
            "a length, then chunks",
            "Content-Length: 4\r\nTransfer-Encoding: chunked",
        ),
        (
            "chunks, then a length",
            "Transfer-Encoding: chunked\r\nContent-Length: 60",
        ),
    ] {
        let request = put(stage, lines, smuggled).replace("Connection: close\r\n", "");
        rows.push(
            Row::answered(name, request, 201, |got| {
                is_one(got)?;
                ensure(got.json(201)["size"] == 5, "another size")
            })
            .and_kept(),
        );
    }
    rows
}

/// How the body is written.
fn codings(stage: &Stage) -> Vec<Row> {
    let chunked = "5\r\nbytes\r\n0\r\n\r\n";
    let mut rows = Vec::new();
    for (name, line) in [
        ("a coding that is none", "Transfer-Encoding: xchunked"),
        ("no coding", "Transfer-Encoding: identity"),
        ("an empty coding", "Transfer-Encoding:"),
        ("chunks within a coding", "Transfer-Encoding: chunked, gzip"),
        ("chunks in quotes", "Transfer-Encoding: \"chunked\""),
        (
            "a coding with a control in front",
            "Transfer-Encoding: \x0bchunked",
        ),
        ("a blank before the colon", "Transfer-Encoding : chunked"),
    ] {
        rows.push(Row::dropped(name, put(stage, line, chunked), 400));
    }
    for (name, line) in [
        ("a coding within chunks", "Transfer-Encoding: gzip, chunked"),
        (
            "chunks within chunks",
            "Transfer-Encoding: chunked, chunked",
        ),
        (
            "two codings in two lines",
            "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        ),
    ] {
        rows.push(Row::refused(
            name,
            put(stage, line, chunked),
            400,
            "invalid_request",
        ));
    }
    let old = put(stage, "Transfer-Encoding: chunked", chunked).replace("HTTP/1.1", "HTTP/1.0");
    rows.push(Row::dropped("chunks before there were any", old, 400));
    let in_capitals = put(stage, "TRANSFER-ENCODING: CHUNKED", chunked);
    rows.push(Row::answered("chunks in capitals", in_capitals, 201, is_one).and_kept());
    rows
}

/// Chunks of a body.
fn chunks(stage: &Stage) -> Vec<Row> {
    let long = "x".repeat(20_000);
    let trailers: String = (0..2_000).map(|n| format!("X-{n}: y\r\n")).collect();
    [
        (
            "a size that is none",
            "five\r\nbytes\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "a size below nothing",
            "-5\r\nbytes\r\n0\r\n\r\n".to_owned(),
        ),
        ("no size", "\r\nbytes\r\n0\r\n\r\n".to_owned()),
        (
            "a size beyond all numbers",
            "FFFFFFFFFFFFFFFFF\r\nbytes\r\n0\r\n\r\n".to_owned(),
        ),
        (
            "a chunk that is too long for its size",
            "3\r\nbytes\r\n0\r\n\r\n".to_owned(),
        ),
        ("a chunk without its end", "5\r\nbytes0\r\n\r\n".to_owned()),
        ("a size in 0x", "0x5\r\nbytes\r\n0\r\n\r\n".to_owned()),
        (
            "an extension of 20,000 bytes",
            format!("5;x={long}\r\nbytes\r\n0\r\n\r\n"),
        ),
        (
            "2,000 trailers",
            format!("5\r\nbytes\r\n0\r\n{trailers}\r\n"),
        ),
    ]
    .into_iter()
    .map(|(name, body)| {
        let request = put(stage, "Transfer-Encoding: chunked", &body);
        Row::refused(name, request, 400, "invalid_request")
    })
    .collect()
}

/// Lines that are none.
fn lines(stage: &Stage) -> Vec<Row> {
    let with = |line: &str| {
        format!("GET /livez HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n{line}\r\n\r\n")
    };
    let mut rows: Vec<Row> = [
        ("a line that is folded", with("X-A: b\r\n c")),
        (
            "a blank before the first line",
            with("").replace("\r\nHost", "\r\n Host"),
        ),
        ("a CR in a value", with("X-A: b\rX-B: c")),
        ("NUL in a value", with("X-A: b\0c")),
        ("NUL in a name", with("X\0A: b")),
        ("a blank in a name", with("X A: b")),
        ("an empty name", with(": b")),
        ("a name that is no ASCII", with("X-\u{e4}: b")),
        ("no colon", with("X-A")),
        ("no version", with("").replace(" HTTP/1.1", "")),
        (
            "a version to come",
            with("").replace("HTTP/1.1", "HTTP/9.9"),
        ),
        ("another protocol", with("").replace("HTTP/1.1", "RTSP/1.0")),
        ("no target", with("").replace("/livez ", "")),
        (
            "a blank in the target",
            with("").replace("/livez", "/li vez"),
        ),
        ("a method with a control", with("").replace("GET", "G\x01T")),
        (
            "no HTTP",
            "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03\r\n\r\n".to_owned(),
        ),
    ]
    .into_iter()
    .map(|(name, request)| Row::dropped(name, request, 400))
    .collect();
    let lower = stage.wire(Who::Nobody, "get", "/v1/models", "");
    let no_host = with("").replace("Host: shop\r\n", "");
    let two_hosts = with("Host: evil.example");
    rows.extend([
        Row::refused("a method in lower case", lower, 405, "method_not_allowed"),
        Row::refused("no host", no_host, 400, "invalid_request"),
        Row::refused("two hosts", two_hosts, 400, "invalid_request"),
        Row::answered(
            "an expectation that is none",
            with("Expect: nonsense"),
            200,
            is_one,
        ),
        Row::answered(
            "another protocol to change to",
            with("Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__"),
            200,
            is_one,
        ),
        Row::answered(
            "a body of GET",
            with("Content-Length: 5").replace("\r\n\r\n", "\r\n\r\nbytes"),
            200,
            is_one,
        ),
    ]);
    rows
}

/// Targets in other forms.
fn targets(stage: &Stage) -> Vec<Row> {
    let get = |target: &str| stage.wire(Who::Operator, "GET", target, "");
    let by = |method: &str, target: &str| stage.wire(Who::Operator, method, target, "");
    let mut rows: Vec<Row> = [
        ("a slash too many", "//livez"),
        ("a dot", "/./livez"),
        ("out and in again", "/v1/../livez"),
        ("a slash behind", "/livez/"),
        ("capitals", "/LIVEZ"),
        ("NUL behind", "/livez%00"),
        ("a parameter of the path", "/livez;x=1"),
        ("a file of the server", "/etc/passwd"),
        ("above the root", "/../../../etc/passwd"),
        ("a file of the shop", "/data/stockroom.db"),
        ("the keys that sign", "/..%2fsigning-keys"),
    ]
    .into_iter()
    .map(|(name, target)| Row::refused(name, get(target), 404, "not_found"))
    .collect();
    rows.extend([
        Row::answered(
            "the whole URL of another host",
            get("http://evil.example/v1/objects/models/stock"),
            200,
            |got| ensure(got.header("content-length") == "1000", "other bytes"),
        ),
        Row::refused("no slash in front", get("livez"), 404, "not_found"),
        Row::refused("a star", by("OPTIONS", "*"), 404, "not_found"),
        Row::refused("a tunnel", by("CONNECT", "127.0.0.1:22"), 404, "not_found"),
        Row::refused(
            "what was asked for, back",
            by("TRACE", "/livez"),
            405,
            "method_not_allowed",
        ),
    ]);
    rows
}

/// What is larger than anything.
fn sizes(stage: &Stage) -> Vec<Row> {
    let get = |lines: &str| {
        format!("GET /v1/models HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n{lines}\r\n")
    };
    let many = |count| {
        (0..count)
            .map(|n| format!("X-{n}: y\r\n"))
            .collect::<String>()
    };
    let large = "y".repeat(1 << 20);
    let mut rows: Vec<Row> = [
        ("10,000 headers", get(&many(10_000))),
        ("150 headers", get(&many(150))),
        ("a header of 1 MiB", get(&format!("X-Large: {large}\r\n"))),
        ("a name of 1 MiB", get(&format!("{large}: y\r\n"))),
        (
            "a key of 1 MiB",
            get(&format!("Authorization: Bearer {large}\r\n")),
        ),
        (
            "a request id of 1 MiB",
            get(&format!("X-Request-Id: {large}\r\n")),
        ),
        ("a method of 1 MiB", get("").replace("GET", &large)),
    ]
    .into_iter()
    .map(|(name, request)| Row::dropped(name, request, 431))
    .collect();
    let target = format!("GET /v1/models?q={large} HTTP/1.1\r\nHost: shop\r\n\r\n");
    rows.push(Row::dropped("a target of 1 MiB", target, 431));
    let nearly = "y".repeat(60_000);
    let id = |id: &str| get(&format!("X-Request-Id: {id}\r\n"));
    let is_other = |got: &Answer| ensure(got.header("x-request-id").starts_with("req_"), "its id");
    let json = stage.shop.call(Who::Artist, Method::POST, "/v1/models");
    let json = json.header("content-type", "application/json");
    rows.extend([
        Row::refused(
            "a key of 60,000 bytes",
            get(&format!("Authorization: Bearer {nearly}\r\n")),
            401,
            "unauthenticated",
        ),
        Row::refused(
            "a key that is no ASCII",
            get("Authorization: Bearer \u{fc}\r\n"),
            401,
            "unauthenticated",
        ),
        Row::refused(
            "a user of 60,000 bytes",
            get(&format!("Stockroom-Act-As: {nearly}\r\n")),
            400,
            "invalid_request",
        ),
        Row::refused(
            "JSON of more than 1 MiB",
            json.body(format!("{{\"title\": \"{large}\"}}")),
            413,
            "too_large",
        ),
        Row::answered(
            "a question of 50,000 bytes",
            get("").replace("/v1/models", &format!("/v1/models?q={}", &nearly[..50_000])),
            200,
            anything,
        ),
        Row::answered("a request id of 60,000 bytes", id(&nearly), 200, is_other),
        Row::answered(
            "markup for a request id",
            id("<script>alert(1)</script>"),
            200,
            is_other,
        ),
    ]);
    rows
}
