//! What a bucket is reached with.

use std::net::IpAddr;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use stockroom_domain::StoreName;
use url::{Host, Url};

use crate::Secret;

/// The largest part of a multipart upload in bytes: 5 GB, which is the smaller of the limits of
/// Backblaze (5 GB) and S3 (5 GiB).
/// Source: <https://www.backblaze.com/docs/cloud-storage-large-files>.
pub const MAX_PART_BYTES: u64 = 5_000_000_000;

/// The most parts of a multipart upload.
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>.
pub const MAX_PARTS: u64 = 10_000;

/// A bucket on an S3-compatible store, and how to talk to it.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// The name of the store in placements, metrics and errors.
    pub name: StoreName,
    /// The URL of the service, without the bucket: `https://s3.eu-central-003.backblazeb2.com`.
    pub endpoint: String,
    /// The region that requests are signed for: `eu-central-003`.
    pub region: String,
    /// The name of the bucket.
    pub bucket: String,
    /// The id of the key.
    pub key_id: String,
    /// The secret of the key.
    pub application_key: Secret,
    /// Whether the bucket stands in the path of a URL (`true`) or before the host. It always
    /// stands in the path when the host is an IP address or the bucket's name is no DNS label.
    pub path_style: bool,
    /// The URL that signed URLs are made for, where buyers reach the service under another name
    /// than this program does.
    pub public_endpoint: Option<String>,
    /// Certificates in PEM of a private certificate authority, trusted beside the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// How long to wait.
    pub timeouts: S3Timeouts,
    /// How often to try.
    pub retries: S3Retries,
    /// The size in bytes of what is sent in one request. A larger object goes in parts of this
    /// size, or of a larger one where the parts would otherwise be more than [`MAX_PARTS`].
    /// Stores want at least 5 MiB (Backblaze: 5,000,000 bytes).
    pub part_bytes: u64,
    /// How many parts of one upload are under way at once. An upload holds one more in memory.
    pub concurrent_parts: usize,
}

impl S3Config {
    /// A bucket that is addressed by path, with the defaults for everything else.
    #[must_use]
    pub fn new(
        endpoint: impl Into<String>,
        region: impl Into<String>,
        bucket: impl Into<String>,
        key_id: impl Into<String>,
        application_key: Secret,
    ) -> Self {
        Self {
            name: StoreName::S3,
            endpoint: endpoint.into(),
            region: region.into(),
            bucket: bucket.into(),
            key_id: key_id.into(),
            application_key,
            path_style: true,
            public_endpoint: None,
            ca_pem: None,
            timeouts: S3Timeouts::default(),
            retries: S3Retries::default(),
            part_bytes: 8 << 20,
            concurrent_parts: 3,
        }
    }
}

/// How long to wait for a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S3Timeouts {
    /// For a connection, with the TLS handshake.
    pub connect: Duration,
    /// For the first byte of an answer, from the moment the last bytes of the request went out.
    pub answer: Duration,
    /// For the answer to the end of a multipart upload, which can take minutes.
    /// Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>.
    pub complete: Duration,
    /// For the next bytes of an object that is being read.
    pub read_idle: Duration,
}

impl Default for S3Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(30),
            complete: Duration::from_secs(300),
            read_idle: Duration::from_secs(30),
        }
    }
}

/// How often to try what may succeed the next time.
///
/// The wait before attempt n + 1 is random between 0 and `base * 2^(n - 1)`, at most
/// `longest_wait`, and never shorter than the store's `Retry-After`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S3Retries {
    /// How many attempts there are in all; at least 1.
    pub attempts: u32,
    /// The longest first wait.
    pub base: Duration,
    /// The longest wait of all, unless the store asks for a longer one.
    pub longest_wait: Duration,
    /// No attempt begins later than this after the first one began.
    pub deadline: Duration,
}

impl Default for S3Retries {
    fn default() -> Self {
        Self {
            attempts: 5,
            base: Duration::from_secs(1),
            longest_wait: Duration::from_secs(64),
            deadline: Duration::from_secs(180),
        }
    }
}

/// Why a bucket cannot be reached with a configuration. No value of a secret is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum S3ConfigError {
    /// An endpoint is no URL that can be used.
    #[error(
        "{field} is not a URL such as https://s3.eu-central-003.backblazeb2.com, without a path"
    )]
    Endpoint {
        /// `endpoint` or `public_endpoint`.
        field: &'static str,
    },
    /// A value that must be given is empty, or has spaces or quotes around it.
    #[error("{field} is empty, or has spaces or quotes at its ends")]
    Text {
        /// The name of the field.
        field: &'static str,
    },
    /// The certificates of the private authority cannot be read.
    #[error("the private certificate authority is not a PEM file with a certificate")]
    Ca,
    /// There is an https endpoint, but no certificate authority to trust.
    #[error("no certificate authority is trusted: install the system's certificates")]
    NoRoots,
    /// A size or a number is out of its bounds.
    #[error("{field} is out of bounds")]
    Bounds {
        /// The name of the field.
        field: &'static str,
    },
}

/// Where requests go, checked.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    /// `https` or `http`.
    pub(crate) scheme: String,
    /// The host, with the port where it is not the scheme's own.
    pub(crate) authority: String,
    /// Whether the bucket stands in the path.
    pub(crate) path_style: bool,
}

impl Endpoint {
    fn parse(field: &'static str, text: &str, config: &S3Config) -> Result<Self, S3ConfigError> {
        let wrong = || S3ConfigError::Endpoint { field };
        let url = Url::parse(text).map_err(|_| wrong())?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let anonymous = url.username().is_empty() && url.password().is_none();
        if !matches!(url.scheme(), "http" | "https") || !bare || !anonymous {
            return Err(wrong());
        }
        let host = url.host().ok_or_else(wrong)?;
        let authority = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_string(),
        };
        let is_name = matches!(&host, Host::Domain(name) if name.parse::<IpAddr>().is_err());
        Ok(Self {
            scheme: url.scheme().to_owned(),
            authority,
            path_style: config.path_style || !is_name || !is_dns_label(&config.bucket),
        })
    }

    pub(crate) fn is_https(&self) -> bool {
        self.scheme == "https"
    }

    /// The URL of the service, without the bucket.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }
}

/// Both endpoints of a configuration that has been checked.
pub(crate) struct Endpoints {
    pub(crate) service: Endpoint,
    pub(crate) public: Endpoint,
}

/// Checks everything that can be checked without a request.
pub(crate) fn check(config: &S3Config) -> Result<Endpoints, S3ConfigError> {
    let texts = [
        ("region", config.region.as_str()),
        ("bucket", &config.bucket),
        ("key_id", &config.key_id),
        ("application_key", config.application_key.expose()),
    ];
    for (field, text) in texts {
        let bare = text.trim_matches(|c: char| c.is_whitespace() || c == '"' || c == '\'');
        if text.is_empty() || bare != text {
            return Err(S3ConfigError::Text { field });
        }
    }
    let bounds = [
        (
            "part_bytes",
            (1..=MAX_PART_BYTES).contains(&config.part_bytes),
        ),
        (
            "concurrent_parts",
            (1..=64).contains(&config.concurrent_parts),
        ),
        ("retries.attempts", config.retries.attempts >= 1),
    ];
    for (field, fits) in bounds {
        if !fits {
            return Err(S3ConfigError::Bounds { field });
        }
    }
    let service = Endpoint::parse("endpoint", &config.endpoint, config)?;
    let public = match &config.public_endpoint {
        Some(text) => Endpoint::parse("public_endpoint", text, config)?,
        None => service.clone(),
    };
    Ok(Endpoints { service, public })
}

/// The certificates of the private authority. The HTTP client panics on what is none, so they
/// are read here first.
pub(crate) fn check_ca(pem: &[u8]) -> Result<(), S3ConfigError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|_| S3ConfigError::Ca)?;
    let mut roots = rustls::RootCertStore::empty();
    let (added, refused) = roots.add_parsable_certificates(certificates);
    if added > 0 && refused == 0 {
        Ok(())
    } else {
        Err(S3ConfigError::Ca)
    }
}

/// Whether a bucket's name can stand before a host under one certificate: no dots.
fn is_dns_label(bucket: &str) -> bool {
    (3..=63).contains(&bucket.len())
        && bucket
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !bucket.starts_with('-')
        && !bucket.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(endpoint: &str) -> S3Config {
        S3Config::new(
            endpoint,
            "r",
            "a-bucket",
            "key",
            Secret::new("hidden-value"),
        )
    }

    #[test]
    fn endpoints_are_checked() {
        for bad in [
            "",
            "s3.example.com",
            "ftp://s3.example.com",
            "https://s3.example.com/bucket",
            "https://s3.example.com?x=1",
            "https://user@s3.example.com",
        ] {
            let error = check(&config(bad)).err();
            assert_eq!(
                error,
                Some(S3ConfigError::Endpoint { field: "endpoint" }),
                "{bad}"
            );
        }
        let good = check(&config("http://127.0.0.1:9000/")).map(|e| e.service.url());
        assert_eq!(good.as_deref(), Ok("http://127.0.0.1:9000"));
    }

    #[test]
    fn the_bucket_goes_into_the_path_where_it_must() {
        let path_style = |endpoint: &str, bucket: &str| {
            let config = S3Config {
                path_style: false,
                bucket: bucket.to_owned(),
                ..config(endpoint)
            };
            check(&config).unwrap().service.path_style
        };
        assert!(!path_style("https://s3.example.com", "a-bucket"));
        assert!(path_style("https://s3.example.com", "a.bucket"));
        assert!(path_style("https://s3.example.com", "A_bucket"));
        assert!(path_style("http://127.0.0.1:9000", "a-bucket"));
        assert!(path_style("http://[::1]:9000", "a-bucket"));
    }

    #[test]
    fn quotes_and_spaces_are_found_and_secrets_stay_hidden() {
        let mut config = config("https://s3.example.com");
        config.application_key = Secret::new("\"hidden-value\"");
        let error = check(&config).err().unwrap();
        assert_eq!(
            error,
            S3ConfigError::Text {
                field: "application_key"
            }
        );
        assert!(!format!("{error} {error:?} {config:?}").contains("hidden-value"));
    }

    #[test]
    fn bounds_are_checked() {
        for (part_bytes, concurrent_parts, attempts) in [
            (0, 1, 1),
            (MAX_PART_BYTES + 1, 1, 1),
            (1, 0, 1),
            (1, 65, 1),
            (1, 1, 0),
        ] {
            let mut config = config("https://s3.example.com");
            config.part_bytes = part_bytes;
            config.concurrent_parts = concurrent_parts;
            config.retries.attempts = attempts;
            let error = check(&config).err();
            assert!(
                matches!(error, Some(S3ConfigError::Bounds { .. })),
                "{error:?}"
            );
        }
    }

    #[test]
    fn what_is_no_certificate_is_refused() {
        let not_der = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for pem in [&b""[..], b"no pem", not_der] {
            assert_eq!(check_ca(pem), Err(S3ConfigError::Ca));
        }
    }
}
