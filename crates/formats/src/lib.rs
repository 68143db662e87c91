//! Untrusted 3D files: told apart by content and checked while they stream.
//!
//! A [`Checker`] is fed the bytes of one upload, in pieces of any size, on their way to a store.
//! It decides from the content what the file is, compares that with what the file's name claims,
//! and ends with a [`Report`] or with a [`Rejection`] whose sentence is meant for the artist who
//! sent the file.
//!
//! ```
//! use stockroom_formats::{Checker, Details, Encoding, Format, Rejection};
//!
//! let stl = b"solid tile
//! facet normal 0 0 1
//!   outer loop
//!     vertex 0 0 0
//!     vertex 20 0 0
//!     vertex 0 20 0
//!   endloop
//! endfacet
//! endsolid tile
//! ";
//!
//! let mut checker = Checker::new("tile.stl");
//! for chunk in stl.chunks(16) {
//!     checker.update(chunk)?;
//! }
//! let report = checker.finish()?;
//! assert_eq!(report.format, Format::Stl);
//! assert_eq!(report.size_bytes, stl.len() as u64);
//! let Details::Stl(details) = report.details else { unreachable!("an STL has STL details") };
//! assert_eq!((details.encoding, details.triangles), (Encoding::Ascii, 1));
//!
//! // The same file, cut off on the way.
//! let mut checker = Checker::new("tile.stl");
//! checker.update(&stl[..100])?;
//! let refused = checker.finish().unwrap_err();
//! assert_eq!(refused.code(), "invalid_model_file");
//! assert_eq!(
//!     refused.to_string(),
//!     "This STL file is cut off: it ends in line 7, in the middle of the model. \
//!      Export it again and upload the whole file."
//! );
//! # Ok::<(), Rejection>(())
//! ```
//!
//! # What holds for any input
//!
//! - Nothing here does I/O, waits, reads a clock or panics.
//! - The state of a checker is a few KiB whatever the input; nothing is allocated from a number
//!   that the file declares.
//! - The verdict depends on the bytes, the name and the expected size, never on how the bytes
//!   were cut into chunks.
//!
//! # Layout
//!
//! `sniff` looks at the opening of a file and names what it may be. Each format then has one file
//! with one implementation of the internal `ContentCheck` trait, which sees all bytes. A deeper
//! check of a format replaces that one implementation.

mod archive;
mod check;
mod checker;
mod format;
mod glb;
mod gltf;
mod image;
mod obj;
mod rejection;
mod report;
mod sniff;
mod stl;
mod text;

pub use checker::Checker;
pub use format::{Format, UnknownFormat};
pub use rejection::{Content, Defect, Foreign, Rejection, TextProblem, Unsupported};
pub use report::{
    ArchiveDetails, BoundingBox, Details, Encoding, GlbDetails, ImageDetails, Note, Report,
    StlDetails,
};

/// The example of the README, run as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
