//! What a check found out about an accepted file. Stored as JSON beside the asset.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::format::Format;
use crate::text::{counted, grouped};

/// The verdict on a file that was accepted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What the content is.
    pub format: Format,
    /// The length of the whole file in bytes.
    pub size_bytes: u64,
    /// What was measured; differs by format.
    pub details: Details,
    /// Oddities that do not refuse the file; at most one of each kind.
    pub notes: Vec<Note>,
}

/// What was measured, by format. In JSON the field `kind` tells which it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Details {
    /// The format was told apart and nothing was measured.
    None,
    /// An STL file.
    Stl(StlDetails),
    /// A GLB file.
    Glb(GlbDetails),
    /// A ZIP archive or a 3MF package.
    Archive(ArchiveDetails),
    /// An image.
    Image(ImageDetails),
}

/// What was measured of an STL file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StlDetails {
    /// Binary or text.
    pub encoding: Encoding,
    /// How many triangles the file holds, counted, not declared.
    pub triangles: u64,
    /// How many solids the file holds; 1 for a binary file.
    pub solids: u64,
    /// The extent of all triangles whose coordinates are finite, in the file's own units (STL
    /// has none); absent when there is no such triangle.
    pub bounding_box: Option<BoundingBox>,
}

/// The two ways to write an STL file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// An 80-byte header, a count, and 50 bytes for each triangle.
    Binary,
    /// Text: `solid`, `facet normal`, `vertex`.
    Ascii,
}

/// An axis-aligned box, x, y, z, in the file's own units.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct BoundingBox {
    /// The smallest coordinate on each axis.
    pub min: [f32; 3],
    /// The largest coordinate on each axis.
    pub max: [f32; 3],
}

/// What was measured of a GLB file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct GlbDetails {
    /// The length of the JSON chunk in bytes.
    pub json_bytes: u32,
}

/// What was measured of a ZIP archive or a 3MF package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveDetails {
    /// How many entries the archive's directory lists.
    pub entries: u64,
}

/// What was measured of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageDetails {
    /// Width in pixels, where the file's header says so.
    pub width_px: Option<u32>,
    /// Height in pixels, where the file's header says so.
    pub height_px: Option<u32>,
}

/// Something odd in a file that was accepted all the same. In JSON the field `code` tells which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Note {
    /// The name's extension is not one that files of this format have; empty when there is none.
    UnusualExtension {
        /// The extension in lower case, without the dot, at most 16 characters.
        extension: String,
    },
    /// Binary STL: facets whose attribute bytes are not zero (some programs keep colours there).
    AttributeBytes {
        /// How many facets.
        facets: u64,
    },
    /// STL: facets with a coordinate that is infinite or not a number.
    NotFinite {
        /// How many facets.
        facets: u64,
    },
    /// STL: facets whose corners lie on one line or in one point.
    WithoutArea {
        /// How many facets.
        facets: u64,
    },
    /// Text STL: solids without a single facet, beside others that have some.
    EmptySolids {
        /// How many solids.
        solids: u64,
    },
    /// Bytes after the end of the model or archive, which readers ignore.
    TrailingBytes {
        /// How many bytes.
        bytes: u64,
    },
    /// The text begins with a byte order mark, which some programs stumble over.
    ByteOrderMark,
    /// The image lacks its end mark, so it may be cut off.
    ImageEndMissing,
}

impl fmt::Display for Note {
    /// A sentence for the artist.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::UnusualExtension { extension } if extension.is_empty() => {
                f.write_str("The file name has no extension.")
            }
            Note::UnusualExtension { extension } => {
                write!(
                    f,
                    "Files of this format are not usually named .{extension}."
                )
            }
            Note::AttributeBytes { facets } => {
                write!(f, "{} attribute bytes, perhaps a colour.", carry(*facets))
            }
            Note::NotFinite { facets } => {
                write!(
                    f,
                    "{} a coordinate that is infinite or not a number.",
                    carry(*facets)
                )
            }
            Note::WithoutArea { facets } => write!(f, "{} no area.", carry(*facets)),
            Note::EmptySolids { solids } => {
                write!(
                    f,
                    "{} without facets.",
                    counted(*solids, "solid is", "solids are")
                )
            }
            Note::TrailingBytes { bytes } => {
                write!(
                    f,
                    "{} after its end.",
                    counted(*bytes, "byte follows", "bytes follow")
                )
            }
            Note::ByteOrderMark => f.write_str(
                "The text begins with a byte order mark, which some programs cannot read.",
            ),
            Note::ImageEndMissing => f.write_str("The image has no end mark; it may be cut off."),
        }
    }
}

fn carry(facets: u64) -> String {
    match facets {
        1 => "1 facet has".to_owned(),
        _ => format!("{} facets have", grouped(facets)),
    }
}
