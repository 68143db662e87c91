//! Exports: everything that is live, in both forms.

use std::fs;

use crate::place::{Place, hashes, old_files, write, write_all};

const MAP: &str = "path,artist,title\nmodels/42/helmet.stl,=kaethe,\"=1+1, \"\"x\"\"\"\n";

#[test]
fn both_forms_hold_everything_that_is_live() {
    let place = Place::local();
    let files = old_files();
    write_all(&place.uploads(), &files);
    write(&place.path("."), "map.csv", MAP.as_bytes());
    place.import(&["data/uploads", "--map", "map.csv"], 0);
    let json = place.exported();
    assert_eq!(place.run(&["export", "--json"]).objects(), json);
    let keys: Vec<&str> = json.iter().filter_map(|it| it["key"].as_str()).collect();
    assert_eq!(keys, files.keys().map(String::as_str).collect::<Vec<_>>());

    let ended = place.run(&["export", "--format", "csv", "all.csv"]);
    assert_eq!((ended.code, ended.text()), (Some(0), ""), "{ended:?}");
    let text = fs::read(place.path("all.csv")).expect("a file");
    assert_eq!(text, place.run(&["export", "-"]).stdout);
    let mut reader = csv::Reader::from_reader(&*text);
    let header = reader.headers().expect("a header").clone();
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("a row")).collect();
    assert_eq!(rows.len(), json.len());
    for (row, object) in rows.iter().zip(&json) {
        for (name, cell) in header.iter().zip(row) {
            let value = match &object[name] {
                serde_json::Value::Null => String::new(),
                serde_json::Value::String(text) => text.clone(),
                serde_json::Value::Array(_) => "local=present".to_owned(),
                other => other.to_string(),
            };
            // What a spreadsheet would take for a formula begins with an apostrophe.
            let is_formula = value.starts_with('=');
            let expected = if is_formula {
                format!("'{value}")
            } else {
                value
            };
            assert_eq!(cell, expected, "{name}");
        }
        let hash = hashes(&files)[&row[0]].clone();
        assert_eq!(&row[2], hash);
    }
    let sold = rows.iter().find(|row| &row[0] == "models/42/helmet.stl");
    let sold = sold.expect("a row");
    assert_eq!((&sold[8], &sold[9]), ("'=1+1, \"x\"", "'=kaethe"));
    assert_eq!((&sold[10], &sold[11]), ("helmet.stl", "1"));

    let some = place.run(&["export", "--prefix", "models/4", "--format", "json"]);
    assert_eq!(some.objects().len(), 1);
    // What the export says is enough to find every file again.
    for object in &json {
        let key = object["key"].as_str().expect("a key");
        place.expect_bytes(key, &files[key]);
    }
}

#[test]
fn more_objects_than_a_page_are_written_once_each() {
    let place = Place::local();
    for index in 0..230 {
        write(
            &place.uploads(),
            &format!("images/{index}.txt"),
            b"same bytes",
        );
    }
    place.import(&["data/uploads"], 0);
    assert_eq!(place.recorded().len(), 230);
    assert_eq!(place.exported().len(), 230);
    let text = place.run(&["export"]);
    assert_eq!(text.text().lines().count(), 231);
}

#[test]
fn what_cannot_be_exported_leaves_no_file() {
    let place = Place::local();
    assert_eq!(place.run(&["export", "--prefix", "other/"]).code, Some(2));
    assert_eq!(place.run(&["export", "--format", "xml"]).code, Some(2));
    let ended = place.run(&["export", "nowhere/all.csv", "--json"]);
    assert_eq!(
        (ended.code, ended.error_code().as_str()),
        (Some(1), "file_unwritable")
    );
    let ended = place.run(&["export", "empty.csv"]);
    assert_eq!(ended.code, Some(0));
    let text = fs::read_to_string(place.path("empty.csv")).expect("a file");
    assert_eq!(text.lines().count(), 1);
}
