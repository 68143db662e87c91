//! Fetches a signed URL as a buyer's browser would: without a key, by the URL alone.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

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
    let mut response = client(ca_pem)?.get(url).send().await.map_err(told)?;
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

/// A client that trusts the system's authorities and the private one. It uses no proxy, as the
/// store does not.
fn client(ca_pem: Option<&[u8]>) -> Result<reqwest::Client, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = ca_pem {
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|_| "S3_CA_FILE cannot be read".to_owned())?;
            roots.add(certificate).map_err(|error| error.to_string())?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(CONNECT)
        .timeout(WHOLE)
        .build()
        .map_err(told)
}

/// An error with what caused it, and without the URL.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
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
