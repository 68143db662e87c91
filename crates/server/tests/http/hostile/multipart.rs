//! Forms that do not end, that are too many things at once, or that say two things.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Method;
use reqwest::RequestBuilder;

use super::row::{Row, anything, ensure};
use super::stage::{MAX_UPLOAD_BYTES, Stage};
use crate::support::{Who, answer, stl};

const FORM: &str = "multipart/form-data; boundary=b";
const FILE: &str = "form-data; name=\"file\"; filename=\"a.stl\"";
const END: &str = "--b--\r\n";

/// Bytes as a form whose boundary is `b`.
pub(super) fn form(stage: &Stage, body: &[u8]) -> RequestBuilder {
    typed(stage, FORM, body)
}

fn typed(stage: &Stage, content_type: &str, body: &[u8]) -> RequestBuilder {
    let path = format!("/v1/models/{}/assets", stage.model);
    stage
        .shop
        .call(Who::Artist, Method::POST, &path)
        .header("content-type", content_type)
        .body(body.to_vec())
}

/// A small file that is text, so that it can stand in a form as it is.
const SOLID: &str = "solid a\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 2 0 0\nvertex 0 2 0\nendloop\nendfacet\nendsolid a\n";

/// A part with this head.
fn part(head: &str) -> String {
    format!("--b\r\n{head}\r\n\r\n{SOLID}\r\n")
}

/// A part with this disposition.
fn disposed(disposition: &str) -> String {
    part(&format!("Content-Disposition: {disposition}"))
}

pub(super) fn rows(stage: &Stage) -> Vec<Row> {
    let mut rows: Vec<Row> = broken()
        .into_iter()
        .map(|(name, body)| Row::refused(name, form(stage, body.as_bytes()), 400, "bad_multipart"))
        .collect();
    let good = disposed(FILE) + END;
    for (name, content_type) in [
        ("no boundary", "multipart/form-data"),
        ("an empty boundary", "multipart/form-data; boundary="),
        (
            "a boundary that is nothing in quotes",
            "multipart/form-data; boundary=\"\"",
        ),
        (
            "a boundary of another form",
            "multipart/form-data; boundary=c",
        ),
        ("another kind of multipart", "multipart/mixed; boundary=b"),
        ("fields of a form", "application/x-www-form-urlencoded"),
        ("JSON", "application/json"),
        ("no media type", "nonsense"),
    ] {
        let request = typed(stage, content_type, good.as_bytes());
        rows.push(Row::refused(name, request, 400, "bad_multipart"));
    }
    for (name, disposition) in [
        (
            "a path for a name",
            "form-data; name=\"file\"; filename=\"../../a.stl\"",
        ),
        ("an empty name", "form-data; name=\"file\"; filename=\"\""),
        (
            "a name in quotes that are escaped",
            "form-data; name=\"file\"; filename=\"\\\"/\\\"\"",
        ),
    ] {
        let body = disposed(disposition) + END;
        rows.push(Row::refused(
            name,
            form(stage, body.as_bytes()),
            400,
            "invalid_request",
        ));
    }
    let empty =
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.stl\"\r\n\r\n\r\n";
    rows.extend([
        Row::refused(
            "a file too many",
            form(stage, (disposed(FILE).repeat(4) + END).as_bytes()),
            413,
            "too_large",
        ),
        Row::refused(
            "10,000 files",
            form(stage, (disposed(FILE).repeat(10_000) + END).as_bytes()),
            413,
            "too_large",
        ),
        Row::refused(
            "10,000 empty files",
            form(stage, (empty.repeat(10_000) + END).as_bytes()),
            422,
            "invalid_model_file",
        ),
        Row::refused(
            "10,000 fields of another name",
            form(
                stage,
                (disposed("form-data; name=\"x\"").repeat(10_000) + END).as_bytes(),
            ),
            400,
            "bad_multipart",
        ),
        Row::refused(
            "a file that is too large",
            form(stage, &too_large()),
            413,
            "too_large",
        ),
        Row::refused(
            "a file that is too large behind a good one",
            form(stage, &[disposed(FILE).into_bytes(), too_large()].concat()),
            413,
            "too_large",
        ),
    ]);
    rows.extend(taken(stage));
    rows
}

fn too_large() -> Vec<u8> {
    let large = stl(6_001, 3);
    assert!(large.len() > MAX_UPLOAD_BYTES);
    let head = format!("--b\r\nContent-Disposition: {FILE}\r\n\r\n");
    [head.as_bytes(), &large, b"\r\n--b--\r\n"].concat()
}

/// Bodies that are no whole form with files in it.
fn broken() -> Vec<(&'static str, String)> {
    let good = disposed(FILE);
    let no_end = |text: &str| text.trim_end().to_owned();
    let headers = |count| {
        (0..count)
            .map(|n| format!("X-{n}: y\r\n"))
            .collect::<String>()
    };
    let large = "y".repeat(2 << 20);
    vec![
        ("nothing", String::new()),
        ("no part", END.to_owned()),
        ("no end", no_end(&good)),
        ("no end behind a whole file", format!("{good}--b\r\n")),
        ("an end that breaks off", format!("{good}--b-")),
        (
            "a head that breaks off",
            "--b\r\nContent-Disposition: form-da".to_owned(),
        ),
        (
            "a good file and a head that breaks off",
            format!("{good}--b\r\nContent-Dis"),
        ),
        ("no boundary in it", SOLID.to_owned()),
        ("lines without CR", good.replace("\r\n", "\n") + "--b--\n"),
        ("another boundary", good.replace("--b", "--c") + "--c--\r\n"),
        (
            "something behind the boundary",
            good.replace("--b\r\n", "--bb\r\n") + END,
        ),
        (
            "no head",
            part("").replace("\r\n\r\n\r\n", "\r\n\r\n") + END,
        ),
        ("no disposition", part("Content-Type: model/stl") + END),
        ("another field", disposed("form-data; name=\"title\"") + END),
        (
            "a good file and another field",
            good.clone() + &disposed("form-data; name=\"title\"") + END,
        ),
        (
            "two dispositions, of which one is another field's",
            part(&format!(
                "Content-Disposition: {FILE}\r\nContent-Disposition: form-data; name=\"x\""
            )) + END,
        ),
        (
            "a field of which the name hides",
            disposed("form-data; xname=\"file\"; filename=\"a.stl\"") + END,
        ),
        ("no file name", disposed("form-data; name=\"file\"") + END),
        (
            "a file name in the long form alone",
            disposed("form-data; name=\"file\"; filename*=UTF-8''a.stl") + END,
        ),
        (
            "a file name that does not end",
            disposed("form-data; name=\"file\"; filename=\"a.stl") + END,
        ),
        (
            "NUL in the head",
            disposed("form-data; name=\"file\"; filename=\"a\0.stl\"") + END,
        ),
        (
            "CR in the head",
            disposed("form-data; name=\"file\"; filename=\"a\r.stl\"") + END,
        ),
        (
            "a line of the head without a colon",
            part("Content-Disposition") + END,
        ),
        (
            "a line of the head that is folded",
            part(&format!("Content-Disposition:\r\n {FILE}")) + END,
        ),
        (
            "1,000 lines in the head",
            part(&(headers(1_000) + "Content-Disposition: " + FILE)) + END,
        ),
        (
            "a line of 2 MiB in the head",
            part(&format!("X-Large: {large}\r\nContent-Disposition: {FILE}")) + END,
        ),
        (
            "a head of 2 MiB without an end",
            format!("--b\r\nX-Large: {large}"),
        ),
        (
            "a field name of 2 MiB",
            disposed(&format!("form-data; name=\"{large}\"")) + END,
        ),
        (
            "2 MiB before the first boundary",
            large.clone() + "\r\n" + &good + END,
        ),
        (
            "2 MiB behind a boundary",
            good.replace("--b\r\n", &format!("--b{}\r\n", " ".repeat(2 << 20))) + END,
        ),
    ]
}

/// What is odd and means one thing.
fn taken(stage: &Stage) -> Vec<Row> {
    let asset = |name: &'static str, body: String, filename: &'static str| {
        Row::answered(name, form(stage, body.as_bytes()), 201, move |got| {
            let data = &got.json(201)["data"];
            let is_one = data.as_array().is_some_and(|data| data.len() == 1);
            ensure(is_one && data[0]["filename"] == filename, "another file")
        })
        .and_kept()
    };
    let good = disposed(FILE);
    let long = "b".repeat(40_000);
    let with_boundary = |name: &'static str, parameter: &str, boundary: &str| {
        let content_type = format!("multipart/form-data; boundary={parameter}");
        let body = (good.clone() + END).replace("--b", &format!("--{boundary}"));
        let request = typed(stage, &content_type, body.as_bytes());
        Row::answered(name, request, 201, anything).and_kept()
    };
    vec![
        with_boundary("a boundary of 40,000 letters", &long, &long),
        with_boundary("a boundary in quotes", "\"b c\"", "b c"),
        with_boundary("a boundary of dashes", "----", "----"),
        asset(
            "what stands before and behind the form",
            format!("preamble\r\n{good}{END}behind"),
            "a.stl",
        ),
        asset(
            "another media type",
            part(&format!(
                "Content-Disposition: {FILE}\r\nContent-Type: text/html"
            )) + END,
            "a.stl",
        ),
        asset(
            "a length that is wrong",
            part(&format!("Content-Disposition: {FILE}\r\nContent-Length: 5")) + END,
            "a.stl",
        ),
        asset(
            "a coding that is not applied",
            part(&format!(
                "Content-Disposition: {FILE}\r\nContent-Transfer-Encoding: base64"
            )) + END,
            "a.stl",
        ),
        asset(
            "a name in hex",
            disposed("form-data; name=\"file\"; filename=\"%2e%2e%2fa.stl\"") + END,
            "%2e%2e%2fa.stl",
        ),
        asset(
            "a boundary in the file's text",
            disposed(FILE).replace("solid a", "solid --b") + END,
            "a.stl",
        ),
    ]
}

/// Sends a form whose head never ends, and returns how much of it was taken.
pub(super) async fn endless(stage: &Stage, beginning: &'static str) -> usize {
    const PIECE: Bytes = Bytes::from_static(&[b'y'; 64 * 1024]);
    let taken_bytes = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken_bytes);
    let pieces = (0..4_096).map(move |number| {
        let piece = if number == 0 {
            Bytes::from_static(beginning.as_bytes())
        } else {
            PIECE
        };
        counted.fetch_add(piece.len(), Ordering::SeqCst);
        Ok::<_, std::io::Error>(piece)
    });
    let path = format!("/v1/models/{}/assets", stage.model);
    let request = stage
        .shop
        .call(Who::Artist, Method::POST, &path)
        .header("content-type", FORM)
        .body(reqwest::Body::wrap_stream(futures::stream::iter(pieces)));
    answer(request)
        .await
        .assert_problem(400, "bad_multipart", beginning);
    taken_bytes.load(Ordering::SeqCst)
}
