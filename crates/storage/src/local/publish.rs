//! From a staged file to an object: durable first, visible then.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, fstat, linkat, renameat, unlinkat};
use rustix::io::Errno;

use super::attributes::{Attributes, etag};
use super::folder::Folder;
use super::path::FilePath;
use super::staging::{Place, StagedFile};
use super::sync::sync_file;

/// How often a directory may be removed by deletions between its making and the rename.
const TRIES: usize = 64;

/// Why an object could not be published. Nothing of it is left then.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PublishError {
    /// A directory lies where the file should, or a file where one of its directories should.
    Conflict,
    /// A step failed.
    Step(&'static str, Errno),
}

/// Makes the staged file the object at `path` and gives its validator back.
///
/// Bytes and attributes are synced before the rename, so no reader and no power cut can find a
/// part of them; the directory is synced after it, so the name lasts. A sync that failed is never
/// repeated, because the kernel may have dropped what it could not write: the object goes again,
/// and one that it replaced comes back.
pub(super) fn publish(
    folder: &Folder,
    mut staged: StagedFile,
    path: &FilePath,
    attributes: &Attributes,
) -> Result<String, PublishError> {
    let file = staged.file().as_fd();
    attributes
        .write_to(file)
        .map_err(step("keep the attributes"))?;
    sync_file(file).map_err(step("sync the file"))?;
    let etag = etag(&fstat(file).map_err(step("look at the file"))?);
    let published = rename_and_sync(folder, &mut staged, path);
    if published.is_err() {
        // Directories may have been made for the object.
        folder.prune(path.dir());
    }
    published.map(|()| etag)
}

fn rename_and_sync(
    folder: &Folder,
    staged: &mut StagedFile,
    path: &FilePath,
) -> Result<(), PublishError> {
    for _ in 0..TRIES {
        let dir = match folder.open_or_make_dir(path.dir()) {
            Ok(dir) => dir,
            Err(Errno::NOENT) => continue,
            Err(Errno::NOTDIR) => return Err(PublishError::Conflict),
            Err(error) => return Err(PublishError::Step("make the directories", error)),
        };
        let Some(place) = staged.place() else {
            return Err(PublishError::Step("find the staged file", Errno::NOENT));
        };
        let replaced = keep_replaced(place, &dir, path);
        let since = folder.since();
        match renameat(&place.staging, place.name.as_str(), &dir, path.name()) {
            Ok(()) => staged.is_published(),
            // The directory was removed because it was empty.
            Err(Errno::NOENT) => continue,
            Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
                // A crash may have left an empty directory, which holds no object.
                if folder.remove_empty_dir(path.as_str()).is_ok() {
                    continue;
                }
                return Err(PublishError::Conflict);
            }
            Err(error) => return Err(PublishError::Step("rename the file", error)),
        }
        return folder.sync_dir(dir.as_fd(), since).map_err(|error| {
            take_back(&dir, path, replaced);
            PublishError::Step("sync the directory", error)
        });
    }
    Err(PublishError::Step("find the directory", Errno::AGAIN))
}

/// Gives the object that is about to be replaced a second name until the new one is durable. Where
/// that cannot be done, as on file systems without links, a failed sync leaves neither.
fn keep_replaced(place: &Place, dir: &OwnedFd, path: &FilePath) -> Option<Place> {
    let name = format!("{}.replaced", place.name);
    linkat(
        dir,
        path.name(),
        &place.staging,
        name.as_str(),
        AtFlags::empty(),
    )
    .ok()?;
    match place.staging.try_clone() {
        Ok(staging) => Some(Place::new(staging, name)),
        Err(_) => {
            unlinkat(&place.staging, name.as_str(), AtFlags::empty()).ok();
            None
        }
    }
}

fn take_back(dir: &OwnedFd, path: &FilePath, replaced: Option<Place>) {
    let undone = match &replaced {
        Some(place) => renameat(&place.staging, place.name.as_str(), dir, path.name()),
        None => unlinkat(dir, path.name(), AtFlags::empty()),
    };
    if let Err(error) = undone {
        let path = path.as_str();
        tracing::error!(%error, path, "an object that is not durable cannot be taken back");
    }
    // It has its old name again, or it is the last copy of what was replaced.
    if let Some(place) = replaced {
        place.keep();
    }
}

fn step(doing: &'static str) -> impl FnOnce(Errno) -> PublishError {
    move |error| PublishError::Step(doing, error)
}
