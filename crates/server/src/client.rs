//! How this server calls others over HTTP, apart from stores.

use std::sync::Arc;

use reqwest::ClientBuilder;
use reqwest::redirect::Policy;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::causes::causes_in_a_line;

/// The beginnings of a client that trusts the system's authorities and the private ones in `ca_pem`,
/// goes through no proxy and follows no redirect: what is called is what was asked for.
///
/// # Errors
/// A sentence, when the private authorities cannot be used.
pub(crate) fn builder(ca_pem: Option<&[u8]>) -> Result<ClientBuilder, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in CertificateDer::pem_slice_iter(ca_pem.unwrap_or_default()) {
        let certificate =
            certificate.map_err(|_| "the file of authorities cannot be read".to_owned())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(Policy::none()))
}

/// An error with what caused it, and without the URL, which may hold a signature or a secret.
pub(crate) fn told(error: reqwest::Error) -> String {
    causes_in_a_line(&error.without_url())
}
