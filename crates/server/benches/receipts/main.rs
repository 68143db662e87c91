//! What the receipt costs a download: `cargo bench -p stockroom --bench receipts`.
//!
//! One Stockroom in local mode, with its record in SQLite, sends the same small files in turns to
//! their artist, whose downloads are on nobody's account, and to a buyer, whose downloads are
//! recorded. A turn is long enough for many batches to be written while it runs, and nothing waits
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
use tokio::runtime::Runtime;

use client::{CLIENTS, Work};
use series::{Sample, Spread, verdict};
use support::{Backend, Shop, Who, stl};

/// The share of the rate that recording may cost.
const GOAL: f64 = 0.95;
const ROUNDS: usize = 15;
const DOWNLOADS: usize = 5_000;
const FILES: u64 = 16;

const TURNS: [(&str, Who); 3] = [
    ("artist, not recorded", Who::Artist),
    ("artist again", Who::Artist),
    ("buyer, recorded", Who::Buyer),
];

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let shop = runtime.block_on(Shop::start(Backend::Local));
    let (purchase, paths) = runtime.block_on(stock(&shop));
    let mut samples: [Vec<Sample>; 3] = Default::default();
    for round in 0..ROUNDS {
        for turn in 0..TURNS.len() {
            let turn = (round + turn) % TURNS.len();
            let work = downloads(&shop, TURNS[turn].1, &paths);
            samples[turn].push(work.run());
            runtime.block_on(ledger::flush(&shop.app)).unwrap();
        }
    }
    let rate = |samples: &[Sample]| Spread::of(samples.iter().map(|it| it.per_second).collect());
    println!("downloads of 20 kB, {CLIENTS} clients, {ROUNDS} rounds of {DOWNLOADS} each:");
    for ((name, _), own) in TURNS.iter().zip(&samples) {
        let ratio = to_first(own, &samples[0]);
        println!(
            "  {name:<24}{:>9.0} per s   rate / first {ratio}",
            rate(own).median
        );
    }
    let ratio = to_first(&samples[2], &samples[0]);
    let outcome = verdict(ratio.median >= GOAL);
    println!("recorded / not recorded {ratio} (goal {GOAL:.2}, {outcome})");
    let recorded = recorded(&runtime, &shop, &purchase);
    println!("downloads in the receipt: {recorded}");
    assert_eq!(
        recorded,
        (ROUNDS * CLIENTS * (DOWNLOADS + FILES as usize)) as u64
    );
}

/// A model with files that a buyer has bought; the purchase, and the paths of the downloads.
async fn stock(shop: &Shop) -> (String, Vec<String>) {
    let model = shop.published_model().await;
    let purchase = shop.sell(&model, "order-1").await;
    let mut paths = Vec::new();
    for seed in 0..FILES {
        let asset = shop
            .put_asset(&model, &format!("{seed}.stl"), stl(400, seed))
            .await;
        paths.push(format!(
            "/v1/assets/{}/download",
            asset["id"].as_str().unwrap()
        ));
    }
    (purchase, paths)
}

fn downloads(shop: &Shop, who: Who, paths: &[String]) -> Work {
    let key = shop.authorization(who);
    let requests: Vec<Bytes> = paths
        .iter()
        .map(|path| {
            format!("GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: {key}\r\n\r\n").into()
        })
        .collect();
    let of_client = |client| {
        let turns = requests.iter().cycle().skip(client);
        turns.take(paths.len() + DOWNLOADS).cloned().collect()
    };
    let (_, address) = shop.app.public_url.split_once("://").unwrap();
    Work {
        address: address.parse().unwrap(),
        status: 200,
        warm_up: paths.len(),
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

fn recorded(runtime: &Runtime, shop: &Shop, purchase: &str) -> u64 {
    let purchase = shop.app.catalog.find_purchase(purchase.parse().unwrap());
    runtime.block_on(purchase).unwrap().unwrap().downloads
}
