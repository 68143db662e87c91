//! Two stores as one: an upload reaches both, one copy is damaged, and a download heals itself.
//!
//! `cargo run -p stockroom-storage --example hybrid` uses a second folder in the place of a
//! bucket. With S3_ENDPOINT, S3_REGION, S3_BUCKET, S3_KEY_ID and S3_APPLICATION_KEY in the
//! environment it uses that bucket.

use std::env;
use std::error::Error;
use std::fs::OpenOptions;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use stockroom_storage::{
    Doubt, Doubts, Expected, HybridOptions, Key, LocalOptions, LocalStore, S3Config, S3Store,
    Secret, Storage, Store, StoreName, WriteOptions, open_read,
};

/// Prints what a read noticed. A program with a catalog marks the copy, and has it made anew.
#[derive(Debug)]
struct Print;

impl Doubts for Print {
    fn doubt(&self, doubt: &Doubt) {
        let Doubt {
            store,
            offset,
            kind,
            detail,
            ..
        } = doubt;
        println!("the copy on {store} is {kind} from byte {offset} on: {detail}");
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let second_folder = tempfile::tempdir()?;
    let local = LocalStore::open(folder.path(), LocalOptions::default())?;
    let second = second_store(second_folder.path())?;
    let storage = Storage::hybrid(Arc::new(local), second, HybridOptions::default());

    // The bytes pass once: to both stores, and through the hash.
    let key: Key = "models/42/shield.stl".parse()?;
    let mut upload = storage.upload(&key, WriteOptions::default()).await?;
    for piece in content().chunks(100_000) {
        upload.write(Bytes::copy_from_slice(piece)).await?;
    }
    let stored = upload.finish().await?;
    let facts = &stored.facts;
    println!("{} bytes, SHA-256 {}", facts.size_bytes, facts.sha256);
    for (store, result) in &stored.placements {
        match result {
            Ok(_) => println!("durable on {store}"),
            Err(error) => println!("not on {store}: {error}"),
        }
    }

    // A bit on the disk goes bad.
    let mut file = OpenOptions::new()
        .write(true)
        .open(folder.path().join(key.as_str()))?;
    file.seek(SeekFrom::Start(3_000_000))?;
    file.write_all(&[0xff])?;

    let expected = Expected::from(facts);
    let sources = storage.sources(&key);
    let read = open_read(sources, Some(expected), None, Arc::new(Print)).await?;
    println!("reading from {}", read.served_by);
    let pieces: Vec<Bytes> = read.stream.try_collect().await?;
    let good = pieces.concat() == content();
    println!("every byte is the one that was uploaded: {good}");

    storage.delete(&key).await?;
    Ok(())
}

/// Five megabytes.
fn content() -> Vec<u8> {
    (0..50_u8).flat_map(|n| [n; 100_000]).collect()
}

/// The bucket of the environment, or the folder.
fn second_store(folder: &Path) -> Result<Arc<dyn Store>, Box<dyn Error>> {
    let Ok(endpoint) = env::var("S3_ENDPOINT") else {
        let options = LocalOptions::default().name("second".parse::<StoreName>()?);
        return Ok(Arc::new(LocalStore::open(folder, options)?));
    };
    let config = S3Config::new(
        endpoint,
        env::var("S3_REGION")?,
        env::var("S3_BUCKET")?,
        env::var("S3_KEY_ID")?,
        Secret::new(env::var("S3_APPLICATION_KEY")?),
    );
    Ok(Arc::new(S3Store::connect(&config)?))
}
