//! What a file may be, judged from its opening alone.

use crate::archive::ArchiveCheck;
use crate::check::{ContentCheck, Opening};
use crate::format::Format;
use crate::glb::GlbCheck;
use crate::gltf::GltfCheck;
use crate::image::ImageCheck;
use crate::obj::{self, ObjCheck};
use crate::rejection::{Content, Foreign};
use crate::stl::StlCheck;
use crate::text::{after_blank, is_text, starts_with_ignore_case};

/// How much of a file is looked at before its check begins. Every signature, every fixed header
/// and the facets of a small model fit in; it is also the largest buffer of a checker.
pub(crate) const OPENING_BYTES: usize = 4_096;

/// What a file may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidate {
    /// An image, by its signature.
    Image(Format),
    /// GLB, by its signature.
    Glb,
    /// A ZIP archive or a 3MF package; only the directory at the end tells which.
    Archive,
    /// A JSON text, perhaps glTF.
    Json,
    /// Text that begins with "solid": an STL, or prose.
    SolidText,
    /// Other text: an OBJ, or prose.
    OtherText,
    /// No signature: a binary STL, which has none, or something unknown. It may also begin like
    /// something foreign whose signature an STL's free header could hold by chance.
    Binary(Option<Foreign>),
    /// Something that the shop does not take.
    Foreign(Foreign),
}

impl Candidate {
    /// Whether a file of this format can begin like this.
    pub(crate) fn may_be(self, format: Format) -> bool {
        match self {
            Candidate::Image(image) => image == format,
            Candidate::Glb => format == Format::Glb,
            Candidate::Archive => matches!(format, Format::Zip | Format::ThreeMf),
            Candidate::Json => format == Format::Gltf,
            Candidate::SolidText | Candidate::Binary(_) => format == Format::Stl,
            Candidate::OtherText => format == Format::Obj,
            Candidate::Foreign(_) => false,
        }
    }

    /// What the content is, as far as its opening shows.
    pub(crate) fn content(self, opening: &[u8]) -> Option<Content> {
        match self {
            Candidate::Image(format) => Some(Content::Known(format)),
            Candidate::Glb => Some(Content::Known(Format::Glb)),
            Candidate::Archive => Some(Content::Known(Format::Zip)),
            Candidate::Json if contains_word(opening, b"\"asset\"") => {
                Some(Content::Known(Format::Gltf))
            }
            Candidate::Json => Some(Content::Foreign(Foreign::Json)),
            Candidate::SolidText => {
                contains_word(opening, b"facet").then_some(Content::Known(Format::Stl))
            }
            Candidate::OtherText => {
                obj::has_geometry(opening).then_some(Content::Known(Format::Obj))
            }
            Candidate::Binary(foreign) => foreign.map(Content::Foreign),
            Candidate::Foreign(foreign) => Some(Content::Foreign(foreign)),
        }
    }

    /// What the content is where the check finds that it is none of the shop's formats.
    pub(crate) fn otherwise(self) -> Option<Foreign> {
        match self {
            Candidate::Json => Some(Foreign::Json),
            Candidate::Binary(foreign) => foreign,
            Candidate::Foreign(foreign) => Some(foreign),
            Candidate::Image(_)
            | Candidate::Glb
            | Candidate::Archive
            | Candidate::SolidText
            | Candidate::OtherText => None,
        }
    }

    /// The check that decides, if there is one.
    pub(crate) fn check(self, opening: &Opening<'_>) -> Option<Box<dyn ContentCheck>> {
        let is_named_stl = opening.claimed == Some(Format::Stl);
        match self {
            Candidate::Image(format) => Some(Box::new(ImageCheck::new(opening, format))),
            Candidate::Glb => Some(Box::new(GlbCheck::new(opening))),
            Candidate::Archive => Some(Box::new(ArchiveCheck::new(opening))),
            Candidate::Json => Some(Box::new(GltfCheck::new(opening))),
            Candidate::OtherText => Some(Box::new(ObjCheck::new(opening))),
            Candidate::SolidText => Some(Box::new(StlCheck::new(opening, is_named_stl))),
            Candidate::Binary(None) => Some(Box::new(StlCheck::new(opening, is_named_stl))),
            // A foreign signature in the header of an STL is believable only where the name says
            // that this is an STL, and then nothing but the exact length proves it.
            Candidate::Binary(Some(_)) if is_named_stl => {
                Some(Box::new(StlCheck::new(opening, false)))
            }
            Candidate::Binary(Some(_)) => None,
            Candidate::Foreign(_) => None,
        }
    }
}

/// Names what a file with this opening may be.
pub(crate) fn sniff(opening: &[u8]) -> Candidate {
    if let Some(candidate) = by_signature(opening) {
        return candidate;
    }
    if !is_text(opening) {
        let is_program = opening.starts_with(b"MZ");
        let foreign = is_program.then_some(Foreign::WindowsProgram);
        return Candidate::Binary(foreign.or_else(|| by_printable_signature(opening)));
    }
    if let Some(foreign) = by_printable_signature(opening) {
        return Candidate::Foreign(foreign);
    }
    let text = after_blank(opening);
    if text.starts_with(b"{") {
        Candidate::Json
    } else if begins_with_solid(text) {
        Candidate::SolidText
    } else {
        Candidate::OtherText
    }
}

/// Signatures that hold bytes no text has, or that are long enough to be beyond chance.
fn by_signature(opening: &[u8]) -> Option<Candidate> {
    const SIGNATURES: &[(&[u8], Candidate)] = &[
        // PNG (RFC 2083), GIF89a, JPEG (ITU T.81 B.1.1.3) and the ZIP records of APPNOTE.TXT 4.3.
        (b"\x89PNG\r\n\x1A\n", Candidate::Image(Format::Png)),
        (b"GIF87a", Candidate::Image(Format::Gif)),
        (b"GIF89a", Candidate::Image(Format::Gif)),
        (b"\xFF\xD8\xFF", Candidate::Image(Format::Jpeg)),
        (b"PK\x03\x04", Candidate::Archive),
        (b"PK\x05\x06", Candidate::Archive),
        (b"\x7FELF", Candidate::Foreign(Foreign::LinuxProgram)),
        (b"\xFE\xED\xFA\xCE", Candidate::Foreign(Foreign::MacProgram)),
        (b"\xFE\xED\xFA\xCF", Candidate::Foreign(Foreign::MacProgram)),
        (b"\xCE\xFA\xED\xFE", Candidate::Foreign(Foreign::MacProgram)),
        (b"\xCF\xFA\xED\xFE", Candidate::Foreign(Foreign::MacProgram)),
        (b"\x1F\x8B\x08", Candidate::Foreign(Foreign::Gzip)),
        (b"7z\xBC\xAF\x27\x1C", Candidate::Foreign(Foreign::SevenZip)),
        (b"Rar!\x1A\x07", Candidate::Foreign(Foreign::Rar)),
        (b"\xFD7zXZ\0", Candidate::Foreign(Foreign::Xz)),
        (b"\xFF\xFE", Candidate::Foreign(Foreign::Utf16Text)),
        (b"\xFE\xFF", Candidate::Foreign(Foreign::Utf16Text)),
        (b"Kaydara FBX Binary  \0", Candidate::Foreign(Foreign::Fbx)),
    ];
    // The version follows as a little-endian 32-bit number, so its last byte tells a GLB from an
    // STL whose header begins with the word.
    if opening.starts_with(b"glTF") && opening.get(7).is_none_or(|&byte| byte == 0) {
        return Some(Candidate::Glb);
    }
    // RFC 9649, section 2.4.
    if opening.starts_with(b"RIFF") && opening.get(8..12) == Some(b"WEBP") {
        return Some(Candidate::Image(Format::WebP));
    }
    SIGNATURES
        .iter()
        .find(|(signature, _)| opening.starts_with(signature))
        .map(|&(_, candidate)| candidate)
}

/// Signatures that are plain text, which the free header of a binary STL may hold as well.
fn by_printable_signature(opening: &[u8]) -> Option<Foreign> {
    const SIGNATURES: &[(&[u8], Foreign)] = &[
        (b"%PDF-", Foreign::Pdf),
        (b"BLENDER", Foreign::Blend),
        (b"ISO-10303-21;", Foreign::Step),
        (b"; FBX ", Foreign::Fbx),
        (b"ply\n", Foreign::Ply),
        (b"ply\r", Foreign::Ply),
    ];
    const MARKUP: &[(&[u8], Foreign)] = &[
        (b"<!doctype html", Foreign::Html),
        (b"<html", Foreign::Html),
        (b"<head", Foreign::Html),
        (b"<body", Foreign::Html),
        (b"<script", Foreign::Html),
        (b"<svg", Foreign::Svg),
        (b"<!doctype svg", Foreign::Svg),
    ];
    if let Some((_, foreign)) = SIGNATURES
        .iter()
        .find(|(signature, _)| opening.starts_with(signature))
    {
        return Some(*foreign);
    }
    let text = after_blank(opening);
    if let Some((_, foreign)) = MARKUP
        .iter()
        .find(|(start, _)| starts_with_ignore_case(text, start))
    {
        return Some(*foreign);
    }
    if !starts_with_ignore_case(text, b"<?xml") {
        return None;
    }
    let is_svg = contains_word(text, b"<svg");
    Some(if is_svg { Foreign::Svg } else { Foreign::Xml })
}

fn begins_with_solid(text: &[u8]) -> bool {
    starts_with_ignore_case(text, b"solid") && text.get(5).is_none_or(u8::is_ascii_whitespace)
}

fn contains_word(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len())
        .any(|window| window.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_are_told_apart() {
        let cases: &[(&[u8], Candidate)] = &[
            (b"\x89PNG\r\n\x1A\n\0\0", Candidate::Image(Format::Png)),
            (b"GIF89a\x01\0\x01\0", Candidate::Image(Format::Gif)),
            (b"\xFF\xD8\xFF\xE0", Candidate::Image(Format::Jpeg)),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Candidate::Image(Format::WebP)),
            (b"RIFF\x10\0\0\0WAVEfmt ", Candidate::Binary(None)),
            (b"PK\x03\x04\x14\0", Candidate::Archive),
            (b"PK\x05\x06\0\0", Candidate::Archive),
            (b"glTF\x02\0\0\0", Candidate::Glb),
            (b"glTF", Candidate::Glb),
            (b"glTF exported as STL\0\0", Candidate::Binary(None)),
            (b"\xEF\xBB\xBF \n{\"asset\":", Candidate::Json),
            (b"solid cube\n", Candidate::SolidText),
            (b" \n\tSOLID", Candidate::SolidText),
            (b"solidity is a language", Candidate::OtherText),
            (b"solid cube\n\0\0\0", Candidate::Binary(None)),
            (b"# Blender\nv 1 2 3\n", Candidate::OtherText),
            (b"Exported from Blender-2.91.0\0\0", Candidate::Binary(None)),
            (
                b"<script>alert(1)</script>\0\0",
                Candidate::Binary(Some(Foreign::Html)),
            ),
            (b"  <!DOCTYPE HTML><p>", Candidate::Foreign(Foreign::Html)),
            (
                b"<?xml version='1.0'?><svg/>",
                Candidate::Foreign(Foreign::Svg),
            ),
            (
                b"<?xml version='1.0'?><amf/>",
                Candidate::Foreign(Foreign::Xml),
            ),
            (
                b"MZ\x90\0\x03",
                Candidate::Binary(Some(Foreign::WindowsProgram)),
            ),
            (
                b"\x7FELF\x02\x01",
                Candidate::Foreign(Foreign::LinuxProgram),
            ),
            (b"%PDF-1.7\n%", Candidate::Foreign(Foreign::Pdf)),
            (b"ply\nformat ascii 1.0\n", Candidate::Foreign(Foreign::Ply)),
            (b"ISO-10303-21;\nHEADER;", Candidate::Foreign(Foreign::Step)),
            (b"BLENDER-v300REND", Candidate::Foreign(Foreign::Blend)),
            (b"\xFE\xFF\0#\0v", Candidate::Foreign(Foreign::Utf16Text)),
        ];
        for (opening, expected) in cases {
            assert_eq!(sniff(opening), *expected, "{}", opening.escape_ascii());
        }
    }
}
