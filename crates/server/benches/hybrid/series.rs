//! Rounds of turns, and what comes out of them.

use std::fmt;

use crate::client::{CLIENTS, Work};

/// How one turn went.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// The latency at the median, in seconds.
    pub(crate) p50_s: f64,
    /// The latency at the 99th percentile, in seconds.
    pub(crate) p99_s: f64,
    /// Requests per second, all clients together.
    pub(crate) per_second: f64,
    /// Processor time for each request, in seconds, that of the client included.
    pub(crate) cpu_s: f64,
}

/// Which ratio is to stay under what.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    P50(f64),
    P99(f64),
}

/// What is measured in turns. The others are compared with the first one.
pub(crate) struct Series<'a> {
    title: String,
    rounds: usize,
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    name: &'a str,
    goal: Option<Goal>,
    work: Box<dyn Fn(usize) -> Work + 'a>,
    samples: Vec<Sample>,
}

impl<'a> Series<'a> {
    pub(crate) fn new(title: String, rounds: usize) -> Self {
        Self {
            title,
            rounds,
            entries: Vec::new(),
        }
    }

    /// Adds something to measure; `work` makes what is to be done in the round of this number.
    pub(crate) fn add(
        &mut self,
        name: &'a str,
        goal: Option<Goal>,
        work: impl Fn(usize) -> Work + 'a,
    ) {
        self.entries.push(Entry {
            name,
            goal,
            work: Box::new(work),
            samples: Vec::new(),
        });
    }

    /// Gives everybody a turn in each round, every time in another order, so that nobody always
    /// follows the same one.
    pub(crate) fn run(&mut self) {
        let count = self.entries.len();
        for round in 0..self.rounds {
            for turn in 0..count {
                let is_backwards = round % 2 == 1;
                let step = if is_backwards { count - turn } else { turn };
                let entry = &mut self.entries[(round / 2 + step) % count];
                let sample = (entry.work)(round).run();
                entry.samples.push(sample);
            }
        }
    }

    /// Prints the table; the lines about the goals.
    pub(crate) fn report(&self) -> Vec<String> {
        let Self { title, rounds, .. } = self;
        println!("\n{title}, {CLIENTS} clients, {rounds} rounds:");
        println!(
            "  {:<28}{:>9}{:>9}{:>9}{:>9}   {:<18}p99 / local",
            "", "p50", "p99", "per s", "CPU", "p50 / local"
        );
        let entries = self.entries.iter();
        entries.filter_map(|entry| self.report_on(entry)).collect()
    }

    fn report_on(&self, entry: &Entry<'_>) -> Option<String> {
        let p50 = self.to_first(entry, |sample| sample.p50_s);
        let p99 = self.to_first(entry, |sample| sample.p99_s);
        println!(
            "  {:<28}{:>9}{:>9}{:>9.0}{:>9}   {:<18}{}",
            entry.name,
            time_s(entry.spread(|sample| sample.p50_s).median),
            time_s(entry.spread(|sample| sample.p99_s).median),
            entry.spread(|sample| sample.per_second).median,
            time_s(entry.mean(|sample| sample.cpu_s)),
            p50.to_string(),
            p99
        );
        let (name, ratio, goal) = match entry.goal? {
            Goal::P50(goal) => ("p50", p50, goal),
            Goal::P99(goal) => ("p99", p99, goal),
        };
        let verdict = verdict(ratio.median <= goal);
        let what = format!("{}, {}", self.title, entry.name);
        Some(format!(
            "{what}: {name} / local {ratio} (goal {goal:.2}, {verdict})"
        ))
    }

    /// A figure of an entry as a ratio to that of the first entry in the same round.
    fn to_first(&self, entry: &Entry<'_>, figure: fn(&Sample) -> f64) -> Spread {
        let pairs = entry.samples.iter().zip(&self.entries[0].samples);
        let ratios = pairs.map(|(own, first)| figure(own) / figure(first));
        Spread::of(ratios.collect())
    }
}

impl Entry<'_> {
    fn spread(&self, figure: fn(&Sample) -> f64) -> Spread {
        Spread::of(self.samples.iter().map(figure).collect())
    }

    fn mean(&self, figure: fn(&Sample) -> f64) -> f64 {
        self.samples.iter().map(figure).sum::<f64>() / self.samples.len() as f64
    }
}

/// The median of some figures, and the quartiles around it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    lower: f64,
    pub(crate) median: f64,
    upper: f64,
}

impl Spread {
    pub(crate) fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_unstable_by(f64::total_cmp);
        Self {
            lower: quantile(&figures, 0.25),
            median: quantile(&figures, 0.5),
            upper: quantile(&figures, 0.75),
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lower,
            median,
            upper,
        } = self;
        write!(f, "{median:.2} ({lower:.2}-{upper:.2})")
    }
}

/// The value that this share of the sorted ones does not exceed.
pub(crate) fn quantile<T: Copy>(sorted: &[T], share: f64) -> T {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// A time for people.
pub(crate) fn time(duration: std::time::Duration) -> String {
    time_s(duration.as_secs_f64())
}

fn time_s(seconds: f64) -> String {
    match seconds {
        ..0.01 => format!("{:.0} us", seconds * 1e6),
        ..1.0 => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{seconds:.1} s"),
    }
}

/// What came of a goal.
pub(crate) fn verdict(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}
