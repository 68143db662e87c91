//! The folder on disk: making and removing directories so that what is in them lasts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode, mkdirat, unlinkat};
use rustix::io::Errno;
use stockroom_domain::Category;

use super::confine::{Confined, DIRECTORY, open_child};
use super::group_sync::{GroupSync, Since};
use super::sync::{DurableDirs, sync_dir};

/// Where uploads lie until they are whole. No key begins with it.
pub(super) const STAGING: &str = ".staging";

/// The root with what is known of its directories.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) confined: Confined,
    durable: DurableDirs,
    syncs: GroupSync,
}

impl Folder {
    /// Opens the folder, and makes it with its categories when it is not there.
    pub(super) fn open(root: &Path) -> Result<Self, Errno> {
        make_root(root)?;
        let folder = Self {
            confined: Confined::new(root)?,
            durable: DurableDirs::default(),
            syncs: GroupSync::default(),
        };
        for category in Category::ALL {
            folder.open_or_make_dir(category.as_str())?;
        }
        folder.open_or_make_dir(STAGING)?;
        Ok(folder)
    }

    /// Opens a directory beneath the root, and makes what is missing of it. The directory's name
    /// and those above it are on the disk when this returns.
    ///
    /// `NOENT` means that another call removed one of them meanwhile: try again.
    pub(super) fn open_or_make_dir(&self, path: &str) -> Result<OwnedFd, Errno> {
        if self.durable.contains(path) {
            match self.confined.open_dir(path) {
                // Looked at again: it may have been removed meanwhile, and made anew by somebody whose sync is at work.
                Ok(dir) if self.durable.contains(path) => return Ok(dir),
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
        let mut dir: Option<OwnedFd> = None;
        let ends = path.match_indices('/').map(|(end, _)| end);
        for end in ends.chain([path.len()]) {
            let parent = dir.as_ref().map_or(self.confined.root(), AsFd::as_fd);
            dir = Some(self.step_into(parent, &path[..end])?);
        }
        dir.ok_or(Errno::NOENT)
    }

    /// Opens the last directory of `path` from its parent, makes it if it is missing, and syncs
    /// the parent unless the directory is known to be durable.
    fn step_into(&self, parent: BorrowedFd<'_>, path: &str) -> Result<OwnedFd, Errno> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let (began_at, since) = (self.durable.moment(), self.since());
        let (dir, is_new) = match open_child(parent, name, DIRECTORY) {
            Err(Errno::NOENT) => {
                let is_new = match mkdirat(parent, name, Mode::from_raw_mode(0o750)) {
                    Ok(()) => true,
                    // Another call was quicker.
                    Err(Errno::EXIST) => false,
                    Err(error) => return Err(error),
                };
                (open_child(parent, name, DIRECTORY)?, is_new)
            }
            opened => (opened?, false),
        };
        if is_new || !self.durable.contains(path) {
            if let Err(error) = self.sync_dir(parent, since) {
                if is_new {
                    self.remove_dir(path, parent, name).ok();
                }
                return Err(error);
            }
            self.durable.learn(path, began_at);
        }
        Ok(dir)
    }

    /// The moment before a name changes.
    pub(super) fn since(&self) -> Since {
        self.syncs.since()
    }

    /// Waits until the names of a directory that have changed since then are on the disk.
    pub(super) fn sync_dir(&self, dir: BorrowedFd<'_>, since: Since) -> Result<(), Errno> {
        self.syncs.sync_dir(dir, since)
    }

    /// Removes the directory at `path` and those above it, as far as they are empty and below
    /// their category. What cannot be removed stays: it is in use again, or harmless.
    pub(super) fn prune(&self, path: &str) {
        let mut path = path;
        while let Some((parent, _)) = path.rsplit_once('/') {
            match self.remove_empty_dir(path) {
                // One that is gone does not keep those above it.
                Ok(()) | Err(Errno::NOENT) => path = parent,
                Err(_) => return,
            }
        }
    }

    /// Removes the directory at `path` if it is empty.
    pub(super) fn remove_empty_dir(&self, path: &str) -> Result<(), Errno> {
        let (parent, name) = path.rsplit_once('/').ok_or(Errno::NOTEMPTY)?;
        let parent = self.confined.open_dir(parent)?;
        self.remove_dir(path, parent.as_fd(), name)
    }

    fn remove_dir(&self, path: &str, parent: BorrowedFd<'_>, name: &str) -> Result<(), Errno> {
        self.durable
            .remove(path, || unlinkat(parent, name, AtFlags::REMOVEDIR))
    }
}

/// Makes the root and the directories above it, each one durable.
fn make_root(root: &Path) -> Result<(), Errno> {
    if root.is_dir() {
        return Ok(());
    }
    let above = match root.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => return Err(Errno::NOENT),
    };
    make_root(above)?;
    match rustix::fs::mkdir(root, Mode::from_raw_mode(0o750)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    sync_dir(
        rustix::fs::open(
            above,
            DIRECTORY.difference(rustix::fs::OFlags::NOFOLLOW),
            Mode::empty(),
        )?
        .as_fd(),
    )
}
