//! A bucket on an S3 server in this process.

use std::time::Duration;

use chaos_s3::{ChaosS3, Options};
use stockroom_storage::{S3Config, S3Retries, S3Store, S3Timeouts, Secret};

/// The size of the parts that an upload to [`Bucket`] goes in: the smallest that B2 takes.
pub(crate) const PART_BYTES: usize = 5_000_000;

pub(crate) struct Bucket {
    pub(crate) server: ChaosS3,
    pub(crate) store: S3Store,
}

impl Bucket {
    /// An empty bucket, and a store that gives up soon.
    pub(crate) async fn start(options: Options) -> Self {
        let server = ChaosS3::start(options).await.expect("a server");
        let config = S3Config {
            timeouts: S3Timeouts {
                connect: Duration::from_secs(1),
                answer: Duration::from_secs(1),
                complete: Duration::from_secs(1),
                read_idle: Duration::from_millis(500),
            },
            retries: S3Retries {
                attempts: 2,
                base: Duration::from_millis(5),
                longest_wait: Duration::from_millis(10),
                deadline: Duration::from_secs(1),
            },
            part_bytes: PART_BYTES as u64,
            ..S3Config::new(
                server.endpoint(),
                server.region(),
                server.bucket(),
                server.key_id(),
                Secret::new(server.application_key()),
            )
        };
        let store = S3Store::connect(&config).expect("a store");
        Self { server, store }
    }
}
