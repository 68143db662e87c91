//! Invariant 7: deleted stays deleted, whoever was copying at that moment, and however that
//! ended.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chaos_s3::{Fault, FaultAction, Operation};
use http::Method;
use stockroom::workers::engine;
use stockroom_catalog::SECOND_LOOK;
use stockroom_domain::{Clock as _, Key};

use crate::audit::{self, Rest};
use crate::client::send;
use crate::dice::{self, Dice};
use crate::support::{Backend, TestDatabase, Who};
use crate::weather;
use crate::world::{Server, World};

const NO_GRACE: [(&str, &str); 1] = [("DELETE_GRACE", "0s")];

/// How much later than it was sent a copy arrives, at most.
const LONGEST_DELAY: Duration = Duration::from_millis(300);

/// How an engine meets the deletion of what it copies.
#[derive(Debug, Clone, Copy)]
enum Engine {
    /// It goes on to its end.
    GoesOn,
    /// It is killed at this moment and never heard of again, except for what it had sent.
    IsKilled,
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_deleted_while_it_is_copied_stays_deleted() {
    let test = "an_object_that_is_deleted_while_it_is_copied_stays_deleted";
    copy_and_delete(test, 51, 1, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_bring_nothing_back() {
    copy_and_delete("two_servers_bring_nothing_back", 52, 2, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_postgres_bring_nothing_back() {
    if let Some(database) = TestDatabase::create() {
        let test = "two_servers_on_postgres_bring_nothing_back";
        copy_and_delete(test, 53, 2, Some(database)).await;
    }
}

/// How many engines more are killed at most.
const MORE_KILLS: usize = 5;

async fn copy_and_delete(test: &str, seed: u64, servers: usize, database: Option<TestDatabase>) {
    let seed = dice::seed(test, seed);
    let mut dice = Dice::new(seed);
    let world = Arc::new(World::create(Backend::Hybrid, &NO_GRACE, database).await);
    let mut running = Vec::new();
    for _ in 0..servers {
        let server = world.serve().await;
        engine::round(&server.app).await;
        running.push(server);
    }
    let trials = if dice::is_torture() { 200 } else { 24 };
    let mut late = Vec::new();
    for trial in 0..trials {
        let end = if trial + 3 < trials {
            dice.pick(&[Engine::GoesOn, Engine::GoesOn, Engine::IsKilled])
        } else {
            Engine::IsKilled
        };
        let what = format!("trial {trial}, {end:?}; {}", dice::replay(test, seed));
        let (key, bytes) = one_trial(&world, &running, &mut dice, end, &what).await;
        if matches!(end, Engine::IsKilled) {
            late.push((world.clock.now(), key, bytes));
        }
    }
    // Coming to rest may take the clock past the second look of all of them, when a copy landed late by
    // itself; then some more are killed.
    for more in 0..=MORE_KILLS {
        come_to_rest(&world, &running, test).await;
        // What the killed engines had sent arrives only now, when everybody has given it up. No
        // request is under way for longer than until the second look.
        let oldest = world.clock.now().before(SECOND_LOOK);
        late.retain(|(deleted_at, _, _)| *deleted_at > oldest);
        if !late.is_empty() {
            break;
        }
        assert!(more < MORE_KILLS, "some engines were killed a moment ago");
        let what = format!("one more that is killed; {}", dice::replay(test, seed));
        let (key, bytes) = one_trial(&world, &running, &mut dice, Engine::IsKilled, &what).await;
        late.push((world.clock.now(), key, bytes));
    }
    for (_, key, bytes) in late {
        world.chaos().plant(&key, bytes);
    }
    world.clock.advance(SECOND_LOOK);
    audit::settle(&world, &running[0], Rest::Agreed, test).await;
    let left = audit::snapshot(&world);
    assert_eq!(
        left.len(),
        3,
        "only the stores' own objects are there: {left:?}"
    );
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(2 * 3_600));
        for server in &running {
            while engine::round(&server.app).await {}
        }
    }
    assert_eq!(audit::snapshot(&world), left, "something came back");
    println!("figure: deletion during a copy, {servers} servers: {trials} objects, 0 came back");
}

async fn come_to_rest(world: &World, running: &[Server], test: &str) {
    // No request may outlast the second look, and the clock is about to run much faster than the
    // requests that are still delayed.
    tokio::time::sleep(2 * LONGEST_DELAY).await;
    weather::clear_up(world);
    reachable(running).await;
    audit::settle(world, &running[0], Rest::Agreed, test).await;
    let recorded = audit::recorded(&running[0].app).await;
    assert!(recorded.is_empty(), "{recorded:?}");
}

/// An object is acknowledged while its copy in the bucket is owed; while that is made, the object
/// is deleted, and engines run everywhere. Its key, which is its location too, and its bytes.
async fn one_trial(
    world: &World,
    servers: &[Server],
    dice: &mut Dice,
    end: Engine,
    what: &str,
) -> (String, Bytes) {
    let key = format!("models/short-lived/{}.bin", dice.below(1 << 50));
    let size_bytes = dice.pick(&[10, 30_000, 1_500_000]);
    let bytes = dice.noise(size_bytes);
    world.chaos().set_online(false).unwrap();
    put(&servers[0], &key, bytes.clone()).await;
    world.chaos().set_online(true).unwrap();
    reachable(servers).await;
    world.clock.advance(Duration::from_secs(60));

    // The bytes arrive this much later than they were sent.
    let late = LONGEST_DELAY.mul_f64(0.01 * (1 + dice.below(100)) as f64);
    let delay = Fault::new(Operation::PutObject, FaultAction::Delay(late));
    world.chaos().clear_calls();
    world.chaos().fault(delay.times(servers.len() as u64));
    let copying: Vec<_> = servers
        .iter()
        .map(|server| {
            let app = server.app.clone();
            tokio::spawn(async move { while engine::round(&app).await {} })
        })
        .collect();
    let is_sent = async {
        while world.chaos().count(Operation::PutObject) == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), is_sent)
        .await
        .unwrap_or_else(|_| panic!("no copy is made; {what}"));
    let deleting = &servers[dice.index(servers.len())];
    let path = format!("/v1/objects/{key}");
    let reply = send(deleting.call(Who::Operator, Method::DELETE, &path))
        .await
        .unwrap();
    assert_eq!(reply.status, 204, "{what}");
    // What removes deleted bytes runs at once, also while the copy is under way.
    let remover = servers[dice.index(servers.len())].app.clone();
    if dice.percent(50) {
        world.clock.advance(Duration::from_secs(dice.below(300)));
    }
    engine::round(&remover).await;
    for engine in copying {
        match end {
            Engine::GoesOn => engine.await.unwrap(),
            Engine::IsKilled => {
                engine.abort();
                // It may have ended before.
                let _ = engine.await;
            }
        }
    }
    let name: Key = key.parse().unwrap();
    let found = remover.catalog.find_object(&name).await.unwrap();
    assert!(found.is_none(), "{what}: {found:?}");
    (key, bytes)
}

/// Waits until the servers have noticed that the bucket is back.
async fn reachable(servers: &[Server]) {
    for server in servers {
        let available = async {
            while !server.app.stores.iter().all(|store| store.is_available()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), available)
            .await
            .expect("the bucket is back");
    }
}

async fn put(server: &Server, key: &str, bytes: Bytes) {
    let path = format!("/v1/objects/{key}");
    let request = server.call(Who::Operator, Method::PUT, &path).body(bytes);
    assert_eq!(send(request).await.unwrap().status, 201, "{key}");
}
