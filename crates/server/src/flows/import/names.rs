//! Which of the things that lie in a folder or a bucket are files to import.

use std::borrow::Cow;

use stockroom_domain::{Category, Key, KeyError};
use stockroom_storage::{LocalStore, SourceKind};

use crate::flows::publish::reserved_segment;

/// What systems and programs leave beside files, and nobody sells.
const LITTER: [&str; 7] = [
    ".DS_Store",
    ".directory",
    ".gitignore",
    ".gitkeep",
    ".keep",
    "Thumbs.db",
    "desktop.ini",
];

/// Where the local store keeps uploads that are not finished.
const STAGING: &str = ".staging/";

/// What is to be done about something by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may be imported under this key.
    Take(Key),
    /// It lies below a name that the stores keep for themselves: the record tells what it is.
    Own(Key),
    /// It is nothing to import, and nobody need hear of it.
    Ignore,
    /// It is left alone, for this reason.
    LeaveOut(Cow<'static, str>),
}

/// Judges what lies at a path. `is_store` says that the folder is that of the local store, where
/// long names are cut into several.
pub(super) fn judge(path: &[u8], kind: &SourceKind, is_store: bool) -> Verdict {
    if is_ignored(path, is_store) {
        return Verdict::Ignore;
    }
    let why: Cow<'static, str> = match kind {
        SourceKind::File(_) => return judge_name(path, is_store),
        SourceKind::Link => "it is a symbolic link; none is followed".into(),
        SourceKind::Special => "it is a device, a pipe or a socket".into(),
        SourceKind::TooDeep => "the folder lies too deep; nothing in it was looked at".into(),
        SourceKind::Unreadable(why) => format!("it cannot be looked at: {why}").into(),
    };
    Verdict::LeaveOut(why)
}

/// Judges a name in the bucket.
pub(super) fn judge_object(name: &[u8]) -> Verdict {
    // Consoles make such objects to show folders.
    if name.ends_with(b"/") || is_ignored(name, false) {
        return Verdict::Ignore;
    }
    judge_name(name, false)
}

fn is_ignored(path: &[u8], is_store: bool) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
    path.starts_with(b"temp/")
        || path == b"temp"
        || (is_store && path.starts_with(STAGING.as_bytes()))
        || LITTER.iter().any(|litter| litter.as_bytes() == name)
}

fn judge_name(path: &[u8], is_store: bool) -> Verdict {
    let Ok(text) = std::str::from_utf8(path) else {
        return Verdict::LeaveOut(because(&KeyError::NotUtf8));
    };
    let key: Key = match text.parse() {
        Ok(key) => key,
        Err(KeyError::Backslash) if is_store => match LocalStore::key_of_path(text) {
            Some(key) => key,
            None => return Verdict::LeaveOut(because(&KeyError::Backslash)),
        },
        Err(KeyError::Category | KeyError::NoName) => {
            let names: Vec<&str> = Category::ALL.map(Category::as_str).to_vec();
            let why = format!("it lies in none of the folders {}", names.join(", "));
            return Verdict::LeaveOut(why.into());
        }
        Err(error) => return Verdict::LeaveOut(because(&error)),
    };
    if reserved_segment(&key).is_some() {
        return Verdict::Own(key);
    }
    if key.segments().any(|segment| segment.starts_with('.')) {
        return Verdict::LeaveOut("it is hidden: a name begins with a dot".into());
    }
    Verdict::Take(key)
}

fn because(error: &KeyError) -> Cow<'static, str> {
    format!("its path is no key: {error}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(path: &[u8], is_store: bool) -> String {
        match judge_name(path, is_store) {
            _ if is_ignored(path, is_store) => "ignored".to_owned(),
            Verdict::Take(key) => format!("take {key}"),
            Verdict::Own(key) => format!("own {key}"),
            Verdict::Ignore => "ignored".to_owned(),
            Verdict::LeaveOut(why) => why.into_owned(),
        }
    }

    #[test]
    fn a_key_is_the_path_or_there_is_none() {
        for (path, verdict) in [
            (
                &b"models/42/Schild \xc3\x9c.stl"[..],
                "take models/42/Schild Ü.stl",
            ),
            (b"images/a..b", "take images/a..b"),
            (b"temp/a.stl", "ignored"),
            (b"models/42/.DS_Store", "ignored"),
            (b"models/Thumbs.db", "ignored"),
            (b"models/.stockroom/other", "own models/.stockroom/other"),
            (b"models/.versions/1", "own models/.versions/1"),
            (
                b"models/.htaccess",
                "it is hidden: a name begins with a dot",
            ),
            (
                b"models/.git/config",
                "it is hidden: a name begins with a dot",
            ),
            (b"models/\xff", "its path is no key: a key is UTF-8"),
            (
                b"models/a\nb",
                "its path is no key: a key has no control character",
            ),
            (b"models/a\\b", "its path is no key: a key has no backslash"),
            (
                b"models",
                "it lies in none of the folders models, thumbnails, images, temp",
            ),
            (
                b"avatars/1.png",
                "it lies in none of the folders models, thumbnails, images, temp",
            ),
        ] {
            assert_eq!(judged(path, false), verdict);
            assert_eq!(judged(path, true), verdict);
        }
        let long = format!("models/{}", "a/".repeat(600));
        assert!(judged(long.as_bytes(), false).contains("1207 bytes long"));
        let cut = format!("models/{}\\/{}", "a".repeat(254), "a".repeat(46));
        assert_eq!(
            judged(cut.as_bytes(), true),
            format!("take models/{}", "a".repeat(300))
        );
        assert_eq!(judged(b".staging/x", true), "ignored");
        assert_ne!(judged(b".staging/x", false), "ignored");
        assert_eq!(judge_object(b"models/42/"), Verdict::Ignore);
    }

    #[test]
    fn what_is_no_file_is_left_out() {
        for kind in [
            SourceKind::Link,
            SourceKind::Special,
            SourceKind::TooDeep,
            SourceKind::Unreadable("no".to_owned()),
        ] {
            let verdict = judge(b"models/a.stl", &kind, false);
            assert!(matches!(verdict, Verdict::LeaveOut(_)), "{kind:?}");
            assert_eq!(judge(b"temp/a", &kind, false), Verdict::Ignore);
        }
    }
}
