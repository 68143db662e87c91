//! Another bucket as the target: a shop moves from one provider to another.

use std::fs;

use chaos_s3::{ChaosS3, Options};
use serde_json::json;

use crate::place::{Files, Place, STORE_ID};

/// The settings of a bucket.
fn settings(s3: &ChaosS3, name: &str) -> Vec<(&'static str, String)> {
    vec![
        ("S3_STORE_NAME", name.to_owned()),
        ("S3_ENDPOINT", s3.endpoint()),
        ("S3_REGION", s3.region().to_owned()),
        ("S3_BUCKET", s3.bucket().to_owned()),
        ("S3_KEY_ID", s3.key_id().to_owned()),
        ("S3_APPLICATION_KEY", s3.application_key().to_owned()),
    ]
}

/// Writes them into a file in the form of `.env`.
fn write(place: &Place, file: &str, settings: &[(&str, String)]) {
    let lines = settings
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"));
    let text: String = lines.collect();
    fs::write(place.folder().join(file), text).unwrap();
}

fn keys(s3: &ChaosS3) -> Vec<String> {
    let mut keys = s3.keys();
    keys.retain(|key| key != STORE_ID);
    keys
}

#[track_caller]
fn assert_holds(s3: &ChaosS3, files: &Files) {
    for (key, bytes) in files {
        assert!(s3.body(key).as_deref() == Some(bytes), "{key} is not there");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_moves_from_one_bucket_to_another_and_back() {
    let place = Place::start().await.in_mode("s3");
    let other = ChaosS3::start(Options::default()).await.unwrap();
    let mut files = place.put_files(8).await;
    write(&place, "next.env", &settings(&other, "r2"));

    let to_other = ["--to", "s3", "--target-config", "next.env"];
    let plan = place
        .run(&[&["migrate", "plan"], &to_other[..]].concat())
        .only();
    assert_eq!(
        json!([
            plan["source"],
            plan["target"],
            plan["to_copy"],
            plan["collisions"]
        ]),
        json!(["s3", "r2", 8, 0])
    );
    assert_eq!(keys(&other), [] as [&str; 0], "a plan changes nothing");

    let ran = place.run(&[&["migrate", "run"], &to_other[..]].concat());
    assert_eq!((ran.code, &ran.last()["copied"]), (0, &json!(8)));
    assert_holds(&other, &files);

    // The settings still send new objects to the first bucket.
    let retire = ["migrate", "retire", "--from", "s3", "--grace", "0s"];
    let refused = place.run(&retire);
    assert_eq!(
        (refused.code, refused.error_code()),
        (1, "in_mode".to_owned())
    );

    // What the first bucket gets before the settings change is brought over afterwards.
    files.extend(place.put_files_from(8, 2).await);
    write(&place, "old.env", &settings(place.s3(), "s3"));
    let mut moved = settings(&other, "r2");
    moved.push(("S3_SECOND_FILE", "old.env".to_owned()));
    let place = place.with_settings(moved);
    place.assert_readable(&files);
    files.extend(place.put_files_from(10, 2).await);
    let ran = place.run(&["migrate", "run", "--to", "r2"]);
    assert_eq!((ran.code, &ran.last()["copied"]), (0, &json!(12)));
    assert_holds(&other, &files);

    let retired = place.run(&retire);
    assert_eq!(retired.code, 0, "{}", retired.stdout);
    assert_eq!(
        json!([retired.last()["freed"], retired.last()["on_source"]]),
        json!([10, 0])
    );
    assert_eq!(keys(place.s3()), [] as [&str; 0], "with all versions");
    place.assert_readable(&files);
    place.assert_verified();

    // And back again: the first bucket is that of the mode once more.
    let back = vec![("S3_SECOND_FILE", "next.env".to_owned())];
    let place = place.with_settings(back);
    let back = place.run(&["migrate", "rollback", "--grace", "0s"]);
    assert_eq!(back.code, 0, "{}", back.stdout);
    let (before, after): (Files, Files) = files
        .clone()
        .into_iter()
        .partition(|(key, _)| !key.ends_with("10.bin") && !key.ends_with("11.bin"));
    assert_holds(place.s3(), &before);
    // What was new after the move was never on the first bucket, and stays where it is.
    assert_holds(&other, &after);
    assert_eq!(keys(&other).len(), after.len());
    place.assert_readable(&files);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bucket_is_never_taken_for_two() {
    let place = Place::start().await.in_mode("s3");
    let files = place.put_files(3).await;
    // The same address in another spelling, which the settings cannot tell apart.
    let mut alias = settings(place.s3(), "r2");
    for (name, value) in &mut alias {
        if *name == "S3_ENDPOINT" {
            *value = value.replace("127.0.0.1", "localhost");
        }
    }
    write(&place, "alias.env", &alias);
    for what in ["plan", "run"] {
        let to_alias = ["--to", "s3", "--target-config", "alias.env"];
        let refused = place.run(&[&["migrate", what], &to_alias[..]].concat());
        assert_eq!(
            (refused.code, refused.error_code()),
            (1, "foreign_store".to_owned())
        );
    }
    let accept = ["verify", "--repair", "--accept-store", "r2"];
    let second = vec![("S3_SECOND_FILE", "alias.env".to_owned())];
    let place = place.with_settings(second);
    let refused = place.run(&accept);
    assert_eq!(
        (refused.code, refused.error_code()),
        (1, "foreign_store".to_owned())
    );
    let place = place.with_settings(Vec::new());
    assert_holds(place.s3(), &files);
    place.assert_readable(&files);

    for (settings, problem) in [
        (settings(place.s3(), "r2"), "S3_BUCKET"),
        (vec![("S3_STORE_NAME", "r2".to_owned())], "S3_ENDPOINT"),
    ] {
        write(&place, "bad.env", &settings);
        let refused = place.run(&[
            "migrate",
            "plan",
            "--to",
            "s3",
            "--target-config",
            "bad.env",
        ]);
        assert_eq!(refused.code, 78, "{}", refused.stdout);
        assert!(refused.stdout.contains(problem), "{}", refused.stdout);
        assert!(refused.stdout.contains("bad.env"), "{}", refused.stdout);
    }
}
