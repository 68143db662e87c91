//! What the server holds: buckets, the versions of their objects, and unfinished uploads.
//!
//! Everything here is plain data behind one lock; no function waits.

use std::collections::BTreeMap;
use std::time::SystemTime;

use s3s::dto::{BucketLifecycleConfiguration, CORSConfiguration};
use s3s::{S3Error, S3Result, s3_error};

use crate::content::Content;
use crate::options::Options;

/// The id of the only version of an object in a bucket without versioning.
pub(crate) const NULL_VERSION: &str = "null";

/// What was stored beside the bytes of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectMetadata {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Content-Encoding`.
    pub content_encoding: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
    /// The `x-amz-meta-*` headers, without that prefix.
    pub user: BTreeMap<String, String>,
}

/// One version of a key, as [`ChaosS3::versions`](crate::ChaosS3::versions) tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionInfo {
    /// The version's id; `null` in a bucket without versioning.
    pub version_id: String,
    /// Whether this version hides the key instead of holding bytes.
    pub is_delete_marker: bool,
    /// Size in bytes; 0 for a delete marker.
    pub size_bytes: u64,
}

/// One multipart upload that was neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadInfo {
    /// The upload's id.
    pub upload_id: String,
    /// The key it would become.
    pub key: String,
    /// How many parts were received.
    pub part_count: usize,
    /// Size of the parts received, in bytes.
    pub size_bytes: u64,
}

#[derive(Debug, Clone)]
pub(crate) struct StoredObject {
    pub(crate) content: Content,
    /// Without quotes.
    pub(crate) etag: String,
    pub(crate) metadata: ObjectMetadata,
}

#[derive(Debug, Clone)]
pub(crate) struct Version {
    pub(crate) version_id: String,
    pub(crate) modified: SystemTime,
    /// `None` is a delete marker.
    pub(crate) object: Option<StoredObject>,
}

#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) content: Content,
    pub(crate) md5: [u8; 16],
    pub(crate) modified: SystemTime,
}

#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) key: String,
    pub(crate) metadata: ObjectMetadata,
    pub(crate) initiated: SystemTime,
    pub(crate) parts: BTreeMap<i32, Part>,
}

#[derive(Debug)]
pub(crate) struct Bucket {
    pub(crate) created: SystemTime,
    versioned: bool,
    /// The versions of each key, oldest first, never empty.
    pub(crate) objects: BTreeMap<String, Vec<Version>>,
    /// Unfinished uploads by id. Ids rise with time.
    pub(crate) uploads: BTreeMap<String, Upload>,
    pub(crate) lifecycle: Option<BucketLifecycleConfiguration>,
    pub(crate) cors: Option<CORSConfiguration>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) buckets: BTreeMap<String, Bucket>,
    last_id: u64,
}

/// What a DELETE did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Deleted {
    /// The version that was removed or, where a delete marker was added, the marker's.
    pub(crate) version_id: Option<String>,
    /// Whether that version is a delete marker.
    pub(crate) is_delete_marker: bool,
}

impl State {
    pub(crate) fn new(options: &Options, now: SystemTime) -> Self {
        let names = std::iter::once(&options.bucket).chain(&options.other_buckets);
        let empty = || Bucket {
            created: now,
            versioned: options.versioned,
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
            lifecycle: None,
            cors: None,
        };
        Self {
            buckets: names.map(|name| (name.clone(), empty())).collect(),
            last_id: 0,
        }
    }

    pub(crate) fn bucket(&self, name: &str) -> S3Result<&Bucket> {
        self.buckets.get(name).ok_or_else(no_such_bucket)
    }

    pub(crate) fn bucket_mut(&mut self, name: &str) -> S3Result<&mut Bucket> {
        self.buckets.get_mut(name).ok_or_else(no_such_bucket)
    }

    /// Makes an object the latest version of a key. The answer is its id, where ids exist.
    pub(crate) fn put(
        &mut self,
        bucket: &str,
        key: &str,
        object: StoredObject,
        now: SystemTime,
    ) -> S3Result<Option<String>> {
        let id = self.next_id('v');
        let bucket = self.bucket_mut(bucket)?;
        let versioned = bucket.versioned;
        let versions = bucket.objects.entry(key.to_owned()).or_default();
        if !versioned {
            versions.clear();
        }
        versions.push(Version {
            version_id: if versioned {
                id.clone()
            } else {
                NULL_VERSION.to_owned()
            },
            modified: now,
            object: Some(object),
        });
        Ok(versioned.then_some(id))
    }

    /// DELETE, with or without a version id, as S3 defines it for the bucket's versioning.
    pub(crate) fn delete(
        &mut self,
        bucket: &str,
        key: &str,
        version_id: Option<&str>,
        now: SystemTime,
    ) -> S3Result<Deleted> {
        let id = self.next_id('v');
        let bucket = self.bucket_mut(bucket)?;
        match version_id {
            Some(version_id) => Ok(bucket.delete_version(key, version_id)),
            None if bucket.versioned => {
                let versions = bucket.objects.entry(key.to_owned()).or_default();
                versions.push(Version {
                    version_id: id.clone(),
                    modified: now,
                    object: None,
                });
                Ok(Deleted {
                    version_id: Some(id),
                    is_delete_marker: true,
                })
            }
            None => {
                bucket.objects.remove(key);
                Ok(Deleted::default())
            }
        }
    }

    pub(crate) fn begin_upload(
        &mut self,
        bucket: &str,
        key: &str,
        metadata: ObjectMetadata,
        now: SystemTime,
    ) -> S3Result<String> {
        let id = self.next_id('u');
        let upload = Upload {
            key: key.to_owned(),
            metadata,
            initiated: now,
            parts: BTreeMap::new(),
        };
        self.bucket_mut(bucket)?.uploads.insert(id.clone(), upload);
        Ok(id)
    }

    /// Ids have a fixed width, so that their order as text is their order in time. Listings rely
    /// on that to go on behind a marker that has been deleted in the meantime.
    fn next_id(&mut self, kind: char) -> String {
        self.last_id += 1;
        format!("{kind}{:016x}", self.last_id)
    }
}

impl Bucket {
    /// The latest version of a key, unless that is a delete marker.
    pub(crate) fn visible(&self, key: &str) -> Option<(&Version, &StoredObject)> {
        let latest = self.objects.get(key)?.last()?;
        Some((latest, latest.object.as_ref()?))
    }

    /// The version a GET or HEAD asks for.
    pub(crate) fn find(
        &self,
        key: &str,
        version_id: Option<&str>,
    ) -> S3Result<(&Version, &StoredObject)> {
        let Some(version_id) = version_id else {
            return self
                .visible(key)
                .ok_or_else(|| s3_error!(NoSuchKey, "The specified key does not exist."));
        };
        let version = self
            .objects
            .get(key)
            .and_then(|versions| versions.iter().find(|v| v.version_id == version_id))
            .ok_or_else(|| s3_error!(NoSuchVersion, "The specified version does not exist."))?;
        let object = version.object.as_ref().ok_or_else(|| {
            s3_error!(
                MethodNotAllowed,
                "The specified version is a delete marker."
            )
        })?;
        Ok((version, object))
    }

    pub(crate) fn upload_mut(&mut self, key: &str, upload_id: &str) -> S3Result<&mut Upload> {
        self.uploads
            .get_mut(upload_id)
            .filter(|upload| upload.key == key)
            .ok_or_else(no_such_upload)
    }

    pub(crate) fn upload(&self, key: &str, upload_id: &str) -> S3Result<&Upload> {
        self.uploads
            .get(upload_id)
            .filter(|upload| upload.key == key)
            .ok_or_else(no_such_upload)
    }

    /// The id to tell a client: none where the bucket has no versioning.
    pub(crate) fn told_version(&self, version: &Version) -> Option<String> {
        self.versioned.then(|| version.version_id.clone())
    }

    pub(crate) fn is_versioned(&self) -> bool {
        self.versioned
    }

    /// Removing a version that is not there is a success, as on S3.
    fn delete_version(&mut self, key: &str, version_id: &str) -> Deleted {
        let mut is_delete_marker = false;
        if let Some(versions) = self.objects.get_mut(key) {
            if let Some(at) = versions.iter().position(|v| v.version_id == version_id) {
                is_delete_marker = versions.remove(at).object.is_none();
            }
            if versions.is_empty() {
                self.objects.remove(key);
            }
        }
        Deleted {
            version_id: Some(version_id.to_owned()),
            is_delete_marker,
        }
    }
}

impl Version {
    pub(crate) fn info(&self) -> VersionInfo {
        VersionInfo {
            version_id: self.version_id.clone(),
            is_delete_marker: self.object.is_none(),
            size_bytes: self
                .object
                .as_ref()
                .map_or(0, |object| object.content.size_bytes()),
        }
    }
}

impl Upload {
    pub(crate) fn info(&self, upload_id: &str) -> UploadInfo {
        UploadInfo {
            upload_id: upload_id.to_owned(),
            key: self.key.clone(),
            part_count: self.parts.len(),
            size_bytes: self.parts.values().map(|p| p.content.size_bytes()).sum(),
        }
    }
}

fn no_such_bucket() -> S3Error {
    s3_error!(NoSuchBucket, "The specified bucket does not exist")
}

fn no_such_upload() -> S3Error {
    s3_error!(
        NoSuchUpload,
        "The specified upload does not exist. It may have been aborted or completed."
    )
}
