//! A client that goes away in the middle of an upload leaves nothing behind.

use std::time::Duration;

use bytes::Bytes;
use chaos_s3::Operation;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::{Backend, Shop, Traces, Who, stl};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_nothing_on_local_disk() {
    go_away(Backend::Local).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_nothing_on_s3() {
    go_away(Backend::S3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_leaves_nothing_on_both() {
    go_away(Backend::Hybrid).await;
}

/// Long enough for a multipart upload to begin, whose first part has 8 MiB.
const SENT_BYTES: usize = 9 << 20;

async fn go_away(backend: Backend) {
    let shop = Shop::start(backend).await;
    let model = shop.draft_model().await;
    let file = stl(400_000, 1);
    assert!(file.len() > SENT_BYTES + (8 << 20));
    let sent = file.slice(..SENT_BYTES);
    let put = format!("PUT /v1/models/{model}/assets/a.stl");
    let form = format!("POST /v1/models/{model}/assets");
    let object = "PUT /v1/objects/models/a.stl".to_owned();
    let multipart = "Content-Type: multipart/form-data; boundary=b\r\n";
    let small = stl(10, 2);
    let head_of_part =
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.stl\"\r\n\r\n";
    let whole_part = [head_of_part.as_bytes(), &small, b"\r\n"].concat();
    let parts: Bytes = [&whole_part, head_of_part.as_bytes(), &sent]
        .concat()
        .into();
    let announced = format!("Content-Length: {}\r\n", file.len());
    let chunked = "Transfer-Encoding: chunked\r\n".to_owned();
    let cases = [
        ("PUT", &put, announced.clone(), sent.clone(), false),
        (
            "chunked PUT",
            &put,
            chunked.clone(),
            in_one_chunk(&sent),
            false,
        ),
        (
            "PUT of an object",
            &object,
            announced.clone(),
            sent.clone(),
            false,
        ),
        ("PUT that is reset", &put, announced.clone(), sent, true),
        (
            "form",
            &form,
            format!("{multipart}{announced}"),
            parts.clone(),
            false,
        ),
        (
            "chunked form",
            &form,
            format!("{multipart}{chunked}"),
            in_one_chunk(&parts),
            false,
        ),
    ];
    for (what, request, headers, body, is_reset) in cases {
        let who = if request.contains("objects") {
            Who::Operator
        } else {
            Who::Artist
        };
        let authorization = shop.authorization(who);
        let head = format!(
            "{request} HTTP/1.1\r\nHost: shop\r\nAuthorization: {authorization}\r\n{headers}\r\n"
        );
        let mut stream = shop.connect().await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        until_bytes_arrive(&shop).await;
        if is_reset {
            reset(stream);
        } else {
            drop(stream);
        }
        shop.assert_soon_only(&Traces::NONE, what).await;
        if let Some(chaos) = &shop.chaos {
            assert!(
                chaos.count(Operation::CreateMultipartUpload) > 0,
                "{what}: an upload had begun"
            );
            chaos.clear_calls();
        }
    }
}

/// Waits until the upload has left something on each store that could be forgotten there.
async fn until_bytes_arrive(shop: &Shop) {
    let arrived = async {
        let is_staged = async || match (&shop.app.local, shop.backend) {
            (Some(local), Backend::Local | Backend::Hybrid) => {
                !local.staged().await.unwrap().is_empty()
            }
            _ => true,
        };
        let has_begun = || {
            shop.chaos
                .as_ref()
                .is_none_or(|chaos| !chaos.unfinished_uploads().is_empty())
        };
        while !(is_staged().await && has_begun()) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), arrived)
        .await
        .expect("the upload begins");
}

/// A chunked body that breaks off: one chunk, and no last one.
fn in_one_chunk(bytes: &[u8]) -> Bytes {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"]
        .concat()
        .into()
}

/// Ends a connection as a machine does that lost power and came back.
fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}
