//! The SDK's client: one behaviour, no hidden retries, no hidden time-outs.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_runtime::auth::PayloadSigningOverride;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeSerializationInterceptorContextMut,
};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, ConfigBag, IdentityCache, Intercept, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, RuntimeComponents, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::BoxError;
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::TimeSource;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::connection::CaptureSmithyConnection;
use aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint;
use stockroom_domain::{Clock, Sha256Digest};

use super::config::{self, Endpoint, S3Config, S3ConfigError};

/// How long a connection that is not used stays open. Servers close theirs after a minute or
/// more; ours goes first, so that no request meets a connection that is just being closed.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// Builds the client. Sends nothing.
pub(super) fn build(
    config: &S3Config,
    endpoint: &Endpoint,
    clock: Arc<dyn Clock>,
) -> Result<Client, S3ConfigError> {
    let tls = TlsContext::builder()
        .with_trust_store(trust_store(config, endpoint)?)
        .build()
        .map_err(|_| S3ConfigError::Ca)?;
    // TCP_NODELAY is on by default in this client.
    let http_client = aws_smithy_http_client::Builder::new()
        .pool_idle_timeout(POOL_IDLE)
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(tls)
        .build_https();
    let credentials = Credentials::new(
        &config.key_id,
        config.application_key.expose(),
        None,
        None,
        "stockroom",
    );
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(config.timeouts.connect)
        .build();
    let sdk_config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(endpoint.url())
        .force_path_style(endpoint.path_style)
        .region(Region::new(config.region.clone()))
        .credentials_provider(credentials)
        .identity_cache(IdentityCache::no_cache())
        .http_client(http_client)
        .sleep_impl(TokioSleep::new())
        .time_source(ClockSource(clock))
        .disable_clock_skew_correction(true)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        // It would cut slow uploads; the store has its own time-outs.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // Backblaze refuses the checksum headers that the SDK sends otherwise.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .interceptor(FreshConnections)
        .build();
    Ok(Client::from_conf(sdk_config))
}

/// The system's certificate authorities and the private one. Over plain http none is read.
fn trust_store(config: &S3Config, endpoint: &Endpoint) -> Result<TrustStore, S3ConfigError> {
    if let Some(pem) = &config.ca_pem {
        config::check_ca(pem)?;
    }
    if !endpoint.is_https() {
        return Ok(TrustStore::empty());
    }
    let has_native = !rustls_native_certs::load_native_certs().certs.is_empty();
    let store = TrustStore::empty().with_native_roots(has_native);
    match &config.ca_pem {
        Some(pem) => Ok(store.with_pem_certificate(pem.clone())),
        None if has_native => Ok(store),
        None => Err(S3ConfigError::NoRoots),
    }
}

/// Requests are signed with the time of this clock.
struct ClockSource(Arc<dyn Clock>);

impl TimeSource for ClockSource {
    fn now(&self) -> SystemTime {
        let unix_ms = u64::try_from(self.0.now().unix_ms()).unwrap_or(0);
        UNIX_EPOCH + Duration::from_millis(unix_ms)
    }
}

impl fmt::Debug for ClockSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Closes a connection after an answer that says "not here, not now", so that the next attempt
/// goes over a new one and can reach another machine. Backblaze asks for this.
/// Source: <https://www.backblaze.com/docs/cloud-storage-integration-checklist>.
#[derive(Debug)]
struct FreshConnections;

#[dyn_dispatch_hint]
impl Intercept for FreshConnections {
    fn name(&self) -> &'static str {
        "FreshConnections"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let status = context.response().status().as_u16();
        if status == 429 || status >= 500 {
            let captured = cfg.load::<CaptureSmithyConnection>();
            if let Some(connection) = captured.and_then(CaptureSmithyConnection::get) {
                connection.poison();
            }
        }
        Ok(())
    }
}

/// The SHA-256 of the body of one request, which its signature covers and the store compares.
#[derive(Debug)]
pub(super) struct PayloadHash(pub(super) Sha256Digest);

#[dyn_dispatch_hint]
impl Intercept for PayloadHash {
    fn name(&self) -> &'static str {
        "PayloadHash"
    }

    fn modify_before_serialization(
        &self,
        _: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let sha256 = self.0.to_string();
        cfg.interceptor_state()
            .store_put(PayloadSigningOverride::Precomputed(sha256));
        Ok(())
    }
}
