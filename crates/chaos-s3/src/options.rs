//! How a [`ChaosS3`](crate::ChaosS3) behaves: plain S3, S3 with versions, or the strict B2 profile.

use std::fmt;

/// The smallest part B2 accepts except for the last one, in bytes: 5 MB, not 5 MiB.
///
/// Source: <https://www.backblaze.com/docs/cloud-storage-large-files>.
pub const B2_MIN_PART_SIZE_BYTES: u64 = 5_000_000;

/// What a server is to be like. Made with [`Options::default`], [`Options::versioned`] or
/// [`Options::b2`], then changed with the methods below.
///
/// ```
/// use chaos_s3::Options;
///
/// let options = Options::b2().region("eu-central-003").tls();
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    pub(crate) profile: Profile,
    pub(crate) bucket: String,
    pub(crate) other_buckets: Vec<String>,
    pub(crate) region: String,
    pub(crate) versioned: bool,
    pub(crate) tls: bool,
    pub(crate) clock_skew_s: i64,
    pub(crate) equal_parts: bool,
    pub(crate) min_part_size_bytes: u64,
    pub(crate) page_size: usize,
    pub(crate) discard_bodies: bool,
    /// The first key is the one that [`ChaosS3::key_id`](crate::ChaosS3::key_id) tells.
    pub(crate) keys: Vec<AccessKey>,
}

/// Whose rules apply where stores differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    S3,
    B2,
}

impl Default for Options {
    /// Plain S3: one bucket `stockroom-test` in `us-east-1`, no versioning, no TLS, one key with
    /// every capability, and no smallest part size (so that tests of multipart stay small).
    fn default() -> Self {
        Self {
            profile: Profile::S3,
            bucket: "stockroom-test".to_owned(),
            other_buckets: Vec::new(),
            region: "us-east-1".to_owned(),
            versioned: false,
            tls: false,
            clock_skew_s: 0,
            equal_parts: false,
            min_part_size_bytes: 0,
            page_size: 1_000,
            discard_bodies: false,
            keys: vec![AccessKey::new(
                "stockroom-test-key",
                "stockroom-test-application-key",
            )],
        }
    }
}

impl Options {
    /// Plain S3 with versioning enabled on the bucket.
    #[must_use]
    pub fn versioned() -> Self {
        Self {
            versioned: true,
            ..Self::default()
        }
    }

    /// Backblaze B2 at its strictest: always versioned, `x-amz-checksum-*` refused, conditional
    /// PUT not implemented, parts of at least [`B2_MIN_PART_SIZE_BYTES`], tagging and ACL headers
    /// refused, and B2's own words for a wrong key id and for a missing capability.
    ///
    /// Newer B2 regions accept some of what is refused here; code that works against the strict
    /// profile works against those too.
    #[must_use]
    pub fn b2() -> Self {
        Self {
            profile: Profile::B2,
            versioned: true,
            min_part_size_bytes: B2_MIN_PART_SIZE_BYTES,
            ..Self::default()
        }
    }

    /// Serves over TLS, with a certificate for `localhost` and `127.0.0.1` that is signed by a
    /// certificate authority made for this server ([`ChaosS3::ca_pem`](crate::ChaosS3::ca_pem)).
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// The region requests must be signed for.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = region.into();
        self
    }

    /// The name of the bucket that the accessors and inspections are about.
    #[must_use]
    pub fn bucket(mut self, bucket: impl Into<String>) -> Self {
        self.bucket = bucket.into();
        self
    }

    /// Adds one more, empty bucket, for example as the one a key is restricted to.
    #[must_use]
    pub fn another_bucket(mut self, bucket: impl Into<String>) -> Self {
        self.other_buckets.push(bucket.into());
        self
    }

    /// Makes the server's clock wrong by `skew_s` seconds; positive is ahead. More than 15 minutes
    /// either way and every request signed with the true time is refused with
    /// `RequestTimeTooSkewed`. The `Date` header shows the server's clock. A presigned URL has
    /// expired when either the server's or the true clock says so.
    #[must_use]
    pub fn clock_skew(mut self, skew_s: i64) -> Self {
        self.clock_skew_s = skew_s;
        self
    }

    /// Demands that all parts of an upload but the last have the same size, and the last is not
    /// larger, as Cloudflare R2 does.
    #[must_use]
    pub fn equal_parts(mut self) -> Self {
        self.equal_parts = true;
        self
    }

    /// Refuses to complete an upload with a part, other than the last, below this size in bytes.
    /// S3's own rule is 5 MiB.
    #[must_use]
    pub fn min_part_size_bytes(mut self, size_bytes: u64) -> Self {
        self.min_part_size_bytes = size_bytes;
        self
    }

    /// The most entries one page of any listing holds, 1 to 1,000, whatever the client asked for.
    /// S3 may always answer fewer than `max-keys`; a small page makes paging cheap to test.
    #[must_use]
    pub fn page_size(mut self, entries: usize) -> Self {
        self.page_size = entries.clamp(1, 1_000);
        self
    }

    /// Forgets the bytes of uploads and keeps only their length and ETag, so that very large
    /// uploads cost no memory. A GET answers that many zero bytes; `corrupt` does nothing.
    #[must_use]
    pub fn discard_bodies(mut self) -> Self {
        self.discard_bodies = true;
        self
    }

    /// Adds a key, for example one with few capabilities.
    #[must_use]
    pub fn access_key(mut self, key: AccessKey) -> Self {
        self.keys.push(key);
        self
    }

    pub(crate) fn find_key(&self, key_id: &str) -> Option<&AccessKey> {
        self.keys.iter().find(|key| key.key_id == key_id)
    }
}

/// One thing a key may do. The names follow B2's; on the S3 profiles they stand for the matching
/// IAM actions.
///
/// Source: <https://www.backblaze.com/docs/cloud-storage-application-key-capabilities>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// ListBuckets, HeadBucket and reading a bucket's settings.
    ListBuckets,
    /// Changing a bucket's settings (lifecycle, CORS).
    WriteBuckets,
    /// Listing objects, versions and unfinished uploads. Without it a missing key is answered
    /// 403, not 404.
    ListFiles,
    /// GET, HEAD, and the source of a copy.
    ReadFiles,
    /// PUT, every step of a multipart upload, the destination of a copy; in the B2 profile also
    /// DELETE by name, which only hides.
    WriteFiles,
    /// DELETE of a version; in the S3 profiles every DELETE.
    DeleteFiles,
}

impl Capability {
    /// Every capability there is.
    pub const ALL: [Self; 6] = [
        Self::ListBuckets,
        Self::WriteBuckets,
        Self::ListFiles,
        Self::ReadFiles,
        Self::WriteFiles,
        Self::DeleteFiles,
    ];
}

/// A key pair that the server knows, and what it allows.
#[derive(Clone)]
pub struct AccessKey {
    /// The public half.
    pub key_id: String,
    /// The secret half. [`Debug`](fmt::Debug) does not show it.
    pub application_key: String,
    /// What the key may do.
    pub capabilities: Vec<Capability>,
    /// The only bucket the key may touch; `None` is all of them.
    pub bucket: Option<String>,
    /// The only key prefix the key may touch; `None` is all of them.
    pub prefix: Option<String>,
}

impl AccessKey {
    /// A key that may do everything everywhere.
    #[must_use]
    pub fn new(key_id: impl Into<String>, application_key: impl Into<String>) -> Self {
        Self {
            key_id: key_id.into(),
            application_key: application_key.into(),
            capabilities: Capability::ALL.to_vec(),
            bucket: None,
            prefix: None,
        }
    }

    /// Leaves the key only these capabilities.
    #[must_use]
    pub fn only(mut self, capabilities: &[Capability]) -> Self {
        self.capabilities = capabilities.to_vec();
        self
    }

    /// Takes one capability away.
    #[must_use]
    pub fn without(mut self, capability: Capability) -> Self {
        self.capabilities.retain(|held| *held != capability);
        self
    }

    /// Restricts the key to one bucket.
    #[must_use]
    pub fn bucket(mut self, bucket: impl Into<String>) -> Self {
        self.bucket = Some(bucket.into());
        self
    }

    /// Restricts the key to object keys that start with `prefix`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = Some(prefix.into());
        self
    }

    pub(crate) fn can(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}

impl fmt::Debug for AccessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKey")
            .field("key_id", &self.key_id)
            .field("capabilities", &self.capabilities)
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
