//! The strict B2 profile.

use aws_sdk_s3::config::RequestChecksumCalculation;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, ChecksumMode, Delete, ObjectCannedAcl, ObjectIdentifier,
};
use chaos_s3::{ChaosS3, Operation, Options};

use crate::support::{Raw, config, message, pattern, put, refusal, start};

#[tokio::test]
async fn checksum_headers_are_refused() {
    let (server, client) = start(Options::b2()).await;
    let request = client.put_object().bucket(server.bucket()).key("k");
    let request = request.body(ByteStream::from_static(b"abc"));
    let refused = request
        .checksum_algorithm(ChecksumAlgorithm::Crc32)
        .send()
        .await;
    let told = message(refused);
    assert!(told.starts_with("Unsupported header 'x-amz-"), "{told}");
    assert!(told.ends_with("' received for this API call."), "{told}");

    let request = client.put_object().bucket(server.bucket()).key("k");
    let request = request.body(ByteStream::from_static(b"abc"));
    let refused = request.checksum_sha256("ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
    assert_eq!(
        message(refused.send().await),
        "Unsupported header 'x-amz-checksum-sha256' received for this API call."
    );
    server.plant("k", "abc");
    let request = client.get_object().bucket(server.bucket()).key("k");
    let refused = request.checksum_mode(ChecksumMode::Enabled).send().await;
    assert_eq!(refusal(refused), (400, "InvalidArgument".into()));

    // A part in the SDK's default way: unsigned payload with a trailer.
    let config = config(
        &server,
        server.key_id(),
        server.application_key(),
        server.region(),
    );
    let config = config.request_checksum_calculation(RequestChecksumCalculation::WhenSupported);
    let client = aws_sdk_s3::Client::from_conf(config.build());
    let request = client.put_object().bucket(server.bucket()).key("k");
    let refused = request
        .body(ByteStream::from(pattern(100_000)))
        .send()
        .await;
    assert_eq!(refusal(refused), (400, "InvalidArgument".into()));
    assert_eq!(server.versions("k").len(), 1);
}

#[tokio::test]
async fn the_sdk_with_its_default_checksums_works_on_plain_s3() {
    let server = ChaosS3::start(Options::default()).await.unwrap();
    let config = config(
        &server,
        server.key_id(),
        server.application_key(),
        server.region(),
    );
    let config = config.request_checksum_calculation(RequestChecksumCalculation::WhenSupported);
    let client = aws_sdk_s3::Client::from_conf(config.build());
    let bytes = pattern(200_000);
    put(&server, &client, "k", &bytes).await;
    assert!(server.body("k").unwrap() == bytes);
}

#[tokio::test]
async fn conditional_puts_are_not_implemented() {
    let (server, client) = start(Options::b2()).await;
    let put = || client.put_object().bucket(server.bucket()).key("k");
    let refused = put().if_none_match("*").send().await;
    assert_eq!(refusal(refused), (501, "NotImplemented".into()));
    let refused = put().if_match("\"x\"").send().await;
    assert_eq!(refusal(refused), (501, "NotImplemented".into()));
    assert!(server.keys().is_empty());
    // Conditional GET works.
    server.plant("k", "abc");
    let request = client.get_object().bucket(server.bucket()).key("k");
    assert_eq!(refusal(request.if_match("\"x\"").send().await).0, 412);
}

#[tokio::test]
async fn tagging_and_acl_headers_are_refused() {
    let (server, client) = start(Options::b2()).await;
    let put = || client.put_object().bucket(server.bucket()).key("k");
    let refused = put().tagging("a=b").send().await;
    assert_eq!(refusal(refused), (400, "InvalidArgument".into()));
    let refused = put().acl(ObjectCannedAcl::PublicRead).send().await;
    assert_eq!(refusal(refused), (400, "InvalidArgument".into()));
    assert!(server.keys().is_empty());
}

#[tokio::test]
async fn delete_hides_and_only_a_version_id_deletes() {
    let (server, client) = start(Options::b2()).await;
    put(&server, &client, "k", b"abc").await;
    let delete = |key: &str| client.delete_object().bucket(server.bucket()).key(key);
    delete("k").send().await.unwrap();
    assert!(server.keys().is_empty());
    assert_eq!(server.versions("k").len(), 2);
    let answer = delete("never-was").send().await.unwrap();
    assert_eq!(answer.delete_marker(), Some(true));
    assert!(server.versions("never-was")[0].is_delete_marker);
    assert_eq!(server.all_version_count(), 3);
    for key in ["k", "never-was"] {
        for version in server.versions(key) {
            delete(key)
                .version_id(version.version_id)
                .send()
                .await
                .unwrap();
        }
    }
    assert_eq!(server.all_version_count(), 0);
}

#[tokio::test]
async fn delete_objects_needs_a_content_md5() {
    let (server, client) = start(Options::b2()).await;
    server.plant("k", "abc");
    // The SDK adds a checksum header of its own accord.
    let entry = ObjectIdentifier::builder().key("k").build().unwrap();
    let request = client.delete_objects().bucket(server.bucket());
    let refused = request.delete(Delete::builder().objects(entry).build().unwrap());
    assert_eq!(
        refusal(refused.send().await),
        (400, "InvalidArgument".into())
    );

    let xml = "<Delete><Object><Key>k</Key></Object></Delete>";
    for (md5, status, told) in [
        (None, 400, "MissingContentMD5"),
        (Some("AAAAAAAAAAAAAAAAAAAAAA=="), 400, "BadDigest"),
        // Computed with md5sum.
        (Some(MD5_OF_XML), 200, "<Deleted>"),
    ] {
        let mut request = Raw::new("POST", "?delete=");
        request.body = xml;
        request.headers.extend(md5.map(|md5| ("content-md5", md5)));
        let answer = request.send(&server).await;
        assert_eq!(answer.status(), status, "{told}");
        let body = answer.text().await.unwrap();
        assert!(body.contains(told), "{body}");
    }
    assert!(server.keys().is_empty());
    assert_eq!(server.count(Operation::DeleteObjects), 4);
}

const MD5_OF_XML: &str = "5DKh5iefM5MSKvRILIuFwQ==";
