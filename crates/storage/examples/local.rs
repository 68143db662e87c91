//! A folder as a store: put, look, read a part, sign a URL, list, delete.
//!
//! `cargo run -p stockroom-storage --example local [FOLDER]`; without a folder, a temporary one.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use stockroom_storage::{
    ByteRange, Key, KeyPrefix, LocalOptions, LocalStore, SignRequest, SigningKey, SigningKeys,
    Store, SystemEntropy, UrlSigner, WriteOptions,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let temporary = tempfile::tempdir()?;
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(|| temporary.path().to_owned(), PathBuf::from);

    // Whoever serves `https://files.example.com/files/...` checks the URLs with the same keys.
    let keys = SigningKeys::new(vec![SigningKey::generate("k1", &SystemEntropy)?])?;
    let signer = UrlSigner::new(keys, "https://files.example.com");
    let store = LocalStore::open(&folder, LocalOptions::default().signer(signer))?;

    let key: Key = "models/42/shield.stl".parse()?;
    let mut options = WriteOptions {
        content_type: Some("model/stl".to_owned()),
        ..WriteOptions::default()
    };
    options.metadata.insert("artist-id", "u42")?;
    let content = Bytes::from("solid shield\nendsolid shield\n");
    store.put(&key, content, options).await?;

    let info = store.head(&key).await?;
    println!(
        "{key}: {} bytes, written {}",
        info.size_bytes, info.modified_at
    );
    for (name, value) in info.metadata.iter() {
        println!("  {name}: {value}");
    }

    let first_line = ByteRange::Inclusive { first: 0, last: 11 };
    let part = store.get(&key, Some(first_line)).await?.bytes().await?;
    println!("its first line: {}", String::from_utf8_lossy(&part));

    let request = SignRequest::get(Duration::from_secs(900));
    let signed = store.signed_url(&key, &request).await?;
    println!("good until {}: {}", signed.expires_at, signed.url);

    let mut entries = store.list(&KeyPrefix::all());
    while let Some(entry) = entries.try_next().await? {
        println!("in the folder: {} ({} bytes)", entry.key, entry.size_bytes);
    }

    store.delete(&key).await?;
    println!("there after the deletion: {}", store.exists(&key).await?);
    Ok(())
}
