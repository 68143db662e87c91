//! What is copied again after a kill in the middle. Nothing counts requests: the server replaces a
//! file when its object is written again, so each file tells whether that happened.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::measure::{self, now};
use crate::page::Section;
use crate::server::{S3Server, files_below};
use crate::shop::Shop;
use crate::table::Table;
use crate::{Bench, Outcome, say};

const OBJECTS: u64 = 4_000;

/// `kill -9` when half of the objects are there, and the same command once more.
pub(crate) fn resume(bench: &Bench) -> Outcome<Section> {
    let s3 = S3Server::start(bench)?;
    let shop = Shop::of_tiny_files(bench, "resumed", OBJECTS)?;
    let folder = s3.bucket("resumed")?;
    let migrate = || super::migrate(&shop, &bench.stockroom.program, &s3, "resumed");
    say("migrating, to be killed");
    let mut first = migrate()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()?;
    let began = now();
    while files_below(&folder).map_or(0, |it| it.len() as u64) < OBJECTS / 2 {
        if let Some(status) = first.try_wait()? {
            return Err(format!("it ended before it was killed: {status}").into());
        }
        if began.elapsed() > Duration::from_secs(600) {
            return Err("half of the objects do not arrive".into());
        }
        thread::sleep(Duration::from_millis(10));
    }
    first.kill()?;
    first.wait()?;
    // The server ends what it had received.
    thread::sleep(Duration::from_secs(1));
    let before = standing(&folder)?;
    say("going on with it");
    let taken = measure::run(&mut migrate(), None)?;
    if !taken.status.success() {
        return Err(format!("the second run ended with {}", taken.status).into());
    }
    let after = standing(&folder)?;
    let again = before
        .iter()
        .filter(|(path, stamp)| after.get(*path) != Some(*stamp))
        .count();
    fs::remove_dir_all(&shop.folder)?;
    s3.empty()?;
    let mut table = Table::new(&[
        "objects",
        "there when it was killed",
        "written again",
        "of all",
        "the second run",
    ]);
    let share = again as f64 / OBJECTS as f64 * 100.0;
    table.row([
        OBJECTS.to_string(),
        before.len().to_string(),
        again.to_string(),
        format!("{share:.2} %"),
        format!("{:.1} s", taken.wall.as_secs_f64()),
    ]);
    Ok(Section {
        name: "resume",
        text: vec![
            "`kill -9` when half of the objects are in the bucket, then the same command again."
                .to_owned(),
            table.to_string(),
        ],
    })
}

/// Which file each object is: another one when it was written again.
fn standing(folder: &Path) -> Outcome<BTreeMap<PathBuf, (u64, i64, i64)>> {
    let mut standing = BTreeMap::new();
    for path in files_below(folder)? {
        if path.components().any(|it| it.as_os_str() == ".stockroom") {
            continue;
        }
        let found = fs::metadata(&path)?;
        standing.insert(path, (found.ino(), found.mtime(), found.mtime_nsec()));
    }
    Ok(standing)
}
