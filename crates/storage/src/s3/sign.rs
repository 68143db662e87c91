//! Signed URLs, by Signature Version 4 in the query.
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html>.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use stockroom_domain::{Key, Timestamp};

use super::Inner;
use super::config::{Endpoint, S3Config};
use crate::{
    Error, ErrorKind, MAX_EXPIRES_IN, Operation, Result, SignMethod, SignRequest, SignedUrl,
};

/// What is encoded in a query: all but the unreserved characters of RFC 3986, section 2.3.
const IN_QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What is encoded in a path: the same, but for the slashes between segments.
const IN_PATH: &AsciiSet = &IN_QUERY.remove(b'/');

/// Signs URLs for one bucket.
pub(super) struct Signer {
    identity: Identity,
    region: String,
    /// The URL of the bucket, with a slash at its end.
    base_url: String,
    authority: String,
}

impl Signer {
    /// URLs for the bucket at this endpoint.
    pub(super) fn new(config: &S3Config, endpoint: Endpoint) -> Self {
        let bucket = utf8_percent_encode(&config.bucket, IN_QUERY);
        let Endpoint {
            scheme,
            authority,
            path_style,
        } = endpoint;
        let (authority, base_url) = if path_style {
            let base_url = format!("{scheme}://{authority}/{bucket}/");
            (authority, base_url)
        } else {
            let authority = format!("{bucket}.{authority}");
            let base_url = format!("{scheme}://{authority}/");
            (authority, base_url)
        };
        let secret = config.application_key.expose();
        Self {
            identity: Credentials::new(&config.key_id, secret, None, None, "stockroom").into(),
            region: config.region.clone(),
            base_url,
            authority,
        }
    }

    fn url_of(&self, key: &Key, request: &SignRequest) -> String {
        let path = utf8_percent_encode(key.as_str(), IN_PATH);
        let mut url = format!("{}{path}", self.base_url);
        // Only the answer to a read can be told how to look.
        if request.method == SignMethod::Put {
            return url;
        }
        let disposition = request.disposition.header_value(key.file_name());
        let disposition = utf8_percent_encode(&disposition, IN_QUERY);
        // Writing to a String cannot fail.
        let _ = write!(url, "?response-content-disposition={disposition}");
        if let Some(content_type) = &request.content_type {
            let content_type = utf8_percent_encode(content_type, IN_QUERY);
            let _ = write!(url, "&response-content-type={content_type}");
        }
        url
    }

    /// Adds the signature to a URL.
    fn signed(
        &self,
        method: SignMethod,
        mut url: String,
        expires_in: Duration,
        now: Timestamp,
    ) -> Result<String, Box<dyn std::error::Error + Send + Sync>> {
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(expires_in);
        // S3 takes the path as it stands in the URL.
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        let params = v4::SigningParams::builder()
            .identity(&self.identity)
            .region(&self.region)
            .name("s3")
            .time(system_time(now))
            .settings(settings)
            .build()?
            .into();
        let headers = std::iter::once(("host", self.authority.as_str()));
        let signable = SignableRequest::new(
            method.as_str(),
            &url,
            headers,
            SignableBody::UnsignedPayload,
        )?;
        let (instructions, _) = sign(signable, &params)?.into_parts();
        for (name, value) in instructions.params() {
            let separator = if url.contains('?') { '&' } else { '?' };
            let value = utf8_percent_encode(value, IN_QUERY);
            let _ = write!(url, "{separator}{name}={value}");
        }
        Ok(url)
    }
}

impl Inner {
    /// A URL with which anybody can do one thing with one object. Sends nothing.
    pub(super) fn signed_url(&self, key: &Key, request: &SignRequest) -> Result<SignedUrl> {
        let error = |what: &'static str| {
            Error::new(&self.name, Operation::Sign, ErrorKind::Invalid, what).about(key)
        };
        let expires_in = Duration::from_secs(request.expires_in.as_secs());
        if expires_in.is_zero() || request.expires_in > MAX_EXPIRES_IN {
            return Err(error("a signed URL lives for 1 second to 7 days"));
        }
        let now = self.clock.now();
        let url = self.signer.url_of(key, request);
        let url = self
            .signer
            .signed(request.method, url, expires_in, now)
            .map_err(|source| error("the URL cannot be signed").caused_by(source))?;
        // The signature carries whole seconds, so it ends with the second it began in.
        let signed_at = Timestamp::from_unix_ms(now.unix_seconds() * 1_000);
        Ok(SignedUrl {
            url,
            expires_at: signed_at.after(expires_in),
        })
    }
}

fn system_time(time: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(time.unix_ms()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Secret;

    /// The example of the documentation named at the top of this file.
    fn example() -> S3Config {
        let secret = Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        S3Config {
            path_style: false,
            ..S3Config::new(
                "https://s3.amazonaws.com",
                "us-east-1",
                "examplebucket",
                "AKIAIOSFODNN7EXAMPLE",
                secret,
            )
        }
    }

    fn signer(config: &S3Config) -> Signer {
        let endpoints = super::super::config::check(config).unwrap();
        Signer::new(config, endpoints.public)
    }

    #[test]
    fn the_vector_of_the_documentation() {
        let signer = signer(&example());
        let url = format!("{}test.txt", signer.base_url);
        let now = "2013-05-24T00:00:00Z".parse().unwrap();
        let url = signer
            .signed(SignMethod::Get, url, Duration::from_secs(86_400), now)
            .unwrap();
        let expected = "https://examplebucket.s3.amazonaws.com/test.txt\
             ?X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
             &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
             &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        assert_eq!(url, expected);
    }

    #[test]
    fn the_public_endpoint_and_both_styles() {
        let mut config = example();
        let key = Key::new(stockroom_domain::Category::Models, "a b/é+.stl").unwrap();
        let request = SignRequest {
            method: SignMethod::Put,
            ..SignRequest::get(Duration::from_secs(60))
        };
        config.public_endpoint = Some("https://files.example.com:8443".to_owned());
        assert_eq!(
            signer(&config).url_of(&key, &request),
            "https://examplebucket.files.example.com:8443/models/a%20b/%C3%A9%2B.stl"
        );
        config.path_style = true;
        assert_eq!(
            signer(&config).url_of(&key, &request),
            "https://files.example.com:8443/examplebucket/models/a%20b/%C3%A9%2B.stl"
        );
    }
}
