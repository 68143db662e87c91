//! Aims: how Stockroom wants to stand to the others, beside how it stood.

use std::fmt;

use crate::figures::{Aspect, Record, STOCKROOM};
use crate::page::Section;
use crate::table::Table;

/// What is wanted of one work beside one program. The numbers are what "Faster than what it replaces" asked for.
struct Aim {
    /// As the figures call it; none for the most that any work took.
    work: Option<&'static str>,
    beside: &'static str,
    wanted: Wanted,
}

/// A ratio of Stockroom's median to that of the other.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// At least this many times as fast.
    Speed(f64),
    /// At most this share of the time.
    TimeShare(f64),
    /// At most this many times the processor time.
    Processor(f64),
    /// At most this share of the memory.
    MemoryShare(f64),
}

const AIMS: [Aim; 10] = [
    of("download 20 kB", "express", Wanted::Speed(25.0)),
    of("download 20 kB", "nginx", Wanted::Speed(0.6)),
    of("download 256 MiB", "express", Wanted::Speed(1.6)),
    of("download 256 MiB", "nginx", Wanted::Speed(1.0)),
    of("download 256 MiB", "nginx", Wanted::Processor(1.6)),
    of("upload 20 kB by form", "express", Wanted::Speed(1.5)),
    of("upload 3 x 256 MiB by form", "express", Wanted::Speed(1.0)),
    of("sign a URL of S3", "express", Wanted::Speed(15.0)),
    of("upload 256 MiB to S3", "express", Wanted::TimeShare(0.6)),
    Aim {
        work: None,
        beside: "express",
        wanted: Wanted::MemoryShare(0.5),
    },
];

const fn of(work: &'static str, beside: &'static str, wanted: Wanted) -> Aim {
    Aim {
        work: Some(work),
        beside,
        wanted,
    }
}

/// The aims with the ratios that were seen; a dash where a program was missing.
pub(crate) fn aims(record: &Record) -> Section {
    let mut table = Table::new(&["work", "beside", "wanted", "seen", "reached"]);
    for aim in &AIMS {
        let seen = aim.seen(record);
        table.row([
            aim.work.unwrap_or("all of it").to_owned(),
            aim.beside.to_owned(),
            aim.wanted.to_string(),
            seen.map_or("-".to_owned(), |it| format!("{it:.2}")),
            match seen.map(|it| aim.wanted.is_reached_by(it)) {
                Some(true) => "yes".to_owned(),
                Some(false) => "no".to_owned(),
                None => "-".to_owned(),
            },
        ]);
    }
    Section {
        name: "aims",
        text: vec![table.to_string()],
    }
}

impl Aim {
    fn seen(&self, record: &Record) -> Option<f64> {
        let Some(work) = self.work else {
            let (own, other) = (record.peak(STOCKROOM)?, record.peak(self.beside)?);
            return Some(own.peak_rss_bytes as f64 / other.peak_rss_bytes as f64);
        };
        let ratios = record.ratios();
        let ratio = ratios.iter().find(|it| {
            (it.work.as_str(), it.peer.as_str(), it.aspect)
                == (work, self.beside, self.wanted.aspect())
        })?;
        // Those of the record are above 1 where Stockroom is better.
        Some(match self.wanted {
            Wanted::Speed(_) => ratio.ratio,
            Wanted::TimeShare(_) | Wanted::Processor(_) | Wanted::MemoryShare(_) => {
                ratio.ratio.recip()
            }
        })
    }
}

impl Wanted {
    fn aspect(self) -> Aspect {
        match self {
            Self::Speed(_) | Self::TimeShare(_) => Aspect::Speed,
            Self::Processor(_) => Aspect::Processor,
            Self::MemoryShare(_) => Aspect::Memory,
        }
    }

    fn is_reached_by(self, seen: f64) -> bool {
        match self {
            Self::Speed(least) => seen >= least,
            Self::TimeShare(most) | Self::Processor(most) | Self::MemoryShare(most) => seen <= most,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Speed(least) => write!(f, "at least {least} times as fast"),
            Self::TimeShare(most) => write!(f, "at most {most} of the time"),
            Self::Processor(most) => write!(f, "at most {most} times the CPU time"),
            Self::MemoryShare(most) => write!(f, "at most {most} of the memory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Unit;
    use crate::figures::tests::{figure, record};

    #[test]
    fn an_aim_is_reached_or_not_or_nobody_was_there() {
        let rate = |who, median| figure("download 20 kB", who, median, Unit::RequestsPerSecond);
        let mut large = figure("peak", "express", 1.0, Unit::Seconds);
        large.peak_rss_bytes *= 4;
        let figures = vec![
            rate(STOCKROOM, 100.0),
            rate("express", 3.0),
            rate("nginx", 200.0),
            figure("upload 256 MiB to S3", STOCKROOM, 1.0, Unit::Seconds),
            figure("upload 256 MiB to S3", "express", 2.0, Unit::Seconds),
            large,
        ];
        let table = aims(&record("one", figures)).text.remove(0);
        for row in [
            "| download 20 kB | express | at least 25 times as fast | 33.33 | yes |",
            "| download 20 kB | nginx | at least 0.6 times as fast | 0.50 | no |",
            "| download 256 MiB | nginx | at most 1.6 times the CPU time | - | - |",
            "| upload 256 MiB to S3 | express | at most 0.6 of the time | 0.50 | yes |",
            "| all of it | express | at most 0.5 of the memory | 0.25 | yes |",
        ] {
            assert!(table.contains(row), "{row} is not in\n{table}");
        }
    }

    #[test]
    fn every_aim_is_one_of_the_works_that_have_figures() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.json");
        let record = Record::read(path.as_ref()).unwrap();
        for aim in &AIMS {
            assert!(aim.seen(&record).is_some(), "{:?} {}", aim.work, aim.beside);
        }
    }
}
