//! The keys that local signed URLs are signed with.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use stockroom_domain::Entropy;
use stockroom_storage::{SigningKey, SigningKeyError, SigningKeys};

use super::files;
use super::problem::{Fault, Source, fault};
use super::reader::{Noted, Reader};
use super::variable;

/// Where the signing keys are, and what they are.
#[derive(Debug, Clone)]
pub struct SigningSettings {
    /// The keys; `None` when nobody set any and the file does not exist yet.
    pub keys: Option<SigningKeys>,
    /// Where `SIGNING_KEYS` stands, if anybody set it; the file counts for nothing then.
    pub set_in: Option<Source>,
    /// The file in `DATA_DIR`. It holds what `SIGNING_KEYS` would, on one line.
    pub file: PathBuf,
}

/// The file of signing keys could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum SigningKeysError {
    /// The file system refused.
    #[error("cannot write the signing keys to {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// Another process made the file at the same moment, and it cannot be used.
    #[error("the signing keys in {} cannot be used", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
    },
}

impl SigningSettings {
    /// The keys; made and written to the file, which only its owner may read, when there are none.
    /// When several processes do this at once, all of them get the keys of the first.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn load_or_create(&self, entropy: &dyn Entropy) -> Result<SigningKeys, SigningKeysError> {
        if let Some(keys) = &self.keys {
            return Ok(keys.clone());
        }
        create(&self.file, entropy).map_err(|source| SigningKeysError::Io {
            path: self.file.clone(),
            source,
        })?;
        read_file(&self.file)
            .ok()
            .flatten()
            .ok_or_else(|| SigningKeysError::Unusable {
                path: self.file.clone(),
            })
    }
}

pub(super) fn read(reader: &mut Reader<'_>, data_dir: &Path) -> Result<SigningSettings, Noted> {
    let file = data_dir.join("signing-keys");
    let mut keys = reader.read_optional(&variable::SIGNING_KEYS, parse)?;
    let set_in = keys
        .is_some()
        .then(|| reader.source_of(&variable::SIGNING_KEYS));
    if keys.is_none() {
        let source = Source::SigningKeysFile(file.clone());
        keys = read_file(&file)
            .map_err(|fault| reader.problem_at(&variable::SIGNING_KEYS, source.clone(), fault))?;
        if keys.is_some() {
            warn_when_others_may_read(reader, &file);
            reader.report(&variable::SIGNING_KEYS, "(set, not shown)", source);
        } else {
            let later = format!("made on first start, in {}", file.display());
            reader.report(&variable::SIGNING_KEYS, later, Source::Default);
        }
    }
    Ok(SigningSettings { keys, set_in, file })
}

pub(super) fn read_file(path: &Path) -> Result<Option<SigningKeys>, Fault> {
    // Only a file that is surely not there may be made; one that cannot be looked at is a problem.
    if matches!(path.try_exists(), Ok(false)) {
        return Ok(None);
    }
    parse(&files::named_file(path)?).map(Some)
}

/// `kid:secret`, several of them with commas in between, newest first.
fn parse(text: &str) -> Result<SigningKeys, Fault> {
    let keys: Vec<SigningKey> = text
        .split(',')
        .enumerate()
        .map(|(index, entry)| parse_key(entry, index + 1))
        .collect::<Result<_, _>>()?;
    SigningKeys::new(keys).map_err(|_| {
        fault(
            "has two keys with the same id",
            "Give each key an id of its own",
        )
    })
}

fn parse_key(entry: &str, number: usize) -> Result<SigningKey, Fault> {
    let bad_secret = || {
        fault(
            format!("has an unusable secret in key {number}"),
            "Write at least 32 visible ASCII characters behind the colon, for example from: openssl rand -hex 32",
        )
    };
    let Some((kid, secret)) = entry.split_once(':') else {
        return Err(fault(
            format!("has no colon in key {number}"),
            "Write kid:secret, and a comma before the next key",
        ));
    };
    if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad_secret());
    }
    SigningKey::new(kid, secret.as_bytes()).map_err(|error| match error {
        SigningKeyError::Kid => fault(
            format!("has an unusable id in key {number}"),
            "Write 1 to 16 of the characters a-z, 0-9 and - before the colon",
        ),
        _ => bad_secret(),
    })
}

/// Writes one new key to the file, unless the file exists by then.
pub(super) fn create(path: &Path, entropy: &dyn Entropy) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let suffix = hex::encode(entropy.bytes::<8>());
    let temporary = folder.join(format!(".signing-keys.{suffix}"));
    let secret = hex::encode(entropy.bytes::<32>());
    let written = write_private(&temporary, &format!("k1:{secret}\n"))
        // A link, in contrast to a rename, does not replace what another process made meanwhile.
        .and_then(|()| fs::hard_link(&temporary, path));
    let removed = fs::remove_file(&temporary);
    match written {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        Ok(()) | Err(_) => {}
    }
    removed?;
    // The name is durable only when the folder is; a lost key would break every URL it signed.
    File::open(folder)?.sync_all()
}

pub(super) fn write_private(path: &Path, content: &str) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let mut file = options.open(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

#[cfg(unix)]
fn warn_when_others_may_read(reader: &mut Reader<'_>, path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let is_open = fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0);
    if is_open {
        let open = fault(
            "is in a file that others may read",
            "Take their permission away with chmod 600",
        );
        let source = Source::SigningKeysFile(path.to_owned());
        reader.warning(&variable::SIGNING_KEYS, source, open);
    }
}

#[cfg(not(unix))]
fn warn_when_others_may_read(_: &mut Reader<'_>, _: &Path) {}

#[cfg(test)]
mod tests {
    use stockroom_domain::SeededEntropy;

    use super::super::Environment;
    use super::*;

    const SECRET: &str = "not-a-real-secret-not-a-real-secret";

    fn read_in(folder: &Path) -> (Result<SigningSettings, Noted>, super::super::reader::Notes) {
        let environment = Environment {
            working_dir: folder.to_owned(),
            ..Environment::default()
        };
        let mut reader = Reader::new(&environment);
        let settings = read(&mut reader, folder);
        (settings, reader.into_notes())
    }

    #[test]
    fn the_list_is_newest_first() {
        let keys = parse(&format!("b:{SECRET}:x,a-1:{SECRET}")).expect("two keys");
        assert_eq!(keys.newest().kid(), "b");
        let secret = format!("{SECRET}:x");
        assert_eq!(keys.newest().expose_secret(), secret.as_bytes());
        assert!(keys.get("a-1").is_some());
    }

    #[test]
    fn lists_that_cannot_be_used_are_refused_without_being_repeated() {
        for text in [
            "canary".to_owned(),
            "k:canary".to_owned(),
            format!("K:{SECRET}canary"),
            format!(":{SECRET}canary"),
            format!("k2345678901234567:{SECRET}canary"),
            format!("k:{SECRET}canary,"),
            format!("k:{SECRET}canary,k:{SECRET}"),
            format!("a:{SECRET}canary, b:{SECRET}"),
            format!("k:{SECRET} canary"),
            format!("k:{SECRET}cänary"),
        ] {
            let fault = parse(&text).expect_err(&text);
            assert!(!format!("{fault:?}").contains("canary"), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_first_start_makes_a_file_for_its_owner_and_later_starts_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let data_dir = folder.path().join("data");
        let (settings, notes) = read_in(&data_dir);
        let settings = settings.expect("no keys yet");
        assert_eq!(settings.keys, None);
        assert!(!data_dir.exists(), "reading must not write");
        assert!(notes.report[0].value.starts_with("made on first start"));

        let made = settings
            .load_or_create(&SeededEntropy::new(1))
            .expect("keys");
        let (again, notes) = read_in(&data_dir);
        assert_eq!(again.expect("keys").keys, Some(made));
        assert_eq!(notes.report[0].value, "(set, not shown)");
        assert!(notes.warnings.is_empty());
        let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode();
        assert_eq!(mode(&settings.file) & 0o777, 0o600);
        let names: Vec<_> = fs::read_dir(&data_dir).expect("a folder").collect();
        assert_eq!(names.len(), 1, "no temporary file is left");

        fs::set_permissions(&settings.file, fs::Permissions::from_mode(0o644)).expect("to change");
        let (_, notes) = read_in(&data_dir);
        assert_eq!(notes.warnings.len(), 1);
    }

    #[test]
    fn processes_that_start_at_once_agree_on_the_keys() {
        let folder = tempfile::tempdir().expect("a folder");
        let (settings, _) = read_in(folder.path());
        let settings = settings.expect("no keys yet");
        let keys: Vec<SigningKeys> = std::thread::scope(|scope| {
            let settings = &settings;
            let threads: Vec<_> = (0..8)
                .map(|seed| scope.spawn(move || settings.load_or_create(&SeededEntropy::new(seed))))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().expect("no panic").expect("keys"))
                .collect()
        });
        assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_file_that_cannot_be_used_is_a_problem_at_its_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("signing-keys");
        fs::write(&file, "canary\n").expect("to write");
        let (settings, notes) = read_in(folder.path());
        assert_eq!(settings.err(), Some(Noted));
        assert_eq!(notes.problems[0].source, Source::SigningKeysFile(file));
        assert!(!notes.problems[0].to_string().contains("canary"));
    }
}
