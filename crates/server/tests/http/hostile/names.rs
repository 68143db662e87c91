//! Names of files, in the path and in a form.

use percent_encoding::percent_decode_str;

use super::keys::is_plain_disposition;
use super::multipart::form;
use super::row::{Row, ensure};
use super::stage::Stage;
use crate::support::{Who, answer};

/// Names as they stand in the path.
const REFUSED: [(&str, &str); 36] = [
    ("a slash", "a%2Fb.stl"),
    ("a backslash", "a%5Cb.stl"),
    ("a path above", "..%2F..%2Fa.stl"),
    ("an absolute path", "%2Ftmp%2Fa.stl"),
    ("a drive", "C:%5Ca.stl"),
    ("two dots", ".."),
    ("two dots in hex", "%2e%2e"),
    ("a dot", "."),
    ("dots", "..."),
    ("a blank", "%20"),
    ("a blank and a dot", "%20."),
    ("NUL", "a%00b.stl"),
    ("an extension behind NUL", "a.exe%00.stl"),
    ("LF", "a%0Ab.stl"),
    ("CR LF and a header", "a%0D%0AX-Injected:1.stl"),
    ("an escape", "%1B%5B2Ja.stl"),
    ("DEL", "a%7F.stl"),
    ("a control of Latin-1", "a%C2%85.stl"),
    ("right-to-left override", "%E2%80%AElts.exe"),
    ("left-to-right override", "a%E2%80%ADb.stl"),
    ("right-to-left isolate", "a%E2%81%A7b.stl"),
    ("Arabic letter mark", "a%D8%9Cb.stl"),
    ("a right-to-left mark", "a%E2%80%8Fb.stl"),
    ("a line separator", "a%E2%80%A8b.stl"),
    ("a device", "CON.stl"),
    ("a device in lower case", "nul"),
    ("a device with two extensions", "aux.tar.stl"),
    ("a device and a blank", "PRN%20.stl"),
    ("a serial port", "COM1.stl"),
    ("a serial port with a raised number", "COM%C2%B9.stl"),
    ("a printer", "lpt9.stl"),
    ("a printer with a raised number", "LPT%C2%B3.stl"),
    ("the input of Windows", "CONIN$"),
    ("a byte that is no UTF-8", "a%FF.stl"),
    ("an overlong slash", "a%C0%AFb.stl"),
    ("a surrogate", "%ED%A0%80.stl"),
];

const TAKEN: [(&str, &str); 18] = [
    ("quotes", "a%22b%22.stl"),
    ("a second name", "a%22;%20filename=%22evil.exe"),
    ("a second name in UTF-8", "a;%20filename*=UTF-8''evil.exe"),
    ("hex in hex", "%252e%252e%252fa.stl"),
    ("a per cent sign that begins nothing", "a%zz.stl"),
    ("markup", "%3Cimg%20src=x%20onerror=alert(1)%3E.stl"),
    ("a formula", "=1+1.stl"),
    ("commands", "$(id)%60id%60;id|id.stl"),
    ("an option", "--help"),
    ("nearly a device", "console.stl"),
    ("a device without its number", "com.stl"),
    ("a stream of Windows", "a.stl:hidden"),
    ("a hidden file", ".htaccess"),
    ("Unicode that is large", "%F0%9F%A7%A2.stl"),
    ("what XML cannot say", "a%EF%BF%BF.stl"),
    ("letters that are not escaped", "\u{e4}\u{20ac}.stl"),
    ("composed (NFC)", "sch%C3%B6n.stl"),
    ("decomposed (NFD)", "scho%CC%88n.stl"),
];

pub(super) fn rows(stage: &Stage) -> Vec<Row> {
    let too_long = "a".repeat(252) + ".stl";
    let too_long_umlauts = "%C3%A4".repeat(126) + ".stl";
    let longest = "a".repeat(251) + ".stl";
    let refused = REFUSED
        .into_iter()
        .chain([
            ("a byte too long", too_long.as_str()),
            ("a letter too long", &too_long_umlauts),
        ])
        .map(|(name, text)| refused(stage, name, text));
    let taken = TAKEN
        .into_iter()
        .chain([("the longest", longest.as_str())])
        .map(|(name, text)| taken(stage, name, text));
    refused.chain(taken).collect()
}

fn put(stage: &Stage, name: &str) -> Vec<u8> {
    let target = format!("/v1/models/{}/assets/{name}", stage.model);
    let head = stage.head(Who::Artist, "PUT", &target);
    let length = stage.file.len();
    let head = format!("{head}Content-Length: {length}\r\n\r\n");
    [head.as_bytes(), &stage.file].concat()
}

fn refused(stage: &Stage, name: &str, text: &str) -> Row {
    let row = Row::refused(name, put(stage, text), 400, "invalid_request");
    let bytes: Vec<u8> = percent_decode_str(text).collect();
    // What ends a line, or a value, cannot stand in the head of a part at all.
    if bytes.iter().any(u8::is_ascii_control) {
        return row;
    }
    let code = match std::str::from_utf8(&bytes) {
        Ok(_) => "invalid_request",
        Err(_) => "bad_multipart",
    };
    let head = disposition(&bytes);
    let body = [head.as_slice(), b"\r\n\r\n", &stage.file, b"\r\n--b--\r\n"];
    let by_form = form(stage, &body.concat());
    row.then(Row::refused(name, by_form, 400, code))
}

fn disposition(filename: &[u8]) -> Vec<u8> {
    let before = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"";
    [before.as_slice(), filename, b"\""].concat()
}

/// A name that is kept as it is and shown harmlessly.
fn taken(stage: &Stage, name: &str, text: &str) -> Row {
    let literal = percent_decode_str(text).decode_utf8().unwrap().into_owned();
    Row::answered(name, put(stage, text), 201, move |got| {
        let asset = got.json(201);
        ensure(asset["filename"] == literal.as_str(), "another name")?;
        // Names that only look alike are not versions of one file.
        ensure(asset["version"] == 1, "a version of another file")?;
        let key = asset["key"].as_str().unwrap_or_default();
        ensure(key.ends_with(&literal), "another key")
    })
    .and_kept()
}

/// What the names of a model's files are when they are downloaded.
pub(super) async fn are_shown_harmlessly(stage: &Stage) {
    let assets = format!("/v1/models/{}/assets?limit=100", stage.model);
    let list = answer(stage.shop.get(Who::Artist, &assets)).await;
    for asset in list.json(200)["data"].as_array().unwrap() {
        let path = format!(
            "/v1/assets/{}/download?delivery=stream",
            asset["id"].as_str().unwrap()
        );
        let got = answer(stage.shop.get(Who::Artist, &path)).await;
        assert!(got.body == stage.file, "{asset}: {got:?}");
        assert_eq!(is_plain_disposition(&got), Ok(()), "{asset}");
    }
}
