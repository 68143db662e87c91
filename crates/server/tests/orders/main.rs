//! The proof that events about orders apply once, in any order, for ever (invariant 12 of
//! ARCHITECTURE.md).
//!
//! A shop and Stripe tell a real server of a thousand orders: every event once or several times, all
//! of them mixed up, sixteen at a time. A third of the orders is refunded, so that many a refund
//! comes before its purchase. Meanwhile the server is killed at random moments and started again;
//! whatever was not answered with 200 is delivered again, and nothing else is. In the end there is
//! exactly one purchase for each order, and exactly the refunded ones are refunded. And each purchase
//! and each refund was told to a program that listens, as one event, at least once.
//!
//! The environment steers it: `STOCKROOM_SEED` draws the events and the moments of an earlier run,
//! as far as threads allow; `STOCKROOM_TORTURE=1` makes many rounds with more kills. Lines that
//! begin with `figure:` say what was counted.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "in a test, ending with a panic is how it fails"
)]

#[path = "../crash/database.rs"]
#[expect(
    dead_code,
    reason = "it is shared with the proof by crashing, which also copies databases"
)]
mod database;
mod deliver;
mod plan;
#[path = "../http/receiver.rs"]
#[expect(
    dead_code,
    reason = "it is shared with the tests over HTTP, whose receivers do more"
)]
mod receiver;
mod server;
#[path = "../http/signed.rs"]
mod signed;
mod told;

use rand::rngs::StdRng;
use rand::seq::index::sample;
use rand::{RngExt as _, SeedableRng as _};
use stockroom_domain::{Entropy, SystemEntropy};

use crate::database::Dialect;
use crate::deliver::{Delivering, Tally};
use crate::plan::Plan;
use crate::server::Site;

/// How many orders there are in a round.
const ORDERS: usize = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn every_event_applies_once_while_the_server_is_killed() {
    prove(Dialect::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_applies_once_while_the_server_is_killed_with_postgres() {
    if Dialect::Postgres.is_available() {
        prove(Dialect::Postgres).await;
    }
}

async fn prove(dialect: Dialect) {
    let is_torture = std::env::var("STOCKROOM_TORTURE").as_deref() == Ok("1");
    let (rounds, kills) = if is_torture { (10, 60) } else { (1, 20) };
    let seed = seed();
    for round in 0..rounds {
        let dice = StdRng::seed_from_u64(seed.wrapping_add(round));
        one_round(dialect, kills, dice, seed.wrapping_add(round)).await;
    }
}

/// The seed of this run, which is printed.
fn seed() -> u64 {
    let system: &dyn Entropy = &SystemEntropy;
    let seed = match std::env::var("STOCKROOM_SEED") {
        Ok(text) => text.parse().expect("STOCKROOM_SEED is a whole number"),
        Err(_) => u64::from_be_bytes(system.bytes()),
    };
    println!("seed {seed}; to replay: STOCKROOM_SEED={seed}");
    seed
}

async fn one_round(dialect: Dialect, kills: usize, mut dice: StdRng, seed: u64) {
    let listening = told::listen().await;
    let site = Site::create(dialect).await;
    let secret = site.connect(&listening.url()).await;
    let plan = Plan::draw(ORDERS, &site.models, &mut dice);
    let deliveries = plan.deliveries.len();
    let began = tokio::time::Instant::now();
    let mut delivering = Delivering::start(plan.clone(), site.address());
    // The moments are counts of acknowledged deliveries, so that the kills fall where work is done
    // on machines of any speed.
    let mut moments = sample(&mut dice, deliveries - 1, kills).into_vec();
    moments.sort_unstable();
    for moment in moments {
        delivering.until_acknowledged(moment).await;
        tokio::time::sleep(std::time::Duration::from_micros(
            dice.random_range(0..15_000),
        ))
        .await;
        site.kill_and_restart().await;
    }
    let tally = delivering.finish().await;
    let elapsed = began.elapsed();
    // What was acknowledged last must be durable too.
    site.kill_and_restart().await;
    plan.check(&site.purchases().await);
    check(&tally, &plan);
    let (messages, events) = told::check(&listening, &secret, &plan).await;
    println!(
        "figure: {} orders ({}, {} refunded), {deliveries} deliveries, {} kills, {} attempts cut off \
         ({} of them had recorded the order), {} without a server, {} refused for now, \
         {:.1} s, seed {seed}: each order recorded once, each refund kept; {events} events told in \
         {messages} messages",
        plan.orders.len(),
        dialect.as_str(),
        plan.refunded(),
        kills + 1,
        tally.lost,
        tally.recorded.iter().filter(|times| **times == 0).count(),
        tally.away,
        tally.refused,
        elapsed.as_secs_f64(),
    );
}

/// The run was the hard one that it is said to be, and no order was told to be new twice.
fn check(tally: &Tally, plan: &Plan) {
    assert_eq!(tally.acknowledged, plan.deliveries.len());
    assert!(tally.lost > 0, "no kill fell into an attempt");
    assert!(
        tally.refunds_first > 0,
        "no refund came before its purchase"
    );
    for (order, recorded) in tally.recorded.iter().enumerate() {
        assert!(
            *recorded <= 1,
            "order {order} was recorded {recorded} times"
        );
    }
}
