//! Files of artists. The first two bytes choose the name and how the network cuts the rest.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stockroom_formats::{Checker, Rejection, Report};
use stockroom_fuzz::memory::{Counting, most_bytes};
use stockroom_fuzz::pieces;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const NAMES: [&str; 13] = [
    "a.stl", "a.obj", "a.3mf", "a.glb", "a.gltf", "a.zip", "a.png", "a.jpg", "a.webp", "a.gif",
    "a.exe", "a", "",
];

/// Whatever the file: its state is a few KiB, and its verdict is a sentence.
const MAX_BYTES: usize = 64 * 1024;

fuzz_target!(|input: &[u8]| {
    let [name, seed, file @ ..] = input else {
        return;
    };
    let name = NAMES[usize::from(*name) % NAMES.len()];
    let whole = check(name, None, &[file]);
    let cut = pieces(file, *seed);
    let (in_pieces, most) = most_bytes(|| check(name, None, &cut));
    assert!(most < MAX_BYTES, "{most} bytes");
    assert_eq!(in_pieces, whole, "the verdict depends on the pieces");
    let announced = check(name, Some(file.len() as u64), &cut);
    match (&whole, announced) {
        (Ok(report), Ok(announced)) => assert_eq!(announced, *report),
        (Err(_), announced) => assert!(announced.is_err(), "the length made it acceptable"),
        (Ok(_), Err(refused)) => panic!("its own length made it refused: {refused}"),
    }
    match whole {
        Ok(report) => {
            assert_eq!(report.size_bytes, file.len() as u64);
            // It is kept as JSON, which knows no number that is not finite.
            let json = serde_json::to_string(&report).expect("JSON");
            assert_eq!(
                serde_json::from_str::<Report>(&json).expect("a report"),
                report
            );
        }
        Err(refused) => {
            let sentence = refused.to_string();
            assert!(
                sentence.ends_with('.') && sentence.len() < 1_000,
                "{sentence}"
            );
            assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
        }
    }
});

fn check(name: &str, announced: Option<u64>, pieces: &[&[u8]]) -> Result<Report, Rejection> {
    let mut checker = Checker::new(name).expected_size_bytes(announced);
    for piece in pieces {
        checker.update(piece)?;
    }
    checker.finish()
}
