//! The S3 operations themselves, over the state.

mod buckets;
mod listing;
mod multipart;
mod objects;
mod receive;
mod walk;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use md5::{Digest, Md5};
use s3s::auth::Credentials;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::dto::*;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3ErrorCode, S3Request, S3Response, S3Result};

use crate::access::{self, Capabilities, Keys};
use crate::clock::ServerClock;
use crate::content::Content;
use crate::locked;
use crate::options::{AccessKey, Capability, Options};
use crate::state::{Bucket, ObjectMetadata, State, StoredObject};

/// The state of one server and the rules it keeps.
pub(crate) struct Store {
    pub(crate) options: Arc<Options>,
    pub(crate) clock: ServerClock,
    state: Mutex<State>,
}

/// The `s3s` service over a store.
pub(crate) fn build(store: &Arc<Store>) -> S3Service {
    let mut config = S3Config::default();
    // The gate has already judged the time, by the server's own clock.
    config.presigned_url_max_skew_time_secs = u32::MAX;

    let mut builder = S3ServiceBuilder::new(Operations(Arc::clone(store)));
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    builder.set_auth(Keys(Arc::clone(&store.options)));
    builder.set_access(Capabilities(Arc::clone(&store.options)));
    builder.build()
}

impl Store {
    pub(crate) fn new(options: Options, clock: ServerClock) -> Arc<Self> {
        let state = Mutex::new(State::new(&options, clock.now()));
        Arc::new(Self {
            options: Arc::new(options),
            clock,
            state,
        })
    }

    /// Looks at the main bucket.
    pub(crate) fn inspect<T: Default>(&self, look: impl FnOnce(&Bucket) -> T) -> T {
        self.inspect_mut(|bucket| look(bucket))
    }

    /// Changes the main bucket behind the clients' backs.
    pub(crate) fn inspect_mut<T: Default>(&self, change: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut state = locked(&self.state);
        // The main bucket is made with the state and never removed.
        state
            .bucket_mut(&self.options.bucket)
            .map_or_else(|_| T::default(), change)
    }

    pub(crate) fn plant(&self, key: &str, bytes: Bytes) -> Option<String> {
        let object = StoredObject {
            etag: hex::encode(Md5::digest(&bytes)),
            content: Content::Kept(vec![bytes]),
            metadata: ObjectMetadata::default(),
        };
        let now = self.clock.now();
        locked(&self.state)
            .put(&self.options.bucket, key, object, now)
            .ok()
            .flatten()
    }

    /// The key that signed the request.
    fn caller(&self, credentials: Option<&Credentials>) -> S3Result<&AccessKey> {
        access::key_of(&self.options, credentials)
    }

    /// Who may not list is not told that a key is missing.
    ///
    /// Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/API_GetObject.html>, Permissions.
    fn hide_missing<T>(&self, found: S3Result<T>, caller: &AccessKey) -> S3Result<T> {
        found.map_err(|error| {
            let is_missing = *error.code() == S3ErrorCode::NoSuchKey;
            if is_missing && !caller.can(Capability::ListFiles) {
                return access::not_entitled(self.options.profile);
            }
            error
        })
    }
}

/// What an upload says about its object; the inputs of three operations share these fields.
macro_rules! metadata_of {
    ($input:expr) => {
        crate::state::ObjectMetadata {
            content_type: $input.content_type,
            cache_control: $input.cache_control,
            content_disposition: $input.content_disposition,
            content_encoding: $input.content_encoding,
            content_language: $input.content_language,
            user: $input.metadata.unwrap_or_default().into_iter().collect(),
        }
    };
}
use metadata_of;

/// The face of a store that `s3s` calls.
struct Operations(Arc<Store>);

/// Passes each operation of the trait on to the method of the store with the same name.
macro_rules! operations {
    ($($name:ident: $input:ty => $output:ty),+ $(,)?) => {
        #[async_trait::async_trait]
        impl S3 for Operations {
            $(
                async fn $name(&self, request: S3Request<$input>) -> S3Result<S3Response<$output>> {
                    self.0.$name(request).await
                }
            )+
        }
    };
}

operations! {
    list_buckets: ListBucketsInput => ListBucketsOutput,
    head_bucket: HeadBucketInput => HeadBucketOutput,
    get_bucket_location: GetBucketLocationInput => GetBucketLocationOutput,
    get_bucket_versioning: GetBucketVersioningInput => GetBucketVersioningOutput,
    get_bucket_lifecycle_configuration:
        GetBucketLifecycleConfigurationInput => GetBucketLifecycleConfigurationOutput,
    put_bucket_lifecycle_configuration:
        PutBucketLifecycleConfigurationInput => PutBucketLifecycleConfigurationOutput,
    get_bucket_cors: GetBucketCorsInput => GetBucketCorsOutput,
    put_bucket_cors: PutBucketCorsInput => PutBucketCorsOutput,
    list_objects_v2: ListObjectsV2Input => ListObjectsV2Output,
    list_object_versions: ListObjectVersionsInput => ListObjectVersionsOutput,
    list_multipart_uploads: ListMultipartUploadsInput => ListMultipartUploadsOutput,
    list_parts: ListPartsInput => ListPartsOutput,
    put_object: PutObjectInput => PutObjectOutput,
    get_object: GetObjectInput => GetObjectOutput,
    head_object: HeadObjectInput => HeadObjectOutput,
    copy_object: CopyObjectInput => CopyObjectOutput,
    delete_object: DeleteObjectInput => DeleteObjectOutput,
    delete_objects: DeleteObjectsInput => DeleteObjectsOutput,
    create_multipart_upload: CreateMultipartUploadInput => CreateMultipartUploadOutput,
    upload_part: UploadPartInput => UploadPartOutput,
    complete_multipart_upload: CompleteMultipartUploadInput => CompleteMultipartUploadOutput,
    abort_multipart_upload: AbortMultipartUploadInput => AbortMultipartUploadOutput,
}
