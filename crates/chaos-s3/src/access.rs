//! Who may do what: the keys the server knows, for the signature check, and their capabilities.

use std::sync::Arc;

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{Credentials, S3Auth, SecretKey};
use s3s::path::S3Path;
use s3s::{S3Error, S3Result, s3_error};

use crate::operation::query_pairs;
use crate::options::{AccessKey, Capability, Options, Profile};

/// Looks keys up for the signature check.
pub(crate) struct Keys(pub(crate) Arc<Options>);

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, key_id: &str) -> S3Result<SecretKey> {
        self.0
            .find_key(key_id)
            .map(|key| SecretKey::from(key.application_key.as_str()))
            .ok_or_else(|| s3_error!(InvalidAccessKeyId))
    }
}

/// Refuses what a key has no capability for. Runs after the signature was verified.
pub(crate) struct Capabilities(pub(crate) Arc<Options>);

#[async_trait::async_trait]
impl S3Access for Capabilities {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let options = &self.0;
        let key = key_of(options, cx.credentials())?;
        let query: Vec<(String, String)> = query_pairs(cx.uri().query().unwrap_or("")).collect();
        let in_query = |name: &str| query.iter().find(|(n, _)| n == name).map(|(_, v)| &**v);

        let has_version = in_query("versionId").is_some();
        let needed = capabilities_for(options.profile, cx.s3_op().name(), has_version);
        if !needed.iter().all(|capability| key.can(*capability)) {
            return Err(not_entitled(options.profile));
        }

        let (bucket, object) = match cx.s3_path() {
            S3Path::Root => (None, None),
            S3Path::Bucket { bucket } => (Some(bucket), None),
            S3Path::Object { bucket, key } => (Some(bucket), Some(key)),
        };
        let allowed = |restriction: &Option<String>, name: &str| {
            restriction.as_ref().is_none_or(|only| only == name)
        };
        if bucket.is_some_and(|bucket| !allowed(&key.bucket, bucket)) {
            return Err(not_entitled(options.profile));
        }
        let about = match object {
            Some(object) => Some(&**object),
            None if needed == [Capability::ListFiles] => Some(in_query("prefix").unwrap_or("")),
            None => None,
        };
        if about.is_some_and(|about| !covers(key, about)) {
            return Err(not_entitled(options.profile));
        }
        Ok(())
    }
}

/// The key that signed a request.
pub(crate) fn key_of<'a>(
    options: &'a Options,
    credentials: Option<&Credentials>,
) -> S3Result<&'a AccessKey> {
    credentials
        .and_then(|credentials| options.find_key(&credentials.access_key))
        .ok_or_else(|| s3_error!(AccessDenied, "Access Denied"))
}

/// Whether the key may touch this object key, or list this prefix.
pub(crate) fn covers(key: &AccessKey, object_key: &str) -> bool {
    key.prefix
        .as_ref()
        .is_none_or(|prefix| object_key.starts_with(prefix))
}

/// What a DELETE of one key, or one version of it, needs. In B2 a DELETE by name only hides,
/// which is a kind of writing.
pub(crate) fn delete_needs(profile: Profile, has_version: bool) -> Capability {
    match (profile, has_version) {
        (Profile::B2, false) => Capability::WriteFiles,
        _ => Capability::DeleteFiles,
    }
}

pub(crate) fn not_entitled(profile: Profile) -> S3Error {
    match profile {
        Profile::B2 => s3_error!(AccessDenied, "not entitled"),
        Profile::S3 => s3_error!(AccessDenied, "Access Denied"),
    }
}

fn capabilities_for(profile: Profile, operation: &str, has_version: bool) -> Vec<Capability> {
    match operation {
        "ListBuckets"
        | "HeadBucket"
        | "GetBucketLocation"
        | "GetBucketVersioning"
        | "GetBucketLifecycleConfiguration"
        | "GetBucketCors" => vec![Capability::ListBuckets],
        "PutBucketLifecycleConfiguration" | "PutBucketCors" => vec![Capability::WriteBuckets],
        "ListObjectsV2" | "ListObjectVersions" | "ListMultipartUploads" => {
            vec![Capability::ListFiles]
        }
        "GetObject" | "HeadObject" => vec![Capability::ReadFiles],
        "CopyObject" => vec![Capability::ReadFiles, Capability::WriteFiles],
        "DeleteObject" => vec![delete_needs(profile, has_version)],
        // Each entry of DeleteObjects is checked by itself.
        "DeleteObjects" => vec![],
        _ => vec![Capability::WriteFiles],
    }
}
