//! STL files, whole, broken and made to mislead, and the sentences that answer them.

use stockroom_formats::{
    BoundingBox, Checker, Content, Defect, Details, Encoding, Foreign, Format, Note, Report,
    TextProblem, Unsupported,
};

use crate::common::{FACET, ascii_stl, binary_stl, check, check_in_chunks, defect, unsupported};

#[test]
fn a_binary_stl_is_measured() {
    let mut file = binary_stl(b"", &[FACET, [0.5; 12], [f32::NAN; 12]]);
    file[84 + 48] = 1;
    let report = check("Part.STL", &file).unwrap();
    assert_eq!(report.size_bytes, 234);
    assert_eq!(
        report.notes,
        [
            Note::AttributeBytes { facets: 1 },
            Note::NotFinite { facets: 1 },
            Note::WithoutArea { facets: 1 }
        ]
    );
    let Details::Stl(details) = report.details else {
        panic!("{report:?}")
    };
    assert_eq!(
        (details.encoding, details.triangles, details.solids),
        (Encoding::Binary, 3, 1)
    );
    assert_eq!(
        details.bounding_box,
        Some(BoundingBox {
            min: [0.0; 3],
            max: [1.0, 1.0, 0.5]
        })
    );

    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    assert!(
        json.contains(r#""details":{"kind":"stl","encoding":"binary","triangles":3"#),
        "{json}"
    );
    assert!(
        json.contains(r#"{"code":"attribute_bytes","facets":1}"#),
        "{json}"
    );
}

#[test]
fn a_cut_binary_stl_is_refused_with_its_numbers() {
    let mut file = binary_stl(b"solid part", &[]);
    file[80..84].copy_from_slice(&12_345_u32.to_le_bytes());
    file.resize(400_000, 7);
    assert_eq!(
        check("part.stl", &file).unwrap_err().to_string(),
        "This STL file is cut off: its header announces 12,345 triangles (617,334 bytes) but the file \
         ends after 400,000 bytes. Export it again and upload the whole file."
    );

    // The length is known: the same sentence, as soon as the opening is read.
    let mut checker = Checker::new("part.stl").expected_size_bytes(Some(400_000));
    assert_eq!(
        checker.update(&file[..4_096]),
        Err(check("part.stl", &file).unwrap_err())
    );
    assert_eq!(
        checker.update(&file[4_096..]),
        Err(check("part.stl", &file).unwrap_err())
    );
    assert_eq!(checker.finish(), Err(check("part.stl", &file).unwrap_err()));
}

#[test]
fn a_length_known_beforehand_never_makes_a_file_acceptable() {
    let file = binary_stl(b"", &[FACET; 10]);
    let mut checker = Checker::new("part.stl").expected_size_bytes(Some(file.len() as u64));
    checker.update(&file[..file.len() - 1]).unwrap();
    assert_eq!(
        checker.finish().unwrap_err().to_string(),
        "This STL file is cut off: its header announces 10 triangles (584 bytes) but the file ends \
         after 583 bytes. Export it again and upload the whole file."
    );
}

#[test]
fn a_huge_count_allocates_nothing_and_is_refused() {
    let mut file = binary_stl(b"", &[FACET]);
    file[80..84].copy_from_slice(&u32::MAX.to_le_bytes());
    // No program writes such a count, so this is no STL that was cut.
    let not_an_stl = Defect::NotAsNamed {
        extension: "stl".to_owned(),
        claimed: Format::Stl,
    };
    assert_eq!(defect(check("part.stl", &file)), not_an_stl);
    assert_eq!(defect(check("part.stl", &[0xC7; 5_000])), not_an_stl);

    // A believable one, and next to nothing behind it.
    file[80..84].copy_from_slice(&20_000_000_u32.to_le_bytes());
    assert_eq!(
        defect(check("part.stl", &file)),
        Defect::StlCut {
            triangles: 20_000_000,
            announced_bytes: 1_000_000_084,
            size_bytes: 134
        }
    );
}

#[test]
fn an_stl_without_triangles_is_refused() {
    for file in [
        &binary_stl(b"", &[])[..],
        b"solid nothing\nendsolid nothing",
        b"solid\nendsolid",
    ] {
        assert_eq!(defect(check("part.stl", file)), Defect::StlWithoutTriangles);
    }
    // 84 zeros could be anything where the name does not say STL.
    assert_eq!(
        unsupported(check("part.bin", &binary_stl(b"", &[]))),
        Unsupported::Unknown
    );
}

#[test]
fn the_length_is_trusted_before_the_word_solid_and_before_any_header() {
    let headers: [&[u8]; 7] = [
        b"solid part",
        b"solid part\nfacet normal 0 0 1\n",
        b"<script>alert(1)</script>",
        b"MZ\x90",
        b"%PDF-1.7",
        b"glTF exporter",
        b"v 1 2 3\nf 1 2 3\n",
    ];
    for header in headers {
        let file = binary_stl(header, &[FACET; 3]);
        let report = check("part.stl", &file).unwrap();
        assert_eq!(
            (report.format, report.notes),
            (Format::Stl, vec![]),
            "{}",
            header.escape_ascii()
        );
    }
    // Where no name vouches for it, a program is a program.
    let file = binary_stl(b"MZ\x90", &[FACET; 3]);
    assert_eq!(
        unsupported(check("part", &file)),
        Unsupported::Foreign(Foreign::WindowsProgram)
    );
    // And where the length does not fit, it is one under any name.
    let program = Content::Foreign(Foreign::WindowsProgram);
    assert_eq!(
        defect(check("part.stl", &file[..200])),
        Defect::Misnamed {
            extension: "stl".to_owned(),
            content: program
        }
    );
}

#[test]
fn padding_is_noted_and_more_data_is_refused() {
    let whole = binary_stl(b"", &[FACET; 2]);
    let with = |trailing: &[u8]| [&whole, trailing].concat();

    let short = check("part.stl", &with(b"\r\n")).unwrap();
    assert_eq!(short.notes, [Note::TrailingBytes { bytes: 2 }]);
    let zeros = check("part.stl", &with(&[0; 4_000])).unwrap();
    assert_eq!(zeros.notes, [Note::TrailingBytes { bytes: 4_000 }]);

    let expected = Defect::StlGoesOn {
        triangles: 2,
        announced_bytes: 184,
    };
    assert_eq!(defect(check("part.stl", &with(&[1; 50]))), expected);
    let mut late = vec![0; 5_000];
    late[4_999] = 1;
    assert_eq!(defect(check("part.stl", &with(&late))), expected);

    // Without the name, only the exact length is evidence.
    assert_eq!(
        unsupported(check("part", &with(b"\r\n"))),
        Unsupported::Unknown
    );
}

#[test]
fn a_text_stl_may_use_any_line_end_case_and_byte_order_mark() {
    for line_end in ["\n", "\r\n", "\r", "\n\n", " \t\n"] {
        for text in [ascii_stl(line_end), ascii_stl(line_end).to_uppercase()] {
            let report = check("part.stl", text.as_bytes()).unwrap();
            let Details::Stl(details) = report.details else {
                panic!("{report:?}")
            };
            assert_eq!(
                (details.encoding, details.triangles),
                (Encoding::Ascii, 1),
                "{line_end:?}"
            );
            let expected = BoundingBox {
                min: [0.0, 0.0, -0.002],
                max: [1.0, 1.5, 0.0],
            };
            assert_eq!(details.bounding_box, Some(expected));
            assert_eq!(report.notes, []);
        }
    }
    let marked = format!("\u{FEFF}{}", ascii_stl("\n"));
    assert_eq!(
        check("part.stl", marked.as_bytes()).unwrap().notes,
        [Note::ByteOrderMark]
    );

    // Names may be in any encoding, and may hold the words of the format.
    let named = ascii_stl("\n").replace("a part", "facet normal caf\u{E9} endsolid");
    assert!(check("part.stl", named.as_bytes()).is_ok());
    let latin_1: Vec<u8> = named.chars().map(|letter| letter as u8).collect();
    assert!(check("part.stl", &latin_1).is_ok());
}

#[test]
fn numbers_that_are_not_finite_are_noted() {
    for number in [
        "nan",
        "-NaN",
        "inf",
        "-Infinity",
        "1e999",
        "1.#QNAN",
        "-1.#IND",
        "-nan(ind)",
    ] {
        let text = ascii_stl("\n").replace("1.5", number);
        let report = check("part.stl", text.as_bytes()).unwrap();
        assert_eq!(report.notes, [Note::NotFinite { facets: 1 }], "{number}");
    }
}

#[test]
fn solids_are_counted_and_empty_ones_noted() {
    let text = format!(
        "{}solid nothing\nendsolid nothing\n{}",
        ascii_stl("\n"),
        ascii_stl("\r\n")
    );
    let report = check("part.stl", text.as_bytes()).unwrap();
    let Details::Stl(details) = report.details else {
        panic!("{report:?}")
    };
    assert_eq!((details.solids, details.triangles), (3, 2));
    assert_eq!(report.notes, [Note::EmptySolids { solids: 1 }]);
}

#[test]
fn a_broken_text_stl_is_refused_with_the_line() {
    let text = ascii_stl("\n");
    let wrong_word = |expected, found: &str| TextProblem::WrongWord {
        expected,
        found: Some(found.to_owned()),
    };
    let comma = TextProblem::NotANumber {
        found: Some("1,5".to_owned()),
    };
    let unshown = TextProblem::NotANumber { found: None };
    let too_long = TextProblem::LineTooLong { limit_bytes: 4_096 };
    let cases = [
        (text.replace("endsolid a part\n", ""), 8, TextProblem::Cut),
        (
            text.replace("endsolid a part\n", "endsol"),
            9,
            TextProblem::Cut,
        ),
        (text[..100].to_owned(), 6, TextProblem::Cut),
        (
            text.replace("outer", "inner"),
            3,
            wrong_word("outer", "inner"),
        ),
        (text.replace("1.5", "1,5"), 6, comma.clone()),
        // CR LF is one line end.
        (ascii_stl("\r\n").replace("1.5", "1,5"), 6, comma),
        // What cannot be shown safely is not shown.
        (text.replace("1.5", "<b>"), 6, unshown.clone()),
        (text.replace("1.5", &"1".repeat(65)), 6, unshown),
        // A corner too few, and one too many.
        (
            text.replace("   vertex 0 0 0\n", ""),
            6,
            wrong_word("vertex", "endloop"),
        ),
        (
            text.replace("  endloop", "vertex 1 1 1\n endloop"),
            7,
            wrong_word("endloop", "vertex"),
        ),
        // A word at the very end may be cut.
        (format!("{text}facet"), 10, TextProblem::Cut),
        (format!("{text}facet "), 10, wrong_word("solid", "facet")),
        (format!("{text}\0\0"), 10, TextProblem::NotText),
        (
            text.replace(" endfacet", &" ".repeat(5_000)),
            8,
            too_long.clone(),
        ),
        (format!("solid {}\n", "x".repeat(1 << 20)), 1, too_long),
    ];
    for (text, line, problem) in cases {
        let verdict = check("part.stl", text.as_bytes());
        assert_eq!(
            check_in_chunks("part.stl", text.as_bytes(), vec![1; text.len()]),
            verdict
        );
        assert_eq!(defect(verdict), Defect::StlText { line, problem });
    }
    assert_eq!(
        check("part.stl", text.replace("1.5", "1,5").as_bytes())
            .unwrap_err()
            .to_string(),
        "This STL file is damaged: line 6 should have a number, but says \"1,5\". \
         Export it again and upload the new file."
    );
}
