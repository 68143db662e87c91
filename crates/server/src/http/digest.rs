//! The header `Repr-Digest` (RFC 9530).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue};
use stockroom_domain::Sha256Digest;

use crate::http::problem::Problem;

/// The name of the header.
pub const REPR_DIGEST: &str = "repr-digest";

/// The SHA-256 that the caller says the body has, if it says one. Other algorithms are passed over.
///
/// # Errors
/// When there is a `sha-256` member that holds no digest.
pub fn expected_sha256(headers: &HeaderMap) -> Result<Option<Sha256Digest>, Problem> {
    let mut expected = None;
    for value in headers.get_all(REPR_DIGEST) {
        let text = value.to_str().map_err(|_| malformed())?;
        for member in text
            .split(',')
            .map(str::trim)
            .filter(|member| !member.is_empty())
        {
            let (algorithm, digest) = member.split_once('=').ok_or_else(malformed)?;
            let algorithm = algorithm.trim();
            if !is_member_key(algorithm) {
                return Err(malformed());
            }
            if algorithm == "sha-256" {
                // RFC 8941: of members with the same key, the last one counts.
                expected = Some(parse_binary(digest.trim())?);
            }
        }
    }
    Ok(expected)
}

/// Whether a text can be the name of a member (RFC 8941, section 3.1.2). `SHA-256` cannot: it is what
/// the header `Digest` had, and passing it over would leave the bytes uncompared.
fn is_member_key(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase() || c == '*');
    begins
        && text.bytes().all(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.' | b'*')
        })
}

/// The value of the header for these bytes.
#[must_use]
pub fn header_value(sha256: &Sha256Digest) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("sha-256=:{}:", STANDARD.encode(sha256.as_bytes()))).ok()
}

fn parse_binary(text: &str) -> Result<Sha256Digest, Problem> {
    let encoded = text
        .strip_prefix(':')
        .and_then(|rest| rest.strip_suffix(':'))
        .ok_or_else(malformed)?;
    let bytes = STANDARD.decode(encoded).map_err(|_| malformed())?;
    Sha256Digest::try_from(bytes.as_slice()).map_err(|_| malformed())
}

fn malformed() -> Problem {
    Problem::invalid(
        "The header Repr-Digest is broken. Send Repr-Digest: sha-256=:BASE64:, with the 32 bytes of the digest in base64 between colons.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<Option<Sha256Digest>, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(REPR_DIGEST, value.parse().unwrap());
        expected_sha256(&headers)
    }

    #[test]
    fn a_digest_reads_back_beside_others() {
        let digest = Sha256Digest::of(b"abc");
        let own = header_value(&digest).unwrap();
        let own = own.to_str().unwrap();
        assert_eq!(read(own).unwrap(), Some(digest));
        assert_eq!(
            read(&format!("sha-512=:AAAA:, {own}")).unwrap(),
            Some(digest)
        );
        assert_eq!(read("md5=:AAAA:").unwrap(), None);
        assert_eq!(expected_sha256(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_broken_digest_is_refused_and_not_passed_over() {
        for value in [
            "sha-256",
            "sha-256=abc",
            "sha-256=:!:",
            "sha-256=:AAAA:",
            "sha-256=:",
            "SHA-256=:AAAA:",
            "=:AAAA:",
        ] {
            assert!(read(value).is_err(), "{value}");
        }
    }
}
