//! Why a file is refused, in sentences that an artist understands.

use crate::format::Format;
use crate::text::{counted, grouped};

/// A file was refused. `to_string()` is the sentence to show to whoever sent it.
///
/// The two variants are the two codes of the HTTP API: `unsupported_type` (415) and
/// `invalid_model_file` (422). Sending the same bytes under the same name again gives the same answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The content is of no kind that the shop takes, and the name does not claim otherwise.
    #[error("{0}")]
    UnsupportedType(Unsupported),
    /// The content is broken, or it is not what the file's name says.
    #[error("{0}")]
    InvalidModelFile(Defect),
}

impl Rejection {
    /// The stable code of the HTTP API: `unsupported_type` or `invalid_model_file`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Rejection::UnsupportedType(_) => "unsupported_type",
            Rejection::InvalidModelFile(_) => "invalid_model_file",
        }
    }
}

const TAKEN: &str = "This shop takes STL, OBJ, 3MF, GLB and glTF models, ZIP archives, and PNG, JPEG, WebP and GIF images.";

/// Why the content is of no kind that the shop takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// There is no content.
    #[error("This file is empty. Choose the file again and upload it.")]
    Empty,
    /// The content is something that is known, and not taken.
    #[error("This file is {}. {TAKEN}", .0.with_article())]
    Foreign(Foreign),
    /// The content fits nothing that is known.
    #[error("The content of this file is of no known kind. {TAKEN}")]
    Unknown,
}

/// What is wrong with a file of a format that the shop takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// The name claims a format, and there is no content.
    #[error("This file is empty, so it is not {}. Export it again and upload the whole file.", .claimed.with_article())]
    Empty {
        /// The format that the name claims.
        claimed: Format,
    },
    /// The name claims one format, and the content is something else that is known.
    #[error("This file is named .{extension}, but it is {}. Give it the right name, or upload the file that you meant.", .content.with_article())]
    Misnamed {
        /// The extension in lower case, without the dot.
        extension: String,
        /// What the content is.
        content: Content,
    },
    /// The name claims one format, and the content fits nothing that is known.
    #[error("This file is named .{extension}, but it is not {}. Export it again, or upload the file that you meant.", .claimed.with_article())]
    NotAsNamed {
        /// The extension in lower case, without the dot.
        extension: String,
        /// The format that the name claims.
        claimed: Format,
    },
    /// A binary STL is shorter than the header and the count.
    #[error("This STL file is cut off: it has only {}, but a binary STL file has a header of 84 bytes before its first triangle. Export it again and upload the whole file.", counted(*.size_bytes, "byte", "bytes"))]
    StlWithoutHeader {
        /// The length of the file.
        size_bytes: u64,
    },
    /// A binary STL is shorter than its count of triangles needs.
    #[error("This STL file is cut off: its header announces {} ({} bytes) but the file ends after {} bytes. Export it again and upload the whole file.", counted(*.triangles, "triangle", "triangles"), grouped(*.announced_bytes), grouped(*.size_bytes))]
    StlCut {
        /// How many triangles the header announces.
        triangles: u64,
        /// How long a file with so many triangles is.
        announced_bytes: u64,
        /// The length of the file.
        size_bytes: u64,
    },
    /// A binary STL holds more data than its count of triangles needs.
    #[error("This STL file does not fit its header: it announces {} ({} bytes), but the file goes on with other data. Export it again and upload the new file.", counted(*.triangles, "triangle", "triangles"), grouped(*.announced_bytes))]
    StlGoesOn {
        /// How many triangles the header announces.
        triangles: u64,
        /// How long a file with so many triangles is.
        announced_bytes: u64,
    },
    /// An STL is complete, and holds no triangle.
    #[error(
        "This STL file holds no triangles, so a buyer would get nothing. Select the model in your program, export it again and upload the new file."
    )]
    StlWithoutTriangles,
    /// A text STL breaks the rules of its format.
    #[error("This STL file {}", .problem.sentence(*.line))]
    StlText {
        /// The line of the problem, the first line is 1.
        line: u64,
        /// What is wrong there.
        problem: TextProblem,
    },
    /// An OBJ with neither points nor faces.
    #[error(
        "This OBJ file holds no points and no faces, so a buyer would get nothing. Select the model in your program, export it again and upload the new file."
    )]
    ObjWithoutGeometry,
    /// An OBJ is text, and this one holds a NUL byte.
    #[error("This OBJ file is damaged: after {} of text it holds data that is not text. Export it again and upload the whole file.", counted(*.offset_bytes, "byte", "bytes"))]
    ObjNotText {
        /// Where the first NUL byte stands, counted from 0.
        offset_bytes: u64,
    },
    /// A GLB header is incomplete or contradicts itself.
    #[error(
        "This GLB file is damaged: its header is incomplete or contradicts itself. Export it again and upload the whole file."
    )]
    GlbHeader,
    /// A GLB of another version than 2.
    #[error(
        "This GLB file is written in version {version} of the format, which today's programs do not read. Export it as glTF 2.0 and upload the new file."
    )]
    GlbVersion {
        /// The version that the header declares.
        version: u32,
    },
    /// A GLB is shorter than its header declares.
    #[error("This GLB file is cut off: its header announces {} bytes but the file ends after {}. Export it again and upload the whole file.", grouped(*.announced_bytes), counted(*.size_bytes, "byte", "bytes"))]
    GlbCut {
        /// The length that the header declares.
        announced_bytes: u64,
        /// The length of the file.
        size_bytes: u64,
    },
    /// A GLB is longer than its header declares.
    #[error("This GLB file does not fit its header: it announces {} bytes, but the file goes on after them. Export it again and upload the new file.", grouped(*.announced_bytes))]
    GlbGoesOn {
        /// The length that the header declares.
        announced_bytes: u64,
    },
    /// A glTF JSON text ends in the middle.
    #[error(
        "This glTF file is cut off: it ends in the middle of its JSON text. Export it again and upload the whole file."
    )]
    GltfCut,
    /// A glTF file is not JSON.
    #[error("This glTF file is damaged: it stops being JSON text after {}. Export it again and upload the new file.", counted(*.offset_bytes, "byte", "bytes"))]
    GltfNotJson {
        /// Where the first wrong byte stands, counted from 0.
        offset_bytes: u64,
    },
    /// A JSON text is named .gltf and is not glTF.
    #[error(
        "This file is named .gltf, but it is a JSON text without the \"asset\" entry that every glTF file has. Export it as glTF 2.0 and upload the new file."
    )]
    GltfWithoutAsset,
    /// A ZIP archive or 3MF package lacks its end, or its directory contradicts itself.
    #[error("This file is cut off or damaged: it begins like {}, but the list of contents that belongs at its end is missing or does not fit. Save it again and upload the whole file.", .claimed.with_article())]
    ArchiveCut {
        /// The format that the name claims, else ZIP.
        claimed: Format,
    },
    /// A ZIP archive has no entries.
    #[error(
        "This ZIP archive is empty, so a buyer would get nothing. Put the files into it and upload it again."
    )]
    ArchiveEmpty,
    /// A ZIP archive is named .3mf and has no 3D model part.
    #[error(
        "This file is named .3mf, but it is a ZIP archive without a 3D model in it. Export it as 3MF and upload the new file."
    )]
    ArchiveNot3mf,
}

/// What is wrong in a line of a text STL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextProblem {
    /// The file ends in this line, before its model is complete.
    Cut,
    /// The line is longer than any program writes.
    LineTooLong {
        /// The longest line that is accepted, in bytes.
        limit_bytes: u32,
    },
    /// The line holds bytes that are not text.
    NotText,
    /// Another word should stand here.
    WrongWord {
        /// The word that the format has here.
        expected: &'static str,
        /// The word in the file, where it is short and plain enough to be shown.
        found: Option<String>,
    },
    /// A number should stand here.
    NotANumber {
        /// The word in the file, where it is short and plain enough to be shown.
        found: Option<String>,
    },
}

impl TextProblem {
    /// The rest of a sentence that begins with "This STL file ".
    fn sentence(&self, line: u64) -> String {
        let line = grouped(line);
        let but_says = |found: &Option<String>| match found {
            Some(word) => format!("but says \"{word}\""),
            None => "but says something else".to_owned(),
        };
        match self {
            TextProblem::Cut => format!(
                "is cut off: it ends in line {line}, in the middle of the model. \
                 Export it again and upload the whole file."
            ),
            TextProblem::LineTooLong { limit_bytes } => format!(
                "is damaged: line {line} is longer than {} bytes. Export it again and upload the new file.",
                grouped(u64::from(*limit_bytes))
            ),
            TextProblem::NotText => format!(
                "is damaged: line {line} holds data that is not text. Export it again and upload the whole file."
            ),
            TextProblem::WrongWord { expected, found } => format!(
                "is damaged: line {line} should say \"{expected}\", {}. \
                 Export it again and upload the new file.",
                but_says(found)
            ),
            TextProblem::NotANumber { found } => format!(
                "is damaged: line {line} should have a number, {}. Export it again and upload the new file.",
                but_says(found)
            ),
        }
    }
}

/// What a misnamed file really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A format that the shop takes.
    Known(Format),
    /// Something that the shop does not take.
    Foreign(Foreign),
}

impl Content {
    const fn with_article(self) -> &'static str {
        match self {
            Content::Known(format) => format.with_article(),
            Content::Foreign(foreign) => foreign.with_article(),
        }
    }
}

/// Content that is recognised and that the shop does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Foreign {
    /// A program for Windows.
    WindowsProgram,
    /// A program for Linux (ELF).
    LinuxProgram,
    /// A program for macOS (Mach-O).
    MacProgram,
    /// A web page.
    Html,
    /// XML that is not SVG.
    Xml,
    /// SVG image, which can carry scripts.
    Svg,
    /// JSON, as far as one can tell not glTF.
    Json,
    /// PDF document.
    Pdf,
    /// gzip.
    Gzip,
    /// 7-Zip.
    SevenZip,
    /// RAR.
    Rar,
    /// xz.
    Xz,
    /// Text in UTF-16.
    Utf16Text,
    /// Stanford PLY.
    Ply,
    /// STEP (ISO 10303-21).
    Step,
    /// Blender's own format.
    Blend,
    /// Autodesk FBX.
    Fbx,
}

impl Foreign {
    /// The kind with its article, as it stands in a sentence.
    #[must_use]
    pub const fn with_article(self) -> &'static str {
        match self {
            Foreign::WindowsProgram => "a Windows program",
            Foreign::LinuxProgram => "a Linux program",
            Foreign::MacProgram => "a macOS program",
            Foreign::Html => "a web page (HTML)",
            Foreign::Xml => "an XML text",
            Foreign::Svg => "an SVG image",
            Foreign::Json => "a JSON text",
            Foreign::Pdf => "a PDF document",
            Foreign::Gzip => "a gzip archive",
            Foreign::SevenZip => "a 7-Zip archive",
            Foreign::Rar => "a RAR archive",
            Foreign::Xz => "an xz archive",
            Foreign::Utf16Text => "a text in the UTF-16 encoding",
            Foreign::Ply => "a PLY model",
            Foreign::Step => "a STEP model",
            Foreign::Blend => "a Blender file",
            Foreign::Fbx => "an FBX model",
        }
    }
}
