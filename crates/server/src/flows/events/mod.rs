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

/// How much of what went wrong is kept, in characters.
const MAX_ERROR: usize = 300;

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// To be noted with the delivery.
    Noted {
        /// What came of it.
        attempt: Attempt,
        /// Whether the endpoint is well, so that others may follow at once. It is when it took the
        /// event, and also when it refused this one: that is about the event.
        is_well: bool,
    },
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
        .send(&endpoint.url.0, headers, delivery.body.clone())
        .await
}

/// The secrets that count now, newest first.
fn secrets(endpoint: &EndpointRow, now: Timestamp) -> impl Iterator<Item = &EndpointSecret> {
    let old = endpoint.old_secrets.iter();
    let counting = old.filter(move |(_, until)| now < *until);
    std::iter::once(&endpoint.secret).chain(counting.map(|(old, _)| old))
}

/// What only a damaged row can cause.
fn damaged(error: impl std::fmt::Display) -> SendError {
    SendError::Failed(format!("the endpoint's record is damaged: {error}"))
}

fn outcome(answer: Result<Answer, SendError>, wait: Option<Duration>, now: Timestamp) -> Outcome {
    let (status, error, least_wait) = match answer {
        Ok(Answer { status, .. }) if status.is_success() => {
            let status = status.as_u16();
            return Outcome::Noted {
                attempt: Attempt::Delivered { status },
                is_well: true,
            };
        }
        Ok(Answer { status, .. }) if status == StatusCode::GONE => return Outcome::Gone,
        Ok(Answer {
            status,
            retry_after,
        }) => {
            let hint = match status.is_redirection() {
                true => "; redirects are not followed: give the endpoint the URL that it leads to",
                false => "",
            };
            let error = format!("it answered {}{hint}", status.as_u16());
            (Some(status), error, retry_after.unwrap_or_default())
        }
        Err(error) => (None, fit(&error.to_string()), Duration::ZERO),
    };
    let is_well = status.is_some_and(is_about_the_event);
    let status = status.map(|status| status.as_u16());
    let attempt = match wait {
        Some(wait) => Attempt::Again {
            status,
            error,
            next_attempt_at: now.after(wait.max(least_wait.min(LONGEST_RETRY_AFTER))),
        },
        None => Attempt::Failed { status, error },
    };
    Outcome::Noted { attempt, is_well }
}

/// Whether an answer says that the endpoint does not like this event, and nothing of the others.
fn is_about_the_event(status: StatusCode) -> bool {
    let is_about_the_moment = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
    status.is_client_error() && !is_about_the_moment.contains(&status)
}

/// A text that may have come from a stranger's server, as it is kept: bounded, and on one line.
fn fit(text: &str) -> String {
    let is_plain = |c: &char| !c.is_control();
    text.chars().filter(is_plain).take(MAX_ERROR).collect()
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
            let attempt = Attempt::Delivered { status };
            assert_eq!(
                outcome,
                Outcome::Noted {
                    attempt,
                    is_well: true
                }
            );
        }
        assert_eq!(outcome(answered(410, None), minute, at(0)), Outcome::Gone);
        for (status, well) in [
            (301, false),
            (307, false),
            (400, true),
            (401, true),
            (404, true),
            (408, false),
            (409, true),
            (422, true),
            (429, false),
            (500, false),
            (503, false),
        ] {
            let outcome = outcome(answered(status, None), minute, at(0));
            assert!(
                matches!(&outcome, Outcome::Noted {
                    attempt: Attempt::Again { status: Some(told), next_attempt_at, .. },
                    is_well,
                } if *told == status && *next_attempt_at == at(60_000) && *is_well == well),
                "{outcome:?}"
            );
        }
        let last = outcome(Err(SendError::Refused), None, at(0));
        assert!(matches!(
            last,
            Outcome::Noted {
                attempt: Attempt::Failed { status: None, .. },
                is_well: false
            }
        ));
    }

    #[test]
    fn what_a_stranger_says_is_bounded_and_on_one_line() {
        let error = format!("not valid for\0\n\u{1b}[2J{}", "x".repeat(10_000));
        let last = outcome(Err(SendError::Failed(error)), None, at(0));
        let Outcome::Noted {
            attempt: Attempt::Failed { error, .. },
            ..
        } = last
        else {
            panic!("{last:?}");
        };
        assert!(error.starts_with("not valid for[2Jx"), "{error}");
        assert_eq!(error.chars().count(), MAX_ERROR);
    }

    #[test]
    fn an_endpoint_is_left_alone_as_long_as_it_asks_up_to_a_day() {
        let minute = Some(Duration::from_secs(60));
        for (asked_s, waits_s) in [(1, 60), (600, 600), (u64::MAX, 86_400)] {
            let outcome = outcome(answered(503, Some(asked_s)), minute, at(0));
            assert!(
                matches!(outcome, Outcome::Noted {
                    attempt: Attempt::Again { next_attempt_at, .. }, ..
                } if next_attempt_at == at(waits_s * 1_000)),
                "{outcome:?}"
            );
        }
    }
}
