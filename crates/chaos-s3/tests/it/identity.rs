//! Who asks: signatures, regions, clocks and capabilities.

use aws_sdk_s3::Client;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use chaos_s3::{AccessKey, Capability, ChaosS3, Options};

use crate::support::{
    Raw, client_of, client_with, for_seconds, get, http, message, put, refusal, signed_get, start,
};

#[tokio::test]
async fn wrong_credentials_are_told_apart() {
    for (options, words) in [
        (Options::b2(), "Malformed Access Key Id"),
        (
            Options::default(),
            "The AWS Access Key Id you provided does not exist in our records.",
        ),
    ] {
        let server = ChaosS3::start(options).await.unwrap();
        let list = |client: Client| client.list_objects_v2().bucket(server.bucket()).send();
        let region = server.region();
        let unknown = || client_with(&server, "unknown", server.application_key(), region);
        assert_eq!(
            refusal(list(unknown()).await),
            (403, "InvalidAccessKeyId".into())
        );
        assert_eq!(message(list(unknown()).await), words);
        let wrong = client_with(&server, server.key_id(), "wrong", region);
        assert_eq!(
            refusal(list(wrong).await),
            (403, "SignatureDoesNotMatch".into())
        );
        let key = (server.key_id(), server.application_key());
        let elsewhere = || client_with(&server, key.0, key.1, "eu-west-9");
        let refused = refusal(list(elsewhere()).await);
        assert_eq!(refused, (400, "AuthorizationHeaderMalformed".into()));
        let told = message(list(elsewhere()).await);
        assert!(
            told.contains("'eu-west-9' is wrong; expecting 'us-east-1'"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn the_expected_region_is_an_element_and_a_header() {
    let server = ChaosS3::start(Options::default().region("eu-1"))
        .await
        .unwrap();
    let key = (server.key_id(), server.application_key());
    let client = client_with(&server, key.0, key.1, "us-east-1");
    let url = signed_get(&server, &client, "k").await;
    let answer = http().get(url).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    assert_eq!(answer.headers()["x-amz-bucket-region"], "eu-1");
    let body = answer.text().await.unwrap();
    assert!(body.contains("<Region>eu-1</Region>"), "{body}");
}

#[tokio::test]
async fn without_a_signature_nothing_is_given() {
    let (server, client) = start(Options::default()).await;
    put(&server, &client, "k", b"abc").await;
    let url = format!("{}/{}/k", server.endpoint(), server.bucket());
    assert_eq!(http().get(&url).send().await.unwrap().status(), 403);
    assert_eq!(
        http().put(&url).body("x").send().await.unwrap().status(),
        403
    );
    let old = format!("{url}?AWSAccessKeyId=a&Signature=b&Expires=1");
    let body = http().get(old).send().await.unwrap().text().await.unwrap();
    assert!(body.contains("AWS4-HMAC-SHA256"), "{body}");
    assert_eq!(server.body("k").unwrap(), "abc");
}

#[tokio::test]
async fn presigned_urls_are_verified_and_override_headers() {
    let (server, client) = start(Options::default()).await;
    put(&server, &client, "models/ä b.stl", b"abcdef").await;
    let disposition = "attachment; filename=\"a b.stl\"; filename*=UTF-8''%C3%A4%20b.stl";
    let request = client
        .get_object()
        .bucket(server.bucket())
        .key("models/ä b.stl");
    let signed = request
        .response_content_disposition(disposition)
        .response_content_type("model/stl")
        .presigned(for_seconds(60))
        .await
        .unwrap();
    let url = signed.uri();
    let answer = http()
        .get(url)
        .header("range", "bytes=1-2")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 206);
    assert_eq!(answer.headers()["content-disposition"], disposition);
    assert_eq!(answer.headers()["content-type"], "model/stl");
    assert_eq!(answer.text().await.unwrap(), "bc");

    for tampered in [
        url.replace("b.stl?", "c.stl?"),
        url.replace("model%2Fstl", "text%2Fhtml"),
        url.replace("X-Amz-Expires=60", "X-Amz-Expires=61"),
    ] {
        assert_ne!(tampered, url);
        let answer = http().get(tampered).send().await.unwrap();
        assert_eq!(answer.status(), 403);
        let body = answer.text().await.unwrap();
        assert!(body.contains("SignatureDoesNotMatch"), "{body}");
    }
    // The method is signed too.
    assert_eq!(http().delete(url).send().await.unwrap().status(), 403);

    let request = client.put_object().bucket(server.bucket()).key("up");
    let signed = request.presigned(for_seconds(60)).await.unwrap();
    let answer = http().put(signed.uri()).body("hello").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(server.body("up").unwrap(), "hello");
}

#[tokio::test]
async fn presigned_urls_expire_by_the_servers_clock() {
    let server = ChaosS3::start(Options::default().clock_skew(600))
        .await
        .unwrap();
    let client = crate::support::client(&server);
    server.plant("k", "abc");
    let ask = async |seconds: u64| {
        let request = client.get_object().bucket(server.bucket()).key("k");
        let signed = request.presigned(for_seconds(seconds)).await.unwrap();
        http().get(signed.uri()).send().await.unwrap()
    };
    assert_eq!(ask(900).await.status(), 200);
    let expired = ask(300).await;
    assert_eq!(expired.status(), 403);
    let body = expired.text().await.unwrap();
    assert!(body.contains("Request has expired"), "{body}");
}

#[tokio::test]
async fn presigned_urls_last_seven_days_at_most() {
    let (server, client) = start(Options::default()).await;
    server.plant("k", "abc");
    let url = signed_get(&server, &client, "k").await;
    let longer = url.replace("X-Amz-Expires=300", "X-Amz-Expires=604801");
    let answer = http().get(longer).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    let body = answer.text().await.unwrap();
    assert!(body.contains("AuthorizationQueryParametersError"), "{body}");
}

#[tokio::test]
async fn a_clock_that_is_off_is_noticed() {
    for (skew_s, fine) in [
        (0, true),
        (880, true),
        (-880, true),
        (920, false),
        (-920, false),
    ] {
        let server = ChaosS3::start(Options::default().clock_skew(skew_s))
            .await
            .unwrap();
        server.plant("k", "abc");
        let answer = Raw::new("GET", "/k").send(&server).await;
        assert_eq!(answer.status().is_success(), fine, "{skew_s}");
        let date = answer.headers()["date"].to_str().unwrap().to_owned();
        assert!(date.ends_with(" GMT"), "{date}");
        if !fine {
            let body = answer.text().await.unwrap();
            assert!(body.contains("<Code>RequestTimeTooSkewed</Code>"), "{body}");
            assert!(body.contains("<ServerTime>"), "{body}");
        }
    }
    // The same from the other side, and the server's Date is its own.
    let ahead = ChaosS3::start(Options::default().clock_skew(86_400 * 365))
        .await
        .unwrap();
    let truly = ChaosS3::start(Options::default()).await.unwrap();
    let year = async |server: &ChaosS3, clock_off_s: i64| {
        server.plant("k", "abc");
        let mut request = Raw::new("GET", "/k");
        request.clock_off_s = clock_off_s;
        let answer = request.send(server).await;
        assert_eq!(answer.status(), 200);
        let date = answer.headers()["date"].to_str().unwrap().to_owned();
        date.split(' ').nth(3).unwrap().parse::<u32>().unwrap()
    };
    assert_eq!(year(&ahead, 86_400 * 365).await, year(&truly, 0).await + 1);
}

#[tokio::test]
async fn a_payload_that_is_not_the_signed_one_is_refused() {
    let server = ChaosS3::start(Options::default()).await.unwrap();
    let mut request = Raw::new("PUT", "/k");
    request.body = "abc";
    request.other_body = Some("abd");
    let answer = request.send(&server).await;
    assert_eq!(answer.status(), 400);
    let body = answer.text().await.unwrap();
    assert!(body.contains("XAmzContentSHA256Mismatch"), "{body}");
    assert!(server.keys().is_empty());
}

#[tokio::test]
async fn keys_can_do_what_they_are_entitled_to() {
    use Capability::*;
    let keys = [
        AccessKey::new("no-list", "s1").without(ListFiles),
        AccessKey::new("read-only", "s2").only(&[ListFiles, ReadFiles]),
        AccessKey::new("no-delete", "s3").without(DeleteFiles),
        AccessKey::new("no-buckets", "s4")
            .without(ListBuckets)
            .without(WriteBuckets),
    ];
    let options = keys
        .iter()
        .cloned()
        .fold(Options::b2(), Options::access_key);
    let server = ChaosS3::start(options).await.unwrap();
    let [no_list, read_only, no_delete, no_buckets] =
        keys.each_ref().map(|k| client_of(&server, k));
    let bucket = server.bucket();
    let denied = (403, "AccessDenied".to_owned());
    server.plant("k", "abc");
    let version = server.versions("k")[0].version_id.clone();

    let missing = || no_list.get_object().bucket(bucket).key("none").send();
    assert_eq!(refusal(missing().await), denied);
    assert_eq!(message(missing().await), "not entitled");
    let head = no_list
        .head_object()
        .bucket(bucket)
        .key("none")
        .send()
        .await;
    assert_eq!(refusal(head).0, 403);
    assert_eq!(get(&server, &no_list, "k").await, b"abc");
    assert_eq!(
        refusal(no_list.list_objects_v2().bucket(bucket).send().await),
        denied
    );
    assert_eq!(
        refusal(no_list.list_object_versions().bucket(bucket).send().await),
        denied
    );

    assert_eq!(get(&server, &read_only, "k").await, b"abc");
    let missing = read_only
        .get_object()
        .bucket(bucket)
        .key("none")
        .send()
        .await;
    assert_eq!(refusal(missing), (404, "NoSuchKey".into()));
    assert_eq!(
        refusal(read_only.put_object().bucket(bucket).key("x").send().await),
        denied
    );
    let begin = read_only.create_multipart_upload().bucket(bucket).key("x");
    assert_eq!(refusal(begin.send().await), denied);
    assert_eq!(
        refusal(
            read_only
                .delete_object()
                .bucket(bucket)
                .key("k")
                .send()
                .await
        ),
        denied
    );

    // Hiding is writing; only deleting a version needs deleteFiles.
    let delete = || no_delete.delete_object().bucket(bucket).key("k");
    assert_eq!(refusal(delete().version_id(version).send().await), denied);
    delete().send().await.unwrap();
    assert_eq!(server.versions("k").len(), 2);

    assert_eq!(refusal(no_buckets.list_buckets().send().await), denied);
    assert_eq!(
        refusal(no_buckets.head_bucket().bucket(bucket).send().await).0,
        403
    );
    put(&server, &no_buckets, "k2", b"x").await;
}

#[tokio::test]
async fn on_plain_s3_every_delete_needs_the_capability() {
    let key = AccessKey::new("no-delete", "s").without(Capability::DeleteFiles);
    let server = ChaosS3::start(Options::default().access_key(key.clone()))
        .await
        .unwrap();
    let client = client_of(&server, &key);
    server.plant("k", "abc");
    let refused = client
        .delete_object()
        .bucket(server.bucket())
        .key("k")
        .send()
        .await;
    assert_eq!(refusal(refused), (403, "AccessDenied".into()));
    let entry = ObjectIdentifier::builder().key("k").build().unwrap();
    let delete = Delete::builder().objects(entry).build().unwrap();
    let request = client
        .delete_objects()
        .bucket(server.bucket())
        .delete(delete);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.errors()[0].code(), Some("AccessDenied"));
    assert_eq!(server.keys(), ["k"]);
}

#[tokio::test]
async fn keys_stay_in_their_bucket_and_prefix() {
    let elsewhere = AccessKey::new("elsewhere", "s1").bucket("second");
    let below = AccessKey::new("below", "s2").prefix("models/");
    let options = Options::b2().another_bucket("second");
    let options = options
        .access_key(elsewhere.clone())
        .access_key(below.clone());
    let server = ChaosS3::start(options).await.unwrap();
    let bucket = server.bucket();
    let denied = (403, "AccessDenied".to_owned());
    server.plant("models/a", "abc");
    server.plant("temp/a", "abc");

    let client = client_of(&server, &elsewhere);
    let get_there = client
        .get_object()
        .bucket(bucket)
        .key("models/a")
        .send()
        .await;
    assert_eq!(refusal(get_there), denied);
    client
        .put_object()
        .bucket("second")
        .key("k")
        .send()
        .await
        .unwrap();
    let buckets = client.list_buckets().send().await.unwrap();
    assert_eq!(buckets.buckets().len(), 1);
    let copy = client.copy_object().bucket("second").key("stolen");
    let copy = copy.copy_source(format!("{bucket}/models/a")).send().await;
    assert_eq!(refusal(copy), denied);

    let client = client_of(&server, &below);
    assert_eq!(get(&server, &client, "models/a").await, b"abc");
    let get_there = client
        .get_object()
        .bucket(bucket)
        .key("temp/a")
        .send()
        .await;
    assert_eq!(refusal(get_there), denied);
    let list = || client.list_objects_v2().bucket(bucket);
    assert_eq!(refusal(list().send().await), denied);
    assert!(list().prefix("models/").send().await.is_ok());
    let copy = client.copy_object().bucket(bucket).key("models/stolen");
    let copy = copy.copy_source(format!("{bucket}/temp/a")).send().await;
    assert_eq!(refusal(copy), denied);
}

#[tokio::test]
async fn secrets_are_not_shown() {
    let key = AccessKey::new("id", "hush-hush");
    let server = ChaosS3::start(Options::default().access_key(key))
        .await
        .unwrap();
    let shown = format!("{server:?}");
    assert!(shown.contains("id"));
    assert!(!shown.contains("hush-hush"), "{shown}");
    assert!(!shown.contains(server.application_key()), "{shown}");
}
