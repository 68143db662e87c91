//! Below S3: TLS, connections, going off and coming back, and the log of calls.

use std::net::TcpStream;

use aws_sdk_s3::primitives::ByteStream;
use chaos_s3::{ChaosS3, Fault, FaultAction, Operation, Options};

use crate::support::{
    client, client_with, get, http, is_unanswered, pattern, put, signed_get, start,
};

#[tokio::test]
async fn tls_works_with_the_servers_authority_only() {
    let (server, client) = start(Options::b2().tls()).await;
    assert!(server.endpoint().starts_with("https://localhost:"));
    assert!(
        server
            .ca_pem()
            .unwrap()
            .starts_with("-----BEGIN CERTIFICATE-----")
    );
    let bytes = pattern(300_000);
    put(&server, &client, "k", &bytes).await;
    assert!(get(&server, &client, "k").await == bytes);

    // By address as well as by name.
    let url = signed_get(&server, &client, "k").await;
    let _ = http();
    let trust = reqwest::Certificate::from_pem(server.ca_pem().unwrap().as_bytes()).unwrap();
    let trusting = reqwest::Client::builder()
        .tls_certs_only([trust])
        .build()
        .unwrap();
    let by_address = server.endpoint().replace("localhost", "127.0.0.1");
    assert_eq!(trusting.get(by_address).send().await.unwrap().status(), 403);
    assert_eq!(
        trusting.get(url.clone()).send().await.unwrap().status(),
        200
    );

    // Another server's authority does not vouch for this one.
    let other = ChaosS3::start(Options::b2().tls()).await.unwrap();
    let distrust = reqwest::Certificate::from_pem(other.ca_pem().unwrap().as_bytes()).unwrap();
    let distrusting = reqwest::Client::builder()
        .tls_certs_only([distrust])
        .build()
        .unwrap();
    assert!(distrusting.get(url).send().await.unwrap_err().is_connect());
}

#[tokio::test]
async fn off_refuses_and_on_remembers() {
    let (server, client) = start(Options::default()).await;
    put(&server, &client, "k", b"abc").await;
    let address = server.endpoint().replace("http://", "");
    for _ in 0..3 {
        server.set_online(false).unwrap();
        let refused = TcpStream::connect(&address).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let lost = client
            .get_object()
            .bucket(server.bucket())
            .key("k")
            .send()
            .await;
        assert!(is_unanswered(&lost));
        server.set_online(false).unwrap();
        server.set_online(true).unwrap();
        server.set_online(true).unwrap();
        assert_eq!(get(&server, &client, "k").await, b"abc");
    }
}

#[tokio::test]
async fn going_off_drops_what_is_under_way() {
    let (server, client) = start(Options::default()).await;
    server.fault(Fault::new(Operation::GetObject, FaultAction::Hang));
    let request = client.get_object().bucket(server.bucket()).key("k").send();
    let off = async {
        while server.count(Operation::GetObject) == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        server.set_online(false).unwrap();
    };
    let (lost, ()) = tokio::join!(request, off);
    assert!(is_unanswered(&lost), "{lost:?}");
}

#[tokio::test]
async fn dropping_the_server_frees_the_port() {
    let server = ChaosS3::start(Options::default()).await.unwrap();
    let address = server.endpoint().replace("http://", "");
    assert!(TcpStream::connect(&address).is_ok());
    drop(server);
    let refused = TcpStream::connect(&address).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn calls_are_logged() {
    let (server, client) = start(Options::default()).await;
    put(&server, &client, "k", &pattern(1_000)).await;
    let request = client.get_object().bucket(server.bucket()).key("k");
    let answer = request.range("bytes=0-99").send().await.unwrap();
    answer.body.collect().await.unwrap();
    let calls = server.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0].operation, Operation::PutObject);
    assert_eq!(
        (calls[0].status, calls[0].request_bytes),
        (Some(200), 1_000)
    );
    assert_eq!(calls[1].operation, Operation::GetObject);
    assert_eq!((calls[1].status, calls[1].response_bytes), (Some(206), 100));
    assert_eq!(calls[1].range.as_deref(), Some("bytes=0-99"));
    // One client keeps its connection; another has its own.
    assert_eq!(calls[0].connection, calls[1].connection);
    get(&server, &self::client(&server), "k").await;
    let calls = server.calls();
    assert!(calls[2].connection > calls[1].connection);
    assert_eq!(server.count(Operation::GetObject), 2);
    assert_eq!(server.count(Operation::Any), 3);
    server.clear_calls();
    assert_eq!(server.count(Operation::Any), 0);
}

#[tokio::test]
async fn refused_uploads_are_read_to_their_end() {
    let (server, _) = start(Options::default()).await;
    let stranger = client_with(&server, "unknown", "x", server.region());
    let request = stranger.put_object().bucket(server.bucket()).key("k");
    let refused = request
        .body(ByteStream::from(pattern(4_000_000)))
        .send()
        .await;
    assert!(refused.is_err());
    let call = server.calls().pop().unwrap();
    assert_eq!((call.status, call.request_bytes), (Some(403), 4_000_000));
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_leaves_nothing() {
    use std::io::Write;
    let (server, client) = start(Options::default()).await;
    let request = client.put_object().bucket(server.bucket()).key("k");
    let signed = request
        .presigned(crate::support::for_seconds(60))
        .await
        .unwrap();
    let url = reqwest::Url::parse(signed.uri()).unwrap();
    let target = format!("{}?{}", url.path(), url.query().unwrap());
    let host = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
    let mut stream = TcpStream::connect(&host).unwrap();
    write!(
        stream,
        "PUT {target} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 100\r\n\r\nabc"
    )
    .unwrap();
    while server
        .calls()
        .first()
        .is_none_or(|call| call.request_bytes < 3)
    {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    drop(stream);
    // The next upload is served by the same thread, after the connection's end was seen.
    put(&server, &client, "other", b"x").await;
    assert_eq!(server.keys(), ["other"]);
}
