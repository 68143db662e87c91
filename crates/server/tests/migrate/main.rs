//! `stockroom migrate` with the real program, against an S3 server in the process: a shop moves, and
//! nobody who reads or writes notices (invariant 8 of ARCHITECTURE.md).
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, ending with a panic is how it fails"
)]

mod business;
mod cluster;
#[path = "../power/disk.rs"]
#[expect(
    dead_code,
    reason = "it is shared with the proofs about power cuts, which need disks too"
)]
mod disk;
mod full;
mod kills;
#[path = "../power/namespace.rs"]
mod namespace;
mod place;
mod refusals;
mod second;
mod server;
mod verdict;

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use chaos_s3::{Fault, FaultAction, Operation};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use stockroom::app::App;
use stockroom::flows::objects;
use stockroom::flows::receive::Intake;
use stockroom_domain::{Entropy, SystemEntropy};
use stockroom_storage::Metadata;

use crate::place::{Place, noise};
use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_moves_to_a_bucket_and_back() {
    let place = Place::start().await;
    let files = place.put_files(12).await;

    let plan = place.run(&["migrate", "plan", "--to", "s3"]).only();
    assert_eq!(
        (&plan["objects"], &plan["to_copy"]),
        (&12.into(), &12.into())
    );
    assert_eq!(
        (&plan["collisions"], &plan["without_source"]),
        (&0.into(), &0.into())
    );
    assert!(plan["bytes_per_second"].as_f64().unwrap() > 0.0);
    assert_eq!(
        place.keys_in_bucket(),
        [] as [&str; 0],
        "a plan changes nothing"
    );

    let ran = place.run(&["migrate", "run", "--to", "s3"]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    let status = ran.last();
    assert_eq!(
        json!([status["copied"], status["objects"], status["verified"]]),
        json!([12, 12, 0]),
        "the bucket has compared digests; nothing was read back"
    );
    assert_eq!(place.reads(), 0);
    assert_eq!(
        (&status["phase"], &status["state"]),
        (&"copy".into(), &"finished".into())
    );
    place.assert_in_bucket(&files);

    // New objects would still go to the folder.
    let refused = place.run(&["migrate", "retire", "--from", "local"]);
    assert_eq!(
        (refused.code, refused.error_code()),
        (1, "in_mode".to_owned())
    );
    let elsewhere = place.run(&["migrate", "retire", "--from", "s3"]);
    assert_eq!(elsewhere.code, 1);

    let place = place.in_mode("s3");
    let puts = place.s3().count(Operation::PutObject);
    let again = place.run(&["migrate", "run", "--to", "s3"]);
    assert_eq!(again.last()["copied"], 12);
    assert_eq!(
        place.s3().count(Operation::PutObject),
        puts,
        "nothing is copied twice"
    );

    let retired = place.run(&["migrate", "retire", "--from", "local", "--grace", "0s"]);
    assert_eq!(retired.code, 0, "{}", retired.stdout);
    let status = retired.last();
    assert_eq!(
        json!([status["verified"], status["freed"], status["on_source"]]),
        json!([12, 12, 0])
    );
    let reads = place.reads();
    assert_eq!(reads, 12, "each is read back once");
    assert_eq!(place.files_on_disk(), [] as [&str; 0]);
    place.assert_readable(&files);
    place.assert_verified();

    let refused = place.run(&["migrate", "rollback"]);
    assert_eq!(
        (refused.code, refused.error_code()),
        (1, "in_mode".to_owned())
    );
    let place = place.in_mode("local");
    let back = place.run(&["migrate", "rollback", "--grace", "0s"]);
    assert_eq!(back.code, 0, "{}", back.stdout);
    assert_eq!(back.last()["freed"], 12);
    assert_eq!(place.files_on_disk().len(), 12);
    assert_eq!(place.keys_in_bucket(), [] as [&str; 0], "with all versions");
    place.assert_readable(&files);
    place.assert_verified();
    let over = place.run(&["migrate", "retire", "--from", "local"]);
    assert_ne!(over.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_before_stays_when_a_migration_is_undone() {
    let place = Place::start().await.in_mode("hybrid");
    let files = place.put_files(3).await;
    let place = place.in_mode("local");
    let more = place.put_files_from(3, 2).await;
    let ran = place.run(&["migrate", "run", "--to", "s3"]);
    assert_eq!((ran.code, &ran.last()["copied"]), (0, &5.into()));
    let back = place.run(&["migrate", "rollback", "--grace", "0s"]);
    assert_eq!(back.code, 0, "{}", back.stdout);
    place.assert_in_bucket(&files);
    for key in more.keys() {
        assert!(place.s3().body(key).is_none(), "{key}");
    }
}

/// Only a share of the copies is read back, where an operator says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_sample_is_enough_until_it_finds_damage() {
    let place = Place::start().await.in_mode("hybrid");
    let mut files = place.put_files(50).await;
    let place = place.in_mode("local");
    files.extend(place.put_files_from(50, 10).await);
    let place = place.in_mode("s3");
    let ran = place.run(&["migrate", "run", "--to", "s3", "--from", "local"]);
    assert_eq!((ran.code, &ran.last()["copied"]), (0, &60.into()));
    assert_eq!(place.reads(), 0);

    let retire = ["migrate", "retire", "--from", "local", "--grace", "0s"];
    let retired = place.run(&[&retire[..], &["--sample", "30%"]].concat());
    assert_eq!(retired.code, 0, "{}", retired.stdout);
    let status = retired.last();
    let read = status["verified"].as_u64().unwrap();
    assert!((3..40).contains(&read), "{read} of 60 are about 30 %");
    assert_eq!(
        json!([
            status["outside_sample"],
            status["freed"],
            status["on_source"]
        ]),
        json!([60 - read, 60, 0])
    );
    assert_eq!(place.reads() as u64, read);
    assert_eq!(place.files_on_disk(), [] as [&str; 0]);
    place.assert_in_bucket(&files);
    place.assert_readable(&files);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_a_sample_finds_damage_everything_is_read() {
    let place = Place::start().await;
    let files = place.put_files(60).await;
    let ran = place.run(&["migrate", "run", "--to", "s3"]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    // More than a few, so that some are in the sample.
    let damaged: Vec<&String> = files.keys().step_by(4).collect();
    for key in &damaged {
        assert!(place.s3().corrupt(key, 1_000));
    }
    let place = place.in_mode("s3");
    let retired = place.run(&[
        "migrate", "retire", "--from", "local", "--grace", "0s", "--sample", "50",
    ]);
    assert_eq!(retired.code, 0, "{}", retired.stdout);
    let status = retired.last();
    assert_eq!(
        json!([
            status["verified"],
            status["freed"],
            status["sample_percent"]
        ]),
        json!([60, 60, 100])
    );
    place.assert_in_bucket(&files);
    place.assert_verified();
}

/// A command and a server read back at the same time: each copy is read by one of them.
#[tokio::test(flavor = "multi_thread")]
async fn what_several_programs_read_back_is_read_once() {
    const FILES: usize = 120;
    let place = Place::start().await;
    let files = place.put_files(FILES).await;
    assert_eq!(place.run(&["migrate", "run", "--to", "s3"]).code, 0);
    let place = place.in_mode("s3");
    let slow = Fault::new(
        Operation::GetObject,
        FaultAction::Delay(Duration::from_millis(60)),
    );
    place.s3().fault(slow.forever());
    let server = Server::start(&place).await;
    let others =
        [(); 2].map(|()| place.spawn(&["migrate", "retire", "--from", "local", "--grace", "0s"]));
    for other in others {
        let ended = other.wait();
        // Two who turn it around in the same moment: one of them is told.
        assert!(
            ended.code == 0 || ended.error_code() == "conflict",
            "{}",
            ended.stdout
        );
    }
    place.until_status(|it| it["state"] == "finished").await;
    server.stop();
    assert_eq!(place.reads(), FILES);
    assert_eq!(place.files_on_disk(), [] as [&str; 0]);
    place.assert_in_bucket(&files);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_source_is_named_and_never_copied_as_good() {
    let place = Place::start().await;
    let files = place.put_files(5).await;
    let damaged = files.keys().next().unwrap().clone();
    let path = place.path_on_disk(&damaged);
    fs::write(&path, noise(files[&damaged].len(), 999)).unwrap();

    let ran = place.run(&["migrate", "run", "--to", "s3"]);
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    let failed: Vec<Value> = ran
        .lines()
        .into_iter()
        .filter(|it| it["failed"].is_string())
        .collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0]["key"], damaged.as_str());
    assert!(!failed[0]["error"].as_str().unwrap().is_empty());
    assert_eq!(
        (&ran.last()["copied"], &ran.last()["failed"]),
        (&4.into(), &1.into())
    );
    assert!(place.s3().body(&damaged).is_none());
    let listed = place.run(&["migrate", "status", "--failed"]);
    assert_eq!(listed.code, 3);
    assert_eq!(listed.lines().len(), 2);

    // Only what was read back is freed.
    let place = place.in_mode("s3");
    let retired = place.run(&["migrate", "retire", "--from", "local", "--grace", "0s"]);
    assert_eq!(
        (&retired.last()["freed"], &retired.last()["on_source"]),
        (&4.into(), &1.into())
    );
    assert!(path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_is_tried_again_when_it_is_mended() {
    let place = Place::start().await;
    let files = place.put_files(4).await;
    let refused = files.keys().nth(1).unwrap().clone();
    place.s3().fault(
        Fault::new(
            Operation::PutObject,
            FaultAction::Status {
                status: 403,
                code: "AccessDenied",
                retry_after_s: None,
            },
        )
        .key_prefix(refused.clone())
        .forever(),
    );
    let ran = place.run(&["migrate", "run", "--to", "s3"]);
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    assert_eq!(
        (&ran.last()["copied"], &ran.last()["failed"]),
        (&3.into(), &1.into())
    );
    place.s3().clear_faults();
    let again = place.run(&["migrate", "run", "--to", "s3", "--retry-failed"]);
    assert_eq!((again.code, &again.last()["copied"]), (0, &4.into()));
    place.assert_in_bucket(&files);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_stops_it_and_a_resume_goes_on() {
    let place = Place::start().await;
    let files = place.put_files(24).await;
    // So slow that it would take half a minute.
    let running = place.spawn(&[
        "migrate",
        "run",
        "--to",
        "s3",
        "--max-rate",
        "32KiB/s",
        "--concurrency",
        "1",
    ]);
    place
        .until_status(|it| it["copied"].as_u64() >= Some(2))
        .await;
    let paused = place.run(&["migrate", "pause"]).only();
    assert_eq!(paused["state"], "paused");
    let ended = running.wait();
    assert_eq!(ended.last()["state"], "paused");
    let status = place.run(&["migrate", "status"]).only();
    let (copied, objects) = (status["copied"].as_u64(), status["objects"].as_u64());
    assert!(copied < objects, "{status}");
    assert_eq!(status["under_way"], 0, "{status}");
    let other = place.run(&["migrate", "run", "--to", "s3", "--prefix", "models/"]);
    assert_eq!(
        (other.code, other.error_code()),
        (1, "migration_at_work".to_owned())
    );

    let server = Server::start(&place).await;
    let metrics = server.metrics().await;
    let labels = r#"{source="local",target="s3",phase="copy"}"#;
    // What a server reads in its own time counts, too.
    for name in ["verified", "verified_bytes"] {
        let line = format!("stockroom_migration_{name}{labels} ");
        assert!(metrics.contains(&line), "no {line} in {metrics}");
    }
    for (name, value) in [
        ("running", &json!(0)),
        ("objects", &status["objects"]),
        ("scope_bytes", &status["bytes"]),
        ("copied", &status["copied"]),
        ("copied_bytes", &status["copied_bytes"]),
        ("failed", &json!(0)),
        ("under_way", &json!(0)),
        ("kept", &status["objects"]),
    ] {
        let line = format!("stockroom_migration_{name}{labels} {value}\n");
        assert!(metrics.contains(&line), "no {line} in {metrics}");
    }
    server.stop();

    assert_eq!(place.run(&["migrate", "resume"]).only()["state"], "running");
    let ran = place.run(&["migrate", "run", "--to", "s3", "--max-rate", "1GB"]);
    assert_eq!((ran.code, &ran.last()["copied"]), (0, &24.into()));
    place.assert_in_bucket(&files);
    let server = Server::start(&place).await;
    let metrics = server.metrics().await;
    assert!(metrics.contains("stockroom_placements"), "{metrics}");
    assert!(!metrics.contains("stockroom_migration_"), "{metrics}");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_migration_goes_on_and_copies_hardly_anything_twice() {
    const FILES: usize = 80;
    const KILLS: usize = 6;
    const AT_ONCE: usize = 4;
    let place = Place::start().await;
    let files = place.put_files(FILES).await;
    let mut dice = dice();
    let concurrency = AT_ONCE.to_string();
    for _ in 0..KILLS {
        let arguments = [
            "migrate",
            "run",
            "--to",
            "s3",
            "--max-rate",
            "800KiB/s",
            "--concurrency",
            &concurrency,
        ];
        let running = place.spawn(&arguments);
        let copied = place.s3().count(Operation::PutObject);
        let more = dice.random_range(1..8);
        while place.s3().count(Operation::PutObject) < (copied + more).min(FILES) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        tokio::time::sleep(Duration::from_micros(dice.random_range(0..40_000))).await;
        running.kill();
    }
    place.finish_later().await;
    place.assert_in_bucket(&files);
    let puts = place.s3().count(Operation::PutObject);
    // Beside the objects: the id of the store, and what was under way when it was killed.
    let most = FILES + 1 + KILLS * AT_ONCE;
    println!("figure: migrate: {FILES} objects, {KILLS} kills, {puts} uploads");
    assert!((FILES..=most).contains(&puts), "{puts} uploads");
    place.assert_verified();
}

/// A copy of a process that was killed is replaced by the next one. Where that one is killed, too, while it
/// removes what it has replaced, the copy does not count yet, and somebody else does it.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_copy_left_is_removed_before_the_next_one_counts() {
    let place = Place::start().await;
    let files = place.put_files(3).await;
    for (key, bytes) in &files {
        place.s3().plant(key, bytes.clone());
    }
    let hang = Fault::new(Operation::ListObjectVersions, FaultAction::Hang);
    place.s3().fault(hang.forever());
    let running = place.spawn(&["migrate", "run", "--to", "s3"]);
    // The id of the store is one more.
    while place.s3().count(Operation::PutObject) < files.len() + 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Longer than what is noted waits for others.
    tokio::time::sleep(Duration::from_millis(700)).await;
    running.kill();
    let status = place.run(&["migrate", "status"]).only();
    assert_eq!(status["copied"], 0, "{status}");

    place.s3().clear_faults();
    place.finish_later().await;
    place.assert_in_bucket(&files);
    assert_eq!(place.s3().all_version_count(), files.len() + 1);
    place.assert_verified();
}

/// A server gives files, takes, replaces and deletes them, while commands that are killed again and
/// again move everything to the bucket, and then the folder is emptied under its readers.
#[tokio::test(flavor = "multi_thread")]
async fn readers_and_writers_notice_nothing_of_a_migration() {
    let place = Place::start().await;
    let stable = place.put_files(60).await;
    let server = Server::start(&place).await;
    let (is_over, reads) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut dice = dice();
    let seeds: Vec<u64> = (0..4).map(|_| dice.random()).collect();
    let read = async |seed: u64, server: &Server| {
        let mut dice = StdRng::seed_from_u64(seed);
        let keys: Vec<&String> = stable.keys().collect();
        while !is_over.load(Ordering::SeqCst) {
            let key = keys[dice.random_range(0..keys.len())];
            let bytes = server.get(key).await;
            assert!(
                bytes.as_ref() == Some(&stable[key]),
                "{key} is other bytes, or gone"
            );
            reads.fetch_add(1, Ordering::SeqCst);
        }
    };
    let write = async |server: &Server| {
        let mut written = BTreeMap::<String, Option<Vec<u8>>>::new();
        for round in 0..60_u64 {
            let new = format!("models/new/{round}.bin");
            let replaced = format!("models/replaced/{}.bin", round % 5);
            for key in [new, replaced] {
                let bytes = noise(20_000, 10_000 + round);
                server.put(&key, bytes.clone()).await;
                written.insert(key, Some(bytes));
            }
            if round % 3 == 0 {
                let deleted = format!("models/new/{round}.bin");
                server.delete(&deleted).await;
                written.insert(deleted, None);
            }
        }
        written
    };
    let kill = async || {
        for _ in 0..4 {
            let running = place.spawn(&["migrate", "run", "--to", "s3"]);
            tokio::time::sleep(Duration::from_millis(300)).await;
            running.kill();
        }
    };
    let (written, ()) = {
        let readers = futures::future::join_all(seeds.iter().map(|seed| read(*seed, &server)));
        let work = async {
            let both = tokio::join!(write(&server), kill());
            is_over.store(true, Ordering::SeqCst);
            both
        };
        let (_, both) = tokio::join!(readers, work);
        both
    };
    server.stop();

    // The mode is changed, what came last is copied, and the folder is emptied under readers.
    place.finish_later().await;
    let place = place.in_mode("s3");
    let ran = place.run(&["migrate", "run", "--to", "s3"]);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    is_over.store(false, Ordering::SeqCst);
    let server = Server::start(&place).await;
    let readers = futures::future::join_all(seeds.iter().map(|seed| read(*seed, &server)));
    let retire = async {
        let retired = place.run(&["migrate", "retire", "--from", "local", "--grace", "0s"]);
        is_over.store(true, Ordering::SeqCst);
        retired
    };
    let (_, retired) = tokio::join!(readers, retire);
    assert_eq!(retired.code, 0, "{}", retired.stdout);
    assert_eq!(retired.last()["on_source"], 0);

    for (key, bytes) in &written {
        assert!(
            server.get(key).await == *bytes,
            "{key} is not what was written last"
        );
    }
    for (key, bytes) in &stable {
        assert!(server.get(key).await.as_ref() == Some(bytes), "{key}");
    }
    server.stop();
    place.assert_verified();
    println!(
        "figure: migrate: {} reads, {} keys written, none wrong, none lost",
        reads.load(Ordering::SeqCst),
        written.len()
    );
}

/// Stores an object as operators do.
pub(crate) async fn store(app: &App, key: &str, bytes: Vec<u8>) {
    let intake = Intake {
        key: key.parse().unwrap(),
        content_type: "application/octet-stream".to_owned(),
        metadata: Metadata::default(),
        announced_bytes: None,
        expected_sha256: None,
        checker: None,
    };
    let body = futures::stream::iter([Ok::<_, std::io::Error>(Bytes::from(bytes))]);
    objects::put(app, intake, body).await.unwrap();
}

/// The seed of this run, which is printed.
pub(crate) fn dice() -> StdRng {
    let system: &dyn Entropy = &SystemEntropy;
    let seed = match std::env::var("STOCKROOM_SEED") {
        Ok(text) => text.parse().expect("STOCKROOM_SEED is a whole number"),
        Err(_) => u64::from_be_bytes(system.bytes()),
    };
    println!("seed {seed}; to replay: STOCKROOM_SEED={seed}");
    StdRng::seed_from_u64(seed)
}
