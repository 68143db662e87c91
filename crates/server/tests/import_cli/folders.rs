//! Folders: adopted where they lie, copied, linked, moved.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use crate::place::{Place, files_below, hashes, old_files, write, write_all};

#[test]
fn an_old_folder_is_adopted_where_it_lies() {
    let place = Place::local();
    let files = old_files();
    write_all(&place.uploads(), &files);
    write(&place.uploads(), "temp/upload_1", b"half an upload");
    let inode = |path: &str| {
        fs::metadata(place.uploads().join(path))
            .expect("a file")
            .ino()
    };
    let before: Vec<u64> = files.keys().map(|path| inode(path)).collect();

    let dry = place.import(&["data/uploads", "--dry-run"], 0);
    let expected: Vec<String> = files.keys().map(|path| format!("{path} adopted")).collect();
    assert_eq!(dry.outcomes(), expected);
    assert_eq!(dry.summary()["dry_run"], true);
    assert!(place.exported().is_empty(), "a dry run recorded something");
    assert!(!place.uploads().join("models/.stockroom").exists());

    let first = place.import(&["data/uploads"], 0);
    assert_eq!(first.outcomes(), expected);
    let bytes: usize = files.values().map(Vec::len).sum();
    assert_eq!(first.summary()["bytes"], bytes);
    assert_eq!(first.summary()["ignored"], 1);
    assert_eq!(place.recorded(), hashes(&files));
    let after: Vec<u64> = files.keys().map(|path| inode(path)).collect();
    assert_eq!(before, after, "bytes were moved");

    let again = place.import(&["data/uploads"], 0);
    assert_eq!(again.summary()["outcomes"]["unchanged"], files.len());
    // The clocks of the file system and of the system may be within a millisecond, so some files
    // are read once more; then they are known.
    let third = place.import(&["data/uploads"], 0);
    assert_eq!(third.summary()["outcomes"]["unchanged"], files.len());
    assert_eq!(third.summary()["read_bytes"], 0);

    place.expect_verified();
    for (path, content) in &files {
        place.expect_bytes(path, content);
    }
    let words = place.run(&["import", "data/uploads"]);
    assert_eq!(words.code, Some(0), "{words:?}");
    assert!(words.text().contains("6 unchanged"), "{words:?}");
}

#[test]
fn another_folder_is_copied_linked_or_moved() {
    for (options, outcome, stays, is_shared) in [
        (&[][..], "copied", true, false),
        (&["--link"], "linked", true, true),
        (&["--move"], "copied", false, false),
        (
            &["--move", "--link", "--concurrency", "1"],
            "linked",
            false,
            false,
        ),
    ] {
        let place = Place::local();
        let files = old_files();
        write_all(&place.path("old"), &files);
        write(&place.path("old"), "temp/upload_1", b"half an upload");
        let arguments = [&["old"], options].concat();
        let dry = place.import(&[&arguments[..], &["--dry-run"]].concat(), 0);
        let expected: Vec<String> = files
            .keys()
            .map(|path| format!("{path} {outcome}"))
            .collect();
        assert_eq!(dry.outcomes(), expected, "{options:?}");
        assert!(place.exported().is_empty());

        let first = place.import(&arguments, 0);
        assert_eq!(first.outcomes(), expected, "{options:?}");
        let moved = if stays { 0 } else { files.len() };
        assert_eq!(first.summary()["removed"], moved);
        assert_eq!(place.recorded(), hashes(&files));
        let left = files_below(&place.path("old"));
        assert_eq!(left.len(), if stays { files.len() + 1 } else { 1 });
        assert!(place.path("old/temp/upload_1").exists());
        for path in files.keys() {
            let links = fs::metadata(place.uploads().join(path))
                .expect("a file")
                .nlink();
            assert_eq!(links, if is_shared { 2 } else { 1 }, "{options:?} {path}");
        }
        let again = place.import(&arguments, 0);
        let unchanged = if stays { files.len() } else { 0 };
        let counted = again.summary()["outcomes"]["unchanged"]
            .as_u64()
            .unwrap_or(0);
        assert_eq!(counted, unchanged as u64, "{options:?}");
        place.expect_verified();
        for (path, content) in &files {
            place.expect_bytes(path, content);
        }
        assert!(files_below(&place.uploads().join(".staging")).is_empty());
    }
}

#[test]
fn a_file_that_was_imported_before_is_removed_by_a_move() {
    let place = Place::local();
    let files = old_files();
    write_all(&place.path("old"), &files);
    place.import(&["old"], 0);
    let moved = place.import(&["old", "--move"], 0);
    assert_eq!(moved.summary()["outcomes"]["unchanged"], files.len());
    assert_eq!(moved.summary()["removed"], files.len());
    assert!(files_below(&place.path("old")).is_empty());
    place.expect_verified();
}

#[test]
fn a_move_never_removes_the_last_whole_copy() {
    let place = Place::local();
    write(&place.path("old"), "models/a.stl", b"whole");
    write(&place.path("old"), "models/b.stl", b"whole");
    write(&place.path("old"), "models/c.stl", b"whole");
    place.import(&["old"], 0);
    write(&place.uploads(), "models/a.stl", b"whale");
    fs::remove_file(place.uploads().join("models/b.stl")).expect("to delete");
    let ended = place.import(&["old", "--move"], 3);
    let expected = [
        "models/a.stl conflict",
        "models/b.stl conflict",
        "models/c.stl unchanged",
    ];
    assert_eq!(ended.outcomes(), expected);
    assert!(
        ended.reason("models/a.stl").contains("the file stays"),
        "{ended:?}"
    );
    assert_eq!(
        files_below(&place.path("old")),
        ["models/a.stl", "models/b.stl"]
    );
}

#[test]
fn the_same_key_with_other_bytes_is_a_conflict_and_stays() {
    let place = Place::local();
    write(&place.path("first"), "models/a.stl", b"first");
    write(&place.path("first"), "models/b.stl", b"first");
    place.import(&["first"], 0);
    write(&place.path("second"), "models/a.stl", b"other");
    write(&place.path("second"), "models/b.stl", b"longer");
    write(&place.path("second"), "models/c.stl", b"new");
    for options in [
        &["second"][..],
        &["second", "--move"],
        &["second", "--link"],
    ] {
        let ended = place.import(options, 3);
        let outcomes = ended.outcomes();
        assert_eq!(
            outcomes[..2],
            ["models/a.stl conflict", "models/b.stl conflict"]
        );
        assert!(
            ended.reason("models/a.stl").contains("SHA-256"),
            "{ended:?}"
        );
        place.expect_bytes("models/a.stl", b"first");
        place.expect_bytes("models/b.stl", b"first");
    }
    assert_eq!(
        files_below(&place.path("second")),
        ["models/a.stl", "models/b.stl"]
    );
    // What lies in the storage folder and was not recorded is not written over either.
    write(&place.uploads(), "models/d.stl", b"not imported yet");
    write(&place.path("third"), "models/d.stl", b"of the third");
    for options in [&["third"][..], &["third", "--link"]] {
        let ended = place.import(options, 3);
        assert_eq!(ended.outcomes(), ["models/d.stl conflict"]);
    }
    let there = fs::read(place.uploads().join("models/d.stl")).expect("a file");
    assert_eq!(there, b"not imported yet");
    // An object that was damaged in its place is no file to import.
    write(&place.uploads(), "models/a.stl", b"fir5t");
    let ended = place.import(&["data/uploads"], 3);
    let expected = [
        "models/a.stl conflict",
        "models/b.stl unchanged",
        "models/c.stl unchanged",
        "models/d.stl adopted",
    ];
    assert_eq!(ended.outcomes(), expected);
}

#[tokio::test]
async fn what_was_deleted_is_not_brought_back() {
    let place = Place::local();
    write(&place.path("old"), "models/a.stl", b"a");
    place.import(&["old"], 0);
    assert_eq!(place.run(&["rm", "models/a.stl"]).code, Some(0));
    let again = place.import(&["old"], 3);
    assert_eq!(again.outcomes(), ["models/a.stl left_out"]);
    assert!(again.reason("models/a.stl").contains("was deleted"));
    let in_place = place.import(&["data/uploads"], 0);
    assert_eq!(in_place.outcomes(), Vec::<String>::new());
    // Its bytes are gone, and somebody puts them there again.
    place.engine(Duration::from_secs(30 * 86_400)).await;
    assert!(!place.uploads().join("models/a.stl").exists());
    place.import(&["old"], 3);
    write(&place.uploads(), "models/a.stl", b"a");
    let in_place = place.import(&["data/uploads"], 3);
    assert_eq!(in_place.outcomes(), ["models/a.stl left_out"]);
    assert!(place.exported().is_empty());
}

#[test]
fn a_replaced_object_that_is_kept_is_no_file_to_import() {
    let place = Place::local();
    write(&place.uploads(), "models/a.stl", b"first");
    place.import(&["data/uploads"], 0);
    write(&place.path("."), "new.stl", b"second");
    assert_eq!(place.run(&["put", "new.stl", "models/a.stl"]).code, Some(0));
    let ended = place.import(&["data/uploads"], 0);
    assert_eq!(ended.outcomes(), Vec::<String>::new());
    place.expect_bytes("models/a.stl", b"second");
    place.expect_verified();
}

#[test]
fn a_repair_before_the_import_keeps_everything() {
    let place = Place::local();
    let files = old_files();
    write_all(&place.uploads(), &files);
    for path in files.keys() {
        let long_ago = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let file = fs::File::options()
            .write(true)
            .open(place.uploads().join(path));
        file.and_then(|file| file.set_modified(long_ago))
            .expect("to set the time");
    }
    let repaired = place.run(&["verify", "--repair", "--json"]);
    assert_eq!(repaired.code, Some(0), "{repaired:?}");
    assert_eq!(
        place.import(&["data/uploads"], 0).summary()["outcomes"]["adopted"],
        files.len()
    );
    assert_eq!(place.recorded(), hashes(&files));
    place.expect_verified();
    // A database from before the import knows nothing of it, and deletes nothing either.
    for name in ["stockroom.db", "stockroom.db-wal", "stockroom.db-shm"] {
        let _ = fs::remove_file(place.path("data").join(name));
    }
    let accept = ["verify", "--repair", "--accept-store", "local", "--json"];
    assert_eq!(place.run(&accept).code, Some(0));
    assert_eq!(
        place.import(&["data/uploads"], 0).summary()["outcomes"]["adopted"],
        files.len()
    );
    assert_eq!(place.recorded(), hashes(&files));
}

#[test]
fn a_store_of_somebody_else_is_not_imported() {
    let first = Place::local();
    write(&first.uploads(), "models/a.stl", b"a");
    first.import(&["data/uploads"], 0);
    let mut second = Place::local();
    let uploads = first.uploads().display().to_string();
    second.settings.insert("STORAGE_DIR", uploads.clone());
    write(&second.path("old"), "models/b.stl", b"b");
    for arguments in [
        &[uploads.as_str()][..],
        &[&uploads, "--dry-run"],
        &["old"],
        &["old", "--link"],
    ] {
        let ended = second.import(arguments, 1);
        assert_eq!(ended.error_code(), "foreign_store", "{ended:?}");
    }
    assert!(!first.uploads().join("models/b.stl").exists());
    assert!(second.exported().is_empty());
}

#[test]
fn what_cannot_be_meant_is_a_usage_error() {
    let place = Place::local();
    write(&place.uploads(), "models/a.stl", b"a");
    write(&place.path("old"), "models/b.stl", b"b");
    for arguments in [
        &["data/uploads", "--move"][..],
        &["data"],
        &["data/uploads/models"],
        &["old", "--publish"],
        &["old", "--concurrency", "0"],
        &["s3://bucket/models/", "--move"],
        &["s3://bucket/models/"],
        &[],
    ] {
        place.import(arguments, 2);
    }
    assert_eq!(
        place.import(&["nowhere"], 1).error_code(),
        "file_unreadable"
    );
    assert_eq!(
        place.import(&["old", "--map", "nowhere"], 1).error_code(),
        "file_unreadable"
    );
    assert!(place.exported().is_empty());
}
