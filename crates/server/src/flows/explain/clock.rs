//! The last link: does the clock agree with the bucket's, and with the times of the purchase?

use std::time::Duration;

use stockroom_catalog::PurchaseRow;
use stockroom_domain::Timestamp;

use super::Surroundings;
use super::chain::Outcome;
use crate::doctor::Severity;
use crate::doctor::clock;
use crate::doctor::finding::Finding;

/// Two machines of a shop whose clocks are set agree this well.
const AGREE_WITHIN: Duration = Duration::from_secs(60);

/// Compares the clocks. `is_whole` says whether all links before hold: a bucket that refuses
/// requests for their time then keeps the buyer from nothing.
pub(super) async fn examine(
    surroundings: &Surroundings<'_>,
    purchase: &PurchaseRow,
    is_whole: bool,
) -> Outcome {
    let app = surroundings.app;
    let bucket = match surroundings.ways.first() {
        Some(way) => Some(match way.trust() {
            Ok(trust) => clock::examine(way.settings(), trust.clone(), &*app.clock).await,
            Err(finding) => Err(finding.clone()),
        }),
        None => None,
    };
    let odd = odd_times(purchase, app.clock.now());
    match (bucket, odd) {
        (Some(Ok(found)), odd) if found.severity >= Severity::Warning => {
            let outcome = of_finding(found, is_whole);
            let detail = [Some(outcome.detail), odd].into_iter().flatten();
            Outcome {
                detail: detail.collect::<Vec<_>>().join(" "),
                ..outcome
            }
        }
        (_, Some(odd)) => Outcome::warning(
            odd,
            "Correct the times that the shop sends, or set the clocks of both machines.",
        ),
        (Some(Err(_)), None) => Outcome::warning(
            "The bucket does not answer, so its clock cannot be compared with ours.",
            "stockroom doctor finds why the bucket does not answer.",
        ),
        (Some(Ok(found)), None) => Outcome::ok(found.sentence),
        (None, None) => Outcome::ok("The times of the purchase fit this machine's clock."),
    }
}

fn of_finding(found: Finding, is_whole: bool) -> Outcome {
    let fix = found.fix.unwrap_or_default();
    if found.severity == Severity::Error && !is_whole {
        Outcome::broken(found.sentence, fix)
    } else {
        Outcome::warning(found.sentence, fix)
    }
}

/// What is odd about the times of a purchase.
fn odd_times(purchase: &PurchaseRow, now: Timestamp) -> Option<String> {
    let bought_at = purchase.purchased_at;
    let ahead = bought_at.since(now);
    if ahead > AGREE_WITHIN {
        return Some(format!(
            "The purchase is dated {bought_at}, {} s from now.",
            ahead.as_secs()
        ));
    }
    let end = purchase.expires_at.filter(|end| *end <= bought_at)?;
    Some(format!(
        "The purchase ended at {end}, before it was made at {bought_at}."
    ))
}

#[cfg(test)]
mod tests {
    use stockroom_domain::{ModelId, PurchaseId, SeededEntropy};

    use super::*;
    use crate::flows::explain::chain::State;

    fn now() -> Timestamp {
        Timestamp::from_unix_ms(1_800_000_000_000)
    }

    fn purchase(at: Timestamp, expires_at: Option<Timestamp>) -> PurchaseRow {
        let entropy = SeededEntropy::new(1);
        PurchaseRow {
            id: PurchaseId::generate(now(), &entropy),
            buyer: "ben".parse().expect("a subject"),
            model_id: ModelId::generate(now(), &entropy),
            order_ref: "order-1".to_owned(),
            purchased_at: at,
            expires_at,
            download_limit: None,
            downloads: 0,
            refunded_at: None,
        }
    }

    #[test]
    fn times_that_cannot_be_meant_are_odd() {
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let (before, later) = (now().before(minutes(9)), now().after(minutes(9)));
        for (purchase, odd) in [
            (purchase(now(), None), None),
            (purchase(before, Some(later)), None),
            (purchase(before, Some(now())), None),
            (purchase(now().after(minutes(1)), None), None),
            (purchase(later, None), Some("540 s from now")),
            (purchase(now(), Some(before)), Some("before it was made")),
        ] {
            let found = odd_times(&purchase, now());
            assert_eq!(found.is_some(), odd.is_some(), "{found:?}");
            assert!(found.unwrap_or_default().contains(odd.unwrap_or_default()));
        }
    }

    #[test]
    fn a_clock_that_keeps_nobody_from_the_bytes_is_a_warning() {
        let error = || Finding::error("s3.clock-skew", "It is off.", "Set it.");
        assert_eq!(of_finding(error(), false).state, State::Broken);
        assert_eq!(of_finding(error(), true).state, State::Warning);
    }
}
