//! Multipart uploads.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use chaos_s3::{B2_MIN_PART_SIZE_BYTES, ChaosS3, Operation, Options};

use crate::support::{get, pattern, refusal, start};

type Completed = Result<
    aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadOutput,
    aws_sdk_s3::error::SdkError<
        aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadError,
    >,
>;

/// One upload under way.
struct Upload<'a> {
    server: &'a ChaosS3,
    client: &'a Client,
    key: &'static str,
    id: String,
    parts: Vec<CompletedPart>,
}

impl<'a> Upload<'a> {
    async fn begin(server: &'a ChaosS3, client: &'a Client, key: &'static str) -> Self {
        let request = client
            .create_multipart_upload()
            .bucket(server.bucket())
            .key(key);
        let answer = request.metadata("artist", "a-1").send().await.unwrap();
        let id = answer.upload_id().unwrap().to_owned();
        Self {
            server,
            client,
            key,
            id,
            parts: Vec::new(),
        }
    }

    async fn part(&mut self, number: i32, bytes: &[u8]) {
        let request = self.client.upload_part().bucket(self.server.bucket());
        let request = request
            .key(self.key)
            .upload_id(&self.id)
            .part_number(number);
        let answer = request
            .body(ByteStream::from(bytes.to_vec()))
            .send()
            .await
            .unwrap();
        let part = CompletedPart::builder().part_number(number);
        self.parts.push(part.e_tag(answer.e_tag().unwrap()).build());
    }

    async fn complete_with(&self, parts: Vec<CompletedPart>) -> Completed {
        let list = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        let request = self
            .client
            .complete_multipart_upload()
            .bucket(self.server.bucket());
        let request = request.key(self.key).upload_id(&self.id);
        request.multipart_upload(list).send().await
    }

    async fn complete(&self) -> Completed {
        self.complete_with(self.parts.clone()).await
    }
}

#[tokio::test]
async fn parts_become_an_object() {
    let (server, client) = start(Options::default()).await;
    let mut upload = Upload::begin(&server, &client, "models/big").await;
    // Out of order, and one of them twice: the last one counts.
    upload.part(2, b"def").await;
    upload.part(1, b"wrong").await;
    upload.parts.clear();
    upload.part(1, b"abc").await;
    upload.part(2, b"def").await;
    assert!(server.keys().is_empty());
    let unfinished = server.unfinished_uploads();
    assert_eq!(unfinished.len(), 1);
    assert_eq!((unfinished[0].part_count, unfinished[0].size_bytes), (2, 6));
    assert_eq!(
        (&*unfinished[0].key, &*unfinished[0].upload_id),
        ("models/big", &*upload.id)
    );

    let done = upload.complete().await.unwrap();
    // md5(md5("abc") + md5("def")), computed with md5sum.
    assert_eq!(done.e_tag(), Some(MD5_OF_MD5S));
    assert_eq!(get(&server, &client, "models/big").await, b"abcdef");
    assert_eq!(server.metadata("models/big").unwrap().user["artist"], "a-1");
    assert!(server.unfinished_uploads().is_empty());
    assert_eq!(
        refusal(upload.complete().await),
        (404, "NoSuchUpload".into())
    );
}

const MD5_OF_MD5S: &str = "\"4c8e93283780e078db9e0c6b9b3f8043-2\"";

#[tokio::test]
async fn wrong_lists_of_parts_are_refused() {
    let (server, client) = start(Options::default()).await;
    let mut upload = Upload::begin(&server, &client, "k").await;
    upload.part(1, b"abc").await;
    upload.part(2, b"def").await;
    let mut reversed = upload.parts.clone();
    reversed.reverse();
    let refused = upload.complete_with(reversed).await;
    assert_eq!(refusal(refused), (400, "InvalidPartOrder".into()));
    let unknown = CompletedPart::builder()
        .part_number(3)
        .e_tag("\"x\"")
        .build();
    let refused = upload.complete_with(vec![unknown]).await;
    assert_eq!(refusal(refused), (400, "InvalidPart".into()));
    let other = CompletedPart::builder()
        .part_number(1)
        .e_tag("\"x\"")
        .build();
    let refused = upload.complete_with(vec![other]).await;
    assert_eq!(refusal(refused), (400, "InvalidPart".into()));
    let refused = upload.complete_with(Vec::new()).await;
    assert_eq!(refusal(refused), (400, "MalformedXML".into()));
    assert!(server.keys().is_empty());
    // A part may be left out.
    upload
        .complete_with(vec![upload.parts[1].clone()])
        .await
        .unwrap();
    assert_eq!(server.body("k").unwrap(), "def");
}

#[tokio::test]
async fn part_numbers_end_at_ten_thousand() {
    let (server, client) = start(Options::b2()).await;
    let mut upload = Upload::begin(&server, &client, "k").await;
    upload.part(10_000, b"x").await;
    for number in [0, 10_001] {
        let request = client.upload_part().bucket(server.bucket()).key("k");
        let request = request.upload_id(&upload.id).part_number(number);
        let refused = request.body(ByteStream::from_static(b"x")).send().await;
        assert_eq!(
            refusal(refused),
            (400, "InvalidArgument".into()),
            "{number}"
        );
    }
}

#[tokio::test]
async fn b2_wants_parts_of_five_million_bytes() {
    let (server, client) = start(Options::b2()).await;
    let enough = B2_MIN_PART_SIZE_BYTES as usize;
    let mut upload = Upload::begin(&server, &client, "k").await;
    upload.part(1, &pattern(enough - 1)).await;
    upload.part(2, b"last").await;
    assert_eq!(
        refusal(upload.complete().await),
        (400, "EntityTooSmall".into())
    );
    upload.parts.clear();
    upload.part(1, &pattern(enough)).await;
    upload.part(2, b"last").await;
    let done = upload.complete().await.unwrap();
    assert_eq!(
        done.version_id(),
        Some(&*server.versions("k")[0].version_id)
    );
    assert_eq!(server.body("k").unwrap().len(), enough + 4);
}

#[tokio::test]
async fn r2_wants_equal_parts() {
    let (server, client) = start(Options::default().equal_parts()).await;
    for (sizes, fine) in [
        (&[5, 5, 3][..], true),
        (&[5, 5, 5], true),
        (&[5], true),
        (&[5, 4, 3], false),
        (&[5, 6], false),
    ] {
        let mut upload = Upload::begin(&server, &client, "k").await;
        for (index, size) in sizes.iter().enumerate() {
            upload.part(index as i32 + 1, &pattern(*size)).await;
        }
        let done = upload.complete().await;
        if fine {
            assert!(done.is_ok(), "{sizes:?}");
        } else {
            assert_eq!(refusal(done), (400, "InvalidPart".into()), "{sizes:?}");
        }
    }
}

#[tokio::test]
async fn uploads_are_listed_and_aborted() {
    let (server, client) = start(Options::default().page_size(2)).await;
    let mut ids = Vec::new();
    for key in ["b", "a", "b", "c"] {
        let upload = Upload::begin(&server, &client, key).await;
        ids.push((key.to_owned(), upload.id));
    }
    ids.sort();
    let (mut key_marker, mut id_marker) = (None, None);
    let mut listed = Vec::new();
    loop {
        let page = client
            .list_multipart_uploads()
            .bucket(server.bucket())
            .set_key_marker(key_marker)
            .set_upload_id_marker(id_marker)
            .send()
            .await
            .unwrap();
        assert!(page.uploads().len() <= 2);
        for upload in page.uploads() {
            assert!(upload.initiated().is_some());
            let id = upload.upload_id().unwrap().to_owned();
            listed.push((upload.key().unwrap().to_owned(), id));
        }
        if page.is_truncated() != Some(true) {
            break;
        }
        key_marker = page.next_key_marker().map(str::to_owned);
        id_marker = page.next_upload_id_marker().map(str::to_owned);
    }
    assert_eq!(listed, ids);

    for (key, id) in &ids {
        let abort = || {
            let request = client.abort_multipart_upload().bucket(server.bucket());
            request.key(key).upload_id(id).send()
        };
        abort().await.unwrap();
        assert_eq!(refusal(abort().await), (404, "NoSuchUpload".into()));
    }
    assert!(server.unfinished_uploads().is_empty());
    assert_eq!(server.count(Operation::AbortMultipartUpload), 8);
}

#[tokio::test]
async fn parts_are_listed() {
    let (server, client) = start(Options::default().page_size(2)).await;
    let mut upload = Upload::begin(&server, &client, "k").await;
    for number in [1, 5, 9] {
        upload.part(number, &pattern(number as usize)).await;
    }
    let request = client.list_parts().bucket(server.bucket()).key("k");
    let mut pages = request.upload_id(&upload.id).into_paginator().send();
    let mut listed = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.unwrap();
        let parts = page.parts().iter();
        listed.extend(parts.map(|p| (p.part_number().unwrap(), p.size().unwrap())));
    }
    assert_eq!(listed, [(1, 1), (5, 5), (9, 9)]);
}

#[tokio::test]
async fn large_uploads_cost_no_memory_when_discarded() {
    let (server, client) = start(Options::default().discard_bodies()).await;
    let mut upload = Upload::begin(&server, &client, "k").await;
    let part = pattern(8 * 1024 * 1024);
    for number in 1..=4 {
        upload.part(number, &part).await;
    }
    upload.complete().await.unwrap();
    let request = client.get_object().bucket(server.bucket()).key("k");
    let answer = request.range("bytes=33554400-").send().await.unwrap();
    assert_eq!(
        answer.content_range(),
        Some("bytes 33554400-33554431/33554432")
    );
    assert_eq!(answer.body.collect().await.unwrap().to_vec(), [0; 32]);
}
