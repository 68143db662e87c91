//! Maps: files become assets of models.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use chaos_s3::Options;
use serde_json::Value;

use crate::place::{Place, bytes, hashes, old_files, stl, write, write_all};

const MAP: &str = "path,artist,title,model,filename,license,price,currency\n\
    models/42/helmet.stl,kaethe,Helmet,h-1,,CC-BY-4.0,1250,EUR\n\
    models/7/Schild Ü.stl,kaethe,,h-1,shield.stl,,,\n\
    models/a.glb,otto,=Danger,,danger.stl,,,\n";

/// What is sold, as `key title artist filename version`.
fn sold(place: &Place) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let exported = place.exported();
    let assets = exported.iter().filter(|it| it["asset"].is_string());
    assets
        .map(|it| {
            ["key", "title", "artist", "filename", "version"]
                .map(|name| text(&it[name]))
                .join("|")
        })
        .collect()
}

const SOLD: [&str; 3] = [
    "models/42/helmet.stl|Helmet|kaethe|helmet.stl|1",
    "models/7/Schild Ü.stl|Helmet|kaethe|shield.stl|1",
    "models/a.glb|=Danger|otto|danger.stl|1",
];

#[tokio::test]
async fn a_map_makes_assets_of_files_however_they_come_in() {
    for (arguments, outcome) in [
        (&["data/uploads"][..], "adopted"),
        (&["old"], "copied"),
        (&["old", "--link"], "linked"),
        (&["s3"], "adopted"),
    ] {
        let place = if arguments == ["s3"] {
            Place::with_s3("s3", Options::b2()).await
        } else {
            Place::local()
        };
        let files = old_files();
        let bucket = place
            .s3
            .as_ref()
            .map(|s3| format!("s3://{}/models/", s3.bucket()));
        let mut arguments = arguments.to_vec();
        if let Some(bucket) = &bucket {
            arguments = vec![bucket];
            for (path, content) in &files {
                place.s3().plant(path, content.clone());
            }
        } else {
            write_all(&place.path(arguments[0]), &files);
        }
        write(&place.path("."), "map.csv", MAP.as_bytes());
        arguments.extend(["--map", "map.csv"]);
        let dry = place.import(&[&arguments[..], &["--dry-run"]].concat(), 0);
        assert!(place.exported().is_empty());
        let first = place.import(&arguments, 0);
        assert_eq!(dry.outcomes(), first.outcomes());
        let line = format!("models/a.glb {outcome}");
        assert!(first.outcomes().contains(&line), "{first:?}");
        assert_eq!(sold(&place), SOLD, "{arguments:?}");

        // The same map again changes nothing.
        let before = place.exported();
        let again = place.import(&arguments, 0);
        let unchanged = again.summary()["outcomes"]["unchanged"].as_u64();
        assert_eq!(unchanged, first.summary()["files"].as_u64(), "{again:?}");
        assert_eq!(place.exported(), before);
        let app = place.app(Duration::ZERO).await;
        let models = app
            .catalog
            .list_models(&Default::default(), &Default::default())
            .await
            .expect("models");
        assert!(models.items.is_empty(), "drafts are on show");
        app.catalog.close().await;

        let published = place.import(&[&arguments[..], &["--publish"]].concat(), 0);
        assert_eq!(published.summary()["published"], 2);
        let published = place.import(&[&arguments[..], &["--publish"]].concat(), 0);
        assert_eq!(published.summary()["published"], 0);
        assert_eq!(sold(&place), SOLD, "{arguments:?}");
        place.expect_verified();
        place.expect_bytes("models/a.glb", &files["models/a.glb"]);
    }
}

#[test]
fn objects_that_were_imported_before_become_assets_later() {
    for arguments in [&["data/uploads"][..], &["old"]] {
        let place = Place::local();
        write_all(&place.path(arguments[0]), &old_files());
        place.import(arguments, 0);
        assert_eq!(sold(&place), Vec::<String>::new());
        write(&place.path("."), "map.csv", MAP.as_bytes());
        let ended = place.import(&[arguments, &["--map", "map.csv"]].concat(), 0);
        assert_eq!(ended.summary()["outcomes"]["listed"], 3, "{ended:?}");
        assert_eq!(sold(&place), SOLD);
        assert_eq!(place.recorded(), hashes(&old_files()));
        let again = place.import(&[arguments, &["--map", "map.csv"]].concat(), 0);
        assert_eq!(again.summary()["outcomes"]["unchanged"], 6);
        place.expect_verified();
    }
}

#[test]
fn a_file_that_fails_its_check_is_kept_and_not_sold() {
    for arguments in [
        &["data/uploads"][..],
        &["old"],
        &["old", "--link"],
        &["old", "--move"],
    ] {
        let place = Place::local();
        let root = place.path(arguments[0]);
        write(&root, "models/cut.stl", &stl(9)[..300]);
        write(&root, "models/whole.stl", &stl(9));
        let map = "path,artist,model\nmodels/cut.stl,a,m\nmodels/whole.stl,a,m\n";
        write(&place.path("."), "map.csv", map.as_bytes());
        let arguments = [arguments, &["--map", "map.csv", "--publish"]].concat();
        let ended = place.import(&arguments, 3);
        assert!(
            ended
                .outcomes()
                .contains(&"models/cut.stl unlisted".to_owned()),
            "{ended:?}"
        );
        assert!(ended.reason("models/cut.stl").contains("STL"), "{ended:?}");
        // A model that lacks a file is not put on show.
        assert_eq!(ended.summary()["published"], 0);
        assert_eq!(sold(&place), ["models/whole.stl|m|a|whole.stl|1"]);
        place.expect_bytes("models/cut.stl", &stl(9)[..300]);
        place.expect_verified();
        let before = place.exported();
        let again = place.import(
            &arguments,
            if arguments.contains(&"--move") { 2 } else { 3 },
        );
        if !arguments.contains(&"--move") {
            assert!(
                again
                    .outcomes()
                    .contains(&"models/cut.stl unlisted".to_owned())
            );
        }
        assert_eq!(place.exported(), before);
    }
}

#[test]
fn a_map_that_does_not_fit_is_told_before_anything_is_changed() {
    let place = Place::local();
    write_all(&place.uploads(), &old_files());
    write(&place.uploads(), "temp/x.stl", &stl(1));
    for (map, line) in [
        (
            "path,artist\nmodels/42/helmet.stl,a\nmodels/missing.stl,a\n",
            3,
        ),
        ("path,artist\nmodels/a.glb,a\nmodels/a.glb,a\n", 3),
        ("path,artist\ntemp/x.stl,a\n", 2),
        ("path,artist,colour\nmodels/a.glb,a,red\n", 1),
        ("path,title\nmodels/a.glb,a\n", 1),
    ] {
        write(&place.path("."), "map.csv", map.as_bytes());
        let ended = place.import(&["data/uploads", "--map", "map.csv"], 2);
        assert_eq!(ended.error_code(), "invalid_map", "{ended:?}");
        assert_eq!(ended.objects()[0]["line"], line, "{ended:?}");
        assert!(place.exported().is_empty(), "{map}");
    }
}

#[tokio::test]
async fn a_model_that_was_deleted_is_not_brought_back() {
    let place = Place::local();
    write(&place.uploads(), "models/a.stl", &stl(1));
    write(&place.uploads(), "models/b.stl", &stl(2));
    write(
        &place.path("."),
        "one.csv",
        b"path,artist,model\nmodels/a.stl,a,m\n",
    );
    write(
        &place.path("."),
        "two.csv",
        b"path,artist,model\nmodels/b.stl,a,m\n",
    );
    place.import(&["data/uploads", "--map", "one.csv"], 0);
    let app = place.app(Duration::ZERO).await;
    let model = place.exported()[0]["model"]
        .as_str()
        .expect("an id")
        .parse();
    let model = model.expect("an id");
    let now = app.clock.now();
    app.catalog
        .retire_model(model, now, now)
        .await
        .expect("to delete");
    app.catalog.close().await;
    let ended = place.import(&["data/uploads", "--map", "two.csv"], 3);
    assert_eq!(ended.outcomes(), ["models/b.stl unlisted"]);
    assert!(
        ended.reason("models/b.stl").contains("was deleted"),
        "{ended:?}"
    );
}

/// Real files, where there are any.
#[test]
fn real_models_are_adopted_and_sold() {
    let corpus = std::env::var_os("STOCKROOM_CORPUS").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../../../shared/corpus"
            ))
        },
        PathBuf::from,
    );
    let examples = corpus.join("3mf-samples/examples/core");
    let Ok(entries) = fs::read_dir(&examples) else {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "CI needs the corpus"
        );
        println!("SKIPPED: the corpus of real files is not there");
        return;
    };
    let place = Place::local();
    let mut map = "path,artist,model\n".to_owned();
    let mut count = 0;
    for entry in entries {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        let content = fs::read(&path).expect("a file");
        write(&place.uploads(), &format!("models/core/{name}"), &content);
        map += &format!("models/core/{name},kaethe,Core\n");
        count += 1;
    }
    write(&place.uploads(), "models/noise.3mf", &bytes(1, 5_000));
    map += "models/noise.3mf,kaethe,Noise\n";
    write(&place.path("."), "map.csv", map.as_bytes());
    let ended = place.import(&["data/uploads", "--map", "map.csv"], 3);
    assert_eq!(ended.summary()["outcomes"]["adopted"], count, "{ended:?}");
    assert_eq!(ended.summary()["outcomes"]["unlisted"], 1);
    assert_eq!(sold(&place).len(), count);
    place.expect_verified();
}
