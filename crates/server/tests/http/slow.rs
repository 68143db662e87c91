//! Clients that are too slow are cut, whatever they send or take; those that are merely slow are
//! not.

use std::time::Duration;

use http::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{Answer, Backend, Shop, Traces, Who, answer, noise};

const IDLE: [(&str, &str); 1] = [("IDLE_TIMEOUT", "600ms")];

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_drips_is_cut_whatever_it_is() {
    let shop = Shop::start_with(Backend::Local, &IDLE).await;
    let model = shop.draft_model().await;
    let (artist, operator) = (
        shop.authorization(Who::Artist),
        shop.authorization(Who::Operator),
    );
    let form = "multipart/form-data; boundary=b";
    let file = "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.stl\"\r\n\r\n";
    let asset = format!("/v1/models/{model}/assets/a.stl");
    let assets = format!("/v1/models/{model}/assets");
    let drips = [
        ("PUT", "/v1/objects/models/a", "x/y", "", &operator),
        ("PUT", &asset, "x/y", "", &artist),
        ("POST", "/v1/models", "application/json", "{", &artist),
        ("POST", "/v1/keys", "application/json", "{", &operator),
        ("POST", &assets, form, "", &artist),
        ("POST", &assets, form, file, &artist),
    ];
    let dripping = drips.map(|(method, path, content_type, beginning, key)| {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: shop\r\nAuthorization: {key}\r\n\
             Content-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        let what = format!("{method} {path} {beginning:?}");
        let shop = &shop;
        async move {
            let mut stream = shop.connect().await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            if !beginning.is_empty() {
                let chunk = format!("{:x}\r\n{beginning}\r\n", beginning.len());
                stream.write_all(chunk.as_bytes()).await.unwrap();
            }
            let (waited, answered) = drip(stream).await;
            answered.assert_problem(408, "request_timeout", &what);
            assert!(waited < Duration::from_secs(3), "{what}: {waited:?}");
            assert!(waited > Duration::from_millis(500), "{what}: {waited:?}");
        }
    });
    futures::future::join_all(dripping).await;
    assert_eq!(shop.traces().await, Traces::NONE);
}

/// Sends a blank after each tenth of a second, until an answer has come.
async fn drip(stream: TcpStream) -> (Duration, Answer) {
    let began = Instant::now();
    let (mut reading, mut writing) = stream.into_split();
    let dripping = tokio::spawn(async move {
        loop {
            sleep(Duration::from_millis(100)).await;
            if writing.write_all(b"1\r\n \r\n").await.is_err() {
                return;
            }
        }
    });
    let mut received = Vec::new();
    let mut piece = [0; 4_096];
    // The connection stays open for a while, so the end of the body is looked for.
    while !received.ends_with(b"}") {
        let taken = timeout(Duration::from_secs(5), reading.read(&mut piece));
        match taken.await.expect("an answer in time").unwrap() {
            0 => break,
            bytes => received.extend_from_slice(&piece[..bytes]),
        }
    }
    dripping.abort();
    (began.elapsed(), Answer::parse(&received))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_line_is_enough() {
    let shop = Shop::start_with(Backend::Local, &IDLE).await;
    let bytes = noise(10 * 20_000, 1);
    let (sent, authorization) = (bytes.clone(), shop.authorization(Who::Operator));
    let mut stream = shop.connect().await.unwrap();
    let head = format!(
        "PUT /v1/objects/models/a HTTP/1.1\r\nHost: shop\r\nAuthorization: {authorization}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        sent.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in sent.chunks(20_000) {
        sleep(Duration::from_millis(200)).await;
        stream.write_all(piece).await.unwrap();
    }
    let mut received = Vec::new();
    stream.read_to_end(&mut received).await.unwrap();
    assert_eq!(Answer::parse(&received).status, 201);
    let read = answer(shop.get(Who::Operator, "/v1/objects/models/a")).await;
    assert!(read.body == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_takes_a_few_bytes_now_and_then_is_cut() {
    let shop = Shop::start_with(Backend::Local, &IDLE).await;
    let bytes = noise(24 << 20, 1);
    let put = shop
        .call(Who::Operator, Method::PUT, "/v1/objects/models/large")
        .body(bytes.clone());
    assert_eq!(answer(put).await.status, 201);
    // Small buffers, so that what the client takes is soon room for more.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let address = shop.app.public_url.strip_prefix("http://").unwrap();
    let mut stream = socket.connect(address.parse().unwrap()).await.unwrap();
    let authorization = shop.authorization(Who::Operator);
    let request = format!(
        "GET /v1/objects/models/large HTTP/1.1\r\nHost: shop\r\nAuthorization: {authorization}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut piece = [0; 256];
    let mut taken = 0;
    let end = timeout(Duration::from_secs(20), async {
        loop {
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(bytes) => taken += bytes,
            }
            // Once it is over, the rest of the buffers may be read at once.
            if taken < 4_096 {
                sleep(Duration::from_millis(100)).await;
            }
        }
    });
    end.await.expect("the connection is cut");
    assert!(taken < bytes.len(), "all of it came");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_http_2_that_waits_is_cut_and_a_slow_one_is_not() {
    let shop = Shop::start_with(Backend::Local, &IDLE).await;
    let bytes = noise(2 << 20, 1);
    let put = shop.call(Who::Operator, Method::PUT, "/v1/objects/models/a");
    assert_eq!(answer(put.body(bytes.clone())).await.status, 201);
    // What a client lets come before it takes any of it.
    let client = reqwest::Client::builder()
        .http2_prior_knowledge()
        .http2_initial_stream_window_size(64 * 1024)
        .no_proxy()
        .build()
        .unwrap();
    let read = async || {
        let url = format!("{}/v1/objects/models/a", shop.app.public_url);
        let request = client
            .get(url)
            .header("authorization", shop.authorization(Who::Operator));
        let response = request.send().await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_2);
        assert_eq!(response.status(), 200);
        response
    };
    let mut waiting = read().await;
    let mut slow = read().await;
    let mut taken = Vec::new();
    while let Some(piece) = slow.chunk().await.unwrap() {
        // Some twenty times, which is longer than any wait may be.
        if taken.len() / 100_000 < (taken.len() + piece.len()) / 100_000 {
            sleep(Duration::from_millis(100)).await;
        }
        taken.extend_from_slice(&piece);
    }
    assert!(taken == bytes, "the slow one has all");
    let mut taken = 0;
    let end = loop {
        match waiting.chunk().await {
            Ok(Some(piece)) => taken += piece.len(),
            end => break end,
        }
    };
    assert!(end.is_err(), "the one that waited came to its end");
    assert!(taken <= 128 * 1024, "{taken}");
}
