//! Objects that lie in the bucket already are adopted without moving a byte.

use std::time::Duration;

use chaos_s3::{Fault, FaultAction, Operation, Options};

use crate::place::{Place, files_below, hashes, old_files, write};

async fn planted(mode: &str, options: Options) -> (Place, crate::place::Files) {
    let place = Place::with_s3(mode, options).await;
    let files = old_files();
    // They were there long before, by the clock of the bucket.
    place.s3().set_clock_skew(-60);
    for (path, content) in &files {
        place.s3().plant(path, content.clone());
    }
    place.s3().set_clock_skew(0);
    (place, files)
}

fn address(place: &Place) -> String {
    format!("s3://{}", place.s3().bucket())
}

#[tokio::test]
async fn objects_in_the_bucket_are_adopted_without_moving_a_byte() {
    for options in [Options::default(), Options::b2()] {
        let (place, files) = planted("s3", options).await;
        place.s3().plant("models/42/", "");
        place.s3().plant("temp/upload_1", "half an upload");
        let bucket = address(&place);
        place.s3().clear_calls();
        let dry = place.import(&[&bucket, "--dry-run"], 0);
        let bytes: usize = files.values().map(Vec::len).sum();
        assert_eq!(dry.summary()["read_bytes"], bytes);
        assert_eq!(dry.summary()["outcomes"]["adopted"], files.len());
        assert_eq!(
            place.s3().count(Operation::GetObject),
            1,
            "the id of the store"
        );
        let words = place.run(&["import", &bucket, "--dry-run"]);
        assert!(
            words.text().contains("would be read from the bucket"),
            "{words:?}"
        );

        let first = place.import(&[&bucket], 0);
        let expected: Vec<String> = files.keys().map(|path| format!("{path} adopted")).collect();
        assert_eq!(first.outcomes(), expected);
        assert_eq!(first.summary()["ignored"], 2);
        assert_eq!(place.recorded(), hashes(&files));
        // The store's id is all that was written.
        assert_eq!(place.s3().count(Operation::PutObject), 1);
        assert_eq!(place.s3().count(Operation::CreateMultipartUpload), 0);
        assert_eq!(place.placements("models/a.glb"), ["s3=present"]);

        place.s3().clear_calls();
        let again = place.import(&[&bucket], 0);
        assert_eq!(again.summary()["outcomes"]["unchanged"], files.len());
        assert_eq!(again.summary()["read_bytes"], 0);
        assert_eq!(
            place.s3().count(Operation::GetObject),
            1,
            "the id of the store"
        );
        place.expect_verified();
        for (path, content) in &files {
            place.expect_bytes(path, content);
        }
    }
}

#[tokio::test]
async fn a_prefix_is_adopted_alone_and_a_hybrid_gets_its_second_copies() {
    let (place, files) = planted("hybrid", Options::b2()).await;
    let ended = place.import(&[&format!("{}/models/4", address(&place))], 0);
    assert_eq!(ended.outcomes(), ["models/42/helmet.stl adopted"]);
    place.import(&[&address(&place)], 0);
    assert_eq!(
        place.placements("models/a.glb"),
        ["local=copying", "s3=present"]
    );
    place.engine(Duration::ZERO).await;
    assert_eq!(
        place.placements("models/a.glb"),
        ["local=present", "s3=present"]
    );
    place.expect_verified();
    assert_eq!(files_below(&place.uploads()).len(), files.len() + 1);
}

#[tokio::test]
async fn an_object_that_was_written_over_is_a_conflict() {
    let (place, _) = planted("s3", Options::default()).await;
    let bucket = address(&place);
    place.import(&[&bucket], 0);
    place.s3().plant("models/large.bin", "shorter");
    let mut other = old_files()["models/a.glb"].clone();
    other[84] ^= 1;
    place.s3().plant("models/a.glb", other);
    let ended = place.import(&[&bucket], 3);
    let conflicts: Vec<String> = ended
        .outcomes()
        .into_iter()
        .filter(|line| line.ends_with("conflict"))
        .collect();
    assert_eq!(
        conflicts,
        ["models/a.glb conflict", "models/large.bin conflict"]
    );
}

#[tokio::test]
async fn names_that_are_no_keys_are_told() {
    let place = Place::with_s3("s3", Options::default()).await;
    for name in [
        "backup.tar",
        "elsewhere/a.stl",
        "models//a.stl",
        "models/.hidden",
        "models/.versions/1",
        "models/../a.stl",
    ] {
        place.s3().plant(name, "odd");
    }
    place.s3().plant("images/1.png", "fine");
    let ended = place.import(&[&address(&place)], 3);
    assert_eq!(ended.summary()["outcomes"]["left_out"], 6, "{ended:?}");
    assert_eq!(ended.summary()["outcomes"]["adopted"], 1, "{ended:?}");
    assert!(ended.reason("models//a.stl").contains("no empty segment"));
    assert!(
        ended
            .reason("models/.versions/1")
            .contains("made by Stockroom itself")
    );
    place.expect_verified();
}

#[tokio::test]
async fn another_bucket_or_prefix_is_refused() {
    let place = Place::with_s3("s3", Options::default()).await;
    let ended = place.import(&["s3://somebody-elses/models/"], 2);
    assert_eq!(ended.error_code(), "unknown_bucket");
    let ended = place.import(&[&format!("{}/uploads/models", address(&place))], 2);
    assert_eq!(ended.error_code(), "invalid_key");
    assert_eq!(place.s3().calls().len(), 0);
}

#[tokio::test]
async fn an_object_that_is_gone_or_refused_is_told_and_the_others_taken() {
    let (place, files) = planted("s3", Options::default()).await;
    let refusal = FaultAction::Status {
        status: 403,
        code: "AccessDenied",
        retry_after_s: None,
    };
    let denied = Fault::new(Operation::GetObject, refusal)
        .key_prefix("models/a.glb")
        .forever();
    place.s3().fault(denied);
    let ended = place.import(&[&address(&place)], 3);
    assert!(
        ended.outcomes().contains(&"models/a.glb failed".to_owned()),
        "{ended:?}"
    );
    assert_eq!(ended.summary()["outcomes"]["adopted"], files.len() - 1);
    place.s3().clear_faults();
    place.import(&[&address(&place)], 0);
    assert_eq!(place.recorded(), hashes(&files));
}

#[tokio::test]
async fn a_local_shop_may_adopt_a_bucket_and_is_owed_its_copies() {
    let (place, files) = planted("local", Options::default()).await;
    place.import(&[&address(&place)], 0);
    assert_eq!(
        place.placements("models/a.glb"),
        ["local=copying", "s3=present"]
    );
    write(&place.path("old"), "models/a.glb", &files["models/a.glb"]);
    assert_eq!(
        place.import(&["old"], 0).outcomes(),
        ["models/a.glb unchanged"]
    );
    place.engine(Duration::ZERO).await;
    place.expect_verified();
}
