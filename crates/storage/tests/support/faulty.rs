//! Faults around a real store: it does everything itself until the scripted moment.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use stockroom_storage::{
    ByteRange, ByteStream, Error, ErrorKind, Facts, GetResult, Key, KeyPrefix, ListEntry,
    ObjectInfo, ObjectWriter, Operation, Result, SignRequest, SignedUrl, Store, StoreName,
    WriteOptions, Written,
};

/// What is to go wrong; by default nothing.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    /// Opening a writer fails.
    pub(crate) open: Option<ErrorKind>,
    /// Writing fails once more than so many bytes came.
    pub(crate) write: Option<(u64, ErrorKind)>,
    /// Publishing fails; nothing is published.
    pub(crate) finish: Option<ErrorKind>,
    /// Each write takes this long.
    pub(crate) write_takes: Option<Duration>,
    /// Giving up takes this long.
    pub(crate) abort_takes: Option<Duration>,
    /// Deleting fails.
    pub(crate) delete: Option<ErrorKind>,
    /// Reading what is known of an object fails.
    pub(crate) head: Option<ErrorKind>,
    /// Reading what is known of an object never ends.
    pub(crate) head_hangs: bool,
    /// Opening an object to read fails.
    pub(crate) get: Option<ErrorKind>,
    /// A range is not minded: all bytes are delivered.
    pub(crate) ignore_range: bool,
    /// The bytes go wrong at this offset of the object, which may be its end.
    pub(crate) read: Option<(u64, Trouble)>,
}

/// How bytes go wrong on their way out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Trouble {
    /// An error comes in place of the byte.
    Error(ErrorKind),
    /// The stream ends before the byte, as if that were all.
    End,
    /// The lowest bit of the byte is another.
    Flip,
}

/// A store with faults.
#[derive(Debug)]
pub(crate) struct Faulty {
    name: StoreName,
    inner: Arc<dyn Store>,
    faults: Mutex<Faults>,
    delivered_bytes: Arc<AtomicU64>,
    heads: AtomicU64,
}

impl Faulty {
    pub(crate) fn new(name: &str, inner: Arc<dyn Store>) -> Self {
        Self {
            name: name.parse().expect("a store name"),
            inner,
            faults: Mutex::default(),
            delivered_bytes: Arc::default(),
            heads: AtomicU64::new(0),
        }
    }

    pub(crate) fn set(&self, faults: Faults) {
        *self.faults.lock().expect("no panic elsewhere") = faults;
    }

    /// How many bytes were taken from the streams of this store.
    pub(crate) fn delivered_bytes(&self) -> u64 {
        self.delivered_bytes.load(Ordering::Relaxed)
    }

    /// How often it was asked what is known of an object.
    pub(crate) fn heads(&self) -> u64 {
        self.heads.load(Ordering::Relaxed)
    }

    fn faults(&self) -> Faults {
        self.faults.lock().expect("no panic elsewhere").clone()
    }

    fn check(&self, fault: Option<ErrorKind>, operation: Operation, key: &Key) -> Result<()> {
        match fault {
            Some(kind) => Err(error(&self.name, operation, kind).about(key)),
            None => Ok(()),
        }
    }
}

fn error(name: &StoreName, operation: Operation, kind: ErrorKind) -> Error {
    Error::new(name, operation, kind, "scripted")
}

#[async_trait]
impl Store for Faulty {
    fn name(&self) -> &StoreName {
        &self.name
    }

    async fn writer(&self, key: &Key, options: WriteOptions) -> Result<Box<dyn ObjectWriter>> {
        let faults = self.faults();
        self.check(faults.open, Operation::Put, key)?;
        Ok(Box::new(FaultyWriter {
            name: self.name.clone(),
            inner: self.inner.writer(key, options).await?,
            faults,
            written_bytes: 0,
        }))
    }

    async fn get(&self, key: &Key, range: Option<ByteRange>) -> Result<GetResult> {
        let faults = self.faults();
        self.check(faults.get, Operation::Get, key)?;
        let range = range.filter(|_| !faults.ignore_range);
        let mut result = self.inner.get(key, range).await?;
        if let Some((offset, trouble)) = faults.read
            && (result.range.start..=result.range.end).contains(&offset)
        {
            let good_bytes = usize::try_from(offset - result.range.start).expect("in memory");
            let name = self.name.clone();
            result.stream = troubled(result.stream, good_bytes, trouble, name);
        }
        let delivered_bytes = Arc::clone(&self.delivered_bytes);
        let count = move |piece: &Bytes| {
            delivered_bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
        };
        result.stream = result.stream.inspect_ok(count).boxed();
        Ok(result)
    }

    async fn head(&self, key: &Key) -> Result<ObjectInfo> {
        self.heads.fetch_add(1, Ordering::Relaxed);
        let faults = self.faults();
        if faults.head_hangs {
            std::future::pending::<()>().await;
        }
        self.check(faults.head, Operation::Head, key)?;
        self.inner.head(key).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.check(self.faults().delete, Operation::Delete, key)?;
        self.inner.delete(key).await
    }

    fn list(&self, prefix: &KeyPrefix) -> BoxStream<'static, Result<ListEntry>> {
        self.inner.list(prefix)
    }

    async fn signed_url(&self, key: &Key, request: &SignRequest) -> Result<SignedUrl> {
        self.inner.signed_url(key, request).await
    }
}

/// The same bytes until `good_bytes` of them have passed.
fn troubled(input: ByteStream, good_bytes: usize, trouble: Trouble, name: StoreName) -> ByteStream {
    stream::unfold((input, Some(good_bytes)), move |(mut input, good_bytes)| {
        let name = name.clone();
        async move {
            let Some(good_bytes) = good_bytes else {
                // The trouble was had: after a flipped bit the rest comes, else nothing.
                let item = match trouble {
                    Trouble::Flip => input.next().await?,
                    Trouble::Error(_) | Trouble::End => return None,
                };
                return Some((item, (input, None)));
            };
            if good_bytes == 0
                && let Trouble::Error(kind) = trouble
            {
                let item = Err(error(&name, Operation::Get, kind));
                return Some((item, (input, None)));
            }
            let piece = match input.next().await? {
                Ok(piece) => piece,
                Err(error) => return Some((Err(error), (input, None))),
            };
            if piece.len() <= good_bytes {
                let left = good_bytes - piece.len();
                return Some((Ok(piece), (input, Some(left))));
            }
            match trouble {
                Trouble::Flip => {
                    let mut flipped = piece.to_vec();
                    flipped[good_bytes] ^= 1;
                    Some((Ok(flipped.into()), (input, None)))
                }
                Trouble::End => Some((Ok(piece.slice(..good_bytes)), (input, None))),
                Trouble::Error(_) => Some((Ok(piece.slice(..good_bytes)), (input, Some(0)))),
            }
        }
    })
    .boxed()
}

#[derive(Debug)]
struct FaultyWriter {
    name: StoreName,
    inner: Box<dyn ObjectWriter>,
    faults: Faults,
    written_bytes: u64,
}

#[async_trait]
impl ObjectWriter for FaultyWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        if let Some(takes) = self.faults.write_takes {
            tokio::time::sleep(takes).await;
        }
        self.written_bytes += bytes.len() as u64;
        if let Some((limit_bytes, kind)) = self.faults.write
            && self.written_bytes > limit_bytes
        {
            return Err(error(&self.name, Operation::Put, kind));
        }
        self.inner.write(bytes).await
    }

    async fn finish(self: Box<Self>, facts: &Facts) -> Result<Written> {
        if let Some(kind) = self.faults.finish {
            self.inner.abort().await;
            return Err(error(&self.name, Operation::Put, kind));
        }
        self.inner.finish(facts).await
    }

    async fn abort(self: Box<Self>) {
        if let Some(takes) = self.faults.abort_takes {
            tokio::time::sleep(takes).await;
        }
        self.inner.abort().await;
    }
}
