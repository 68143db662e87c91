//! What a store tells about its calls, for metrics and for cost.

use std::fmt;
use std::time::Duration;

use stockroom_domain::StoreName;

/// An operation on a store. On S3 it is one request; a request that is retried counts each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// A small object in one request, or a whole file on disk.
    Put,
    /// The beginning of a multipart upload.
    CreateUpload,
    /// One part of a multipart upload.
    UploadPart,
    /// The end of a multipart upload.
    CompleteUpload,
    /// A multipart upload is given up.
    AbortUpload,
    /// Bytes are read.
    Get,
    /// Facts are read.
    Head,
    /// An object, or one version of it, is deleted.
    Delete,
    /// One page of keys.
    List,
    /// One page of versions.
    ListVersions,
    /// One page of unfinished multipart uploads.
    ListUploads,
    /// A URL is signed. Nothing is sent.
    Sign,
    /// A bucket or a folder is looked at.
    Probe,
}

impl Operation {
    /// The name of the operation in metrics and in errors.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::CreateUpload => "create_upload",
            Self::UploadPart => "upload_part",
            Self::CompleteUpload => "complete_upload",
            Self::AbortUpload => "abort_upload",
            Self::Get => "get",
            Self::Head => "head",
            Self::Delete => "delete",
            Self::List => "list",
            Self::ListVersions => "list_versions",
            Self::ListUploads => "list_uploads",
            Self::Sign => "sign",
            Self::Probe => "probe",
        }
    }

    /// What Backblaze bills the request as.
    /// Source: <https://www.backblaze.com/cloud-storage/transaction-pricing>.
    #[must_use]
    pub const fn billing_class(self) -> BillingClass {
        match self {
            Self::Put | Self::UploadPart | Self::Delete | Self::AbortUpload => BillingClass::A,
            // Starting and finishing an upload are class A on B2 and class A (writes) elsewhere.
            Self::CreateUpload | Self::CompleteUpload => BillingClass::A,
            Self::Get | Self::Head => BillingClass::B,
            Self::List | Self::ListVersions | Self::ListUploads | Self::Probe => BillingClass::C,
            Self::Sign => BillingClass::None,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The price class of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BillingClass {
    /// Writes and deletions.
    A,
    /// Reads.
    B,
    /// Lists and everything else.
    C,
    /// Never billed.
    None,
}

impl BillingClass {
    /// The name of the class in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
            Self::C => "c",
            Self::None => "none",
        }
    }
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It did what it should, or the store said that there is no such object.
    Ok,
    /// It failed.
    Failed,
    /// Its answer was not awaited: the reader or writer was dropped.
    Dropped,
}

impl Outcome {
    /// The name of the outcome in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

/// One finished call on a store.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    /// The store.
    pub store: &'a StoreName,
    /// What was done.
    pub operation: Operation,
    /// How it ended.
    pub outcome: Outcome,
    /// How many bytes of bodies went to the store.
    pub sent_bytes: u64,
    /// How many bytes of bodies came from the store.
    pub received_bytes: u64,
    /// From the beginning of the call to its last byte.
    pub elapsed: Duration,
}

/// Is told of every call. It must return at once: it runs on the path of the bytes.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// A call ended.
    fn call(&self, call: &Call<'_>);
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {
    fn call(&self, _: &Call<'_>) {}
}
