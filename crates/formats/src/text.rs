//! Small helpers for text inside untrusted files, and for numbers inside sentences.

use std::fmt;

/// The UTF-8 encoding of U+FEFF.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Whether these bytes can be text: no control characters except white space and the end-of-file
/// mark of DOS. Bytes above 127 are let through, because names and comments of real files are
/// written in Latin-1, Shift JIS and others.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|&byte| byte >= b' ' && byte != 0x7F || matches!(byte, b'\t'..=b'\r' | 0x1A))
}

/// The bytes after a byte order mark, if there is one, and after white space.
pub(crate) fn after_blank(bytes: &[u8]) -> &[u8] {
    bytes
        .strip_prefix(BYTE_ORDER_MARK)
        .unwrap_or(bytes)
        .trim_ascii_start()
}

/// Whether `bytes` begin with `prefix`, letters compared without case.
pub(crate) fn starts_with_ignore_case(bytes: &[u8], prefix: &[u8]) -> bool {
    bytes
        .get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

/// A number with commas between thousands: `12,345`.
pub(crate) fn grouped(number: u64) -> impl fmt::Display {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A grouped number with the word for one or for several: `1 byte`, `2,000 bytes`.
pub(crate) fn counted(number: u64, one: &str, several: &str) -> String {
    format!(
        "{} {}",
        grouped(number),
        if number == 1 { one } else { several }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (617_334, "617,334"),
        ] {
            assert_eq!(grouped(number).to_string(), text);
        }
        assert_eq!(grouped(u64::MAX).to_string(), "18,446,744,073,709,551,615");
        assert_eq!(counted(1, "byte", "bytes"), "1 byte");
        assert_eq!(counted(2_000, "byte", "bytes"), "2,000 bytes");
    }

    #[test]
    fn text_may_be_latin_1_but_holds_no_control_bytes() {
        assert!(is_text(b"v 1 2 3\r\n# caf\xE9\x0b\x0c\x1a"));
        for byte in [0, 1, 8, 0x0E, 0x1B, 0x7F] {
            assert!(!is_text(&[b'v', byte]), "{byte:#x}");
        }
    }
}
