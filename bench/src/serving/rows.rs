//! Rows: the turns of everybody who did one kind of work, as a table and as figures.

use std::thread;
use std::time::Duration;

use super::contender::Contender;
use crate::figures::{Figure, Record, STOCKROOM, Unit};
use crate::page::Section;
use crate::samples::{median, order, spread_to};
use crate::server::Server;
use crate::table::{Table, mib};
use crate::{Bench, Outcome, say};

/// What a server still does shortly after its last answer belongs to its work: records that go to the
/// database in batches, and what is freed.
const SETTLED: Duration = Duration::from_millis(500);

/// What one turn took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// How much was done in a second, or how long it took.
    pub(super) value: f64,
    /// Processor time of the server, for as much work as `Unit::cpu_per` says.
    pub(super) cpu_s: f64,
    pub(super) peak_rss_bytes: u64,
}

/// The turns of one kind of work.
pub(super) struct Rows<'a> {
    work: &'static str,
    unit: Unit,
    contenders: &'a [Contender],
    turns: Vec<Vec<Turn>>,
}

impl<'a> Rows<'a> {
    /// Has everybody take turns. The first round fills caches and is left out. A turn that did not do its work
    /// is an error, and there are no figures.
    pub(super) fn of_turns(
        bench: &Bench,
        (work, unit): (&'static str, Unit),
        contenders: &'a [Contender],
        mut turn: impl FnMut(usize) -> Outcome<Turn>,
    ) -> Outcome<Self> {
        let mut turns = vec![Vec::new(); contenders.len()];
        for round in 0..=bench.rounds {
            for index in order(round, contenders.len()) {
                let name = contenders[index].name();
                // What others left to be written is not this one's work.
                rustix::fs::sync();
                let taken = turn(index).map_err(|error| format!("{work}, {name}: {error}"))?;
                let (value, decimals) = (taken.value, unit.decimals());
                say(&format!(
                    "round {round}: {work}, {name}: {value:.decimals$} {unit}"
                ));
                if round > 0 {
                    turns[index].push(taken);
                }
            }
        }
        Ok(Self {
            work,
            unit,
            contenders,
            turns,
        })
    }

    pub(super) fn table(&self) -> Table {
        let unit = self.unit;
        let limit = self.contenders.iter().position(Contender::is_limit);
        let mut columns = vec![format!("{unit} (least to most)"), "ratio".to_owned()];
        columns.extend(limit.map(|_| "to nginx".to_owned()));
        columns.push(format!("CPU s per {}", unit.cpu_per()));
        columns.push("peak RSS MiB".to_owned());
        let columns: Vec<&str> = ["server"]
            .into_iter()
            .chain(columns.iter().map(String::as_str))
            .collect();
        let mut table = Table::new(&columns);
        for (index, contender) in self.contenders.iter().enumerate() {
            let values = self.values(index);
            let ratio = |other: usize| {
                let others = median(self.values(other));
                format!("{:.2}", median(values.iter().copied()) / others)
            };
            let mut cells = vec![
                contender.name().to_owned(),
                spread_to(&values, unit.decimals()),
                ratio(0),
            ];
            cells.extend(limit.map(ratio));
            cells.push(format!("{:.2}", self.cpu_s(index)));
            cells.push(format!("{:.0}", mib(self.peak_rss_bytes(index))));
            table.row(cells);
        }
        table
    }

    /// What a later run is compared with: Stockroom itself and the peers, no other build of it.
    pub(super) fn figures(&self) -> Vec<Figure> {
        let contenders = self.contenders.iter().enumerate();
        contenders
            .filter(|(index, it)| *index == 0 || !it.is_stockroom())
            .map(|(index, it)| Figure {
                work: self.work.to_owned(),
                who: it.name().to_owned(),
                median: rounded(median(self.values(index))),
                unit: self.unit,
                cpu_s: rounded(self.cpu_s(index)),
                peak_rss_bytes: self.peak_rss_bytes(index),
            })
            .collect()
    }

    fn values(&self, index: usize) -> Vec<f64> {
        self.turns[index].iter().map(|it| it.value).collect()
    }

    fn cpu_s(&self, index: usize) -> f64 {
        median(self.turns[index].iter().map(|it| it.cpu_s))
    }

    fn peak_rss_bytes(&self, index: usize) -> u64 {
        let peaks = self.turns[index].iter().map(|it| it.peak_rss_bytes);
        peaks.max().unwrap_or(0)
    }
}

/// What came of some work, and the processor time in seconds that a server and its workers spent on it.
pub(super) fn measured<T>(server: &Server, work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, f64)> {
    let before = server.cpu_of_all()?;
    let done = work()?;
    thread::sleep(SETTLED);
    let spent = server.cpu_of_all()?.saturating_sub(before);
    Ok((done, spent.as_secs_f64()))
}

/// To four digits: more of them only make a change hard to read.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

/// The most memory that each had in use at once, over all that is known of it. nginx is left out: it does not do
/// the same.
pub(crate) fn peaks(record: &Record) -> Section {
    let mut table = Table::new(&["server", "peak RSS MiB", "ratio", "during"]);
    let stockrooms = record
        .peak(STOCKROOM)
        .map_or(f64::NAN, |it| mib(it.peak_rss_bytes));
    let peaks = [STOCKROOM, "express"].into_iter();
    for figure in peaks.filter_map(|who| record.peak(who)) {
        let own = mib(figure.peak_rss_bytes);
        table.row([
            figure.who.clone(),
            format!("{own:.0}"),
            format!("{:.2}", own / stockrooms),
            figure.work.clone(),
        ]);
    }
    Section {
        name: "peaks",
        text: vec!["Peak memory over all of it.".to_owned(), table.to_string()],
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::figures::tests::{figure, record};
    use crate::peers::Contestant;

    fn rows(contenders: &[Contender], values: &[[f64; 3]]) -> (String, Vec<Figure>) {
        let turn = |value: &f64| Turn {
            value: *value,
            cpu_s: value / 100.0,
            peak_rss_bytes: (*value as u64) << 20,
        };
        let rows = Rows {
            work: "get",
            unit: Unit::RequestsPerSecond,
            contenders,
            turns: values
                .iter()
                .map(|it| it.iter().map(turn).collect())
                .collect(),
        };
        (rows.table().to_string(), rows.figures())
    }

    fn contestant(name: &str) -> Contestant {
        Contestant::new(name, PathBuf::from("program"))
    }

    #[test]
    fn a_row_is_a_median_beside_that_of_the_first_and_of_nginx() {
        let contenders = [
            Contender::Stockroom(contestant("stockroom")),
            Contender::Stockroom(contestant("before")),
            Contender::Nginx(contestant("nginx")),
        ];
        let values = [[100.0, 120.0, 90.0], [50.0, 40.0, 60.0], [400.0; 3]];
        let (table, figures) = rows(&contenders, &values);
        let lines: Vec<&str> = table.lines().collect();
        assert!(lines[0].contains("| ratio | to nginx | CPU s per 10,000 requests |"));
        assert_eq!(
            lines[2],
            "| stockroom | 100 (90 to 120) | 1.00 | 0.25 | 1.00 | 120 |"
        );
        assert_eq!(
            lines[3],
            "| before | 50 (40 to 60) | 0.50 | 0.12 | 0.50 | 60 |"
        );
        // The other build of Stockroom is no peer.
        let names: Vec<&str> = figures.iter().map(|it| it.who.as_str()).collect();
        assert_eq!(names, ["stockroom", "nginx"]);
        assert_eq!(figures[0].peak_rss_bytes, 120 << 20);
    }

    #[test]
    fn figures_have_four_digits() {
        let values = [16_227.4, 0.123_456, 0.0];
        assert_eq!(values.map(rounded), [16_230.0, 0.1235, 0.0]);
    }

    #[test]
    fn without_nginx_there_is_no_ratio_to_it() {
        let contenders = [Contender::Stockroom(contestant("stockroom"))];
        let (table, _) = rows(&contenders, &[[1.0, 2.0, 3.0]]);
        assert!(!table.contains("nginx"), "{table}");
        assert!(
            table.contains("| stockroom | 2 (1 to 3) | 1.00 | 0.02 | 3 |"),
            "{table}"
        );
    }

    #[test]
    fn the_peak_over_all_is_that_of_the_work_that_took_most() {
        let mut large = figure("put", "express", 1.0, Unit::Seconds);
        large.peak_rss_bytes = 150 << 20;
        let mut record = record(
            "one",
            vec![figure("get", STOCKROOM, 1.0, Unit::Seconds), large],
        );
        record.replace(&crate::figures::tests::record(
            "two",
            vec![figure("get", "express", 1.0, Unit::Seconds)],
        ));
        let peaks = peaks(&record).to_string();
        assert!(peaks.contains("| stockroom | 50 | 1.00 | get |"), "{peaks}");
        assert!(peaks.contains("| express | 150 | 3.00 | put |"), "{peaks}");
    }
}
