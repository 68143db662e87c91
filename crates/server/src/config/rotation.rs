//! Exchanging the keys that local signed URLs are signed with, in the file of `DATA_DIR`.
//!
//! A new key is put in front and signs from then on; the older ones go on verifying until they are
//! retired. The file is replaced in one step, so a reader sees the old list or the new one, and a
//! process that dies in the middle leaves the old one. Two changes at once wait for each other.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use stockroom_domain::Entropy;
use stockroom_storage::{SigningKey, SigningKeys};

use super::problem::Source;
use super::signing::{self, SigningSettings};

/// Which keys to retire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToRetire {
    /// The one with this id.
    Kid(String),
    /// All but the one that signs.
    Old,
}

/// Why the keys could not be exchanged. The file is as it was, but for an `Io` error of the very
/// last step, after which it may also be the new one. No secret is in it.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// `SIGNING_KEYS` is set, and the file is not read.
    #[error("SIGNING_KEYS is set ({0}), so the file of signing keys is not used")]
    SetElsewhere(Source),
    /// There is no key with the id.
    #[error("there is no signing key with this id")]
    Unknown,
    /// The key is the one that signs.
    #[error("the key {0} is the one that signs, and there must always be one")]
    Signs(String),
    /// The file cannot be read as a list of keys.
    #[error("the signing keys in {} cannot be used", .0.display())]
    Unusable(PathBuf),
    /// The file system refused.
    #[error("the signing keys in {} cannot be exchanged: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

impl SigningSettings {
    /// Puts a new key in front, which signs from then on, and keeps the others. Where there is no
    /// file yet, one with a first key is made. It waits while somebody else exchanges keys.
    ///
    /// # Errors
    /// See [`RotationError`].
    pub fn rotate(&self, entropy: &dyn Entropy) -> Result<SigningKeys, RotationError> {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(self.io())?;
        self.exchange(|keys| {
            let Some(keys) = keys else {
                signing::create(&self.file, entropy).map_err(self.io())?;
                return Ok(None);
            };
            let newest = SigningKey::generate(&next_kid(keys), entropy);
            let newest = newest.map_err(|_| self.unusable())?;
            let all = std::iter::once(newest).chain(keys.iter().cloned());
            SigningKeys::new(all.collect())
                .map(Some)
                .map_err(|_| self.unusable())
        })
    }

    /// Takes keys out, whose URLs are refused from then on; their ids.
    ///
    /// # Errors
    /// See [`RotationError`].
    pub fn retire(&self, which: &ToRetire) -> Result<Vec<String>, RotationError> {
        let mut retired = Vec::new();
        self.exchange(|keys| {
            let keys = keys.ok_or(RotationError::Unknown)?;
            let signs = keys.newest();
            let goes = |key: &SigningKey| match which {
                ToRetire::Kid(kid) => key.kid() == kid,
                ToRetire::Old => key != signs,
            };
            if goes(signs) {
                return Err(RotationError::Signs(signs.kid().to_owned()));
            }
            let (gone, kept): (Vec<_>, Vec<_>) = keys.iter().cloned().partition(goes);
            if gone.is_empty() && *which != ToRetire::Old {
                return Err(RotationError::Unknown);
            }
            retired = gone.iter().map(|key| key.kid().to_owned()).collect();
            SigningKeys::new(kept)
                .map(Some)
                .map_err(|_| self.unusable())
        })?;
        Ok(retired)
    }

    /// The keys as the file has them now.
    ///
    /// # Errors
    /// `SetElsewhere`, `Unusable`, or `Io` when there is no file.
    pub fn reload(&self) -> Result<SigningKeys, RotationError> {
        if let Some(source) = &self.set_in {
            return Err(RotationError::SetElsewhere(source.clone()));
        }
        self.read()?
            .ok_or_else(|| self.io()(io::ErrorKind::NotFound.into()))
    }

    /// Replaces the keys by what `change` makes of them; where it makes none, the file is as it
    /// should be. Nobody else exchanges them meanwhile.
    fn exchange(
        &self,
        change: impl FnOnce(Option<&SigningKeys>) -> Result<Option<SigningKeys>, RotationError>,
    ) -> Result<SigningKeys, RotationError> {
        if let Some(source) = &self.set_in {
            return Err(RotationError::SetElsewhere(source.clone()));
        }
        let folder = self.file.parent().unwrap_or(Path::new("."));
        // The folder is there for every user who may change the file, and the lock leaves nothing
        // behind in it. It ends when the folder is closed, be it by a kill.
        let lock = File::open(folder).map_err(self.io())?;
        lock.lock().map_err(self.io())?;
        if let Some(keys) = change(self.read()?.as_ref())? {
            replace(&self.file, &keys).map_err(self.io())?;
        }
        self.reload()
    }

    fn read(&self) -> Result<Option<SigningKeys>, RotationError> {
        signing::read_file(&self.file).map_err(|_| self.unusable())
    }

    fn unusable(&self) -> RotationError {
        RotationError::Unusable(self.file.clone())
    }

    fn io(&self) -> impl Fn(io::Error) -> RotationError + use<> {
        let path = self.file.clone();
        move |source| RotationError::Io {
            path: path.clone(),
            source,
        }
    }
}

/// An id that no key has had: the first start makes `k1`, and each rotation counts on. Ids of
/// another form, which an operator chose, are left alone.
fn next_kid(keys: &SigningKeys) -> String {
    let numbers = keys.iter().filter_map(|key| {
        let digits = key.kid().strip_prefix('k')?;
        digits.parse::<u32>().ok()
    });
    format!("k{}", u64::from(numbers.max().unwrap_or(0)) + 1)
}

/// Writes the list beside the file and puts it in its place. Only the holder of the lock does.
fn replace(file: &Path, keys: &SigningKeys) -> io::Result<()> {
    // A link to the file stays one.
    let file = &fs::canonicalize(file)?;
    let next = file.with_file_name(".signing-keys.next");
    match fs::remove_file(&next) {
        // Left by a process that was killed.
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let entries: Vec<String> = keys
        .iter()
        .map(|key| {
            format!(
                "{}:{}",
                key.kid(),
                String::from_utf8_lossy(key.expose_secret())
            )
        })
        .collect();
    signing::write_private(&next, &(entries.join(",") + "\n"))?;
    keep_owner(file, &next)?;
    fs::rename(&next, file)?;
    // The name is durable only when the folder is.
    match file.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// The server may run as another user than whoever exchanges its keys.
#[cfg(unix)]
fn keep_owner(old: &Path, new: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, chown};
    let (old, is) = (fs::metadata(old)?, fs::metadata(new)?);
    if (old.uid(), old.gid()) == (is.uid(), is.gid()) {
        return Ok(());
    }
    chown(new, Some(old.uid()), Some(old.gid()))
}

#[cfg(not(unix))]
fn keep_owner(_: &Path, _: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use stockroom_domain::{SeededEntropy, SystemEntropy};

    use super::*;

    fn settings(folder: &Path) -> SigningSettings {
        SigningSettings {
            keys: None,
            set_in: None,
            file: folder.join("signing-keys"),
        }
    }

    fn kids(keys: &SigningKeys) -> Vec<&str> {
        keys.iter().map(SigningKey::kid).collect()
    }

    #[test]
    fn a_new_key_comes_in_front_and_the_others_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(&folder.path().join("new"));
        let first = settings.rotate(&SystemEntropy).expect("a key");
        assert_eq!(kids(&first), ["k1"]);
        // A process that was killed has left this.
        let left = folder.path().join("new/.signing-keys.next");
        fs::write(left, "k9:").expect("to write");
        settings.rotate(&SystemEntropy).expect("two keys");
        let keys = settings.rotate(&SystemEntropy).expect("three keys");
        assert_eq!(kids(&keys), ["k3", "k2", "k1"]);
        assert_eq!(keys.get("k1"), Some(first.newest()));
        assert_eq!(settings.reload().expect("keys"), keys);
        let names = fs::read_dir(folder.path().join("new")).expect("a folder");
        assert_eq!(names.count(), 1, "nothing is left beside the file");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_stays_private_and_a_link_to_it_stays_one() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().expect("a folder");
        let elsewhere = tempfile::tempdir().expect("a folder");
        let target = elsewhere.path().join("keys");
        fs::write(&target, format!("old:{}\n", "x".repeat(32))).expect("to write");
        symlink(&target, folder.path().join("signing-keys")).expect("a link");
        let keys = settings(folder.path())
            .rotate(&SystemEntropy)
            .expect("keys");
        assert_eq!(kids(&keys), ["k1", "old"]);
        assert!(settings(folder.path()).file.is_symlink());
        let mode = fs::metadata(&target).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn what_signs_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(folder.path());
        let kid = |text: &str| ToRetire::Kid(text.to_owned());
        let refused = |which| settings.retire(&which).expect_err("no key goes");
        assert!(matches!(refused(kid("k1")), RotationError::Unknown));
        for _ in 0..4 {
            settings.rotate(&SystemEntropy).expect("keys");
        }
        assert!(matches!(refused(kid("k4")), RotationError::Signs(kid) if kid == "k4"));
        assert!(matches!(refused(kid("k5")), RotationError::Unknown));
        assert_eq!(settings.retire(&kid("k2")).expect("one"), ["k2"]);
        assert_eq!(kids(&settings.reload().expect("keys")), ["k4", "k3", "k1"]);
        assert_eq!(settings.retire(&ToRetire::Old).expect("two"), ["k3", "k1"]);
        assert!(settings.retire(&ToRetire::Old).expect("none").is_empty());
        assert_eq!(kids(&settings.reload().expect("keys")), ["k4"]);
        assert_eq!(
            kids(&settings.rotate(&SystemEntropy).expect("keys")),
            ["k5", "k4"]
        );
    }

    #[test]
    fn many_rotations_at_once_lose_no_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(folder.path());
        std::thread::scope(|scope| {
            for seed in 0..8 {
                let settings = &settings;
                scope.spawn(move || {
                    let entropy = SeededEntropy::new(seed);
                    for _ in 0..5 {
                        settings.rotate(&entropy).expect("keys");
                    }
                });
            }
        });
        let keys = settings.reload().expect("keys");
        let expected: Vec<String> = (1..=40).rev().map(|number| format!("k{number}")).collect();
        assert_eq!(kids(&keys), expected);
    }

    #[test]
    fn a_file_that_cannot_be_used_and_keys_that_are_set_elsewhere_stay_as_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = settings(folder.path());
        fs::write(&settings.file, "canary\n").expect("to write");
        let error = settings.rotate(&SystemEntropy).expect_err("no keys");
        assert!(matches!(error, RotationError::Unusable(_)));
        assert!(!format!("{error} {error:?}").contains("canary"));
        let elsewhere = SigningSettings {
            set_in: Some(Source::Environment),
            ..settings.clone()
        };
        for outcome in [
            elsewhere.rotate(&SystemEntropy).err(),
            elsewhere.retire(&ToRetire::Old).err(),
            elsewhere.reload().err(),
        ] {
            assert!(matches!(outcome, Some(RotationError::SetElsewhere(_))));
        }
        let content = fs::read_to_string(&settings.file).expect("a file");
        assert_eq!(content, "canary\n");
    }
}
