//! A folder of another program, from which files are taken. Nothing is written to it, no symbolic
//! link in it is followed, and whoever writes to it meanwhile is noticed.

use std::ffi::CStr;
use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, fstat, openat, statat, unlinkat};
use rustix::io::{Errno, pread};

use super::confine::{Confined, DIRECTORY};
use super::stamp::FileStamp;
use super::sync::sync_dir;

/// How many entries are found in one step on a blocking thread.
const BATCH_ENTRIES: usize = 256;
/// How many folders may lie within one another; each holds a descriptor while it is walked through.
const MAX_DEPTH: usize = 128;
/// How much is read at once, in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// A folder of another program. Cloning it is cheap.
#[derive(Clone)]
pub struct SourceFolder(Arc<Confined>);

/// Something that lies in the folder. Folders are gone into and are no entries themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceEntry {
    /// Its path below the folder, with slashes, in whatever bytes its names have.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: SourceKind,
}

/// What lies in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// A file, as it was when it was found.
    File(FileStamp),
    /// A symbolic link.
    Link,
    /// A device, a pipe or a socket.
    Special,
    /// A folder that lies too deep to go into.
    TooDeep,
    /// Something that cannot be looked at, for this reason.
    Unreadable(String),
}

/// A file of the folder, open for reading.
#[derive(Debug)]
pub struct SourceFile {
    folder: SourceFolder,
    path: String,
    file: Arc<OwnedFd>,
    stamp: FileStamp,
}

impl SourceFolder {
    /// Opens a folder. The path to it may lead through links.
    ///
    /// # Errors
    /// When there is none, or it may not be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(Confined::new(path)?)))
    }

    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.0.root()
    }

    /// Everything in the folder that is no folder, in no particular order. The memory for it does
    /// not grow with their number.
    pub fn entries(&self) -> BoxStream<'static, io::Result<SourceEntry>> {
        let walk = Walk {
            root: Some(self.clone()),
            levels: Vec::new(),
            path: Vec::new(),
        };
        futures::stream::unfold(Some(walk), |walk| async move {
            let mut walk = walk?;
            let stepped = tokio::task::spawn_blocking(move || {
                let batch = walk.next_batch();
                (walk, batch)
            })
            .await;
            match stepped {
                Ok((_, Ok(batch))) if batch.is_empty() => None,
                Ok((walk, Ok(batch))) => {
                    let entries: Vec<_> = batch.into_iter().map(Ok).collect();
                    Some((entries, Some(walk)))
                }
                Ok((_, Err(errno))) => Some((vec![Err(errno.into())], None)),
                Err(stopped) => Some((vec![Err(io::Error::other(stopped))], None)),
            }
        })
        .flat_map(futures::stream::iter)
        .boxed()
    }

    /// Opens a file of the folder. This blocks for a moment.
    ///
    /// # Errors
    /// When there is none at this path, or a link lies on the way to it.
    pub fn open_file(&self, path: &str) -> io::Result<SourceFile> {
        let file = self.0.open_file(path)?;
        let stat = fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
        }
        Ok(SourceFile {
            folder: self.clone(),
            path: path.to_owned(),
            file: Arc::new(file),
            stamp: FileStamp::of(&stat),
        })
    }

    /// What a file of the folder is now. This blocks for a moment.
    ///
    /// # Errors
    /// When there is none at this path, or a link lies on the way to it.
    pub fn stamp(&self, path: &str) -> io::Result<FileStamp> {
        Ok(self.open_file(path)?.stamp)
    }

    /// Opens the folder that a path leads to, and gives back the last name of it.
    pub(super) fn parent_of<'a>(&self, path: &'a str) -> Result<(OwnedFd, &'a str), Errno> {
        match path.rsplit_once('/') {
            Some((dir, name)) => Ok((self.0.open_dir(dir)?, name)),
            None => Ok((openat(self.root(), ".", DIRECTORY, Mode::empty())?, path)),
        }
    }

    /// Removes a file that still is as it was. Whether it was removed. This blocks for a moment.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, path: &str, stamp: &FileStamp) -> io::Result<bool> {
        match self.stamp(path) {
            Ok(now) if now == *stamp => {}
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
            Err(error) => return Err(error),
        }
        let (dir, name) = self.parent_of(path)?;
        unlinkat(&dir, name, AtFlags::empty())?;
        sync_dir(dir.as_fd())?;
        Ok(true)
    }
}

impl fmt::Debug for SourceFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceFolder")
    }
}

impl SourceFile {
    /// What the file was when it was opened.
    #[must_use]
    pub const fn stamp(&self) -> FileStamp {
        self.stamp
    }

    /// All bytes of the file. The last item is an error when the file was written to, or another
    /// one came to lie at its path, since it was opened.
    pub fn into_stream(self) -> BoxStream<'static, io::Result<Bytes>> {
        futures::stream::try_unfold((Some(self), 0_u64), |(file, offset)| async move {
            let Some(file) = file else { return Ok(None) };
            let read = move || {
                let piece = file.read_at(offset)?;
                if piece.is_empty() {
                    file.check()?;
                }
                Ok::<_, io::Error>((file, piece))
            };
            let (file, piece) = tokio::task::spawn_blocking(read)
                .await
                .map_err(io::Error::other)??;
            if piece.is_empty() {
                return Ok(None);
            }
            let next = offset + piece.len() as u64;
            Ok(Some((piece, (Some(file), next))))
        })
        .boxed()
    }

    fn read_at(&self, offset: u64) -> io::Result<Bytes> {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        loop {
            match pread(&*self.file, spare_capacity(&mut piece), offset) {
                Ok(_) => return Ok(piece.into()),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Whether nobody has written to the file, and its path still leads to it.
    fn check(&self) -> io::Result<()> {
        let now = FileStamp::of(&fstat(&*self.file)?);
        let is_same = now == self.stamp
            && self
                .folder
                .stamp(&self.path)
                .is_ok_and(|there| there == self.stamp);
        if is_same { Ok(()) } else { Err(changed()) }
    }
}

/// The error of a file that was written to while it was read.
pub(super) fn changed() -> io::Error {
    io::Error::new(
        io::ErrorKind::ResourceBusy,
        "it was written to while it was read",
    )
}

/// Where the walk is.
struct Walk {
    /// Where it begins; none when it has begun.
    root: Option<SourceFolder>,
    levels: Vec<Level>,
    /// The path of the innermost open folder, with a slash at its end; empty for the root.
    path: Vec<u8>,
}

/// An open folder.
struct Level {
    dir: Dir,
    /// How long the path of the folder around it is.
    outer_path_bytes: usize,
}

impl Walk {
    /// The next entries; none at the end.
    fn next_batch(&mut self) -> Result<Vec<SourceEntry>, Errno> {
        if let Some(root) = self.root.take() {
            // An open file description of its own: where a folder was read to is part of it.
            let dir = openat(root.root(), ".", DIRECTORY, Mode::empty())?;
            self.levels.push(Level {
                dir: Dir::new(dir)?,
                outer_path_bytes: 0,
            });
        }
        let mut batch = Vec::new();
        while batch.len() < BATCH_ENTRIES {
            let Some(level) = self.levels.last_mut() else {
                break;
            };
            match level.dir.read() {
                Some(entry) => batch.extend(self.visit(&entry?)?),
                None => {
                    if let Some(level) = self.levels.pop() {
                        self.path.truncate(level.outer_path_bytes);
                    }
                }
            }
        }
        Ok(batch)
    }

    /// Goes into a folder, or makes an entry of what else it is. What vanished meanwhile is left
    /// out.
    fn visit(&mut self, entry: &DirEntry) -> Result<Option<SourceEntry>, Errno> {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            return Ok(None);
        }
        let Some(level) = self.levels.last() else {
            return Ok(None);
        };
        let stat = match statat(level.dir.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Ok(Some(self.entry(name, unreadable(errno)))),
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return Ok(self.enter(name)),
            FileType::RegularFile => SourceKind::File(FileStamp::of(&stat)),
            FileType::Symlink => SourceKind::Link,
            _ => SourceKind::Special,
        };
        Ok(Some(self.entry(name, kind)))
    }

    fn enter(&mut self, name: &CStr) -> Option<SourceEntry> {
        if self.levels.len() >= MAX_DEPTH {
            return Some(self.entry(name, SourceKind::TooDeep));
        }
        let level = self.levels.last()?;
        let opened = level
            .dir
            .fd()
            .and_then(|parent| openat(parent, name, DIRECTORY, Mode::empty()))
            .and_then(Dir::new);
        match opened {
            Ok(dir) => {
                let outer_path_bytes = self.path.len();
                self.path.extend_from_slice(name.to_bytes());
                self.path.push(b'/');
                self.levels.push(Level {
                    dir,
                    outer_path_bytes,
                });
                None
            }
            // It was removed, or is something else by now.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => None,
            Err(errno) => Some(self.entry(name, unreadable(errno))),
        }
    }

    fn entry(&self, name: &CStr, kind: SourceKind) -> SourceEntry {
        SourceEntry {
            path: [&self.path, name.to_bytes()].concat(),
            kind,
        }
    }
}

fn unreadable(errno: Errno) -> SourceKind {
    SourceKind::Unreadable(errno.to_string())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::ffi::OsStrExt as _;

    use futures::TryStreamExt as _;

    use super::*;

    async fn names(folder: &Path) -> BTreeMap<Vec<u8>, &'static str> {
        let entries = SourceFolder::open(folder).unwrap().entries();
        let entries: Vec<SourceEntry> = entries.try_collect().await.unwrap();
        let kind = |entry: &SourceEntry| match &entry.kind {
            SourceKind::File(_) => "file",
            SourceKind::Link => "link",
            SourceKind::Special => "special",
            SourceKind::TooDeep => "too deep",
            SourceKind::Unreadable(_) => "unreadable",
        };
        entries
            .iter()
            .map(|entry| (entry.path.clone(), kind(entry)))
            .collect()
    }

    #[tokio::test]
    async fn everything_is_found_and_no_link_followed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("models/a")).unwrap();
        fs::write(root.join("models/a/b.stl"), "b").unwrap();
        fs::write(root.join("loose"), "l").unwrap();
        let odd = root.join(std::ffi::OsStr::from_bytes(b"models/\xff"));
        fs::write(odd, "o").unwrap();
        std::os::unix::fs::symlink("/etc", root.join("models/etc")).unwrap();
        std::os::unix::fs::symlink("a/b.stl", root.join("models/link.stl")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(root.join("models/s")).unwrap();
        let found = names(root).await;
        let expected: [(&[u8], &str); 6] = [
            (b"loose", "file"),
            (b"models/a/b.stl", "file"),
            (b"models/etc", "link"),
            (b"models/link.stl", "link"),
            (b"models/s", "special"),
            (b"models/\xff", "file"),
        ];
        let expected = expected.map(|(path, kind)| (path.to_vec(), kind));
        assert_eq!(found, BTreeMap::from(expected));
        let source = SourceFolder::open(root).unwrap();
        assert!(source.open_file("models/link.stl").is_err());
        assert!(source.open_file("models/etc/hostname").is_err());
        assert!(source.open_file("models/a").is_err());
    }

    #[tokio::test]
    async fn folders_that_lie_too_deep_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let deep = "d/".repeat(MAX_DEPTH + 3);
        fs::create_dir_all(folder.path().join(deep)).unwrap();
        let found = names(folder.path()).await;
        assert_eq!(found.into_values().collect::<Vec<_>>(), ["too deep"]);
    }

    #[tokio::test]
    async fn a_file_that_is_written_to_meanwhile_ends_with_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, vec![7; PIECE_BYTES + 1]).unwrap();
        let source = SourceFolder::open(folder.path()).unwrap();
        let whole: Vec<Bytes> = source
            .open_file("a")
            .unwrap()
            .into_stream()
            .try_collect()
            .await
            .unwrap();
        assert_eq!(whole.concat(), vec![7; PIECE_BYTES + 1]);

        let mut stream = source.open_file("a").unwrap().into_stream();
        stream.try_next().await.unwrap();
        let mut file = fs::File::options().append(true).open(&path).unwrap();
        file.write_all(b"more").unwrap();
        let rest: Result<Vec<Bytes>, _> = stream.try_collect().await;
        assert_eq!(rest.unwrap_err().kind(), io::ErrorKind::ResourceBusy);

        // Another file at the same path counts as well.
        let mut stream = source.open_file("a").unwrap().into_stream();
        stream.try_next().await.unwrap();
        fs::write(folder.path().join("b"), "other").unwrap();
        fs::rename(folder.path().join("b"), &path).unwrap();
        let rest: Result<Vec<Bytes>, _> = stream.try_collect().await;
        assert!(rest.is_err());
    }

    #[tokio::test]
    async fn only_a_file_that_is_as_it_was_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("d")).unwrap();
        let path = folder.path().join("d/a");
        fs::write(&path, "one").unwrap();
        let source = SourceFolder::open(folder.path()).unwrap();
        let before = source.open_file("d/a").unwrap().stamp();
        fs::write(&path, "three").unwrap();
        assert!(!source.remove("d/a", &before).unwrap());
        assert!(path.exists());
        let now = source.open_file("d/a").unwrap().stamp();
        assert!(source.remove("d/a", &now).unwrap());
        assert!(!path.exists());
        // One that is gone need not be removed.
        assert!(source.remove("d/a", &now).unwrap());
    }
}
