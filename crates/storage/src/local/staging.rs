//! Files that are being written, apart from the objects, and what crashes leave of them.
//!
//! Each file is locked (flock) as long as its writer lives; the kernel lets go of the lock however
//! the process ends. So whoever gets the lock knows that the file is abandoned.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, FlockOperation, Mode, OFlags, Stat, flock, fstat, openat, unlinkat,
};
use rustix::io::Errno;
use stockroom_domain::{Entropy, Key, Timestamp};

use super::attributes::{modified_at, size_bytes};
use super::failure::errno_of;
use super::folder::{Folder, STAGING};

/// A file of an upload that is not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staged {
    /// Its name in the staging folder.
    pub name: String,
    /// How many bytes it has.
    pub size_bytes: u64,
    /// When it was last written.
    pub modified_at: Timestamp,
    /// Whether its writer lives, in this process or another, or that cannot be told.
    pub is_in_use: bool,
}

/// A new file in the staging folder. Dropping it removes it, unless it was published.
#[derive(Debug)]
pub(super) struct StagedFile {
    file: File,
    /// Where it lies. `None` when its name there is gone.
    place: Option<Place>,
    written_bytes: u64,
}

/// A name in the staging folder that is removed on drop.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) staging: OwnedFd,
    pub(super) name: String,
    is_kept: bool,
}

impl Place {
    pub(super) const fn new(staging: OwnedFd, name: String) -> Self {
        Self {
            staging,
            name,
            is_kept: false,
        }
    }

    /// Leaves the name alone: the file was moved away, or somebody should look at it.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_kept {
            return;
        }
        if let Err(error) = unlinkat(&self.staging, self.name.as_str(), AtFlags::empty())
            && error != Errno::NOENT
        {
            tracing::warn!(%error, name = self.name, "a staged file is left to the sweep");
        }
    }
}

impl StagedFile {
    /// How often a new name is tried: a sweep may take a file between its making and its lock.
    const TRIES: usize = 8;

    pub(super) fn create(folder: &Folder, entropy: &dyn Entropy, key: &Key) -> Result<Self, Errno> {
        for _ in 0..Self::TRIES {
            let staging = folder.open_or_make_dir(STAGING)?;
            let name = format!("{}-{}", hex::encode(entropy.bytes::<16>()), readable(key));
            let flags =
                OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = openat(&staging, name.as_str(), flags, Mode::from_raw_mode(0o640))?;
            let place = Place::new(staging, name);
            // Where there are no locks, a sweep cannot take the file either.
            flock(&file, FlockOperation::LockExclusive).ok();
            if fstat(&file)?.st_nlink > 0 {
                return Ok(Self {
                    file: file.into(),
                    place: Some(place),
                    written_bytes: 0,
                });
            }
        }
        Err(Errno::AGAIN)
    }

    /// Appends bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        self.file
            .write_all(bytes)
            .map_err(|error| errno_of(&error))?;
        self.written_bytes += bytes.len() as u64;
        Ok(())
    }

    pub(super) const fn written_bytes(&self) -> u64 {
        self.written_bytes
    }

    pub(super) const fn file(&self) -> &File {
        &self.file
    }

    pub(super) const fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// The file has its name among the objects now: nothing is left to remove.
    pub(super) fn is_published(&mut self) {
        if let Some(place) = self.place.take() {
            place.keep();
        }
    }
}

/// The last segment of the key as far as a file name can show it, for people who look.
fn readable(key: &Key) -> String {
    key.file_name()
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '.' | '-' | '_' => c,
            _ => '_',
        })
        .take(64)
        .collect()
}

/// All files in the staging folder.
pub(super) fn staged(folder: &Folder) -> Result<Vec<Staged>, Errno> {
    let staging = folder.confined.open_dir(STAGING)?;
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::read_from(&staging)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else {
            continue;
        };
        if name == "." || name == ".." {
            continue;
        }
        match open_staged(&staging, name) {
            Ok((file, stat)) => found.push(Staged {
                name: name.to_owned(),
                size_bytes: size_bytes(&stat),
                modified_at: modified_at(&stat),
                is_in_use: !is_abandoned(&file),
            }),
            // Published or removed meanwhile, or none of ours.
            Err(Errno::NOENT | Errno::LOOP | Errno::INVAL) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Removes a staged file unless it is in use. Returns whether it is gone.
pub(super) fn remove_staged(folder: &Folder, name: &str) -> Result<bool, Errno> {
    if name.is_empty() || name.contains('/') {
        return Err(Errno::INVAL);
    }
    let staging = folder.confined.open_dir(STAGING)?;
    let file = match open_staged(&staging, name) {
        Ok((file, _)) => file,
        Err(Errno::NOENT) => return Ok(true),
        Err(error) => return Err(error),
    };
    if !is_abandoned(&file) {
        return Ok(false);
    }
    // The lock is held until the name is gone, so a writer that made the file just now sees that.
    match unlinkat(&staging, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Opens a file in the staging folder; `INVAL` when it is something else.
fn open_staged(staging: &OwnedFd, name: &str) -> Result<(OwnedFd, Stat), Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(staging, name, flags, Mode::empty())?;
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
        Ok((file, stat))
    } else {
        Err(Errno::INVAL)
    }
}

/// Takes the file's lock. Any failure, also that there are no locks here, means "in use".
fn is_abandoned(file: impl AsFd) -> bool {
    flock(file, FlockOperation::NonBlockingLockExclusive).is_ok()
}
