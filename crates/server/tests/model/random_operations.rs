//! Invariant 6: after any random operations in bad weather, then quiet, catalog, disk and bucket
//! agree by hash within 60 s. Meanwhile nobody sees anything but what was acknowledged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use stockroom::workers::engine;
use stockroom_domain::{Entropy as _, SystemEntropy};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::audit::{self, Rest};
use crate::client::{Client, Origin};
use crate::dice::{self, Dice};
use crate::support::{Backend, TestDatabase};
use crate::weather;
use crate::world::{Server, World};

const CLIENTS: u64 = 16;
const OPERATIONS: u64 = 10_000;
/// How many operations a client does between two changes of the weather.
const SPELL: u64 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn random_operations_on_both_1() {
    run(
        "random_operations_on_both_1",
        1,
        Backend::Hybrid,
        OPERATIONS,
        None,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_operations_on_both_2() {
    run(
        "random_operations_on_both_2",
        2,
        Backend::Hybrid,
        OPERATIONS,
        None,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_operations_on_both_3() {
    run(
        "random_operations_on_both_3",
        3,
        Backend::Hybrid,
        OPERATIONS,
        None,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_operations_on_both_with_postgres() {
    if let Some(database) = TestDatabase::create() {
        let test = "random_operations_on_both_with_postgres";
        let operations = if dice::is_torture() {
            OPERATIONS
        } else {
            OPERATIONS / 5
        };
        run(test, 4, Backend::Hybrid, operations, Some(database)).await;
    }
}

/// Another seed each time: what the fixed ones do not meet is met some day.
#[tokio::test(flavor = "multi_thread")]
async fn random_operations_on_both_with_a_new_seed() {
    let test = "random_operations_on_both_with_a_new_seed";
    run(test, new_seed(), Backend::Hybrid, OPERATIONS, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_operations_on_s3() {
    run(
        "random_operations_on_s3",
        6,
        Backend::S3,
        OPERATIONS / 5,
        None,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn random_operations_on_local_disk() {
    run(
        "random_operations_on_local_disk",
        7,
        Backend::Local,
        OPERATIONS / 5,
        None,
    )
    .await;
}

/// Fifty more seeds, one half beside the other.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make torture"]
async fn random_operations_on_both_long() {
    many("random_operations_on_both_long").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make torture"]
async fn random_operations_on_both_long_too() {
    many("random_operations_on_both_long_too").await;
}

async fn many(test: &'static str) {
    if std::env::var_os("STOCKROOM_SEED").is_some() {
        return run(test, 0, Backend::Hybrid, OPERATIONS, None).await;
    }
    let first = new_seed();
    for seed in first..first + 25 {
        run(test, seed, Backend::Hybrid, OPERATIONS, None).await;
    }
}

fn new_seed() -> u64 {
    let mut bytes = [0; 4];
    SystemEntropy.fill(&mut bytes);
    u32::from_be_bytes(bytes).into()
}

async fn run(
    test: &'static str,
    seed: u64,
    backend: Backend,
    operations: u64,
    database: Option<TestDatabase>,
) {
    let seed = dice::seed(test, seed);
    let mut dice = Dice::of_task(seed, u64::from(u32::MAX));
    let read_order = dice.pick(&["local-first", "s3-first"]);
    let settings = [
        ("DELETE_GRACE", "1h"),
        ("HYBRID_READ", read_order),
        ("SCRUB_LOCAL_BYTES_PER_DAY", "1000TB"),
        ("SCRUB_S3_BYTES_PER_DAY", "1000TB"),
    ];
    let world = Arc::new(World::create(backend, &settings, database).await);
    // Two servers share the work, as they may.
    let mut servers = vec![serve(&world).await, serve(&world).await];
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let origin = Origin { test, seed, number };
        let server = Arc::clone(&servers[usize::try_from(number).unwrap() % servers.len()]);
        clients.push(Client::new(origin, Arc::clone(&world), server).await);
    }

    let began = Instant::now();
    let spells = operations.div_ceil(CLIENTS * SPELL);
    for spell in 0..spells {
        let weather = weather::turn_bad(&world, &mut dice);
        println!(
            "{:.1} s: spell {spell}: {weather:?}",
            began.elapsed().as_secs_f64()
        );
        if dice.percent(25) {
            weather::jump(&world, &mut dice);
        }
        let away = dice
            .percent(15)
            .then(|| Duration::from_millis(50 + dice.below(800)));
        clients = work(&world, clients, away).await;
        if let Some(chaos) = &world.chaos {
            chaos.clear_faults();
        }
        if dice.percent(12) {
            // A process dies with its claims and leases, and another one takes its place.
            let index = dice.index(servers.len());
            restart(&world, &mut servers, &mut clients, index).await;
        }
    }
    let stormy = began.elapsed();

    weather::clear_up(&world);
    for index in 0..servers.len() {
        restart(&world, &mut servers, &mut clients, index).await;
    }
    let quiet = come_to_rest(&world, &servers[0], &mut clients, test, seed).await;
    let mut tally: BTreeMap<&str, u64> = BTreeMap::new();
    for client in &clients {
        for (what, count) in &client.tally {
            *tally.entry(what).or_default() += count;
        }
    }
    println!(
        "figure: model {backend:?} seed {seed}: {} operations in {:.1} s, agreement after {:.1} s; {tally:?}",
        spells * SPELL * CLIENTS,
        stormy.as_secs_f64(),
        quiet.as_secs_f64(),
    );
    assert!(
        tally["put"] > operations / 10,
        "too little got through: {tally:?}"
    );
    assert!(
        tally["looked"] > operations / 5,
        "too little was seen: {tally:?}"
    );
}

/// A server whose engine runs. It knows its stores before the weather turns bad.
async fn serve(world: &World) -> Arc<Server> {
    let server = world.serve().await;
    engine::round(&server.app).await;
    let mut server = server;
    server.start_engine();
    Arc::new(server)
}

/// Lets all clients work at the same time while the weather is bad.
async fn work(world: &Arc<World>, clients: Vec<Client>, away: Option<Duration>) -> Vec<Client> {
    let mut working = JoinSet::new();
    for mut client in clients {
        working.spawn(async move {
            client.work(SPELL).await;
            client
        });
    }
    if let Some(lasts) = away {
        weather::outage(world, lasts).await;
    }
    let mut clients = Vec::new();
    while let Some(client) = working.join_next().await {
        clients
            .push(client.unwrap_or_else(|failed| std::panic::resume_unwind(failed.into_panic())));
    }
    clients.sort_by_key(|client| client.origin.number);
    clients
}

/// Kills a server and starts another one in its place.
async fn restart(world: &World, servers: &mut [Arc<Server>], clients: &mut [Client], index: usize) {
    let new = serve(world).await;
    let old = std::mem::replace(&mut servers[index], Arc::clone(&new));
    for client in clients.iter_mut() {
        if Arc::ptr_eq(&client.server, &old) {
            client.server = Arc::clone(&new);
        }
    }
    let old = Arc::into_inner(old).expect("nobody else holds the server");
    old.kill().await;
}

/// Nothing goes wrong any more: everything agrees, and what is gone stays gone.
async fn come_to_rest(
    world: &World,
    server: &Server,
    clients: &mut [Client],
    test: &str,
    seed: u64,
) -> Duration {
    let what = format!("seed {seed}; {}", dice::replay(test, seed));
    let mut took = audit::settle(world, server, Rest::Placed, &what).await;
    for client in &mut *clients {
        client.look_at_everything().await;
    }
    // Grace periods are over, and each copy is due to be read again.
    world.clock.advance(Duration::from_secs(31 * 86_400));
    took += audit::settle(world, server, Rest::Agreed, &what).await;
    assert!(took < Duration::from_secs(60), "{what}: it took {took:?}");
    for client in &mut *clients {
        client.look_at_everything().await;
    }
    let settled = audit::snapshot(world);
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(2 * 3_600));
        while engine::round(&server.app).await {}
    }
    assert_eq!(
        audit::snapshot(world),
        settled,
        "{what}: something came back or went"
    );
    took
}
