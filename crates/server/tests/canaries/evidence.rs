//! What a server showed, and the search for secrets in it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// The shortest form that is looked for; anything shorter would be found by chance.
const MIN_FORM_BYTES: usize = 10;

/// `unreserved` of RFC 3986, section 2.3, which encoders leave as it is.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A secret of this name. It has characters that encodings change, and stands in nothing else.
pub(crate) fn secret(name: &str) -> String {
    format!("canary-{name}+4f7a/9c=")
}

/// Everything that was shown, and the secrets that must not be in it.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    pieces: Vec<Piece>,
    canaries: Vec<Canary>,
    /// The places where a secret must be shown.
    allowed: Vec<(String, Place)>,
}

/// Where a piece was seen.
pub(crate) type Place = String;

#[derive(Debug)]
struct Piece {
    place: Place,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Canary {
    name: String,
    forms: Vec<Form>,
}

/// One way to write a secret.
#[derive(Debug)]
struct Form {
    encoding: &'static str,
    bytes: Vec<u8>,
}

impl Evidence {
    /// Adds something that was shown. Its place is numbered, so that no other has the same.
    pub(crate) fn add(&mut self, what: &str, bytes: impl Into<Vec<u8>>) -> Place {
        let place = format!("{}: {what}", self.pieces.len() + 1);
        self.pieces.push(Piece {
            place: place.clone(),
            bytes: bytes.into(),
        });
        place
    }

    /// From now on this secret is looked for everywhere, also in what was added before.
    pub(crate) fn watch(&mut self, name: &str, secret: &str) {
        self.canaries.push(Canary {
            name: name.to_owned(),
            forms: forms(secret),
        });
    }

    /// The secret of this name has to be shown in this place.
    pub(crate) fn allow(&mut self, name: &str, place: &Place) {
        assert!(
            self.canaries.iter().any(|canary| canary.name == name),
            "nobody looks for {name}"
        );
        self.allowed.push((name.to_owned(), place.clone()));
    }

    /// How many bytes there are, and how many secrets are looked for in how many forms.
    pub(crate) fn figures(&self) -> String {
        let bytes: usize = self.pieces.iter().map(|piece| piece.bytes.len()).sum();
        let forms: usize = self.canaries.iter().map(|canary| canary.forms.len()).sum();
        format!(
            "{} secrets in {forms} forms, {bytes} bytes in {} places",
            self.canaries.len(),
            self.pieces.len(),
        )
    }

    /// Where a secret was found that must not be there, with the text around it.
    pub(crate) fn hits(&self) -> Vec<String> {
        self.found()
            .into_iter()
            .filter(|(canary, _, place, _)| {
                !self
                    .allowed
                    .iter()
                    .any(|(name, where_)| name == canary && where_ == *place)
            })
            .map(|(canary, encoding, place, around)| {
                format!("{canary}, {encoding}, in {place}: ...{around}...")
            })
            .collect()
    }

    /// The places where the secret of this name was found, allowed or not.
    pub(crate) fn places_of(&self, name: &str) -> Vec<Place> {
        self.found()
            .into_iter()
            .filter(|(canary, ..)| *canary == name)
            .map(|(_, _, place, _)| place.clone())
            .collect()
    }

    /// Every first occurrence of a form in a piece: secret, encoding, place, text around it.
    fn found(&self) -> Vec<(&str, &'static str, &Place, String)> {
        // One walk over the bytes finds all forms: few places begin like one of them.
        let mut by_start: Vec<Vec<(usize, usize)>> = vec![Vec::new(); 1 << 16];
        for (canary_index, canary) in self.canaries.iter().enumerate() {
            for (form_index, form) in canary.forms.iter().enumerate() {
                by_start[start(&form.bytes)].push((canary_index, form_index));
            }
        }
        let mut found = Vec::new();
        for piece in &self.pieces {
            let mut seen = Vec::new();
            for at in 0..piece.bytes.len().saturating_sub(1) {
                let rest = &piece.bytes[at..];
                for (canary_index, form_index) in &by_start[start(rest)] {
                    let canary = &self.canaries[*canary_index];
                    let form = &canary.forms[*form_index];
                    if rest.starts_with(&form.bytes) && !seen.contains(canary_index) {
                        seen.push(*canary_index);
                        let around = around(&piece.bytes, at, form.bytes.len());
                        found.push((&*canary.name, form.encoding, &piece.place, around));
                    }
                }
            }
        }
        found
    }
}

fn start(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

fn around(bytes: &[u8], at: usize, length: usize) -> String {
    let (first, last) = (at.saturating_sub(160), (at + length + 80).min(bytes.len()));
    String::from_utf8_lossy(&bytes[first..last]).replace('\n', " | ")
}

/// The ways in which a program that does not know a text for a secret would write it.
fn forms(secret: &str) -> Vec<Form> {
    let bytes = secret.as_bytes();
    let mut forms = Vec::new();
    let mut add = |encoding, text: String| {
        let form = text.into_bytes();
        assert!(form.len() >= MIN_FORM_BYTES, "{encoding} of {secret:?}");
        let is_new = forms.iter().all(|other: &Form| other.bytes != form);
        if is_new {
            forms.push(Form {
                encoding,
                bytes: form,
            });
        }
    };
    add("plain", secret.to_owned());
    for set in [RESERVED, NON_ALPHANUMERIC] {
        let encoded = utf8_percent_encode(secret, set).to_string();
        add("percent-encoded", lower_escapes(&encoded));
        add("percent-encoded", encoded);
    }
    add("escaped", secret.escape_debug().to_string());
    add("hex", hex::encode(bytes));
    add("hex", hex::encode_upper(bytes));
    add("a list of bytes", list(bytes));
    // Within a longer text that is encoded, a secret begins at any of three places in a group.
    for shift in 0..3 {
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            let encoded = engine.encode([&vec![0; shift], bytes].concat());
            let (from, to) = ((shift * 8).div_ceil(6), (shift + bytes.len()) * 8 / 6);
            add("base64", encoded[from..to].to_owned());
        }
    }
    forms
}

/// `%2F` as some write it: `%2f`.
fn lower_escapes(encoded: &str) -> String {
    let mut parts = encoded.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (digits, rest) = part.split_at(2);
        let _ = write!(text, "%{}{rest}", digits.to_ascii_lowercase());
    }
    text
}

/// How `{:?}` writes bytes.
fn list(bytes: &[u8]) -> String {
    let list = format!("{bytes:?}");
    list.trim_matches(['[', ']']).to_owned()
}

/// A search that finds nothing proves nothing: each form is found wherever it stands.
#[test]
fn a_secret_is_found_in_every_form() {
    let secret = secret("of a test");
    let around = |middle: &str| format!("{{\"a\": \"{middle}\", \"b\": 1}}\n");
    let shown = [
        secret.clone(),
        utf8_percent_encode(&secret, NON_ALPHANUMERIC).to_string(),
        secret
            .replace('+', "%2b")
            .replace('/', "%2f")
            .replace('=', "%3d")
            .replace(' ', "%20"),
        hex::encode(&secret),
        hex::encode_upper(&secret),
        format!("{:?}", secret.as_bytes()),
        STANDARD_NO_PAD.encode(&secret),
        STANDARD_NO_PAD.encode(format!("user:{secret}")),
        STANDARD_NO_PAD.encode(format!("user2:{secret}!")),
        URL_SAFE_NO_PAD.encode(format!("users:{secret}??")),
    ];
    let mut evidence = Evidence::default();
    evidence.watch("the secret", &secret);
    for text in &shown {
        evidence.add("a text", around(text));
    }
    assert_eq!(evidence.hits().len(), shown.len(), "{:#?}", evidence.hits());
    let place = evidence.add("its own answer", around(&secret));
    evidence.allow("the secret", &place);
    evidence.add("another text", around("canary-of"));
    assert_eq!(evidence.hits().len(), shown.len());
    assert_eq!(evidence.places_of("the secret").len(), shown.len() + 1);
}
