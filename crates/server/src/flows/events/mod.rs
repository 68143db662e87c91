//! What other programs are told: events on their way to endpoints, signed after the Standard Webhooks
//! specification.
//!
//! The catalog records an event in the transaction of the change that it tells of. A worker
//! (`workers/outbox.rs`) takes what is due and has it sent by [`attempt`]; where it may go is the
//! business of [`target`].

pub mod send;
pub mod target;

use std::time::Duration;

use http::StatusCode;
use stockroom_catalog::{Attempt, ClaimedDelivery, EndpointRow, EndpointSecret};
use stockroom_domain::{Entropy, Timestamp};

use crate::app::App;
use crate::flows::signatures::standard::{self, SigningSecret};
use send::{Answer, SendError};

/// How long to wait after each attempt that failed: ten attempts in a little more than three days.
/// Source: the example of the Standard Webhooks specification, "Retry schedule".
const WAITS: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3_600),
    Duration::from_secs(5 * 3_600),
    Duration::from_secs(10 * 3_600),
    Duration::from_secs(14 * 3_600),
    Duration::from_secs(20 * 3_600),
    Duration::from_secs(24 * 3_600),
];

/// The longest time that an endpoint may ask to be left alone.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3_600);

/// How long what was delivered or given up can be looked at and sent again.
pub const KEPT_FOR: Duration = Duration::from_secs(30 * 86_400);

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// To be noted with the delivery.
    Noted(Attempt),
    /// The endpoint does not want events any more.
    Gone,
}

/// Sends an event to an endpoint, once.
pub async fn attempt(app: &App, endpoint: &EndpointRow, delivery: &ClaimedDelivery) -> Outcome {
    let answer = send(app, endpoint, delivery).await;
    let wait = next_wait(delivery.attempt, &*app.entropy);
    outcome(answer, wait, app.clock.now())
}

async fn send(
    app: &App,
    endpoint: &EndpointRow,
    delivery: &ClaimedDelivery,
) -> Result<Answer, SendError> {
    let now = app.clock.now();
    let (id, timestamp) = (
        delivery.event_id.to_string(),
        now.unix_seconds().to_string(),
    );
    let signatures = secrets(endpoint, now)
        .map(|secret| {
            let secret = SigningSecret::parse(&secret.0).map_err(damaged)?;
            Ok(secret.sign(&id, &timestamp, delivery.body.as_bytes()))
        })
        .collect::<Result<Vec<_>, SendError>>()?;
    let headers = send::headers([
        (standard::ID, id),
        (standard::TIMESTAMP, timestamp),
        (standard::SIGNATURE, signatures.join(" ")),
    ])
    .map_err(damaged)?;
    app.event_sender
        .send(&endpoint.url, headers, delivery.body.clone())
        .await
}

/// The secrets that count now, newest first.
fn secrets(endpoint: &EndpointRow, now: Timestamp) -> impl Iterator<Item = &EndpointSecret> {
    let old = endpoint.old_secret.as_ref();
    let old = old.filter(|(_, until)| now < *until).map(|(old, _)| old);
    std::iter::once(&endpoint.secret).chain(old)
}

/// What only a damaged row can cause.
fn damaged(error: impl std::fmt::Display) -> SendError {
    SendError::Failed(format!("the endpoint's record is damaged: {error}"))
}

fn outcome(answer: Result<Answer, SendError>, wait: Option<Duration>, now: Timestamp) -> Outcome {
    let (status, error, least_wait) = match answer {
        Ok(Answer { status, .. }) if status.is_success() => {
            let status = status.as_u16();
            return Outcome::Noted(Attempt::Delivered { status });
        }
        Ok(Answer { status, .. }) if status == StatusCode::GONE => return Outcome::Gone,
        Ok(Answer {
            status,
            retry_after,
        }) => {
            let hint = match status.is_redirection() {
                true => " redirects are not followed: give the endpoint the URL that it leads to",
                false => "",
            };
            let error = format!("it answered {}{hint}", status.as_u16());
            (
                Some(status.as_u16()),
                error,
                retry_after.unwrap_or_default(),
            )
        }
        Err(error) => (None, error.to_string(), Duration::ZERO),
    };
    Outcome::Noted(match wait {
        Some(wait) => Attempt::Again {
            status,
            error,
            next_attempt_at: now.after(wait.max(least_wait.min(LONGEST_RETRY_AFTER))),
        },
        None => Attempt::Failed { status, error },
    })
}

/// How long to wait after an attempt that failed, a tenth more or less so that not all come at once;
/// none after the last.
fn next_wait(attempt: u32, entropy: &dyn Entropy) -> Option<Duration> {
    let index = usize::try_from(attempt.saturating_sub(1)).ok()?;
    let wait = WAITS.get(index)?;
    let [byte] = entropy.bytes::<1>();
    Some(wait.mul_f64(0.9 + 0.2 * f64::from(byte) / 255.0))
}

#[cfg(test)]
mod tests {
    use stockroom_domain::SeededEntropy;

    use super::*;

    fn at(unix_ms: i64) -> Timestamp {
        Timestamp::from_unix_ms(unix_ms)
    }

    fn answered(status: u16, retry_after_s: Option<u64>) -> Result<Answer, SendError> {
        Ok(Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: retry_after_s.map(Duration::from_secs),
        })
    }

    #[test]
    fn attempts_go_on_for_three_days() {
        let entropy = SeededEntropy::new(7);
        let mut total = Duration::ZERO;
        let mut attempts = 1;
        while let Some(wait) = next_wait(attempts, &entropy) {
            total += wait;
            attempts += 1;
        }
        assert_eq!(attempts, 10);
        let days = total.as_secs_f64() / 86_400.0;
        assert!((2.8..3.5).contains(&days), "{days}");
        assert!(next_wait(u32::MAX, &entropy).is_none());
    }

    #[test]
    fn only_success_is_delivery_and_410_ends_it() {
        let minute = Some(Duration::from_secs(60));
        for status in [200, 201, 202, 204, 299] {
            let outcome = outcome(answered(status, None), minute, at(0));
            assert_eq!(outcome, Outcome::Noted(Attempt::Delivered { status }));
        }
        assert_eq!(outcome(answered(410, None), minute, at(0)), Outcome::Gone);
        for status in [301, 307, 400, 401, 404, 409, 429, 500, 503] {
            let outcome = outcome(answered(status, None), minute, at(0));
            assert!(
                matches!(&outcome, Outcome::Noted(Attempt::Again { status: Some(told), next_attempt_at, .. })
                    if *told == status && *next_attempt_at == at(60_000)),
                "{outcome:?}"
            );
        }
        let last = outcome(Err(SendError::Refused), None, at(0));
        assert!(matches!(
            last,
            Outcome::Noted(Attempt::Failed { status: None, .. })
        ));
    }

    #[test]
    fn an_endpoint_is_left_alone_as_long_as_it_asks_up_to_a_day() {
        let minute = Some(Duration::from_secs(60));
        for (asked_s, waits_s) in [(1, 60), (600, 600), (u64::MAX, 86_400)] {
            let outcome = outcome(answered(503, Some(asked_s)), minute, at(0));
            assert!(
                matches!(outcome, Outcome::Noted(Attempt::Again { next_attempt_at, .. })
                    if next_attempt_at == at(waits_s * 1_000)),
                "{outcome:?}"
            );
        }
    }
}
