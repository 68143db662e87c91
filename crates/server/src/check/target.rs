//! The steps on one store.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use indicatif::HumanBytes;
use stockroom_domain::{Category, Clock, Entropy, Key, KeyPrefix, StoreName};
use stockroom_storage::{
    ByteRange, Error, LocalOptions, LocalStore, NoObserver, S3Config, S3Retries, S3Store,
    SignRequest, Store, UrlSigner, WriteOptions,
};

use super::{Seen, Step, fetch};
use crate::config::{Config, S3Settings};

/// How long the signed URL of the check lives. A B2 server whose clock is off by less than a
/// quarter of an hour still takes requests, and must take this.
const URL_LIFE: Duration = Duration::from_secs(900);

/// A person waits, and wants to hear of a store that often needs more than this.
const RETRIES: S3Retries = S3Retries {
    attempts: 3,
    base: Duration::from_millis(250),
    longest_wait: Duration::from_secs(2),
    deadline: Duration::from_secs(10),
};

/// The part of the object that is read by itself: some of the random digits.
const PART: ByteRange = ByteRange::Inclusive {
    first: 24,
    last: 39,
};

/// The object that is written, and a key under which there is none.
#[derive(Debug)]
pub(super) struct Probe {
    bytes: Bytes,
    entropy: Arc<dyn Entropy>,
    random: String,
}

impl Probe {
    /// A binary STL of one triangle, which nobody else has: its header is random.
    pub(super) fn new(entropy: Arc<dyn Entropy>) -> Self {
        let random = hex::encode(entropy.bytes::<16>());
        let mut bytes = format!("{:<80}", format!("stockroom check {random}")).into_bytes();
        bytes.extend(1_u32.to_le_bytes());
        let (normal, corners) = (
            [0.0, 0.0, 1.0],
            [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0],
        );
        let floats = normal.into_iter().chain(corners);
        bytes.extend(floats.flat_map(f32::to_le_bytes));
        bytes.extend([0, 0]);
        Self {
            bytes: bytes.into(),
            entropy,
            random,
        }
    }

    pub(super) const fn entropy(&self) -> &Arc<dyn Entropy> {
        &self.entropy
    }

    fn key(&self) -> Result<Key, String> {
        self.key_of("stl")
    }

    fn absent_key(&self) -> Result<Key, String> {
        self.key_of("absent")
    }

    fn key_of(&self, extension: &str) -> Result<Key, String> {
        let name = format!("check-{}.{extension}", self.random);
        Key::new(Category::Temp, &name).map_err(|error| error.to_string())
    }
}

/// A store of the mode.
#[derive(Debug)]
pub(super) enum Target {
    /// A folder, which `connect` opens.
    Local {
        folder: PathBuf,
        options: LocalOptions,
        signer: UrlSigner,
        clock: Arc<dyn Clock>,
        store: Option<Arc<LocalStore>>,
    },
    /// A bucket.
    S3 {
        settings: S3Settings,
        store: Arc<S3Store>,
    },
}

impl Target {
    pub(super) fn local(
        config: &Config,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
    ) -> Result<Self, String> {
        let keys = config
            .signing
            .load_or_create(&**entropy)
            .map_err(|error| error.to_string())?;
        let signer = UrlSigner::new(keys, &config.http.public_url(config.http.listen));
        let options = LocalOptions::default()
            .clock(Arc::clone(clock))
            .entropy(Arc::clone(entropy))
            .signer(signer.clone());
        Ok(Self::Local {
            folder: config.storage.dir.clone(),
            options,
            signer,
            clock: Arc::clone(clock),
            store: None,
        })
    }

    pub(super) fn s3(
        config: &Config,
        clock: &Arc<dyn Clock>,
        entropy: &Arc<dyn Entropy>,
    ) -> Result<Self, String> {
        let Some(settings) = config.storage.s3.clone() else {
            return Err(format!("the mode {} needs a bucket", config.storage.mode));
        };
        let s3_config = S3Config {
            retries: RETRIES,
            ..settings.store_config()
        };
        let (clock, entropy) = (Arc::clone(clock), Arc::clone(entropy));
        let store = S3Store::connect_with(&s3_config, clock, entropy, Arc::new(NoObserver))
            .map_err(|error| error.to_string())?;
        Ok(Self::S3 {
            settings,
            store: Arc::new(store),
        })
    }

    pub(super) fn name(&self) -> StoreName {
        match self {
            Self::Local { .. } => StoreName::LOCAL,
            Self::S3 { settings, .. } => settings.name.clone(),
        }
    }

    /// Where the store is, for people.
    pub(super) fn place(&self) -> String {
        match self {
            Self::Local { folder, .. } => format!("the folder {}", folder.display()),
            Self::S3 { settings, .. } => {
                format!("the bucket {} at {}", settings.bucket, settings.endpoint)
            }
        }
    }

    pub(super) async fn perform(&mut self, step: Step, probe: &Probe) -> Seen {
        match step {
            Step::Config => Ok(self.place()),
            Step::Connect => self.connect().await,
            Step::Upload => upload(&*self.store()?, probe).await,
            Step::Exists => exists(&*self.store()?, probe).await,
            Step::Size => size(&*self.store()?, probe).await,
            Step::Download => download(&*self.store()?, probe).await,
            Step::SignedUrl => self.signed_url(probe).await,
            Step::List => list(&*self.store()?, probe).await,
            Step::Delete => delete(&*self.store()?, probe).await,
        }
    }

    fn store(&self) -> Result<Arc<dyn Store>, String> {
        match self {
            Self::Local {
                store: Some(store), ..
            } => Ok(Arc::clone(store) as Arc<dyn Store>),
            Self::Local { store: None, .. } => Err("the folder is not open".to_owned()),
            Self::S3 { store, .. } => Ok(Arc::clone(store) as Arc<dyn Store>),
        }
    }

    async fn connect(&mut self) -> Seen {
        match self {
            Self::Local {
                folder,
                options,
                store,
                ..
            } => {
                let opened = LocalStore::open(folder, options.clone()).map_err(told)?;
                *store = Some(Arc::new(opened));
                let space = rustix::fs::statvfs(&*folder).map_err(|error| error.to_string())?;
                let free_bytes = space.f_bavail.saturating_mul(space.f_frsize);
                Ok(format!(
                    "the folder can be written, {} are free",
                    HumanBytes(free_bytes)
                ))
            }
            Self::S3 { store, .. } => {
                if let Err(error) = store.probe_bucket().await {
                    if error.is_transient() {
                        return Err(told(error));
                    }
                    // The refusal of a HEAD has no code, that of a list has one. And a key may be
                    // allowed to use a bucket without being allowed to ask for it.
                    store.probe_list().await.map_err(told)?;
                }
                Ok("the bucket can be reached with the key".to_owned())
            }
        }
    }

    async fn signed_url(&self, probe: &Probe) -> Seen {
        let key = probe.key()?;
        let signed = self
            .store()?
            .signed_url(&key, &SignRequest::get(URL_LIFE))
            .await
            .map_err(told)?;
        match self {
            Self::Local { signer, clock, .. } => {
                // PUBLIC_URL may end in /files itself, the key holds no such segment.
                let (path, query) = signed
                    .url
                    .rsplit_once("/files/")
                    .and_then(|(_, rest)| rest.split_once('?'))
                    .ok_or_else(|| "the URL has another form".to_owned())?;
                let verified = signer
                    .verify("GET", path, query, clock.now())
                    .map_err(|error| error.to_string())?;
                if verified.key != key {
                    return Err("the URL is for another object".to_owned());
                }
                Ok(
                    "signed and verified; the server itself was not asked, since it need not run"
                        .to_owned(),
                )
            }
            Self::S3 { settings, .. } => {
                let ca_pem = settings.ca.as_ref().map(|ca| ca.pem.as_slice());
                let bytes = fetch::bytes(&signed.url, ca_pem, probe.bytes.len()).await?;
                compare(&bytes, &probe.bytes)?;
                Ok("fetched without a key, the bytes are the same".to_owned())
            }
        }
    }
}

async fn upload(store: &dyn Store, probe: &Probe) -> Seen {
    let options = WriteOptions {
        content_type: Some("model/stl".to_owned()),
        ..WriteOptions::default()
    };
    let key = probe.key()?;
    store
        .put(&key, probe.bytes.clone(), options)
        .await
        .map_err(told)?;
    Ok(format!("{} bytes under {key}", probe.bytes.len()))
}

async fn exists(store: &dyn Store, probe: &Probe) -> Seen {
    if !store.exists(&probe.key()?).await.map_err(told)? {
        return Err("the object that was just written is not there".to_owned());
    }
    if store.exists(&probe.absent_key()?).await.map_err(told)? {
        return Err("an object that was never written is there".to_owned());
    }
    Ok("the object is there, and one that was never written is not".to_owned())
}

async fn size(store: &dyn Store, probe: &Probe) -> Seen {
    let (seen, right) = (
        store.head(&probe.key()?).await.map_err(told)?.size_bytes,
        probe.bytes.len() as u64,
    );
    if seen != right {
        return Err(format!("{seen} bytes in the place of {right}"));
    }
    Ok(format!("{seen} bytes"))
}

async fn download(store: &dyn Store, probe: &Probe) -> Seen {
    let key = probe.key()?;
    let read = async |range| {
        let result = store.get(&key, range).await.map_err(told)?;
        result.bytes().await.map_err(told)
    };
    compare(&read(None).await?, &probe.bytes)?;
    let part = PART
        .resolve(probe.bytes.len() as u64)
        .map_err(|error| error.to_string())?;
    let right = probe.bytes.slice(part.start as usize..part.end as usize);
    compare(&read(Some(PART)).await?, &right)?;
    Ok("the bytes are the same, also those of a part".to_owned())
}

async fn list(store: &dyn Store, probe: &Probe) -> Seen {
    let key = probe.key()?;
    let prefix: KeyPrefix = key
        .as_str()
        .parse()
        .map_err(|_| "the key is no prefix".to_owned())?;
    let entries: Vec<_> = store.list(&prefix).try_collect().await.map_err(told)?;
    match entries.as_slice() {
        [entry] if entry.key == key && entry.size_bytes == probe.bytes.len() as u64 => {
            Ok("the object is listed".to_owned())
        }
        [] => Err("the object is not listed".to_owned()),
        _ => Err("the list shows another object or another size".to_owned()),
    }
}

async fn delete(store: &dyn Store, probe: &Probe) -> Seen {
    let key = probe.key()?;
    store.delete(&key).await.map_err(told)?;
    if store.exists(&key).await.map_err(told)? {
        return Err("the object is still there".to_owned());
    }
    Ok("the object is gone".to_owned())
}

fn compare(seen: &[u8], right: &[u8]) -> Result<(), String> {
    if seen == right {
        Ok(())
    } else {
        Err(format!(
            "the {} bytes that came are not those that were written",
            seen.len()
        ))
    }
}

/// What a store said, with its own code.
#[expect(
    clippy::needless_pass_by_value,
    reason = "it is used with map_err, which hands the error over"
)]
fn told(error: Error) -> String {
    match error.code() {
        Some(code) if !error.detail().contains(code) => {
            format!("{} ({code})", error.detail())
        }
        _ => error.detail().to_owned(),
    }
}
