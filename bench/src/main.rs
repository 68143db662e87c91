//! Stockroom beside the programs that a user would take instead: the same files, the same server on
//! the same machine, in turns within one run. `scripts/bench` installs the others and runs this.
//!
//! Every turn is a program of its own, measured from outside (`measure.rs`), and is looked at
//! afterwards: a turn that did not do its work counts as none. Absolute figures drift with whatever
//! else a machine does; what counts are the ratios of medians within one run. The exit status does
//! not depend on the figures: timing is no test.
//!
//! The rooms: `peers.rs` finds the other programs, `server.rs` runs servers, `measure.rs` measures,
//! `samples.rs` makes medians, `table.rs` and `page.rs` write them down, `machine.rs` says where,
//! `shop.rs` and `database.rs` make what a Stockroom knows and keeps. What is measured is in a room of its own each:
//! `migration/` is what moving a shop to a bucket costs, `listing.rs` what a list of all objects does,
//! `serving/` what downloads, uploads and signed URLs do, and `scale/` what a large catalog costs. `wrk.rs` and
//! `http.rs` are the clients. `figures.rs` keeps what was seen for programs, `check.rs` compares it with what is
//! seen now, `chart.rs` draws it.

mod chart;
mod check;
mod database;
mod figures;
mod http;
mod listing;
mod machine;
mod measure;
mod migration;
mod page;
mod peers;
mod samples;
mod scale;
mod server;
mod serving;
mod shop;
mod table;
mod wrk;

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};

use crate::figures::{Figure, PartFigures, Record};
use crate::page::Section;
use crate::peers::{Contestant, Peers};

/// What goes wrong here ends the run, with a sentence.
type Outcome<T> = Result<T, Box<dyn Error>>;

/// Measures Stockroom beside its peers, and prints what it saw as Markdown.
#[derive(Debug, Parser)]
struct Args {
    /// What to measure; everything but `scale` when left out
    parts: Vec<Part>,
    /// The stockroom to measure
    #[arg(
        long,
        value_name = "PROGRAM",
        default_value = "target/release/stockroom"
    )]
    program: PathBuf,
    /// Another stockroom to measure in the same rounds, as NAME=PROGRAM: one from before a change
    #[arg(long, value_name = "NAME=PROGRAM", value_parser = peers::named)]
    beside: Vec<Contestant>,
    /// Rounds of turns
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds for which a server is loaded in one turn
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How many small objects there are where the memory of a migration is looked at
    #[arg(long, default_value_t = 20_000)]
    tiny: u64,
    /// How many objects there are in the catalog where plans and lists are looked at
    #[arg(long, default_value_t = 1_000_000)]
    catalogued: u64,
    /// How many models there are in the large shop of `scale`, with ten objects each
    #[arg(long, default_value_t = 1_000_000)]
    models: u64,
    /// Where to keep what is needed meanwhile: a folder on the disk that is to be measured
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    scratch: PathBuf,
    /// Put the sections that were measured into this document, in the place of those there. The figures and a
    /// chart of them go beside it, as .json and .svg
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Measure the parts that have figures once more, and say where Stockroom fell behind
    #[arg(long)]
    check: bool,
    /// The figures to compare with
    #[arg(long, value_name = "FILE", default_value = "docs/performance.json")]
    against: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Moving files to a bucket, beside rclone and s5cmd
    Migrate,
    /// The memory of a migration of many tiny objects
    Memory,
    /// A plan over a large catalog
    Plan,
    /// What is copied again after a kill in the middle
    Resume,
    /// The memory of a list of all objects
    List,
    /// Downloads of a small file, beside Express and nginx
    Small,
    /// Downloads of a large file, beside Express and nginx
    Large,
    /// Uploads by form, beside Express
    Forms,
    /// Signed URLs of a bucket, beside Express
    Signed,
    /// An upload to a bucket, beside Express
    ToS3,
    /// A large catalog beside a small one, on both databases; takes some 15 GB
    Scale,
}

/// What every part is given.
struct Bench {
    stockroom: Contestant,
    beside: Vec<Contestant>,
    peers: Peers,
    rounds: usize,
    seconds: u64,
    tiny: u64,
    catalogued: u64,
    models: u64,
    scratch: PathBuf,
}

/// What a part has to say, and what of it a later run is compared with.
struct Measured {
    section: Section,
    figures: Vec<Figure>,
}

impl From<Section> for Measured {
    fn from(section: Section) -> Self {
        Self {
            section,
            figures: Vec::new(),
        }
    }
}

impl Bench {
    /// What loads servers.
    fn wrk(&self) -> Outcome<&Contestant> {
        let wrk = self.peers.wrk.as_ref();
        wrk.ok_or_else(|| "wrk is missing; scripts/bench installs it".into())
    }
}

impl Part {
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |it| it.get_name().to_owned())
    }

    fn measure(self, bench: &Bench) -> Outcome<Measured> {
        match self {
            Self::Migrate => migration::beside_peers(bench).map(Into::into),
            Self::Memory => migration::memory(bench).map(Into::into),
            Self::Plan => migration::plan(bench).map(Into::into),
            Self::Resume => migration::resume(bench).map(Into::into),
            Self::List => listing::all(bench).map(Into::into),
            Self::Small => serving::small(bench),
            Self::Large => serving::large(bench),
            Self::Forms => serving::forms(bench),
            Self::Signed => serving::signed(bench),
            Self::ToS3 => serving::to_s3(bench),
            Self::Scale => scale::beside_a_small_one(bench).map(Into::into),
        }
    }
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    fs::create_dir_all(&args.scratch)?;
    let scratch = tempfile::Builder::new()
        .prefix("run-")
        .tempdir_in(&args.scratch)?;
    let bench = Bench {
        stockroom: Contestant::new(figures::STOCKROOM, args.program.canonicalize()?),
        beside: args.beside,
        peers: Peers::find(),
        rounds: args.rounds.max(1),
        seconds: args.seconds.max(1),
        tiny: args.tiny,
        catalogued: args.catalogued,
        models: args.models,
        scratch: scratch.path().canonicalize()?,
    };
    // It is read before anything is written, which may be the same file.
    let before = Record::read(&args.against)?;
    if args.check && before.parts.is_empty() {
        let path = args.against.display();
        return Err(format!("there are no figures in {path} to compare with").into());
    }
    let parts: Vec<Part> = match (args.parts.is_empty(), args.check) {
        (false, _) => args.parts,
        (true, false) => {
            let all = Part::value_variants().iter().copied();
            all.filter(|&it| it != Part::Scale).collect()
        }
        (true, true) => {
            let all = Part::value_variants().iter().copied();
            all.filter(|it| before.parts.contains_key(&it.name()))
                .collect()
        }
    };
    let mut sections = vec![machine::section(&bench)];
    let (mut seen, mut failed) = (Record::default(), Vec::new());
    for part in parts {
        match part.measure(&bench) {
            Ok(Measured { section, figures }) => {
                show(&section);
                sections.push(section);
                if !figures.is_empty() {
                    let figures = PartFigures {
                        seen_on: machine::machine(),
                        rounds: bench.rounds,
                        figures,
                    };
                    seen.parts.insert(part.name(), figures);
                }
            }
            Err(error) => {
                say(&format!("{} could not be measured: {error}", part.name()));
                failed.push(part.name());
                // What it was in the middle of is in nobody's way.
                fs::remove_dir_all(&bench.scratch)?;
                fs::create_dir(&bench.scratch)?;
            }
        }
    }
    if args.check {
        show(check::report(&before, &seen));
    }
    if let Some(path) = args.write {
        write(&path, sections, &seen)?;
    }
    match failed.is_empty() {
        true => Ok(()),
        false => Err(format!("could not be measured: {}", failed.join(", ")).into()),
    }
}

/// Puts what was measured into a document, its figures into the file beside it, and draws them.
fn write(path: &Path, mut sections: Vec<Section>, seen: &Record) -> Outcome<()> {
    let beside = path.with_extension("json");
    let mut record = Record::read(&beside)?;
    record.replace(seen);
    if !seen.parts.is_empty() {
        let aims = serving::aims(&record);
        show(&aims);
        sections.extend([serving::peaks(&record), aims]);
        record.write(&beside)?;
        fs::write(path.with_extension("svg"), chart::svg(&record.ratios()))?;
    }
    page::write(path, &sections)
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn show(what: impl std::fmt::Display) {
    println!("{what}");
}

/// Says on stderr what is going on, because some of it takes minutes.
fn say(what: &str) {
    eprintln!("== {what}");
}
