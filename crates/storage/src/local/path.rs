//! Where the bytes of a key lie below the root: at the path the key spells.
//!
//! File systems allow 255 bytes for a name, keys allow more for a segment. A longer segment is
//! cut into directories whose names end in a backslash. No key has a backslash, so a path says
//! which key it belongs to. (A file system that folds case or Unicode forms cannot tell apart all
//! keys; the usual ones of Linux can.)

use std::borrow::Cow;

use stockroom_domain::{Category, Key, KeyPrefix};

/// The longest name of a file or directory in bytes, on all file systems in use.
const MAX_NAME_BYTES: usize = 255;
/// How much of a cut segment fits before the backslash.
const MAX_PIECE_BYTES: usize = MAX_NAME_BYTES - 1;

/// The path of an object's file, relative to the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FilePath {
    path: String,
    name_start: usize,
}

impl FilePath {
    pub(super) fn of(key: &Key) -> Self {
        let path = path_of(key.as_str());
        // A key has a category and a name, so its path has a slash.
        let name_start = path.rfind('/').map_or(0, |slash| slash + 1);
        Self { path, name_start }
    }

    /// The whole path.
    pub(super) fn as_str(&self) -> &str {
        &self.path
    }

    /// The directory of the file.
    pub(super) fn dir(&self) -> &str {
        self.path[..self.name_start].trim_end_matches('/')
    }

    /// The file's name in its directory.
    pub(super) fn name(&self) -> &str {
        &self.path[self.name_start..]
    }
}

/// The path that these segments spell, long ones cut.
fn path_of(segments: &str) -> String {
    let mut path = String::with_capacity(segments.len() + 8);
    for segment in segments.split('/') {
        if !path.is_empty() {
            path.push('/');
        }
        let mut rest = segment;
        while rest.len() > MAX_NAME_BYTES {
            let (piece, behind) = rest.split_at(rest.floor_char_boundary(MAX_PIECE_BYTES));
            path.extend([piece, "\\/"]);
            rest = behind;
        }
        path.push_str(rest);
    }
    path
}

/// The key whose file lies at this path, if one could.
pub(super) fn key_at(path: &str) -> Option<Key> {
    let key: Key = text_at(path).parse().ok()?;
    // A segment that was cut at another place spells a key whose file lies elsewhere.
    let is_there = !path.contains('\\') || path_of(key.as_str()) == path;
    is_there.then_some(key)
}

/// What the keys below a directory begin with. The path ends in a slash.
pub(super) fn text_at(path: &str) -> Cow<'_, str> {
    if path.contains('\\') {
        Cow::Owned(path.replace("\\/", ""))
    } else {
        Cow::Borrowed(path)
    }
}

/// The directories to walk for the keys with this prefix.
pub(super) fn dirs_for(prefix: &KeyPrefix) -> Vec<String> {
    match prefix.as_str().rsplit_once('/') {
        Some((finished, _)) => vec![path_of(finished)],
        None => Category::ALL
            .into_iter()
            .map(Category::as_str)
            .filter(|category| category.starts_with(prefix.as_str()))
            .map(str::to_owned)
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    #[test]
    fn a_key_is_its_own_path() {
        let path = FilePath::of(&key("models/42/helmet ü.stl"));
        assert_eq!(path.as_str(), "models/42/helmet ü.stl");
        assert_eq!((path.dir(), path.name()), ("models/42", "helmet ü.stl"));
    }

    #[test]
    fn only_a_segment_that_is_too_long_is_cut() {
        let fits = key(&format!("models/{}", "a".repeat(255)));
        assert_eq!(FilePath::of(&fits).as_str(), fits.as_str());

        let long = key(&format!("models/{}/b", "a".repeat(600)));
        let path = FilePath::of(&long);
        let piece = "a".repeat(254);
        let rest = "a".repeat(92);
        assert_eq!(
            path.as_str(),
            format!("models/{piece}\\/{piece}\\/{rest}/b")
        );
        assert_eq!(key_at(path.as_str()), Some(long));
    }

    #[test]
    fn a_path_that_no_key_has_belongs_to_none() {
        for path in [
            "models/a\\/b",
            "models/a\\b",
            "models/a\\",
            "other/a",
            "models/a\nb",
        ] {
            assert_eq!(key_at(path), None, "{path:?}");
        }
    }

    #[test]
    fn a_prefix_narrows_the_walk() {
        let dirs = |text: &str| dirs_for(&text.parse().unwrap());
        assert_eq!(dirs("").len(), 4);
        assert_eq!(dirs("t"), ["thumbnails", "temp"]);
        assert_eq!(dirs("models/a"), ["models"]);
        assert_eq!(dirs("models/a/"), ["models/a"]);
        let long = format!("models/{}/", "b".repeat(300));
        let expected = format!("models/{}\\/{}", "b".repeat(254), "b".repeat(46));
        assert_eq!(dirs(&long), [expected]);
    }

    proptest::proptest! {
        #[test]
        fn every_key_has_one_path_with_short_names(
            segments in proptest::collection::vec("[a-c]{1,5}|[aé€𝄞]{50,240}", 1..4)
        ) {
            let text = format!("temp/{}", segments.join("/"));
            if let Ok(key) = text.parse::<Key>() {
                let path = FilePath::of(&key);
                let mut names = path.as_str().split('/');
                assert!(names.all(|name| (1..=255).contains(&name.len())));
                assert_eq!(key_at(path.as_str()), Some(key));
            }
        }
    }
}
