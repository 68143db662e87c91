//! A store behind a circuit breaker, so that one that does not answer costs its callers nothing.
//!
//! A call that ends without an answer ([`Error::is_transient`]), in the middle of a stream too,
//! opens the breaker, unless the store answered another call since that one began: one odd object
//! does not take a healthy store out. While the breaker is open, every call fails at once. Nobody's
//! call is used to find out whether the store is back: a probe in the background does, one at a
//! time, with growing waits between them.
//!
//! An answer is what the store said, be it a refusal. Opening a stream is an answer, and its good
//! end is another; a stream or a writer that is dropped says nothing.

mod health;
mod shared;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use stockroom_domain::{Clock, Key, KeyPrefix, StoreName};
use tokio::sync::Notify;

pub use self::health::{Breaker, Health, LastError};

use self::shared::{Begun, Shared};
use self::watch::{WatchedStream, WatchedWriter};
use crate::{
    ByteRange, Error, ErrorKind, GetResult, ListEntry, ObjectInfo, ObjectWriter, Operation, Result,
    SignRequest, SignedUrl, Store, WriteOptions, Written,
};

/// A store behind a circuit breaker, which also refuses to change a store of somebody else.
///
/// It is a [`Store`] itself. What it adds to a call is one short lock, and one more layer of
/// polling to a stream.
pub struct GuardedStore {
    shared: Arc<Shared>,
    identity: AtomicU8,
}

/// How a store is guarded.
#[derive(Debug, Clone)]
pub struct GuardOptions {
    /// Tells the times in [`Health`].
    pub clock: Arc<dyn Clock>,
    /// The key by which the store is probed. No object need be there: its absence is an answer.
    pub probe_key: Key,
    /// Is notified ([`Notify::notify_one`]) when the breaker closes.
    pub recovered: Arc<Notify>,
    /// How long after the breaker opened the first probe is due. 1 second by default.
    pub first_wait: Duration,
    /// The wait doubles from probe to probe, up to this. 5 seconds by default.
    pub longest_wait: Duration,
    /// After which time a probe counts as unanswered. 10 seconds by default.
    pub probe_timeout: Duration,
}

impl GuardOptions {
    /// The usual waits.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>, probe_key: Key, recovered: Arc<Notify>) -> Self {
        Self {
            clock,
            probe_key,
            recovered,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(10),
        }
    }
}

/// Whose objects a store holds, as the id in it tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Identity {
    /// It was not found out yet.
    Unknown,
    /// Those of this Stockroom.
    Ours,
    /// Those of another Stockroom: they may be read, never changed.
    Foreign,
}

impl Identity {
    /// The name of the identity in metrics and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ours => "ours",
            Self::Foreign => "foreign",
        }
    }
}

impl GuardedStore {
    /// Guards a store. The breaker is closed, and the identity unknown.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, options: GuardOptions) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::new(Shared::new(store, options)),
            identity: AtomicU8::new(Identity::Unknown as u8),
        })
    }

    /// How the store has been doing.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Whether the store may be relied on now: the breaker is closed, and the store is not
    /// [`Identity::Foreign`]. While the breaker is open, asking starts a probe that is due.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.shared.is_closed() && self.identity() != Identity::Foreign
    }

    /// Whose objects the store holds, as far as it was said.
    #[must_use]
    pub fn identity(&self) -> Identity {
        match self.identity.load(Ordering::Acquire) {
            it if it == Identity::Ours as u8 => Identity::Ours,
            it if it == Identity::Foreign as u8 => Identity::Foreign,
            _ => Identity::Unknown,
        }
    }

    /// Says whose objects the store holds. It counts for the calls that begin from now on.
    pub fn set_identity(&self, identity: Identity) {
        self.identity.store(identity as u8, Ordering::Release);
    }

    /// The store behind the breaker.
    #[must_use]
    pub fn inner(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// Lets a call through that changes the store.
    fn begin_change(&self, operation: Operation, key: &Key) -> Result<Begun> {
        if self.identity() == Identity::Foreign {
            let detail = "the store carries the id of another Stockroom, so nothing in it is \
                          changed; `stockroom verify` tells more";
            return Err(Error::new(self.name(), operation, ErrorKind::Denied, detail).about(key));
        }
        self.shared.begin(operation, Some(key))
    }
}

impl fmt::Debug for GuardedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedStore")
            .field("store", self.inner())
            .field("breaker", &self.health().breaker)
            .field("identity", &self.identity())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for GuardedStore {
    fn name(&self) -> &StoreName {
        self.shared.store.name()
    }

    fn compares_digests(&self) -> bool {
        self.inner().compares_digests()
    }

    async fn writer(&self, key: &Key, options: WriteOptions) -> Result<Box<dyn ObjectWriter>> {
        let begun = self.begin_change(Operation::Put, key)?;
        match self.inner().writer(key, options).await {
            Ok(writer) => {
                let shared = Arc::clone(&self.shared);
                Ok(Box::new(WatchedWriter::new(writer, shared, begun)))
            }
            Err(error) => {
                self.shared.failed(&begun, &error);
                Err(error)
            }
        }
    }

    async fn put(&self, key: &Key, bytes: Bytes, options: WriteOptions) -> Result<Written> {
        let mut begun = self.begin_change(Operation::Put, key)?;
        let result = self.inner().put(key, bytes, options).await;
        self.shared.ended(&mut begun, &result, true);
        result
    }

    async fn get(&self, key: &Key, range: Option<ByteRange>) -> Result<GetResult> {
        let mut begun = self.shared.begin(Operation::Get, Some(key))?;
        let result = self.inner().get(key, range).await;
        self.shared.ended(&mut begun, &result, true);
        result.map(|mut got| {
            let shared = Arc::clone(&self.shared);
            got.stream = WatchedStream::new(got.stream, shared, begun).boxed();
            got
        })
    }

    async fn head(&self, key: &Key) -> Result<ObjectInfo> {
        let mut begun = self.shared.begin(Operation::Head, Some(key))?;
        let result = self.inner().head(key).await;
        self.shared.ended(&mut begun, &result, true);
        result
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let mut begun = self.begin_change(Operation::Delete, key)?;
        let result = self.inner().delete(key).await;
        self.shared.ended(&mut begun, &result, false);
        result
    }

    fn list(&self, prefix: &KeyPrefix) -> BoxStream<'static, Result<ListEntry>> {
        match self.shared.begin(Operation::List, None) {
            Ok(begun) => {
                let list = self.inner().list(prefix);
                WatchedStream::new(list, Arc::clone(&self.shared), begun).boxed()
            }
            Err(error) => futures::stream::iter([Err(error)]).boxed(),
        }
    }

    /// Passes while the breaker is open too: nothing is sent.
    async fn signed_url(&self, key: &Key, request: &SignRequest) -> Result<SignedUrl> {
        self.inner().signed_url(key, request).await
    }
}
