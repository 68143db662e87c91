//! What a file is taken for, whatever its name and its header claim.

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use stockroom_formats::{
    ArchiveDetails, Checker, Content, Defect, Details, Foreign, Format, GlbDetails, ImageDetails,
    Note, Unsupported,
};

use crate::common::{
    FACET, ascii_stl, binary_stl, check, check_at_random, check_in_chunks, defect, glb,
    unsupported, zip,
};

#[test]
fn a_name_that_lies_is_refused_with_the_truth() {
    let png = b"\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR\0\0\0\x02\0\0\0\x01";
    assert_eq!(
        check("part.stl", png).unwrap_err().to_string(),
        "This file is named .stl, but it is a PNG image. Give it the right name, or upload the file \
         that you meant."
    );
    let (stl, glb) = (ascii_stl("\n"), glb(0));
    let cases: [(&str, &[u8], Content); 7] = [
        (
            "part.glb",
            b"# cube\nv 0 0 0\nv 1 0 0\n",
            Content::Known(Format::Obj),
        ),
        ("part.stl", b"v 0 0 0\n", Content::Known(Format::Obj)),
        ("part.obj", stl.as_bytes(), Content::Known(Format::Stl)),
        ("part.gltf", &glb, Content::Known(Format::Glb)),
        ("part.stl", b"{\"asset\":{}}", Content::Known(Format::Gltf)),
        (
            "part.stl",
            b"<!DOCTYPE html><p>Not found",
            Content::Foreign(Foreign::Html),
        ),
        (
            "part.obj",
            b"\x7FELF\x02\x01\x01\0",
            Content::Foreign(Foreign::LinuxProgram),
        ),
    ];
    for (name, bytes, content) in cases {
        let extension = name.rsplit('.').next().unwrap().to_owned();
        assert_eq!(
            defect(check(name, bytes)),
            Defect::Misnamed { extension, content },
            "{name}"
        );
    }
    assert_eq!(
        check("part.obj", b"just a letter").unwrap_err().to_string(),
        "This file is named .obj, but it is not an OBJ file. Export it again, or upload the file that \
         you meant."
    );
}

#[test]
fn unknown_content_under_an_unknown_name_is_unsupported() {
    let cases: [(&str, &[u8], Unsupported); 8] = [
        ("", b"", Unsupported::Empty),
        ("notes.txt", b"Dear buyer,\nv 1 2 3\n", Unsupported::Unknown),
        (
            "notes.txt",
            b"solid advice\nfor printing",
            Unsupported::Unknown,
        ),
        (
            "setup.exe",
            b"MZ\x90\0\x03\0",
            Unsupported::Foreign(Foreign::WindowsProgram),
        ),
        ("page.html", b"<html>", Unsupported::Foreign(Foreign::Html)),
        (
            "scan.ply",
            b"ply\nformat ascii 1.0\n",
            Unsupported::Foreign(Foreign::Ply),
        ),
        (
            "list.json",
            b"{\"a\": [1, {\"asset\": 2}]}",
            Unsupported::Foreign(Foreign::Json),
        ),
        ("x.\u{1F980}", b"\0\x01\x02", Unsupported::Unknown),
    ];
    for (name, bytes, expected) in cases {
        let verdict = check(name, bytes);
        assert_eq!(
            verdict.clone().unwrap_err().code(),
            "unsupported_type",
            "{name}"
        );
        assert_eq!(unsupported(verdict), expected, "{name}");
    }
    assert_eq!(
        check("scan.ply", b"ply\nformat ascii 1.0\n")
            .unwrap_err()
            .to_string(),
        "This file is a PLY model. This shop takes STL, OBJ, 3MF, GLB and glTF models, ZIP archives, \
         and PNG, JPEG, WebP and GIF images."
    );
    // An empty file that claims to be a model is a broken model.
    assert_eq!(
        defect(check("part.stl", b"")),
        Defect::Empty {
            claimed: Format::Stl
        }
    );
    assert_eq!(
        check("part.stl", b"").unwrap_err().code(),
        "invalid_model_file"
    );
}

#[test]
fn known_content_under_an_unknown_name_is_accepted_and_noted() {
    let file = binary_stl(b"", &[FACET]);
    for (name, extension) in [
        ("part", ""),
        ("part.bin", "bin"),
        ("part.st\u{142}", ""),
        ("part.v2 final", ""),
    ] {
        let report = check(name, &file).unwrap();
        assert_eq!(report.format, Format::Stl);
        assert_eq!(
            report.notes,
            [Note::UnusualExtension {
                extension: extension.to_owned()
            }],
            "{name}"
        );
    }
}

#[test]
fn a_file_that_cannot_become_whole_is_refused_before_its_end() {
    let broken = ascii_stl("\n").replace("outer", "inner");
    let spoilt = [&binary_stl(b"", &[FACET]), &[1; 50][..]].concat();
    let nameless = [&binary_stl(b"", &[FACET]), &b"\n"[..]].concat();
    let cases: [(&str, &[u8]); 7] = [
        ("part.stl", broken.as_bytes()),
        ("part.stl", &spoilt),
        ("part", &nameless),
        ("part.obj", b"Dear buyer,\n"),
        ("part.gltf", b"{]"),
        ("part.glb", b"glTF\x01\0\0\0\0\0\0\0"),
        ("setup.exe", b"MZ\x90\0"),
    ];
    for (name, opening) in cases {
        let mut checker = Checker::new(name);
        // The opening has to be complete before anything is decided.
        let filler = if opening.contains(&0) { 0 } else { b' ' };
        let mut bytes = opening.to_vec();
        bytes.resize(4_096, filler);
        assert!(
            checker.update(&bytes).is_err(),
            "{name} {}",
            opening.escape_ascii()
        );
    }
}

#[test]
fn a_glb_is_as_long_as_its_header_says() {
    let file = glb(40);
    let report = check("part.glb", &file).unwrap();
    assert_eq!(report.details, Details::Glb(GlbDetails { json_bytes: 40 }));
    for length in 1..file.len() {
        let verdict = check("part.glb", &file[..length]);
        assert_eq!(
            verdict.unwrap_err().code(),
            "invalid_model_file",
            "{length}"
        );
    }
    assert_eq!(
        check("part.glb", &file[..50]).unwrap_err().to_string(),
        "This GLB file is cut off: its header announces 60 bytes but the file ends after 50 bytes. \
         Export it again and upload the whole file."
    );
    let longer = [&file[..], b"\0"].concat();
    assert_eq!(
        defect(check("part.glb", &longer)),
        Defect::GlbGoesOn {
            announced_bytes: 60
        }
    );

    let with = |at: usize, field: u32| {
        let mut file = file.clone();
        file[at..at + 4].copy_from_slice(&field.to_le_bytes());
        defect(check("part.glb", &file))
    };
    assert_eq!(with(4, 1), Defect::GlbVersion { version: 1 });
    assert_eq!(
        with(8, u32::MAX),
        Defect::GlbCut {
            announced_bytes: u64::from(u32::MAX),
            size_bytes: 60
        }
    );
    assert_eq!(with(12, u32::MAX), Defect::GlbHeader);
    assert_eq!(with(16, 0x004E_4942), Defect::GlbHeader);
    assert_eq!(with(8, 0), Defect::GlbHeader);
}

#[test]
fn gltf_is_one_json_object_with_an_asset() {
    let accepted = [
        r#"{"asset":{"version":"2.0"}}"#,
        "\u{FEFF} {\n \"scenes\" : [ {} ], \"asset\" : {} }\n\n",
        r#"{"a":"}]\"","b":[[{}]],"asset":{}}"#,
    ];
    for text in accepted {
        let verdict = check("part.gltf", text.as_bytes());
        assert_eq!(
            verdict.map(|report| report.format),
            Ok(Format::Gltf),
            "{text}"
        );
        for length in 5..text.trim_end().len() {
            assert_eq!(
                defect(check("part.gltf", &text.as_bytes()[..length])),
                Defect::GltfCut,
                "{text}"
            );
        }
    }
    let padding = " ".repeat(5_000);
    let broken = [
        (r#"{"asset":{}]"#.to_owned(), 11),
        (r#"{"asset":{}}}"#.to_owned(), 12),
        (format!("{{\"asset\":{}", "[".repeat(1_000)), 136),
        // Behind the opening, which would not be text otherwise.
        (format!("{{\"asset\":{padding}\u{1}}}"), 5_009),
        (format!("{{\"asset\":\"{padding}\0\"}}"), 5_010),
    ];
    for (text, offset_bytes) in broken {
        let verdict = check("part.gltf", text.as_bytes());
        assert_eq!(
            check_in_chunks("part.gltf", text.as_bytes(), vec![1; text.len()]),
            verdict
        );
        assert_eq!(defect(verdict), Defect::GltfNotJson { offset_bytes });
    }
    let without_asset = [
        r#"{"a":{"asset":{}}}"#,
        r#"{"a":{"b":0,"asset":{}}}"#,
        r#"{"a":"asset"}"#,
        r#"{"a":["b","asset"]}"#,
        r#"{"assets":{}}"#,
        r#"{"asse":{}}"#,
        r#"{"ass\u0065t":{}}"#,
    ];
    for text in without_asset {
        assert_eq!(
            defect(check("part.gltf", text.as_bytes())),
            Defect::GltfWithoutAsset,
            "{text}"
        );
    }
}

#[test]
fn an_obj_is_recognised_by_its_geometry() {
    let comments = "# a licence\n".repeat(1_000);
    let accepted = [
        format!("{comments}v 1 2 3\n"),
        "\u{FEFF}\r\n  v -.5 1e-3 nan".to_owned(),
        "mtllib a.mtl\rg v\rf 1/2/3 4//5 -1\r".to_owned(),
        format!("o part\n{}v 1 2 3", " ".repeat(1 << 20)),
    ];
    for text in accepted {
        assert_eq!(
            check("part.obj", text.as_bytes()).map(|report| report.format),
            Ok(Format::Obj)
        );
    }
    for text in [&comments, "mtllib a.mtl\nusemtl b\n", "v\nf a\n"] {
        assert_eq!(
            defect(check("part.obj", text.as_bytes())),
            Defect::ObjWithoutGeometry
        );
        assert_eq!(
            unsupported(check("part", text.as_bytes())),
            Unsupported::Unknown
        );
    }
    let damaged = format!("v 1 2 3\n{comments}\0\0\0");
    let offset_bytes = damaged.len() as u64 - 3;
    assert_eq!(
        defect(check("part.obj", damaged.as_bytes())),
        Defect::ObjNotText { offset_bytes }
    );
}

#[test]
fn archives_are_told_apart_by_their_directory() {
    let parts: [(&str, &[u8]); 3] = [
        ("[Content_Types].xml", b"<Types/>"),
        ("_rels/.rels", b""),
        ("3D/3dmodel.model", b"<model/>"),
    ];
    let package = zip(&parts, b"");
    let entries = |entries| Details::Archive(ArchiveDetails { entries });
    let report = check("part.3mf", &package).unwrap();
    assert_eq!(
        (report.format, report.details, report.notes),
        (Format::ThreeMf, entries(3), vec![])
    );

    // A stored package in an archive does not make the archive a package, and the signature of
    // an entry just before the directory does not hide it.
    let archive = zip(
        &[("part.3mf", &package), ("read me.txt", b"PK\x01\x02")],
        b"a comment",
    );
    let report = check("parts.zip", &archive).unwrap();
    assert_eq!(
        (report.format, report.details, report.notes),
        (Format::Zip, entries(2), vec![])
    );
    assert_eq!(defect(check("parts.3mf", &archive)), Defect::ArchiveNot3mf);

    // A package named .zip is what it is.
    let report = check("part.zip", &package).unwrap();
    assert_eq!(report.format, Format::ThreeMf);
    assert_eq!(
        report.notes,
        [Note::UnusualExtension {
            extension: "zip".to_owned()
        }]
    );
}

#[test]
fn an_archive_without_its_end_is_refused() {
    let inner = zip(&[("inner.txt", b"text")], b"");
    let archive = zip(&[("a.txt", b"text"), ("inner.zip", &inner)], b"a comment");
    let cut = Defect::ArchiveCut {
        claimed: Format::Zip,
    };
    let seed = 1;
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for length in 4..archive.len() {
        assert_eq!(
            defect(check_at_random(
                "parts.zip",
                &archive[..length],
                &mut random
            )),
            cut,
            "{length}"
        );
    }
    let trailing = [&archive[..], b"\0\0\0\0"].concat();
    assert_eq!(
        check("parts.zip", &trailing).unwrap().notes,
        [Note::TrailingBytes { bytes: 4 }]
    );
    let hidden = [&archive[..], &[0; 70_000]].concat();
    assert_eq!(defect(check("parts.zip", &hidden)), cut);

    // The end record counts one entry more than the directory has.
    let mut miscounted = archive.clone();
    let end_record = archive.len() - b"a comment".len() - 22;
    miscounted[end_record + 10] += 1;
    assert_eq!(defect(check("parts.zip", &miscounted)), cut);
    assert_eq!(
        defect(check("parts.zip", &zip(&[], b""))),
        Defect::ArchiveEmpty
    );
}

#[test]
fn images_are_measured_and_a_missing_end_is_noted() {
    let exif = [&b"\xFF\xE1\xFF\xFF"[..], &[0; 65_533]].concat();
    let frame = b"\xFF\xFF\xC2\0\x11\x08\0\x20\0\x40\x03";
    let jpeg = [&b"\xFF\xD8"[..], &exif, frame, &[0; 9], b"\xFF\xD9"].concat();
    let png =
        b"\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR\0\0\x01\0\0\0\0\x02\x08\0\0\0\0....\0\0\0\0IEND\xAE\x42\x60\x82";
    let cases: [(&str, &[u8], bool, [u32; 2]); 6] = [
        ("a.png", png, true, [256, 2]),
        ("a.gif", b"GIF89a\x03\0\x02\x01\0\0\0,", false, [3, 258]),
        ("a.jpg", &jpeg, true, [64, 32]),
        (
            "a.webp",
            b"RIFF\x16\0\0\0WEBPVP8X\x0A\0\0\0\0\0\0\0\xFF\0\0\x0F\x01\0",
            true,
            [256, 272],
        ),
        (
            "a.webp",
            b"RIFF\x11\0\0\0WEBPVP8L\x05\0\0\0\x2F\x00\x40\x00\x00",
            true,
            [1, 2],
        ),
        (
            "a.webp",
            b"RIFF\x99\0\0\0WEBPVP8 \x10\0\0\0\0\0\0\x9D\x01\x2A\x80\x02\xE0\x01",
            false,
            [640, 480],
        ),
    ];
    for (name, bytes, has_end, [width, height]) in cases {
        let report = check(name, bytes).unwrap();
        let size = ImageDetails {
            width_px: Some(width),
            height_px: Some(height),
        };
        assert_eq!(report.details, Details::Image(size), "{name}");
        let notes = if has_end {
            vec![]
        } else {
            vec![Note::ImageEndMissing]
        };
        assert_eq!(report.notes, notes, "{name}");
        assert_eq!(
            check_in_chunks(name, bytes, vec![1; bytes.len()]).unwrap(),
            report
        );
    }
}

#[test]
fn notes_are_sentences() {
    let unusual = |extension: &str| Note::UnusualExtension {
        extension: extension.to_owned(),
    };
    let sentences = [
        (
            Note::AttributeBytes { facets: 1 },
            "1 facet has attribute bytes, perhaps a colour.",
        ),
        (
            Note::NotFinite { facets: 2_000 },
            "2,000 facets have a coordinate that is infinite or not a number.",
        ),
        (Note::WithoutArea { facets: 2 }, "2 facets have no area."),
        (
            Note::EmptySolids { solids: 1 },
            "1 solid is without facets.",
        ),
        (
            Note::TrailingBytes { bytes: 2 },
            "2 bytes follow after its end.",
        ),
        (
            unusual("bin"),
            "Files of this format are not usually named .bin.",
        ),
        (unusual(""), "The file name has no extension."),
    ];
    for (note, sentence) in sentences {
        assert_eq!(note.to_string(), sentence);
    }
}

#[test]
fn a_checker_can_move_between_threads() {
    fn is_send_and_sync<T: Send + Sync + 'static>(_: &T) -> bool {
        true
    }
    assert!(is_send_and_sync(&Checker::new("part.stl")));
    assert!(is_send_and_sync(&check("part.stl", b"").unwrap_err()));
}
