//! The contract of a store. `conformance.rs` holds it as tests, which every store passes.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use stockroom_domain::{Key, KeyPrefix, Sha256Digest, StoreName, Timestamp};

use crate::{ByteRange, Facts, Result};

/// The longest life of a signed URL: 7 days, which is the limit of S3's Signature Version 4.
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/ShareObjectPreSignedURL.html>.
pub const MAX_EXPIRES_IN: Duration = Duration::from_secs(604_800);

/// Bytes on their way out of a store.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// One place where bytes live: a folder, a bucket, or several of them behind one face.
///
/// What every store promises:
/// - An object is visible whole or not at all. A reader that began before a replacement ends
///   with the bytes it began with, or with an error.
/// - What [`ObjectWriter::finish`] or [`Store::put`] acknowledged is durable.
/// - What was given up or failed leaves nothing behind that a reader can see.
/// - [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) is said only when the store knows.
/// - Nothing is remembered of a key: the caller keeps the catalog.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The name of the store in placements, metrics and errors.
    fn name(&self) -> &StoreName;

    /// Whether the store compares every byte that it takes with a digest that was sent along, before it
    /// acknowledges a write. Where it does not, only reading tells what came of one.
    fn compares_digests(&self) -> bool {
        false
    }

    /// Begins to write an object. Nothing is visible before [`ObjectWriter::finish`].
    /// An object that is there under the key is replaced atomically then.
    ///
    /// # Errors
    /// When the store can be seen to fail already now.
    async fn writer(&self, key: &Key, options: WriteOptions) -> Result<Box<dyn ObjectWriter>>;

    /// Writes an object whose bytes are all at hand.
    ///
    /// # Errors
    /// When the bytes could not be made durable; nothing is left behind then.
    async fn put(&self, key: &Key, bytes: Bytes, options: WriteOptions) -> Result<Written> {
        let facts = Facts::of(&bytes);
        let options = WriteOptions {
            size_hint_bytes: Some(facts.size_bytes),
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

    /// Reads an object, or the part of it that `range` names.
    ///
    /// # Errors
    /// `NotFound`, `RangeNotSatisfiable`, or that of the store. An error in the middle is an
    /// item of the stream; a stream that ends without one delivered every byte.
    async fn get(&self, key: &Key, range: Option<ByteRange>) -> Result<GetResult>;

    /// Reads what is known of an object without its bytes.
    ///
    /// # Errors
    /// `NotFound`, or that of the store.
    async fn head(&self, key: &Key) -> Result<ObjectInfo>;

    /// Whether an object is there.
    ///
    /// # Errors
    /// When the store cannot tell.
    async fn exists(&self, key: &Key) -> Result<bool> {
        match self.head(key).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes an object for good: on a bucket with versions, all of them and the hide markers.
    /// It is no error when there is none.
    ///
    /// # Errors
    /// When the store cannot promise that nothing is left.
    async fn delete(&self, key: &Key) -> Result<()>;

    /// All objects whose keys begin with `prefix`, in no promised order, with memory that does
    /// not grow with their number. Names that are no keys are left out.
    fn list(&self, prefix: &KeyPrefix) -> BoxStream<'static, Result<ListEntry>>;

    /// A URL with which anybody can do one thing with one object for a while.
    ///
    /// # Errors
    /// `Invalid` when the expiry is not 1 second to [`MAX_EXPIRES_IN`]; `Unsupported` when the
    /// store was opened without what it needs to sign.
    async fn signed_url(&self, key: &Key, request: &SignRequest) -> Result<SignedUrl>;
}

/// An object that is being written.
///
/// Dropping it without [`finish`](ObjectWriter::finish) gives it up, as
/// [`abort`](ObjectWriter::abort) does; only `abort` waits until nothing is left.
#[async_trait]
pub trait ObjectWriter: fmt::Debug + Send {
    /// Takes the next bytes; waits while the store is behind, so that memory stays bounded.
    ///
    /// # Errors
    /// That of the store. After an error only `abort` makes sense.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Makes the object durable and visible. `facts` are those of all bytes written; the caller
    /// computes them once for all stores.
    ///
    /// # Errors
    /// `Corrupt` when the store saw another number of bytes; that of the store. Nothing is
    /// visible then and nothing is left behind, as far as the store can still be reached.
    async fn finish(self: Box<Self>, facts: &Facts) -> Result<Written>;

    /// Gives the object up and removes what was written. Failures are logged, not returned: the
    /// caller can do nothing about them and the sweep will.
    async fn abort(self: Box<Self>);
}

/// What is said of an object when it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// The media type.
    pub content_type: Option<String>,
    /// The user metadata to keep on the object.
    pub metadata: Metadata,
    /// How many bytes will come, as far as is known: a store chooses its part size by it.
    pub size_hint_bytes: Option<u64>,
    /// The SHA-256 that the bytes will have, if it is known before the first of them, so that a
    /// store can keep it on objects of any size.
    pub sha256: Option<Sha256Digest>,
}

/// User metadata of an object: names and values that mean nothing to a store.
///
/// Names are 1 to 64 characters `a-z 0-9 -`, values visible ASCII and spaces, all together at
/// most 1,024 bytes, so that they fit S3's 2 KB and an extended attribute of any file system.
/// The names that begin with `stockroom-` are the stores' own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata(BTreeMap<String, String>);

/// Why a name and a value are no metadata.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The name has other characters, is empty or too long.
    #[error(
        "a metadata name is 1 to 64 characters a-z, 0-9 or -, and does not begin with stockroom-"
    )]
    Name,
    /// The value has other characters.
    #[error("a metadata value is visible ASCII characters and spaces, with none at its ends")]
    Value,
    /// Everything together is too long.
    #[error("metadata is at most {} bytes in all", Metadata::MAX_BYTES)]
    TooLong,
}

impl Metadata {
    /// The most bytes of all names and values together.
    pub const MAX_BYTES: usize = 1_024;

    /// Adds a value, in the place of an earlier one of the same name.
    ///
    /// # Errors
    /// When the name or the value does not fit.
    pub fn insert(&mut self, name: &str, value: &str) -> Result<(), MetadataError> {
        let name_fits = (1..=64).contains(&name.len())
            && !name.starts_with("stockroom-")
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !name_fits {
            return Err(MetadataError::Name);
        }
        let value_fits =
            value.bytes().all(|b| b.is_ascii_graphic() || b == b' ') && value.trim() == value;
        if !value_fits {
            return Err(MetadataError::Value);
        }
        let others_bytes: usize = self
            .iter()
            .filter(|(other, _)| *other != name)
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if others_bytes + name.len() + value.len() > Self::MAX_BYTES {
            return Err(MetadataError::TooLong);
        }
        self.0.insert(name.to_owned(), value.to_owned());
        Ok(())
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All names with their values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An object was made durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The store's own validator, without quotes. On S3 it is no MD5 for what came in parts.
    pub etag: Option<String>,
}

/// What a store knows of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The size in bytes.
    pub size_bytes: u64,
    /// The media type it was written with.
    pub content_type: Option<String>,
    /// When it was last written.
    pub modified_at: Timestamp,
    /// The SHA-256 it was written with, where the store could keep it. It is a claim, no proof.
    pub sha256: Option<Sha256Digest>,
    /// The user metadata it was written with.
    pub metadata: Metadata,
    /// The store's own validator, without quotes.
    pub etag: Option<String>,
    /// Whether a store of this library wrote it, as what it leaves beside the bytes tells. Objects
    /// of other programs have no such mark, nor have files on a file system that keeps none.
    pub is_stockrooms: bool,
}

/// An object that is being read.
pub struct GetResult {
    /// What the store knows of the whole object.
    pub info: ObjectInfo,
    /// The offsets of the bytes that the stream delivers; empty only when the object is.
    pub range: Range<u64>,
    /// The bytes.
    pub stream: ByteStream,
}

impl GetResult {
    /// Reads all bytes into memory. For objects that are known to be small.
    ///
    /// # Errors
    /// The first error of the stream.
    pub async fn bytes(mut self) -> Result<Bytes> {
        use futures::TryStreamExt as _;
        let Some(first) = self.stream.try_next().await? else {
            return Ok(Bytes::new());
        };
        let Some(second) = self.stream.try_next().await? else {
            return Ok(first);
        };
        let mut all = Vec::from(first);
        all.extend_from_slice(&second);
        while let Some(next) = self.stream.try_next().await? {
            all.extend_from_slice(&next);
        }
        Ok(all.into())
    }
}

impl fmt::Debug for GetResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetResult")
            .field("info", &self.info)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// One object in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEntry {
    /// Its key.
    pub key: Key,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// When it was last written.
    pub modified_at: Timestamp,
}

/// What a signed URL is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignRequest {
    /// The HTTP method it allows.
    pub method: SignMethod,
    /// How long it lives: 1 second to [`MAX_EXPIRES_IN`], in whole seconds.
    pub expires_in: Duration,
    /// What a browser should do with the bytes.
    pub disposition: Disposition,
    /// The media type to answer with, in the place of the one the object was written with.
    pub content_type: Option<String>,
}

impl SignRequest {
    /// A URL to read the object as a download, for so long.
    #[must_use]
    pub const fn get(expires_in: Duration) -> Self {
        Self {
            method: SignMethod::Get,
            expires_in,
            disposition: Disposition::Attachment { filename: None },
            content_type: None,
        }
    }
}

/// The HTTP method that a signed URL allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SignMethod {
    /// Read the bytes.
    Get,
    /// Read what is known of them.
    Head,
    /// Write them.
    Put,
}

impl SignMethod {
    /// The name of the method.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Put => "PUT",
        }
    }
}

/// What a browser should do with the bytes (RFC 6266).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// Save them.
    Attachment {
        /// Under this name; else under the last segment of the key.
        filename: Option<String>,
    },
    /// Show them.
    Inline {
        /// With this name if they are saved; else with the last segment of the key.
        filename: Option<String>,
    },
}

/// A URL that carries its own permission. Its `Debug` form leaves the URL out.
#[derive(Clone, PartialEq, Eq)]
pub struct SignedUrl {
    /// The URL. Whoever has it has the permission: it belongs in no log.
    pub url: String,
    /// When the permission ends.
    pub expires_at: Timestamp,
}

impl fmt::Debug for SignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedUrl")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_bounded_and_plain() {
        let mut metadata = Metadata::default();
        assert_eq!(metadata.insert("artist-id", "u 42"), Ok(()));
        assert_eq!(metadata.get("artist-id"), Some("u 42"));
        for name in ["", "Artist", "a_b", "stockroom-x", &"a".repeat(65)] {
            assert_eq!(
                metadata.insert(name, "v"),
                Err(MetadataError::Name),
                "{name}"
            );
        }
        for value in ["é", "a\r\nb", " a", "a "] {
            assert_eq!(
                metadata.insert("n", value),
                Err(MetadataError::Value),
                "{value:?}"
            );
        }
        assert_eq!(
            metadata.insert("n", &"v".repeat(1_011)),
            Err(MetadataError::TooLong)
        );
        assert_eq!(metadata.insert("artist-id", &"v".repeat(1_015)), Ok(()));
    }

    #[test]
    fn a_signed_url_is_not_shown() {
        let signed = SignedUrl {
            url: "https://example.invalid/?sig=secret".to_owned(),
            expires_at: Timestamp::from_unix_ms(0),
        };
        assert!(!format!("{signed:?}").contains("secret"));
    }
}
