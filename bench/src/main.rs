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
//! `shop.rs` makes what a Stockroom knows and keeps. What is measured is in a room of its own each:
//! `migration/` is what moving a shop to a bucket costs, `listing.rs` what a list of all objects does.

mod http;
mod listing;
mod machine;
mod measure;
mod migration;
mod page;
mod peers;
mod samples;
mod server;
mod shop;
mod table;

use std::error::Error;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use crate::page::Section;
use crate::peers::{Contestant, Peers};

/// What goes wrong here ends the run, with a sentence.
type Outcome<T> = Result<T, Box<dyn Error>>;

/// Measures Stockroom beside its peers, and prints what it saw as Markdown.
#[derive(Debug, Parser)]
struct Args {
    /// What to measure; everything when left out
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
    /// How many small objects there are where the memory of a migration is looked at
    #[arg(long, default_value_t = 20_000)]
    tiny: u64,
    /// How many objects there are in the catalog where plans and lists are looked at
    #[arg(long, default_value_t = 1_000_000)]
    catalogued: u64,
    /// Where to keep what is needed meanwhile: a folder on the disk that is to be measured
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    scratch: PathBuf,
    /// Put the sections that were measured into this document, in the place of those there
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
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
}

/// What every part is given.
struct Bench {
    stockroom: Contestant,
    beside: Vec<Contestant>,
    peers: Peers,
    rounds: usize,
    tiny: u64,
    catalogued: u64,
    scratch: PathBuf,
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    std::fs::create_dir_all(&args.scratch)?;
    let scratch = tempfile::Builder::new()
        .prefix("run-")
        .tempdir_in(&args.scratch)?;
    let bench = Bench {
        stockroom: Contestant::new("stockroom", args.program.canonicalize()?),
        beside: args.beside,
        peers: Peers::find(),
        rounds: args.rounds.max(1),
        tiny: args.tiny,
        catalogued: args.catalogued,
        scratch: scratch.path().canonicalize()?,
    };
    let parts = match args.parts.is_empty() {
        true => Part::value_variants().to_vec(),
        false => args.parts,
    };
    let mut sections = vec![machine::section(&bench)];
    for part in parts {
        let section = match part {
            Part::Migrate => migration::beside_peers(&bench)?,
            Part::Memory => migration::memory(&bench)?,
            Part::Plan => migration::plan(&bench)?,
            Part::Resume => migration::resume(&bench)?,
            Part::List => listing::all(&bench)?,
        };
        sections.push(section);
        show(sections.last());
    }
    if let Some(path) = args.write {
        page::write(&path, &sections)?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn show(section: Option<&Section>) {
    if let Some(section) = section {
        println!("{section}");
    }
}

/// Says on stderr what is going on, because some of it takes minutes.
fn say(what: &str) {
    eprintln!("== {what}");
}
