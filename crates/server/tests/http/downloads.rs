//! What a purchase pays for: downloads as they are counted, how they end, and the receipt.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::Method;
use serde_json::{Value, json};
use stockroom_domain::GrantKind;

use crate::support::{Answer, Backend, Shop, Who, answer, noise, stl};

/// A file that was sold.
struct Sale {
    shop: Shop,
    bytes: Bytes,
    asset: String,
    purchase: String,
}

impl Sale {
    async fn of(backend: Backend, bytes: Bytes, download_limit: Option<u64>) -> Self {
        let shop = Shop::start(backend).await;
        Self::in_shop(shop, bytes, download_limit).await
    }

    async fn in_shop(shop: Shop, bytes: Bytes, download_limit: Option<u64>) -> Self {
        let model = shop.published_model().await;
        let asset = shop.put_asset(&model, "helmet.stl", bytes.clone()).await;
        let purchase = shop
            .call(Who::Service, Method::POST, "/v1/purchases")
            .json(&json!({
                "buyer": "ben", "model": model, "order_ref": "order-1",
                "download_limit": download_limit,
            }));
        let purchase = answer(purchase).await.json(201);
        Self {
            shop,
            bytes,
            asset: asset["id"].as_str().unwrap().to_owned(),
            purchase: purchase["id"].as_str().unwrap().to_owned(),
        }
    }

    fn path(&self) -> String {
        format!("/v1/assets/{}/download", self.asset)
    }

    /// Downloads a range, or everything, through the server.
    async fn download(&self, range: &str) -> Answer {
        let path = format!("{}?delivery=stream", self.path());
        let mut request = self.shop.get(Who::Buyer, &path);
        if !range.is_empty() {
            request = request.header("range", format!("bytes={range}"));
        }
        answer(request).await
    }

    async fn downloads(&self) -> u64 {
        let path = format!("/v1/purchases/{}", self.purchase);
        let purchase = answer(self.shop.get(Who::Service, &path)).await.json(200);
        purchase["downloads"].as_u64().unwrap()
    }

    async fn refund(&self) {
        let path = format!("/v1/purchases/{}/refund", self.purchase);
        let refund = self.shop.call(Who::Service, Method::POST, &path);
        assert_eq!(answer(refund).await.json(200)["status"], "refunded");
    }

    async fn receipt(&self) -> Value {
        let path = format!("/v1/purchases/{}/receipt", self.purchase);
        answer(self.shop.get(Who::Service, &path)).await.json(200)
    }

    /// The receipt, once every answer has ended.
    async fn settled_receipt(&self) -> Value {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        loop {
            let receipt = self.receipt().await;
            let is_settled = grants(&receipt).iter().all(|grant| {
                ["redirect", "signed_url"].contains(&grant["kind"].as_str().unwrap())
                    || grant["ended_at"].is_string()
            });
            if is_settled {
                return receipt;
            }
            assert!(tokio::time::Instant::now() < deadline, "{receipt}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A link that the buyer gets.
    async fn link(&self) -> String {
        let path = format!("/v1/assets/{}/signed-url", self.asset);
        let request = self.shop.call(Who::Buyer, Method::POST, &path);
        let link = answer(request).await.json(200);
        link["url"].as_str().unwrap().to_owned()
    }
}

fn grants(receipt: &Value) -> Vec<&Value> {
    let downloads = receipt["downloads"].as_array().unwrap();
    downloads
        .iter()
        .flat_map(|download| download["grants"].as_array().unwrap())
        .collect()
}

const LIMIT_REACHED: &str = "download_limit_reached";

#[tokio::test]
async fn the_ranges_of_one_download_count_once_and_its_repetition_does_not_pass() {
    let sale = Sale::of(Backend::Local, stl(2_000, 1), Some(1)).await;
    for range in ["0-9", "10-49999", "50000-"] {
        assert_eq!(sale.download(range).await.status, 206, "{range}");
    }
    assert_eq!(sale.downloads().await, 1);
    // Nor does any other way to ask for the file again.
    for range in ["", "0-", "1-", "0-99999", "-100083"] {
        let again = sale.download(range).await;
        again.assert_problem(403, LIMIT_REACHED, range);
    }
    let path = format!("/v1/assets/{}/signed-url", sale.asset);
    let link = sale.shop.call(Who::Buyer, Method::POST, &path);
    answer(link)
        .await
        .assert_problem(403, LIMIT_REACHED, "a link");
    let redirect = format!("{}?delivery=redirect", sale.path());
    let redirect = sale.shop.get(Who::Buyer, &redirect);
    answer(redirect)
        .await
        .assert_problem(403, LIMIT_REACHED, "a redirect");
    assert_eq!(sale.downloads().await, 1);
}

#[tokio::test]
async fn a_small_file_that_is_kept_in_memory_is_paid_for_each_time() {
    let sale = Sale::of(Backend::Local, stl(400, 5), None).await;
    for _ in 0..4 {
        let whole = sale.download("").await;
        assert_eq!(whole.status, 200);
        assert_eq!(whole.body, sale.bytes);
    }
    let part = sale.download("100-299").await;
    assert_eq!(part.status, 206);
    assert_eq!(part.body, sale.bytes.slice(100..300));
    let size_bytes = sale.bytes.len();
    assert_eq!(
        part.header("content-range"),
        format!("bytes 100-299/{size_bytes}")
    );
    let beyond = sale.download(&format!("{size_bytes}-")).await;
    beyond.assert_problem(416, "range_not_satisfiable", "beyond the end");
    let metrics = answer(sale.shop.get(Who::Operator, "/metrics")).await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    // The first was read from the disk, the second to be kept.
    let hits = "stockroom_file_cache_hits_total 3\n";
    assert!(metrics.contains(hits), "{metrics}");

    // What came out of memory is in the receipt like everything else.
    let receipt = sale.settled_receipt().await;
    let sent = receipt["sent_bytes"].as_u64().unwrap();
    assert_eq!(sent, 4 * size_bytes as u64 + 200, "{receipt}");
    for grant in grants(&receipt) {
        assert_eq!(grant["stores"], json!(["local"]), "{receipt}");
    }
    sale.refund().await;
    let refused = sale.download("").await;
    refused.assert_problem(403, "not_purchased", "after the refund");
}

#[tokio::test]
async fn a_limit_holds_against_many_at_once() {
    let sale = Sale::of(Backend::Local, stl(2_000, 2), Some(3)).await;
    let answers = futures::future::join_all(
        (0..16).map(|n| sale.download(if n % 2 == 0 { "" } else { "0-" })),
    )
    .await;
    let served = answers.iter().filter(|it| it.status < 300).count();
    assert_eq!(served, 3);
    for refused in answers.iter().filter(|it| it.status >= 300) {
        refused.assert_problem(403, LIMIT_REACHED, "one too many");
    }
    assert_eq!(sale.downloads().await, 3);
}

#[tokio::test]
async fn a_download_that_broke_off_is_resumed_with_the_last_one_allowed() {
    // Too large for the buffers on the way, so that the server sees the line break.
    let bytes = stl(1_000_000, 3);
    let sale = Sale::of(Backend::Local, bytes, Some(1)).await;
    let response = sale
        .shop
        .get(Who::Buyer, &sale.path())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let mut received = 0;
    let mut body = response.bytes_stream();
    while received < 100_000 {
        received += body.next().await.unwrap().unwrap().len();
    }
    // Another one beside it finds the limit reached.
    sale.download("")
        .await
        .assert_problem(403, LIMIT_REACHED, "");
    drop(body);
    let receipt = sale.settled_receipt().await;
    let sent = receipt["sent_bytes"].as_u64().unwrap();
    assert!(sent >= received as u64, "{receipt}");
    assert!(sent < sale.bytes.len() as u64, "{receipt}");
    assert_eq!(receipt["downloads"][0]["complete"], false);

    let rest = sale.download(&format!("{received}-")).await;
    assert_eq!(rest.status, 206);
    assert_eq!(rest.body, sale.bytes.slice(received..));
    let receipt = sale.settled_receipt().await;
    assert_eq!(receipt["downloads"].as_array().unwrap().len(), 1);
    assert_eq!(receipt["downloads"][0]["complete"], true, "{receipt}");
    assert_eq!(sale.downloads().await, 1);
    sale.download("")
        .await
        .assert_problem(403, LIMIT_REACHED, "");
}

#[tokio::test]
async fn a_refund_ends_every_way_to_the_bytes_at_once() {
    let sale = Sale::of(Backend::Local, stl(2_000, 4), None).await;
    assert_eq!(sale.download("0-9").await.status, 206);
    let link = sale.link().await;
    let redirect_path = format!("{}?delivery=redirect", sale.path());
    let redirect = answer(sale.shop.get(Who::Buyer, &redirect_path)).await;
    assert_eq!(redirect.status, 302);
    let location = redirect.header("location").to_owned();
    for url in [&link, &location] {
        let got = answer(sale.shop.fetch(Method::GET, url)).await;
        assert_eq!((got.status, got.body), (200, sale.bytes.clone()));
    }

    sale.refund().await;
    let refused = |answer: Answer, what: &str| answer.assert_problem(403, "not_purchased", what);
    refused(sale.download("10-").await, "the resume");
    refused(sale.download("").await, "another download");
    refused(
        answer(sale.shop.get(Who::Buyer, &redirect_path)).await,
        "the next redirect",
    );
    for url in [&link, &location] {
        refused(answer(sale.shop.fetch(Method::GET, url)).await, "a link");
        let range = sale
            .shop
            .fetch(Method::GET, url)
            .header("range", "bytes=5-");
        refused(answer(range).await, "the rest over a link");
        let head = answer(sale.shop.fetch(Method::HEAD, url)).await;
        assert_eq!(head.status, 403);
    }
    // Others keep what is theirs.
    let own = answer(sale.shop.get(Who::Artist, &sale.path())).await;
    assert_eq!(own.body, sale.bytes);
}

#[tokio::test]
async fn a_link_of_this_server_counts_when_it_is_used() {
    let sale = Sale::of(Backend::Local, stl(2_000, 5), Some(1)).await;
    let link = sale.link().await;
    assert_eq!(
        sale.link().await.split('?').count(),
        2,
        "an unused one costs nothing"
    );
    assert_eq!(sale.downloads().await, 1);
    let got = answer(sale.shop.fetch(Method::GET, &link)).await;
    assert_eq!(got.body, sale.bytes);
    let again = answer(sale.shop.fetch(Method::GET, &link)).await;
    again.assert_problem(403, LIMIT_REACHED, "the link again");
    sale.download("")
        .await
        .assert_problem(403, LIMIT_REACHED, "the file");
    assert_eq!(sale.downloads().await, 1);
    let kinds: Vec<_> = grants(&sale.settled_receipt().await)
        .iter()
        .map(|grant| grant["kind"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds, ["signed_url", "signed_url", "link"]);
}

#[tokio::test]
async fn a_link_to_a_bucket_counts_when_it_is_made() {
    let sale = Sale::of(Backend::S3, stl(2_000, 6), Some(1)).await;
    let link = sale.link().await;
    let got = answer(sale.shop.fetch(Method::GET, &link)).await;
    assert_eq!(got.body, sale.bytes);
    sale.download("")
        .await
        .assert_problem(403, LIMIT_REACHED, "the file");
    let receipt = sale.receipt().await;
    let [grant] = grants(&receipt)[..] else {
        panic!("one grant: {receipt}");
    };
    assert_eq!(grant["kind"], "signed_url");
    assert_eq!(grant["stores"], json!(["s3"]));
    assert_eq!(grant["sent_bytes"], Value::Null);
    assert_eq!(grant["granted_bytes"], sale.bytes.len());
}

#[tokio::test]
async fn a_link_knows_which_purchase_it_is_of() {
    let sale = Sale::of(Backend::Local, stl(100, 7), None).await;
    let link = sale.link().await;
    let other = link.replace(&sale.purchase, "pur_01k00000000000000000000000");
    assert_ne!(link, other, "the purchase is in the link");
    let refused = answer(sale.shop.fetch(Method::GET, &other)).await;
    refused.assert_problem(403, "bad_signature", "another purchase");
    let (before, after) = link.split_once(&format!("&for={}", sale.purchase)).unwrap();
    let refused = answer(sale.shop.fetch(Method::GET, &format!("{before}{after}"))).await;
    refused.assert_problem(403, "bad_signature", "no purchase");
    // A purchase that has expired ends its links, however long these live.
    let expiring = sale
        .shop
        .call(Who::Service, Method::POST, "/v1/purchases")
        .json(&json!({
            "buyer": "eve", "order_ref": "order-2",
            "model": answer(sale.shop.get(Who::Artist, &format!("/v1/assets/{}", sale.asset)))
                .await.json(200)["model"],
            "expires_at": sale.shop.app.clock.now().after(Duration::from_secs(60)).to_string(),
        }));
    answer(expiring).await.json(201);
    let path = format!("/v1/assets/{}/signed-url", sale.asset);
    let request = sale
        .shop
        .call(Who::Stranger, Method::POST, &path)
        .json(&json!({"expires_in": 604_800}));
    let link = answer(request).await.json(200);
    let link = link["url"].as_str().unwrap();
    assert_eq!(answer(sale.shop.fetch(Method::GET, link)).await.status, 200);
    sale.shop.set_offset_s(61);
    let expired = answer(sale.shop.fetch(Method::GET, link)).await;
    expired.assert_problem(403, "not_purchased", "an expired purchase");
}

#[tokio::test]
async fn a_buyer_keeps_what_was_hidden_until_the_refund() {
    let sale = Sale::of(Backend::Local, stl(100, 14), None).await;
    let asset = format!("/v1/assets/{}", sale.asset);
    let record = answer(sale.shop.get(Who::Artist, &asset)).await.json(200);
    let model = format!("/v1/models/{}", record["model"].as_str().unwrap());
    let hide = sale
        .shop
        .call(Who::Artist, Method::PATCH, &model)
        .json(&json!({"status": "draft"}));
    answer(hide).await.json(200);
    let shelf = async |who| {
        let library = answer(sale.shop.get(who, "/v1/library")).await.json(200);
        let entry = &library["data"][0];
        let files = entry["assets"].as_array().unwrap().len();
        (entry["model_details"].is_object(), files)
    };
    let paths = [asset, format!("{model}/assets"), model];
    for path in &paths {
        assert_eq!(
            answer(sale.shop.get(Who::Buyer, path)).await.status,
            200,
            "{path}"
        );
        assert_eq!(
            answer(sale.shop.get(Who::Stranger, path)).await.status,
            404,
            "{path}"
        );
    }
    assert_eq!(shelf(Who::Buyer).await, (true, 1));
    assert_eq!(sale.download("").await.body, sale.bytes);
    sale.refund().await;
    for path in &paths {
        assert_eq!(
            answer(sale.shop.get(Who::Buyer, path)).await.status,
            404,
            "{path}"
        );
    }
    assert_eq!(shelf(Who::Buyer).await, (false, 0));
    sale.download("")
        .await
        .assert_problem(403, "not_purchased", "");
}

#[tokio::test]
async fn what_an_artist_and_an_operator_take_is_on_no_account() {
    let sale = Sale::of(Backend::Local, stl(100, 8), Some(1)).await;
    for who in [Who::Artist, Who::Operator] {
        assert_eq!(answer(sale.shop.get(who, &sale.path())).await.status, 200);
        let path = format!("/v1/assets/{}/signed-url", sale.asset);
        let link = answer(sale.shop.call(who, Method::POST, &path))
            .await
            .json(200);
        let url = link["url"].as_str().unwrap();
        assert!(!url.contains("for="), "{url}");
        assert_eq!(answer(sale.shop.fetch(Method::GET, url)).await.status, 200);
    }
    // Neither does a question about the file cost the buyer anything.
    let head = answer(sale.shop.call(Who::Buyer, Method::HEAD, &sale.path())).await;
    assert_eq!(head.status, 200);
    let etag = head.header("etag").to_owned();
    let current = sale
        .shop
        .get(Who::Buyer, &sale.path())
        .header("if-none-match", etag);
    assert_eq!(answer(current).await.status, 304);
    assert_eq!(sale.download("999999-").await.status, 416);
    assert_eq!(sale.downloads().await, 0);
    assert_eq!(sale.receipt().await["downloads"], json!([]));
}

#[tokio::test]
async fn a_receipt_says_what_was_sent_to_whom_and_from_where() {
    for backend in Backend::ALL {
        let sale = Sale::of(backend, stl(2_000, 9), None).await;
        for range in ["0-9", "50000-", "10-49999", ""] {
            assert!(sale.download(range).await.status < 300, "{range}");
        }
        let receipt = sale.settled_receipt().await;
        assert_eq!(receipt["purchase"]["id"], sale.purchase);
        assert_eq!(receipt["purchase"]["downloads"], 2, "{receipt}");
        assert_eq!(receipt["truncated"], false);
        let size = sale.bytes.len();
        assert_eq!(receipt["sent_bytes"], 2 * size);
        let [parts, whole] = &receipt["downloads"].as_array().unwrap()[..] else {
            panic!("two downloads: {receipt}");
        };
        for download in [parts, whole] {
            assert_eq!(download["asset"], sale.asset);
            assert_eq!(download["filename"], "helmet.stl");
            assert_eq!(download["size"], size);
            assert_eq!(download["sent_bytes"], size);
            assert_eq!(download["complete"], true);
            let sent = json!([{"first_byte": 0, "last_byte": size - 1}]);
            assert_eq!(download["sent"], sent);
        }
        assert_eq!(parts["grants"].as_array().unwrap().len(), 3);
        let key = answer(sale.shop.get(Who::Operator, "/v1/storage")).await;
        assert_eq!(key.status, 200);
        let store = match backend {
            Backend::S3 => "s3",
            Backend::Local | Backend::Hybrid => "local",
        };
        let mut addresses = std::collections::BTreeSet::new();
        for grant in grants(&receipt) {
            assert_eq!(grant["kind"], GrantKind::Stream.as_str());
            assert_eq!(grant["stores"], json!([store]));
            assert!(grant["key"].as_str().unwrap().starts_with("key_"));
            addresses.insert(grant["address"].as_str().unwrap());
        }
        // One address, and not in the clear.
        assert_eq!(addresses.len(), 1);
        assert!(!receipt.to_string().contains("127.0.0.1"), "{receipt}");
    }
}

#[tokio::test]
async fn a_receipt_is_for_the_shop_and_the_buyer() {
    let sale = Sale::of(Backend::Local, stl(100, 10), None).await;
    let path = format!("/v1/purchases/{}/receipt", sale.purchase);
    for (who, status) in [
        (Who::Nobody, 401),
        (Who::Operator, 200),
        (Who::Service, 200),
        (Who::Artist, 404),
        (Who::Buyer, 200),
        (Who::Stranger, 404),
    ] {
        let got = answer(sale.shop.get(who, &path)).await;
        assert_eq!(got.status, status, "{who:?}");
    }
    let odd = answer(sale.shop.get(Who::Service, &format!("{path}?format=pdf"))).await;
    odd.assert_problem(400, "invalid_request", "pdf");
}

#[tokio::test]
async fn a_receipt_as_csv_has_a_line_for_each_answer() {
    let shop = Shop::start(Backend::Local).await;
    let sale = Sale::in_shop(shop, stl(2_000, 11), None).await;
    for range in ["0-9", "10-"] {
        assert_eq!(sale.download(range).await.status, 206);
    }
    sale.settled_receipt().await;
    let path = format!("/v1/purchases/{}/receipt", sale.purchase);
    let by_query = sale.shop.get(Who::Service, &format!("{path}?format=csv"));
    let by_header = sale
        .shop
        .get(Who::Service, &path)
        .header("accept", "text/csv");
    for request in [by_query, by_header] {
        let got = answer(request).await;
        assert_eq!(got.status, 200);
        assert!(got.header("content-type").starts_with("text/csv"));
        assert!(got.header("content-disposition").contains(&sale.purchase));
        let text = String::from_utf8(got.body.to_vec()).unwrap();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
        assert_eq!(lines.len(), 3, "{text}");
        let column = |name: &str| lines[0].iter().position(|it| *it == name).unwrap();
        for line in &lines[1..] {
            assert_eq!(line.len(), lines[0].len());
            assert_eq!(line[column("order_ref")], "order-1");
            assert_eq!(line[column("buyer")], "ben");
            assert_eq!(line[column("kind")], "stream");
            assert_eq!(line[column("granted_bytes")], line[column("sent_bytes")]);
        }
        assert_eq!(lines[1][column("download")], lines[2][column("download")]);
    }
}

#[tokio::test]
async fn a_failover_in_the_middle_stands_in_the_receipt() {
    // A few chunks, of which a later one is damaged on disk.
    let bytes = stl(100_000, 12);
    let sale = Sale::of(Backend::Hybrid, bytes, None).await;
    let mut files = Vec::new();
    crate::support::collect_files(&sale.shop.uploads_folder(), &mut files);
    let file = files
        .iter()
        .find(|file| file.to_string_lossy().ends_with("-helmet.stl"))
        .expect("the file on disk");
    let mut damaged = sale.bytes.to_vec();
    damaged[3_000_000..3_000_100].copy_from_slice(&noise(100, 13));
    std::fs::write(file, damaged).unwrap();
    let got = sale.download("").await;
    assert_eq!(got.body, sale.bytes);
    let receipt = sale.settled_receipt().await;
    let stores = &grants(&receipt)[0]["stores"];
    assert_eq!(*stores, json!(["local", "s3"]), "{receipt}");
}
