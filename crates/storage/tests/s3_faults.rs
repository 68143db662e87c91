//! What can go wrong on the way to a bucket: it heals, or it ends with a clean error and nothing
//! is left behind.

mod s3_support;

use std::time::Duration;

use bytes::Bytes;
use chaos_s3::{AccessKey, Capability, ChaosS3, Fault, FaultAction, Operation as Request, Options};
use futures::TryStreamExt as _;
use s3_support::{
    Bench, PART_BYTES, bytes, config_of, connect, eventually, finish, key, put, read_all,
    stream_in, writer,
};
use stockroom_storage::{
    ByteRange, ErrorKind, Facts, KeyPrefix, ListEntry, Operation, Outcome, S3Config, Secret,
    Store as _,
};
use tokio::time::Instant;

/// What can happen to a request that is written. `Hang` is left to tests of its own: it waits
/// for a time-out.
fn write_faults() -> Vec<FaultAction> {
    vec![
        FaultAction::slow_down(),
        FaultAction::internal_error(),
        FaultAction::Status {
            status: 503,
            code: "ServiceUnavailable",
            retry_after_s: Some(0),
        },
        FaultAction::Status {
            status: 429,
            code: "TooManyRequests",
            retry_after_s: None,
        },
        FaultAction::Status {
            status: 400,
            code: "RequestTimeout",
            retry_after_s: None,
        },
        FaultAction::ResetAfterRequestBytes(0),
        FaultAction::ResetAfterRequestBytes(1_000),
        FaultAction::ResetAfterResponseBytes(0),
        FaultAction::TruncateBody(0),
        FaultAction::LoseAnswerAfterCommit,
        FaultAction::Delay(Duration::from_millis(20)),
    ]
}

fn profiles() -> [(&'static str, Options); 2] {
    [
        ("plain", Options::default()),
        ("versioned", Options::versioned()),
    ]
}

#[tokio::test]
async fn a_small_upload_heals_after_any_fault() {
    for (profile, options) in profiles() {
        for action in write_faults() {
            let bench = Bench::start(options.clone()).await;
            let what = format!("{profile} {action:?}");
            bench.server.fault(Fault::new(Request::PutObject, action));
            let sent = bytes(1, 50_000);
            let written = put(&bench.store, "models/a", sent.clone())
                .await
                .expect(&what);
            assert!(bench.server.body("models/a").unwrap() == sent, "{what}");
            assert_eq!(bench.server.versions("models/a").len(), 1, "{what}");
            let info = bench.store.head(&key("models/a")).await.unwrap();
            assert_eq!(info.etag, written.etag, "{what}");
        }
    }
}

#[tokio::test]
async fn a_small_upload_that_never_heals_leaves_nothing() {
    for action in write_faults() {
        let bench = Bench::start(Options::versioned()).await;
        let what = format!("{action:?}");
        bench
            .server
            .fault(Fault::new(Request::PutObject, action).forever());
        match put(&bench.store, "models/a", bytes(2, 50_000)).await {
            // It took effect, and the object itself told so: the answers alone were lost.
            Ok(_) => assert_eq!(bench.server.versions("models/a").len(), 1, "{what}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{what}: {error}");
                assert_eq!(bench.server.count(Request::PutObject), 5, "{what}");
                bench.assert_nothing_left(&what);
            }
        }
    }
}

#[tokio::test]
async fn an_upload_in_parts_heals_after_any_fault() {
    let requests = [
        Request::CreateMultipartUpload,
        Request::UploadPart,
        Request::CompleteMultipartUpload,
    ];
    for request in requests {
        let mut actions = write_faults();
        if request == Request::CompleteMultipartUpload {
            actions.push(FaultAction::CompleteErrorIn200);
        }
        for action in actions {
            let bench = Bench::start(Options::versioned().equal_parts()).await;
            let what = format!("{request:?} {action:?}");
            bench.server.fault(Fault::new(request, action));
            let sent = bytes(3, 4 * PART_BYTES + 5);
            stream_in(&bench.store, &key("models/a"), &sent)
                .await
                .expect(&what);
            assert!(bench.server.body("models/a").unwrap() == sent, "{what}");
            assert_eq!(bench.server.versions("models/a").len(), 1, "{what}");
            assert_eq!(bench.server.unfinished_uploads(), [], "{what}");
        }
    }
}

#[tokio::test]
async fn an_upload_in_parts_that_never_heals_leaves_nothing() {
    let requests = [
        Request::CreateMultipartUpload,
        Request::UploadPart,
        Request::CompleteMultipartUpload,
    ];
    for request in requests {
        let mut actions = write_faults();
        if request == Request::CompleteMultipartUpload {
            actions.push(FaultAction::CompleteErrorIn200);
        }
        for action in actions {
            let bench = Bench::start(Options::versioned()).await;
            let what = format!("{request:?} {action:?}");
            bench.server.fault(Fault::new(request, action).forever());
            let sent = bytes(4, 3 * PART_BYTES);
            match stream_in(&bench.store, &key("models/a"), &sent).await {
                Ok(_) => {
                    assert!(bench.server.body("models/a").unwrap() == sent, "{what}");
                    assert_eq!(bench.server.unfinished_uploads(), [], "{what}");
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{what}: {error}");
                    bench.assert_nothing_left(&what);
                }
            }
        }
    }
}

#[tokio::test]
async fn giving_up_is_tried_again_too() {
    let bench = Bench::start(Options::default()).await;
    bench
        .server
        .fault(Fault::new(Request::UploadPart, FaultAction::slow_down()).forever());
    let abort = Fault::new(Request::AbortMultipartUpload, FaultAction::slow_down());
    bench.server.fault(abort.times(3));
    let error = stream_in(&bench.store, &key("models/a"), &bytes(5, 3 * PART_BYTES)).await;
    assert_eq!(error.unwrap_err().code(), Some("SlowDown"));
    bench.assert_nothing_left("after three refusals");
}

#[tokio::test]
async fn a_request_that_hangs_is_cut_and_sent_again() {
    for request in [
        Request::PutObject,
        Request::CreateMultipartUpload,
        Request::UploadPart,
        Request::CompleteMultipartUpload,
    ] {
        let bench = Bench::start(Options::versioned()).await;
        bench.server.fault(Fault::new(request, FaultAction::Hang));
        let size_bytes = if request == Request::PutObject {
            10
        } else {
            2 * PART_BYTES
        };
        let sent = bytes(6, size_bytes);
        stream_in(&bench.store, &key("models/a"), &sent)
            .await
            .unwrap();
        assert!(
            bench.server.body("models/a").unwrap() == sent,
            "{request:?}"
        );
        assert_eq!(bench.server.unfinished_uploads(), [], "{request:?}");
    }
}

#[tokio::test]
async fn a_download_heals_after_any_fault_at_any_offset() {
    let bench = Bench::start(Options::default()).await;
    let all = bytes(7, 300_000);
    bench.server.plant("models/a", all.clone());
    let mut actions = vec![
        FaultAction::slow_down(),
        FaultAction::internal_error(),
        FaultAction::LoseAnswerAfterCommit,
        FaultAction::Delay(Duration::from_millis(20)),
        FaultAction::Hang,
    ];
    for offset in [0, 1, 65_536, 99_999] {
        actions.push(FaultAction::ResetAfterResponseBytes(offset));
        actions.push(FaultAction::TruncateBody(offset));
    }
    for action in actions {
        for range in [
            None,
            Some(ByteRange::Inclusive {
                first: 150_000,
                last: 249_999,
            }),
        ] {
            let what = format!("{action:?} {range:?}");
            bench
                .server
                .fault(Fault::new(Request::GetObject, action.clone()));
            let got = bench.store.get(&key("models/a"), range).await.expect(&what);
            let expected = got.range.start as usize..got.range.end as usize;
            let bytes = got.bytes().await.expect(&what);
            assert!(bytes == all[expected], "{what}");
        }
    }
    assert_eq!(bench.server.count(Request::HeadObject), 0);
}

#[tokio::test]
async fn a_download_that_breaks_off_goes_on_from_its_offset() {
    let bench = Bench::start(Options::default()).await;
    let all = bytes(8, 300_000);
    bench.server.plant("models/a", all.clone());
    bench.server.fault(Fault::new(
        Request::GetObject,
        FaultAction::TruncateBody(100_000),
    ));
    assert!(read_all(&bench.store, &key("models/a")).await.unwrap() == all);
    let ranges: Vec<_> = bench
        .server
        .calls()
        .iter()
        .map(|it| it.range.clone())
        .collect();
    assert_eq!(ranges, [None, Some("bytes=100000-299999".to_owned())]);
    let told = bench.told.take();
    let outcomes: Vec<_> = told
        .iter()
        .map(|it| (it.outcome, it.received_bytes))
        .collect();
    assert_eq!(
        outcomes,
        [(Outcome::Failed, 100_000), (Outcome::Ok, 200_000)]
    );
}

#[tokio::test]
async fn a_download_that_never_gets_on_ends_with_an_error() {
    for action in [
        FaultAction::TruncateBody(10),
        FaultAction::ResetAfterResponseBytes(10),
    ] {
        let bench = Bench::start(Options::default()).await;
        bench.server.plant("models/a", bytes(9, 300_000));
        bench
            .server
            .fault(Fault::new(Request::GetObject, action.clone()).forever());
        let error = read_all(&bench.store, &key("models/a")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{action:?} {error}");
        assert!(bench.server.count(Request::GetObject) <= 6, "{action:?}");
    }
}

#[tokio::test]
async fn a_long_download_may_break_off_often() {
    let bench = Bench::start(Options::default()).await;
    let all = bytes(10, 12 << 20);
    bench.server.plant("models/a", all.clone());
    // Each answer brings 1 MiB and breaks off: more often than there are attempts.
    let fault = Fault::new(Request::GetObject, FaultAction::TruncateBody(1 << 20));
    bench.server.fault(fault.forever());
    assert!(read_all(&bench.store, &key("models/a")).await.unwrap() == all);
    assert_eq!(bench.server.count(Request::GetObject), 12);
}

#[tokio::test]
async fn a_download_never_mixes_two_objects() {
    let bench = Bench::start(Options::default()).await;
    bench.server.plant("models/a", bytes(11, 300_000));
    bench.server.fault(Fault::new(
        Request::GetObject,
        FaultAction::TruncateBody(100_000),
    ));
    let got = bench.store.get(&key("models/a"), None).await.unwrap();
    bench.server.plant("models/a", bytes(12, 300_000));
    let error = got.bytes().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.detail().contains("replaced"), "{error}");

    bench.server.fault(Fault::new(
        Request::GetObject,
        FaultAction::TruncateBody(100_000),
    ));
    let got = bench.store.get(&key("models/a"), None).await.unwrap();
    bench.server.remove("models/a");
    assert!(got.bytes().await.unwrap_err().is_not_found());
}

#[tokio::test]
async fn lists_and_deletions_heal() {
    for action in write_faults() {
        let bench = Bench::start(Options::versioned().page_size(2)).await;
        for name in ["models/a", "models/a", "models/b", "models/c"] {
            bench.server.plant(name, Bytes::from_static(b"x"));
        }
        let what = format!("{action:?}");
        let fault = |request| bench.server.fault(Fault::new(request, action.clone()));
        fault(Request::ListObjectsV2);
        let list = bench.store.list(&KeyPrefix::all());
        let entries: Vec<ListEntry> = list.try_collect().await.expect(&what);
        assert_eq!(entries.len(), 3, "{what}");
        fault(Request::ListObjectVersions);
        fault(Request::DeleteObject);
        bench.store.delete(&key("models/a")).await.expect(&what);
        assert_eq!(bench.server.versions("models/a"), [], "{what}");
        // The answer to a HEAD has no body to hold a code, and 400 alone may mean anything.
        if !what.contains("400") {
            fault(Request::HeadObject);
            assert_eq!(
                bench
                    .store
                    .head(&key("models/b"))
                    .await
                    .expect(&what)
                    .size_bytes,
                1
            );
        }
    }
}

#[tokio::test]
async fn another_attempt_goes_over_a_fresh_connection() {
    let bench = Bench::start(Options::default()).await;
    let name = key("models/a");
    put(&bench.store, "models/a", bytes(13, 10)).await.unwrap();
    bench.server.clear_calls();
    let fault = Fault::new(Request::PutObject, FaultAction::slow_down());
    bench.server.fault(fault.times(2));
    put(&bench.store, "models/a", bytes(13, 10)).await.unwrap();
    bench.store.head(&name).await.unwrap();
    let over: Vec<u64> = bench
        .server
        .calls()
        .iter()
        .map(|it| it.connection)
        .collect();
    assert!(over[0] < over[1] && over[1] < over[2], "{over:?}");
    // What was answered well is used again.
    assert_eq!(over[2], over[3]);
    let outcomes = bench.told.take_outcomes();
    let expected = [
        (Operation::Put, Outcome::Ok),
        (Operation::Put, Outcome::Failed),
        (Operation::Put, Outcome::Failed),
        (Operation::Put, Outcome::Ok),
        (Operation::Head, Outcome::Ok),
    ];
    assert_eq!(outcomes, expected);
}

#[tokio::test]
async fn the_store_waits_as_long_as_it_is_asked_to() {
    let throttled = |seconds| {
        let action = FaultAction::Status {
            status: 503,
            code: "SlowDown",
            retry_after_s: Some(seconds),
        };
        Fault::new(Request::HeadBucket, action)
    };
    let bench = Bench::start(Options::default()).await;
    bench.server.fault(throttled(1));
    let began = Instant::now();
    bench.store.probe_bucket().await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1));

    // Longer than the whole call may take: it is not even tried.
    bench.server.fault(throttled(3_600));
    let began = Instant::now();
    let error = bench.store.probe_bucket().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(began.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn what_cannot_change_is_not_tried_again() {
    let server = ChaosS3::start(
        Options::b2()
            .access_key(AccessKey::new("reader", "reader-secret").only(&[Capability::ReadFiles]))
            .region("eu-central-003"),
    )
    .await
    .unwrap();
    let good = config_of(&server);
    let changed = |change: fn(&mut S3Config)| {
        let mut config = good.clone();
        change(&mut config);
        config
    };
    let cases = [
        (
            "InvalidAccessKeyId",
            changed(|it| it.key_id = "unknown".into()),
        ),
        (
            "SignatureDoesNotMatch",
            changed(|it| it.application_key = Secret::new("wrong-secret")),
        ),
        (
            "AuthorizationHeaderMalformed",
            changed(|it| it.region = "us-east-1".into()),
        ),
        (
            "AccessDenied",
            changed(|it| {
                it.key_id = "reader".into();
                it.application_key = Secret::new("reader-secret");
            }),
        ),
    ];
    for (code, config) in cases {
        server.clear_calls();
        let (store, _) = connect(&config);
        let error = put(&store, "models/a", bytes(14, 10)).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::Denied, Some(code)),
            "{error}"
        );
        assert_eq!(server.count(Request::Any), 1, "{code}");
        let shown = format!("{error} {error:?} {store:?} {config:?}");
        assert!(
            !shown.contains("secret\"") && !shown.contains("-secret"),
            "{shown}"
        );

        let listed = store.probe_list().await.unwrap_err();
        assert_eq!(
            (listed.kind(), listed.code()),
            (ErrorKind::Denied, Some(code)),
            "{listed}"
        );
        assert_eq!(server.keys(), [""; 0]);
    }
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_told_apart() {
    let bench = Bench::start(Options::default().clock_skew(-3_600)).await;
    let error = bench.store.probe_list().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(error.code(), Some("RequestTimeTooSkewed"));
    assert_eq!(bench.server.count(Request::Any), 1);
}

#[tokio::test]
async fn a_refusal_is_not_taken_for_an_absence() {
    let writer = AccessKey::new("writer", "writer-secret").only(&[Capability::WriteFiles]);
    let server = ChaosS3::start(Options::b2().access_key(writer))
        .await
        .unwrap();
    let mut config = config_of(&server);
    config.key_id = "writer".to_owned();
    config.application_key = Secret::new("writer-secret");
    let (store, _) = connect(&config);
    for name in ["models/a", "models/none"] {
        let error = store.get(&key(name), None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        let error = store.exists(&key(name)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    }
    // It may write, and hide, but not delete a version: that is no deletion.
    put(&store, "models/a", bytes(15, 10)).await.unwrap();
    let error = store.delete(&key("models/a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert_eq!(server.keys(), ["models/a"]);
}

#[tokio::test]
async fn a_key_that_may_not_list_deletes_where_there_are_no_versions() {
    let blind = AccessKey::new("blind", "blind-secret").without(Capability::ListFiles);
    for (profile, options) in profiles() {
        let server = ChaosS3::start(options.access_key(blind.clone()))
            .await
            .unwrap();
        let mut config = config_of(&server);
        config.key_id = "blind".to_owned();
        config.application_key = Secret::new("blind-secret");
        let (store, _) = connect(&config);
        for name in ["models/a", "models/b"] {
            server.plant(name, Bytes::from_static(b"x"));
        }
        let is_versioned = profile == "versioned";
        for (name, requests) in [("models/a", 2), ("models/b", 1)] {
            server.clear_calls();
            let deleted = store.delete(&key(name)).await;
            assert_eq!(deleted.is_err(), is_versioned, "{profile} {deleted:?}");
            assert_eq!(server.count(Request::Any), requests, "{profile} {name}");
        }
        let left = server.all_version_count();
        // The first was hidden before the bucket showed that it keeps versions.
        assert_eq!(left, if is_versioned { 3 } else { 0 }, "{profile}");
    }
}

#[tokio::test]
async fn a_write_that_was_cancelled_is_not_completed_without_its_bytes() {
    let bench = Bench::start(Options::default()).await;
    let slow = FaultAction::Delay(Duration::from_millis(100));
    bench.server.fault(Fault::new(Request::Any, slow).forever());
    let sent = bytes(21, 8 * PART_BYTES);
    let mut writer = writer(&bench.store, "models/a").await;
    // The write is cut while it waits to send the fourth part, after four were taken.
    let cut = writer.write(sent.slice(..6 * PART_BYTES));
    assert!(
        tokio::time::timeout(Duration::from_millis(150), cut)
            .await
            .is_err()
    );
    writer.write(sent.slice(4 * PART_BYTES..)).await.unwrap();
    let error = writer.finish(&Facts::of(&sent)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.detail().contains("the parts have"), "{error}");
    eventually("nothing is left", || {
        bench.server.unfinished_uploads().is_empty()
    })
    .await;
    assert_eq!(bench.server.keys(), [""; 0]);
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable_and_found_again() {
    let bench = Bench::start(Options::default()).await;
    let name = key("models/a");
    put(&bench.store, "models/a", bytes(16, 10)).await.unwrap();
    bench.server.set_online(false).unwrap();
    let errors = [
        bench.store.head(&name).await.unwrap_err(),
        bench.store.get(&name, None).await.unwrap_err(),
        bench.store.delete(&name).await.unwrap_err(),
        bench.store.exists(&key("models/none")).await.unwrap_err(),
        stream_in(&bench.store, &name, &bytes(16, 3 * PART_BYTES))
            .await
            .unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.detail().contains("refused"), "{error}");
    }
    bench.server.set_online(true).unwrap();
    assert_eq!(bench.store.head(&name).await.unwrap().size_bytes, 10);
}

#[tokio::test]
async fn a_writer_that_is_dropped_gives_its_upload_up() {
    let bench = Bench::start(Options::default()).await;
    let mut writer = writer(&bench.store, "models/a").await;
    writer.write(bytes(17, 5 * PART_BYTES)).await.unwrap();
    assert_eq!(bench.server.unfinished_uploads().len(), 1);
    drop(writer);
    eventually("the upload is gone", || {
        bench.server.unfinished_uploads().is_empty()
    })
    .await;
    bench.assert_nothing_left("a dropped writer");
}

#[tokio::test]
async fn a_writer_that_is_aborted_has_left_nothing() {
    let bench = Bench::start(Options::default()).await;
    let mut writer = writer(&bench.store, "models/a").await;
    writer.write(bytes(18, 5 * PART_BYTES)).await.unwrap();
    writer.abort().await;
    bench.assert_nothing_left("an aborted writer");
    assert_eq!(bench.server.count(Request::ListMultipartUploads), 0);
}

#[tokio::test]
async fn an_upload_that_is_cancelled_anywhere_leaves_nothing() {
    let delay = FaultAction::Delay(Duration::from_millis(60));
    for request in [
        Request::PutObject,
        Request::CreateMultipartUpload,
        Request::UploadPart,
        Request::CompleteMultipartUpload,
    ] {
        for cancel_after_ms in [5, 30] {
            let bench = Bench::start(Options::default()).await;
            bench
                .server
                .fault(Fault::new(request, delay.clone()).forever());
            let size_bytes = if request == Request::PutObject {
                10
            } else {
                3 * PART_BYTES
            };
            let sent = bytes(19, size_bytes);
            let writer = writer(&bench.store, "models/a").await;
            let cancelled = Duration::from_millis(cancel_after_ms);
            let finished = tokio::time::timeout(cancelled, finish(writer, &sent)).await;
            assert!(finished.is_err(), "{request:?} was to be cancelled");
            // What was under way on the server comes to its end first.
            tokio::time::sleep(Duration::from_millis(150)).await;
            let what = "the upload is gone";
            eventually(what, || bench.server.unfinished_uploads().is_empty()).await;
            if request != Request::CompleteMultipartUpload && request != Request::PutObject {
                bench.assert_nothing_left(&format!("{request:?} {cancel_after_ms} ms"));
            }
        }
    }
}

#[tokio::test]
async fn a_reader_that_is_dropped_is_told_as_dropped() {
    let bench = Bench::start(Options::default()).await;
    bench.server.plant("models/a", bytes(20, 3_000_000));
    let mut got = bench.store.get(&key("models/a"), None).await.unwrap();
    let first = got.stream.try_next().await.unwrap().unwrap();
    drop(got);
    let told = bench.told.take();
    assert_eq!(told[0].outcome, Outcome::Dropped);
    assert_eq!(told[0].received_bytes, first.len() as u64);
}
