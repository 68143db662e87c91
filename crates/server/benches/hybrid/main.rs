//! What two stores cost in the place of one, and what it costs to lose one of them: `make bench`.
//!
//! Whole Stockrooms, assembled as `stockroom serve` assembles them, answer over real connections.
//! They are measured in turns, and each round compares them with local mode in the same round:
//! what else the machine does meets all of them, so the ratios mean something where the times do
//! not. A ratio is the median over the rounds, with its quartiles. `local again` is local mode
//! once more, in a turn of its own: how far its ratio is from 1 is what the machine adds.
//!
//! ```text
//! cargo bench -p stockroom --bench hybrid                everything
//! cargo bench -p stockroom --bench hybrid -- catch-up    one of download, catch-up, upload
//! ```
//!
//! With `STOCKROOM_TEST_POSTGRES_URL` catching up is measured on PostgreSQL too. The exit status
//! does not depend on the figures: timing is no test.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark that cannot be set up has to stop"
)]

mod client;
mod series;
mod stall;
#[path = "../../tests/http/support.rs"]
#[expect(dead_code, reason = "not everything there is needed here")]
mod support;

use std::thread;
use std::time::Duration;

use chaos_s3::{Fault, FaultAction, Operation};
use tokio::runtime::Runtime;
use tokio::time::Instant;

use client::exchange_once;
use series::{Goal, Series, Spread, time, verdict};
use stall::{Size, Stall, owed, start, start_on_postgres};
use support::Backend;

const QUEUED_UPLOADS: usize = 1_000;
const CATCH_UP_RUNS: usize = 3;

/// What the figures are to stay under: a ratio to local mode at the median, one at the 99th
/// percentile, and a time.
const HEALTHY_GOAL: Goal = Goal::P50(1.1);
const OUTAGE_GOAL: Goal = Goal::P99(1.5);
const CATCH_UP_GOAL_S: f64 = 20.0;

fn main() {
    // Cargo adds `--bench`; what is no option names the parts that are wanted.
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let is_wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|word| word == part);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut goals = Vec::new();
    if is_wanted("download") {
        goals.extend(download(&runtime));
    }
    if is_wanted("catch-up") {
        goals.extend(catch_up(&runtime));
    }
    if is_wanted("upload") {
        upload(&runtime);
    }
    println!();
    goals.iter().for_each(|goal| println!("{goal}"));
    runtime.shutdown_timeout(Duration::from_secs(5));
}

/// How the bucket of a hybrid is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bucket {
    Well,
    /// It refuses connections.
    Away,
    /// It accepts connections and never answers.
    Silent,
}

/// Downloads of small files in local mode, and in hybrid mode with and without a bucket. The
/// lines about the goals.
fn download(runtime: &Runtime) -> Vec<String> {
    println!("What the first to notice pays, before the breaker opens:");
    let local = Stall::stocked(runtime, Backend::Local, &[]);
    let hybrids = [
        ("hybrid local-first", "local-first", Bucket::Well),
        ("hybrid s3-first", "s3-first", Bucket::Well),
        ("local-first, bucket away", "local-first", Bucket::Away),
        ("s3-first, bucket away", "s3-first", Bucket::Away),
        ("local-first, bucket silent", "local-first", Bucket::Silent),
        ("s3-first, bucket silent", "s3-first", Bucket::Silent),
    ]
    .map(|(name, order, bucket)| {
        let stall = Stall::stocked(runtime, Backend::Hybrid, &[("HYBRID_READ", order)]);
        (name, order, bucket, stall)
    });
    thread::scope(|scope| {
        for (name, order, bucket, stall) in &hybrids {
            scope.spawn(|| lose(runtime, stall, name, order, *bucket));
        }
    });
    let mut goals = Vec::new();
    for size in Size::ALL {
        let mut series = Series::new(format!("download of {}", size.name()), 31);
        series.add("local", None, |_| local.downloads(size, 250));
        series.add("local again", None, |_| local.downloads(size, 250));
        for (name, order, bucket, stall) in &hybrids {
            let goal = match (*order, bucket) {
                ("local-first", Bucket::Well) => Some(HEALTHY_GOAL),
                // Every download makes a call to the bucket: that is what was chosen.
                (_, Bucket::Well) => None,
                (_, Bucket::Away | Bucket::Silent) => Some(OUTAGE_GOAL),
            };
            series.add(name, goal, |_| stall.downloads(size, 250));
        }
        series.run();
        goals.extend(series.report());
    }
    for (name, _, bucket, stall) in &hybrids {
        let is_as_it_was = stall.is_available() == (*bucket == Bucket::Well);
        assert!(is_as_it_was, "{name}: the breaker moved meanwhile");
    }
    goals
}

/// Takes the bucket away and waits until the breaker is open; prints what that costs the first
/// caller who notices.
fn lose(runtime: &Runtime, stall: &Stall, name: &str, order: &str, bucket: Bucket) {
    let chaos = stall.shop.chaos();
    match bucket {
        Bucket::Well => return,
        Bucket::Away => chaos.set_online(false).unwrap(),
        Bucket::Silent => chaos.fault(Fault::new(Operation::Any, FaultAction::Hang).forever()),
    }
    // Downloads that find their bytes in the folder never ask the bucket; an upload does.
    let (what, work) = match order {
        "s3-first" => ("download", stall.downloads(Size::Small, 1)),
        _ => ("upload", stall.uploads("first", 1)),
    };
    let begun = Instant::now();
    exchange_once(&work);
    let took = begun.elapsed();
    println!("  {name}: the first {what} takes {}", time(took));
    let limit = Duration::from_secs(60);
    let is_open = async || !stall.is_available();
    wait(runtime, limit, "the breaker is open", is_open);
}

/// How long the uploads of an outage are owed to the bucket once it is back. The lines about the
/// goals.
fn catch_up(runtime: &Runtime) -> Vec<String> {
    println!("\ncatching up with {QUEUED_UPLOADS} uploads of 20 kB, once the bucket is back:");
    let stall = Stall::empty(runtime, start(runtime, Backend::Hybrid, &[]));
    let mut goals = vec![catch_up_on(runtime, "SQLite", &stall)];
    if let Some(shop) = start_on_postgres(runtime) {
        let stall = Stall::empty(runtime, shop);
        goals.push(catch_up_on(runtime, "PostgreSQL", &stall));
    }
    goals
}

fn catch_up_on(runtime: &Runtime, database: &str, stall: &Stall) -> String {
    let (app, chaos) = (&stall.shop.app, stall.shop.chaos());
    let mut seconds = Vec::new();
    for run in 0..CATCH_UP_RUNS {
        let keys_before = chaos.keys().len();
        chaos.set_online(false).unwrap();
        let begun = Instant::now();
        stall.uploads(&format!("run{run}"), QUEUED_UPLOADS).run();
        let uploading = begun.elapsed();
        assert_eq!(runtime.block_on(owed(app)), QUEUED_UPLOADS as u64);
        let begun = Instant::now();
        chaos.set_online(true).unwrap();
        let limit = Duration::from_secs(300);
        let has_begun = async || owed(app).await < QUEUED_UPLOADS as u64;
        wait(runtime, limit, "a copy is made", has_begun);
        let noticing = begun.elapsed();
        let is_done = async || owed(app).await == 0;
        wait(runtime, limit, "nothing is owed", is_done);
        let took = begun.elapsed();
        assert_eq!(chaos.keys().len() - keys_before, QUEUED_UPLOADS);
        println!(
            "  {database}: {}, the first copy after {} (the uploads took {})",
            time(took),
            time(noticing),
            time(uploading)
        );
        seconds.push(took.as_secs_f64());
    }
    // A promise about outages has to hold for each of them, the first one too.
    let slowest = seconds.iter().copied().fold(0.0, f64::max);
    let median = Spread::of(seconds).median;
    let verdict = verdict(slowest < CATCH_UP_GOAL_S);
    format!(
        "catch-up on {database}: {median:.1} s, at most {slowest:.1} s \
         (goal {CATCH_UP_GOAL_S} s, {verdict})"
    )
}

/// Uploads in local mode, and in hybrid mode with and without a bucket.
fn upload(runtime: &Runtime) {
    println!();
    let stall = |backend| Stall::empty(runtime, start(runtime, backend, &[]));
    let (local, hybrid) = (stall(Backend::Local), stall(Backend::Hybrid));
    let away = stall(Backend::Hybrid);
    lose(runtime, &away, "bucket away", "local-first", Bucket::Away);
    let entries = [
        ("local", &local),
        ("local again", &local),
        ("hybrid", &hybrid),
        ("hybrid, bucket away", &away),
    ];
    let mut series = Series::new("upload of 20 kB".to_owned(), 9);
    for (index, (name, stall)) in entries.into_iter().enumerate() {
        series.add(name, None, move |round| {
            stall.uploads(&format!("s{index}r{round}"), 100)
        });
    }
    series.run();
    series.report();
}

fn wait(runtime: &Runtime, limit: Duration, what: &str, is_so: impl AsyncFn() -> bool) {
    runtime.block_on(async {
        let until_so = async {
            while !is_so().await {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let outcome = tokio::time::timeout(limit, until_so).await;
        outcome.unwrap_or_else(|_| panic!("waited {limit:?} in vain until {what}"));
    });
}
