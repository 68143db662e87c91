//! A target that refuses: it is full, its key may not write any more, or the clocks differ. What could not be copied is named
//! with the reason, nothing is freed on its account, and it goes on when that is mended.

use std::collections::BTreeSet;
use std::time::Duration;

use chaos_s3::{Fault, FaultAction, Operation};
use serde_json::{Value, json};
use stockroom::flows::migrate::{Request, begin, roll_back};
use stockroom::workers::migrate;
use stockroom_domain::StoreName;

use crate::place::{Ended, Files, Place};

const FILES: usize = 20;

const RUN: [&str; 4] = ["migrate", "run", "--to", "s3"];
const RETIRE: [&str; 6] = ["migrate", "retire", "--from", "local", "--grace", "0s"];

/// How far a clock is off. Buckets refuse above a quarter of an hour.
const OFF: Duration = Duration::from_mins(20);

/// When everything that was claimed by now is free again.
const LATER: Duration = Duration::from_mins(5);

/// What refuses every upload after the first few.
fn refusing(status: u16, code: &'static str, after: u64) -> Fault {
    let action = FaultAction::Status {
        status,
        code,
        retry_after_s: None,
    };
    Fault::new(Operation::PutObject, action)
        .after(after)
        .forever()
}

fn failures(ran: &Ended) -> Vec<Value> {
    let lines = ran.lines().into_iter();
    lines.filter(|it| it["failed"].is_string()).collect()
}

/// Runs a migration that a target refuses in the middle, frees what may be freed, and goes on when it is mended.
async fn refused_and_mended(place: Place, files: &Files, reason: &str, mend: impl FnOnce(&Place)) {
    let ran = place.run(&["migrate", "run", "--to", "s3"]);
    assert_eq!(ran.code, 3, "{}", ran.stdout);
    let failures = failures(&ran);
    let named: BTreeSet<&str> = failures
        .iter()
        .map(|it| it["key"].as_str().unwrap())
        .collect();
    let copied = ran.last()["copied"].as_u64().unwrap();
    assert_eq!(copied + named.len() as u64, FILES as u64);
    assert!(!named.is_empty());
    for failure in &failures {
        let error = failure["error"].as_str().unwrap();
        assert!(error.contains(reason), "{error}");
    }

    // What is only on the disk stays there, and everything can be read.
    let place = place.in_mode("s3");
    let retire = ["migrate", "retire", "--from", "local", "--grace", "0s"];
    let retired = place.run(&retire);
    assert_eq!(
        json!([retired.last()["freed"], retired.last()["on_source"]]),
        json!([copied, named.len()])
    );
    let left: Vec<String> = place.files_on_disk();
    assert_eq!(
        left.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        named
    );

    mend(&place);
    place.assert_readable(files);
    let again = place.run(&["migrate", "run", "--to", "s3", "--fresh"]);
    assert_eq!(again.code, 0, "{}", again.stdout);
    assert_eq!(again.last()["copied"], FILES);
    let retired = place.run(&retire);
    assert_eq!(retired.last()["on_source"], 0, "{}", retired.stdout);
    place.assert_in_bucket(files);
    place.assert_verified();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_loses_its_permission_in_the_middle_is_named_and_nothing_is_lost() {
    let place = Place::start().await;
    let files = place.put_files(FILES).await;
    place.s3().fault(refusing(403, "AccessDenied", 8));
    refused_and_mended(place, &files, "AccessDenied", |place| {
        place.s3().clear_faults();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_full_is_named_and_nothing_is_lost() {
    let place = Place::start().await;
    let files = place.put_files(FILES).await;
    // What Backblaze answers when a cap of the account is reached.
    place.s3().fault(refusing(403, "QuotaExceeded", 8));
    refused_and_mended(place, &files, "QuotaExceeded", |place| {
        place.s3().clear_faults();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_20_minutes_off_is_named_and_nothing_is_lost() {
    let place = Place::start().await;
    let files = place.put_files(FILES).await;
    place.s3().set_clock_skew(20 * 60);
    refused_and_mended(place, &files, "RequestTimeTooSkewed", |place| {
        place.s3().set_clock_skew(0);
    })
    .await;
}

fn denied(operation: Operation) -> Fault {
    let action = FaultAction::Status {
        status: 403,
        code: "AccessDenied",
        retry_after_s: None,
    };
    Fault::new(operation, action).forever()
}

/// A copy that nobody can read frees nothing, and that is said.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_freed_while_the_bucket_refuses_to_read_its_copies() {
    let place = Place::start().await;
    let files = place.put_files(FILES).await;
    assert_eq!(place.run(&RUN).code, 0);
    let place = place.in_mode("s3");
    place.s3().fault(denied(Operation::GetObject));
    let retired = place.run(&RETIRE);
    assert_eq!(retired.code, 3, "{}", retired.stdout);
    let failures = failures(&retired);
    assert_eq!(failures.len(), FILES);
    for failure in &failures {
        assert!(failure["error"].as_str().unwrap().contains("AccessDenied"));
    }
    let status = retired.last();
    assert_eq!(
        json!([status["failed"], status["verified"], status["freed"]]),
        json!([FILES, 0, 0])
    );
    assert_eq!(place.files_on_disk().len(), FILES);

    // The same command tries again.
    place.s3().clear_faults();
    let retired = place.run(&RETIRE);
    assert_eq!(retired.code, 0, "{}", retired.stdout);
    assert_eq!(place.files_on_disk(), [] as [&str; 0]);
    place.assert_in_bucket(&files);
    place.assert_verified();
}

/// All of it was read back, and then the key lost its permission: who empties the disk now takes the last
/// copies that anybody can read.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_removed_while_the_bucket_refuses_to_show_its_copies() {
    let place = Place::start().await;
    let files = place.put_files(FILES).await;
    assert_eq!(place.run(&RUN).code, 0);
    let place = place.in_mode("s3");
    place.s3().fault(denied(Operation::HeadObject));
    let retired = place.run(&RETIRE);
    assert_eq!(retired.code, 3, "{}", retired.stdout);
    let failures = failures(&retired);
    assert_eq!(failures.len(), FILES);
    for failure in &failures {
        assert_eq!(failure["store"], "local");
        assert!(
            failure["error"].as_str().unwrap().contains("403"),
            "{failure}"
        );
    }
    place.later(LATER).await;
    assert_eq!(place.files_on_disk().len(), FILES);

    place.s3().clear_faults();
    place.later(2 * LATER).await;
    assert_eq!(place.files_on_disk(), [] as [&str; 0]);
    place.assert_in_bucket(&files);
    place.assert_verified();
}

/// What somebody else has removed from the bucket, or replaced with less, is made again from the disk.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_bucket_has_lost_is_not_removed_from_the_disk() {
    let place = Place::start().await;
    let files = place.put_files(FILES).await;
    assert_eq!(place.run(&RUN).code, 0);
    let place = place.in_mode("s3");
    let mut keys = files.keys();
    let (lost, cut) = (keys.next().unwrap(), keys.next().unwrap());
    assert!(place.s3().remove(lost));
    place.s3().plant(cut, "less");
    // It ends, whether or not these two are healed by then.
    place.run(&RETIRE);
    place.later(LATER).await;
    place.assert_in_bucket(&files);
    place.assert_readable(&files);
    place.assert_verified();
}

fn to_bucket() -> Request {
    Request {
        target: StoreName::S3,
        source: None,
        prefix: "".parse().unwrap(),
        limits: None,
        is_fresh: false,
    }
}

/// The clock of this machine is ahead when a phase begins, and right afterwards. What was noted for a time
/// that is still to come is not waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_a_wrong_clock_began_goes_on_when_it_is_right() {
    let place = Place::start().await;
    let files = place.put_files(FILES).await;
    let app = place.app(OFF).await;
    begin(&app, &to_bucket()).await.unwrap();
    migrate::step(&app, &mut migrate::Place::default())
        .await
        .unwrap();
    app.catalog.close().await;
    let running = place.spawn_unheard(&RUN);
    place.until_status(|it| it["state"] == "finished").await;
    running.kill();
    assert_eq!(place.run(&RUN).last()["copied"], FILES);
    place.assert_in_bucket(&files);

    // So it is on the way back.
    let app = place.app(OFF).await;
    roll_back(&app, Some(Duration::ZERO)).await.unwrap();
    app.catalog.close().await;
    let running = place.spawn_unheard(&["migrate", "rollback", "--grace", "0s"]);
    place.until_status(|it| it["state"] == "finished").await;
    running.kill();
    assert_eq!(place.keys_in_bucket(), [] as [&str; 0]);
    place.assert_readable(&files);
}
