//! Copies that are missing or doubted, and for how long.

use std::time::Duration;

use stockroom_catalog::{Catalog, UnderPlaced};
use stockroom_domain::Timestamp;

use super::finding::Finding;

/// A server that runs makes a copy within moments, and tries again at least every few minutes.
const OWED_TOO_LONG: Duration = Duration::from_secs(3_600);

/// Looks for copies that are owed. A record that cannot be read is told of elsewhere.
pub(super) async fn examine(catalog: &Catalog, now: Timestamp, findings: &mut Vec<Finding>) {
    if let Ok(owed) = catalog.under_placed().await {
        findings.extend(of(&owed, now));
    }
}

fn of(owed: &[UnderPlaced], now: Timestamp) -> Vec<Finding> {
    if owed.is_empty() {
        return vec![Finding::ok("placements", "No copy is missing or doubted.")];
    }
    owed.iter().map(|owed| of_store(owed, now)).collect()
}

fn of_store(owed: &UnderPlaced, now: Timestamp) -> Finding {
    let (store, age) = (&owed.store, now.since(owed.oldest_since));
    let sentence = format!(
        "{} missing or doubted, the oldest for {}.",
        match owed.placements {
            1 => format!("1 copy on {store} is"),
            count => format!("{count} copies on {store} are"),
        },
        spoken(age)
    );
    if age <= OWED_TOO_LONG {
        return Finding::ok("placements", sentence);
    }
    Finding::warning(
        "placements.owed",
        sentence,
        "Mend what the other findings say of this store, and see that stockroom serve runs, which \
         makes the copies. GET /v1/storage shows what the store said last, stockroom verify which \
         copies these are.",
    )
}

fn spoken(age: Duration) -> String {
    let seconds = age.as_secs();
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3_600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural}")
}

#[cfg(test)]
mod tests {
    use stockroom_domain::StoreName;

    use super::super::Severity;
    use super::*;

    #[test]
    fn what_is_owed_for_longer_than_an_hour_is_a_warning() {
        let now = Timestamp::from_unix_ms(1_000_000_000);
        let owed = |placements, seconds| UnderPlaced {
            store: StoreName::S3,
            placements,
            oldest_since: now.before(Duration::from_secs(seconds)),
        };
        assert_eq!(of(&[], now)[0].severity, Severity::Ok);
        for (owed, severity, sentence) in [
            (
                owed(1, 1),
                Severity::Ok,
                "1 copy on s3 is missing or doubted, the oldest for 1 second.",
            ),
            (
                owed(2, 3_600),
                Severity::Ok,
                "2 copies on s3 are missing or doubted, the oldest for 60 minutes.",
            ),
            (
                owed(2, 3_601),
                Severity::Warning,
                "2 copies on s3 are missing or doubted, the oldest for 60 minutes.",
            ),
            (
                owed(9, 7_200),
                Severity::Warning,
                "9 copies on s3 are missing or doubted, the oldest for 2 hours.",
            ),
            (
                owed(9, 864_000),
                Severity::Warning,
                "9 copies on s3 are missing or doubted, the oldest for 10 days.",
            ),
        ] {
            let finding = of_store(&owed, now);
            assert_eq!(
                (finding.severity, finding.sentence.as_str()),
                (severity, sentence)
            );
        }
    }
}
