//! A hybrid of a folder and a bucket over the real S3 protocol, while the bucket misbehaves.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, ending with a panic is how it fails"
)]

mod support;

use std::sync::Arc;

use bytes::Bytes;
use chaos_s3::{Fault, FaultAction, Operation, Options};
use stockroom_storage::{
    Ack, CHUNK_BYTES, DoubtKind, ErrorKind, Expected, Facts, HybridOptions, ReadOrder, Storage,
    Store, Stored, UploadError, WriteOptions, open_read,
};
use support::{Bucket, Doubted, Folder, PART_BYTES, bytes, eventually, key, resident_peak_bytes};

const KEY: &str = "models/a.stl";

struct Both {
    folder: Folder,
    bucket: Bucket,
    storage: Storage,
}

impl Both {
    async fn new(read: ReadOrder, ack: Ack) -> Self {
        Self::with(Options::b2(), read, ack).await
    }

    async fn with(options: Options, read: ReadOrder, ack: Ack) -> Self {
        let folder = Folder::new();
        let bucket = Bucket::start(options).await;
        let s3 = Arc::new(bucket.store.clone());
        Self {
            storage: Storage::hybrid(folder.store.clone(), s3, HybridOptions { read, ack }),
            folder,
            bucket,
        }
    }

    async fn upload(&self, content: &Bytes) -> Result<Stored, UploadError> {
        let mut upload = self
            .storage
            .upload(&key(KEY), WriteOptions::default())
            .await?;
        for at in (0..content.len()).step_by(400_000) {
            let piece = content.slice(at..content.len().min(at + 400_000));
            if let Err(error) = upload.write(piece).await {
                upload.abort().await;
                return Err(error.into());
            }
        }
        upload.finish().await
    }

    /// A read that is checked against the record, and what it noticed: store, offset and kind.
    async fn checked_read(&self, content: &Bytes) -> (Bytes, Vec<(String, u64, DoubtKind)>) {
        let doubted = Arc::<Doubted>::default();
        let expected = Expected::from(&Facts::of(content));
        let sources = self.storage.sources(&key(KEY));
        let read = open_read(sources, Some(expected), None, doubted.clone())
            .await
            .unwrap();
        let got = support::collect(read.stream).await.unwrap();
        let doubts = doubted.take().into_iter();
        let doubts = doubts
            .map(|d| (d.store.to_string(), d.offset, d.kind))
            .collect();
        (got, doubts)
    }

    /// Neither object nor upload is left on the bucket.
    fn bucket_is_empty(&self) -> bool {
        let server = &self.bucket.server;
        server.all_version_count() == 0 && server.unfinished_uploads().is_empty()
    }
}

/// Every request of this kind fails from now on.
fn broken(operation: Operation) -> Fault {
    Fault::new(operation, FaultAction::internal_error()).forever()
}

#[tokio::test]
async fn a_small_object_costs_one_request_and_a_local_read_none() {
    let both = Both::new(ReadOrder::LocalFirst, Ack::Both).await;
    let content = bytes(61, 200_000);
    both.upload(&content).await.unwrap();
    assert_eq!(both.checked_read(&content).await, (content.clone(), vec![]));
    let server = &both.bucket.server;
    assert_eq!(server.count(Operation::PutObject), 1);
    assert_eq!(server.count(Operation::Any), 1);
    assert_eq!(server.body(KEY), Some(content));
}

#[tokio::test]
async fn a_large_object_reaches_both() {
    let both = Both::new(ReadOrder::S3First, Ack::Both).await;
    let content = bytes(62, 2 * PART_BYTES + 1);
    let stored = both.upload(&content).await.unwrap();
    assert_eq!(stored.facts, Facts::of(&content));
    assert_eq!(both.bucket.server.body(KEY).as_ref(), Some(&content));
    assert!(std::fs::read(both.folder.path_of(KEY)).unwrap() == content);
    assert_eq!(both.checked_read(&content).await, (content, vec![]));
    assert_eq!(both.bucket.server.count(Operation::GetObject), 1);
}

#[tokio::test]
async fn a_bucket_that_fails_at_any_step_costs_its_copy_only() {
    let content = bytes(63, 2 * PART_BYTES + 1);
    let steps = [
        broken(Operation::CreateMultipartUpload),
        broken(Operation::UploadPart),
        broken(Operation::UploadPart).after(1),
        broken(Operation::CompleteMultipartUpload),
        Fault::new(
            Operation::CompleteMultipartUpload,
            FaultAction::CompleteErrorIn200,
        )
        .forever(),
        Fault::new(
            Operation::UploadPart,
            FaultAction::ResetAfterRequestBytes(1_000),
        )
        .forever(),
    ];
    for step in steps {
        for ack in [Ack::Any, Ack::Both] {
            let both = Both::new(ReadOrder::S3First, ack).await;
            both.bucket.server.fault(step.clone());
            let result = both.upload(&content).await;
            match ack {
                Ack::Any => {
                    let stored = result.unwrap();
                    assert!(stored.placements[0].1.is_ok(), "{step:?}");
                    let kind = stored.placements[1].1.as_ref().unwrap_err().kind();
                    assert_eq!(kind, ErrorKind::Unavailable, "{step:?}");
                    let (got, doubts) = both.checked_read(&content).await;
                    assert!(got == content, "{step:?}");
                    assert_eq!(doubts, [("s3".to_owned(), 0, DoubtKind::Missing)]);
                }
                Ack::Both => {
                    assert!(matches!(result, Err(UploadError::Store(_))), "{step:?}");
                    assert_eq!(both.folder.files(), 0, "{step:?}");
                }
            }
            eventually("the bucket is clean", || both.bucket_is_empty()).await;
        }
    }
}

#[tokio::test]
async fn an_upload_survives_the_loss_of_the_network_in_the_middle() {
    for ack in [Ack::Any, Ack::Both] {
        let both = Both::new(ReadOrder::LocalFirst, ack).await;
        let content = bytes(64, 3 * PART_BYTES);
        let options = WriteOptions::default();
        let mut upload = both.storage.upload(&key(KEY), options).await.unwrap();
        upload.write(content.slice(..PART_BYTES + 1)).await.unwrap();
        both.bucket.server.set_online(false).unwrap();
        let written = upload.write(content.slice(PART_BYTES + 1..)).await;
        let done = upload.finish().await;
        match ack {
            Ack::Any => {
                written.unwrap();
                assert!(done.unwrap().placements[1].1.is_err());
                assert!(both.checked_read(&content).await.0 == content);
            }
            Ack::Both => {
                assert!(done.is_err());
                assert_eq!(both.folder.files(), 0);
            }
        }
    }
}

#[tokio::test]
async fn a_lost_answer_is_no_failure() {
    let both = Both::new(ReadOrder::S3First, Ack::Both).await;
    for content in [bytes(65, 1_000), bytes(66, PART_BYTES + 1)] {
        for operation in [Operation::PutObject, Operation::CompleteMultipartUpload] {
            let fault = Fault::new(operation, FaultAction::LoseAnswerAfterCommit);
            both.bucket.server.fault(fault);
        }
        both.upload(&content).await.unwrap();
        assert_eq!(both.checked_read(&content).await, (content, vec![]));
        both.bucket.server.clear_faults();
    }
}

#[tokio::test]
async fn a_download_from_the_bucket_heals_from_the_folder() {
    let both = Both::new(ReadOrder::S3First, Ack::Both).await;
    let content = bytes(67, 3 * CHUNK_BYTES + 9);
    both.upload(&content).await.unwrap();
    let chunk = CHUNK_BYTES as u64;
    let faults = [
        FaultAction::internal_error(),
        FaultAction::ResetAfterResponseBytes(0),
        FaultAction::ResetAfterResponseBytes(chunk + 77),
        FaultAction::TruncateBody(2 * chunk),
        FaultAction::Hang,
    ];
    for action in faults {
        let server = &both.bucket.server;
        server.fault(Fault::new(Operation::GetObject, action.clone()));
        server.fault(broken(Operation::GetObject).after(1));
        let (got, doubts) = both.checked_read(&content).await;
        assert!(got == content, "{action:?}");
        assert_eq!(doubts.len(), 1, "{action:?}");
        assert_eq!(doubts[0].2, DoubtKind::Unavailable, "{action:?}");
        server.clear_faults();
    }
    for offset in [0, chunk, 3 * chunk + 8] {
        let flip = FaultAction::FlipBit { offset };
        both.bucket
            .server
            .fault(Fault::new(Operation::GetObject, flip));
        let (got, doubts) = both.checked_read(&content).await;
        assert!(got == content, "a flipped bit at {offset}");
        let chunk_start = offset - offset % chunk;
        assert_eq!(doubts, [("s3".to_owned(), chunk_start, DoubtKind::Corrupt)]);
    }
    both.bucket.server.set_online(false).unwrap();
    let (got, doubts) = both.checked_read(&content).await;
    assert!(got == content);
    assert_eq!(doubts, [("s3".to_owned(), 0, DoubtKind::Unavailable)]);
}

#[tokio::test]
async fn a_damaged_folder_heals_from_the_bucket() {
    let both = Both::new(ReadOrder::LocalFirst, Ack::Both).await;
    let content = bytes(68, 2 * CHUNK_BYTES);
    both.upload(&content).await.unwrap();
    let path = both.folder.path_of(KEY);
    let mut damaged = content.to_vec();
    damaged[CHUNK_BYTES + 3] ^= 0x80;
    std::fs::write(&path, &damaged).unwrap();
    let (got, doubts) = both.checked_read(&content).await;
    assert!(got == content);
    assert_eq!(
        doubts,
        [("local".to_owned(), CHUNK_BYTES as u64, DoubtKind::Corrupt)]
    );
    // Only what was missing was fetched.
    let fetched = both.bucket.server.calls();
    assert_eq!(
        both.bucket.server.count(Operation::GetObject),
        1,
        "{fetched:?}"
    );
    std::fs::remove_file(path).unwrap();
    let (got, doubts) = both.checked_read(&content).await;
    assert!(got == content);
    assert_eq!(doubts, [("local".to_owned(), 0, DoubtKind::Missing)]);
}

#[tokio::test]
async fn without_a_record_a_read_changes_the_store_where_the_digests_agree() {
    let both = Both::new(ReadOrder::S3First, Ack::Both).await;
    let content = bytes(69, PART_BYTES + CHUNK_BYTES);
    let options = WriteOptions::default();
    both.storage
        .put(&key(KEY), content.clone(), options)
        .await
        .unwrap();
    let server = &both.bucket.server;
    server.fault(Fault::new(
        Operation::GetObject,
        FaultAction::TruncateBody(1_000_000),
    ));
    server.fault(broken(Operation::GetObject).after(1));
    let result = both.storage.get(&key(KEY), None).await.unwrap();
    assert!(result.bytes().await.unwrap() == content);
}

#[tokio::test]
async fn a_large_upload_to_both_adds_little_memory() {
    let options = Options::b2().discard_bodies();
    let both = Both::with(options, ReadOrder::LocalFirst, Ack::Both).await;
    let piece = bytes(70, CHUNK_BYTES);
    let storage = &both.storage;
    let mut warm_up = storage
        .upload(&key("temp/warm-up"), WriteOptions::default())
        .await
        .unwrap();
    warm_up.write(piece.clone()).await.unwrap();
    warm_up.finish().await.unwrap();
    let before = resident_peak_bytes();
    let mut upload = both
        .storage
        .upload(&key(KEY), WriteOptions::default())
        .await
        .unwrap();
    for _ in 0..100 {
        upload.write(Bytes::copy_from_slice(&piece)).await.unwrap();
    }
    upload.finish().await.unwrap();
    // The parts of the upload are 20 MB; the server shares the process.
    let added = resident_peak_bytes().saturating_sub(before);
    println!("{} KiB were added", added / 1_024);
    assert!(
        added < 64 * 1_024 * 1_024,
        "{added} bytes of memory were added"
    );
}
