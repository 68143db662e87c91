//! TLS: is the certificate one to trust?

use std::io;
use std::sync::Arc;

use rustls::{CertificateError, ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::finding::Finding;
use super::network::{STEP_TIMEOUT, Server};
use crate::config::S3Settings;

/// Trusts what the store trusts: the system's authorities and the private one.
pub(crate) fn client(settings: &S3Settings) -> Result<ClientConfig, Finding> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(ca) = &settings.ca {
        // What cannot be read was refused when the settings were loaded.
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&ca.pem).flatten());
    }
    if roots.is_empty() && settings.endpoint.is_https() {
        return Err(no_roots());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error.to_string()))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

/// There is no authority at all to check a certificate with.
pub(super) fn no_roots() -> Finding {
    Finding::error(
        "s3.no-authorities",
        "This machine knows no certificate authority.",
        "Install the system's certificates (Debian: apt-get install ca-certificates), \
         or set S3_CA_FILE.",
    )
}

/// Makes the handshake.
pub(super) async fn handshake(
    config: &ClientConfig,
    server: &Server,
    stream: TcpStream,
) -> Result<(), Finding> {
    let name = ServerName::try_from(server.host.clone())
        .map_err(|_| failed("the host cannot stand in a certificate"))?;
    let connector = TlsConnector::from(Arc::new(config.clone()));
    match timeout(STEP_TIMEOUT, connector.connect(name, stream)).await {
        Ok(Ok(_session)) => Ok(()),
        Ok(Err(error)) => Err(finding(server, &error)),
        Err(_elapsed) => Err(failed("there is no answer")),
    }
}

fn finding(server: &Server, error: &io::Error) -> Finding {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(fault)) => certificate(server, fault),
        Some(rustls::Error::InvalidMessage(_)) => Finding::error(
            "s3.tls-not-spoken",
            format!(
                "{} does not speak TLS on port {}.",
                server.host, server.port
            ),
            "Correct the port in S3_ENDPOINT; a server without TLS is reached with http://.",
        ),
        _ => failed(&error.to_string()),
    }
}

fn certificate(server: &Server, fault: &CertificateError) -> Finding {
    let host = &server.host;
    match fault {
        // The signature is bad where an authority was made anew under its old name.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => untrusted(host),
        // What webpki says of a certificate that signed itself as an authority.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            untrusted(host)
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Finding::error(
                "s3.tls-wrong-name",
                format!("The certificate of {host} is for another name."),
                format!(
                    "Write the name in the certificate into S3_ENDPOINT.{}",
                    server.hint()
                ),
            )
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Finding::error(
            "s3.tls-expired",
            format!("The certificate of {host} has expired."),
            "Renew it on the server; if it is right there, set the clock of this machine.",
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Finding::error(
                "s3.tls-not-yet-valid",
                format!("The certificate of {host} is not valid yet."),
                "Set the clock of this machine.",
            )
        }
        other => failed(&format!("its certificate is refused: {other}")),
    }
}

fn untrusted(host: &str) -> Finding {
    Finding::error(
        "s3.tls-untrusted",
        format!("The certificate of {host} is signed by an authority that is not trusted here."),
        "Set S3_CA_FILE to a file with the authority's certificate in PEM form.",
    )
}

fn failed(why: &str) -> Finding {
    Finding::error(
        "s3.tls-failed",
        format!("No TLS connection to the server of S3_ENDPOINT can be made: {why}."),
        "Check that the server offers TLS 1.2 or 1.3 on this port, and no proxy stands between.",
    )
}
