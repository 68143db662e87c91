//! Clients for the tests.

use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Config, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use chaos_s3::{AccessKey, ChaosS3, Options};

pub(crate) async fn start(options: Options) -> (ChaosS3, Client) {
    let server = ChaosS3::start(options).await.unwrap();
    let client = client(&server);
    (server, client)
}

/// A client with the key that may do everything.
pub(crate) fn client(server: &ChaosS3) -> Client {
    client_with(
        server,
        server.key_id(),
        server.application_key(),
        server.region(),
    )
}

pub(crate) fn client_of(server: &ChaosS3, key: &AccessKey) -> Client {
    client_with(server, &key.key_id, &key.application_key, server.region())
}

pub(crate) fn client_with(server: &ChaosS3, key_id: &str, key: &str, region: &str) -> Client {
    Client::from_conf(config(server, key_id, key, region).build())
}

/// Without retries, so that each test sees every single answer.
pub(crate) fn config(
    server: &ChaosS3,
    key_id: &str,
    key: &str,
    region: &str,
) -> aws_sdk_s3::config::Builder {
    let http = match server.ca_pem() {
        None => aws_smithy_http_client::Builder::new().build_http(),
        Some(pem) => {
            let trust = TrustStore::empty().with_pem_certificate(pem.as_bytes());
            let context = TlsContext::builder().with_trust_store(trust).build();
            aws_smithy_http_client::Builder::new()
                .tls_provider(Provider::Rustls(CryptoMode::Ring))
                .tls_context(context.unwrap())
                .build_https()
        }
    };
    Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .endpoint_url(server.endpoint())
        .region(Region::new(region.to_owned()))
        .credentials_provider(Credentials::from_keys(key_id, key, None))
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
}

pub(crate) async fn put(server: &ChaosS3, client: &Client, key: &str, bytes: &[u8]) {
    let body = ByteStream::from(bytes.to_vec());
    let request = client.put_object().bucket(server.bucket()).key(key);
    request.body(body).send().await.unwrap();
}

pub(crate) async fn get(server: &ChaosS3, client: &Client, key: &str) -> Vec<u8> {
    let request = client.get_object().bucket(server.bucket()).key(key);
    let answer = request.send().await.unwrap();
    answer.body.collect().await.unwrap().to_vec()
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 31 % 251) as u8).collect()
}

/// The status and the S3 code of a refusal.
pub(crate) fn refusal<T: Debug, E: ProvideErrorMetadata + Debug>(
    result: Result<T, SdkError<E, HttpResponse>>,
) -> (u16, String) {
    let error = result.unwrap_err();
    let code = error.code().unwrap_or_default().to_owned();
    (error.raw_response().unwrap().status().as_u16(), code)
}

pub(crate) fn message<T: Debug, E: ProvideErrorMetadata + Debug>(
    result: Result<T, SdkError<E, HttpResponse>>,
) -> String {
    result.unwrap_err().message().unwrap_or_default().to_owned()
}

/// Whether there was no answer at all.
pub(crate) fn is_unanswered<T: Debug, E: Debug>(
    result: &Result<T, SdkError<E, HttpResponse>>,
) -> bool {
    matches!(
        result,
        Err(SdkError::DispatchFailure(_) | SdkError::ResponseError(_) | SdkError::TimeoutError(_))
    )
}

pub(crate) fn for_seconds(seconds: u64) -> PresigningConfig {
    PresigningConfig::expires_in(Duration::from_secs(seconds)).unwrap()
}

/// A presigned URL for a GET.
pub(crate) async fn signed_get(server: &ChaosS3, client: &Client, key: &str) -> String {
    let request = client.get_object().bucket(server.bucket()).key(key);
    let signed = request.presigned(for_seconds(300)).await.unwrap();
    signed.uri().to_owned()
}

/// A plain HTTP client.
pub(crate) fn http() -> reqwest::Client {
    // Only the first of the tests in this process can install it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

/// A request of one's own making, signed in its headers.
pub(crate) struct Raw<'a> {
    pub(crate) method: &'a str,
    /// Behind the bucket's name, with its query.
    pub(crate) path: &'a str,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) body: &'static str,
    /// What is sent instead of the body that was signed.
    pub(crate) other_body: Option<&'static str>,
    /// The client's clock minus the true time.
    pub(crate) clock_off_s: i64,
}

impl<'a> Raw<'a> {
    pub(crate) fn new(method: &'a str, path: &'a str) -> Self {
        Self {
            method,
            path,
            headers: Vec::new(),
            body: "",
            other_body: None,
            clock_off_s: 0,
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the server checks the true time")]
    pub(crate) async fn send(self, server: &ChaosS3) -> reqwest::Response {
        let url = format!("{}/{}{}", server.endpoint(), server.bucket(), self.path);
        let off = Duration::from_secs(self.clock_off_s.unsigned_abs());
        let time = match self.clock_off_s {
            0.. => SystemTime::now() + off,
            _ => SystemTime::now() - off,
        };
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let credentials = Credentials::from_keys(server.key_id(), server.application_key(), None);
        let identity = credentials.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(server.region())
            .name("s3")
            .time(time)
            .settings(settings)
            .build()
            .unwrap();
        let body = SignableBody::Bytes(self.body.as_bytes());
        let headers = self.headers.iter().copied();
        let signable = SignableRequest::new(self.method, &url, headers, body).unwrap();
        let (signed, _) = sign(signable, &params.into()).unwrap().into_parts();
        let method = self.method.parse().unwrap();
        let mut request = http()
            .request(method, &url)
            .body(self.other_body.unwrap_or(self.body));
        for (name, value) in self.headers.iter().copied().chain(signed.headers()) {
            request = request.header(name, value);
        }
        request.send().await.unwrap()
    }
}
