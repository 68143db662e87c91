//! Uploads to several stores: what counts as done, and that nothing is left of the rest.

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
use futures::future::join_all;
use stockroom_storage::{
    Ack, CHUNK_BYTES, ErrorKind, Facts, Sha256Digest, Store, Upload, UploadError, WriteOptions,
};
use support::{Faults, Faulty, bytes, eventually, key, resident_peak_bytes};

const NAMES: [&str; 2] = ["local", "s3"];

/// Two folders that act as two stores, with faults to be scripted.
struct Pair {
    folders: [support::Folder; 2],
    stores: [Arc<Faulty>; 2],
}

impl Pair {
    fn new() -> Self {
        let folders = [support::Folder::new(), support::Folder::new()];
        let stores = [0, 1].map(|i| support::renamed(NAMES[i], folders[i].store.clone()));
        Self { folders, stores }
    }

    fn all(&self) -> Vec<Arc<dyn Store>> {
        self.stores
            .iter()
            .map(|s| s.clone() as Arc<dyn Store>)
            .collect()
    }

    async fn upload(&self, ack: Ack) -> Result<Upload, stockroom_storage::Error> {
        Upload::open(
            &self.all(),
            &key("models/a.stl"),
            WriteOptions::default(),
            ack,
        )
        .await
    }

    async fn content(&self, i: usize) -> Option<Bytes> {
        let result = self.folders[i].store.get(&key("models/a.stl"), None).await;
        match result {
            Ok(result) => Some(result.bytes().await.unwrap()),
            Err(error) if error.is_not_found() => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn left(&self, i: usize) -> usize {
        self.folders[i].files()
    }
}

async fn write_all(upload: &mut Upload, bytes: &Bytes) -> Result<(), stockroom_storage::Error> {
    for at in (0..bytes.len()).step_by(300_000) {
        upload
            .write(bytes.slice(at..bytes.len().min(at + 300_000)))
            .await?;
    }
    Ok(())
}

#[tokio::test]
async fn both_stores_get_the_bytes_and_the_hash_is_computed_once() {
    for ack in [Ack::Any, Ack::Both] {
        let pair = Pair::new();
        let sent = bytes(1, 2 * CHUNK_BYTES + 5);
        let mut upload = pair.upload(ack).await.unwrap();
        write_all(&mut upload, &sent).await.unwrap();
        assert_eq!(upload.size_bytes(), sent.len() as u64);
        assert_eq!(upload.facts_so_far(), Facts::of(&sent));
        assert_eq!(
            pair.content(0).await,
            None,
            "visible before it was finished"
        );
        let stored = upload.finish().await.unwrap();
        assert_eq!(stored.facts, Facts::of(&sent));
        let names: Vec<_> = stored
            .placements
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, NAMES);
        assert!(stored.placements.iter().all(|(_, result)| result.is_ok()));
        for i in [0, 1] {
            assert_eq!(pair.content(i).await.as_ref(), Some(&sent));
        }
    }
}

#[tokio::test]
async fn an_empty_object_and_one_huge_piece_are_stored() {
    for size_bytes in [0, 5 * CHUNK_BYTES + 1] {
        let pair = Pair::new();
        let sent = bytes(2, size_bytes);
        let mut upload = pair.upload(Ack::Both).await.unwrap();
        upload.write(sent.clone()).await.unwrap();
        assert_eq!(upload.finish().await.unwrap().facts, Facts::of(&sent));
        assert_eq!(pair.content(1).await, Some(sent));
    }
}

/// The moments at which one store can fail.
fn moments() -> [(&'static str, Faults); 4] {
    let unavailable = ErrorKind::Unavailable;
    let write = |after_bytes| Faults {
        write: Some((after_bytes, unavailable)),
        ..Faults::default()
    };
    let open = Faults {
        open: Some(unavailable),
        ..Faults::default()
    };
    let finish = Faults {
        finish: Some(unavailable),
        ..Faults::default()
    };
    [
        ("open", open),
        ("first write", write(0)),
        ("mid-write", write(700_000)),
        ("finish", finish),
    ]
}

#[tokio::test]
async fn any_goes_on_with_the_store_that_is_left() {
    for failing in [0, 1] {
        for (moment, faults) in moments() {
            let pair = Pair::new();
            pair.stores[failing].set(faults);
            let sent = bytes(3, 2_000_000);
            let mut upload = pair.upload(Ack::Any).await.unwrap();
            write_all(&mut upload, &sent).await.unwrap();
            let stored = upload.finish().await.unwrap();
            assert_eq!(stored.facts, Facts::of(&sent), "{moment}");
            let (name, result) = &stored.placements[failing];
            assert_eq!(name.as_str(), NAMES[failing]);
            assert_eq!(result.as_ref().unwrap_err().kind(), ErrorKind::Unavailable);
            assert!(stored.placements[1 - failing].1.is_ok(), "{moment}");
            assert_eq!(pair.content(1 - failing).await, Some(sent), "{moment}");
            assert_eq!(pair.content(failing).await, None, "{moment}");
            eventually("the failed store is clean", || pair.left(failing) == 0).await;
        }
    }
}

#[tokio::test]
async fn both_fails_with_the_first_store_that_fails_and_leaves_nothing() {
    for failing in [0, 1] {
        for (moment, faults) in moments() {
            let pair = Pair::new();
            pair.stores[failing].set(faults);
            let sent = bytes(4, 2_000_000);
            let error = match pair.upload(Ack::Both).await {
                Err(error) => error,
                Ok(mut upload) => match write_all(&mut upload, &sent).await {
                    Err(error) => {
                        upload.abort().await;
                        error
                    }
                    Ok(()) => match upload.finish().await {
                        Err(UploadError::Store(error)) => error,
                        other => panic!("{moment}: {other:?}"),
                    },
                },
            };
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{moment}");
            assert_eq!(error.store().as_str(), NAMES[failing], "{moment}");
            assert_eq!([pair.left(0), pair.left(1)], [0, 0], "{moment}");
        }
    }
}

#[tokio::test]
async fn nothing_is_acknowledged_when_all_stores_fail() {
    for ack in [Ack::Any, Ack::Both] {
        for (moment, faults) in moments() {
            let pair = Pair::new();
            pair.stores
                .iter()
                .for_each(|store| store.set(faults.clone()));
            let done = match pair.upload(ack).await {
                Err(_) => false,
                Ok(mut upload) => {
                    let written = write_all(&mut upload, &bytes(5, 2_000_000)).await;
                    // A caller that overlooks the error of a write is told again at the end.
                    let finished = upload.finish().await;
                    assert!(finished.is_err() || written.is_ok());
                    finished.is_ok()
                }
            };
            assert!(!done, "{moment}");
            assert_eq!([pair.left(0), pair.left(1)], [0, 0], "{moment}");
        }
    }
}

#[tokio::test]
async fn the_stores_fail_one_after_the_other() {
    let pair = Pair::new();
    pair.stores[1].set(Faults {
        write: Some((500_000, ErrorKind::Unavailable)),
        ..Faults::default()
    });
    pair.stores[0].set(Faults {
        write: Some((1_500_000, ErrorKind::Full)),
        ..Faults::default()
    });
    let mut upload = pair.upload(Ack::Any).await.unwrap();
    let error = write_all(&mut upload, &bytes(6, 2_000_000))
        .await
        .unwrap_err();
    // What may pass by itself says more than what an operator must mend.
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    upload.abort().await;
    assert_eq!([pair.left(0), pair.left(1)], [0, 0]);
}

#[tokio::test]
async fn a_store_that_is_slow_to_give_up_holds_up_failures_but_not_the_other_store() {
    let abort_takes = Some(Duration::from_millis(300));
    for local_fails in [false, true] {
        let pair = Pair::new();
        pair.stores[1].set(Faults {
            write: Some((600_000, ErrorKind::Unavailable)),
            abort_takes,
            ..Faults::default()
        });
        pair.stores[0].set(Faults {
            finish: local_fails.then_some(ErrorKind::Full),
            ..Faults::default()
        });
        let mut upload = pair.upload(Ack::Any).await.unwrap();
        write_all(&mut upload, &bytes(14, 1_000_000)).await.unwrap();
        let done = upload.finish().await;
        if local_fails {
            assert!(done.is_err());
            assert_eq!([pair.left(0), pair.left(1)], [0, 0]);
        } else {
            assert!(done.is_ok());
            assert_eq!([pair.left(0), pair.left(1)], [1, 1]);
        }
        eventually("the second store is clean", || pair.left(1) == 0).await;
    }
}

#[tokio::test]
async fn what_no_later_try_can_mend_fails_the_upload_under_any_too() {
    for failing in [0, 1] {
        let pair = Pair::new();
        pair.stores[failing].set(Faults {
            finish: Some(ErrorKind::KeyConflict),
            ..Faults::default()
        });
        let mut upload = pair.upload(Ack::Any).await.unwrap();
        upload.write(bytes(7, 1_000)).await.unwrap();
        let error = upload.finish().await.unwrap_err();
        assert!(matches!(error, UploadError::Store(e) if e.kind() == ErrorKind::KeyConflict));
        assert_eq!([pair.left(0), pair.left(1)], [0, 0]);
    }
}

#[tokio::test]
async fn other_bytes_than_were_announced_are_never_visible() {
    let pair = Pair::new();
    let sent = bytes(8, 1_500_000);
    let wrong = Sha256Digest::of(b"something else");
    let actual = Sha256Digest::of(&sent);

    let mut upload = pair.upload(Ack::Any).await.unwrap();
    write_all(&mut upload, &sent).await.unwrap();
    let error = upload.finish_expecting(Some(wrong)).await.unwrap_err();
    assert!(
        matches!(error, UploadError::DigestMismatch { expected, actual: a } if expected == wrong && a == actual)
    );
    assert_eq!([pair.left(0), pair.left(1)], [0, 0]);

    let options = WriteOptions {
        sha256: Some(wrong),
        ..WriteOptions::default()
    };
    let upload = Upload::open(&pair.all(), &key("models/a.stl"), options, Ack::Any).await;
    let mut upload = upload.unwrap();
    write_all(&mut upload, &sent).await.unwrap();
    assert!(matches!(
        upload.finish_expecting(Some(actual)).await,
        Err(UploadError::DigestMismatch { .. })
    ));
    assert_eq!([pair.left(0), pair.left(1)], [0, 0]);

    let mut upload = pair.upload(Ack::Any).await.unwrap();
    write_all(&mut upload, &sent).await.unwrap();
    upload.finish_expecting(Some(actual)).await.unwrap();
    assert_eq!(pair.content(0).await, Some(sent));
}

#[tokio::test]
async fn an_upload_that_is_aborted_or_dropped_leaves_nothing() {
    let pair = Pair::new();
    let mut upload = pair.upload(Ack::Any).await.unwrap();
    write_all(&mut upload, &bytes(9, 2_000_000)).await.unwrap();
    upload.abort().await;
    assert_eq!([pair.left(0), pair.left(1)], [0, 0]);

    let mut upload = pair.upload(Ack::Any).await.unwrap();
    write_all(&mut upload, &bytes(9, 2_000_000)).await.unwrap();
    drop(upload);
    eventually("both are clean", || pair.left(0) + pair.left(1) == 0).await;
}

#[tokio::test]
async fn an_upload_whose_write_was_cancelled_cannot_be_finished() {
    let pair = Pair::new();
    pair.stores[1].set(Faults {
        write_takes: Some(Duration::from_secs(60)),
        ..Faults::default()
    });
    let mut upload = pair.upload(Ack::Any).await.unwrap();
    let write = upload.write(bytes(10, 1_000));
    let cancelled = tokio::time::timeout(Duration::from_millis(50), write).await;
    assert!(cancelled.is_err());
    assert!(upload.write(bytes(10, 1_000)).await.is_err());
    let error = upload.finish().await.unwrap_err();
    assert!(matches!(error, UploadError::Store(e) if e.kind() == ErrorKind::Invalid));
    eventually("both are clean", || pair.left(0) + pair.left(1) == 0).await;
}

#[tokio::test]
async fn without_a_store_there_is_no_upload() {
    for ack in [Ack::Any, Ack::Both] {
        let opened = Upload::open(&[], &key("models/a.stl"), WriteOptions::default(), ack).await;
        assert_eq!(opened.unwrap_err().kind(), ErrorKind::Invalid);
    }
}

#[tokio::test]
async fn a_replaced_object_survives_the_failure_of_what_should_replace_it() {
    for ack in [Ack::Any, Ack::Both] {
        let pair = Pair::new();
        let old = bytes(11, 100_000);
        let mut upload = pair.upload(ack).await.unwrap();
        upload.write(old.clone()).await.unwrap();
        upload.finish().await.unwrap();
        let mut upload = pair.upload(ack).await.unwrap();
        upload.write(bytes(12, 100_000)).await.unwrap();
        upload.abort().await;
        assert_eq!(
            [pair.content(0).await, pair.content(1).await],
            [Some(old.clone()), Some(old)]
        );
    }
}

#[tokio::test]
async fn a_slow_store_slows_the_upload() {
    let pair = Pair::new();
    pair.stores[1].set(Faults {
        write_takes: Some(Duration::from_millis(20)),
        ..Faults::default()
    });
    let mut upload = pair.upload(Ack::Any).await.unwrap();
    let begun = tokio::time::Instant::now();
    for seed in 0..10 {
        upload.write(bytes(seed, 1_000)).await.unwrap();
    }
    assert!(begun.elapsed() >= Duration::from_millis(200));
    upload.abort().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_uploads_at_once_keep_to_themselves() {
    let pair = Pair::new();
    let stores = pair.all();
    let uploads = (0..16_u64).map(|n| {
        let stores = stores.clone();
        tokio::spawn(async move {
            let key = key(&format!("models/{n}.stl"));
            let sent = bytes(n, 1_200_000);
            let options = WriteOptions::default();
            let mut upload = Upload::open(&stores, &key, options, Ack::Both)
                .await
                .unwrap();
            write_all(&mut upload, &sent).await.unwrap();
            upload.finish().await.unwrap();
            for store in &stores {
                let read = store.get(&key, None).await.unwrap().bytes().await.unwrap();
                assert!(read == sent, "upload {n} on {}", store.name());
            }
        })
    });
    for joined in join_all(uploads).await {
        joined.unwrap();
    }
}

#[tokio::test]
async fn a_large_upload_adds_little_memory() {
    let pair = Pair::new();
    let piece = bytes(13, CHUNK_BYTES);
    let mut upload = pair.upload(Ack::Both).await.unwrap();
    upload.write(piece.clone()).await.unwrap();
    let before = resident_peak_bytes();
    for _ in 1..100 {
        // A copy each time, as a body from the network would be.
        upload.write(Bytes::copy_from_slice(&piece)).await.unwrap();
    }
    let stored = upload.finish().await.unwrap();
    assert_eq!(stored.facts.size_bytes, 100 * CHUNK_BYTES as u64);
    let added = resident_peak_bytes().saturating_sub(before);
    assert!(
        added < 24 * 1024 * 1024,
        "{added} bytes of memory were added"
    );
}
