//! URLs of a bucket that are signed for whoever bought what is there.

use std::fs;

use serde_json::json;

use super::contender::{Contender, Offer, Running, Store, services};
use super::downloads::MOST_OF_A_HEAD;
use super::model_file::ModelFile;
use super::rows::{Rows, Turn, measured};
use super::{MANY, SMALL_FACETS};
use crate::figures::Unit;
use crate::http::{Connection, split_url};
use crate::page::Section;
use crate::server::S3Server;
use crate::wrk::Load;
use crate::{Bench, Measured, Outcome, say};

const WORK: (&str, Unit) = ("sign a URL of S3", Unit::RequestsPerSecond);

/// By how much one answer may be longer or shorter than another of the same server.
const VARIES_BYTES: u64 = 64;

/// Somebody who signs, and how long an answer is.
struct Signer {
    running: Running,
    offer: Offer,
    answer_bytes: u64,
}

/// How many URLs are signed in a second, each after a look at the purchase.
pub(crate) fn signed(bench: &Bench) -> Outcome<Measured> {
    let contenders = services(bench);
    let s3 = S3Server::start(bench)?;
    let folder = bench.scratch.join("signed");
    let file = ModelFile::write(&folder, SMALL_FACETS)?;
    say("starting everybody on buckets");
    let mut signers = Vec::new();
    for (index, contender) in contenders.iter().enumerate() {
        let bucket = format!("signed-{index}");
        s3.bucket(&bucket)?;
        let signer = signer(bench, contender, Store::Bucket(&s3, &bucket), &file);
        signers.push(signer.map_err(|error| format!("{}: {error}", contender.name()))?);
    }
    let rows = Rows::of_turns(bench, WORK, &contenders, |index| {
        turn(bench, &signers[index])
    })?;
    for signer in signers {
        signer.running.end()?;
    }
    fs::remove_dir_all(folder)?;
    s3.empty()?;
    let what = format!(
        "`wrk -t1 -c{MANY} -d{}s`; medians of {} rounds in turns, after one that does not count.",
        bench.seconds, bench.rounds
    );
    Ok(Measured {
        section: Section {
            name: "signed",
            text: vec![what, rows.table().to_string()],
        },
        figures: rows.figures(),
    })
}

/// Starts one of them, and follows a URL of it to the bytes.
fn signer(
    bench: &Bench,
    contender: &Contender,
    store: Store<'_>,
    file: &ModelFile,
) -> Outcome<Signer> {
    let running = contender.start(bench, store)?;
    let offer = running.sell(file)?;
    let (method, path) = &offer.signed;
    let ask = |headers: &[String]| {
        let mut connection = running.connect(headers)?;
        match *method {
            "GET" => connection.get(path),
            _ => connection.send(method, path, &json!({})),
        }
    };
    if let Ok(answer) = ask(&[]) {
        return Err(format!("somebody who bought nothing was answered by {answer}").into());
    }
    let answer = ask(&running.buyer)?;
    let url = answer["url"].as_str().ok_or("an answer without a URL")?;
    let (address, path) = split_url(url)?;
    if Connection::with_headers(address, &[])?.digest(path)? != file.digest {
        return Err("a signed URL leads to other bytes".into());
    }
    Ok(Signer {
        answer_bytes: answer.to_string().len() as u64,
        running,
        offer,
    })
}

fn turn(bench: &Bench, signer: &Signer) -> Outcome<Turn> {
    let (method, path) = &signer.offer.signed;
    let load = Load {
        url: signer.running.url(path),
        headers: &signer.running.buyer,
        connections: MANY,
        seconds: bench.seconds,
        requests: match *method {
            "GET" => "",
            _ => {
                "wrk.method = 'POST'\nwrk.body = '{}'\n\
                 wrk.headers['content-type'] = 'application/json'\n"
            }
        },
    };
    let server = &signer.running.server;
    let (tally, cpu_s) = measured(server, || load.run(bench.wrk()?, &bench.scratch))?;
    tally.expect_success()?;
    let least = signer.answer_bytes.saturating_sub(VARIES_BYTES);
    let most = signer.answer_bytes + VARIES_BYTES + MOST_OF_A_HEAD;
    tally.expect_bytes(&(least..=most), MANY)?;
    Ok(Turn {
        value: tally.requests_per_second(),
        cpu_s: cpu_s / (tally.requests as f64 / 1e4),
        peak_rss_bytes: server.peak_rss_bytes_of_all()?,
    })
}
