//! Fetches a signed URL as a buyer's browser would: without a key, by the URL alone.

use std::time::Duration;

use crate::client::{self, told};

const CONNECT: Duration = Duration::from_secs(5);
const WHOLE: Duration = Duration::from_secs(30);
/// The longest refusal that is read, in bytes.
const MAX_REFUSAL_BYTES: usize = 4 << 10;

/// The bytes behind a URL, of which not many more than `expected_bytes` are read. An error never
/// names the URL.
pub(super) async fn bytes(
    url: &str,
    ca_pem: Option<&[u8]>,
    expected_bytes: usize,
) -> Result<Vec<u8>, String> {
    let client = client::builder(ca_pem)?
        .connect_timeout(CONNECT)
        .timeout(WHOLE)
        .build()
        .map_err(told)?;
    let mut response = client.get(url).send().await.map_err(told)?;
    let status = response.status();
    let limit_bytes = if status.is_success() {
        expected_bytes
    } else {
        MAX_REFUSAL_BYTES
    };
    let mut bytes = Vec::new();
    while bytes.len() <= limit_bytes
        && let Some(piece) = response.chunk().await.map_err(told)?
    {
        bytes.extend_from_slice(&piece);
    }
    if status.is_success() {
        return Ok(bytes);
    }
    let code = code(&String::from_utf8_lossy(&bytes)).map(|code| format!(" {code}"));
    Err(format!(
        "the URL was answered with {status}{}",
        code.unwrap_or_default()
    ))
}

/// S3's own code in a refusal.
fn code(body: &str) -> Option<&str> {
    let (_, rest) = body.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    let is_plain =
        !code.is_empty() && code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric());
    is_plain.then_some(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_code_is_taken_from_a_refusal() {
        assert_eq!(
            code("<Error><Code>AccessDenied</Code></Error>"),
            Some("AccessDenied")
        );
        for body in [
            "",
            "<Code>",
            "<Code></Code>",
            "<Code>a b</Code>",
            "<Code>\u{1b}[2J</Code>",
        ] {
            assert_eq!(code(body), None, "{body:?}");
        }
    }

    #[tokio::test]
    async fn an_error_does_not_tell_the_url() {
        // Port 1 of this machine is closed.
        let error = bytes("http://127.0.0.1:1/a?sig=canary", None, 10).await;
        let error = error.expect_err("nobody listens there");
        assert!(!error.contains("canary"), "{error}");
    }
}
