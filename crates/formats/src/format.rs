//! The formats that the shop takes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A format that the shop takes, told apart by content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// STL, binary or text: triangles without units.
    Stl,
    /// Wavefront OBJ.
    Obj,
    /// 3MF: a ZIP package with XML model parts.
    #[serde(rename = "3mf")]
    ThreeMf,
    /// glTF 2.0 in one binary file.
    Glb,
    /// glTF as JSON text.
    Gltf,
    /// A ZIP archive that is not a 3MF package.
    Zip,
    /// PNG image.
    Png,
    /// JPEG image.
    Jpeg,
    /// WebP image.
    WebP,
    /// GIF image.
    Gif,
}

impl Format {
    /// Every format, in the order in which sentences list them.
    pub const ALL: [Format; 10] = [
        Format::Stl,
        Format::Obj,
        Format::ThreeMf,
        Format::Glb,
        Format::Gltf,
        Format::Zip,
        Format::Png,
        Format::Jpeg,
        Format::WebP,
        Format::Gif,
    ];

    /// The stable lower-case name, used in the `format` field of the HTTP API and in the catalog.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::Stl => "stl",
            Format::Obj => "obj",
            Format::ThreeMf => "3mf",
            Format::Glb => "glb",
            Format::Gltf => "gltf",
            Format::Zip => "zip",
            Format::Png => "png",
            Format::Jpeg => "jpeg",
            Format::WebP => "webp",
            Format::Gif => "gif",
        }
    }

    /// The media type as registered with IANA
    /// (<https://www.iana.org/assignments/media-types/media-types.xhtml>).
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Stl => "model/stl",
            Format::Obj => "model/obj",
            Format::ThreeMf => "model/3mf",
            Format::Glb => "model/gltf-binary",
            Format::Gltf => "model/gltf+json",
            Format::Zip => "application/zip",
            Format::Png => "image/png",
            Format::Jpeg => "image/jpeg",
            Format::WebP => "image/webp",
            Format::Gif => "image/gif",
        }
    }

    /// The file name extensions of this format, lower case, without the dot; the usual one first.
    #[must_use]
    pub const fn extensions(self) -> &'static [&'static str] {
        match self {
            Format::Stl => &["stl"],
            Format::Obj => &["obj"],
            Format::ThreeMf => &["3mf"],
            Format::Glb => &["glb"],
            Format::Gltf => &["gltf"],
            Format::Zip => &["zip"],
            Format::Png => &["png"],
            Format::Jpeg => &["jpg", "jpeg", "jpe", "jfif"],
            Format::WebP => &["webp"],
            Format::Gif => &["gif"],
        }
    }

    /// The format whose files carry this extension, given without the dot and in any case.
    #[must_use]
    pub fn from_extension(extension: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| {
            format
                .extensions()
                .iter()
                .any(|known| known.eq_ignore_ascii_case(extension))
        })
    }

    /// The format with its article, as it stands in a sentence: "an STL file".
    #[must_use]
    pub const fn with_article(self) -> &'static str {
        match self {
            Format::Stl => "an STL file",
            Format::Obj => "an OBJ file",
            Format::ThreeMf => "a 3MF file",
            Format::Glb => "a GLB file",
            Format::Gltf => "a glTF file",
            Format::Zip => "a ZIP archive",
            Format::Png => "a PNG image",
            Format::Jpeg => "a JPEG image",
            Format::WebP => "a WebP image",
            Format::Gif => "a GIF image",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no format that the shop takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a known format")]
pub struct UnknownFormat;

impl FromStr for Format {
    type Err = UnknownFormat;

    /// Reads exactly what [`Format::as_str`] writes.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Format::ALL
            .into_iter()
            .find(|format| format.as_str() == name)
            .ok_or(UnknownFormat)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_agree_with_json() {
        for format in Format::ALL {
            assert_eq!(format.as_str().parse(), Ok(format));
            let json = serde_json::to_string(&format).unwrap();
            assert_eq!(json, format!("\"{format}\""));
            assert_eq!(serde_json::from_str::<Format>(&json).unwrap(), format);
        }
        assert_eq!("STL".parse::<Format>(), Err(UnknownFormat));
    }

    #[test]
    fn an_extension_belongs_to_one_format() {
        let mut seen = std::collections::BTreeSet::new();
        for format in Format::ALL {
            for extension in format.extensions() {
                assert!(seen.insert(*extension), "{extension} is claimed twice");
                assert_eq!(
                    Format::from_extension(&extension.to_uppercase()),
                    Some(format)
                );
            }
        }
        assert_eq!(Format::from_extension(""), None);
        assert_eq!(Format::from_extension(".stl"), None);
    }
}
