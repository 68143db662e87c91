//! What holds for any input. The seed of a failing case is printed by proptest.

use proptest::prelude::*;
use stockroom_formats::{Checker, Details, Encoding, Format};

use crate::common::{FACET, binary_stl, check, check_in_chunks, glb, zip};

const NAMES: [&str; 13] = [
    "a.stl", "a.obj", "a.3mf", "a.glb", "a.gltf", "a.zip", "a.png", "a.jpg", "a.webp", "a.gif",
    "a.exe", "a", "",
];

/// Beginnings that lead into every check.
fn openings() -> impl Strategy<Value = Vec<u8>> {
    let text = "solid a\nfacet normal 0 0 1\nouter loop\nvertex 0 0 0\n";
    let fixed: Vec<Vec<u8>> = vec![
        vec![],
        b"solid a\n".to_vec(),
        text.as_bytes().to_vec(),
        b"v 1 2 3\n".to_vec(),
        b"# a\n".to_vec(),
        b"{\"asset\":{".to_vec(),
        b"\xEF\xBB\xBFsolid".to_vec(),
        b"\xFF\xD8\xFF\xE0\0\x10".to_vec(),
        b"\x89PNG\r\n\x1A\n".to_vec(),
        b"GIF89a".to_vec(),
        b"RIFF\0\0\0\0WEBPVP8L".to_vec(),
        binary_stl(b"solid", &[FACET; 2]),
        binary_stl(b"", &[]),
        glb(9),
        zip(
            &[
                ("3D/a.model", b"PK\x01"),
                ("[Content_Types].xml", b"PK\x01\x02"),
            ],
            b"",
        ),
        b"PK\x03\x04PK\x01\x02\0\0\0\0\0\0\0\0".to_vec(),
        b"PK\x03\x04PK\x01\x02PK\x05\x06PK\x06\x06".to_vec(),
    ];
    prop::sample::select(fixed)
}

/// Bytes that are mostly text, mostly zeros, or anything.
fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "solid", "facet", "normal", "outer", "loop", "vertex", "endloop", "endfacet", "endsolid",
        "0", "-1e3", "nan", "\n", "\r", "v", "f", "{", "}", "[", "]", "\"", "asset", ":", ",",
        "\\", "\0", "\u{FF}",
    ]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..600),
        prop::collection::vec(prop_oneof![9 => Just(0_u8), 1 => any::<u8>()], 0..6_000),
        prop::collection::vec(word, 0..300).prop_map(|words| words.join(" ").into_bytes()),
    ]
}

prop_compose! {
    /// A valid facet: any finite numbers.
    fn facets()(facets in prop::collection::vec(prop::array::uniform12(-1e6_f32..1e6), 1..40)) -> Vec<[f32; 12]> {
        facets
    }
}

fn ascii(facets: &[[f32; 12]], solids: usize, line_end: &str) -> String {
    let mut text = String::new();
    for _ in 0..solids {
        text += &format!("solid of {solids}{line_end}");
        for [nx, ny, nz, corners @ ..] in facets {
            text += &format!("facet normal {nx} {ny:e} {nz}{line_end}outer loop{line_end}");
            for [x, y, z] in corners.as_chunks::<3>().0 {
                text += &format!("  vertex {x:e} {y} {z:E}{line_end}");
            }
            text += &format!("endloop{line_end}endfacet{line_end}");
        }
        text += &format!("endsolid{line_end}");
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_in_any_chunks_get_one_verdict(
        name in prop::sample::select(NAMES.to_vec()),
        opening in openings(),
        body in bodies(),
        lengths in prop::collection::vec(1_usize..200, 1..40),
        expected in prop::option::of(0_u64..10_000),
    ) {
        let bytes = [opening, body].concat();
        let whole = check(name, &bytes);
        prop_assert_eq!(&check_in_chunks(name, &bytes, lengths.iter().copied().cycle()), &whole);
        prop_assert_eq!(&check_in_chunks(name, &bytes, std::iter::repeat(1)), &whole);
        if let Ok(report) = &whole {
            prop_assert_eq!(report.size_bytes, bytes.len() as u64);
            prop_assert!(report.notes.len() <= 8);
            let json = serde_json::to_string(report).unwrap();
            prop_assert_eq!(&serde_json::from_str::<stockroom_formats::Report>(&json).unwrap(), report);
        }

        // An expected size may refuse, and never accepts.
        let mut checker = Checker::new(name).expected_size_bytes(expected);
        let verdict = checker.update(&bytes).and_then(|()| checker.finish());
        if whole.is_err() {
            prop_assert!(verdict.is_err());
        }
        if expected == Some(bytes.len() as u64) {
            prop_assert_eq!(verdict, whole);
        }
    }

    #[test]
    fn a_binary_stl_is_accepted_and_no_part_of_it(
        facets in facets(),
        header in prop::collection::vec(any::<u8>(), 0..80),
        cut in any::<prop::sample::Index>(),
        lengths in prop::collection::vec(1_usize..500, 1..10),
    ) {
        let header = [&b"solid "[..], &header].concat();
        let file = binary_stl(&header[..header.len().min(80)], &facets);
        let report = check_in_chunks("a.stl", &file, lengths.iter().copied().cycle()).unwrap();
        let Details::Stl(details) = report.details else { panic!("{report:?}") };
        prop_assert_eq!((details.encoding, details.triangles), (Encoding::Binary, facets.len() as u64));
        let corners = facets.iter().flat_map(|facet| facet[3..].as_chunks::<3>().0);
        let bounds = details.bounding_box.unwrap();
        for axis in 0..3 {
            let values = corners.clone().map(|corner| corner[axis]);
            prop_assert_eq!(bounds.min[axis], values.clone().fold(f32::INFINITY, f32::min));
            prop_assert_eq!(bounds.max[axis], values.fold(f32::NEG_INFINITY, f32::max));
        }
        let length = cut.index(file.len());
        prop_assert_eq!(check("a.stl", &file[..length]).unwrap_err().code(), "invalid_model_file");
    }

    #[test]
    fn a_text_stl_is_accepted_and_says_the_same_as_the_binary_one(
        facets in facets(),
        solids in 1_usize..4,
        line_end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        cut in any::<prop::sample::Index>(),
    ) {
        let text = ascii(&facets, solids, line_end);
        let report = check("a.stl", text.as_bytes()).unwrap();
        let Details::Stl(details) = report.details else { panic!("{report:?}") };
        prop_assert_eq!(report.format, Format::Stl);
        prop_assert_eq!(details.encoding, Encoding::Ascii);
        prop_assert_eq!((details.solids, details.triangles), (solids as u64, (solids * facets.len()) as u64));
        let binary = check("a.stl", &binary_stl(b"", &facets)).unwrap();
        let Details::Stl(binary) = binary.details else { panic!("{binary:?}") };
        prop_assert_eq!(details.bounding_box, binary.bounding_box);

        // Cut anywhere in the last solid, or within any other.
        let length = cut.index(text.trim_end().len());
        let is_between_solids = text[..length].trim_end().ends_with("endsolid");
        let is_accepted = check("a.stl", &text.as_bytes()[..length]).is_ok();
        prop_assert_eq!(is_accepted, is_between_solids);
    }
}

/// The state of a check does not grow with the file: what is fed in is not kept.
#[test]
fn memory_is_bounded() {
    let block = vec![b' '; 1 << 16];
    let mut long_opening = binary_stl(b"", &[]);
    long_opening[80..84].copy_from_slice(&u32::MAX.to_le_bytes());
    let openings: [(&str, &[u8]); 6] = [
        ("a.stl", &long_opening),
        ("a.obj", b"v 1 2 3\n"),
        ("a.gltf", b"{\"asset\":\""),
        ("a.zip", b"PK\x03\x04"),
        ("a.glb", b"glTF\x02\0\0\0\xFF\xFF\xFF\xFF\0\0\0\0JSON"),
        ("a.jpg", b"\xFF\xD8\xFF\xE0"),
    ];
    for (name, opening) in openings {
        let mut checker = Checker::new(name);
        checker.update(opening).unwrap();
        for _ in 0..64 {
            checker.update(&block).unwrap();
        }
        // Everything a checker holds shows in its Debug output, where a buffer of the input's
        // 4 MiB would take many times as much.
        let held = format!("{checker:?}").len();
        assert!(held < 8_000, "{name}: {held}");
    }
}
