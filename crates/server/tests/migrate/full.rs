//! Invariant 8 when the target is a disk that has no room: every object that did not fit is named with the reason,
//! nothing is lost or freed, and the migration goes on when there is room.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::disk::Memory;
use crate::namespace;
use crate::place::{Ended, Files, Place};
use crate::server::Server;

const FILES: usize = 100;

#[test]
fn a_disk_that_runs_full_is_said_for_each_object_and_the_rest_follows_when_there_is_room() {
    let test = "full::a_disk_that_runs_full_is_said_for_each_object_and_the_rest_follows_when_there_is_room";
    namespace::run("full disks", test, || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            // On a thread of the runtime, where the program may be waited for.
            let filled = tokio::spawn(fill_a_disk());
            filled.await.unwrap();
        });
    });
}

async fn fill_a_disk() {
    let disk = Memory::new("size=8m");
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![1; 6 << 20]).unwrap();
    let uploads = disk.path().join("uploads");
    fs::create_dir(&uploads).unwrap();
    let settings = vec![("STORAGE_DIR", uploads.display().to_string())];
    let place = Place::start().await.in_mode("s3").with_settings(settings);
    let files = place.put_files(FILES).await;

    let ran = place.run(&["migrate", "run", "--to", "local"]);
    let failed = assert_partly(&place, &ran, "No space left on device");
    assert_eq!(place.files_on_disk().len(), FILES - failed.len());
    let server = Server::start(&place).await;
    assert_all_readable(&server, &files).await;
    server.stop();
    assert_eq!(place.keys_in_bucket().len(), FILES, "nothing is freed");

    fs::remove_file(ballast).unwrap();
    assert_whole_after(
        &place,
        &["migrate", "run", "--to", "local", "--retry-failed"],
    );
    assert_eq!(place.files_on_disk().len(), FILES);
    let place = place.in_mode("local");
    assert_whole_after(
        &place,
        &["migrate", "retire", "--from", "s3", "--grace", "0s"],
    );
    assert_eq!(place.keys_in_bucket(), [] as [&str; 0]);
    place.assert_readable(&files);
    println!(
        "figure: migrate: {} of {FILES} objects did not fit on the disk",
        failed.len()
    );
}

/// It ended with what could be done; the keys of the others, each of which was named with this reason.
#[track_caller]
fn assert_partly(place: &Place, ran: &Ended, reason: &str) -> BTreeSet<String> {
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    let status = ran.last();
    assert_eq!(status["state"], "finished", "{status}");
    let listed = place.run(&["migrate", "status", "--failed"]);
    assert_eq!(listed.code, 3, "{}", listed.stdout);
    let lines = listed.lines();
    let failures = lines.iter().filter(|it| it["failed"].is_string());
    let failed = failures.map(|failure| {
        let error = failure["error"].as_str().unwrap();
        assert!(error.contains(reason), "{error}");
        failure["key"].as_str().unwrap().to_owned()
    });
    let failed: BTreeSet<String> = failed.collect();
    assert!(!failed.is_empty());
    assert_eq!(status["failed"], failed.len(), "{status}");
    let verified = status["verified"].as_u64().unwrap();
    assert!(verified > 0, "{status}");
    let sum = verified + failed.len() as u64;
    assert_eq!(status["objects"], sum, "{status}");
    failed
}

/// Everything is verified after this command.
#[track_caller]
fn assert_whole_after(place: &Place, arguments: &[&str]) {
    let ran = place.run(arguments);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    let status: Value = ran.last();
    assert_eq!(status["verified"], status["objects"], "{status}");
}

async fn assert_all_readable(server: &Server, files: &Files) {
    for (key, bytes) in files {
        assert!(server.get(key).await.as_ref() == Some(bytes), "{key}");
    }
}
