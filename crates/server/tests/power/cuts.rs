//! Invariant 2: what was acknowledged survives a power cut.
//!
//! A cut is taken by stopping the server in its tracks and reading the disks beneath the file
//! systems, where nothing is that the kernel still keeps in memory. The order matters:
//!
//! 1. The server is stopped: from now on nothing is acknowledged, and nobody writes to the disks.
//!    Answers that it had given before still reach the clients.
//! 2. What the clients know is noted. All of it was acknowledged before the cut.
//! 3. The disks are read. The kernel may write back meanwhile, so they are read until two readings
//!    agree; what came to the disks after (2) can only be more than a cut at (2) would have left.
//!
//! A cut falls between two system calls of each thread, not into the middle of a commit of the
//! journal, which the file system makes atomic.
//!
//! An fsync commits the whole journal of ext4, and with it the names that others made shortly
//! before. So where the database lies on the same disk as the files, its fsync hides that a
//! directory was not synced; where uploads run side by side, they hide it for each other. That
//! is why the database has a disk of its own in half of the runs, and why many cuts come right
//! after an answer, when nothing else goes on.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use stockroom_domain::{Entropy, SystemEntropy};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::clients::{Access, Client};
use crate::disk::{Disk, Image};
use crate::ledger::{Ledger, Record};
use crate::server::{Server, Settings, operator_key};
use crate::verdict::{Verdict, judge};
use crate::{is_long, namespace};

const WHAT: &str = "power cuts";
/// How often each machine is started; but for the first time, on what the last cut left.
const RUNS: usize = 2;
const CUTS_PER_RUN: usize = 5;
/// How many clients there are under load.
const CLIENTS: u64 = 4;
/// How long answers that were given need to be noted.
const LAST_ANSWERS: Duration = Duration::from_millis(5);

#[test]
fn a_power_cut_right_after_an_acknowledgement_loses_nothing() {
    let test = "cuts::a_power_cut_right_after_an_acknowledgement_loses_nothing";
    let machines = if is_long() { 8 } else { 1 };
    cut_many(test, Moment::AfterAnswer, &[Layout::Apart], machines);
}

#[test]
fn a_power_cut_under_load_loses_nothing() {
    let test = "cuts::a_power_cut_under_load_loses_nothing";
    let layouts = [Layout::Apart, Layout::Together];
    let machines_each = if is_long() { 6 } else { 1 };
    cut_many(test, Moment::Any, &layouts, machines_each);
}

/// Where the database lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// On the disk of the files, as by default.
    Together,
    /// On a disk of its own, which is cut at the same moment.
    Apart,
}

/// When the power is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// Right after an answer, while nothing else goes on.
    AfterAnswer,
    /// At any moment, while several clients are busy.
    Any,
}

/// The seed repeats what clients do and how long they are let do it, not the speed of the machine.
fn cut_many(test: &str, moment: Moment, layouts: &[Layout], machines_each: usize) {
    namespace::run(WHAT, test, || {
        if let Some(problem) = Disk::problem() {
            return namespace::skip(WHAT, &problem);
        }
        let seed = std::env::var("STOCKROOM_SEED").map_or_else(
            |_| u64::from_le_bytes((&SystemEntropy as &dyn Entropy).bytes()),
            |seed| seed.parse().unwrap(),
        );
        println!("STOCKROOM_SEED={seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let mut verdict = Verdict::default();
        for layout in layouts {
            for _ in 0..machines_each {
                let machine = Machine::new(*layout);
                let found = runtime.block_on(live_through(machine, moment, &mut random));
                verdict.add(found);
            }
        }
        report(
            layouts.len() * machines_each * RUNS * CUTS_PER_RUN,
            &verdict,
        );
    });
}

fn report(cuts: usize, verdict: &Verdict) {
    let (objects, deletions) = (verdict.objects, verdict.deletions);
    let lost = verdict.lost.len();
    println!("figure: {cuts} power cuts, {objects} acknowledged objects checked, lost {lost}");
    println!("figure: {cuts} power cuts, {deletions} acknowledged deletions checked");
    let some = |problems: &[String]| problems[..problems.len().min(10)].join("\n");
    assert!(lost == 0, "{lost} lost:\n{}", some(&verdict.lost));
    let wrong = verdict.wrong.len();
    assert!(wrong == 0, "{wrong} wrong:\n{}", some(&verdict.wrong));
    assert!(objects > cuts, "hardly anything was acknowledged");
}

/// Runs a server, cuts its power again and again, and goes on with what the last cut left.
async fn live_through(mut machine: Machine, moment: Moment, random: &mut StdRng) -> Verdict {
    let operator_key = operator_key(&machine.settings(), machine.elsewhere.path());
    let mut record = Record::default();
    let mut verdict = Verdict::default();
    for number in 0..RUNS {
        let run = Run {
            number,
            server: Server::spawn(&machine.settings(), machine.elsewhere.path()),
            machine: &machine,
            ledger: Arc::new(Ledger::after_power_cut(record)),
            operator_key: &operator_key,
            random: &mut *random,
            verdict: &mut verdict,
        };
        let left = run.cut_often(moment).await;
        machine = machine.copy_of(&left.images);
        record = left.record;
    }
    verdict
}

/// What a power cut leaves: the disks, and what clients know.
struct Left {
    images: Vec<Image>,
    record: Record,
}

/// A server that runs until its last power cut.
struct Run<'a> {
    number: usize,
    server: Server,
    machine: &'a Machine,
    ledger: Arc<Ledger>,
    operator_key: &'a str,
    random: &'a mut StdRng,
    verdict: &'a mut Verdict,
}

impl Run<'_> {
    /// Cuts the power as often as a run may; what the last cut left.
    async fn cut_often(mut self, moment: Moment) -> Left {
        let mut cuts = CUTS_PER_RUN;
        if self.number > 0 {
            // A server that starts after a power cut may see the next one at once.
            self.pause(0..100).await;
            self.cut().await;
            cuts -= 1;
        }
        let access = Access {
            http: client(),
            url: self.server.url(),
            key: self.operator_key.to_owned(),
        };
        match moment {
            Moment::AfterAnswer => self.cut_after_answers(cuts, access).await,
            Moment::Any => self.cut_under_load(cuts, access).await,
        }
    }

    async fn cut_after_answers(mut self, cuts: usize, access: Access) -> Left {
        let mut client = self.client(0, access).await;
        let mut left = None;
        for _ in 0..cuts {
            for _ in 0..self.random.random_range(1..4) {
                client.step().await;
            }
            left = Some(self.cut().await);
        }
        left.unwrap()
    }

    async fn cut_under_load(mut self, cuts: usize, access: Access) -> Left {
        let mut busy = JoinSet::new();
        for number in 0..CLIENTS {
            let mut client = self.client(number, access.clone()).await;
            busy.spawn(async move {
                loop {
                    client.step().await;
                }
            });
        }
        let mut left = None;
        for _ in 0..cuts {
            self.pause(20..300).await;
            if let Some(ended) = busy.try_join_next() {
                let ended: Result<(), _> = ended;
                ended.expect("a client got a wrong answer");
            }
            left = Some(self.cut().await);
        }
        left.unwrap()
    }

    fn client(&mut self, number: u64, access: Access) -> impl Future<Output = Client> + use<> {
        let name = format!("run-{}-client-{number}", self.number);
        let (ledger, seed) = (Arc::clone(&self.ledger), self.random.random());
        async move { Client::new(&name, access, ledger, seed).await }
    }

    async fn pause(&mut self, ms: Range<u64>) {
        let ms = self.random.random_range(ms);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// Cuts the power, looks at what is left, and lets the server go on as if nothing had been.
    async fn cut(&mut self) -> Left {
        self.server.freeze();
        tokio::time::sleep(LAST_ANSWERS).await;
        let record = self.ledger.now();
        let images = Disk::images(&self.machine.disks);
        let machine = self.machine.copy_of(&images);
        let (settings, storage_dir) = (machine.settings(), machine.storage_dir());
        let found = Box::pin(judge(&settings, &storage_dir, self.operator_key, &record)).await;
        self.verdict.add(found);
        machine.disks.into_iter().for_each(Disk::check);
        self.server.go_on();
        Left { images, record }
    }
}

fn client() -> reqwest::Client {
    // The process may have one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy();
    // The server stands still while a cut is looked at.
    client.timeout(Duration::from_secs(60)).build().unwrap()
}

/// A machine with its disks.
struct Machine {
    layout: Layout,
    /// The disk of the files, and that of the database when it has one of its own.
    disks: Vec<Disk>,
    /// A folder on no disk of this machine.
    elsewhere: TempDir,
}

impl Machine {
    fn new(layout: Layout) -> Self {
        const FILES_BYTES: u64 = 80 << 20;
        const DATABASE_BYTES: u64 = 32 << 20;
        let sizes: &[u64] = match layout {
            Layout::Together => &[FILES_BYTES],
            Layout::Apart => &[FILES_BYTES, DATABASE_BYTES],
        };
        Self::with(layout, sizes.iter().map(|size| Disk::new(*size)).collect())
    }

    /// Another one, with what a power cut left on the disks of this one.
    fn copy_of(&self, images: &[Image]) -> Self {
        Self::with(
            self.layout,
            images.iter().map(Disk::after_power_cut).collect(),
        )
    }

    fn with(layout: Layout, disks: Vec<Disk>) -> Self {
        let elsewhere = tempfile::tempdir().unwrap();
        Self {
            layout,
            disks,
            elsewhere,
        }
    }

    fn storage_dir(&self) -> PathBuf {
        self.disks[0].path().join("uploads")
    }

    fn settings(&self) -> Settings {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let data_dir = match self.layout {
            Layout::Together => self.disks[0].path(),
            Layout::Apart => self.disks[1].path(),
        };
        vec![
            ("DATA_DIR", text(data_dir)),
            ("STORAGE_DIR", text(&self.storage_dir())),
            ("STORAGE_MODE", "local".to_owned()),
            // So that deletions reach the disk while the power is cut.
            ("DELETE_GRACE", "0s".to_owned()),
            ("LISTEN", "127.0.0.1:0".to_owned()),
        ]
    }
}
