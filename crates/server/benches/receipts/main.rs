//! What the receipt costs a download: `cargo bench -p stockroom --bench receipts`.
//!
//! One Stockroom in local mode, with its record in SQLite, sends the same small files in turns to
//! their artist, whose downloads are on nobody's account, to one buyer, whose downloads are
//! recorded, and to 400 buyers in turn, whose purchases have a row each in every batch. A turn is long enough for many batches to be written while it runs, and nothing waits
//! when the next one begins. The ratio is that of the rates in the same round, its median and
//! quartiles over the rounds; `artist again` is the artist once more. The exit status does not
//! depend on the figures: timing is no test.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a benchmark that cannot be set up has to stop"
)]

#[path = "../hybrid/client.rs"]
#[expect(dead_code, reason = "not everything there is needed here")]
mod client;
#[path = "../hybrid/series.rs"]
#[expect(dead_code, reason = "not everything there is needed here")]
mod series;
#[path = "../../tests/http/support.rs"]
#[expect(dead_code, reason = "not everything there is needed here")]
mod support;

use bytes::Bytes;
use stockroom::flows::ledger;
use stockroom_catalog::{Page, PurchaseFilter};
use stockroom_domain::Role;
use tokio::runtime::Runtime;

use client::{CLIENTS, Work};
use series::{Sample, Spread, verdict};
use support::{Backend, Shop, Who, answer, stl};

/// The share of the rate that recording may cost.
const GOAL: f64 = 0.95;
const ROUNDS: usize = 15;
const DOWNLOADS: usize = 5_000;
const FILES: u64 = 16;
const WARM_UP: usize = 50;

const BUYERS: usize = 400;

const TURNS: [&str; 4] = [
    "artist, not recorded",
    "artist again",
    "one buyer, recorded",
    "400 buyers, recorded",
];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let shop = runtime.block_on(Shop::start(Backend::Local));
    let (model, paths) = runtime.block_on(stock(&shop));
    let artist = requests(&[shop.authorization(Who::Artist)], &paths);
    let buyers = runtime.block_on(buyers(&shop, &model));
    let one = requests(&buyers[..1], &paths);
    let many = requests(&buyers, &paths);
    let mut samples: [Vec<Sample>; TURNS.len()] = Default::default();
    for round in 0..ROUNDS {
        for turn in 0..TURNS.len() {
            let turn = (round + turn) % TURNS.len();
            let requests = [&artist, &artist, &one, &many][turn];
            samples[turn].push(downloads(&shop, requests).run());
            runtime.block_on(ledger::flush(&shop.app)).unwrap();
        }
    }
    let rate = |samples: &[Sample]| Spread::of(samples.iter().map(|it| it.per_second).collect());
    println!("downloads of 20 kB, {CLIENTS} clients, {ROUNDS} rounds of {DOWNLOADS} each:");
    for (name, own) in TURNS.iter().zip(&samples) {
        let ratio = to_first(own, &samples[0]);
        let rate = rate(own).median;
        println!("  {name:<24}{rate:>9.0} per s   rate / first {ratio}");
    }
    for turn in [2, 3] {
        let ratio = to_first(&samples[turn], &samples[0]);
        let outcome = verdict(ratio.median >= GOAL);
        println!("{}: {ratio} (goal {GOAL:.2}, {outcome})", TURNS[turn]);
    }
    let recorded = recorded(&runtime, &shop, &model);
    println!("downloads in the receipts: {recorded}");
    assert_eq!(
        recorded,
        (2 * ROUNDS * CLIENTS * (DOWNLOADS + WARM_UP)) as u64
    );
}

/// A model with files; the paths of the downloads.
async fn stock(shop: &Shop) -> (String, Vec<String>) {
    let model = shop.published_model().await;
    let mut paths = Vec::new();
    for seed in 0..FILES {
        let asset = shop
            .put_asset(&model, &format!("{seed}.stl"), stl(400, seed))
            .await;
        let id = asset["id"].as_str().unwrap();
        paths.push(format!("/v1/assets/{id}/download"));
    }
    (model, paths)
}

/// Buyers who bought the model; their keys.
async fn buyers(shop: &Shop, model: &str) -> Vec<String> {
    let mut keys = Vec::new();
    for n in 0..BUYERS {
        let buyer = format!("buyer-{n}");
        let (_, key) = shop.create_key(Role::Buyer, Some(&buyer)).await;
        keys.push(format!("Bearer {key}"));
        let order = serde_json::json!({"buyer": buyer, "model": model, "order_ref": buyer});
        let sale = shop.call(Who::Service, http::Method::POST, "/v1/purchases");
        answer(sale.json(&order)).await.json(201);
    }
    keys
}

/// One request for each key, so that they go around the files together.
fn requests(keys: &[String], paths: &[String]) -> Vec<Bytes> {
    let count = keys.len().max(paths.len());
    let pairs = keys.iter().cycle().zip(paths.iter().cycle());
    pairs
        .take(count)
        .map(|(key, path)| {
            format!("GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: {key}\r\n\r\n").into()
        })
        .collect()
}

fn downloads(shop: &Shop, requests: &[Bytes]) -> Work {
    let of_client = |client: usize| {
        // Each client begins elsewhere.
        let turns = requests
            .iter()
            .cycle()
            .skip(client * requests.len() / CLIENTS);
        turns.take(WARM_UP + DOWNLOADS).cloned().collect()
    };
    let (_, address) = shop.app.public_url.split_once("://").unwrap();
    Work {
        address: address.parse().unwrap(),
        status: 200,
        warm_up: WARM_UP,
        requests: (0..CLIENTS).map(of_client).collect(),
    }
}

fn to_first(own: &[Sample], first: &[Sample]) -> Spread {
    let pairs = own.iter().zip(first);
    Spread::of(
        pairs
            .map(|(own, first)| own.per_second / first.per_second)
            .collect(),
    )
}

/// How many downloads the purchases of a model count.
fn recorded(runtime: &Runtime, shop: &Shop, model: &str) -> u64 {
    let filter = PurchaseFilter {
        model_id: Some(model.parse().unwrap()),
        ..PurchaseFilter::default()
    };
    let (mut page, mut sum) = (Page::first(Page::MAX_LIMIT), 0);
    loop {
        let purchases = shop.app.catalog.list_purchases(&filter, &page);
        let purchases = runtime.block_on(purchases).unwrap();
        sum += purchases.items.iter().map(|it| it.downloads).sum::<u64>();
        match purchases.next {
            Some(next) => page.after = Some(next),
            None => return sum,
        }
    }
}
