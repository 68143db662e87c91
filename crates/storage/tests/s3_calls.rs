//! How many requests each operation costs, and what is in them.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod s3_support;

use std::time::Duration;

use bytes::Bytes;
use chaos_s3::{ChaosS3, Fault, FaultAction, Operation as Request, Options};
use futures::{StreamExt as _, TryStreamExt as _};
use s3_support::{Bench, PART_BYTES, bytes, config_of, connect, key, read_all, stream_in};
use stockroom_storage::{
    ByteRange, ErrorKind, Facts, KeyPrefix, ListEntry, Metadata, Operation, Outcome, S3Config,
    SignRequest, Store as _, Version, WriteOptions,
};

/// Each profile a bucket can have, by name.
fn profiles() -> [(&'static str, Options); 3] {
    [
        ("plain", Options::default()),
        ("versioned", Options::versioned()),
        ("b2", Options::b2()),
    ]
}

#[tokio::test]
async fn connecting_and_signing_send_nothing() {
    let bench = Bench::start(Options::default()).await;
    let request = SignRequest::get(Duration::from_secs(60));
    let signed = bench.store.signed_url(&key("models/a"), &request).await;
    assert!(signed.is_ok());
    assert_eq!(bench.server.count(Request::Any), 0);
    assert_eq!(bench.told.take(), []);
}

#[tokio::test]
async fn a_small_object_costs_one_request_up_and_one_down() {
    for (profile, options) in profiles() {
        let bench = Bench::start(options).await;
        let (name, sent) = (key("models/7/a b+é.stl"), bytes(1, PART_BYTES));
        let mut metadata = Metadata::default();
        metadata.insert("artist-id", "u 42").unwrap();
        let options = WriteOptions {
            content_type: Some("model/stl".to_owned()),
            metadata: metadata.clone(),
            ..WriteOptions::default()
        };
        let written = bench.store.put(&name, sent.clone(), options).await.unwrap();
        assert_eq!(bench.server.count(Request::PutObject), 1, "{profile}");
        assert_eq!(bench.server.count(Request::Any), 1, "{profile}");

        let got = bench.store.get(&name, None).await.unwrap();
        assert_eq!(got.range, 0..PART_BYTES as u64);
        assert_eq!(got.info.content_type.as_deref(), Some("model/stl"));
        assert_eq!(got.info.metadata, metadata);
        assert_eq!(got.info.sha256, Some(Facts::of(&sent).sha256));
        assert_eq!(got.info.etag, written.etag);
        assert!(got.bytes().await.unwrap() == sent);
        assert_eq!(bench.server.count(Request::GetObject), 1, "{profile}");
        assert_eq!(bench.server.count(Request::Any), 2, "{profile}");

        let info = bench.store.head(&name).await.unwrap();
        assert_eq!(info.metadata, metadata);
        assert!(bench.store.exists(&name).await.unwrap());
        assert!(!bench.store.exists(&key("models/none")).await.unwrap());
        assert_eq!(bench.server.count(Request::HeadObject), 3, "{profile}");
        assert_eq!(bench.server.count(Request::Any), 5, "{profile}");

        let told = bench.told.take();
        assert_eq!(told.len(), 5, "{profile}: every request is told once");
        assert!(told.iter().all(|call| call.outcome == Outcome::Ok));
        assert_eq!(told[0].sent_bytes, PART_BYTES as u64);
        assert_eq!(told[1].received_bytes, PART_BYTES as u64);
    }
}

#[tokio::test]
async fn an_empty_object_costs_one_request_too() {
    let bench = Bench::start(Options::default()).await;
    let name = key("temp/empty");
    let written = bench
        .store
        .put(&name, Bytes::new(), WriteOptions::default());
    written.await.unwrap();
    assert!(read_all(&bench.store, &name).await.unwrap().is_empty());
    assert_eq!(bench.server.count(Request::Any), 2);
}

#[tokio::test]
async fn a_range_costs_one_request() {
    let bench = Bench::start(Options::default()).await;
    let (name, all) = (key("models/a"), bytes(2, 100_000));
    bench.server.plant("models/a", all.clone());
    let ranges = [
        (ByteRange::From(99_000), 99_000..100_000),
        (ByteRange::Inclusive { first: 5, last: 5 }, 5..6),
        (
            ByteRange::Inclusive {
                first: 1,
                last: u64::MAX,
            },
            1..100_000,
        ),
        (ByteRange::Suffix(10), 99_990..100_000),
        (ByteRange::Suffix(u64::MAX), 0..100_000),
    ];
    for (range, expected) in ranges {
        bench.server.clear_calls();
        let got = bench.store.get(&name, Some(range)).await.unwrap();
        assert_eq!(
            (got.range.clone(), got.info.size_bytes),
            (expected.clone(), 100_000)
        );
        let expected = expected.start as usize..expected.end as usize;
        assert!(got.bytes().await.unwrap() == all[expected], "{range:?}");
        assert_eq!(bench.server.count(Request::Any), 1, "{range:?}");
    }
    for range in [
        ByteRange::From(100_000),
        ByteRange::From(u64::MAX),
        ByteRange::Suffix(0),
        ByteRange::Inclusive { first: 6, last: 5 },
    ] {
        let error = bench.store.get(&name, Some(range)).await.unwrap_err();
        let expected = ErrorKind::RangeNotSatisfiable {
            size_bytes: 100_000,
        };
        assert_eq!(error.kind(), expected, "{range:?}");
    }
}

#[tokio::test]
async fn a_large_object_costs_one_request_per_part_and_two() {
    for (profile, options) in profiles() {
        let minimum = chaos_s3::B2_MIN_PART_SIZE_BYTES as usize;
        let part_bytes = if profile == "b2" { minimum } else { PART_BYTES };
        let bench = Bench::start_with(options.equal_parts(), |config| {
            config.part_bytes = part_bytes as u64;
        })
        .await;
        let (name, sent) = (key("models/big"), bytes(3, 2 * part_bytes + 1));
        stream_in(&bench.store, &name, &sent).await.unwrap();
        assert_eq!(bench.server.count(Request::CreateMultipartUpload), 1);
        assert_eq!(bench.server.count(Request::UploadPart), 3, "{profile}");
        assert_eq!(bench.server.count(Request::CompleteMultipartUpload), 1);
        assert_eq!(bench.server.count(Request::Any), 5, "{profile}");
        assert!(read_all(&bench.store, &name).await.unwrap() == sent);
        let mut sizes: Vec<u64> = bench.told.take().iter().map(|it| it.sent_bytes).collect();
        sizes.sort_unstable();
        let part_bytes = part_bytes as u64;
        assert_eq!(sizes, [0, 0, 0, 1, part_bytes, part_bytes], "{profile}");
    }
}

#[tokio::test]
async fn the_border_between_one_request_and_parts() {
    for (size_bytes, requests) in [(PART_BYTES, 1), (PART_BYTES + 1, 4), (2 * PART_BYTES, 4)] {
        let bench = Bench::start(Options::default()).await;
        let sent = bytes(4, size_bytes);
        stream_in(&bench.store, &key("models/a"), &sent)
            .await
            .unwrap();
        assert_eq!(bench.server.count(Request::Any), requests, "{size_bytes}");
        assert!(bench.server.body("models/a").unwrap() == sent);
    }
}

#[tokio::test]
async fn parts_leave_before_the_last_byte_came() {
    let bench = Bench::start(Options::default()).await;
    let all = bytes(5, 4 * PART_BYTES);
    let options = WriteOptions {
        sha256: Some(Facts::of(&all).sha256),
        ..WriteOptions::default()
    };
    let mut writer = bench.store.writer(&key("models/a"), options).await.unwrap();
    writer.write(all.slice(..3 * PART_BYTES)).await.unwrap();
    s3_support::eventually("two parts have arrived", || {
        bench.server.count(Request::UploadPart) == 2
    })
    .await;
    writer.write(all.slice(3 * PART_BYTES..)).await.unwrap();
    assert_eq!(bench.server.keys(), [""; 0]);
    writer.finish(&Facts::of(&all)).await.unwrap();
    let info = bench.store.head(&key("models/a")).await.unwrap();
    assert_eq!(info.sha256, Some(Facts::of(&all).sha256));
}

#[tokio::test]
async fn wrong_facts_are_refused_and_nothing_is_left() {
    let bench = Bench::start(Options::default()).await;
    for size_bytes in [10, 3 * PART_BYTES] {
        let all = bytes(6, size_bytes);
        for sha256 in [None, Some(Facts::of(b"other").sha256)] {
            let options = WriteOptions {
                sha256,
                ..WriteOptions::default()
            };
            let mut writer = bench.store.writer(&key("models/a"), options).await.unwrap();
            writer.write(all.slice(1..)).await.unwrap();
            let promised = match sha256 {
                Some(_) => Facts::of(&all.slice(1..)),
                None => Facts::of(&all),
            };
            let error = writer.finish(&promised).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            bench.assert_nothing_left("wrong facts");
        }
    }
}

#[tokio::test]
async fn deleting_costs_what_the_versions_need() {
    // By profile: what deleting an object with one version costs after a write.
    for (profile, options) in profiles() {
        let bench = Bench::start(options).await;
        let name = key("models/a");
        let put = || async {
            let written = bench
                .store
                .put(&name, bytes(7, 10), WriteOptions::default());
            written.await.unwrap();
            bench.server.clear_calls();
        };
        let is_versioned = profile != "plain";

        put().await;
        bench.store.delete(&name).await.unwrap();
        assert_eq!(bench.server.versions("models/a"), [], "{profile}");
        assert_eq!(
            bench.server.count(Request::ListObjectVersions),
            usize::from(is_versioned)
        );
        assert_eq!(bench.server.count(Request::DeleteObject), 1, "{profile}");
        assert_eq!(
            bench.server.count(Request::Any),
            1 + usize::from(is_versioned)
        );

        // Nothing is there any more: a name is still deleted, a list is just empty.
        bench.server.clear_calls();
        bench.store.delete(&name).await.unwrap();
        assert_eq!(bench.server.count(Request::Any), 1, "{profile}");
        assert_eq!(bench.server.all_version_count(), 0, "{profile}");

        put().await;
        put().await;
        bench.store.delete(&name).await.unwrap();
        assert_eq!(bench.server.all_version_count(), 0, "{profile}");
        let expected = if is_versioned { 3 } else { 1 };
        assert_eq!(bench.server.count(Request::Any), expected, "{profile}");
    }
}

#[tokio::test]
async fn a_bucket_that_was_not_seen_yet_is_learned_by_the_first_deletion() {
    for (profile, options) in profiles() {
        let bench = Bench::start(options).await;
        for name in ["models/a", "models/b"] {
            bench.server.plant(name, Bytes::from_static(b"x"));
        }
        bench.store.delete(&key("models/a")).await.unwrap();
        assert_eq!(bench.server.count(Request::Any), 2, "{profile}");
        bench.server.clear_calls();
        bench.store.delete(&key("models/b")).await.unwrap();
        let expected = if profile == "plain" { 1 } else { 2 };
        assert_eq!(bench.server.count(Request::Any), expected, "{profile}");
        assert_eq!(bench.server.all_version_count(), 0, "{profile}");
    }
}

#[tokio::test]
async fn deleting_takes_every_version_and_marker_of_exactly_one_key() {
    let bench = Bench::start(Options::versioned().page_size(2)).await;
    for _ in 0..3 {
        for name in ["models/a", "models/a/b", "models/ab", "models/0"] {
            bench.server.plant(name, Bytes::from_static(b"x"));
        }
    }
    // A program that deletes by name leaves a hide marker.
    let url = SignRequest::get(Duration::from_secs(60));
    assert!(bench.store.signed_url(&key("models/a"), &url).await.is_ok());
    hide(&bench, "models/a").await;
    assert_eq!(bench.server.versions("models/a").len(), 4);

    bench.store.delete(&key("models/a")).await.unwrap();
    assert_eq!(bench.server.versions("models/a"), []);
    assert_eq!(bench.server.keys(), ["models/0", "models/a/b", "models/ab"]);
    assert_eq!(bench.server.all_version_count(), 9);
}

#[tokio::test]
async fn old_versions_go_and_what_readers_see_stays() {
    for (profile, options) in profiles() {
        let is_versioned = profile != "plain";
        let bench = Bench::start(options.page_size(2)).await;
        let name = key("models/a");
        for content in ["1", "2", "3"] {
            for other in ["models/a", "models/a/b", "models/ab"] {
                bench.server.plant(other, content);
            }
        }
        if is_versioned {
            hide(&bench, "models/a").await;
        }
        bench.server.plant("models/a", "4");
        let newest = bench.server.versions("models/a")[0].clone();
        let others = bench.server.all_version_count() - bench.server.versions("models/a").len();

        let removed = bench.store.remove_old_versions(&name).await.unwrap();
        assert_eq!(removed, if is_versioned { 4 } else { 0 }, "{profile}");
        assert_eq!(bench.server.versions("models/a"), [newest], "{profile}");
        assert_eq!(bench.server.all_version_count(), 1 + others, "{profile}");
        assert_eq!(read_all(&bench.store, &name).await.unwrap(), "4");

        // There is nothing left to remove, nor is there for a key that never was.
        for name in [&name, &key("models/none")] {
            let removed = bench.store.remove_old_versions(name).await.unwrap();
            assert_eq!(removed, 0, "{profile} {name}");
        }
        assert_eq!(bench.server.all_version_count(), 1 + others, "{profile}");
    }
}

#[tokio::test]
async fn what_somebody_hid_is_not_removed_with_the_old_versions() {
    for options in [Options::versioned(), Options::b2()] {
        let bench = Bench::start(options).await;
        let name = key("models/a");
        bench.server.plant("models/a", "the only copy");
        hide(&bench, "models/a").await;
        assert_eq!(bench.store.remove_old_versions(&name).await.unwrap(), 0);
        assert_eq!(bench.server.versions("models/a").len(), 2);
        bench.store.delete(&name).await.unwrap();
        assert_eq!(bench.server.all_version_count(), 0);
    }
}

#[tokio::test]
async fn a_bucket_without_versions_is_not_asked_for_old_ones() {
    let bench = Bench::start(Options::default()).await;
    let name = key("models/a");
    stream_in(&bench.store, &name, &bytes(7, 10)).await.unwrap();
    bench.server.clear_calls();
    assert_eq!(bench.store.remove_old_versions(&name).await.unwrap(), 0);
    assert_eq!(bench.server.count(Request::Any), 0);
    assert_eq!(bench.server.keys(), ["models/a"]);
}

#[tokio::test]
async fn of_several_versions_the_newest_is_deleted_last() {
    let bench = Bench::start(Options::versioned()).await;
    for content in ["1", "2", "3"] {
        bench.server.plant("models/a", content);
    }
    for deletions in [1, 2] {
        bench.server.clear_calls();
        let fault = Fault::new(Request::DeleteObject, FaultAction::internal_error());
        bench.server.fault(fault.after(1).forever());
        bench.store.delete(&key("models/a")).await.unwrap_err();
        bench.server.clear_faults();
        // Whoever reads after a deletion that broke off sees no earlier object.
        assert_eq!(bench.server.versions("models/a").len(), 3 - deletions);
        assert_eq!(bench.server.body("models/a").unwrap(), "3");
    }
    bench.store.delete(&key("models/a")).await.unwrap();
    assert_eq!(bench.server.all_version_count(), 0);
}

/// Deletes by name, as another program would: through a store that takes the bucket for one
/// without versions.
async fn hide(bench: &Bench, name: &str) {
    let client = aws_client(&config_of(&bench.server));
    let request = client.delete_object().bucket(bench.server.bucket());
    request.key(name).send().await.unwrap();
}

fn aws_client(config: &S3Config) -> aws_sdk_s3::Client {
    use aws_sdk_s3::config::{BehaviorVersion, Region, retry::RetryConfig};
    let credentials = aws_credential_types::Credentials::new(
        &config.key_id,
        config.application_key.expose(),
        None,
        None,
        "test",
    );
    let http_client = aws_smithy_http_client::Builder::new()
        .tls_provider(aws_smithy_http_client::tls::Provider::Rustls(
            aws_smithy_http_client::tls::rustls_provider::CryptoMode::Ring,
        ))
        .build_https();
    aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .endpoint_url(&config.endpoint)
            .force_path_style(true)
            .region(Region::new(config.region.clone()))
            .credentials_provider(credentials)
            .http_client(http_client)
            .retry_config(RetryConfig::disabled())
            .build(),
    )
}

#[tokio::test]
async fn a_list_asks_for_a_page_when_it_is_needed() {
    let bench = Bench::start(Options::default().page_size(2)).await;
    let names = [
        "models/a b+c",
        "models/b/é",
        "models/c%41",
        "models/d",
        "models/e",
    ];
    for name in names {
        bench.server.plant(name, Bytes::from(name));
    }
    bench.server.plant("not a key of ours", Bytes::new());
    bench.server.plant("images/x", Bytes::new());

    let mut list = bench.store.list(&"models/".parse().unwrap());
    assert_eq!(bench.server.count(Request::Any), 0);
    assert_eq!(list.next().await.unwrap().unwrap().key.as_str(), names[0]);
    assert_eq!(list.next().await.unwrap().unwrap().key.as_str(), names[1]);
    assert_eq!(bench.server.count(Request::ListObjectsV2), 1);
    let rest: Vec<ListEntry> = list.try_collect().await.unwrap();
    let rest: Vec<&str> = rest.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(rest, names[2..]);
    assert_eq!(bench.server.count(Request::Any), 3);

    let all: Vec<ListEntry> = bench
        .store
        .list(&KeyPrefix::all())
        .try_collect()
        .await
        .unwrap();
    assert_eq!(all.len(), names.len() + 1);
    let first = all
        .iter()
        .find(|entry| entry.key.as_str() == names[0])
        .unwrap();
    assert_eq!(first.size_bytes, names[0].len() as u64);
}

#[tokio::test]
async fn versions_and_unfinished_uploads_are_listed_over_pages() {
    let bench = Bench::start(Options::versioned().page_size(2)).await;
    for name in ["models/a", "models/a", "models/b+ ", "images/c"] {
        bench.server.plant(name, Bytes::from_static(b"four"));
    }
    hide(&bench, "models/a").await;
    let prefix: KeyPrefix = "models/".parse().unwrap();
    let versions: Vec<Version> = bench.store.versions(&prefix).try_collect().await.unwrap();
    let mut sizes: Vec<_> = versions
        .iter()
        .map(|it| (it.name.as_str(), it.size_bytes))
        .collect();
    sizes.sort_unstable();
    let expected = [
        ("models/a", None),
        ("models/a", Some(4)),
        ("models/a", Some(4)),
        ("models/b+ ", Some(4)),
    ];
    assert_eq!(sizes, expected);
    assert_eq!(versions.iter().filter(|it| it.is_latest).count(), 2);

    let mut writers = Vec::new();
    for name in ["models/u1", "models/u2", "models/u3"] {
        let mut writer = bench
            .store
            .writer(&key(name), WriteOptions::default())
            .await
            .unwrap();
        writer.write(bytes(8, PART_BYTES + 1)).await.unwrap();
        writers.push(writer);
    }
    let uploads: Vec<_> = bench
        .store
        .unfinished_uploads(&prefix)
        .try_collect()
        .await
        .unwrap();
    let names: Vec<&str> = uploads.iter().map(|upload| upload.name.as_str()).collect();
    assert_eq!(names, ["models/u1", "models/u2", "models/u3"]);
    for upload in &uploads {
        bench.store.abort_upload(upload).await.unwrap();
        bench.store.abort_upload(upload).await.unwrap();
    }
    assert_eq!(bench.server.unfinished_uploads(), []);
}

#[tokio::test]
async fn a_missing_bucket_is_not_a_missing_object() {
    let server = ChaosS3::start(Options::default()).await.unwrap();
    let config = S3Config {
        bucket: "another-bucket".to_owned(),
        ..config_of(&server)
    };
    let (store, _) = connect(&config);
    let name = key("models/a");
    let errors = [
        store.head(&name).await.unwrap_err(),
        store.get(&name, None).await.unwrap_err(),
        store.exists(&name).await.unwrap_err(),
        store.delete(&name).await.unwrap_err(),
        store.probe_list().await.unwrap_err(),
        store
            .put(&name, bytes(9, 1), WriteOptions::default())
            .await
            .unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Other, "{error}");
        assert_eq!(error.code(), Some("NoSuchBucket"), "{error}");
        assert!(error.detail().contains("another-bucket"), "{error}");
    }
    assert_eq!(
        store.probe_bucket().await.unwrap_err().kind(),
        ErrorKind::Other
    );
}

#[tokio::test]
async fn a_missing_object_is_proved_once_the_bucket_is_known() {
    let bench = Bench::start(Options::default()).await;
    let name = key("models/none");
    // The answer to HEAD cannot tell whether the bucket is there; a GET tells, once.
    for requests in [2, 3, 4] {
        assert!(bench.store.head(&name).await.unwrap_err().is_not_found());
        assert_eq!(bench.server.count(Request::Any), requests);
    }
    assert!(
        bench
            .store
            .get(&name, None)
            .await
            .unwrap_err()
            .is_not_found()
    );
    let told = bench.told.take_outcomes();
    assert_eq!(told.len(), 5);
    assert!(
        told.iter().all(|(_, outcome)| *outcome == Outcome::Ok),
        "{told:?}"
    );
}

#[tokio::test]
async fn probes_answer_and_are_billed_as_lists() {
    let bench = Bench::start(Options::b2()).await;
    bench.store.probe_bucket().await.unwrap();
    bench.store.probe_list().await.unwrap();
    assert_eq!(bench.server.count(Request::HeadBucket), 1);
    assert_eq!(bench.server.count(Request::ListObjectsV2), 1);
    let operations: Vec<Operation> = bench.told.take().iter().map(|it| it.operation).collect();
    assert_eq!(operations, [Operation::Probe, Operation::List]);
}

#[tokio::test]
async fn a_connection_is_used_again() {
    for options in [Options::default(), Options::default().tls()] {
        let bench = Bench::start(options).await;
        let (name, sent) = (key("models/a"), bytes(9, 300_000));
        stream_in(&bench.store, &name, &bytes(9, 10)).await.unwrap();
        bench.server.plant("models/a", sent.clone());
        for _ in 0..3 {
            assert!(read_all(&bench.store, &name).await.unwrap() == sent);
            bench.store.head(&name).await.unwrap();
        }
        let mut over: Vec<u64> = bench
            .server
            .calls()
            .iter()
            .map(|it| it.connection)
            .collect();
        over.dedup();
        assert_eq!(over.len(), 1, "{over:?}");
    }
}
