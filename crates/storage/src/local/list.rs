//! Listing keys: a walk that holds one open directory for each level and one batch of entries.

use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Stat, statat};
use rustix::io::Errno;
use stockroom_domain::KeyPrefix;

use super::Inner;
use super::attributes::{modified_at, size_bytes};
use super::confine::{DIRECTORY, open_child};
use super::path::{dirs_for, key_at, text_at};
use crate::{ListEntry, Operation, Result};

/// How many entries are found in one step on a blocking thread.
const BATCH_ENTRIES: usize = 512;

/// All objects with this prefix.
pub(super) fn list(inner: Arc<Inner>, prefix: KeyPrefix) -> BoxStream<'static, Result<ListEntry>> {
    let walk = Walk {
        inner: Arc::clone(&inner),
        starts: dirs_for(&prefix),
        prefix,
        path: String::new(),
        levels: Vec::new(),
    };
    // The walk goes to a blocking thread for each batch and comes back with it, so that a slow
    // consumer holds no thread.
    futures::stream::unfold(Some((inner, walk)), |state| async move {
        let (inner, mut walk) = state?;
        let call = inner.begin(Operation::List);
        let stepped = tokio::task::spawn_blocking(move || {
            let batch = walk.next_batch();
            (walk, batch)
        })
        .await;
        let found = match stepped {
            Ok((walk, Ok(batch))) => Ok((walk, batch)),
            Ok((_, Err(errno))) => Err(errno),
            Err(_) => Err(Errno::CANCELED),
        };
        let found = found
            .map_err(|errno| inner.error(Operation::List, None, "walk through the folder", errno));
        match call.end_with(found) {
            Ok((_, batch)) if batch.is_empty() => None,
            Ok((walk, batch)) => {
                let entries = batch.into_iter().map(Ok).collect::<Vec<_>>();
                Some((entries, Some((inner, walk))))
            }
            Err(error) => Some((vec![Err(error)], None)),
        }
    })
    .flat_map(futures::stream::iter)
    .boxed()
}

/// Where the walk is.
struct Walk {
    inner: Arc<Inner>,
    prefix: KeyPrefix,
    /// Directories that are still to be walked from.
    starts: Vec<String>,
    /// The path of the innermost open directory, with a slash at its end.
    path: String,
    levels: Vec<Level>,
}

/// An open directory.
struct Level {
    dir: Dir,
    /// How long the path of the directory around it is.
    outer_path_bytes: usize,
}

impl Walk {
    /// The next entries; none at the end.
    fn next_batch(&mut self) -> Result<Vec<ListEntry>, Errno> {
        let mut batch = Vec::new();
        while batch.len() < BATCH_ENTRIES {
            let Some(level) = self.levels.last_mut() else {
                if self.enter_next_start()? {
                    continue;
                }
                break;
            };
            match level.dir.read() {
                Some(entry) => batch.extend(self.visit(&entry?)?),
                None => self.leave(),
            }
        }
        Ok(batch)
    }

    /// Opens the next directory to walk from. Returns whether there was one.
    fn enter_next_start(&mut self) -> Result<bool, Errno> {
        let Some(start) = self.starts.pop() else {
            return Ok(false);
        };
        match self.inner.folder.confined.open_dir(&start) {
            Ok(dir) => {
                self.path = start + "/";
                self.levels.push(Level {
                    dir: Dir::new(dir)?,
                    outer_path_bytes: 0,
                });
            }
            // No directory of that name holds no key.
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn leave(&mut self) {
        if let Some(level) = self.levels.pop() {
            self.path.truncate(level.outer_path_bytes);
        }
    }

    /// Goes into a directory, or makes an entry of a file. What vanished meanwhile, what is no
    /// file and what is no key is left out; links are never followed.
    fn visit(&mut self, entry: &DirEntry) -> Result<Option<ListEntry>, Errno> {
        let Ok(name) = entry.file_name().to_str() else {
            return Ok(None);
        };
        if name == "." || name == ".." {
            return Ok(None);
        }
        match self.type_of(entry)? {
            FileType::Directory => {
                self.enter(name)?;
                Ok(None)
            }
            FileType::RegularFile => self.entry(name),
            _ => Ok(None),
        }
    }

    /// Some file systems do not say in a directory what its entries are.
    fn type_of(&self, entry: &DirEntry) -> Result<FileType, Errno> {
        if entry.file_type() != FileType::Unknown {
            return Ok(entry.file_type());
        }
        let stat = self.stat(entry.file_name())?;
        Ok(stat.map_or(FileType::Unknown, |stat| {
            FileType::from_raw_mode(stat.st_mode)
        }))
    }

    fn enter(&mut self, name: &str) -> Result<(), Errno> {
        let outer_path_bytes = self.path.len();
        self.path.extend([name, "/"]);
        let text = text_at(&self.path);
        let wanted = self.prefix.as_str();
        let leads_to_keys = text.starts_with(wanted) || wanted.starts_with(&*text);
        let opened = match self.levels.last() {
            Some(level) if leads_to_keys => open_child(level.dir.fd()?, name, DIRECTORY),
            _ => Err(Errno::NOENT),
        };
        match opened {
            Ok(dir) => {
                self.levels.push(Level {
                    dir: Dir::new(dir)?,
                    outer_path_bytes,
                });
                return Ok(());
            }
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(error),
        }
        self.path.truncate(outer_path_bytes);
        Ok(())
    }

    fn entry(&self, name: &str) -> Result<Option<ListEntry>, Errno> {
        let path = format!("{}{name}", self.path);
        let Some(key) = key_at(&path).filter(|key| self.prefix.matches(key)) else {
            return Ok(None);
        };
        let stat = self.stat(name)?;
        // It may have become something else since the directory was read.
        let file =
            stat.filter(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        Ok(file.map(|stat| ListEntry {
            key,
            size_bytes: size_bytes(&stat),
            modified_at: modified_at(&stat),
        }))
    }

    /// The status of an entry of the innermost directory; none when it is gone.
    fn stat(&self, name: impl rustix::path::Arg) -> Result<Option<Stat>, Errno> {
        let Some(level) = self.levels.last() else {
            return Ok(None);
        };
        match statat(level.dir.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
