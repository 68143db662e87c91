//! Check: how Stockroom stands to its peers now, beside how it stood when the document was written. Only ratios
//! within one run are compared, because absolute figures drift with the machine.

use std::fmt::Write as _;

use crate::figures::{Ratio, Record};
use crate::table::Table;

/// By how much a ratio may fall before it is named. Two runs of the same program differ by less, mostly.
const TOLERATED: f64 = 0.15;

/// What changed between two records, as Markdown: a table, and a sentence for each ratio that fell.
pub(crate) fn report(before: &Record, now: &Record) -> String {
    let mut table = Table::new(&["work", "beside", "ratio of", "then", "now", "change"]);
    let mut sentences = String::new();
    for (then, now) in pairs(before, now) {
        let Some(now) = now else {
            sentences += &format!("{} was not measured.\n", name(&then));
            continue;
        };
        let change = now.ratio / then.ratio - 1.0;
        table.row([
            then.work.clone(),
            then.peer.clone(),
            then.aspect.to_string(),
            format!("{:.2}", then.ratio),
            format!("{:.2}", now.ratio),
            format!("{:+.0} %", change * 100.0),
        ]);
        if change < -TOLERATED {
            let (name, then, now, fall) = (name(&then), then.ratio, now.ratio, change * -100.0);
            let _ = writeln!(
                sentences,
                "{name} FELL by {fall:.0} %, from {then:.2} to {now:.2}."
            );
        }
    }
    if sentences.is_empty() {
        let _ = writeln!(
            sentences,
            "Nothing fell by more than {:.0} %.",
            TOLERATED * 100.0
        );
    }
    format!("{table}\nAbove 1, Stockroom is better.\n\n{sentences}")
}

fn name(ratio: &Ratio) -> String {
    let Ratio {
        work, peer, aspect, ..
    } = ratio;
    format!("{work}, {aspect} beside {peer}:")
}

/// Each ratio from before with the one from now, of the parts that were measured now.
fn pairs(before: &Record, now: &Record) -> Vec<(Ratio, Option<Ratio>)> {
    let mut before = before.clone();
    before.parts.retain(|part, _| now.parts.contains_key(part));
    let now = now.ratios();
    let same = |then: &Ratio| {
        now.iter()
            .find(|now| (&now.work, &now.peer, now.aspect) == (&then.work, &then.peer, then.aspect))
    };
    let before = before.ratios().into_iter();
    before
        .map(|then| (then.clone(), same(&then).cloned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::tests::{figure, record};
    use crate::figures::{STOCKROOM, Unit};

    /// Stockroom at this rate beside two others that stay as they are.
    fn at(rate: f64) -> Record {
        let unit = Unit::RequestsPerSecond;
        record(
            "small",
            vec![
                figure("get", STOCKROOM, rate, unit),
                figure("get", "express", 100.0, unit),
                figure("get", "nginx", 1_000.0, unit),
            ],
        )
    }

    #[test]
    fn what_fell_by_more_than_is_tolerated_is_named() {
        let report = report(&at(200.0), &at(160.0));
        let fell = "get, speed beside express: FELL by 20 %, from 2.00 to 1.60.\n";
        assert!(report.contains(fell), "{report}");
        assert!(
            report.contains("| get | nginx | speed | 0.20 | 0.16 | -20 % |"),
            "{report}"
        );
        assert_eq!(report.matches("FELL").count(), 2, "{report}");
    }

    #[test]
    fn what_fell_by_less_or_rose_is_not() {
        for rate in [175.0, 200.0, 900.0] {
            let report = report(&at(200.0), &at(rate));
            assert!(
                report.ends_with("\nNothing fell by more than 15 %.\n"),
                "{report}"
            );
        }
    }

    #[test]
    fn a_machine_that_is_slower_for_all_is_no_fall() {
        let mut slower = at(200.0);
        for figure in &mut slower.parts.get_mut("small").unwrap().figures {
            figure.median /= 2.0;
            figure.cpu_s *= 2.0;
        }
        assert!(!report(&at(200.0), &slower).contains("FELL"));
    }

    #[test]
    fn a_peer_that_is_missing_is_named_and_a_part_that_was_not_asked_for_is_not() {
        let mut now = at(200.0);
        now.parts.get_mut("small").unwrap().figures.pop();
        let mut before = at(200.0);
        before.replace(&record("large", at(1.0).figures().cloned().collect()));
        let report = report(&before, &now);
        let missing = "get, speed beside nginx: was not measured.";
        assert_eq!(report.matches(missing).count(), 1, "{report}");
        assert_eq!(report.matches("was not measured").count(), 3, "{report}");
    }
}
