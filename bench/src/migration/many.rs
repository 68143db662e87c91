//! Migrations of many objects: the memory of one, and what a plan takes.

use std::fs;

use crate::measure;
use crate::page::Section;
use crate::samples::{median, spread};
use crate::server::{S3Server, files_below};
use crate::shop::Shop;
use crate::table::{Table, mib};
use crate::{Bench, Outcome, say};

/// The memory of a migration of many tiny objects, beside that of a tenth of them.
pub(crate) fn memory(bench: &Bench) -> Outcome<Section> {
    let s3 = S3Server::start(bench)?;
    let mut table = Table::new(&["objects", "wall s", "CPU s", "peak RSS MiB"]);
    for count in [bench.tiny / 10, bench.tiny] {
        say(&format!("making {count} tiny objects"));
        let shop = Shop::of_tiny_files(bench, "tiny", count)?;
        let folder = s3.bucket("tiny")?;
        say("migrating them");
        let mut command = super::migrate(&shop, &bench.stockroom.program, &s3, "tiny");
        let taken = measure::run(&mut command, None)?;
        let there = files_below(&folder)?.len() as u64;
        // One more is the id of the store.
        if !taken.status.success() || there != count + 1 {
            return Err(format!("{there} of {count} objects arrived: {}", taken.status).into());
        }
        table.row([
            count.to_string(),
            format!("{:.1}", taken.wall.as_secs_f64()),
            format!("{:.1}", taken.cpu.as_secs_f64()),
            format!("{:.1}", mib(taken.peak_rss_bytes)),
        ]);
        fs::remove_dir_all(&shop.folder)?;
        s3.empty()?;
    }
    Ok(Section {
        name: "memory",
        text: vec![
            "`stockroom migrate run --to s3` over objects of some 30 bytes each.".to_owned(),
            table.to_string(),
        ],
    })
}

/// What a plan over a large catalog takes.
pub(crate) fn plan(bench: &Bench) -> Outcome<Section> {
    let s3 = S3Server::start(bench)?;
    s3.bucket("planned")?;
    say(&format!("making a catalog of {} objects", bench.catalogued));
    let shop = Shop::of_rows(bench, "planned", bench.catalogued)?;
    let (mut walls, mut cpus, mut peaks) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let mut command = shop.command(&bench.stockroom.program, Some((&s3, "planned")));
        let taken = measure::run(command.args(["migrate", "plan", "--to", "s3"]), None)?;
        if !taken.status.success() {
            return Err(format!("the plan ended with {}", taken.status).into());
        }
        walls.push(taken.wall.as_secs_f64());
        cpus.push(taken.cpu.as_secs_f64());
        peaks.push(mib(taken.peak_rss_bytes));
    }
    fs::remove_dir_all(&shop.folder)?;
    s3.empty()?;
    let mut table = Table::new(&[
        "objects",
        "wall s (least to most)",
        "CPU s (least to most)",
        "peak RSS MiB",
    ]);
    table.row([
        bench.catalogued.to_string(),
        spread(&walls),
        spread(&cpus),
        format!("{:.1}", median(peaks)),
    ]);
    let what = format!(
        "`stockroom migrate plan --to s3`, an empty bucket, {} times.",
        bench.rounds
    );
    Ok(Section {
        name: "plan",
        text: vec![what, table.to_string()],
    })
}
