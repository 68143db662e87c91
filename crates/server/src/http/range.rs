//! The headers `Range`, `If-None-Match`, `If-Match` and `If-Range` (RFC 9110, sections 13 and 14).

use http::HeaderMap;
use http::header::{self, HeaderName};
use stockroom_domain::Sha256Digest;
use stockroom_storage::ByteRange;

/// What a request for bytes asks beside the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// All bytes.
    Whole,
    /// One range of them.
    Part(ByteRange),
    /// Nothing: the caller's copy is current.
    NotModified,
    /// Nothing: the caller wants another version than the one there is.
    PreconditionFailed,
}

/// The strong validator of some bytes: their SHA-256 in quotes. It is the same wherever they lie.
#[must_use]
pub fn etag(sha256: &Sha256Digest) -> String {
    format!("\"{sha256}\"")
}

/// Decides what to send of the object with this validator, by the order of RFC 9110, 13.2.2.
#[must_use]
pub fn wanted(headers: &HeaderMap, etag: &str) -> Wanted {
    if let Some(list) = joined(headers, header::IF_MATCH)
        && !any_matches(&list, etag, Comparison::Strong)
    {
        return Wanted::PreconditionFailed;
    }
    if let Some(list) = joined(headers, header::IF_NONE_MATCH)
        && any_matches(&list, etag, Comparison::Weak)
    {
        return Wanted::NotModified;
    }
    match single(headers, header::RANGE).and_then(parse_range) {
        Some(range) if if_range_holds(headers, etag) => Wanted::Part(range),
        _ => Wanted::Whole,
    }
}

/// Reads one byte range. Anything else - another unit, several ranges, nonsense - counts as no
/// range at all, which section 14.2 allows and which no list of 2,000 ranges can abuse.
fn parse_range(value: &str) -> Option<ByteRange> {
    let (unit, set) = value.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    match (first, last) {
        ("", length) => Some(ByteRange::Suffix(number(length)?)),
        (first, "") => Some(ByteRange::From(number(first)?)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(ByteRange::Inclusive { first, last })
        }
    }
}

/// A number of digits only. One that is larger than any file is as good as the largest.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

fn if_range_holds(headers: &HeaderMap, etag: &str) -> bool {
    match headers.get(header::IF_RANGE) {
        None => true,
        // Only a strong validator may join two parts; a date never equals one.
        Some(value) => value.as_bytes().trim_ascii() == etag.as_bytes(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Strong,
    Weak,
}

fn any_matches(list: &str, etag: &str, comparison: Comparison) -> bool {
    // Our own tags hold hex digits only, so that a comma inside a foreign tag does no harm.
    list.split(',').map(str::trim).any(|candidate| {
        let opaque = candidate.strip_prefix("W/");
        match comparison {
            _ if candidate == "*" => true,
            Comparison::Strong => candidate == etag,
            Comparison::Weak => opaque.unwrap_or(candidate) == etag,
        }
    })
}

fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(first)
}

fn joined(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let values: Vec<&str> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "\"abc\"";

    fn ask(pairs: &[(&str, &str)]) -> Wanted {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
        }
        wanted(&headers, ETAG)
    }

    #[test]
    fn one_range_is_served_and_everything_odd_is_ignored() {
        let inclusive = |first, last| Wanted::Part(ByteRange::Inclusive { first, last });
        let cases = [
            ("bytes=0-9", inclusive(0, 9)),
            ("Bytes = 0-9", inclusive(0, 9)),
            ("bytes=5-", Wanted::Part(ByteRange::From(5))),
            ("bytes=-5", Wanted::Part(ByteRange::Suffix(5))),
            ("bytes=-0", Wanted::Part(ByteRange::Suffix(0))),
            ("bytes=0-99999999999999999999999", inclusive(0, u64::MAX)),
            ("bytes=9-5", Wanted::Whole),
            ("bytes=0-1,5-6", Wanted::Whole),
            ("bytes=", Wanted::Whole),
            ("bytes=-", Wanted::Whole),
            ("bytes=+1-2", Wanted::Whole),
            ("bytes=0x1-2", Wanted::Whole),
            ("items=0-1", Wanted::Whole),
            ("nonsense", Wanted::Whole),
        ];
        for (value, expected) in cases {
            assert_eq!(ask(&[("range", value)]), expected, "{value}");
        }
        assert_eq!(
            ask(&[("range", "bytes=0-1"), ("range", "bytes=2-3")]),
            Wanted::Whole
        );
        assert_eq!(ask(&[]), Wanted::Whole);
    }

    #[test]
    fn preconditions_come_before_the_range() {
        let part = Wanted::Part(ByteRange::From(1));
        let range = ("range", "bytes=1-");
        let cases = [
            (("if-none-match", ETAG), Wanted::NotModified),
            (("if-none-match", "\"x\", W/\"abc\""), Wanted::NotModified),
            (("if-none-match", "*"), Wanted::NotModified),
            (("if-none-match", "\"x\""), part.clone()),
            (("if-match", ETAG), part.clone()),
            (("if-match", "W/\"abc\""), Wanted::PreconditionFailed),
            (("if-match", "\"x\""), Wanted::PreconditionFailed),
            (("if-range", ETAG), part),
            (("if-range", "\"x\""), Wanted::Whole),
            (("if-range", "W/\"abc\""), Wanted::Whole),
            (("if-range", "Mon, 23 Nov 2026 09:30:00 GMT"), Wanted::Whole),
        ];
        for (condition, expected) in cases {
            assert_eq!(ask(&[range, condition]), expected, "{condition:?}");
        }
    }
}
