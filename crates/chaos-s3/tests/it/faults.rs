//! Every scripted fault, as a client sees it.

use std::time::{Duration, Instant};

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use chaos_s3::{Fault, FaultAction, Operation, Options};

use crate::support::{config, get, http, is_unanswered, pattern, put, refusal, signed_get, start};

#[tokio::test]
async fn a_status_is_answered_after_the_body_was_read() {
    let (server, client) = start(Options::default()).await;
    let statuses = [
        (503, "SlowDown"),
        (503, "ServiceUnavailable"),
        (500, "InternalError"),
        (403, "AccessDenied"),
    ];
    for (status, code) in statuses {
        let retry_after_s = None;
        let action = FaultAction::Status {
            status,
            code,
            retry_after_s,
        };
        server.fault(Fault::new(Operation::PutObject, action));
        let request = client.put_object().bucket(server.bucket()).key("k");
        let refused = request
            .body(ByteStream::from(pattern(3_000_000)))
            .send()
            .await;
        assert_eq!(refusal(refused), (status, code.into()));
        let call = server.calls().pop().unwrap();
        assert_eq!((call.status, call.request_bytes), (Some(status), 3_000_000));
    }
    assert!(server.keys().is_empty());
    put(&server, &client, "k", b"abc").await;
}

#[tokio::test]
async fn retry_after_is_told() {
    let (server, client) = start(Options::default()).await;
    server.plant("k", "abc");
    server.fault(Fault::new(
        Operation::GetObject,
        FaultAction::Status {
            status: 503,
            code: "SlowDown",
            retry_after_s: Some(7),
        },
    ));
    let url = signed_get(&server, &client, "k").await;
    let answer = http().get(&url).send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "7");
    assert_eq!(
        http().get(&url).send().await.unwrap().text().await.unwrap(),
        "abc"
    );
}

#[tokio::test]
async fn the_sdk_retries_past_a_throttling() {
    let server = chaos_s3::ChaosS3::start(Options::default()).await.unwrap();
    let retries = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
    let config = config(
        &server,
        server.key_id(),
        server.application_key(),
        server.region(),
    );
    let client = aws_sdk_s3::Client::from_conf(config.retry_config(retries).build());
    server.plant("k", "abc");
    server.fault(Fault::new(Operation::GetObject, FaultAction::slow_down()).times(2));
    assert_eq!(get(&server, &client, "k").await, b"abc");
    assert_eq!(server.count(Operation::GetObject), 3);
}

#[tokio::test]
async fn only_the_scripted_calls_fail() {
    let (server, client) = start(Options::default()).await;
    let fault = Fault::new(Operation::PutObject, FaultAction::internal_error());
    server.fault(fault.key_prefix("models/").after(1).times(2));
    let mut outcomes = Vec::new();
    for key in [
        "temp/a", "models/a", "temp/b", "models/b", "models/c", "models/d",
    ] {
        let request = client.put_object().bucket(server.bucket()).key(key);
        outcomes.push(request.send().await.is_ok());
    }
    assert_eq!(outcomes, [true, true, true, false, false, true]);

    server.fault(Fault::new(Operation::Any, FaultAction::internal_error()).forever());
    for _ in 0..3 {
        assert_eq!(refusal(client.list_buckets().send().await).0, 500);
    }
    server.clear_faults();
    assert!(client.list_buckets().send().await.is_ok());
}

#[tokio::test]
async fn an_upload_is_reset_half_way() {
    let (server, client) = start(Options::default()).await;
    let action = FaultAction::ResetAfterRequestBytes(1_000_000);
    server.fault(Fault::new(Operation::PutObject, action));
    let request = client.put_object().bucket(server.bucket()).key("k");
    let lost = request
        .body(ByteStream::from(pattern(8_000_000)))
        .send()
        .await;
    assert!(is_unanswered(&lost), "{lost:?}");
    assert!(server.keys().is_empty());
    let call = server.calls().pop().unwrap();
    assert_eq!(call.status, None);
    assert!(
        (1_000_000..2_000_000).contains(&call.request_bytes),
        "{call:?}"
    );
    // The next call comes over a new connection.
    put(&server, &client, "k", b"abc").await;
    assert!(server.calls().pop().unwrap().connection > call.connection);
}

/// What arrives of a body, and the error at its end.
async fn read_broken(options: Options, action: FaultAction) -> (Vec<u8>, Option<u64>, String) {
    let (server, client) = start(options).await;
    server.plant("k", pattern(300_000));
    server.fault(Fault::new(Operation::GetObject, action));
    let request = client.get_object().bucket(server.bucket()).key("k");
    let mut answer = request.send().await.unwrap();
    let mut arrived = Vec::new();
    let error = loop {
        match answer.body.next().await {
            Some(Ok(chunk)) => arrived.extend_from_slice(&chunk),
            Some(Err(error)) => break format!("{error:?}"),
            None => break String::new(),
        }
    };
    // The server is unharmed.
    assert!(get(&server, &client, "k").await == pattern(300_000));
    let length = answer.content_length.map(|length| length as u64);
    (arrived, length, error)
}

#[tokio::test]
async fn a_download_is_reset_after_some_bytes() {
    for options in [Options::default(), Options::default().tls()] {
        let action = FaultAction::ResetAfterResponseBytes(100_000);
        let (arrived, length, error) = read_broken(options, action).await;
        assert_eq!(length, Some(300_000));
        // A client that is slow to read loses some of them.
        assert!(arrived.len() <= 100_000, "{}", arrived.len());
        assert!(pattern(300_000).starts_with(&arrived));
        assert!(error.contains("ConnectionReset"), "{error}");
    }
}

#[tokio::test]
async fn a_body_is_truncated_in_good_order() {
    for options in [Options::default(), Options::default().tls()] {
        let action = FaultAction::TruncateBody(100_000);
        let (arrived, length, error) = read_broken(options, action).await;
        assert_eq!(length, Some(300_000));
        assert!(arrived == pattern(300_000)[..100_000], "{}", arrived.len());
        assert!(!error.is_empty());
        assert!(!error.contains("ConnectionReset"), "{error}");
        // Under TLS, a missing close_notify would show as this.
        assert!(!error.contains("peer closed connection"), "{error}");
    }
}

#[tokio::test]
async fn bodies_are_cut_at_the_edges() {
    for bytes in [0, 65_536, 299_999] {
        let action = FaultAction::TruncateBody(bytes);
        let (arrived, _, error) = read_broken(Options::default(), action).await;
        assert!(arrived == pattern(300_000)[..bytes as usize], "{bytes}");
        assert!(!error.is_empty(), "{bytes}");
    }
    let action = FaultAction::TruncateBody(300_001);
    let (arrived, _, error) = read_broken(Options::default(), action).await;
    assert_eq!((arrived.len(), &*error), (300_000, ""));
}

#[tokio::test]
async fn a_bit_is_flipped_on_the_way() {
    for offset in [0, 65_535, 65_536, 299_999] {
        let action = FaultAction::FlipBit { offset };
        let (arrived, _, error) = read_broken(Options::default(), action).await;
        assert_eq!(error, "");
        let mut expected = pattern(300_000);
        expected[offset as usize] ^= 1;
        assert!(arrived == expected, "{offset}");
    }
}

#[tokio::test]
async fn a_bit_is_flipped_on_the_way_in() {
    for offset in [0, 65_536, 299_999] {
        let (server, client) = start(Options::default()).await;
        let action = FaultAction::FlipRequestBit { offset };
        server.fault(Fault::new(Operation::PutObject, action));
        let request = client.put_object().bucket(server.bucket()).key("k");
        let refused = request
            .body(ByteStream::from(pattern(300_000)))
            .send()
            .await;
        assert_eq!(
            refusal(refused),
            (400, "XAmzContentSHA256Mismatch".to_owned())
        );
        assert!(server.keys().is_empty(), "{offset}");
        put(&server, &client, "k", b"abc").await;
    }
}

#[tokio::test]
async fn an_answer_is_lost_after_the_commit() {
    let (server, client) = start(Options::default()).await;
    server.fault(Fault::new(Operation::Any, FaultAction::LoseAnswerAfterCommit).times(2));
    let request = client.put_object().bucket(server.bucket()).key("k");
    let lost = request.body(ByteStream::from_static(b"abc")).send().await;
    assert!(is_unanswered(&lost), "{lost:?}");
    assert_eq!(server.body("k").unwrap(), "abc");
    let lost = client
        .delete_object()
        .bucket(server.bucket())
        .key("k")
        .send()
        .await;
    assert!(is_unanswered(&lost), "{lost:?}");
    assert!(server.keys().is_empty());

    // The same for a reset in an answer that has no body.
    let action = FaultAction::ResetAfterResponseBytes(0);
    server.fault(Fault::new(Operation::DeleteObject, action));
    server.plant("k", "abc");
    let lost = client
        .delete_object()
        .bucket(server.bucket())
        .key("k")
        .send()
        .await;
    assert!(is_unanswered(&lost), "{lost:?}");
    assert!(server.keys().is_empty());
}

#[tokio::test]
async fn complete_says_200_and_means_an_error() {
    let (server, client) = start(Options::default()).await;
    let begin = client
        .create_multipart_upload()
        .bucket(server.bucket())
        .key("k");
    let id = begin.send().await.unwrap().upload_id.unwrap();
    let request = client
        .upload_part()
        .bucket(server.bucket())
        .key("k")
        .upload_id(&id);
    let request = request.part_number(1).body(ByteStream::from_static(b"abc"));
    let etag = request.send().await.unwrap().e_tag.unwrap();
    let part = CompletedPart::builder().part_number(1).e_tag(etag).build();
    let complete = || {
        let list = CompletedMultipartUpload::builder()
            .parts(part.clone())
            .build();
        let request = client.complete_multipart_upload().bucket(server.bucket());
        request
            .key("k")
            .upload_id(&id)
            .multipart_upload(list)
            .send()
    };

    let action = FaultAction::CompleteErrorIn200;
    server.fault(Fault::new(Operation::CompleteMultipartUpload, action));
    let refused = complete().await;
    assert_eq!(server.calls().pop().unwrap().status, Some(200));
    let (_, code) = refusal(refused);
    assert_eq!(code, "InternalError");
    assert_eq!(server.unfinished_uploads().len(), 1);

    let action = FaultAction::LoseAnswerAfterCommit;
    server.fault(Fault::new(Operation::CompleteMultipartUpload, action));
    assert!(is_unanswered(&complete().await));
    assert_eq!(server.body("k").unwrap(), "abc");
    assert!(server.unfinished_uploads().is_empty());
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the delay is on the real clock")]
async fn a_delay_delays_and_a_hang_hangs() {
    let (server, client) = start(Options::default()).await;
    server.plant("k", "abc");
    let delay = Duration::from_millis(150);
    server.fault(Fault::new(Operation::GetObject, FaultAction::Delay(delay)));
    let begun = Instant::now();
    assert_eq!(get(&server, &client, "k").await, b"abc");
    assert!(begun.elapsed() >= delay);

    server.fault(Fault::new(Operation::GetObject, FaultAction::Hang));
    let request = client.get_object().bucket(server.bucket()).key("k").send();
    let hung = tokio::time::timeout(Duration::from_millis(300), request).await;
    assert!(hung.is_err());
    assert_eq!(server.calls().pop().unwrap().status, None);
    assert_eq!(get(&server, &client, "k").await, b"abc");
}
