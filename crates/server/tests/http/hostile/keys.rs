//! Keys of objects that climb, hide something or are none; and some that only look like it.

use http::Method;
use percent_encoding::percent_decode_str;

use super::row::{Ask, Row, anything, ensure};
use super::stage::Stage;
use crate::support::{Answer, Backend, Who};

/// Texts that are no keys, as they stand in the path.
const CLIMBING: [(&str, &str); 17] = [
    ("two dots", "models/../../canary.txt"),
    ("two dots in the end", "models/a/.."),
    ("dots in lower hex", "models/%2e%2e/%2e%2e/canary.txt"),
    ("dots in upper hex", "models/%2E%2E"),
    ("one dot in hex", "models/.%2e/canary.txt"),
    ("slashes in hex", "models/..%2f..%2fetc%2fpasswd"),
    ("all in hex", "models%2f%2e%2e%2f%2e%2e%2fcanary%2etxt"),
    ("a dot", "models/./a"),
    ("a dot in hex", "models/%2e"),
    ("overlong dots", "models/%c0%ae%c0%ae/canary.txt"),
    (
        "overlong dots of three bytes",
        "models/%e0%80%ae%e0%80%ae/a",
    ),
    ("an overlong slash", "models/..%c0%afcanary.txt"),
    ("backslashes", "models/..%5c..%5cboot.ini"),
    ("a backslash", "models/a%5cb"),
    ("a backslash as it is", "models\\..\\a"),
    ("dots before a NUL", "models/..%00/canary.txt"),
    ("out and in again", "models/../models/stock"),
];

const NO_KEYS: [(&str, &str); 42] = [
    ("NUL", "models/a%00b"),
    ("an extension behind NUL", "models/a.stl%00.txt"),
    ("CR LF and a header", "models/a%0d%0aX-Injected:%201"),
    ("LF", "models/a%0ab"),
    ("CR", "models/a%0db"),
    ("a tab", "models/a%09b"),
    ("an escape", "models/%1b%5b31m"),
    ("DEL", "models/%7f"),
    ("a control of Latin-1", "models/a%c2%85b"),
    ("absolute", "/models/a"),
    ("absolute in hex", "%2fmodels/a"),
    ("the passwords", "/etc/passwd"),
    ("the passwords in hex", "%2fetc%2fpasswd"),
    ("absolute behind the category", "models/%2fetc%2fpasswd"),
    ("a file URL", "file:///etc/passwd"),
    ("a drive", "C:/Windows/win.ini"),
    ("a drive with a backslash", "C:%5cWindows%5cwin.ini"),
    ("a drive behind the category", "models/C:%5cWindows"),
    ("a host of Windows", "%5c%5chost%5cshare%5ca"),
    ("an empty segment", "models//a"),
    ("an empty segment in hex", "models/a%2f%2fb"),
    ("an empty last segment", "models/a/"),
    ("a category and a slash", "models/"),
    ("a category", "models"),
    ("a slash", "/"),
    ("another category", "secrets/a"),
    ("a staging folder", ".staging/a"),
    ("a category in capitals", "Models/a"),
    ("a category and a blank", "models%20/a"),
    ("a category and NUL", "models%00/a"),
    ("a byte that is no UTF-8", "models/%ff"),
    ("a broken sequence", "models/%c3%28"),
    ("a sequence that breaks off", "models/a%c3"),
    ("a surrogate", "models/%ed%a0%80"),
    ("beyond Unicode", "models/%f4%90%80%80"),
    ("replaced objects", "models/.versions/a"),
    ("replaced objects in hex", "models/%2eversions/a"),
    ("the id of the store", "models/.stockroom/store-id"),
    ("what is the server's own", "thumbnails/.stockroom/x"),
    ("UTF-16", "%ff%fem%00o%00d%00e%00l%00s%00/%00a"),
    ("a key with a query in hex, that climbs", "models/..%2f%3fa"),
    ("a root of a user", "~/models/a"),
];

/// Keys that only look hostile: they are kept as they are, and none of it means anything.
const LITERAL: [(&str, &str); 21] = [
    ("dots in hex twice", "models/%252e%252e/a"),
    ("three dots", "models/.../a"),
    ("dots and a semicolon", "models/..;/a"),
    ("dots and a blank", "models/..%20/a"),
    ("full-width dots", "models/%ef%bc%8e%ef%bc%8e/a"),
    ("dots in another notation", "models/%u002e%u002e/a"),
    ("a per cent sign that begins nothing", "models/a%zz"),
    ("the home of a user", "models/~root/.ssh"),
    ("commands", "models/$(id)%60id%60;id|id"),
    ("an option", "models/-rf"),
    ("wildcards", "models/*%3f[a-z]"),
    ("a device of Windows", "models/CON"),
    ("a stream of Windows", "models/a.stl:hidden"),
    ("markup", "models/%3Cscript%3Ealert(1)%3C%2Fscript%3E"),
    ("quotes", "models/a%22;%20filename=%22evil.exe"),
    ("turned around", "models/%e2%80%aelts.exe"),
    ("letters that are not escaped", "models/\u{e4}\u{20ac}"),
    ("what XML cannot say", "models/a%ef%bf%bf"),
    ("nothing, but wide", "models/a%e2%80%8b"),
    ("composed (NFC)", "models/sch%c3%b6n"),
    ("decomposed (NFD)", "models/scho%cc%88n"),
];

/// Keys that would lead out of the store.
pub(super) fn climbing(stage: &Stage) -> Vec<Row> {
    let keys = CLIMBING.into_iter();
    keys.map(|(name, key)| refused(stage, name, key)).collect()
}

/// Other texts that are no keys, and beginnings that no key has.
pub(super) fn none(stage: &Stage) -> Vec<Row> {
    let keys = NO_KEYS.into_iter();
    let mut rows: Vec<Row> = keys.map(|(name, key)| refused(stage, name, key)).collect();
    let long = "a".repeat(1_018);
    let umlauts = "%C3%A4".repeat(509);
    for (name, key) in [
        ("a byte too long", format!("models/{long}")),
        ("a letter too long", format!("models/{umlauts}")),
        ("far too long", format!("models/{}", "a/".repeat(25_000))),
    ] {
        rows.push(refused(stage, name, &key));
    }
    let endless = stage.wire(
        Who::Operator,
        "GET",
        &format!("/v1/objects/models/{}", "a".repeat(70_000)),
        "",
    );
    rows.push(Row::dropped("longer than a head", endless, 431));
    for (name, byte) in [
        ("NUL as it is", 0),
        ("a byte as it is that is no UTF-8", 0xff),
    ] {
        let target = "/v1/objects/models/a?b";
        let mut request = stage.wire(Who::Operator, "GET", target, "").into_bytes();
        let place = request.iter().position(|it| *it == b'?').unwrap();
        request[place] = byte;
        rows.push(Row::dropped(name, request, 400));
    }
    rows.extend(prefixes(stage));
    rows
}

/// Keys that only look hostile.
pub(super) fn literal(stage: &Stage) -> Vec<Row> {
    let keys = LITERAL.into_iter();
    let mut rows: Vec<Row> = keys.map(|(name, key)| taken(stage, name, key)).collect();
    let with_fragment = wire(stage, "GET", "models/stock#fragment");
    let stock = stage.stock.len();
    rows.push(Row::answered(
        "a fragment",
        with_fragment,
        200,
        move |got| ensure(got.header("content-length") == stock.to_string(), "another"),
    ));
    for (name, key) in [
        (
            "the longest",
            "models/".to_owned() + &"b/".repeat(508) + "b",
        ),
        (
            "the longest with umlauts",
            format!(
                "models/{}%C3%A4%C3%A4a",
                ("%C3%A4".repeat(126) + "/").repeat(4)
            ),
        ),
    ] {
        rows.push(taken(stage, name, &key));
    }
    rows
}

fn wire(stage: &Stage, method: &str, key_and_more: &str) -> Ask {
    let body = if method == "PUT" { "x" } else { "" };
    // A client library would fold the dots: the request is written as it is meant.
    let target = format!("/v1/objects/{key_and_more}");
    stage.wire(Who::Operator, method, &target, body).into()
}

/// A text that is refused by every call that takes a key.
fn refused(stage: &Stage, name: &str, key: &str) -> Row {
    let put = wire(stage, "PUT", key);
    let row = Row::refused(name, put, 400, "invalid_key")
        .or(wire(stage, "GET", key))
        .or(wire(stage, "HEAD", key))
        .or(wire(stage, "DELETE", key));
    ["signed-url", "restore"].iter().fold(row, |row, call| {
        row.or(wire(stage, "POST", &format!("{key}/{call}")))
    })
}

/// A key that names nothing yet, is taken as it is, read back, and shown harmlessly.
fn taken(stage: &Stage, name: &str, key: &str) -> Row {
    let (before, after) = (wire(stage, "GET", key), wire(stage, "GET", key));
    let literal = percent_decode_str(key).decode_utf8().unwrap().into_owned();
    Row::refused(name, before, 404, "not_found")
        .then(Row::answered(
            "",
            wire(stage, "PUT", key),
            201,
            move |got| ensure(got.json(201)["key"] == literal.as_str(), "another key"),
        ))
        .then(Row::answered("", after, 200, |got| {
            ensure(got.body == "x", "other bytes")?;
            is_plain_disposition(got)
        }))
        .and_kept()
}

/// Two names in one header, each in ASCII and closed where it should be.
pub(super) fn is_plain_disposition(got: &Answer) -> Result<(), String> {
    let value = got.header("content-disposition");
    let rest = value.strip_prefix("attachment; filename=\"");
    let names = rest.and_then(|rest| rest.split_once("\"; filename*=UTF-8''"));
    let is_plain = names.is_some_and(|(ascii, encoded)| {
        let is_closed = !ascii.contains(['"', '\\']) && !encoded.contains(['"', ';', ' ']);
        is_closed && value.bytes().all(|byte| (0x20..0x7f).contains(&byte))
    });
    // U+202E turns what follows around.
    ensure(
        is_plain && !value.contains("%E2%80%AE"),
        "an open disposition",
    )
}

/// Beginnings of keys that no key has.
fn prefixes(stage: &Stage) -> impl Iterator<Item = Row> {
    let prefixes = [
        ("a list above the store", "..%2f"),
        ("a list beside the store", "models/../../"),
        ("a list with NUL", "models/%00"),
        ("a list of another category", "secrets/"),
    ];
    prefixes.into_iter().map(|(name, prefix)| {
        let path = format!("/v1/objects?prefix={prefix}");
        let list = stage.shop.call(Who::Operator, Method::GET, &path);
        Row::refused(name, list, 400, "invalid_key")
    })
}

/// Keys that lead to links somebody planted in the store.
pub(super) fn links_on_disk(stage: &Stage) -> Vec<Row> {
    let by = |method, key| wire(stage, method, key);
    let (folder, file) = ("models/link-to-folder", "models/link-to-file");
    let behind = format!("{folder}/canary.txt");
    let below = format!("{folder}/new");
    let (written, stolen) = match stage.shop.backend {
        // What a store that failed may have kept is looked for again by the sweep, whose row stays.
        Backend::Local => (
            Row::refused(
                "write through a link",
                by("PUT", &below),
                502,
                "storage_error",
            ),
            Row::refused(
                "a link in the place of a file",
                by("GET", "models/stolen"),
                502,
                "storage_error",
            ),
        ),
        // The bucket has the bytes, and the folder owes its copy.
        Backend::S3 | Backend::Hybrid => {
            let stolen = stage.stolen();
            (
                Row::answered("write through a link", by("PUT", &below), 201, anything),
                Row::answered(
                    "a link in the place of a file",
                    by("GET", "models/stolen"),
                    200,
                    move |got| ensure(got.body == stolen, "other bytes"),
                ),
            )
        }
    };
    vec![
        written.and_kept(),
        stolen,
        Row::refused("read through a link", by("GET", &behind), 404, "not_found"),
        Row::refused("read a link", by("GET", file), 404, "not_found"),
        Row::refused(
            "delete through a link",
            by("DELETE", &behind),
            404,
            "not_found",
        ),
        Row::answered("write over a link", by("PUT", file), 201, anything)
            .and_kept()
            .then(Row::answered("", by("GET", file), 200, |got| {
                ensure(got.body == "x", "other bytes")
            })),
        Row::answered(
            "write over a link to nothing",
            by("PUT", "models/link-to-nothing"),
            201,
            anything,
        )
        .and_kept(),
    ]
}
