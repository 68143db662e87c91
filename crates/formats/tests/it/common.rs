//! Helpers for the tests of this crate.

use rand::RngExt as _;
use rand::rngs::StdRng;
use stockroom_formats::{Checker, Defect, Rejection, Report, Unsupported};

/// The verdict on a file that arrives in chunks of these lengths, repeated until it ends.
pub(crate) fn check_in_chunks(
    filename: &str,
    bytes: &[u8],
    lengths: impl IntoIterator<Item = usize>,
) -> Result<Report, Rejection> {
    let mut checker = Checker::new(filename);
    let mut rest = bytes;
    for length in lengths {
        if rest.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at(length.clamp(1, rest.len()));
        checker.update(chunk)?;
        rest = after;
    }
    checker.update(rest)?;
    checker.finish()
}

/// The verdict on a file that arrives in one piece.
pub(crate) fn check(filename: &str, bytes: &[u8]) -> Result<Report, Rejection> {
    check_in_chunks(filename, bytes, [])
}

/// The verdict on a file that arrives in pieces of any length, from single bytes to 100 KB.
pub(crate) fn check_at_random(
    filename: &str,
    bytes: &[u8],
    random: &mut StdRng,
) -> Result<Report, Rejection> {
    let longest = [3, 60, 5_000, 100_000][random.random_range(0..4)];
    let lengths = std::iter::repeat_with(|| random.random_range(1..=longest));
    check_in_chunks(filename, bytes, lengths)
}

/// A binary STL with these facets, each a normal and three corners, and no attributes.
pub(crate) fn binary_stl(header: &[u8], facets: &[[f32; 12]]) -> Vec<u8> {
    let mut file = vec![0; 80];
    file[..header.len()].copy_from_slice(header);
    file.extend_from_slice(&u32::try_from(facets.len()).unwrap().to_le_bytes());
    for facet in facets {
        file.extend(facet.iter().flat_map(|value| value.to_le_bytes()));
        file.extend_from_slice(&[0, 0]);
    }
    file
}

/// A facet with an area.
pub(crate) const FACET: [f32; 12] = [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0];

/// A text STL of one facet, with these line ends.
pub(crate) fn ascii_stl(line_end: &str) -> String {
    [
        "solid a part",
        " facet normal 0 0 1",
        "  outer loop",
        "   vertex 0 0 0",
        "   vertex 1e0 0 0",
        "   vertex 0 1.5 -2e-3",
        "  endloop",
        " endfacet",
        "endsolid a part",
        "",
    ]
    .join(line_end)
}

/// A GLB whose JSON chunk is this long; its content is blank.
pub(crate) fn glb(json_bytes: u32) -> Vec<u8> {
    let mut file = b"glTF\x02\0\0\0".to_vec();
    file.extend_from_slice(&(20 + json_bytes).to_le_bytes());
    file.extend_from_slice(&json_bytes.to_le_bytes());
    file.extend_from_slice(b"JSON");
    file.resize(20 + json_bytes as usize, b' ');
    file
}

/// A ZIP archive that stores these entries, with this comment.
pub(crate) fn zip(entries: &[(&str, &[u8])], comment: &[u8]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let [offset, size, name_bytes] =
            [file.len(), content.len(), name.len()].map(|number| u32::try_from(number).unwrap());
        // Version, flags, method, time, date and checksum: zeros are enough here.
        let mut sizes = vec![20];
        sizes.resize(14, 0);
        sizes.extend_from_slice(&size.to_le_bytes());
        sizes.extend_from_slice(&size.to_le_bytes());
        sizes.extend_from_slice(&name_bytes.to_le_bytes());

        file.extend_from_slice(b"PK\x03\x04");
        file.extend_from_slice(&sizes);
        file.extend_from_slice(name.as_bytes());
        file.extend_from_slice(content);

        directory.extend_from_slice(b"PK\x01\x02\x14\0");
        directory.extend_from_slice(&sizes);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&offset.to_le_bytes());
        directory.extend_from_slice(name.as_bytes());
    }
    let [count, comment_bytes] =
        [entries.len(), comment.len()].map(|number| u16::try_from(number).unwrap());
    let [start, length] =
        [file.len(), directory.len()].map(|number| u32::try_from(number).unwrap());
    file.append(&mut directory);
    file.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    file.extend_from_slice(&count.to_le_bytes());
    file.extend_from_slice(&count.to_le_bytes());
    file.extend_from_slice(&length.to_le_bytes());
    file.extend_from_slice(&start.to_le_bytes());
    file.extend_from_slice(&comment_bytes.to_le_bytes());
    file.extend_from_slice(comment);
    file
}

/// The defect that a file is refused for.
pub(crate) fn defect(verdict: Result<Report, Rejection>) -> Defect {
    match verdict {
        Err(Rejection::InvalidModelFile(defect)) => defect,
        other => panic!("not refused as invalid: {other:?}"),
    }
}

/// Why a file is of no kind that the shop takes.
pub(crate) fn unsupported(verdict: Result<Report, Rejection>) -> Unsupported {
    match verdict {
        Err(Rejection::UnsupportedType(unsupported)) => unsupported,
        other => panic!("not refused as unsupported: {other:?}"),
    }
}
