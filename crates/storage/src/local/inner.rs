//! What a store does, on the thread that calls it: the store's own calls run it on blocking threads.

use std::fmt;
use std::ops::Range;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use rustix::fs::{AtFlags, FileType, Stat, fstat, unlinkat};
use rustix::io::Errno;
use stockroom_domain::{Clock, Entropy, Key, StoreName};

use super::attributes::{Attributes, size_bytes};
use super::failure;
use super::folder::Folder;
use super::path::FilePath;
use super::publish::{PublishError, publish};
use super::reader::{AT_HAND_BYTES, Reading, read_piece_at_hand};
use super::staging::StagedFile;
use crate::call::{OpenCall, outcome_of};
use crate::sign::is_media_type;
use crate::{
    ByteRange, Error, ErrorKind, GetResult, ObjectInfo, Observer, Operation, Result, UrlSigner,
    WriteOptions, Written,
};

/// A store, shared by its clones, writers, readers and lists.
pub(super) struct Inner {
    pub(super) name: StoreName,
    pub(super) folder: Folder,
    pub(super) keeps_metadata: bool,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<dyn Entropy>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) signer: Option<UrlSigner>,
}

impl Inner {
    /// Whether an object can be written like this.
    pub(super) fn check(&self, key: &Key, options: &WriteOptions) -> Result<()> {
        if options.content_type.as_deref().is_none_or(is_media_type) {
            return Ok(());
        }
        let detail = "a media type is 1 to 255 visible ASCII characters and spaces";
        Err(Error::new(&self.name, Operation::Put, ErrorKind::Invalid, detail).about(key))
    }

    /// Appends bytes to a staged file, which is made when there is none yet.
    pub(super) fn append(
        &self,
        key: &Key,
        staged: Option<StagedFile>,
        bytes: &[u8],
    ) -> Result<StagedFile> {
        let failed = |doing| move |errno| self.error(Operation::Put, Some(key), doing, errno);
        let mut staged = match staged {
            Some(staged) => staged,
            None => StagedFile::create(&self.folder, &*self.entropy, key)
                .map_err(failed("make a file"))?,
        };
        staged.write(bytes).map_err(failed("write the bytes"))?;
        Ok(staged)
    }

    pub(super) fn publish(
        &self,
        key: &Key,
        staged: StagedFile,
        size_bytes: u64,
        attributes: &Attributes,
    ) -> Result<Written> {
        let failed = |kind, detail: String| {
            Err(Error::new(&self.name, Operation::Put, kind, detail).about(key))
        };
        let written_bytes = staged.written_bytes();
        if written_bytes != size_bytes {
            let detail = format!("{written_bytes} bytes were written, {size_bytes} were promised");
            return failed(ErrorKind::Corrupt, detail);
        }
        match publish(&self.folder, staged, &FilePath::of(key), attributes) {
            Ok(etag) => Ok(Written { etag: Some(etag) }),
            Err(PublishError::Conflict) => failed(
                ErrorKind::KeyConflict,
                "on disk, one name is not both a file and a directory".to_owned(),
            ),
            Err(PublishError::Step(doing, errno)) => {
                Err(self.error(Operation::Put, Some(key), doing, errno))
            }
        }
    }

    pub(super) fn read(
        self: Arc<Self>,
        key: Key,
        range: Option<ByteRange>,
        mut call: OpenCall,
    ) -> Result<GetResult> {
        let opened = self.open_range(&key, range);
        match opened {
            Ok((file, info, range)) => {
                let stream = Reading::begin(self, key, file, range.clone(), call).into_stream();
                Ok(GetResult {
                    info,
                    range,
                    stream,
                })
            }
            Err(error) => {
                call.end(outcome_of(&error));
                Err(error)
            }
        }
    }

    /// Reads few bytes that the kernel has at hand, without waiting for anything, so that the thread of
    /// the caller may do it; none when that is not possible, for whatever reason.
    pub(super) fn read_at_hand(
        self: &Arc<Self>,
        key: &Key,
        range: Option<ByteRange>,
    ) -> Option<(ObjectInfo, Range<u64>, Bytes)> {
        let file = self
            .folder
            .confined
            .open_file_at_hand(FilePath::of(key).as_str())?;
        let stat = fstat(&file).ok()?;
        let range = match range {
            None => 0..size_bytes(&stat),
            Some(range) => range.resolve(size_bytes(&stat)).ok()?,
        };
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_file || range.end - range.start > AT_HAND_BYTES {
            return None;
        }
        let bytes = read_piece_at_hand(&file, &range)?;
        let info = Attributes::read_from(file.as_fd()).into_info(&stat);
        Some((info, range, bytes))
    }

    fn open_range(
        &self,
        key: &Key,
        range: Option<ByteRange>,
    ) -> Result<(OwnedFd, ObjectInfo, Range<u64>)> {
        let (file, stat) = self.open_object(Operation::Get, key)?;
        let info = Attributes::read_from(file.as_fd()).into_info(&stat);
        let size_bytes = info.size_bytes;
        let range = match range {
            None => 0..size_bytes,
            Some(range) => range.resolve(size_bytes).map_err(|error| {
                let kind = ErrorKind::RangeNotSatisfiable { size_bytes };
                Error::new(&self.name, Operation::Get, kind, error.to_string()).about(key)
            })?,
        };
        Ok((file, info, range))
    }

    /// Opens the file of an object. A directory at its path is none, and so the key has no object.
    pub(super) fn open_object(&self, operation: Operation, key: &Key) -> Result<(OwnedFd, Stat)> {
        let failed = |kind, detail| Error::new(&self.name, operation, kind, detail).about(key);
        let not_found = || failed(ErrorKind::NotFound, "there is no such object");
        let path = FilePath::of(key);
        let file = match self.folder.confined.open_file(path.as_str()) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::NOTDIR) => return Err(not_found()),
            Err(errno) => return Err(self.error(operation, Some(key), "open the file", errno)),
        };
        let stat = fstat(&file)
            .map_err(|errno| self.error(operation, Some(key), "look at the file", errno))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok((file, stat)),
            FileType::Directory => Err(not_found()),
            _ => Err(failed(
                ErrorKind::Denied,
                "something that is no file lies there",
            )),
        }
    }

    pub(super) fn delete(&self, key: &Key) -> Result<()> {
        let failed = |doing| move |errno| self.error(Operation::Delete, Some(key), doing, errno);
        let path = FilePath::of(key);
        let dir = match self.folder.confined.open_dir(path.dir()) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(errno) => return Err(failed("open the directory")(errno)),
        };
        let since = self.folder.since();
        match unlinkat(&dir, path.name(), AtFlags::empty()) {
            // A directory is no object. (Not all systems say so in the same way.)
            Err(Errno::ISDIR) => return Ok(()),
            Err(Errno::PERM) if self.folder.confined.open_dir(path.as_str()).is_ok() => {
                return Ok(());
            }
            // An earlier deletion may have failed to sync, so this one does not trust it.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed("remove the file")(errno)),
        }
        let synced = self.folder.sync_dir(dir.as_fd(), since);
        synced.map_err(failed("sync the directory"))?;
        self.folder.prune(path.dir());
        Ok(())
    }

    pub(super) fn begin(&self, operation: Operation) -> OpenCall {
        OpenCall::begin(&self.observer, &self.name, operation)
    }

    pub(super) fn error(
        &self,
        operation: Operation,
        key: Option<&Key>,
        doing: &'static str,
        errno: Errno,
    ) -> Error {
        error(&self.name, operation, key, doing, errno)
    }

    /// Runs work on a blocking thread and waits for it.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        operation: Operation,
        key: Option<&Key>,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(stopped) => match stopped.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime shuts down.
                Err(_) => Err(self.error(operation, key, "do the work", Errno::CANCELED)),
            },
        }
    }
}

pub(super) fn error(
    store: &StoreName,
    operation: Operation,
    key: Option<&Key>,
    doing: &'static str,
    errno: Errno,
) -> Error {
    let detail = match errno {
        Errno::LOOP => format!("cannot {doing}: a symbolic link lies on the way"),
        _ => format!("cannot {doing}: {errno}"),
    };
    let error = Error::new(store, operation, failure::kind_of(errno), detail).caused_by(errno);
    match key {
        Some(key) => error.about(key),
        None => error,
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalStore({})", self.name)
    }
}
