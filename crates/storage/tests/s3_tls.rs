//! Over TLS: with a private certificate authority, and never without one.

mod s3_support;

use std::time::Duration;

use chaos_s3::{ChaosS3, Fault, FaultAction, Operation as Request, Options};
use s3_support::{Bench, PART_BYTES, bytes, config_of, connect, key, put, read_all, stream_in};
use stockroom_storage::{ErrorKind, S3Config, S3ConfigError, S3Store, SignRequest, Store as _};

#[tokio::test]
async fn objects_go_up_and_down_over_tls() {
    for options in [Options::default(), Options::versioned()] {
        let bench = Bench::start(options.tls()).await;
        assert!(bench.server.endpoint().starts_with("https://"));
        let (small, large) = (bytes(1, 1_000), bytes(2, 5 * PART_BYTES + 1));
        put(&bench.store, "models/small", small.clone())
            .await
            .unwrap();
        stream_in(&bench.store, &key("models/large"), &large)
            .await
            .unwrap();
        assert!(read_all(&bench.store, &key("models/small")).await.unwrap() == small);
        assert!(read_all(&bench.store, &key("models/large")).await.unwrap() == large);
        for name in ["models/small", "models/large"] {
            bench.store.delete(&key(name)).await.unwrap();
        }
        assert_eq!(bench.server.all_version_count(), 0);
    }
}

/// What a store acknowledges, it has compared with a digest: also under TLS, also in parts.
#[tokio::test]
async fn bytes_that_change_on_their_way_are_refused_and_sent_again() {
    for options in [Options::default(), Options::default().tls()] {
        let bench = Bench::start(options).await;
        assert!(bench.store.compares_digests());
        let all = bytes(5, 5 * PART_BYTES + 1);
        for (request, size_bytes) in [
            (Request::PutObject, PART_BYTES),
            (Request::UploadPart, all.len()),
        ] {
            let flip = || Fault::new(request, FaultAction::FlipRequestBit { offset: 40_000 });
            bench.server.fault(flip());
            let sent = all.slice(..size_bytes);
            stream_in(&bench.store, &key("models/a"), &sent)
                .await
                .expect("the second time");
            assert!(read_all(&bench.store, &key("models/a")).await.unwrap() == sent);

            bench.store.delete(&key("models/a")).await.unwrap();
            bench.server.fault(flip().forever());
            let error = stream_in(&bench.store, &key("models/a"), &sent).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Corrupt);
            bench.server.clear_faults();
            bench.assert_nothing_left("bytes that always change");
        }
    }
}

#[tokio::test]
async fn faults_heal_over_tls() {
    let bench = Bench::start(Options::default().tls()).await;
    let all = bytes(3, 300_000);
    for action in [
        FaultAction::slow_down(),
        FaultAction::TruncateBody(100_000),
        FaultAction::ResetAfterResponseBytes(100_000),
    ] {
        bench
            .server
            .fault(Fault::new(Request::GetObject, action.clone()));
        bench
            .server
            .fault(Fault::new(Request::UploadPart, action.clone()));
        stream_in(&bench.store, &key("models/a"), &all)
            .await
            .expect("an upload");
        let got = read_all(&bench.store, &key("models/a")).await;
        assert!(got.expect("a download") == all, "{action:?}");
    }
}

#[tokio::test]
async fn an_authority_that_is_not_trusted_is_refused_at_once() {
    let server = ChaosS3::start(Options::default().tls()).await.unwrap();
    let other = ChaosS3::start(Options::default().tls()).await.unwrap();
    for ca_pem in [None, config_of(&other).ca_pem] {
        let mut config = S3Config {
            ca_pem,
            ..config_of(&server)
        };
        config.retries.base = Duration::from_secs(10);
        let (store, told) = connect(&config);
        let error = store.probe_bucket().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(error.detail().contains("certificate"), "{error}");
        assert_eq!(
            told.take().len(),
            1,
            "another attempt meets the same certificate"
        );
    }
    assert_eq!(server.count(Request::Any), 0);
}

#[tokio::test]
async fn plain_http_to_a_tls_port_and_the_other_way_are_unavailable() {
    let plain = ChaosS3::start(Options::default()).await.unwrap();
    let tls = ChaosS3::start(Options::default().tls()).await.unwrap();
    let mut to_plain = config_of(&plain);
    to_plain.endpoint = plain.endpoint().replace("http://", "https://");
    to_plain.ca_pem = config_of(&tls).ca_pem;
    let mut to_tls = config_of(&tls);
    to_tls.endpoint = tls.endpoint().replace("https://", "http://");
    for config in [to_plain, to_tls] {
        let (store, _) = connect(&config);
        let error = store.probe_list().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
}

#[tokio::test]
async fn what_is_no_certificate_is_found_before_any_request() {
    let config = S3Config {
        ca_pem: Some(b"not a certificate".to_vec()),
        ..config_of(&ChaosS3::start(Options::default()).await.unwrap())
    };
    assert_eq!(S3Store::connect(&config).err(), Some(S3ConfigError::Ca));
}

#[tokio::test]
async fn a_signed_url_works_without_any_key() {
    for options in [Options::default(), Options::default().tls()] {
        let bench = Bench::start(options).await;
        let name = key("models/7/a b+é%.stl");
        let sent = bytes(4, 5_000);
        put(&bench.store, name.as_str(), sent.clone())
            .await
            .unwrap();
        let mut client = reqwest::Client::builder();
        if let Some(pem) = bench.server.ca_pem() {
            let ca = reqwest::Certificate::from_pem(pem.as_bytes()).unwrap();
            client = client.tls_certs_only([ca]);
        }
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = client.build().unwrap();

        let request = SignRequest {
            content_type: Some("model/stl".to_owned()),
            ..SignRequest::get(Duration::from_secs(60))
        };
        let signed = bench.store.signed_url(&name, &request).await.unwrap();
        let answer = client.get(&signed.url).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "model/stl");
        let disposition = answer.headers()["content-disposition"].to_str().unwrap();
        assert!(
            disposition.starts_with("attachment; filename="),
            "{disposition}"
        );
        assert!(answer.bytes().await.unwrap() == sent);

        let ranged = client.get(&signed.url).header("range", "bytes=10-19");
        let answer = ranged.send().await.unwrap();
        assert_eq!(answer.status(), 206);
        assert!(answer.bytes().await.unwrap() == sent[10..20]);

        // The signature covers the method and the name.
        let answer = client.put(&signed.url).body("x").send().await.unwrap();
        assert_eq!(answer.status(), 403);
        let other = signed.url.replace("models/7/", "models/8/");
        assert_eq!(client.get(other).send().await.unwrap().status(), 403);
    }
}

#[tokio::test]
async fn signed_urls_also_look_and_write() {
    use stockroom_storage::SignMethod;
    let bench = Bench::start(Options::b2()).await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    let name = key("models/a");
    let url = async |method| {
        let request = SignRequest {
            method,
            ..SignRequest::get(Duration::from_secs(60))
        };
        bench.store.signed_url(&name, &request).await.unwrap().url
    };
    let put = client.put(url(SignMethod::Put).await).body("some bytes");
    assert_eq!(put.send().await.unwrap().status(), 200);
    assert_eq!(bench.server.body("models/a").unwrap(), "some bytes");
    let head = client
        .head(url(SignMethod::Head).await)
        .send()
        .await
        .unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!(head.headers()["content-length"], "10");
}

#[tokio::test]
async fn the_life_of_a_signed_url_has_bounds() {
    let bench = Bench::start(Options::default()).await;
    let name = key("models/a");
    for (seconds, is_allowed) in [(0, false), (1, true), (604_800, true), (604_801, false)] {
        let request = SignRequest::get(Duration::from_secs(seconds));
        match bench.store.signed_url(&name, &request).await {
            Ok(signed) => assert!(is_allowed && signed.url.contains(&seconds.to_string())),
            Err(error) => {
                assert!(!is_allowed, "{seconds}");
                assert_eq!(error.kind(), ErrorKind::Invalid);
            }
        }
    }
}
