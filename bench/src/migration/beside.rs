//! The same files to the same server: Stockroom, which hashes and records all of it, beside two programs
//! that copy; and with reading everything back, as Stockroom does before it frees the source, beside the one
//! of them that can do that too.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::measure::{self, Taken};
use crate::page::Section;
use crate::peers::Contestant;
use crate::samples::{median, order, spread};
use crate::server::{S3Server, files_below};
use crate::shop::{Shop, write_files};
use crate::table::{Table, mib};
use crate::{Bench, Outcome, say};

const SMALL_FILES: u64 = 4_000;
const SMALL_BYTES: usize = 20_000;
const LARGE_FILES: u64 = 4;
const LARGE_BYTES: usize = 128 << 20;

/// How many files each program works on at the same time: what Stockroom does unless it is told.
const AT_ONCE: &str = "8";

/// Somebody who moves the files.
enum Mover {
    Stockroom(Contestant),
    /// A Stockroom from before a change, whose retiring may be something else.
    Earlier(Contestant),
    Rclone(Contestant),
    S5cmd(Contestant),
}

/// What one turn took.
#[derive(Debug, Clone, Copy)]
struct Turn {
    wall: Duration,
    cpu: Duration,
    peak_rss_bytes: u64,
    /// What the server spent meanwhile, on the same processors.
    server_cpu: Duration,
}

impl Turn {
    /// This one, and then another program.
    fn and(&self, other: &Self) -> Self {
        Self {
            wall: self.wall + other.wall,
            cpu: self.cpu + other.cpu,
            peak_rss_bytes: self.peak_rss_bytes.max(other.peak_rss_bytes),
            server_cpu: self.server_cpu + other.server_cpu,
        }
    }
}

/// A row of the table: a name, and a turn in each round.
struct Row {
    name: String,
    turns: Vec<Turn>,
}

impl Row {
    fn new(name: String) -> Self {
        Self {
            name,
            turns: Vec::new(),
        }
    }

    fn walls(&self) -> Vec<f64> {
        let walls = self.turns.iter().map(|it| it.wall.as_secs_f64());
        walls.collect()
    }

    /// Processor time of the program and of the server for it.
    fn work(&self) -> f64 {
        let of = |it: &Turn| (it.cpu + it.server_cpu).as_secs_f64();
        median(self.turns.iter().map(of))
    }

    fn cells(&self, against: &Self) -> [String; 7] {
        let (turns, walls) = (&self.turns, self.walls());
        let cpu = median(turns.iter().map(|it| it.cpu.as_secs_f64()));
        let server = median(turns.iter().map(|it| it.server_cpu.as_secs_f64()));
        let peak = median(turns.iter().map(|it| mib(it.peak_rss_bytes)));
        [
            self.name.clone(),
            spread(&walls),
            format!("{:.2}", median(walls) / median(against.walls())),
            format!("{cpu:.2}"),
            format!("{server:.2}"),
            format!("{:.2}", self.work() / against.work()),
            format!("{peak:.0}"),
        ]
    }
}

/// What all turns share.
struct Site<'a> {
    bench: &'a Bench,
    s3: S3Server,
    shop: Shop,
    files: PathBuf,
}

/// Everybody moves the same files to an empty bucket, in turns.
pub(crate) fn beside_peers(bench: &Bench) -> Outcome<Section> {
    say("making files");
    let files = bench.scratch.join("files");
    write_files(&files, "small", SMALL_FILES, SMALL_BYTES)?;
    write_files(&files, "large", LARGE_FILES, LARGE_BYTES)?;
    let site = Site {
        s3: S3Server::start(bench)?,
        shop: Shop::of_files(bench, "shop", &files)?,
        bench,
        files,
    };
    let movers = movers(bench);
    let mut rows: Vec<Row> = movers.iter().map(|it| Row::new(it.name())).collect();
    let mut checked: Vec<Row> = movers
        .iter()
        .filter_map(Mover::with_check)
        .map(Row::new)
        .collect();
    // The first round fills caches and is left out.
    for round in 0..=bench.rounds {
        for index in order(round, movers.len()) {
            let (turn, with_check) = site.turn(&movers[index], index, round)?;
            say(&format!(
                "round {round}: {} took {:.2} s",
                movers[index].name(),
                turn.wall.as_secs_f64()
            ));
            if round > 0 {
                rows[index].turns.push(turn);
                let name = movers[index].with_check();
                let row = checked
                    .iter_mut()
                    .find(|it| Some(&it.name) == name.as_ref());
                if let (Some(row), Some(turn)) = (row, with_check) {
                    row.turns.push(turn);
                }
            }
        }
    }
    fs::remove_dir_all(&site.files)?;
    fs::remove_dir_all(&site.shop.folder)?;
    rows.extend(checked);
    Ok(section(bench, &rows))
}

fn movers(bench: &Bench) -> Vec<Mover> {
    let mut movers = vec![Mover::Stockroom(bench.stockroom.clone())];
    movers.extend(bench.beside.iter().cloned().map(Mover::Earlier));
    movers.extend(bench.peers.rclone.clone().map(Mover::Rclone));
    movers.extend(bench.peers.s5cmd.clone().map(Mover::S5cmd));
    movers
}

fn section(bench: &Bench, rows: &[Row]) -> Section {
    let mut table = Table::new(&[
        "program",
        "wall s (least to most)",
        "ratio",
        "CPU s",
        "CPU s of the server",
        "ratio of both",
        "peak RSS MiB",
    ]);
    for row in rows {
        table.row(row.cells(&rows[0]));
    }
    let what = format!(
        "{SMALL_FILES} files of {SMALL_BYTES} bytes and {LARGE_FILES} of {} MiB to an empty bucket, \
         {AT_ONCE} at a time; medians of {} rounds in turns, after one that does not count. The \
         ratios are to the first row: of the wall times, and of the processor time of program and \
         server together.",
        LARGE_BYTES >> 20,
        bench.rounds
    );
    Section {
        name: "migrate",
        text: vec![what, table.to_string()],
    }
}

impl Mover {
    fn name(&self) -> String {
        match self {
            Self::Stockroom(it) | Self::Earlier(it) => format!("{} migrate run", it.name),
            Self::Rclone(_) => "rclone copy".to_owned(),
            Self::S5cmd(_) => "s5cmd cp".to_owned(),
        }
    }

    /// What it is called when it reads everything back afterwards; none when it does not.
    fn with_check(&self) -> Option<String> {
        match self {
            Self::Stockroom(it) => {
                Some(format!("{0} migrate run, then {0} migrate retire", it.name))
            }
            Self::Rclone(_) => Some("rclone copy, then rclone check --download".to_owned()),
            Self::Earlier(_) | Self::S5cmd(_) => None,
        }
    }
}

impl Site<'_> {
    /// One turn; where there is a check of its own, once more with that.
    fn turn(&self, mover: &Mover, index: usize, round: usize) -> Outcome<(Turn, Option<Turn>)> {
        let bucket = format!("bucket-{round}-{index}");
        let folder = self.s3.bucket(&bucket)?;
        // What others left to be written is not this one's work.
        rustix::fs::sync();
        let mut checked = None;
        let turn = match mover {
            Mover::Stockroom(it) | Mover::Earlier(it) => {
                let shop = self.shop.again(&self.bench.scratch.join("turn"))?;
                let mut migrate = super::migrate(&shop, &it.program, &self.s3, &bucket);
                let copied = self.measured(&mut migrate)?;
                if mover.with_check().is_some() {
                    // The bytes on the source stay for the grace period.
                    let mut retire = shop.command(&it.program, Some((&self.s3, &bucket)));
                    retire.env("STORAGE_MODE", "s3");
                    retire.args(["migrate", "retire", "--from", "local"]);
                    checked = Some(copied.and(&self.measured(&mut retire)?));
                }
                fs::remove_dir_all(&shop.folder)?;
                copied
            }
            Mover::Rclone(it) => {
                let copied = self.measured(&mut self.rclone(&it.program, "copy", &bucket))?;
                let mut check = self.rclone(&it.program, "check", &bucket);
                checked = Some(copied.and(&self.measured(check.arg("--download"))?));
                copied
            }
            Mover::S5cmd(it) => self.measured(&mut self.s5cmd(&it.program, &bucket))?,
        };
        self.expect_all(&folder, mover)?;
        self.s3.empty()?;
        Ok((turn, checked))
    }

    fn measured(&self, command: &mut Command) -> Outcome<Turn> {
        let server = self.s3.server.pid();
        let before = measure::cpu(server)?;
        let Taken {
            wall,
            cpu,
            peak_rss_bytes,
            status,
        } = measure::run(command, None)?;
        if !status.success() {
            let program = command.get_program().display();
            return Err(format!("{program} ended with {status}").into());
        }
        Ok(Turn {
            wall,
            cpu,
            peak_rss_bytes,
            server_cpu: measure::cpu(server)?.saturating_sub(before),
        })
    }

    /// Its defaults but for how much is done at once and that it need not look for the bucket.
    fn rclone(&self, program: &Path, what: &str, bucket: &str) -> Command {
        let mut command = Command::new(program);
        command
            .arg(what)
            .arg(&self.files)
            .arg(format!("bench:{bucket}"))
            .args(["--transfers", AT_ONCE, "--checkers", AT_ONCE])
            .args(["--s3-no-check-bucket", "--quiet"])
            .env_remove("AWS_CA_BUNDLE")
            .env("RCLONE_CONFIG", "/dev/null")
            .env("RCLONE_CONFIG_BENCH_TYPE", "s3")
            .env("RCLONE_CONFIG_BENCH_PROVIDER", "Other")
            .env("RCLONE_CONFIG_BENCH_ENDPOINT", self.s3.endpoint())
            .env("RCLONE_CONFIG_BENCH_REGION", S3Server::REGION)
            .env("RCLONE_CONFIG_BENCH_ACCESS_KEY_ID", S3Server::KEY_ID)
            .env("RCLONE_CONFIG_BENCH_SECRET_ACCESS_KEY", S3Server::SECRET);
        if what == "copy" {
            command.arg("--checksum");
        }
        command
    }

    fn s5cmd(&self, program: &Path, bucket: &str) -> Command {
        let mut command = Command::new(program);
        command
            .args(["--endpoint-url", &self.s3.endpoint()])
            .args(["--log", "error", "--numworkers", AT_ONCE])
            .arg("cp")
            .arg(format!("{}/", self.files.display()))
            .arg(format!("s3://{bucket}/"))
            .env("AWS_ACCESS_KEY_ID", S3Server::KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", S3Server::SECRET)
            .env("AWS_REGION", S3Server::REGION);
        command
    }

    /// A turn that left something out is none.
    fn expect_all(&self, folder: &Path, mover: &Mover) -> Outcome<()> {
        let expected = SMALL_FILES * SMALL_BYTES as u64 + LARGE_FILES * LARGE_BYTES as u64;
        let mut found = 0;
        for path in files_below(folder)? {
            let is_own = path.components().any(|it| it.as_os_str() == ".stockroom");
            if !is_own {
                found += fs::metadata(path)?.len();
            }
        }
        match found == expected {
            true => Ok(()),
            false => {
                let name = mover.name();
                Err(format!("{name} left {found} bytes in the bucket, not {expected}").into())
            }
        }
    }
}
