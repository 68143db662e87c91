//! Keys: where bytes live, the same on disk and in a bucket.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The longest key in bytes of UTF-8, which is S3's own limit.
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html>.
pub const MAX_KEY_BYTES: usize = 1_024;

/// The first segment of every key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// What is sold.
    Models,
    /// Small pictures made of what is sold.
    Thumbnails,
    /// Pictures that artists upload.
    Images,
    /// What may be thrown away.
    Temp,
}

impl Category {
    /// All categories.
    pub const ALL: [Self; 4] = [Self::Models, Self::Thumbnails, Self::Images, Self::Temp];

    /// The segment that stands for the category.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::Thumbnails => "thumbnails",
            Self::Images => "images",
            Self::Temp => "temp",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an object lives: a category and at least one more segment, as in `models/42/helmet.stl`.
///
/// A key is at most [`MAX_KEY_BYTES`] of UTF-8. It has no empty segment, no segment `.` or `..`,
/// no control character and no backslash, so it means the same on every store and can never
/// leave a store's root. Keys are compared byte by byte: nothing is normalised.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    text: Box<str>,
    category: Category,
}

/// Why a text is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// More than [`MAX_KEY_BYTES`].
    #[error("the key is {bytes} bytes long; at most {MAX_KEY_BYTES} are allowed")]
    TooLong {
        /// The length of the text.
        bytes: usize,
    },
    /// The first segment is not one of the four categories.
    #[error("a key begins with models/, thumbnails/, images/ or temp/")]
    Category,
    /// Nothing follows the category.
    #[error("a key has at least one segment after its category")]
    NoName,
    /// Two slashes in a row, or one at the end.
    #[error("a key has no empty segment")]
    EmptySegment,
    /// A segment `.` or `..`.
    #[error("a key has no segment \".\" or \"..\"")]
    DotSegment,
    /// A control character, such as a line break or NUL.
    #[error("a key has no control character")]
    ControlCharacter,
    /// A backslash, which some systems read as a slash.
    #[error("a key has no backslash")]
    Backslash,
    /// Bytes that are not UTF-8.
    #[error("a key is UTF-8")]
    NotUtf8,
}

impl Key {
    /// The key `category/rest`.
    ///
    /// # Errors
    /// When the parts do not make a key.
    pub fn new(category: Category, rest: &str) -> Result<Self, KeyError> {
        format!("{category}/{rest}").parse()
    }

    /// The whole key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The category the key begins with.
    #[must_use]
    pub const fn category(&self) -> Category {
        self.category
    }

    /// The segments after the category; there is at least one.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.text.split('/').skip(1)
    }

    /// The last segment: what a person would call the file's name.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.text
            .rsplit_once('/')
            .map_or(&*self.text, |(_, name)| name)
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        check_characters(text)?;
        let (first, rest) = text.split_once('/').unwrap_or((text, ""));
        let category = Category::ALL
            .into_iter()
            .find(|category| category.as_str() == first)
            .ok_or(KeyError::Category)?;
        if rest.is_empty() {
            return Err(KeyError::NoName);
        }
        rest.split('/').try_for_each(check_segment)?;
        Ok(Self {
            text: text.into(),
            category,
        })
    }
}

impl TryFrom<&[u8]> for Key {
    type Error = KeyError;

    fn try_from(bytes: &[u8]) -> Result<Self, KeyError> {
        std::str::from_utf8(bytes)
            .map_err(|_| KeyError::NotUtf8)?
            .parse()
    }
}

fn check_characters(text: &str) -> Result<(), KeyError> {
    if text.len() > MAX_KEY_BYTES {
        return Err(KeyError::TooLong { bytes: text.len() });
    }
    if text.chars().any(char::is_control) {
        return Err(KeyError::ControlCharacter);
    }
    if text.contains('\\') {
        return Err(KeyError::Backslash);
    }
    Ok(())
}

fn check_segment(segment: &str) -> Result<(), KeyError> {
    match segment {
        "" => Err(KeyError::EmptySegment),
        "." | ".." => Err(KeyError::DotSegment),
        _ => Ok(()),
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The beginning of keys, for listing: any text that some key could begin with, also the empty one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeyPrefix(Box<str>);

impl KeyPrefix {
    /// The prefix of every key.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// The text of the prefix.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the key begins with this prefix.
    #[must_use]
    pub fn matches(&self, key: &Key) -> bool {
        key.as_str().starts_with(&*self.0)
    }
}

impl FromStr for KeyPrefix {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        check_characters(text)?;
        let Some((category, rest)) = text.split_once('/') else {
            // The beginning of a category's name is the beginning of its keys.
            return if Category::ALL
                .iter()
                .any(|category| category.as_str().starts_with(text))
            {
                Ok(Self(text.into()))
            } else {
                Err(KeyError::Category)
            };
        };
        if !Category::ALL.iter().any(|known| known.as_str() == category) {
            return Err(KeyError::Category);
        }
        // The last segment is unfinished: it may be empty, and `..` may become `..a`.
        if let Some((finished, _)) = rest.rsplit_once('/') {
            finished.split('/').try_for_each(check_segment)?;
        }
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Key, KeyError> {
        text.parse()
    }

    #[test]
    fn a_key_is_a_category_and_a_name() {
        let key = parsed("models/42/Schild Ü.stl").unwrap();
        assert_eq!(key.category(), Category::Models);
        assert_eq!(key.segments().collect::<Vec<_>>(), ["42", "Schild Ü.stl"]);
        assert_eq!(key.file_name(), "Schild Ü.stl");
        assert_eq!(Key::new(Category::Temp, "x").unwrap().as_str(), "temp/x");
    }

    #[test]
    fn hostile_keys_are_refused() {
        let cases = [
            ("", KeyError::Category),
            ("models", KeyError::NoName),
            ("models/", KeyError::NoName),
            ("other/a", KeyError::Category),
            ("Models/a", KeyError::Category),
            ("/models/a", KeyError::Category),
            ("models//a", KeyError::EmptySegment),
            ("models/a/", KeyError::EmptySegment),
            ("models/../a", KeyError::DotSegment),
            ("models/a/..", KeyError::DotSegment),
            ("models/.", KeyError::DotSegment),
            ("models/a\0", KeyError::ControlCharacter),
            ("models/a\r\nb", KeyError::ControlCharacter),
            ("models/a\u{85}", KeyError::ControlCharacter),
            ("models/a\\..\\b", KeyError::Backslash),
        ];
        for (text, error) in cases {
            assert_eq!(parsed(text), Err(error), "{text:?}");
        }
        assert_eq!(Key::try_from(&b"models/\xff"[..]), Err(KeyError::NotUtf8));
    }

    #[test]
    fn the_longest_key_fits_and_one_byte_more_does_not() {
        let longest = format!("models/{}", "a".repeat(MAX_KEY_BYTES - 7));
        assert!(parsed(&longest).is_ok());
        assert_eq!(
            parsed(&format!("{longest}a")),
            Err(KeyError::TooLong { bytes: 1_025 })
        );
    }

    #[test]
    fn names_that_only_look_odd_are_kept_as_they_are() {
        for text in [
            "models/...",
            "models/.hidden",
            "models/a b?c#d%2e%2e",
            "models/e\u{301}",
        ] {
            assert_eq!(parsed(text).unwrap().as_str(), text);
        }
        assert_ne!(parsed("models/e\u{301}"), parsed("models/\u{e9}"));
    }

    #[test]
    fn a_prefix_is_the_beginning_of_a_key() {
        for text in [
            "",
            "mod",
            "models",
            "models/",
            "models/a",
            "models/a/",
            "models/..",
        ] {
            let prefix: KeyPrefix = text.parse().unwrap();
            assert_eq!(prefix.as_str(), text);
        }
        for text in [
            "x",
            "modelsx",
            "models//",
            "models/../",
            "other/",
            "models/\n",
        ] {
            assert!(text.parse::<KeyPrefix>().is_err(), "{text:?}");
        }
        let prefix: KeyPrefix = "models/a".parse().unwrap();
        assert!(prefix.matches(&parsed("models/ab").unwrap()));
        assert!(!prefix.matches(&parsed("models/b").unwrap()));
    }

    proptest::proptest! {
        #[test]
        fn a_key_that_parses_never_climbs(text in "(models|temp)/[a.\\\\/ \u{0}-\u{20}%é]{0,40}") {
            if let Ok(key) = parsed(&text) {
                assert!(key.segments().all(|s| !s.is_empty() && s != "." && s != ".."));
                assert_eq!(key.as_str(), text);
            }
        }
    }
}
