//! Messages that hyper lets through and no honest client sends: what two readers of the same bytes
//! could take for two different things.

use http::header::{self, HeaderMap};
use http::{Request, Version};

use crate::http::problem::Problem;

/// Refuses a message that could mean something else to a proxy in front, or other bytes to its
/// sender.
///
/// # Errors
/// 400 with what is wrong with it.
pub fn check<B>(request: &Request<B>) -> Result<(), Problem> {
    let (headers, version) = (request.headers(), request.version());
    check_coding(headers)?;
    check_host(headers, version)
}

/// Chunks are read, any other coding is not: the bytes would be kept as they were coded. RFC 9112,
/// section 6.1, leaves the answer to the server, and says that no coding is applied after chunks.
fn check_coding(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let is_plain = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    if is_plain {
        Ok(())
    } else {
        Err(Problem::invalid(
            "The body is coded in a way that is not read here. Leave Transfer-Encoding out, or send chunked alone.",
        ))
    }
}

/// RFC 9112, section 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1
/// request message that lacks a Host header field and to any request message that contains more
/// than one". HTTP/2 has the host in its target.
fn check_host(headers: &HeaderMap, version: Version) -> Result<(), Problem> {
    let count = headers.get_all(header::HOST).iter().count();
    if count > 1 || (count == 0 && version == Version::HTTP_11) {
        return Err(Problem::invalid("Send the header Host once."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn is_taken(version: Version, lines: &[(&str, &str)]) -> bool {
        let mut request = Request::new(());
        *request.version_mut() = version;
        for (name, value) in lines {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, value.parse().unwrap());
        }
        check(&request).is_ok()
    }

    #[test]
    fn one_host_is_named_where_the_target_does_not() {
        let host = ("host", "shop");
        assert!(is_taken(Version::HTTP_11, &[host]));
        assert!(!is_taken(Version::HTTP_11, &[]));
        assert!(is_taken(Version::HTTP_10, &[]));
        assert!(is_taken(Version::HTTP_2, &[]));
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            assert!(!is_taken(version, &[host, host]));
        }
    }

    #[test]
    fn chunks_are_the_only_coding() {
        let host = ("host", "shop");
        let with = |coding| is_taken(Version::HTTP_11, &[host, ("transfer-encoding", coding)]);
        assert!(with("chunked"));
        assert!(with("Chunked"));
        for coding in ["gzip, chunked", "chunked, chunked", "identity", ""] {
            assert!(!with(coding), "{coding}");
        }
    }
}
