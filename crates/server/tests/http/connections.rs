//! Connections: those that wait too long are cut, those that work are let finish.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::support::{Answer, Backend, Shop, Who, answer, noise};

/// Much more than the buffers of a connection hold, so that a client that stops reading stops
/// the server.
const LARGE_BYTES: usize = 24 << 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_running_download_ends_while_the_server_shuts_down() {
    let shop = Shop::start(Backend::Local).await;
    let (mut stream, mut received, bytes) = slow_download(&shop).await;
    shop.stop_accepting.cancel();
    let refused = async {
        while shop.connect().await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(2), refused)
        .await
        .expect("new connections are refused");
    assert!(
        !shop.server.is_finished(),
        "the server waits for the download"
    );

    stream.read_to_end(&mut received).await.unwrap();
    let head = received
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    assert!(received[head + 4..] == bytes, "the download is whole");
    let ended = timeout(Duration::from_secs(2), shop.server)
        .await
        .expect("the server ends");
    ended.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_waits_no_longer_than_its_grace() {
    let shop = Shop::start_with(Backend::Local, &[("SHUTDOWN_GRACE", "300ms")]).await;
    let (_stream, _, _) = slow_download(&shop).await;
    let _silent = shop.connect().await.unwrap();
    shop.stop_accepting.cancel();
    let ended = timeout(Duration::from_secs(3), shop.server)
        .await
        .expect("the server ends");
    ended.unwrap().unwrap();
}

/// A download of which the client has read the beginning, and the bytes it will get.
async fn slow_download(shop: &Shop) -> (TcpStream, Vec<u8>, Bytes) {
    let bytes = noise(LARGE_BYTES, 1);
    let put = shop
        .call(Who::Operator, Method::PUT, "/v1/objects/models/large")
        .body(bytes.clone());
    assert_eq!(answer(put).await.status, 201);
    let mut stream = shop.connect().await.unwrap();
    let authorization = shop.authorization(Who::Operator);
    let request = format!(
        "GET /v1/objects/models/large HTTP/1.1\r\nHost: shop\r\nAuthorization: {authorization}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut beginning = vec![0; 64 * 1024];
    stream.read_exact(&mut beginning).await.unwrap();
    assert!(beginning.starts_with(b"HTTP/1.1 200 "));
    (stream, beginning, bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_end_is_cut() {
    let shop = Shop::start_with(Backend::Local, &[("HEADER_TIMEOUT", "1s")]).await;
    let beginnings = [
        "",
        "G",
        "GET /livez HT",
        "GET /livez HTTP/1.1\r\nHost: sh",
        "PRI * HTTP/2.0\r\n",
    ];
    join_all(beginnings.map(|beginning| assert_cut(&shop, beginning))).await;
    let whole = shop
        .raw("GET /livez HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(whole.status, 200);
}

async fn assert_cut(shop: &Shop, beginning: &str) {
    let started = Instant::now();
    let mut stream = shop.connect().await.unwrap();
    stream.write_all(beginning.as_bytes()).await.unwrap();
    let mut rest = Vec::new();
    // A reset is an end too.
    let ended = timeout(Duration::from_secs(4), stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "{beginning:?}: still open after 4 s");
    let waited = started.elapsed();
    assert!(
        waited > Duration::from_millis(700),
        "{beginning:?}: cut at once"
    );
}

/// A pause of the client, in which nothing of its body is on the way, is not its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_a_client_that_pauses_and_goes_on() {
    let shop = Shop::start(Backend::Local).await;
    let model = shop.draft_model().await;
    let authorization = shop.authorization(Who::Artist);
    let head = format!(
        "PUT /v1/models/{model}/assets/a.bin HTTP/1.1\r\nHost: shop\r\n\
         Authorization: {authorization}\r\nContent-Length: 1000000\r\n\r\n"
    );
    let mut stream = shop.connect().await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(b"\x7fELF").await.unwrap();
    stream.write_all(&noise(64 * 1024, 1)).await.unwrap();
    stream.readable().await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream
            .write_all(&noise(1_000, 2))
            .await
            .expect("the connection takes what still comes");
    }
    let mut received = Vec::new();
    stream.shutdown().await.unwrap();
    stream.read_to_end(&mut received).await.unwrap();
    Answer::parse(&received).assert_problem(415, "unsupported_type", "after the pause");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_a_client_that_still_sends() {
    let shop = Shop::start_with(Backend::Local, &[("MAX_UPLOAD_BYTES", "30000000")]).await;
    let model = shop.draft_model().await;
    let program: Bytes = [b"\x7fELF".as_slice(), &noise(LARGE_BYTES, 1)]
        .concat()
        .into();
    let larger: Bytes = vec![b' '; 31_000_000].into();
    let path = format!("/v1/models/{model}/assets/a.bin");
    for round in 0..3 {
        for (body, status, code) in [
            (&program, 415, "unsupported_type"),
            (&larger, 413, "too_large"),
        ] {
            let put = shop
                .call(Who::Artist, Method::PUT, &path)
                .body(body.clone());
            answer(put)
                .await
                .assert_problem(status, code, &format!("round {round}"));
            // Many clients look for an answer only after they have sent everything.
            let (authorization, length) = (shop.authorization(Who::Artist), body.len());
            let head = format!(
                "PUT {path} HTTP/1.1\r\nHost: shop\r\nAuthorization: {authorization}\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            let refused = shop.raw([head.as_bytes(), body].concat()).await;
            refused.assert_problem(status, code, &format!("round {round}, all sent first"));
        }
    }
    assert_eq!(shop.traces().await, crate::support::Traces::NONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_makes_no_progress_is_given_up() {
    let shop = Shop::start_with(Backend::Local, &[("IDLE_TIMEOUT", "500ms")]).await;
    let authorization = shop.authorization(Who::Operator);
    let stalled = shop
        .raw(format!(
            "PUT /v1/objects/models/a HTTP/1.1\r\nHost: shop\r\nAuthorization: {authorization}\r\nContent-Length: 100\r\n\r\nonly this"
        ))
        .await;
    stalled.assert_problem(408, "request_timeout", "a body that stops");
    assert_eq!(shop.traces().await, crate::support::Traces::NONE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_is_cut() {
    let shop = Shop::start_with(Backend::Local, &[("IDLE_TIMEOUT", "500ms")]).await;
    let (mut stream, received, bytes) = slow_download(&shop).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let mut rest = Vec::new();
    let end = timeout(Duration::from_secs(5), stream.read_to_end(&mut rest))
        .await
        .expect("an end");
    let is_whole = end.is_ok() && received.len() + rest.len() > bytes.len();
    assert!(
        !is_whole,
        "the connection was held for a client that did not read"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_spoken_to_those_who_begin_with_it() {
    let shop = Shop::start_with(Backend::Local, &[("HEADER_TIMEOUT", "300ms")]).await;
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .no_proxy()
        .build()
        .unwrap();
    let bytes = noise(3_000_000, 1);
    let url = format!("{}/v1/objects/models/a", shop.app.public_url);
    let authorization = shop.authorization(Who::Operator);
    let request = |method| {
        let request = client.request(method, &url);
        request.header("authorization", &authorization)
    };
    let put = answer(request(Method::PUT).body(bytes.clone())).await;
    assert_eq!(put.status, 201);
    // Longer than a head may take: the connection has no head that waits.
    tokio::time::sleep(Duration::from_millis(600)).await;
    let read = request(Method::GET).send().await.unwrap();
    assert_eq!(read.version(), http::Version::HTTP_2);
    assert!(read.bytes().await.unwrap() == bytes);
}
