//! The headers with which a part of a file is asked for: the first line is its size, each other one a
//! header.
#![no_main]

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};
use libfuzzer_sys::fuzz_target;
use stockroom::http::range::{Wanted, etag, wanted};
use stockroom_domain::Sha256Digest;
use stockroom_fuzz::lines;

fuzz_target!(|input: &[u8]| {
    let Some(([size], rest)) = lines(input) else {
        return;
    };
    let size_bytes: u64 = std::str::from_utf8(size)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(size.len() as u64);
    let etag = etag(&Sha256Digest::of(b"a file"));
    let mut headers = HeaderMap::new();
    for line in rest.split(|byte| *byte == b'\n') {
        let Some(at) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        // The one tag that a text cannot be expected to guess.
        let value = match &line[at + 1..] {
            b"ETAG" => etag.as_bytes(),
            value => value,
        };
        let (name, value) = (
            HeaderName::from_bytes(&line[..at]),
            HeaderValue::from_bytes(value),
        );
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    match wanted(&headers, &etag) {
        Wanted::Whole => {}
        Wanted::NotModified => assert!(headers.contains_key(IF_NONE_MATCH)),
        Wanted::PreconditionFailed => assert!(headers.contains_key(IF_MATCH)),
        Wanted::Part(range) => {
            assert_eq!(headers.get_all(RANGE).iter().count(), 1, "one of several");
            let asked = headers[RANGE].to_str().expect("it was read");
            assert!(!asked.contains(','), "several ranges");
            if let Some(condition) = headers.get(IF_RANGE) {
                assert_eq!(condition.as_bytes().trim_ascii(), etag.as_bytes());
            }
            if let Ok(part) = range.resolve(size_bytes) {
                assert!(part.start < part.end && part.end <= size_bytes);
                assert_eq!(Some(part), expected(asked, size_bytes), "{asked}");
            } else {
                assert_eq!(None, expected(asked, size_bytes), "{asked}");
            }
        }
    }
});

/// What RFC 9110, section 14.1.2, says of one range, written down once more in the plainest way:
/// numbers are as long as they like.
fn expected(asked: &str, size_bytes: u64) -> Option<std::ops::Range<u64>> {
    let (_, set) = asked.split_once('=')?;
    let (first, last) = set.trim().split_once('-')?;
    let number = |digits: &str| -> u128 {
        digits.chars().fold(0_u128, |number, digit| {
            let digit = u128::from(digit.to_digit(10).expect("a digit"));
            (number * 10 + digit).min(u128::from(u64::MAX))
        })
    };
    let size = u128::from(size_bytes);
    let (first, after) = match (first, last) {
        ("", length) => (size.saturating_sub(number(length)), size),
        (first, "") => (number(first), size),
        (first, last) => (number(first), (number(last) + 1).min(size)),
    };
    let is_any = first < after;
    is_any.then(|| first as u64..after as u64)
}
