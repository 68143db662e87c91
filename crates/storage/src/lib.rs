#![doc = include_str!("../README.md")]

mod call;
pub mod conformance;
mod disposition;
mod error;
mod facts;
mod guard;
mod local;
mod mode;
mod observe;
mod range;
mod reader;
mod s3;
mod secret;
mod sign;
mod storage;
mod store;
mod tee;
mod upload;
mod verdict;

pub use error::{Error, ErrorKind, Result};
pub use facts::{CHUNK_BYTES, ChunkSums, ContentHasher, Facts};
pub use guard::{Breaker, GuardOptions, GuardedStore, Health, Identity, LastError};
pub use local::{
    FileStamp, LocalOptions, LocalStore, SourceEntry, SourceFile, SourceFolder, SourceKind, Staged,
};
pub use mode::{Ack, Mode, ReadOrder, UnknownName};
pub use observe::{BillingClass, Call, NoObserver, Observer, Operation, Outcome};
pub use range::{ByteRange, UnsatisfiableRange};
pub use reader::{
    ContinuedBy, Doubt, DoubtKind, Doubts, Expected, NoDoubts, OpenRead, Source, open_read,
};
pub use s3::{
    MAX_PART_BYTES, MAX_PARTS, NamedObject, S3Config, S3ConfigError, S3Retries, S3Store,
    S3Timeouts, UnfinishedUpload, Version,
};
pub use secret::Secret;
pub use sign::{
    Purpose, SignError, SignatureError, SigningKey, SigningKeyError, SigningKeys, UrlSigner,
    VerifiedUrl, is_media_type,
};
pub use stockroom_domain::{
    Category, Clock, Entropy, Key, KeyError, KeyPrefix, Sha256Digest, StoreName, SystemClock,
    SystemEntropy, Timestamp,
};
pub use storage::{HybridOptions, Storage};
pub use store::{
    ByteStream, Disposition, GetResult, ListEntry, MAX_EXPIRES_IN, Metadata, MetadataError,
    ObjectInfo, ObjectWriter, SignMethod, SignRequest, SignedUrl, Store, WriteOptions, Written,
};
pub use upload::{Stored, Upload, UploadError};
