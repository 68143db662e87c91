//! An import that is killed at any moment is run again, and all is as if it had not been.

use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use chaos_s3::Options;
use stockroom_domain::{Entropy, SeededEntropy, SystemEntropy};

use crate::place::{Files, Place, bytes, files_below, hashes, stl, write, write_all};

/// Longer than the lease of an upload, and than the second look at what was given up.
const LATER: Duration = Duration::from_secs(2 * 3_600);

fn many_files() -> Files {
    let mut files = Files::new();
    for index in 0..30_u32 {
        files.insert(format!("models/{}/{index}.stl", index % 7), stl(index + 1));
        let length = 40_000 * (index as usize % 9);
        files.insert(
            format!("images/{index}.bin"),
            bytes(u64::from(index), length),
        );
    }
    files
}

/// Runs an import until it has told of so many files, and kills it.
fn killed_after(place: &Place, arguments: &[&str], lines: usize) {
    let mut child = place.spawn(&[&["import", "--json", "--concurrency", "4"], arguments].concat());
    let stdout = child.stdout.take().expect("a pipe");
    let told = BufReader::new(stdout).lines().take(lines).count();
    child.kill().expect("to kill");
    child.wait().expect("to wait");
    assert!(told <= lines);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_adoption_goes_on_and_leaves_nothing() {
    go_on_after_kills(Place::local(), &["data/uploads"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_copy_goes_on_and_leaves_nothing() {
    go_on_after_kills(Place::local(), &["old"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_move_goes_on_and_leaves_nothing() {
    go_on_after_kills(Place::local(), &["old", "--move"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_move_by_links_goes_on_and_leaves_nothing() {
    go_on_after_kills(Place::local(), &["old", "--link", "--move"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_adoption_of_a_hybrid_goes_on_and_leaves_nothing() {
    let place = Place::with_s3("hybrid", Options::b2()).await;
    go_on_after_kills(place, &["data/uploads"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_move_to_a_hybrid_goes_on_and_leaves_nothing() {
    let place = Place::with_s3("hybrid", Options::b2()).await;
    go_on_after_kills(place, &["old", "--move"]).await;
}

async fn go_on_after_kills(place: Place, arguments: &[&str]) {
    let system: &dyn Entropy = &SystemEntropy;
    let seed = u64::from_be_bytes(system.bytes());
    println!("seed {seed}");
    let dice: &dyn Entropy = &SeededEntropy::new(seed);
    let files = many_files();
    write_all(&place.path(arguments[0]), &files);
    let mut map = "path,artist,model\n".to_owned();
    for path in files.keys().filter(|path| path.starts_with("models/")) {
        map += &format!("{path},kaethe,{}\n", &path[7..8]);
    }
    write(&place.path("."), "map.csv", map.as_bytes());
    // What a move has removed is not there for the map any more.
    let moves = arguments.contains(&"--move");
    let arguments = if moves {
        arguments.to_vec()
    } else {
        [arguments, &["--map", "map.csv"]].concat()
    };
    for _ in 0..4 {
        let [lines] = dice.bytes::<1>();
        killed_after(&place, &arguments, usize::from(lines % 25));
        for (key, hash) in place.recorded() {
            assert_eq!(Some(&hash), hashes(&files).get(&key), "{key}");
        }
    }
    let ended = place.import(&arguments, 0);
    assert_eq!(place.recorded(), hashes(&files), "{arguments:?}");
    if moves {
        assert!(
            files_below(&place.path("old")).is_empty(),
            "{arguments:?} {ended:?}"
        );
    } else {
        let exported = place.exported();
        let assets = exported.iter().filter(|it| it["asset"].is_string());
        assert_eq!(assets.count(), 30);
        assert!(
            exported
                .iter()
                .all(|it| it["version"].as_u64().unwrap_or(1) == 1)
        );
    }
    place.engine(Duration::ZERO).await;
    // The sweep takes what the kills left, and only that.
    place.engine(LATER).await;
    place.engine(LATER * 2).await;
    let staged = files_below(&place.uploads().join(".staging"));
    assert!(staged.is_empty(), "{staged:?}");
    assert_eq!(files_below(&place.uploads()).len(), files.len() + 1);
    place.expect_verified();
    for (path, content) in files.iter().step_by(17) {
        place.expect_bytes(path, content);
    }
    if let Some(s3) = &place.s3 {
        assert!(s3.unfinished_uploads().is_empty());
        assert_eq!(s3.keys().len(), files.len() + 1);
    }
}

#[test]
fn an_interruption_takes_back_what_was_begun() {
    let place = Place::local();
    let files = many_files();
    write_all(&place.path("old"), &files);
    let mut child = place.spawn(&["import", "--json", "old", "--concurrency", "2"]);
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    stdout.next().expect("a line").expect("text");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("to interrupt");
    let last = stdout.last().expect("an error").expect("text");
    assert_eq!(child.wait().expect("to wait").code(), Some(130), "{last}");
    assert!(last.contains("interrupted"), "{last}");
    place.expect_verified();
    assert!(files_below(&place.uploads().join(".staging")).is_empty());
    place.import(&["old"], 0);
    assert_eq!(place.recorded(), hashes(&files));
    place.expect_verified();
}
