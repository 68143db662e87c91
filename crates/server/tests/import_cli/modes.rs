//! The modes s3 and hybrid: from another folder by the way of an upload, in place with a copy owed.

use std::time::Duration;

use chaos_s3::Options;

use crate::place::{Place, files_below, hashes, old_files, write_all};

#[tokio::test]
async fn another_folder_goes_to_the_stores_of_the_mode() {
    for (mode, placements) in [
        ("s3", vec!["s3=present"]),
        ("hybrid", vec!["local=present", "s3=present"]),
    ] {
        let place = Place::with_s3(mode, Options::b2()).await;
        let files = old_files();
        write_all(&place.path("old"), &files);
        let ended = place.import(&["old", "--move"], 0);
        assert_eq!(ended.summary()["outcomes"]["copied"], files.len());
        assert_eq!(place.recorded(), hashes(&files));
        for (path, content) in &files {
            assert_eq!(place.placements(path), placements, "{mode}");
            let body = place.s3().body(path).expect("bytes");
            assert!(body == content[..], "{mode} {path}");
            place.expect_bytes(path, content);
        }
        assert!(files_below(&place.path("old")).is_empty());
        place.expect_verified();
    }
}

#[tokio::test]
async fn the_storage_folder_is_adopted_and_the_bucket_owed_its_copies() {
    for mode in ["s3", "hybrid"] {
        let place = Place::with_s3(mode, Options::b2()).await;
        let files = old_files();
        write_all(&place.uploads(), &files);
        let ended = place.import(&["data/uploads"], 0);
        assert_eq!(
            ended.summary()["outcomes"]["adopted"],
            files.len(),
            "{mode}"
        );
        assert_eq!(
            place.placements("models/a.glb"),
            ["local=present", "s3=copying"]
        );
        assert_eq!(
            place.import(&["data/uploads"], 0).summary()["outcomes"]["unchanged"],
            6
        );
        place.engine(Duration::ZERO).await;
        for (path, content) in &files {
            assert_eq!(
                place.placements(path),
                ["local=present", "s3=present"],
                "{mode}"
            );
            assert!(place.s3().body(path).expect("bytes") == content[..]);
        }
        place.expect_verified();
    }
}

#[tokio::test]
async fn a_link_owes_the_bucket_its_copy_and_needs_the_folder() {
    let place = Place::with_s3("hybrid", Options::default()).await;
    let files = old_files();
    write_all(&place.path("old"), &files);
    place.import(&["old", "--link", "--move"], 0);
    place.engine(Duration::ZERO).await;
    place.expect_verified();
    assert_eq!(
        place.placements("models/a.glb"),
        ["local=present", "s3=present"]
    );
    let place = Place::with_s3("s3", Options::default()).await;
    write_all(&place.path("old"), &files);
    place.import(&["old", "--link"], 2);
}

#[tokio::test]
async fn what_a_bucket_has_already_is_not_written_over() {
    let place = Place::with_s3("hybrid", Options::default()).await;
    let files = old_files();
    write_all(&place.uploads(), &files);
    // The old service kept both: one copy is right, and one is not.
    place
        .s3()
        .plant("models/a.glb", files["models/a.glb"].clone());
    place.s3().plant("models/42/helmet.stl", "other bytes");
    let ended = place.import(&["data/uploads"], 0);
    assert!(
        ended.reason("models/a.glb").contains("s3 has something"),
        "{ended:?}"
    );
    place.engine(Duration::ZERO).await;
    let body = |key: &str| place.s3().body(key).expect("bytes");
    assert_eq!(body("models/42/helmet.stl").as_ref(), b"other bytes");
    let bucket = format!("s3://{}", place.s3().bucket());
    let ended = place.import(&[&bucket], 3);
    assert!(
        ended
            .outcomes()
            .contains(&"models/a.glb copy_adopted".to_owned()),
        "{ended:?}"
    );
    assert!(
        ended
            .outcomes()
            .contains(&"models/42/helmet.stl conflict".to_owned())
    );
    assert_eq!(
        place.placements("models/a.glb"),
        ["local=present", "s3=present"]
    );
    assert_eq!(body("models/42/helmet.stl").as_ref(), b"other bytes");
    // Bytes in the bucket that nobody recorded are in the way of a copy from elsewhere too.
    place.s3().plant("models/new.stl", "not imported yet");
    crate::place::write(&place.path("old"), "models/new.stl", b"other");
    let ended = place.import(&["old"], 3);
    assert_eq!(ended.outcomes(), ["models/new.stl conflict"]);
    assert_eq!(body("models/new.stl").as_ref(), b"not imported yet");
}

#[tokio::test]
async fn a_bucket_that_does_not_answer_ends_the_import_which_goes_on_later() {
    let place = Place::with_s3("s3", Options::default()).await;
    let files = old_files();
    write_all(&place.path("old"), &files);
    place.s3().set_online(false).expect("to stop");
    let ended = place.import(&["old"], 1);
    assert_eq!(ended.error_code(), "storage_unavailable", "{ended:?}");
    place.s3().set_online(true).expect("to start");
    place.import(&["old"], 0);
    assert_eq!(place.recorded(), hashes(&files));
    place.expect_verified();
}
