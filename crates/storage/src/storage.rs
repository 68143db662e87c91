//! The facade: one store, or two of them that act as one.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::join_all;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use stockroom_domain::{Key, KeyPrefix, StoreName};

use crate::mode::hybrid_name;
use crate::tee::Tee;
use crate::verdict::most_telling;
use crate::{
    Ack, ByteRange, Doubts, Error, ErrorKind, Facts, GetResult, ListEntry, Mode, NoDoubts,
    ObjectInfo, ObjectWriter, Operation, ReadOrder, Result, SignMethod, SignRequest, SignedUrl,
    Source, Store, Upload, WriteOptions, Written, open_read,
};

/// How many objects of a listing are looked up on the other store at the same time.
const LOOKUPS: usize = 16;

/// Objects in one of the three modes: on local disk, on S3, or on both.
///
/// It is a [`Store`] itself. In the modes with one store every call goes straight to it. As a
/// hybrid it writes to both at once, reads from the first that can deliver and fails over in the
/// middle of a stream, and deletes from both.
///
/// # What a hybrid without a catalog cannot know
///
/// Nothing is recorded of which store has which object, so a hybrid is exact only for keys that
/// are written once. When a key is *replaced* and one store fails meanwhile, the two may hold
/// different objects:
///
/// - Under [`Ack::Any`] the old object stays on the store that failed. Reads give the old bytes
///   when that store comes first in the read order, or the other one does not answer.
/// - Under [`Ack::Both`] the replacement is an error, and is taken back where it was published.
///   The old object is left on the store that failed, and only there.
/// - A read never mixes the two. In the middle it changes the store only where both tell the same
///   SHA-256; else it ends with an error. [`put`](Store::put) makes both know it. What is
///   streamed to S3 in parts has it only if [`WriteOptions::sha256`] was given, because S3 must be
///   told before the first byte.
/// - An object whose deletion failed on one store is still there.
///
/// The server avoids all of this: it gives every object a location of its own that is never used
/// again, and keeps in its catalog which store has it ([`open_read`]).
#[derive(Debug, Clone)]
pub struct Storage {
    name: StoreName,
    mode: Mode,
    /// The folder first.
    stores: Vec<Arc<dyn Store>>,
    /// The same, in the order in which they are read.
    read_order: Vec<Arc<dyn Store>>,
    ack: Ack,
    doubts: Arc<dyn Doubts>,
}

/// What a hybrid does with its two stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HybridOptions {
    /// Which copy is read first.
    pub read: ReadOrder,
    /// When a write counts as done.
    pub ack: Ack,
}

impl Storage {
    /// Everything in a folder.
    #[must_use]
    pub fn local(store: Arc<dyn Store>) -> Self {
        Self::single(Mode::Local, store)
    }

    /// Everything in a bucket.
    #[must_use]
    pub fn s3(store: Arc<dyn Store>) -> Self {
        Self::single(Mode::S3, store)
    }

    /// Everything in a folder and in a bucket.
    #[must_use]
    pub fn hybrid(local: Arc<dyn Store>, s3: Arc<dyn Store>, options: HybridOptions) -> Self {
        let stores = vec![local, s3];
        let mut read_order = stores.clone();
        match options.read {
            ReadOrder::LocalFirst => {}
            ReadOrder::S3First => read_order.reverse(),
        }
        Self {
            name: hybrid_name(),
            mode: Mode::Hybrid,
            stores,
            read_order,
            ack: options.ack,
            doubts: Arc::new(NoDoubts),
        }
    }

    fn single(mode: Mode, store: Arc<dyn Store>) -> Self {
        Self {
            name: store.name().clone(),
            mode,
            stores: vec![Arc::clone(&store)],
            read_order: vec![store],
            ack: Ack::Both,
            doubts: Arc::new(NoDoubts),
        }
    }

    /// Tells `doubts` what the reads of a hybrid notice.
    #[must_use]
    pub fn with_doubts(mut self, doubts: Arc<dyn Doubts>) -> Self {
        self.doubts = doubts;
        self
    }

    /// The mode.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// The stores that a new object is written to.
    #[must_use]
    pub fn stores(&self) -> &[Arc<dyn Store>] {
        &self.stores
    }

    /// The store of this name.
    #[must_use]
    pub fn store(&self, name: &StoreName) -> Option<&Arc<dyn Store>> {
        self.stores.iter().find(|store| store.name() == name)
    }

    /// The names of the stores in the order in which they are read.
    #[must_use]
    pub fn read_order(&self) -> Vec<StoreName> {
        let stores = self.read_order.iter();
        stores.map(|store| store.name().clone()).collect()
    }

    /// Where the copies of `key` may be, in the order in which they are read.
    #[must_use]
    pub fn sources(&self, key: &Key) -> Vec<Source> {
        let sources = self.read_order.iter().map(|store| Source {
            store: Arc::clone(store),
            location: key.clone(),
        });
        sources.collect()
    }

    /// Begins an upload to all stores, which computes the facts of the bytes on the way.
    ///
    /// # Errors
    /// As [`Upload::open`].
    pub async fn upload(&self, key: &Key, options: WriteOptions) -> Result<Upload> {
        Upload::open(&self.stores, key, options, self.ack).await
    }

    /// The only store, unless this is a hybrid.
    fn only(&self) -> Option<&Arc<dyn Store>> {
        match self.stores.as_slice() {
            [only] => Some(only),
            _ => None,
        }
    }

    /// The first store that has the object, else the first that could not tell, else the first.
    async fn likeliest(&self, key: &Key) -> Option<&Arc<dyn Store>> {
        if let Some(only) = self.only() {
            return Some(only);
        }
        let mut unknown = None;
        for store in &self.read_order {
            match store.exists(key).await {
                Ok(true) => return Some(store),
                Ok(false) => {}
                Err(_) => unknown = unknown.or(Some(store)),
            }
        }
        unknown.or_else(|| self.read_order.first())
    }

    /// Every constructor gives one, so this is never seen.
    fn no_store(&self, operation: Operation, key: &Key) -> Error {
        self.error(operation, ErrorKind::Unavailable, "there is no store", key)
    }

    fn error(
        &self,
        operation: Operation,
        kind: ErrorKind,
        detail: &'static str,
        key: &Key,
    ) -> Error {
        Error::new(&self.name, operation, kind, detail).about(key)
    }
}

#[async_trait]
impl Store for Storage {
    fn name(&self) -> &StoreName {
        &self.name
    }

    async fn writer(&self, key: &Key, options: WriteOptions) -> Result<Box<dyn ObjectWriter>> {
        match self.only() {
            Some(store) => store.writer(key, options).await,
            None => {
                let tee = Tee::open(&self.stores, key, &options, self.ack).await?;
                Ok(Box::new(tee))
            }
        }
    }

    async fn put(&self, key: &Key, bytes: Bytes, options: WriteOptions) -> Result<Written> {
        if let Some(store) = self.only() {
            return store.put(key, bytes, options).await;
        }
        // The digest is known before the first byte goes out, so every store can keep it: later
        // reads know by it that two copies are the same.
        let facts = Facts::of(&bytes);
        let options = WriteOptions {
            size_hint_bytes: Some(facts.size_bytes),
            sha256: options.sha256.or(Some(facts.sha256)),
            ..options
        };
        let mut writer = self.writer(key, options).await?;
        match writer.write(bytes).await {
            Ok(()) => writer.finish(&facts).await,
            Err(error) => {
                writer.abort().await;
                Err(error)
            }
        }
    }

    async fn get(&self, key: &Key, range: Option<ByteRange>) -> Result<GetResult> {
        if let Some(store) = self.only() {
            return store.get(key, range).await;
        }
        let read = open_read(self.sources(key), None, range, Arc::clone(&self.doubts)).await?;
        Ok(GetResult {
            info: read.info,
            range: read.range,
            stream: read.stream,
        })
    }

    async fn head(&self, key: &Key) -> Result<ObjectInfo> {
        let mut errors = Vec::new();
        for store in &self.read_order {
            match store.head(key).await {
                Ok(info) => return Ok(info),
                Err(error) => errors.push(error),
            }
        }
        Err(most_telling(errors).unwrap_or_else(|| self.no_store(Operation::Head, key)))
    }

    /// Deletes from all stores at the same time, also when one of them fails.
    async fn delete(&self, key: &Key) -> Result<()> {
        let deletions = join_all(self.stores.iter().map(|store| store.delete(key))).await;
        most_telling(deletions.into_iter().filter_map(Result::err)).map_or(Ok(()), Err)
    }

    /// All objects of the folder, then those of the bucket that are not in the folder, each of
    /// which is looked up there. An object that is copied into the folder while the list runs may
    /// be left out.
    fn list(&self, prefix: &KeyPrefix) -> BoxStream<'static, Result<ListEntry>> {
        let mut earlier: Vec<Arc<dyn Store>> = Vec::new();
        let mut lists = Vec::new();
        for store in &self.stores {
            lists.push(without(store.list(prefix), earlier.clone()));
            earlier.push(Arc::clone(store));
        }
        futures::stream::iter(lists).flatten().boxed()
    }

    /// As a hybrid: a URL of the first store in read order that has the object; else, because
    /// signing does not ask whether there is an object, of the first that may have it. A URL to
    /// write is `Unsupported`: what came by it would be on one store only.
    async fn signed_url(&self, key: &Key, request: &SignRequest) -> Result<SignedUrl> {
        if self.only().is_none() && request.method == SignMethod::Put {
            let detail = "a signed URL writes to one store only, and a hybrid has two";
            return Err(self.error(Operation::Sign, ErrorKind::Unsupported, detail, key));
        }
        match self.likeliest(key).await {
            Some(store) => store.signed_url(key, request).await,
            None => Err(self.no_store(Operation::Sign, key)),
        }
    }
}

/// The entries of a list that none of `others` has.
fn without(
    list: BoxStream<'static, Result<ListEntry>>,
    others: Vec<Arc<dyn Store>>,
) -> BoxStream<'static, Result<ListEntry>> {
    if others.is_empty() {
        return list;
    }
    list.map_ok(move |entry| {
        let others = others.clone();
        async move {
            for other in others {
                if other.exists(&entry.key).await? {
                    return Ok(None);
                }
            }
            Ok(Some(entry))
        }
    })
    .try_buffered(LOOKUPS)
    .try_filter_map(|entry| async { Ok(entry) })
    .boxed()
}
