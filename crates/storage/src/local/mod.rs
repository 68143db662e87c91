//! Objects in a folder on this machine.
//!
//! ```text
//! root/models/ thumbnails/ images/ temp/   objects, each at the path its key spells
//! root/.staging/                           uploads that are not finished
//! ```
//!
//! One layer, one file: `path` says where a key lies, `confine` opens nothing outside the root,
//! `sync`, `group_sync` and `folder` make directories last, `staging` and `publish` make objects appear whole,
//! `attributes` keeps what is no byte of them, `inner` puts these together, `writer`, `reader` and
//! `list` move data, and this file is the store as its callers see it. `source` is a folder of
//! another program, `stamp` tells whether a file of it is still the same, and `adopt` makes an object
//! of one that lies in this folder already.

mod adopt;
mod attributes;
mod confine;
mod failure;
mod folder;
mod group_sync;
mod inner;
mod list;
mod options;
mod path;
mod publish;
mod reader;
mod source;
mod staging;
mod stamp;
mod sync;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use rustix::fs::fstatvfs;
use rustix::io::Errno;
use stockroom_domain::{Category, Entropy, Key, KeyPrefix, StoreName};

use self::attributes::Attributes;
use self::folder::Folder;
use self::inner::{Inner, error};
pub use self::options::LocalOptions;
use self::reader::Reading;
pub use self::source::{SourceEntry, SourceFile, SourceFolder, SourceKind};
pub use self::staging::Staged;
use self::staging::StagedFile;
pub use self::stamp::FileStamp;
use self::writer::LocalWriter;
use crate::call::outcome_of;
use crate::{
    ByteRange, Error, ErrorKind, Facts, GetResult, ListEntry, ObjectInfo, ObjectWriter, Operation,
    Purpose, Result, SignRequest, SignedUrl, Store, WriteOptions, Written,
};

/// A store in a folder. Cloning it is cheap and gives the same store.
///
/// What is acknowledged survives a loss of power: bytes and attributes are synced before an
/// object gets its name, and the directory after it. No symbolic link beneath the root is ever
/// followed; a category that is one is refused.
#[derive(Clone)]
pub struct LocalStore {
    inner: Arc<Inner>,
}

impl LocalStore {
    /// Opens the folder at `root`, and makes it when it is not there. This takes a few blocking
    /// calls: it is meant for the start of a program.
    ///
    /// # Errors
    /// When the folder or one of its categories cannot be made, opened or written, or is a link.
    pub fn open(root: &Path, options: LocalOptions) -> Result<Self> {
        let failed = |doing: &'static str| {
            let name = options.name.clone();
            move |errno| error(&name, Operation::Probe, None, doing, errno)
        };
        let folder = Folder::open(root).map_err(failed("open the folder"))?;
        let keeps_metadata =
            keeps_metadata(&folder, &*options.entropy).map_err(failed("write to the folder"))?;
        Ok(Self {
            inner: Arc::new(Inner {
                name: options.name,
                folder,
                keeps_metadata,
                clock: options.clock,
                entropy: options.entropy,
                observer: options.observer,
                signer: options.signer,
            }),
        })
    }

    /// Whether the file system keeps media type, SHA-256 and metadata with an object. If not,
    /// [`Store::head`] says nothing of them, and only the catalog knows.
    #[must_use]
    pub fn keeps_metadata(&self) -> bool {
        self.inner.keeps_metadata
    }

    /// How many bytes may still be written, by the file system's count.
    ///
    /// # Errors
    /// When the file system does not say.
    pub async fn free_bytes(&self) -> Result<u64> {
        let call = self.inner.begin(Operation::Probe);
        let inner = Arc::clone(&self.inner);
        let work = move || match fstatvfs(inner.folder.confined.root()) {
            Ok(stat) => Ok(stat.f_bavail.saturating_mul(stat.f_frsize)),
            Err(errno) => Err(inner.error(Operation::Probe, None, "ask for the free space", errno)),
        };
        call.end_with(self.inner.blocking(Operation::Probe, None, work).await)
    }

    /// The files of all uploads that are not finished and had more than a piece of bytes, also those that a crash
    /// left behind. There are no more than uploads at the moment, and few that were left.
    ///
    /// # Errors
    /// When the staging folder cannot be read.
    pub async fn staged(&self) -> Result<Vec<Staged>> {
        let call = self.inner.begin(Operation::Probe);
        let inner = Arc::clone(&self.inner);
        let work = move || {
            staging::staged(&inner.folder)
                .map_err(|errno| inner.error(Operation::Probe, None, "look at uploads", errno))
        };
        call.end_with(self.inner.blocking(Operation::Probe, None, work).await)
    }

    /// Removes a staged file that no writer holds. Returns whether it is gone; `false` means that
    /// it is in use.
    ///
    /// # Errors
    /// `Invalid` when the name is none of a staged file, or when it cannot be removed.
    pub async fn remove_staged(&self, name: &str) -> Result<bool> {
        let call = self.inner.begin(Operation::Delete);
        let (inner, name) = (Arc::clone(&self.inner), name.to_owned());
        let work = move || {
            staging::remove_staged(&inner.folder, &name)
                .map_err(|errno| inner.error(Operation::Delete, None, "remove an upload", errno))
        };
        call.end_with(self.inner.blocking(Operation::Delete, None, work).await)
    }
}

#[async_trait]
impl Store for LocalStore {
    fn name(&self) -> &StoreName {
        &self.inner.name
    }

    async fn writer(&self, key: &Key, options: WriteOptions) -> Result<Box<dyn ObjectWriter>> {
        let mut call = self.inner.begin(Operation::Put);
        match self.inner.check(key, &options) {
            Ok(()) => {
                let inner = Arc::clone(&self.inner);
                Ok(Box::new(LocalWriter::new(
                    inner,
                    key.clone(),
                    options,
                    call,
                )))
            }
            Err(error) => {
                call.end(outcome_of(&error));
                Err(error)
            }
        }
    }

    /// All in one step on a blocking thread, hashing included.
    async fn put(&self, key: &Key, bytes: Bytes, options: WriteOptions) -> Result<Written> {
        let mut call = self.inner.begin(Operation::Put);
        call.sent(bytes.len() as u64);
        let (inner, put_key) = (Arc::clone(&self.inner), key.clone());
        let work = move || {
            inner.check(&put_key, &options)?;
            let staged = inner.append(&put_key, None, &bytes)?;
            let facts = Facts::of(&bytes);
            let attributes = Attributes::new(&options, &facts);
            inner.publish(&put_key, staged, facts.size_bytes, &attributes)
        };
        call.end_with(self.inner.blocking(Operation::Put, Some(key), work).await)
    }

    async fn get(&self, key: &Key, range: Option<ByteRange>) -> Result<GetResult> {
        let call = self.inner.begin(Operation::Get);
        if let Some((info, range, bytes)) = self.inner.read_at_hand(key, range) {
            let stream = Reading::of_bytes(bytes, call);
            return Ok(GetResult {
                info,
                range,
                stream,
            });
        }
        let (inner, get_key) = (Arc::clone(&self.inner), key.clone());
        let work = move || inner.read(get_key, range, call);
        self.inner.blocking(Operation::Get, Some(key), work).await
    }

    async fn head(&self, key: &Key) -> Result<ObjectInfo> {
        let call = self.inner.begin(Operation::Head);
        let (inner, head_key) = (Arc::clone(&self.inner), key.clone());
        let work = move || {
            let (file, stat) = inner.open_object(Operation::Head, &head_key)?;
            Ok(Attributes::read_from(file.as_fd()).into_info(&stat))
        };
        call.end_with(self.inner.blocking(Operation::Head, Some(key), work).await)
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let call = self.inner.begin(Operation::Delete);
        let (inner, delete_key) = (Arc::clone(&self.inner), key.clone());
        let work = move || inner.delete(&delete_key);
        call.end_with(
            self.inner
                .blocking(Operation::Delete, Some(key), work)
                .await,
        )
    }

    fn list(&self, prefix: &KeyPrefix) -> BoxStream<'static, Result<ListEntry>> {
        list::list(Arc::clone(&self.inner), prefix.clone())
    }

    async fn signed_url(&self, key: &Key, request: &SignRequest) -> Result<SignedUrl> {
        let call = self.inner.begin(Operation::Sign);
        let failed = |kind, detail: String| {
            Error::new(&self.inner.name, Operation::Sign, kind, detail).about(key)
        };
        let signed = match &self.inner.signer {
            Some(signer) => signer
                .sign(key, request, Purpose::Object, self.inner.clock.now())
                .map_err(|error| failed(ErrorKind::Invalid, error.to_string())),
            None => Err(failed(
                ErrorKind::Unsupported,
                "the store was opened without signing keys".to_owned(),
            )),
        };
        call.end_with(signed)
    }
}

/// Tries it with a file that is removed again.
fn keeps_metadata(folder: &Folder, entropy: &dyn Entropy) -> Result<bool, Errno> {
    // Any key will do: nothing gets its name.
    let Ok(key) = Key::new(Category::Temp, "probe") else {
        return Err(Errno::INVAL);
    };
    let staged = StagedFile::create(folder, entropy, &key)?;
    Attributes::default().write_to(staged.file().as_fd())
}

impl fmt::Debug for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalStore({})", self.inner.name)
    }
}
