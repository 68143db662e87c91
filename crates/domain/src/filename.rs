//! The names that artists give their files.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// The name of one file: 1 to 255 bytes of UTF-8 that every buyer's system can save.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Filename(Box<str>);

/// Why a text is no file name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilenameError {
    /// Nothing, or nothing but dots and spaces.
    #[error("a file needs a name")]
    Empty,
    /// More than 255 bytes of UTF-8, the limit of most file systems.
    #[error(
        "the file name is {bytes} bytes long; at most {} are allowed",
        Filename::MAX_BYTES
    )]
    TooLong {
        /// The length of the name.
        bytes: usize,
    },
    /// A slash or a backslash: a path is not a name.
    #[error("a file name has no slash and no backslash")]
    Path,
    /// A control character, or one that turns the reading direction around so that
    /// `exe.stl` can be shown for `lts.exe`.
    #[error("a file name has no control character and none that changes the reading direction")]
    Character,
    /// A name that Windows keeps for a device, such as `CON` or `nul.stl`.
    #[error("Windows keeps this file name for a device; choose another")]
    Reserved,
}

impl Filename {
    /// The longest name, in bytes of UTF-8.
    pub const MAX_BYTES: usize = 255;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Filename {
    type Err = FilenameError;

    fn from_str(text: &str) -> Result<Self, FilenameError> {
        if text.len() > Self::MAX_BYTES {
            return Err(FilenameError::TooLong { bytes: text.len() });
        }
        if text.contains(['/', '\\']) {
            return Err(FilenameError::Path);
        }
        if text.chars().any(|c| c.is_control() || turns_direction(c)) {
            return Err(FilenameError::Character);
        }
        if text.trim_matches(['.', ' ']).is_empty() {
            return Err(FilenameError::Empty);
        }
        if is_reserved(text) {
            return Err(FilenameError::Reserved);
        }
        Ok(Self(text.into()))
    }
}

/// The bidirectional controls of Unicode (UAX #9), and the two line separators.
fn turns_direction(c: char) -> bool {
    matches!(
        c,
        '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    )
}

/// Source: <https://learn.microsoft.com/windows/win32/fileio/naming-a-file>.
fn is_reserved(text: &str) -> bool {
    let stem = text.split('.').next().unwrap_or(text).trim_end();
    let device = |name: &str| stem.eq_ignore_ascii_case(name);
    let numbered = |name: &str| {
        // Windows reads the raised digits of Latin-1 as digits here.
        let is_number = |c: char| c.is_ascii_digit() || matches!(c, '\u{b9}' | '\u{b2}' | '\u{b3}');
        stem.is_char_boundary(3)
            && stem[..3].eq_ignore_ascii_case(name)
            && stem[3..].chars().count() == 1
            && stem[3..].chars().all(is_number)
    };
    let devices = ["con", "prn", "aux", "nul", "conin$", "conout$"];
    devices.into_iter().any(device) || ["com", "lpt"].into_iter().any(numbered)
}

impl fmt::Display for Filename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Filename {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for Filename {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_are_kept_as_they_are() {
        for text in [
            "helmet.stl",
            "Ä \"b\" ; c.3mf",
            "a",
            ".hidden",
            "console.stl",
            "com.stl",
            "com10.stl",
            "com\u{661}.stl",
            "co\u{f6}.stl",
        ] {
            assert_eq!(text.parse::<Filename>().unwrap().as_str(), text);
        }
        assert!("a".repeat(255).parse::<Filename>().is_ok());
    }

    #[test]
    fn hostile_names_are_refused() {
        let long = "a".repeat(256);
        let cases = [
            ("", FilenameError::Empty),
            ("..", FilenameError::Empty),
            (" . ", FilenameError::Empty),
            ("../a.stl", FilenameError::Path),
            ("C:\\a.stl", FilenameError::Path),
            ("a\r\nb.stl", FilenameError::Character),
            ("a\0.stl", FilenameError::Character),
            ("a\u{202e}lts.exe", FilenameError::Character),
            ("NUL", FilenameError::Reserved),
            ("con.stl", FilenameError::Reserved),
            ("Com1.stl", FilenameError::Reserved),
            ("com\u{b9}.stl", FilenameError::Reserved),
            ("LPT\u{b3} .stl", FilenameError::Reserved),
            ("CONIN$", FilenameError::Reserved),
            (&long, FilenameError::TooLong { bytes: 256 }),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<Filename>(), Err(error), "{text:?}");
        }
    }
}
