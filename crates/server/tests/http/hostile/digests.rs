//! Digests that are wrong, broken, or said twice.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE};
use http::Method;
use reqwest::RequestBuilder;
use stockroom_domain::Sha256Digest;

use super::row::{Row, ensure};
use super::stage::Stage;
use crate::support::{Who, noise, repr_digest, stl};

pub(super) fn rows(stage: &Stage) -> Vec<Row> {
    let bytes = stl(10, 4);
    let digest = Sha256Digest::of(&bytes);
    let (right, wrong) = (repr_digest(&bytes), repr_digest(b"other bytes"));
    let encoded = right.trim_start_matches("sha-256=").to_owned();
    let mut rows = Vec::new();
    let mismatches = [
        ("of other bytes", wrong.clone()),
        ("of nothing", repr_digest(b"")),
        (
            "of what the bytes begin with",
            repr_digest(&bytes[..bytes.len() - 1]),
        ),
        ("right, then wrong", format!("{right}, {wrong}")),
        (
            "wrong, behind another algorithm",
            format!("sha-512=:AAAA:, {wrong}"),
        ),
        (
            "wrong, behind 1,000 others",
            "md5=:AAAA:, ".repeat(1_000) + &wrong,
        ),
    ];
    for (name, value) in mismatches {
        rows.push(refused(stage, name, &value, 422, "digest_mismatch"));
    }
    let broken = [
        ("no value", "sha-256".to_owned()),
        ("an empty value", "sha-256=".to_owned()),
        ("an empty digest", "sha-256=::".to_owned()),
        ("3 bytes", "sha-256=:AAAA:".to_owned()),
        ("31 bytes", repr_of(&digest.as_bytes()[..31])),
        (
            "33 bytes",
            repr_of(&[digest.as_bytes().as_slice(), b"x"].concat()),
        ),
        ("64 bytes", repr_of(&[7; 64])),
        ("hex", format!("sha-256=:{digest}:")),
        ("hex without colons", format!("sha-256={digest}")),
        ("no base64", "sha-256=:not base64:".to_owned()),
        ("no colons", right.replace(':', "")),
        ("one colon", right.trim_end_matches(':').to_owned()),
        ("quotes", right.replace(':', "\"")),
        (
            "base64 for URLs",
            format!("sha-256=:{}:", URL_SAFE.encode([0xff; 32])),
        ),
        (
            "no padding",
            format!("sha-256=:{}:", STANDARD_NO_PAD.encode(digest.as_bytes())),
        ),
        ("a blank within", format!("sha-256=: {}", &encoded[1..])),
        ("a parameter", format!("{right};q=1")),
        ("another algorithm's value", "sha-256=?1".to_owned()),
        ("an algorithm in capitals", right.replace("sha", "SHA")),
        ("no algorithm", format!("={encoded}")),
        ("right, then broken", format!("{right}, sha-256=:AAAA:")),
        ("broken, then right", format!("sha-256=:AAAA:, {right}")),
        ("60 KiB", format!("sha-256=:{}:", "A".repeat(60 << 10))),
    ];
    for (name, value) in broken {
        rows.push(refused(stage, name, &value, 400, "invalid_request"));
    }
    let twice = |request: RequestBuilder| {
        let right = repr_digest(&stl(10, 4));
        request
            .header("repr-digest", right)
            .header("repr-digest", repr_digest(b"x"))
    };
    rows.push(
        Row::refused("two headers", twice(object(stage)), 422, "digest_mismatch")
            .or(twice(asset(stage))),
    );
    let no_text = |request: RequestBuilder| request.header("repr-digest", &b"sha-256=:\xff:"[..]);
    rows.push(
        Row::refused("no ASCII", no_text(object(stage)), 400, "invalid_request")
            .or(no_text(asset(stage))),
    );
    // What is passed over: the bytes are kept, and the answer has their own digest.
    for (name, header, value) in [
        (
            "of another algorithm",
            "repr-digest",
            "sha-512=:AAAA:".to_owned(),
        ),
        ("nothing said", "repr-digest", String::new()),
        (
            "wrong, then right",
            "repr-digest",
            format!("{wrong}, {right}"),
        ),
        ("of the content", "content-digest", wrong.clone()),
        (
            "in the form before RFC 9530",
            "digest",
            "SHA-256=AAAA".to_owned(),
        ),
        ("an ETag of one's own", "etag", "\"0\"".to_owned()),
    ] {
        let put = object(stage).header(header, value);
        let own = digest.to_string();
        rows.push(
            Row::answered(name, put, 201, move |got| {
                ensure(got.json(201)["sha256"] == own.as_str(), "another digest")
            })
            .and_kept(),
        );
    }
    let empty = stage
        .shop
        .call(Who::Operator, Method::PUT, "/v1/objects/models/digest")
        .header("repr-digest", repr_digest(&noise(5, 5)));
    rows.push(Row::refused(
        "of bytes that do not come",
        empty,
        422,
        "digest_mismatch",
    ));
    rows
}

fn repr_of(bytes: &[u8]) -> String {
    use base64::engine::general_purpose::STANDARD;
    format!("sha-256=:{}:", STANDARD.encode(bytes))
}

/// A header with which neither an object nor a file is taken.
fn refused(stage: &Stage, name: &str, value: &str, status: u16, code: &'static str) -> Row {
    let with = |request: RequestBuilder| request.header("repr-digest", value);
    Row::refused(name, with(object(stage)), status, code).or(with(asset(stage)))
}

fn object(stage: &Stage) -> RequestBuilder {
    let path = "/v1/objects/models/digest";
    let put = stage.shop.call(Who::Operator, Method::PUT, path);
    put.body(stl(10, 4))
}

fn asset(stage: &Stage) -> RequestBuilder {
    let path = format!("/v1/models/{}/assets/digest.stl", stage.model);
    let put = stage.shop.call(Who::Artist, Method::PUT, &path);
    put.body(stl(10, 4))
}
