//! Every file of the corpus of real models: accepted as what its name says, however it is cut into
//! chunks, and refused when it is cut off.
//!
//! The corpus is `../shared/corpus` beside the checkout, or the folder that STOCKROOM_CORPUS names.
//! Without it this test is skipped; where CI=true that is an error.

use std::path::{Path, PathBuf};

use crate::common::{check, check_at_random, check_in_chunks};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use stockroom_formats::{
    Checker, Content, Defect, Details, Encoding, Foreign, Format, Rejection, Report,
};

/// Files that are refused, and why that is right.
fn refused() -> Vec<(&'static str, Defect)> {
    vec![
        // No bytes at all.
        (
            "assimp/test/models/invalid/empty.obj",
            Defect::Empty {
                claimed: Format::Obj,
            },
        ),
        // Only comments, or only the names of materials.
        ("trimesh/models/empty.obj", Defect::ObjWithoutGeometry),
        (
            "trimesh/models/emptyIO/obj_empty.obj",
            Defect::ObjWithoutGeometry,
        ),
        (
            "tinyobjloader/models/issue-356-leading-spaces-newmtl.obj",
            Defect::ObjWithoutGeometry,
        ),
        // UTF-16, which next to no program reads.
        (
            "assimp/test/models/OBJ/box_UTF16BE.obj",
            Defect::Misnamed {
                extension: "obj".to_owned(),
                content: Content::Foreign(Foreign::Utf16Text),
            },
        ),
        // Well formed, without a single facet.
        ("trimesh/models/empty.stl", Defect::StlWithoutTriangles),
        (
            "trimesh/models/emptyIO/stl_empty_ascii.stl",
            Defect::StlWithoutTriangles,
        ),
        (
            "trimesh/models/emptyIO/stl_empty_bin.stl",
            Defect::StlWithoutTriangles,
        ),
        // glTF 1.0, and its header announces 33 bytes more than the file has.
        (
            "assimp/test/models/glTF/BoxTextured-glTF-Binary/BoxTextured.glb",
            Defect::GlbVersion { version: 1 },
        ),
    ]
}

#[test]
fn every_file_gets_the_right_verdict_however_it_is_cut() {
    let Some(corpus) = Corpus::find() else { return };
    let mut random = seeded();
    let mut refused = refused();
    let mut wrong = Vec::new();
    for (path, bytes) in corpus.models() {
        let verdict = check(&path, &bytes);
        match refused.iter().position(|(name, _)| *name == path) {
            Some(index) => {
                let (_, defect) = refused.swap_remove(index);
                assert_eq!(verdict, Err(Rejection::InvalidModelFile(defect)), "{path}");
            }
            None if !is_accepted_as_named(&path, &bytes, &verdict) => {
                wrong.push(format!("{path}: {verdict:?}"));
            }
            None => {}
        }

        let mut tiny = vec![7; bytes.len().min(20_000) / 7];
        tiny.extend(vec![4_093; bytes.len() / 4_093]);
        assert_eq!(
            check_in_chunks(&path, &bytes, tiny),
            verdict,
            "{path} in tiny chunks"
        );
        for _ in 0..3 {
            assert_eq!(
                check_at_random(&path, &bytes, &mut random),
                verdict,
                "{path} in random chunks"
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(refused.is_empty(), "not in the corpus: {refused:?}");
}

fn is_accepted_as_named(path: &str, bytes: &[u8], verdict: &Result<Report, Rejection>) -> bool {
    let extension = path.rsplit('.').next().unwrap();
    verdict.as_ref().is_ok_and(|report| {
        Some(report.format) == Format::from_extension(extension)
            && report.size_bytes == bytes.len() as u64
    })
}

#[test]
fn triangles_are_counted() {
    let Some(corpus) = Corpus::find() else { return };
    for (path, encoding, triangles, solids) in [
        (
            "trimesh/models/1002_tray_bottom.STL",
            Encoding::Ascii,
            4_520,
            1,
        ),
        ("trimesh/models/multibody.stl", Encoding::Ascii, 32, 2),
        (
            "trimesh/models/two_objects_mixed_case_names.stl",
            Encoding::Ascii,
            24,
            2,
        ),
        (
            "assimp/test/models/STL/triangle_with_empty_solid.stl",
            Encoding::Ascii,
            1,
            2,
        ),
        (
            "assimp/test/models/STL/sphereWithHole.stl",
            Encoding::Ascii,
            285,
            1,
        ),
        // Its header begins with "solid".
        ("trimesh/models/torus.STL", Encoding::Binary, 8_700, 1),
        ("trimesh/models/7_8ths_cube.stl", Encoding::Binary, 24, 1),
    ] {
        let report = check(path, &corpus.read(path)).unwrap();
        let Details::Stl(details) = report.details else {
            panic!("{path}: {:?}", report.details)
        };
        assert_eq!(
            (details.encoding, details.triangles, details.solids),
            (encoding, triangles, solids),
            "{path}"
        );
    }
}

#[test]
fn a_cut_file_is_refused() {
    let Some(corpus) = Corpus::find() else { return };
    let mut random = seeded();
    let mut cuts = 0;
    for (path, bytes) in corpus.models() {
        let Ok(report) = check(&path, &bytes) else {
            continue;
        };
        let shortest_whole = match report.format {
            Format::Stl => match report.details {
                Details::Stl(details) if details.encoding == Encoding::Ascii => {
                    end_of_text_stl(&bytes)
                }
                _ => bytes.len(),
            },
            Format::Gltf => bytes.trim_ascii_end().len(),
            Format::ThreeMf | Format::Glb => bytes.len(),
            // An OBJ may end after any line, so a cut is not noticed.
            Format::Obj | Format::Zip | Format::Png | Format::Jpeg | Format::WebP | Format::Gif => {
                continue;
            }
        };
        let mut lengths = vec![0, 1, 5, 83, 84, 100, bytes.len() / 2, shortest_whole - 1];
        lengths.extend((0..12).map(|_| random.random_range(0..shortest_whole)));
        for length in lengths
            .into_iter()
            .filter(|&length| length < shortest_whole)
        {
            let verdict = check(&path, &bytes[..length]);
            if is_whole_with_fewer_solids(&verdict) {
                continue;
            }
            assert!(
                matches!(verdict, Err(Rejection::InvalidModelFile(_))),
                "{path} cut to {length} bytes: {verdict:?}"
            );
            cuts += 1;
        }
    }
    assert!(cuts > 3_000, "only {cuts} cuts were tried");
}

/// A text STL of several solids that is cut between two of them is whole; nothing in the format
/// says how many there are.
fn is_whole_with_fewer_solids(verdict: &Result<Report, Rejection>) -> bool {
    matches!(verdict, Ok(Report { details: Details::Stl(stl), .. }) if stl.encoding == Encoding::Ascii)
}

fn end_of_text_stl(bytes: &[u8]) -> usize {
    let word = b"endsolid";
    let last = bytes
        .windows(word.len())
        .rposition(|window| window.eq_ignore_ascii_case(word))
        .unwrap();
    last + word.len()
}

#[test]
fn a_length_known_beforehand_refuses_early_and_never_otherwise() {
    let Some(corpus) = Corpus::find() else { return };
    for (path, bytes) in corpus.models() {
        let verdict = |expected: u64| {
            let mut checker = Checker::new(&path).expected_size_bytes(Some(expected));
            checker.update(&bytes)?;
            checker.finish()
        };
        let size_bytes = bytes.len() as u64;
        assert_eq!(verdict(size_bytes), check(&path, &bytes), "{path}");
        let report = match check(&path, &bytes) {
            Ok(report) if matches!(report.format, Format::Stl | Format::Glb) => report,
            Ok(_) | Err(_) => continue,
        };
        if matches!(report.details, Details::Stl(details) if details.encoding == Encoding::Ascii) {
            continue;
        }
        let mut checker = Checker::new(&path).expected_size_bytes(Some(size_bytes - 1));
        let early = checker.update(&bytes[..bytes.len().min(4_096)]);
        if bytes.len() >= 4_096 {
            assert_eq!(
                early.unwrap_err(),
                check(&path, &bytes[..bytes.len() - 1]).unwrap_err(),
                "{path}"
            );
        }
    }
}

#[test]
fn a_file_under_another_name_is_refused_with_what_it_is() {
    let Some(corpus) = Corpus::find() else { return };
    for (path, bytes) in corpus.models() {
        let Ok(report) = check(&path, &bytes) else {
            continue;
        };
        for claimed in Format::ALL {
            let is_archive = matches!(claimed, Format::Zip) && report.format == Format::ThreeMf;
            if claimed == report.format || is_archive {
                continue;
            }
            let filename = format!("model.{}", claimed.extensions()[0]);
            let verdict = check(&filename, &bytes);
            assert!(
                matches!(verdict, Err(Rejection::InvalidModelFile(_))),
                "{path} as {filename}: {verdict:?}"
            );
        }
        // Under a name that claims nothing the content decides.
        assert_eq!(
            check("model", &bytes).map(|report| report.format),
            Ok(report.format),
            "{path}"
        );
    }
}

struct Corpus(PathBuf);

impl Corpus {
    fn find() -> Option<Corpus> {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
        let folder = std::env::var_os("STOCKROOM_CORPUS").map_or(beside, PathBuf::from);
        if folder.is_dir() {
            return Some(Corpus(folder));
        }
        let is_ci = std::env::var("CI").is_ok_and(|value| value == "true");
        assert!(
            !is_ci,
            "the corpus of models is missing: {}",
            folder.display()
        );
        eprintln!(
            "skipped: no corpus of models at {}; set STOCKROOM_CORPUS",
            folder.display()
        );
        None
    }

    fn read(&self, path: &str) -> Vec<u8> {
        std::fs::read(self.0.join(path)).unwrap()
    }

    /// Every model, as path below the corpus and content.
    fn models(&self) -> impl Iterator<Item = (String, Vec<u8>)> {
        let mut paths = Vec::new();
        let mut folders = vec![self.0.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_none_or(|extension| extension != "txt") {
                    paths.push(
                        path.strip_prefix(&self.0)
                            .unwrap()
                            .to_str()
                            .unwrap()
                            .to_owned(),
                    );
                }
            }
        }
        paths.sort();
        assert!(
            paths.len() >= 314,
            "the corpus has only {} models",
            paths.len()
        );
        paths.into_iter().map(|path| {
            let bytes = self.read(&path);
            (path, bytes)
        })
    }
}

fn seeded() -> StdRng {
    let seed = std::env::var("STOCKROOM_SEED").map_or(20_261_124, |seed| seed.parse().unwrap());
    println!("STOCKROOM_SEED={seed}");
    StdRng::seed_from_u64(seed)
}
