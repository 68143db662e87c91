//! The bucket, link by link: address, name, port, TLS, clock, key, and what the key may do.

use std::sync::Arc;
use std::time::Duration;

use stockroom_storage::{
    Error, ErrorKind, NoObserver, S3Config, S3ConfigError, S3Retries, S3Store, S3Timeouts,
};

use super::finding::{Finding, Severity, clause};
use super::network::{self, STEP_TIMEOUT, Server};
use super::{Surroundings, address, capabilities, clock, tls};
use crate::config::S3Settings;

/// Follows the chain as far as it holds. The store, if its bucket can be listed.
pub(super) async fn examine(
    settings: &S3Settings,
    surroundings: &Surroundings<'_>,
    findings: &mut Vec<Finding>,
) -> Option<Arc<S3Store>> {
    match follow(settings, surroundings, findings).await {
        Ok(store) => {
            capabilities::examine(&store, surroundings, findings).await;
            Some(Arc::new(store))
        }
        Err(broken) => {
            // The Date header may have shown it already.
            let is_known = findings
                .iter()
                .any(|known| known.id == broken.id && known.severity == Severity::Error);
            if !is_known {
                findings.push(broken);
            }
            None
        }
    }
}

async fn follow(
    settings: &S3Settings,
    surroundings: &Surroundings<'_>,
    findings: &mut Vec<Finding>,
) -> Result<S3Store, Finding> {
    address::examine(settings, findings)?;
    let server = Server::of(settings);
    let addresses = network::resolve(&server).await?;
    findings.push(Finding::ok(
        "s3.name",
        format!("The name {} resolves.", server.host),
    ));
    let stream = network::connect(&server, &addresses).await?;
    findings.push(Finding::ok(
        "s3.port",
        format!("Port {} takes connections.", server.port),
    ));
    let trust = tls::client(settings)?;
    if settings.endpoint.is_https() {
        tls::handshake(&trust, &server, stream).await?;
        findings.push(Finding::ok("s3.tls", "The certificate is trusted."));
    }
    findings.push(clock::examine(settings, trust, &**surroundings.clock).await?);
    let store = connect(settings, surroundings)?;
    store
        .probe_list()
        .await
        .map_err(|error| refusal(settings, &error))?;
    findings.push(Finding::ok(
        "s3.bucket",
        format!("The bucket {} is there, and the key fits.", store.bucket()),
    ));
    Ok(store)
}

/// The store as the server uses it, but for its patience.
fn connect(settings: &S3Settings, surroundings: &Surroundings<'_>) -> Result<S3Store, Finding> {
    let config = S3Config {
        retries: S3Retries {
            attempts: 1,
            ..S3Retries::default()
        },
        timeouts: S3Timeouts {
            connect: STEP_TIMEOUT,
            answer: Duration::from_secs(10),
            read_idle: Duration::from_secs(10),
            ..S3Timeouts::default()
        },
        ..settings.store_config()
    };
    let (clock, entropy) = (surroundings.clock, surroundings.entropy);
    S3Store::connect_with(
        &config,
        Arc::clone(clock),
        Arc::clone(entropy),
        Arc::new(NoObserver),
    )
    .map_err(|error| match error {
        S3ConfigError::NoRoots => tls::no_roots(),
        S3ConfigError::Text { .. } => Finding::error(
            "s3.value-quoted",
            format!("In the settings of the bucket, {error}."),
            "Write the value without quotes or spaces around it.",
        ),
        other => Finding::error(
            "s3.settings",
            format!("The settings of the bucket cannot work: {other}."),
            "Correct the setting that begins with S3_ and has this name.",
        ),
    })
}

/// Why the bucket cannot be listed.
pub(crate) fn refusal(settings: &S3Settings, error: &Error) -> Finding {
    let bucket = &settings.bucket;
    match meant(error.code(), error.detail()) {
        Some("InvalidAccessKeyId") => Finding::error(
            "s3.key-unknown",
            "The server knows no key with the id in S3_KEY_ID.",
            "Copy the keyID again, from the provider that S3_ENDPOINT names. Backblaze's master \
             key does not work over S3: make an application key.",
        ),
        Some("SignatureDoesNotMatch") => Finding::error(
            "s3.secret-wrong",
            "S3_APPLICATION_KEY is not the secret of the key in S3_KEY_ID.",
            "Copy the applicationKey again. It is shown only once: if it is lost, make a new key.",
        ),
        Some("RequestTimeTooSkewed") => clock::refused(),
        Some("AuthorizationHeaderMalformed" | "PermanentRedirect" | "TemporaryRedirect") => {
            wrong_region(settings, error.detail())
        }
        Some("NoSuchBucket") => Finding::error(
            "s3.no-such-bucket",
            format!("There is no bucket {bucket:?}."),
            "Correct S3_BUCKET, or make the bucket.",
        ),
        _ if error.kind() == ErrorKind::Denied => capabilities::cannot_list(bucket, error),
        _ => unexpected("list the bucket", error),
    }
}

/// The code that is meant. Garage says AccessDenied of every refusal and tells the reason in the
/// message only, as seen on version 2.5.
fn meant<'a>(code: Option<&'a str>, detail: &str) -> Option<&'a str> {
    match code {
        Some("AccessDenied") if detail.contains("Invalid signature") => {
            Some("SignatureDoesNotMatch")
        }
        Some("AccessDenied") if detail.contains("No such key") => Some("InvalidAccessKeyId"),
        other => other,
    }
}

fn wrong_region(settings: &S3Settings, detail: &str) -> Finding {
    let fix = match expected_region(detail) {
        Some(region) => format!("Set S3_REGION to {region}."),
        None => "Set S3_REGION to the region of the bucket, and S3_ENDPOINT to the server of \
                 that region."
            .to_owned(),
    };
    Finding::error(
        "s3.region-wrong",
        format!("The bucket is not in the region {}.", settings.region),
        fix,
    )
}

/// The region that a refusal names: `...; the region 'a' is wrong; expecting 'b'`.
fn expected_region(detail: &str) -> Option<&str> {
    let (_, after) = detail.split_once("expecting '")?;
    let (region, _) = after.split_once('\'')?;
    Some(region).filter(|region| !region.is_empty())
}

/// A failure without a finding of its own. `what` completes "tried to ...".
pub(super) fn unexpected(what: &str, error: &Error) -> Finding {
    let detail = clause(error.detail());
    match error.kind() {
        ErrorKind::Unavailable => Finding::error(
            "s3.unavailable",
            format!("Doctor tried to {what}, and the server cannot do it now: {detail}."),
            "Try again in some minutes; if it stays so, look at the provider's status page.",
        ),
        ErrorKind::Full => Finding::error(
            "s3.full",
            format!("Doctor tried to {what}, and there is no room left: {detail}."),
            "Raise the limit of the account, or free some room.",
        ),
        _ => Finding::error(
            "s3.refused",
            format!("Doctor tried to {what}, and the server refused: {detail}."),
            "Check that S3_ENDPOINT is an S3 server; its own log tells more.",
        ),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::{Config, Environment};

    /// The settings of a bucket; `vars` must hold its endpoint.
    pub(crate) fn settings(vars: &[(&str, &str)]) -> S3Settings {
        let others = [
            ("S3_REGION", "us-west-004"),
            ("S3_BUCKET", "a-shop"),
            ("S3_KEY_ID", "id"),
            ("S3_APPLICATION_KEY", "key"),
        ];
        let vars = others.iter().chain(vars);
        let environment = Environment {
            vars: vars
                .map(|(name, value)| ((*name).to_owned(), value.into()))
                .collect(),
            working_dir: "/nowhere".into(),
            ..Environment::default()
        };
        let config = Config::load(&environment).expect("settings").config;
        config.storage.s3.expect("a bucket")
    }

    #[test]
    fn what_garage_tells_in_the_message_only_is_understood() {
        let denied = Some("AccessDenied");
        let cases = [
            (
                "403 AccessDenied: Forbidden: Invalid signature",
                Some("SignatureDoesNotMatch"),
            ),
            (
                "403 AccessDenied: Forbidden: No such key: GK1",
                Some("InvalidAccessKeyId"),
            ),
            ("403 AccessDenied: not entitled", denied),
        ];
        for (detail, code) in cases {
            assert_eq!(meant(denied, detail), code, "{detail}");
        }
        assert_eq!(
            meant(Some("NoSuchBucket"), "Invalid signature"),
            Some("NoSuchBucket")
        );
    }

    #[test]
    fn the_expected_region_is_read_off_the_refusal() {
        let detail = "400 AuthorizationHeaderMalformed: the region 'a' is wrong; expecting 'b-1'";
        assert_eq!(expected_region(detail), Some("b-1"));
        assert_eq!(expected_region("301 PermanentRedirect"), None);
        assert_eq!(expected_region("expecting ''"), None);
    }
}
