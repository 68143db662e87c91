//! What is odd is reported with a reason and left alone.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::place::{Ended, Place, bytes, files_below, write};

/// Everything that is odd, and what is told of it.
const ODD: [(&str, &str); 11] = [
    ("models/link.stl", "it is a symbolic link"),
    ("models/linked", "it is a symbolic link"),
    ("models/socket", "it is a device, a pipe or a socket"),
    ("models/.htaccess", "it is hidden"),
    ("models/.git/config", "it is hidden"),
    ("models/a\nb.stl", "a key has no control character"),
    ("models/a\\b.stl", "a key has no backslash"),
    ("models/.versions/1", "are made by Stockroom itself"),
    ("models/.stockroom/other", "are made by Stockroom itself"),
    ("avatars/1.png", "it lies in none of the folders"),
    ("loose.stl", "it lies in none of the folders"),
];

fn plant(root: &Path) -> UnixListener {
    for (path, _) in ODD {
        if !matches!(path, "models/link.stl" | "models/linked" | "models/socket") {
            write(root, path, b"odd");
        }
    }
    write(root, "models/fine.stl", b"fine");
    for litter in [
        "models/.DS_Store",
        "images/Thumbs.db",
        "images/.gitkeep",
        "temp/x",
    ] {
        write(root, litter, b"litter");
    }
    let not_text = root.join(OsStr::from_bytes(b"models/\xff\xfe.stl"));
    fs::write(not_text, "odd").expect("to write");
    let long = format!("models/{}", "long/".repeat(110));
    write(root, &format!("{long}{}", "n".repeat(250)), b"odd");
    write(
        root,
        &format!("{long}{}/{}", "d".repeat(250), "n".repeat(250)),
        b"odd",
    );
    let outside = root.parent().expect("a folder").join("outside");
    write(&outside, "secret", b"secret");
    symlink(outside.join("secret"), root.join("models/link.stl")).expect("a link");
    symlink(&outside, root.join("models/linked")).expect("a link");
    UnixListener::bind(root.join("models/socket")).expect("a socket")
}

fn check(ended: &Ended) {
    let taken: Vec<String> = ended
        .outcomes()
        .into_iter()
        .filter(|line| !line.ends_with(" left_out"))
        .collect();
    assert_eq!(taken.len(), 1, "{taken:?}");
    for (path, reason) in ODD {
        let told = ended.reason(path);
        assert!(told.contains(reason), "{path:?}: {told}");
    }
    let told = ended.reason("models/\u{fffd}\u{fffd}.stl");
    assert!(told.contains("a key is UTF-8"), "{told}");
    let objects = ended.objects();
    let long = objects.iter().filter(|it| {
        let reason = it["reason"].as_str().unwrap_or_default();
        reason.contains("bytes long; at most 1024")
    });
    assert_eq!(long.count(), 1);
    assert_eq!(ended.summary()["ignored"], 4, "{ended:?}");
}

#[test]
fn odd_names_in_another_folder_are_told_and_left_alone() {
    let place = Place::local();
    let _socket = plant(&place.path("old"));
    let before = files_below(&place.path("old"));
    // The one that is long and fits is no odd name.
    fs::remove_file(place.path("old").join(format!(
        "models/{}{}",
        "long/".repeat(110),
        "n".repeat(250)
    )))
    .expect("to delete");
    let ended = place.import(&["old", "--move"], 3);
    check(&ended);
    assert_eq!(ended.summary()["removed"], 1);
    assert_eq!(files_below(&place.path("old")).len(), before.len() - 2);
    assert_eq!(
        place.recorded().into_keys().collect::<Vec<_>>(),
        ["models/fine.stl"]
    );
    place.expect_verified();
    let words = place.run(&["import", "old"]);
    assert_eq!(words.code, Some(3));
    assert!(
        words.text().contains("left_out   models/.htaccess"),
        "{words:?}"
    );
    assert!(!words.text().contains("a\nb"), "a name moved the cursor");
}

#[test]
fn odd_names_in_the_storage_folder_are_told_and_left_alone() {
    let place = Place::local();
    let _socket = plant(&place.uploads());
    fs::remove_file(place.uploads().join(format!(
        "models/{}{}",
        "long/".repeat(110),
        "n".repeat(250)
    )))
    .expect("to delete");
    let before = files_below(&place.uploads());
    let ended = place.import(&["data/uploads"], 3);
    check(&ended);
    // The store's id came, and nothing went.
    assert_eq!(files_below(&place.uploads()).len(), before.len() + 1);
    assert_eq!(
        place.recorded().into_keys().collect::<Vec<_>>(),
        ["models/fine.stl"]
    );
    place.expect_verified();
}

#[test]
fn a_category_that_is_a_link_is_not_followed() {
    let place = Place::local();
    write(&place.path("disk"), "a.stl", b"a");
    fs::create_dir(place.path("old")).expect("a folder");
    symlink(place.path("disk"), place.path("old/models")).expect("a link");
    let ended = place.import(&["old"], 3);
    assert_eq!(ended.outcomes(), ["models left_out"]);
    assert!(place.exported().is_empty());
}

#[test]
fn a_file_with_another_name_is_adopted_only_when_that_is_said() {
    let place = Place::local();
    write(&place.uploads(), "models/a.stl", b"a");
    fs::hard_link(place.uploads().join("models/a.stl"), place.path("other")).expect("a link");
    let ended = place.import(&["data/uploads"], 3);
    assert_eq!(ended.outcomes(), ["models/a.stl left_out"]);
    assert!(ended.reason("models/a.stl").contains("hard link"));
    let ended = place.import(&["data/uploads", "--link"], 0);
    assert_eq!(ended.outcomes(), ["models/a.stl adopted"]);
    // Once it is an object, nobody need say it again.
    assert_eq!(
        place.import(&["data/uploads"], 0).outcomes(),
        ["models/a.stl unchanged"]
    );
}

/// Appends to a file until it is dropped.
struct Writer {
    ends: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    fn begin(path: &Path) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let mut file = fs::File::options().append(true).open(path).expect("a file");
        let until = Arc::clone(&ends);
        let thread = std::thread::spawn(move || {
            while !until.load(Ordering::Relaxed) {
                file.write_all(b"x").expect("to write");
                std::thread::yield_now();
            }
        });
        Self {
            ends,
            thread: Some(thread),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a writer");
        }
    }
}

#[test]
fn a_file_that_grows_meanwhile_is_told_and_not_imported() {
    for (folder, options) in [
        ("data/uploads", &[][..]),
        ("old", &[]),
        ("old", &["--move"]),
        ("old", &["--link"]),
    ] {
        let place = Place::local();
        let root = place.path(folder);
        write(&root, "models/grows.bin", &bytes(1, 2_000_000));
        write(&root, "models/rests.bin", b"rests");
        let arguments = [&[folder], options].concat();
        let writer = Writer::begin(&root.join("models/grows.bin"));
        let ended = place.import(&arguments, 3);
        drop(writer);
        assert!(
            ended
                .outcomes()
                .contains(&"models/grows.bin left_out".to_owned()),
            "{arguments:?} {ended:?}"
        );
        assert!(
            ended
                .reason("models/grows.bin")
                .contains("written to while it was read")
        );
        assert_eq!(
            place.recorded().into_keys().collect::<Vec<_>>(),
            ["models/rests.bin"]
        );
        assert!(root.join("models/grows.bin").exists());
        place.expect_verified();
        place.import(&arguments, 0);
        assert_eq!(place.recorded().len(), 2, "{arguments:?}");
        place.expect_verified();
    }
}
