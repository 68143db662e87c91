//! Downloads of one file by many: gated, but by nginx.

use std::fs;

use super::contender::{Contender, Offer, Running, Store, services_and_nginx};
use super::model_file::ModelFile;
use super::rows::{Rows, Turn, measured};
use super::{LARGE_FACETS, MANY, SMALL_FACETS};
use crate::figures::Unit;
use crate::page::Section;
use crate::wrk::Load;
use crate::{Bench, Measured, Outcome, say};

/// More than any head of an answer here.
pub(super) const MOST_OF_A_HEAD: u64 = 2_048;

/// What is downloaded.
struct Download {
    section: &'static str,
    work: &'static str,
    unit: Unit,
    facets: u32,
    connections: u64,
}

/// A small file, where it counts what a request costs.
pub(crate) fn small(bench: &Bench) -> Outcome<Measured> {
    Download {
        section: "small",
        work: "download 20 kB",
        unit: Unit::RequestsPerSecond,
        facets: SMALL_FACETS,
        connections: MANY,
    }
    .compare(bench)
}

/// A large file, where it counts what a byte costs.
pub(crate) fn large(bench: &Bench) -> Outcome<Measured> {
    Download {
        section: "large",
        work: "download 256 MiB",
        unit: Unit::MegabytesPerSecond,
        facets: LARGE_FACETS,
        connections: 4,
    }
    .compare(bench)
}

/// Has the server show that it sends these bytes, and to the buyer alone.
pub(super) fn expect_gated(running: &Running, offer: &Offer, file: &ModelFile) -> Outcome<()> {
    if running.has_gate() {
        let status = running.connect(&[])?.status(&offer.download)?;
        if !matches!(status, 401 | 403) {
            return Err(format!("somebody who bought nothing was answered by {status}").into());
        }
    }
    let digest = running.connect(&running.buyer)?.digest(&offer.download)?;
    match digest == file.digest {
        true => Ok(()),
        false => Err("other bytes came than were uploaded".into()),
    }
}

impl Download {
    fn compare(&self, bench: &Bench) -> Outcome<Measured> {
        let contenders = services_and_nginx(bench);
        let folder = bench.scratch.join("downloaded");
        let file = ModelFile::write(&folder, self.facets)?;
        say(&format!("{}: starting everybody", self.work));
        let mut servers = Vec::new();
        for contender in &contenders {
            servers.push(ready(bench, contender, &file)?);
        }
        let work = (self.work, self.unit);
        let rows = Rows::of_turns(bench, work, &contenders, |index| {
            self.turn(bench, &servers[index], &file)
        })?;
        for (running, _) in servers {
            running.end()?;
        }
        fs::remove_dir_all(folder)?;
        let what = format!(
            "{} bytes from the disk, `wrk -t1 -c{} -d{}s`; medians of {} rounds in turns, after one that does \
             not count.",
            file.size_bytes, self.connections, bench.seconds, bench.rounds
        );
        Ok(Measured {
            section: Section {
                name: self.section,
                text: vec![what, rows.table().to_string()],
            },
            figures: rows.figures(),
        })
    }

    fn turn(&self, bench: &Bench, server: &(Running, Offer), file: &ModelFile) -> Outcome<Turn> {
        let (running, offer) = server;
        let load = Load {
            url: running.url(&offer.download),
            headers: &running.buyer,
            connections: self.connections,
            seconds: bench.seconds,
            requests: "",
        };
        let (tally, cpu_s) = measured(&running.server, || load.run(bench.wrk()?, &bench.scratch))?;
        tally.expect_success()?;
        let each = file.size_bytes..=file.size_bytes + MOST_OF_A_HEAD;
        tally.expect_bytes(&each, self.connections)?;
        let gigabytes = tally.bytes as f64 / 1e9;
        let (value, units) = match self.unit {
            Unit::RequestsPerSecond => (tally.requests_per_second(), tally.requests as f64 / 1e4),
            Unit::MegabytesPerSecond => (gigabytes * 1e3 / tally.seconds, gigabytes),
            Unit::Seconds => (tally.seconds, gigabytes),
        };
        Ok(Turn {
            value,
            cpu_s: cpu_s / units,
            peak_rss_bytes: running.server.peak_rss_bytes_of_all()?,
        })
    }
}

fn ready(bench: &Bench, contender: &Contender, file: &ModelFile) -> Outcome<(Running, Offer)> {
    let running = contender.start(bench, Store::Disk)?;
    let ready = running.sell(file).and_then(|offer| {
        expect_gated(&running, &offer, file)?;
        Ok(offer)
    });
    let offer = ready.map_err(|error| format!("{}: {error}", contender.name()))?;
    Ok((running, offer))
}
