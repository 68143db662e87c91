//! A copy that goes bad under a slow reader: the response goes on from the other copy, or it is
//! cut before its announced length.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use bytes::Bytes;
use chaos_s3::{Fault, FaultAction, Operation};
use http::Method;
use stockroom_domain::Sha256Digest;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::dice::{self, Dice};
use crate::settle::settle;
use crate::support::{Backend, CHUNK_BYTES, Shop, Who, answer};

/// Much more than all buffers between a store and the reader hold together.
const SIZE_BYTES: usize = 24 << 20;
/// More than the server can have read ahead: what sockets hold at most, and a chunk.
const AHEAD_BYTES: u64 = 12 << 20;

fn trials() -> u64 {
    if dice::is_torture() { 100 } else { 10 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_download_survives_a_file_that_goes_bad() {
    let seed = dice::seed("a_slow_download_survives_a_file_that_goes_bad", 41);
    let (shop, mut dice) = (start("local-first").await, Dice::new(seed));
    let object = Object::store(&shop, &mut dice, 0).await;
    for trial in 0..trials() {
        let mut download = Download::begin(&shop, &object).await;
        let passed = dice.below(SIZE_BYTES as u64 / 2);
        download.read(passed).await.unwrap();
        // Somewhere in what the reader has not got yet; the server may have read it already.
        let offset = passed + dice.below(SIZE_BYTES as u64 - passed);
        let file = object.file(&shop);
        let what = if dice.percent(50) {
            file.set_len(offset).unwrap();
            format!("trial {trial}: after {passed} bytes the file is cut at {offset}")
        } else {
            flip(&file, offset);
            format!("trial {trial}: after {passed} bytes the byte at {offset} flips")
        };
        download.read_to_end().await.expect(&what);
        download.assert_whole(&what);

        // A reader that reads it all meets the damage for certain, and then the engine mends it.
        let again = Download::whole(&shop, &object).await;
        again.assert_whole(&what);
        settle(&shop).await;
        let healed = std::fs::read(shop.uploads_folder().join(&object.key)).unwrap();
        assert!(
            healed == object.content,
            "{what}: the file is not whole again"
        );
    }
    println!(
        "figure: failover from a bad file: {0} of {0} downloads whole",
        trials()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_download_survives_a_bucket_that_goes_away() {
    let seed = dice::seed("a_slow_download_survives_a_bucket_that_goes_away", 42);
    let (shop, mut dice) = (start("s3-first").await, Dice::new(seed));
    let object = Object::store(&shop, &mut dice, 0).await;
    for trial in 0..trials() {
        let mut download = Download::begin(&shop, &object).await;
        let passed = dice.below(SIZE_BYTES as u64);
        download.read(passed).await.unwrap();
        shop.chaos().set_online(false).unwrap();
        let what = format!("trial {trial}: after {passed} bytes the bucket goes offline");
        download.read_to_end().await.expect(&what);
        download.assert_whole(&what);
        shop.chaos().set_online(true).unwrap();
        settle(&shop).await;
    }
    println!(
        "figure: failover from a lost bucket: {0} of {0} downloads whole",
        trials()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_download_survives_a_bucket_that_sends_wrong_bytes() {
    let seed = dice::seed(
        "a_slow_download_survives_a_bucket_that_sends_wrong_bytes",
        43,
    );
    let (shop, mut dice) = (start("s3-first").await, Dice::new(seed));
    let object = Object::store(&shop, &mut dice, 0).await;
    for trial in 0..trials() {
        let at = dice.below(SIZE_BYTES as u64);
        let action = dice.pick(&[
            FaultAction::TruncateBody(at),
            FaultAction::FlipBit { offset: at },
            FaultAction::ResetAfterResponseBytes(at),
        ]);
        let what = format!("trial {trial}: {action:?}");
        shop.chaos().fault(Fault::new(Operation::GetObject, action));
        let mut download = Download::begin(&shop, &object).await;
        download
            .read(dice.below(SIZE_BYTES as u64))
            .await
            .expect(&what);
        tokio::time::sleep(Duration::from_millis(10)).await;
        download.read_to_end().await.expect(&what);
        download.assert_whole(&what);
        shop.chaos().clear_faults();
        settle(&shop).await;
    }
    println!(
        "figure: failover from wrong bytes of the bucket: {0} of {0} downloads whole",
        trials()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_download_is_cut_when_both_copies_go_bad() {
    let seed = dice::seed("a_slow_download_is_cut_when_both_copies_go_bad", 44);
    let (shop, mut dice) = (start("local-first").await, Dice::new(seed));
    let (mut cut, mut whole) = (0, 0);
    for trial in 0..trials() {
        let object = Object::store(&shop, &mut dice, trial).await;
        let beyond = AHEAD_BYTES + CHUNK_BYTES;
        let on_disk = beyond + dice.below(SIZE_BYTES as u64 - beyond);
        let in_bucket = dice.below(SIZE_BYTES as u64);
        let what = format!("trial {trial}: bad at {on_disk} on disk, at {in_bucket} in the bucket");
        assert!(shop.chaos().corrupt(&object.key, in_bucket), "{what}");
        let mut download = Download::begin(&shop, &object).await;
        download.read(dice.below(CHUNK_BYTES)).await.expect(&what);
        flip(&object.file(&shop), on_disk);
        let outcome = download.read_to_end().await;
        let got = download.body.len();
        assert!(
            download.body[..] == object.content[..got],
            "{what}: wrong bytes were passed on"
        );
        // The bucket takes over at the chunk that is bad on disk, and carries the response to
        // its end unless its own bad byte is still to come.
        if in_bucket / CHUNK_BYTES < on_disk / CHUNK_BYTES {
            outcome.expect(&what);
            download.assert_whole(&what);
            whole += 1;
        } else {
            let known = usize::try_from(in_bucket / CHUNK_BYTES * CHUNK_BYTES).unwrap();
            assert!(
                got <= known,
                "{what}: {got} bytes came, and only {known} can be known"
            );
            cut += 1;
        }
        let path = format!("/v1/objects/{}", object.key);
        let deleted = answer(shop.call(Who::Operator, Method::DELETE, &path)).await;
        assert_eq!(deleted.status, 204);
    }
    println!(
        "figure: failover with both copies bad: {whole} downloads whole, {cut} cut, 0 completed wrong"
    );
    assert!(cut > 0 && whole > 0, "{cut} cut, {whole} whole");
}

async fn start(read_order: &str) -> Shop {
    Shop::start_with(Backend::Hybrid, &[("HYBRID_READ", read_order)]).await
}

/// Inverts a byte of a file without changing its length.
fn flip(file: &std::fs::File, offset: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[!byte[0]], offset).unwrap();
}

/// What is downloaded.
struct Object {
    /// The key, which is the location too, because it is used once.
    key: String,
    content: Bytes,
}

impl Object {
    async fn store(shop: &Shop, dice: &mut Dice, number: u64) -> Self {
        let key = format!("models/slow/{number}.bin");
        let content = dice.noise(SIZE_BYTES);
        let put = shop
            .call(Who::Operator, Method::PUT, &format!("/v1/objects/{key}"))
            .body(content.clone());
        answer(put).await.json(201);
        Self { key, content }
    }

    fn file(&self, shop: &Shop) -> std::fs::File {
        let path = shop.uploads_folder().join(&self.key);
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap()
    }
}

/// A download over a connection that takes little at a time.
struct Download<'a> {
    object: &'a Object,
    stream: TcpStream,
    body: Vec<u8>,
}

impl<'a> Download<'a> {
    /// Asks for the whole object and reads the head of the answer, which must promise it.
    async fn begin(shop: &Shop, object: &'a Object) -> Self {
        let address = shop.connect().await.unwrap().peer_addr().unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(32 << 10).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        let request = format!(
            "GET /v1/objects/{} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\nAuthorization: {}\r\n\r\n",
            object.key,
            shop.authorization(Who::Operator),
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200 "), "{head}");
        let etag = format!("etag: \"{}\"\r\n", Sha256Digest::of(&object.content));
        assert!(head.contains(&etag), "{head}");
        let length = format!("content-length: {SIZE_BYTES}\r\n");
        assert!(head.contains(&length), "{head}");
        Self {
            object,
            stream,
            body: Vec::with_capacity(SIZE_BYTES),
        }
    }

    /// A whole download at once.
    async fn whole(shop: &Shop, object: &'a Object) -> Self {
        let mut download = Self::begin(shop, object).await;
        download.read_to_end().await.unwrap();
        download
    }

    /// Reads on until so many bytes of the body have come.
    async fn read(&mut self, until: u64) -> io::Result<()> {
        let missing = until.saturating_sub(self.body.len() as u64);
        (&mut self.stream)
            .take(missing)
            .read_to_end(&mut self.body)
            .await?;
        Ok(())
    }

    /// Reads to the end of the connection.
    async fn read_to_end(&mut self) -> io::Result<()> {
        tokio::time::timeout(
            Duration::from_secs(60),
            self.stream.read_to_end(&mut self.body),
        )
        .await
        .expect("the download ends in time")?;
        Ok(())
    }

    #[track_caller]
    fn assert_whole(&self, what: &str) {
        assert_eq!(self.body.len(), SIZE_BYTES, "{what}");
        assert!(self.body == self.object.content, "{what}: other bytes");
    }
}
