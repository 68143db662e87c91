//! Single objects: everything that is stored comes back, and nothing else does.

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::{
    BucketLifecycleConfiguration, BucketVersioningStatus, CorsConfiguration, CorsRule, Delete,
    ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter, MetadataDirective,
    ObjectIdentifier,
};
use chaos_s3::{ChaosS3, Operation, Options};

use crate::support::{get, message, pattern, put, refusal, start};

const KEYS: [&str; 6] = [
    "models/a.stl",
    "models/with space+plus&amp;.stl",
    "models/ünïcödé/模型.glb",
    "models/100%/#?=:;@$,'(x)*!~.obj",
    "models//double//slash",
    "temp/<xml>\"quoted\"",
];

#[tokio::test]
async fn what_is_put_is_got_under_any_key() {
    let (server, client) = start(Options::default()).await;
    for (index, key) in KEYS.iter().enumerate() {
        let bytes = pattern(1_000 * index);
        put(&server, &client, key, &bytes).await;
        assert_eq!(get(&server, &client, key).await, bytes, "{key}");
        assert_eq!(server.body(key).unwrap(), bytes, "{key}");
        let logged = server.calls().pop().unwrap();
        assert_eq!(logged.key.as_deref(), Some(*key));
    }
    let mut sorted = KEYS.map(str::to_owned);
    sorted.sort();
    assert_eq!(server.keys(), sorted);
}

#[tokio::test]
async fn metadata_is_kept() {
    let (server, client) = start(Options::default()).await;
    let answer = client
        .put_object()
        .bucket(server.bucket())
        .key("models/a.stl")
        .body(ByteStream::from_static(b"abc"))
        .content_type("model/stl")
        .cache_control("no-store")
        .content_disposition("attachment; filename=\"a.stl\"")
        .metadata("artist", "a-1")
        .metadata("asset", "ast_7")
        .send()
        .await
        .unwrap();
    // md5 of "abc".
    assert_eq!(answer.e_tag(), Some("\"900150983cd24fb0d6963f7d28e17f72\""));
    assert_eq!(answer.version_id(), None);

    let head = client
        .head_object()
        .bucket(server.bucket())
        .key("models/a.stl")
        .send()
        .await
        .unwrap();
    assert_eq!(head.content_length(), Some(3));
    assert_eq!(head.content_type(), Some("model/stl"));
    assert_eq!(head.cache_control(), Some("no-store"));
    assert_eq!(
        head.content_disposition(),
        Some("attachment; filename=\"a.stl\"")
    );
    assert_eq!(head.e_tag(), answer.e_tag());
    assert!(head.last_modified().is_some());
    let user = head.metadata().unwrap();
    assert_eq!(user.get("artist").map(String::as_str), Some("a-1"));
    assert_eq!(user.get("asset").map(String::as_str), Some("ast_7"));

    let stored = server.metadata("models/a.stl").unwrap();
    assert_eq!(stored.content_type.as_deref(), Some("model/stl"));
    assert_eq!(stored.user["artist"], "a-1");
}

#[tokio::test]
async fn ranges_are_answered_206_or_416() {
    let (server, client) = start(Options::default()).await;
    let bytes = pattern(200_000);
    put(&server, &client, "k", &bytes).await;
    put(&server, &client, "empty", b"").await;
    let cases = [
        ("bytes=0-0", 0..1),
        ("bytes=65535-65537", 65_535..65_538),
        ("bytes=199999-", 199_999..200_000),
        ("bytes=-10", 199_990..200_000),
        ("bytes=100-999999", 100..200_000),
    ];
    for (range, expected) in cases.clone() {
        let request = client.get_object().bucket(server.bucket()).key("k");
        let answer = request.range(range).send().await.unwrap();
        let content_range = format!("bytes {}-{}/200000", expected.start, expected.end - 1);
        assert_eq!(answer.content_range(), Some(&*content_range));
        assert_eq!(answer.content_length(), Some(expected.len() as i64));
        let got = answer.body.collect().await.unwrap().to_vec();
        assert!(got == bytes[expected], "{range}");
    }
    for (key, range) in [
        ("k", "bytes=200000-"),
        ("empty", "bytes=0-"),
        ("empty", "bytes=-1"),
    ] {
        let request = client.get_object().bucket(server.bucket()).key(key);
        let refused = request.range(range).send().await;
        assert_eq!(
            refusal(refused),
            (416, "InvalidRange".into()),
            "{key} {range}"
        );
    }
    let ranged = server
        .calls()
        .into_iter()
        .filter(|call| call.status == Some(206));
    let ranges: Vec<String> = ranged.filter_map(|call| call.range).collect();
    assert_eq!(ranges, cases.map(|(range, _)| range.to_owned()));
}

#[tokio::test]
async fn conditions_are_kept() {
    let (server, client) = start(Options::default()).await;
    put(&server, &client, "k", b"abc").await;
    let etag = "\"900150983cd24fb0d6963f7d28e17f72\"";
    let ask = || client.get_object().bucket(server.bucket()).key("k");
    assert!(ask().if_match(etag).send().await.is_ok());
    assert!(ask().if_none_match("\"other\"").send().await.is_ok());
    let failed = ask().if_match("\"other\"").send().await;
    assert_eq!(refusal(failed), (412, "PreconditionFailed".into()));
    assert_eq!(refusal(ask().if_none_match(etag).send().await).0, 304);
    // The connection is still in step after an answer without a body.
    assert!(ask().send().await.is_ok());

    let past = DateTime::from_secs(1_000_000_000);
    let future = DateTime::from_secs(4_000_000_000);
    assert!(ask().if_modified_since(past).send().await.is_ok());
    assert_eq!(refusal(ask().if_modified_since(future).send().await).0, 304);
    assert_eq!(refusal(ask().if_unmodified_since(past).send().await).0, 412);
    let head = client.head_object().bucket(server.bucket()).key("k");
    assert_eq!(refusal(head.if_none_match(etag).send().await).0, 304);

    let put = |key: &str| client.put_object().bucket(server.bucket()).key(key);
    let exists = put("k").if_none_match("*").send().await;
    assert_eq!(refusal(exists), (412, "PreconditionFailed".into()));
    assert!(put("new").if_none_match("*").send().await.is_ok());
    assert!(put("k").if_match(etag).send().await.is_ok());
    assert_eq!(refusal(put("k").if_match(etag).send().await).0, 412);
    let missing = put("none").if_match(etag).send().await;
    assert_eq!(refusal(missing), (404, "NoSuchKey".into()));
}

#[tokio::test]
async fn missing_things_are_told_apart() {
    let (server, client) = start(Options::default()).await;
    let missing = client.get_object().bucket(server.bucket()).key("none");
    assert_eq!(refusal(missing.send().await), (404, "NoSuchKey".into()));
    let missing = client.head_object().bucket(server.bucket()).key("none");
    let error = missing.send().await.unwrap_err().into_service_error();
    assert!(error.is_not_found());
    let missing = client.get_object().bucket("no-such-bucket").key("k");
    assert_eq!(refusal(missing.send().await), (404, "NoSuchBucket".into()));
    let missing = client.put_object().bucket("no-such-bucket").key("k");
    let refused = missing
        .body(ByteStream::from(pattern(3_000_000)))
        .send()
        .await;
    assert_eq!(refusal(refused), (404, "NoSuchBucket".into()));
    let head = client.head_bucket().bucket("no-such-bucket").send().await;
    assert!(head.unwrap_err().into_service_error().is_not_found());
}

#[tokio::test]
async fn content_md5_is_verified() {
    let (server, client) = start(Options::default()).await;
    let put = |md5: &str| {
        let request = client.put_object().bucket(server.bucket()).key("k");
        request
            .body(ByteStream::from_static(b"abc"))
            .content_md5(md5)
            .send()
    };
    assert_eq!(
        refusal(put("AAAAAAAAAAAAAAAAAAAAAA==").await),
        (400, "BadDigest".into())
    );
    assert_eq!(
        refusal(put("nonsense").await),
        (400, "InvalidDigest".into())
    );
    assert!(server.keys().is_empty());
    put("kAFQmDzST7DWlj99KOF/cg==").await.unwrap();
    assert_eq!(server.keys(), ["k"]);
}

#[tokio::test]
async fn copies_keep_or_replace_metadata() {
    let (server, client) = start(Options::default()).await;
    let request = client
        .put_object()
        .bucket(server.bucket())
        .key("models/ä b.stl");
    let request = request.metadata("artist", "a-1").content_type("model/stl");
    request
        .body(ByteStream::from_static(b"abc"))
        .send()
        .await
        .unwrap();

    let source = format!("{}/models/%C3%A4%20b.stl", server.bucket());
    let copy = |to: &str| {
        client
            .copy_object()
            .bucket(server.bucket())
            .key(to)
            .copy_source(&source)
    };
    copy("copy").send().await.unwrap();
    assert_eq!(server.metadata("copy"), server.metadata("models/ä b.stl"));
    assert_eq!(server.body("copy").unwrap(), "abc");
    let replacing = copy("other").metadata_directive(MetadataDirective::Replace);
    replacing.metadata("artist", "a-2").send().await.unwrap();
    assert_eq!(server.metadata("other").unwrap().user["artist"], "a-2");
    assert_eq!(server.metadata("other").unwrap().content_type, None);

    let none = format!("{}/none", server.bucket());
    let missing = client
        .copy_object()
        .bucket(server.bucket())
        .key("x")
        .copy_source(none);
    assert_eq!(refusal(missing.send().await), (404, "NoSuchKey".into()));
    assert_eq!(server.count(Operation::CopyObject), 3);
}

#[tokio::test]
async fn without_versions_deleted_is_gone() {
    let (server, client) = start(Options::default()).await;
    put(&server, &client, "a", b"1").await;
    put(&server, &client, "a", b"2").await;
    assert_eq!(server.all_version_count(), 1);
    let delete = |key: &str| {
        client
            .delete_object()
            .bucket(server.bucket())
            .key(key)
            .send()
    };
    delete("a").await.unwrap();
    delete("never-was").await.unwrap();
    assert_eq!(server.all_version_count(), 0);
    let status = client
        .get_bucket_versioning()
        .bucket(server.bucket())
        .send()
        .await;
    assert_eq!(status.unwrap().status(), None);
}

#[tokio::test]
async fn with_versions_deleted_is_hidden() {
    let (server, client) = start(Options::versioned()).await;
    put(&server, &client, "a", b"1").await;
    put(&server, &client, "a", b"22").await;
    let delete = || client.delete_object().bucket(server.bucket()).key("a");
    let marker = delete().send().await.unwrap();
    assert_eq!(marker.delete_marker(), Some(true));

    let hidden = client
        .get_object()
        .bucket(server.bucket())
        .key("a")
        .send()
        .await;
    assert_eq!(refusal(hidden), (404, "NoSuchKey".into()));
    assert!(server.keys().is_empty());
    let versions = server.versions("a");
    let sizes: Vec<u64> = versions.iter().map(|version| version.size_bytes).collect();
    assert_eq!(sizes, [0, 2, 1]);
    assert!(versions[0].is_delete_marker);
    assert_eq!(marker.version_id(), Some(&*versions[0].version_id));

    let old = client.get_object().bucket(server.bucket()).key("a");
    let old = old
        .version_id(&versions[2].version_id)
        .send()
        .await
        .unwrap();
    assert_eq!(old.body.collect().await.unwrap().to_vec(), b"1");
    let marked = client.get_object().bucket(server.bucket()).key("a");
    let marked = marked.version_id(&versions[0].version_id).send().await;
    assert_eq!(refusal(marked), (405, "MethodNotAllowed".into()));

    // Without its marker the key shows again; without its versions it is gone.
    delete()
        .version_id(&versions[0].version_id)
        .send()
        .await
        .unwrap();
    assert_eq!(server.body("a").unwrap(), "22");
    for version in &versions[1..] {
        delete()
            .version_id(&version.version_id)
            .send()
            .await
            .unwrap();
    }
    assert_eq!(server.all_version_count(), 0);
    let gone = client.get_object().bucket(server.bucket()).key("a");
    let gone = gone.version_id(&versions[1].version_id).send().await;
    assert_eq!(refusal(gone), (404, "NoSuchVersion".into()));
    let status = client
        .get_bucket_versioning()
        .bucket(server.bucket())
        .send()
        .await;
    assert_eq!(
        status.unwrap().status(),
        Some(&BucketVersioningStatus::Enabled)
    );
}

#[tokio::test]
async fn many_are_deleted_at_once() {
    let (server, client) = start(Options::versioned()).await;
    for key in ["a", "b", "c"] {
        put(&server, &client, key, b"x").await;
    }
    let version = server.versions("b")[0].version_id.clone();
    let named = |key: &str| ObjectIdentifier::builder().key(key);
    let delete = Delete::builder()
        .objects(named("a").build().unwrap())
        .objects(named("b").version_id(version).build().unwrap())
        .build()
        .unwrap();
    let answer = delete_objects(&server, &client, delete).await;
    assert_eq!(answer.deleted().len(), 2);
    assert!(answer.errors().is_empty());
    assert_eq!(answer.deleted()[0].delete_marker(), Some(true));
    assert_eq!(server.keys(), ["c"]);
    assert_eq!(server.versions("a").len(), 2);
    assert!(server.versions("b").is_empty());

    let quiet = Delete::builder()
        .objects(named("c").build().unwrap())
        .quiet(true);
    let answer = delete_objects(&server, &client, quiet.build().unwrap()).await;
    assert!(answer.deleted().is_empty());
    assert!(server.keys().is_empty());
}

async fn delete_objects(
    server: &ChaosS3,
    client: &Client,
    delete: Delete,
) -> aws_sdk_s3::operation::delete_objects::DeleteObjectsOutput {
    let request = client.delete_objects().bucket(server.bucket());
    request.delete(delete).send().await.unwrap()
}

#[tokio::test]
async fn settings_are_stored() {
    let (server, client) = start(Options::default().another_bucket("second").region("eu-1")).await;
    let bucket = server.bucket();
    let buckets = client.list_buckets().send().await.unwrap();
    let names: Vec<&str> = buckets.buckets().iter().filter_map(|b| b.name()).collect();
    assert_eq!(names, ["second", bucket]);
    let head = client.head_bucket().bucket(bucket).send().await.unwrap();
    assert_eq!(head.bucket_region(), Some("eu-1"));
    let location = client
        .get_bucket_location()
        .bucket(bucket)
        .send()
        .await
        .unwrap();
    assert_eq!(location.location_constraint().unwrap().as_str(), "eu-1");

    let read = || {
        client
            .get_bucket_lifecycle_configuration()
            .bucket(bucket)
            .send()
    };
    assert_eq!(
        refusal(read().await),
        (404, "NoSuchLifecycleConfiguration".into())
    );
    let rule = LifecycleRule::builder()
        .id("hide")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("temp/").build())
        .expiration(LifecycleExpiration::builder().days(1).build())
        .build()
        .unwrap();
    let lifecycle = BucketLifecycleConfiguration::builder().rules(rule.clone());
    let write = client.put_bucket_lifecycle_configuration().bucket(bucket);
    let lifecycle = lifecycle.build().unwrap();
    write
        .lifecycle_configuration(lifecycle)
        .send()
        .await
        .unwrap();
    assert_eq!(read().await.unwrap().rules(), [rule]);

    let read = || client.get_bucket_cors().bucket(bucket).send();
    assert_eq!(
        refusal(read().await),
        (404, "NoSuchCORSConfiguration".into())
    );
    let rule = CorsRule::builder()
        .allowed_methods("GET")
        .allowed_origins("https://shop.example")
        .build()
        .unwrap();
    let cors = CorsConfiguration::builder()
        .cors_rules(rule.clone())
        .build()
        .unwrap();
    let write = client.put_bucket_cors().bucket(bucket);
    write.cors_configuration(cors).send().await.unwrap();
    assert_eq!(read().await.unwrap().cors_rules(), [rule]);
}

#[tokio::test]
async fn inspection_makes_no_calls() {
    let (server, client) = start(Options::versioned()).await;
    let version = server.plant("models/a", b"abc".to_vec()).unwrap();
    assert_eq!(server.versions("models/a")[0].version_id, version);
    assert!(server.corrupt("models/a", 1));
    assert!(!server.corrupt("models/a", 3));
    assert!(!server.corrupt("none", 0));
    assert_eq!(server.count(Operation::Any), 0);
    assert_eq!(get(&server, &client, "models/a").await, b"acc");
    assert!(server.remove("models/a"));
    assert!(!server.remove("models/a"));
    let gone = client
        .get_object()
        .bucket(server.bucket())
        .key("models/a")
        .send()
        .await;
    assert_eq!(message(gone), "The specified key does not exist.");
}

#[tokio::test]
async fn discarded_bodies_keep_length_and_etag() {
    let (server, client) = start(Options::default().discard_bodies()).await;
    put(&server, &client, "k", b"abc").await;
    let head = client
        .head_object()
        .bucket(server.bucket())
        .key("k")
        .send()
        .await
        .unwrap();
    assert_eq!(head.e_tag(), Some("\"900150983cd24fb0d6963f7d28e17f72\""));
    assert_eq!(get(&server, &client, "k").await, [0, 0, 0]);
    assert!(!server.corrupt("k", 0));
}
