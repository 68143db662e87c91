//! Figures: what was seen, in a form that a later run can read, and Stockroom's ratios to the others.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Outcome;

/// What Stockroom is called here.
pub(crate) const STOCKROOM: &str = "stockroom";

/// What a median is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Unit {
    #[serde(rename = "requests/s")]
    RequestsPerSecond,
    #[serde(rename = "MB/s")]
    MegabytesPerSecond,
    #[serde(rename = "s")]
    Seconds,
}

/// What one program took for one kind of work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// What was done, such as "download 20 kB".
    pub(crate) work: String,
    pub(crate) who: String,
    pub(crate) median: f64,
    pub(crate) unit: Unit,
    /// Median of the processor time, for as much work as `Unit::cpu_per` says.
    pub(crate) cpu_s: f64,
    /// The most in any turn.
    pub(crate) peak_rss_bytes: u64,
}

/// The figures of one part of the bench, all from one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct PartFigures {
    /// The machine.
    pub(crate) seen_on: String,
    pub(crate) rounds: usize,
    pub(crate) figures: Vec<Figure>,
}

/// The figures of parts by their names, each from its own run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) parts: BTreeMap<String, PartFigures>,
}

/// What a ratio is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Aspect {
    Speed,
    Processor,
    Memory,
}

/// How Stockroom stands to another program: above 1 where it is faster, or takes less.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ratio {
    pub(crate) work: String,
    pub(crate) peer: String,
    pub(crate) aspect: Aspect,
    pub(crate) ratio: f64,
}

impl Unit {
    /// For how much work processor time is given.
    pub(crate) fn cpu_per(self) -> &'static str {
        match self {
            Self::RequestsPerSecond => "10,000 requests",
            Self::MegabytesPerSecond | Self::Seconds => "GB",
        }
    }

    /// How many times as fast as `other` it is.
    pub(crate) fn faster(self, own: f64, other: f64) -> f64 {
        match self {
            Self::RequestsPerSecond | Self::MegabytesPerSecond => own / other,
            Self::Seconds => other / own,
        }
    }

    /// Decimals that say something.
    pub(crate) fn decimals(self) -> usize {
        match self {
            Self::RequestsPerSecond | Self::MegabytesPerSecond => 0,
            Self::Seconds => 2,
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RequestsPerSecond => "requests/s",
            Self::MegabytesPerSecond => "MB/s",
            Self::Seconds => "wall s",
        })
    }
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Speed => "speed",
            Self::Processor => "processor time",
            Self::Memory => "peak memory",
        })
    }
}

impl Record {
    /// What is in a file; nothing where there is none yet.
    pub(crate) fn read(path: &Path) -> Outcome<Self> {
        match path.exists() {
            true => Ok(serde_json::from_slice(&fs::read(path)?)?),
            false => Ok(Self::default()),
        }
    }

    pub(crate) fn write(&self, path: &Path) -> Outcome<()> {
        fs::write(path, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(())
    }

    /// Takes in what was measured anew, in the place of what was there of the same parts.
    pub(crate) fn replace(&mut self, newer: &Self) {
        self.parts.extend(newer.parts.clone());
    }

    pub(crate) fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.parts.values().flat_map(|part| &part.figures)
    }

    /// The figure with the most memory that this program had in use.
    pub(crate) fn peak(&self, who: &str) -> Option<&Figure> {
        let own = self.figures().filter(|it| it.who == who);
        own.max_by_key(|it| it.peak_rss_bytes)
    }

    /// How Stockroom stands to everybody else who did the same work in the same run.
    pub(crate) fn ratios(&self) -> Vec<Ratio> {
        let parts = self.parts.values();
        parts.flat_map(|part| ratios(&part.figures)).collect()
    }
}

fn ratios(figures: &[Figure]) -> Vec<Ratio> {
    let mut ratios = Vec::new();
    for own in figures.iter().filter(|it| it.who == STOCKROOM) {
        let is_other = |it: &&Figure| it.work == own.work && it.who != STOCKROOM;
        for other in figures.iter().filter(is_other) {
            let memory = other.peak_rss_bytes as f64 / own.peak_rss_bytes as f64;
            let of = [
                (Aspect::Speed, own.unit.faster(own.median, other.median)),
                (Aspect::Processor, other.cpu_s / own.cpu_s),
                (Aspect::Memory, memory),
            ];
            // What took less than a tick of the clock has no ratio.
            let known = of
                .into_iter()
                .filter(|(_, ratio)| ratio.is_finite() && *ratio > 0.0);
            ratios.extend(known.map(|(aspect, ratio)| Ratio {
                work: own.work.clone(),
                peer: other.who.clone(),
                aspect,
                ratio,
            }));
        }
    }
    ratios
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A figure of a median, with processor time and memory that are the same for all.
    pub(crate) fn figure(work: &str, who: &str, median: f64, unit: Unit) -> Figure {
        Figure {
            work: work.to_owned(),
            who: who.to_owned(),
            median,
            unit,
            cpu_s: 2.0,
            peak_rss_bytes: 50 << 20,
        }
    }

    pub(crate) fn record(part: &str, figures: Vec<Figure>) -> Record {
        let figures = PartFigures {
            seen_on: "a machine".to_owned(),
            rounds: 5,
            figures,
        };
        Record {
            parts: [(part.to_owned(), figures)].into(),
        }
    }

    fn of(record: &Record, aspect: Aspect) -> Vec<(String, f64)> {
        let ratios = record.ratios().into_iter();
        ratios
            .filter(|it| it.aspect == aspect)
            .map(|it| (format!("{} {}", it.work, it.peer), it.ratio))
            .collect()
    }

    #[test]
    fn more_in_a_second_and_fewer_seconds_are_both_better() {
        let mut slow = figure("get", "express", 500.0, Unit::RequestsPerSecond);
        slow.cpu_s = 8.0;
        slow.peak_rss_bytes = 25 << 20;
        let record = record(
            "one",
            vec![
                figure("get", STOCKROOM, 1_000.0, Unit::RequestsPerSecond),
                slow,
                figure("get", "nginx", 4_000.0, Unit::RequestsPerSecond),
                figure("put", STOCKROOM, 3.0, Unit::Seconds),
                figure("put", "express", 6.0, Unit::Seconds),
            ],
        );
        let speed = of(&record, Aspect::Speed);
        let expected = [
            ("get express", 2.0),
            ("get nginx", 0.25),
            ("put express", 2.0),
        ];
        assert_eq!(
            speed,
            expected.map(|(name, ratio)| (name.to_owned(), ratio))
        );
        assert_eq!(of(&record, Aspect::Processor)[0].1, 4.0);
        assert_eq!(of(&record, Aspect::Memory)[0].1, 0.5);
    }

    #[test]
    fn no_processor_time_is_no_ratio() {
        let mut idle = figure("get", "nginx", 1.0, Unit::Seconds);
        idle.cpu_s = 0.0;
        let own = figure("get", STOCKROOM, 1.0, Unit::Seconds);
        assert_eq!(of(&record("one", vec![own, idle]), Aspect::Processor), []);
    }

    #[test]
    fn a_record_reads_back_and_a_newer_part_replaces_the_older_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("figures.json");
        assert_eq!(Record::read(&path).unwrap(), Record::default());
        let of = |rate| vec![figure("get", STOCKROOM, rate, Unit::MegabytesPerSecond)];
        let mut both = record("one", of(1.0));
        both.replace(&record("two", of(2.0)));
        both.replace(&record("one", of(3.0)));
        both.write(&path).unwrap();
        let read = Record::read(&path).unwrap();
        assert_eq!(read, both);
        let medians: Vec<f64> = read.figures().map(|it| it.median).collect();
        assert_eq!(medians, [3.0, 2.0]);
        fs::write(&path, "{").unwrap();
        assert!(Record::read(&path).is_err());
    }
}
