//! The facade under its modes, most of all as a hybrid of two stores.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, ending with a panic is how it fails"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use stockroom_storage::{
    Ack, ByteRange, CHUNK_BYTES, ErrorKind, HybridOptions, KeyPrefix, Metadata, Mode, ReadOrder,
    Sha256Digest, SignMethod, SignRequest, Storage, Store, StoreName, WriteOptions,
};
use support::{Doubted, Faults, Faulty, Trouble, bytes, key, keys};

struct Hybrid {
    folders: [support::Folder; 2],
    stores: [Arc<Faulty>; 2],
    storage: Storage,
    doubted: Arc<Doubted>,
}

impl Hybrid {
    async fn new(read: ReadOrder, ack: Ack) -> Self {
        let folders = [support::Folder::new(), support::Folder::new()];
        let stores = [0, 1].map(|i| support::renamed(["local", "s3"][i], folders[i].store.clone()));
        let options = HybridOptions { read, ack };
        let doubted = Arc::<Doubted>::default();
        Self {
            storage: Storage::hybrid(stores[0].clone(), stores[1].clone(), options)
                .with_doubts(doubted.clone()),
            folders,
            stores,
            doubted,
        }
    }

    fn fail(&self, i: usize, kind: ErrorKind) {
        self.stores[i].set(Faults {
            open: Some(kind),
            get: Some(kind),
            head: Some(kind),
            delete: Some(kind),
            ..Faults::default()
        });
    }

    async fn put_on(&self, i: usize, name: &str, content: &Bytes) {
        self.folders[i].put(name, content).await;
    }
}

fn plain() -> WriteOptions {
    WriteOptions::default()
}

async fn read(storage: &Storage, name: &str) -> Bytes {
    let result = storage.get(&key(name), None).await.unwrap();
    result.bytes().await.unwrap()
}

#[tokio::test]
async fn one_store_behind_the_facade_is_that_store() {
    let folder = support::Folder::new();
    for (storage, mode) in [
        (Storage::local(folder.store.clone()), Mode::Local),
        (
            Storage::s3(support::renamed("s3", folder.store.clone())),
            Mode::S3,
        ),
    ] {
        assert_eq!(storage.mode(), mode);
        assert_eq!(storage.name().as_str(), mode.as_str());
        assert_eq!(storage.stores().len(), 1);
        assert_eq!(storage.read_order(), [storage.name().clone()]);
        let content = bytes(41, 1_000);
        storage
            .put(&key("models/a"), content.clone(), plain())
            .await
            .unwrap();
        assert_eq!(read(&storage, "models/a").await, content);
        assert_eq!(keys(&storage).await, ["models/a"]);
        storage.delete(&key("models/a")).await.unwrap();
        assert!(!storage.exists(&key("models/a")).await.unwrap());
    }
}

#[tokio::test]
async fn a_hybrid_tells_what_it_is_made_of() {
    let hybrid = Hybrid::new(ReadOrder::S3First, Ack::Any).await;
    let storage = &hybrid.storage;
    assert_eq!(
        (storage.mode(), storage.name().as_str()),
        (Mode::Hybrid, "hybrid")
    );
    assert_eq!(storage.read_order(), [StoreName::S3, StoreName::LOCAL]);
    let written: Vec<_> = storage.stores().iter().map(|store| store.name()).collect();
    assert_eq!(written, [&StoreName::LOCAL, &StoreName::S3]);
    assert!(storage.store(&StoreName::S3).is_some());
    assert!(storage.store(&"tape".parse().unwrap()).is_none());
    let sources = storage.sources(&key("models/a"));
    assert_eq!(sources[0].store.name(), &StoreName::S3);
}

#[tokio::test]
async fn a_put_reaches_both_stores_with_all_that_was_said_of_it() {
    let hybrid = Hybrid::new(ReadOrder::LocalFirst, Ack::Both).await;
    let mut metadata = Metadata::default();
    metadata.insert("artist-id", "u42").unwrap();
    let options = WriteOptions {
        content_type: Some("model/stl".to_owned()),
        metadata: metadata.clone(),
        ..plain()
    };
    let content = bytes(42, 10_000);
    hybrid
        .storage
        .put(&key("models/a"), content.clone(), options)
        .await
        .unwrap();
    for store in hybrid.storage.stores() {
        let info = store.head(&key("models/a")).await.unwrap();
        assert_eq!(info.content_type.as_deref(), Some("model/stl"));
        assert_eq!(info.metadata, metadata);
        assert_eq!(info.sha256, Some(Sha256Digest::of(&content)));
    }
}

#[tokio::test]
async fn other_bytes_than_were_announced_are_refused() {
    for ack in [Ack::Any, Ack::Both] {
        let hybrid = Hybrid::new(ReadOrder::LocalFirst, ack).await;
        let options = WriteOptions {
            sha256: Some(Sha256Digest::of(b"something else")),
            ..plain()
        };
        let put = hybrid
            .storage
            .put(&key("models/a"), bytes(53, 100), options)
            .await;
        assert_eq!(put.unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(keys(&hybrid.storage).await, [""; 0]);
    }
}

#[tokio::test]
async fn the_read_order_is_kept_and_failed_over() {
    for (order, first) in [(ReadOrder::LocalFirst, 0), (ReadOrder::S3First, 1)] {
        let hybrid = Hybrid::new(order, Ack::Any).await;
        let content = [bytes(43, 1_000), bytes(44, 1_000)];
        hybrid.put_on(0, "models/a", &content[0]).await;
        hybrid.put_on(1, "models/a", &content[1]).await;
        assert_eq!(read(&hybrid.storage, "models/a").await, content[first]);
        hybrid.fail(first, ErrorKind::Unavailable);
        assert_eq!(read(&hybrid.storage, "models/a").await, content[1 - first]);
        assert_eq!(hybrid.doubted.take().len(), 1);
        let info = hybrid.storage.head(&key("models/a")).await.unwrap();
        assert_eq!(info.size_bytes, 1_000);
        hybrid.fail(1 - first, ErrorKind::Unavailable);
        let error = hybrid
            .storage
            .get(&key("models/a"), None)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn a_download_goes_on_from_the_other_store() {
    let hybrid = Hybrid::new(ReadOrder::LocalFirst, Ack::Both).await;
    let content = bytes(45, 3 * CHUNK_BYTES);
    hybrid
        .storage
        .put(&key("models/a"), content.clone(), plain())
        .await
        .unwrap();
    for trouble in [Trouble::Error(ErrorKind::Unavailable), Trouble::End] {
        hybrid.stores[0].set(Faults {
            read: Some((1_234_567, trouble)),
            ..Faults::default()
        });
        assert!(read(&hybrid.storage, "models/a").await == content);
        let range = ByteRange::Inclusive {
            first: 1_000_000,
            last: 2_000_000,
        };
        let result = hybrid
            .storage
            .get(&key("models/a"), Some(range))
            .await
            .unwrap();
        assert!(result.bytes().await.unwrap() == content[1_000_000..=2_000_000]);
    }
}

#[tokio::test]
async fn unknown_is_not_missing() {
    let hybrid = Hybrid::new(ReadOrder::LocalFirst, Ack::Any).await;
    let storage = &hybrid.storage;
    assert!(!storage.exists(&key("models/a")).await.unwrap());
    assert!(
        storage
            .get(&key("models/a"), None)
            .await
            .unwrap_err()
            .is_not_found()
    );
    for kind in [ErrorKind::Unavailable, ErrorKind::Denied] {
        for failing in [0, 1] {
            hybrid.fail(failing, kind);
            hybrid.stores[1 - failing].set(Faults::default());
            assert_eq!(
                storage.exists(&key("models/a")).await.unwrap_err().kind(),
                kind
            );
            let error = storage.get(&key("models/a"), None).await.unwrap_err();
            assert_eq!(error.kind(), kind);
        }
    }
}

#[tokio::test]
async fn a_delete_reaches_both_or_says_so() {
    let hybrid = Hybrid::new(ReadOrder::LocalFirst, Ack::Both).await;
    let content = bytes(46, 100);
    for failing in [0, 1] {
        hybrid
            .storage
            .put(&key("models/a"), content.clone(), plain())
            .await
            .unwrap();
        hybrid.stores[failing].set(Faults {
            delete: Some(ErrorKind::Unavailable),
            ..Faults::default()
        });
        let error = hybrid.storage.delete(&key("models/a")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        // The other store did its part all the same.
        assert!(
            keys(hybrid.folders[1 - failing].store.as_ref())
                .await
                .is_empty()
        );
        hybrid.stores[failing].set(Faults::default());
        hybrid.storage.delete(&key("models/a")).await.unwrap();
        hybrid.storage.delete(&key("models/a")).await.unwrap();
        assert!(!hybrid.storage.exists(&key("models/a")).await.unwrap());
    }
}

#[tokio::test]
async fn a_list_is_the_union() {
    let hybrid = Hybrid::new(ReadOrder::S3First, Ack::Any).await;
    let content = bytes(47, 10);
    for name in ["models/both", "models/local", "temp/local"] {
        hybrid.put_on(0, name, &content).await;
    }
    for name in ["models/both", "models/s3", "temp/s3"] {
        hybrid.put_on(1, name, &content).await;
    }
    for n in 0..50 {
        hybrid.put_on(n % 2, &format!("images/{n}"), &content).await;
    }
    let prefix: KeyPrefix = "models/".parse().unwrap();
    let entries: Vec<_> = hybrid.storage.list(&prefix).try_collect().await.unwrap();
    let mut listed: Vec<_> = entries.iter().map(|entry| entry.key.as_str()).collect();
    listed.sort_unstable();
    assert_eq!(listed, ["models/both", "models/local", "models/s3"]);
    assert_eq!(keys(&hybrid.storage).await.len(), 55);

    // Whether an object of the bucket is in the folder too cannot be told now.
    hybrid.fail(0, ErrorKind::Unavailable);
    let items: Vec<_> = hybrid.storage.list(&prefix).collect().await;
    assert!(items.iter().any(Result::is_err));
}

#[tokio::test]
async fn an_acknowledged_upload_is_readable_while_a_store_is_away() {
    for failing in [0, 1] {
        let hybrid = Hybrid::new(ReadOrder::LocalFirst, Ack::Any).await;
        hybrid.fail(failing, ErrorKind::Unavailable);
        let content = bytes(48, 2 * CHUNK_BYTES);
        let mut upload = hybrid
            .storage
            .upload(&key("models/a"), plain())
            .await
            .unwrap();
        upload.write(content.clone()).await.unwrap();
        let stored = upload.finish().await.unwrap();
        assert!(stored.placements[failing].1.is_err());
        assert!(read(&hybrid.storage, "models/a").await == content);
        hybrid.stores[failing].set(Faults::default());
        assert!(read(&hybrid.storage, "models/a").await == content);

        // The same through the trait.
        hybrid.fail(failing, ErrorKind::Unavailable);
        hybrid
            .storage
            .put(&key("models/b"), content.clone(), plain())
            .await
            .unwrap();
        assert!(read(&hybrid.storage, "models/b").await == content);
    }
}

#[tokio::test]
async fn a_failed_put_under_both_is_taken_back() {
    let hybrid = Hybrid::new(ReadOrder::LocalFirst, Ack::Both).await;
    hybrid.stores[1].set(Faults {
        finish: Some(ErrorKind::Unavailable),
        ..Faults::default()
    });
    let put = hybrid
        .storage
        .put(&key("models/a"), bytes(49, 1_000), plain())
        .await;
    assert_eq!(put.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(keys(&hybrid.storage).await, Vec::<String>::new());
}

/// What the documentation of `Storage` says of a hybrid without a catalog.
#[tokio::test]
async fn after_a_replacement_under_failure_the_old_bytes_can_come_back_but_never_mixed() {
    let hybrid = Hybrid::new(ReadOrder::S3First, Ack::Any).await;
    let (old, new) = (bytes(50, 2 * CHUNK_BYTES), bytes(51, 2 * CHUNK_BYTES));
    hybrid
        .storage
        .put(&key("models/a"), old.clone(), plain())
        .await
        .unwrap();
    hybrid.fail(1, ErrorKind::Unavailable);
    hybrid
        .storage
        .put(&key("models/a"), new.clone(), plain())
        .await
        .unwrap();
    assert!(read(&hybrid.storage, "models/a").await == new);
    hybrid.stores[1].set(Faults::default());
    assert!(read(&hybrid.storage, "models/a").await == old);
    hybrid.stores[1].set(Faults {
        read: Some((1_000_000, Trouble::Error(ErrorKind::Unavailable))),
        ..Faults::default()
    });
    let result = hybrid.storage.get(&key("models/a"), None).await.unwrap();
    assert_eq!(
        result.bytes().await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
}

#[tokio::test]
async fn a_signed_url_is_of_the_first_store_that_has_the_object() {
    let hybrid = Hybrid::new(ReadOrder::LocalFirst, Ack::Any).await;
    let request = SignRequest::get(Duration::from_secs(60));
    let sign = async |name: &str| hybrid.storage.signed_url(&key(name), &request).await;
    // Signing does not tell whether there is an object, but it chooses by it.
    let nowhere = sign("models/a").await.unwrap().url;
    assert!(nowhere.starts_with(&hybrid.folders[0].base_url));
    hybrid.fail(1, ErrorKind::Unavailable);
    let perhaps_on_second = sign("models/a").await.unwrap().url;
    assert!(perhaps_on_second.starts_with(&hybrid.folders[1].base_url));
    hybrid.stores[1].set(Faults::default());
    hybrid.put_on(1, "models/a", &bytes(52, 10)).await;
    let on_second = sign("models/a").await.unwrap().url;
    assert!(
        on_second.starts_with(&hybrid.folders[1].base_url),
        "not of the second store"
    );
    hybrid.put_on(0, "models/a", &bytes(52, 10)).await;
    let on_first = sign("models/a").await.unwrap().url;
    assert!(
        on_first.starts_with(&hybrid.folders[0].base_url),
        "not of the first store"
    );
    let put = SignRequest {
        method: SignMethod::Put,
        ..request.clone()
    };
    let error = hybrid
        .storage
        .signed_url(&key("models/a"), &put)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}
