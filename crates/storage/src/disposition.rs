//! The `Content-Disposition` header of an answer.

use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::Disposition;

/// The longest name a browser is told, in bytes of UTF-8: the limit of most file systems.
const MAX_NAME_BYTES: usize = 255;

/// What may stand in `filename*` as it is: `attr-char` of RFC 8187, section 3.2.1.
const NOT_ATTR_CHAR: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

impl Disposition {
    /// The value of the `Content-Disposition` header (RFC 6266): the type, a name in ASCII for old
    /// clients, and the name itself in `filename*` (RFC 8187). `fallback_name` is used when the
    /// disposition names no file; it is usually the last segment of the key.
    ///
    /// The value is visible ASCII and spaces, whatever the name: line breaks, other controls,
    /// slashes, and characters that turn the reading direction become `_`.
    #[must_use]
    pub fn header_value(&self, fallback_name: &str) -> String {
        let (kind, filename) = match self {
            Self::Attachment { filename } => ("attachment", filename),
            Self::Inline { filename } => ("inline", filename),
        };
        let name = safe_name(filename.as_deref().unwrap_or(fallback_name));
        let mut value = String::with_capacity(64 + 4 * name.len());
        value.push_str(kind);
        value.push_str("; filename=\"");
        value.extend(name.chars().map(|c| if is_plain(c) { c } else { '_' }));
        let encoded = utf8_percent_encode(&name, NOT_ATTR_CHAR);
        // Writing to a String cannot fail.
        let _ = write!(value, "\"; filename*=UTF-8''{encoded}");
        value
    }

    /// The name of the file, if the disposition has one.
    #[must_use]
    pub fn filename(&self) -> Option<&str> {
        match self {
            Self::Attachment { filename } | Self::Inline { filename } => filename.as_deref(),
        }
    }
}

/// A name that a browser can save under: one segment, not too long, nothing hidden in it.
fn safe_name(name: &str) -> String {
    let replaced: String = name
        .chars()
        .map(|c| if is_dangerous(c) { '_' } else { c })
        .collect();
    match replaced.trim_matches(' ') {
        "" | "." | ".." => "download".to_owned(),
        name => shortened(name),
    }
}

/// Cuts a long name before its extension, so that the system still knows what kind of file it is.
fn shortened(name: &str) -> String {
    if name.len() <= MAX_NAME_BYTES {
        return name.to_owned();
    }
    let extension = name
        .rfind('.')
        .map(|dot| &name[dot..])
        .filter(|extension| extension.len() <= 16)
        .unwrap_or_default();
    let stem_end = name.floor_char_boundary(MAX_NAME_BYTES - extension.len());
    format!("{}{extension}", &name[..stem_end])
}

/// Controls, separators of paths and of lines, and the bidirectional controls of UAX #9, with
/// which `exe.stl` can be shown for `lts.exe`.
fn is_dangerous(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '/' | '\\' | '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{2028}'
                ..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

/// What old clients read as it is inside quotes. They differ about `%` (RFC 6266, appendix D).
const fn is_plain(c: char) -> bool {
    (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '%')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attachment(name: &str) -> String {
        Disposition::Attachment {
            filename: Some(name.to_owned()),
        }
        .header_value("unused")
    }

    #[test]
    fn a_plain_name_stands_in_both_forms() {
        assert_eq!(
            attachment("helmet v2.stl"),
            r#"attachment; filename="helmet v2.stl"; filename*=UTF-8''helmet%20v2.stl"#
        );
        let inline = Disposition::Inline { filename: None };
        assert_eq!(
            inline.header_value("cat.png"),
            r#"inline; filename="cat.png"; filename*=UTF-8''cat.png"#
        );
    }

    #[test]
    fn the_example_of_the_rfc() {
        assert_eq!(
            attachment("€ rates"),
            r#"attachment; filename="_ rates"; filename*=UTF-8''%E2%82%AC%20rates"#
        );
    }

    #[test]
    fn hostile_names_stay_inside_their_quotes() {
        let cases = [
            (
                "a\"; filename=evil.exe",
                r#"filename="a_; filename=evil.exe""#,
            ),
            (
                "a\r\nSet-Cookie: x=1",
                r#"filename="a__Set-Cookie: x=1"; filename*=UTF-8''a__Set-Cookie%3A%20x%3D1"#,
            ),
            ("a\\\"b", r#"filename="a__b"; filename*=UTF-8''a_%22b"#),
            (
                "../../etc/passwd",
                r#"filename=".._.._etc_passwd"; filename*=UTF-8''.._.._etc_passwd"#,
            ),
            (
                "model\u{202e}lts.exe",
                r#"filename="model_lts.exe"; filename*=UTF-8''model_lts.exe"#,
            ),
            (
                "100%41.stl",
                r#"filename="100_41.stl"; filename*=UTF-8''100%2541.stl"#,
            ),
            ("  ", r#"filename="download"; filename*=UTF-8''download"#),
            ("..", r#"filename="download"; filename*=UTF-8''download"#),
            ("", r#"filename="download"; filename*=UTF-8''download"#),
        ];
        for (name, expected) in cases {
            let value = attachment(name);
            assert!(value.contains(expected), "{name:?}: {value}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_extension() {
        let value = attachment(&format!("{}.stl", "ü".repeat(400)));
        let (_, encoded) = value.split_once("UTF-8''").unwrap();
        assert!(encoded.ends_with("%BC.stl"), "{encoded}");
        let name = percent_encoding::percent_decode_str(encoded)
            .decode_utf8()
            .unwrap();
        assert_eq!(name.len(), 254);
    }

    proptest::proptest! {
        #[test]
        fn any_name_makes_a_header_of_one_line_and_two_quotes(name in "\\PC{0,20}[\u{0}-\u{7f}\"\\\\%é\u{202e}]{0,20}") {
            let value = attachment(&name);
            assert!(value.bytes().all(|b| b.is_ascii_graphic() || b == b' '), "{value}");
            assert_eq!(value.matches('"').count(), 2, "{value}");
            assert!(http::HeaderValue::from_str(&value).is_ok());
        }
    }
}
