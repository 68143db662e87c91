//! A bucket on an S3-compatible store.
//!
//! Requests per operation, when nothing fails: an object of at most
//! [`S3Config::part_bytes`] is written with one; a larger one with one per part and two more;
//! a read of any range is one; `head` is one; a deletion is one on a bucket without versions, and
//! on one with versions one for their list and one for each of them. A page of a list is one.
//! Nothing is looked up beforehand.
//!
//! A request that may succeed the next time is sent again over a new connection. When an answer
//! is lost, the object itself tells whether the request took effect, by a random mark in its
//! metadata. A call to [`ObjectWriter::finish`](crate::ObjectWriter::finish) that is dropped while
//! its last request is under way may still take effect; everything else that is dropped leaves
//! nothing behind.

mod body;
mod call;
mod client;
mod config;
mod delete;
mod error;
mod get;
mod info;
mod list;
mod multipart;
mod sign;
mod writer;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use async_trait::async_trait;
use aws_sdk_s3::Client;
use futures::stream::BoxStream;
use stockroom_domain::{Clock, Entropy, Key, KeyPrefix, StoreName, SystemClock, SystemEntropy};

pub use self::config::{MAX_PART_BYTES, MAX_PARTS, S3Config, S3ConfigError, S3Retries, S3Timeouts};
pub use self::list::{NamedObject, UnfinishedUpload, Version};

use self::config::Endpoint;
use self::sign::Signer;
use crate::{
    ByteRange, GetResult, ListEntry, NoObserver, ObjectInfo, ObjectWriter, Observer, Operation,
    Result, SignRequest, SignedUrl, Store, WriteOptions,
};

/// A bucket on an S3-compatible store. Cheap to clone; clones share connections.
#[derive(Clone)]
pub struct S3Store(Arc<Inner>);

/// What all calls share.
pub(crate) struct Inner {
    name: StoreName,
    bucket: String,
    endpoint: Endpoint,
    client: Client,
    signer: Signer,
    timeouts: S3Timeouts,
    retries: S3Retries,
    part_bytes: u64,
    concurrent_parts: usize,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    observer: Arc<dyn Observer>,
    versioning: Versioning,
    /// Whether an answer has shown that the bucket exists.
    bucket_is_there: AtomicBool,
}

impl S3Store {
    /// A store with the machine's clock and randomness that reports to nobody. Sends nothing.
    ///
    /// # Errors
    /// When the configuration cannot work.
    pub fn connect(config: &S3Config) -> Result<Self, S3ConfigError> {
        Self::connect_with(
            config,
            Arc::new(SystemClock),
            Arc::new(SystemEntropy),
            Arc::new(NoObserver),
        )
    }

    /// A store with this clock for signatures, this randomness for the waits between attempts
    /// and for the marks of uploads, and this observer of its calls. Sends nothing.
    ///
    /// # Errors
    /// When the configuration cannot work.
    pub fn connect_with(
        config: &S3Config,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, S3ConfigError> {
        let endpoints = config::check(config)?;
        Ok(Self(Arc::new(Inner {
            name: config.name.clone(),
            bucket: config.bucket.clone(),
            client: client::build(config, &endpoints.service, Arc::clone(&clock))?,
            signer: Signer::new(config, endpoints.public),
            endpoint: endpoints.service,
            timeouts: config.timeouts,
            retries: config.retries,
            part_bytes: config.part_bytes,
            concurrent_parts: config.concurrent_parts,
            clock,
            entropy,
            observer,
            versioning: Versioning::default(),
            bucket_is_there: AtomicBool::new(false),
        })))
    }

    /// The name of the bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.0.bucket
    }

    /// Asks whether the bucket is there and may be used: HeadBucket, billed as class C. Its
    /// answer has no body, so a refusal has no code; [`S3Store::probe_list`] tells it.
    ///
    /// # Errors
    /// `Denied`, `Unavailable`, or `Other` when there is no such bucket.
    pub async fn probe_bucket(&self) -> Result<()> {
        let Inner { client, bucket, .. } = &*self.0;
        self.0
            .call(Operation::Probe, |_| {
                client.head_bucket().bucket(bucket).send()
            })
            .await
            .map(drop)
            .map_err(|failure| self.0.error(Operation::Probe, None, failure))
    }

    /// Asks for the first key of the bucket: ListObjectsV2, billed as class C. A refusal has
    /// S3's own code ([`Error::code`](crate::Error::code)), such as `InvalidAccessKeyId`,
    /// `SignatureDoesNotMatch`, `AccessDenied`, `NoSuchBucket` or `RequestTimeTooSkewed`.
    ///
    /// # Errors
    /// `Denied`, `Unavailable`, or `Other` when there is no such bucket.
    pub async fn probe_list(&self) -> Result<()> {
        let Inner { client, bucket, .. } = &*self.0;
        self.0
            .call(Operation::List, |_| {
                client.list_objects_v2().bucket(bucket).max_keys(1).send()
            })
            .await
            .map(drop)
            .map_err(|failure| self.0.error(Operation::List, None, failure))
    }

    /// All objects whose names begin with `prefix`, those too whose names are no keys, page by
    /// page.
    pub fn names(&self, prefix: &str) -> BoxStream<'static, Result<NamedObject>> {
        list::names(Arc::clone(&self.0), prefix.to_owned())
    }

    /// All versions and hide markers whose keys begin with `prefix`, page by page, in the order
    /// of their keys. These are what a store bills.
    pub fn versions(&self, prefix: &KeyPrefix) -> BoxStream<'static, Result<Version>> {
        list::versions(Arc::clone(&self.0), prefix.as_str().to_owned())
    }

    /// Deletes all versions and hide markers of exactly this key but the version that readers
    /// see, and tells how many it deleted: 0 on a bucket without versions. Where readers see
    /// nothing, because a hide marker is the newest, nothing is deleted: what it hides may be the
    /// only copy. [`Store::delete`] deletes that too.
    ///
    /// # Errors
    /// `Denied` when the key may not list or delete versions, or that of the store. Some of them
    /// may be deleted then; the one that readers see is never.
    pub async fn remove_old_versions(&self, key: &Key) -> Result<usize> {
        delete::old_versions(&self.0, key).await
    }

    /// All multipart uploads that were begun and neither finished nor given up, for keys that
    /// begin with `prefix`, page by page.
    pub fn unfinished_uploads(
        &self,
        prefix: &KeyPrefix,
    ) -> BoxStream<'static, Result<UnfinishedUpload>> {
        list::uploads(Arc::clone(&self.0), prefix.as_str().to_owned())
    }

    /// Gives up a multipart upload; its parts are deleted. It is no error when it is gone.
    ///
    /// # Errors
    /// That of the store.
    pub async fn abort_upload(&self, upload: &UnfinishedUpload) -> Result<()> {
        multipart::abort(&self.0, &upload.name, &upload.upload_id)
            .await
            .map(drop)
            .map_err(|failure| self.0.error(Operation::AbortUpload, None, failure))
    }
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store")
            .field("name", &self.name)
            .field("endpoint", &self.endpoint.url())
            .field("bucket", &self.bucket)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for S3Store {
    fn name(&self) -> &StoreName {
        &self.0.name
    }

    /// Each request with bytes is signed together with their SHA-256, which the other side compares.
    /// Source: `x-amz-content-sha256` in
    /// <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>.
    fn compares_digests(&self) -> bool {
        true
    }

    async fn writer(&self, key: &Key, options: WriteOptions) -> Result<Box<dyn ObjectWriter>> {
        let writer = writer::S3Writer::new(Arc::clone(&self.0), key, options)?;
        Ok(Box::new(writer))
    }

    async fn get(&self, key: &Key, range: Option<ByteRange>) -> Result<GetResult> {
        get::get(&self.0, key, range).await
    }

    async fn head(&self, key: &Key) -> Result<ObjectInfo> {
        info::head(&self.0, key).await
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        delete::delete(&self.0, key).await
    }

    fn list(&self, prefix: &KeyPrefix) -> BoxStream<'static, Result<ListEntry>> {
        list::objects(Arc::clone(&self.0), prefix.as_str().to_owned())
    }

    async fn signed_url(&self, key: &Key, request: &SignRequest) -> Result<SignedUrl> {
        self.0.signed_url(key, request)
    }
}

/// Whether the bucket keeps versions, as its answers have shown so far; 0 before the first.
#[derive(Debug, Default)]
struct Versioning(AtomicU8);

impl Versioning {
    const NONE: u8 = 1;
    const KEPT: u8 = 2;
    /// The store does not know the call that lists versions, so there are none, whatever ids it
    /// tells: Garage gives every object an id, and keeps only the last.
    const UNHEARD_OF: u8 = 3;

    fn get(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, state: u8) {
        self.0.store(state, Ordering::Relaxed);
    }

    /// A write was answered: a bucket with versions tells the new one's id.
    fn learn_from_write(&self, version_id: Option<&str>) {
        self.learn(version_id.map_or(Self::NONE, |_| Self::KEPT));
    }

    /// A read was answered: an id shows that versions are kept, its absence shows nothing.
    fn learn_from_read(&self, version_id: Option<&str>) {
        if version_id.is_some() {
            self.learn(Self::KEPT);
        }
    }

    fn learn(&self, state: u8) {
        if self.get() != Self::UNHEARD_OF {
            self.set(state);
        }
    }
}
