//! An S3 server for tests: real protocol, strict B2 profile, scripted faults.
//!
//! It runs in the process of the test, on `127.0.0.1` and a free port, over plain HTTP/1.1 or TLS.
//! The protocol is done by the [`s3s`] crate, signatures (also of presigned URLs) are verified,
//! and everything is kept in memory.
//!
//! ```
//! # async fn example() -> std::io::Result<()> {
//! use chaos_s3::{ChaosS3, Fault, FaultAction, Operation, Options};
//!
//! let server = ChaosS3::start(Options::b2()).await?;
//! server.fault(Fault::new(Operation::GetObject, FaultAction::TruncateBody(1_000)));
//! // ... drive it with any S3 client, at server.endpoint(), then look:
//! assert_eq!(server.count(Operation::GetObject), 0);
//! assert!(server.keys().is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! What it does not do: virtual-host addressing, verification of `x-amz-checksum-*` in the S3
//! profiles, CORS preflight, running lifecycle rules, ListObjects version 1, UploadPartCopy.

mod access;
mod answer;
mod body;
mod calls;
mod clock;
mod connection;
mod content;
mod faults;
mod gate;
mod layer;
mod operation;
mod options;
mod profile;
mod server;
mod service;
mod state;
mod tls;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

pub use crate::calls::Call;
pub use crate::faults::{Fault, FaultAction};
pub use crate::operation::Operation;
pub use crate::options::{AccessKey, B2_MIN_PART_SIZE_BYTES, Capability, Options};
pub use crate::state::{ObjectMetadata, UploadInfo, VersionInfo};

use crate::clock::ServerClock;
use crate::faults::FaultPlan;
use crate::layer::Shared;
use crate::server::Server;
use crate::service::Store;

/// A running S3 server. Dropping it stops it.
///
/// The inspections (`keys`, `versions`, `body`, ...) are about the bucket that
/// [`ChaosS3::bucket`] names; they make no calls and are not logged.
pub struct ChaosS3 {
    shared: Arc<Shared>,
    server: Server,
    endpoint: String,
    ca_pem: Option<String>,
}

impl ChaosS3 {
    /// Starts a server; it accepts connections when this returns.
    ///
    /// # Errors
    /// When no port can be had, no thread started, or no certificate made.
    pub async fn start(options: Options) -> io::Result<Self> {
        let tls = options.tls.then(tls::generate).transpose()?;
        let (acceptor, ca_pem) = tls.map(|tls| (tls.acceptor, tls.ca_pem)).unzip();
        let clock = ServerClock::with_skew(options.clock_skew_s);
        let store = Store::new(options, clock);
        let shared = Arc::new(Shared {
            s3: service::build(&store),
            store,
            faults: FaultPlan::default(),
            calls: calls::CallLog::default(),
            connections: Default::default(),
        });
        let server = Server::start(Arc::clone(&shared), acceptor)?;
        let endpoint = match ca_pem {
            Some(_) => format!("https://localhost:{}", server.port),
            None => format!("http://127.0.0.1:{}", server.port),
        };
        Ok(Self {
            shared,
            server,
            endpoint,
            ca_pem,
        })
    }

    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT` with TLS. Use path-style addressing.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.endpoint.clone()
    }

    /// The region requests must be signed for.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.shared.store.options.region
    }

    /// The name of the bucket.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.shared.store.options.bucket
    }

    /// The id of the key that may do everything.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.shared.store.options.keys[0].key_id
    }

    /// The secret of the key that may do everything.
    #[must_use]
    pub fn application_key(&self) -> &str {
        &self.shared.store.options.keys[0].application_key
    }

    /// The certificate authority to trust, as PEM; `None` without TLS.
    #[must_use]
    pub fn ca_pem(&self) -> Option<&str> {
        self.ca_pem.as_deref()
    }

    /// Sets a fault. Several may be set; the first one that is due strikes.
    pub fn fault(&self, fault: Fault) {
        self.shared.faults.add(fault);
    }

    /// Removes all faults. Calls that already hang go on hanging.
    pub fn clear_faults(&self) {
        self.shared.faults.clear();
    }

    /// Takes the server off the network or puts it back, with the same port and the same state.
    /// Off, connections are refused, and those that were open are dropped. Blocks until done,
    /// which takes milliseconds.
    ///
    /// # Errors
    /// When the operating system does not give the port back; the server has then stopped.
    pub fn set_online(&self, online: bool) -> io::Result<()> {
        self.server.set_online(online)
    }

    /// Sets the server's clock wrong by `skew_s` seconds from now on; see [`Options::clock_skew`].
    /// A test that sets its own clock forward takes the server's with it.
    pub fn set_clock_skew(&self, skew_s: i64) {
        self.shared.store.clock.set_skew(skew_s);
    }

    /// All calls since the start or the last [`ChaosS3::clear_calls`].
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.shared.calls.snapshot()
    }

    /// How many calls of an operation there were; [`Operation::Any`] counts all.
    #[must_use]
    pub fn count(&self, operation: Operation) -> usize {
        self.shared.calls.count(operation)
    }

    /// Empties the log of calls.
    pub fn clear_calls(&self) {
        self.shared.calls.clear();
    }

    /// The visible keys, in order; hidden ones are left out.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.shared.store.inspect(|bucket| {
            let keys = bucket.objects.keys();
            keys.filter(|key| bucket.visible(key).is_some())
                .cloned()
                .collect()
        })
    }

    /// The versions of a key, newest first, delete markers included.
    #[must_use]
    pub fn versions(&self, key: &str) -> Vec<VersionInfo> {
        self.shared.store.inspect(|bucket| {
            let versions = bucket.objects.get(key).into_iter().flatten().rev();
            versions.map(state::Version::info).collect()
        })
    }

    /// How many versions, delete markers included, all keys have together: what B2 bills.
    #[must_use]
    pub fn all_version_count(&self) -> usize {
        let store = &self.shared.store;
        store.inspect(|bucket| bucket.objects.values().map(Vec::len).sum())
    }

    /// The multipart uploads that were neither completed nor aborted, oldest first.
    #[must_use]
    pub fn unfinished_uploads(&self) -> Vec<UploadInfo> {
        self.shared.store.inspect(|bucket| {
            let uploads = bucket.uploads.iter();
            uploads.map(|(id, upload)| upload.info(id)).collect()
        })
    }

    /// The bytes of a visible key.
    #[must_use]
    pub fn body(&self, key: &str) -> Option<Bytes> {
        let content = self.shared.store.inspect(|bucket| {
            bucket
                .visible(key)
                .map(|(_, object)| object.content.clone())
        });
        content.map(|content| content.to_bytes())
    }

    /// What was stored beside the bytes of a visible key.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<ObjectMetadata> {
        let store = &self.shared.store;
        store.inspect(|bucket| {
            bucket
                .visible(key)
                .map(|(_, object)| object.metadata.clone())
        })
    }

    /// Stores an object without a call; the id of its version, where there are versions.
    pub fn plant(&self, key: &str, bytes: impl Into<Bytes>) -> Option<String> {
        self.shared.store.plant(key, bytes.into())
    }

    /// Flips one bit of the stored bytes of a visible key, leaving its ETag as it was. False if
    /// there is no such byte.
    pub fn corrupt(&self, key: &str, offset: u64) -> bool {
        self.shared.store.inspect_mut(|bucket| {
            let latest = bucket.objects.get_mut(key).and_then(|v| v.last_mut());
            latest
                .and_then(|version| version.object.as_mut())
                .is_some_and(|object| object.content.flip_bit(offset))
        })
    }

    /// Makes a key vanish with all its versions. False if there was none.
    pub fn remove(&self, key: &str) -> bool {
        let store = &self.shared.store;
        store.inspect_mut(|bucket| bucket.objects.remove(key).is_some())
    }
}

impl std::fmt::Debug for ChaosS3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChaosS3")
            .field("endpoint", &self.endpoint)
            .field("options", &self.shared.store.options)
            .finish_non_exhaustive()
    }
}

/// Locks even where another thread has panicked: the state is plain data, and a test that fails
/// elsewhere should fail with its own message.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
