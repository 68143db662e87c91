//! The clock: a request that is signed with a wrong time is refused.

use std::time::{Duration, UNIX_EPOCH};

use reqwest::header::DATE;
use rustls::ClientConfig;
use stockroom_domain::{Clock, Timestamp};

use super::finding::Finding;
use super::network::STEP_TIMEOUT;
use crate::config::S3Settings;

/// S3 refuses a request whose time is further off.
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>
/// (`RequestTimeTooSkewed`).
const REFUSED_ABOVE: Duration = Duration::from_secs(15 * 60);

/// A clock that anybody sets is closer than this.
const SUSPECT_ABOVE: Duration = Duration::from_secs(60);

const SET_IT: &str = "Set the clock of this machine and keep it right with NTP \
    (timedatectl set-ntp true).";

/// Compares our clock with the server's, which the answer to any request tells. The request has
/// no signature, so no key can be in the way.
pub(crate) async fn examine(
    settings: &S3Settings,
    tls: ClientConfig,
    clock: &dyn Clock,
) -> Result<Finding, Finding> {
    // The store uses no proxy either.
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(STEP_TIMEOUT)
        .timeout(2 * STEP_TIMEOUT)
        .build()
        .map_err(silent)?;
    let url = format!("{}/", settings.endpoint);
    let answer = client.get(url).send().await.map_err(silent)?;
    let date = answer.headers().get(DATE).and_then(|date| {
        let date = httpdate::parse_http_date(date.to_str().ok()?).ok()?;
        let since_epoch = date.duration_since(UNIX_EPOCH).ok()?;
        i64::try_from(since_epoch.as_millis()).ok()
    });
    Ok(match date {
        Some(unix_ms) => compare(clock.now(), Timestamp::from_unix_ms(unix_ms)),
        None => Finding::info("s3.clock", "The server tells no time to compare ours with."),
    })
}

/// Our clock against the server's.
fn compare(ours: Timestamp, theirs: Timestamp) -> Finding {
    let (skew, direction) = if ours > theirs {
        (ours.since(theirs), "ahead of")
    } else {
        (theirs.since(ours), "behind")
    };
    let sentence = format!(
        "The clock of this machine is {} s {direction} the server's",
        skew.as_secs()
    );
    if skew > REFUSED_ABOVE {
        let sentence = format!("{sentence}; above 15 minutes every request is refused.");
        Finding::error("s3.clock-skew", sentence, SET_IT)
    } else if skew > SUSPECT_ABOVE {
        let sentence = format!("{sentence}; above 15 minutes every request would be refused.");
        Finding::warning("s3.clock-skew", sentence, SET_IT)
    } else {
        Finding::ok("s3.clock", "The clock agrees with the server's.")
    }
}

/// The server refused a signed request for its time.
pub(super) fn refused() -> Finding {
    Finding::error(
        "s3.clock-skew",
        "The clock of this machine is more than 15 minutes off, and the server refuses requests.",
        SET_IT,
    )
}

fn silent(error: reqwest::Error) -> Finding {
    let error = error.without_url();
    Finding::error(
        "s3.no-http",
        format!("The server of S3_ENDPOINT takes connections but does not answer HTTP: {error}."),
        "Correct the port and the scheme (http or https) in S3_ENDPOINT.",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    #[test]
    fn a_minute_is_suspect_and_a_quarter_of_an_hour_is_wrong() {
        let ours = Timestamp::from_unix_ms(1_800_000_000_000);
        for (seconds, severity) in [
            (0, Severity::Ok),
            (60, Severity::Ok),
            (61, Severity::Warning),
            (900, Severity::Warning),
            (901, Severity::Error),
        ] {
            let skew = Duration::from_secs(seconds);
            for theirs in [ours.after(skew), ours.before(skew)] {
                assert_eq!(compare(ours, theirs).severity, severity, "{seconds}");
            }
        }
        let behind = compare(ours, ours.after(Duration::from_secs(120)));
        assert!(behind.sentence.contains("120 s behind"), "{behind:?}");
    }
}
