//! Invariant 9: corrupt bytes never pass as complete. A download of a damaged object is right or
//! it is cut, and where a whole copy remains, the damaged one is whole again.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use http::Method;
use stockroom_catalog::ObjectRow;
use stockroom_domain::{Key, StoreName};

use crate::audit::{self, Rest};
use crate::client::send;
use crate::damage::{self, Damage};
use crate::dice::{self, Dice};
use crate::expected::Content;
use crate::support::{Backend, CHUNK_BYTES, Who};
use crate::world::{Server, World};

/// How many objects are damaged at the same time.
const OBJECTS: u64 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_healed_or_the_response_is_cut_reading_the_folder_first() {
    let test = "damage_is_healed_or_the_response_is_cut_reading_the_folder_first";
    run(test, 21, "local-first").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_healed_or_the_response_is_cut_reading_the_bucket_first() {
    let test = "damage_is_healed_or_the_response_is_cut_reading_the_bucket_first";
    run(test, 22, "s3-first").await;
}

/// What came of all the damage.
#[derive(Debug, Default)]
struct Counts {
    damages: u64,
    right: u64,
    cut: u64,
    refused: u64,
    /// Copies that were whole again in the end.
    healed: u64,
    /// Objects without a whole copy.
    beyond_repair: u64,
}

/// An object whose copies are about to be damaged.
struct Object {
    key: String,
    content: Content,
    row: ObjectRow,
}

async fn run(test: &str, seed: u64, read_order: &str) {
    let seed = dice::seed(test, seed);
    let rounds = if dice::is_torture() { 100 } else { 10 };
    let settings = [
        ("HYBRID_READ", read_order),
        ("DELETE_GRACE", "0s"),
        ("SCRUB_LOCAL_BYTES_PER_DAY", "1000TB"),
        ("SCRUB_S3_BYTES_PER_DAY", "1000TB"),
    ];
    let world = Arc::new(World::create(Backend::Hybrid, &settings, None).await);
    let server = world.serve().await;
    let mut dice = Dice::new(seed);
    let mut counts = Counts::default();
    for round in 0..rounds {
        let what = format!("round {round}; {}", dice::replay(test, seed));
        let mut objects = Vec::new();
        for number in 0..OBJECTS {
            let size_bytes = size(&mut dice);
            let content = Content::new(dice.noise(size_bytes));
            objects.push(store(&world, &server, number, content).await);
        }
        let mut hopeless = Vec::new();
        for object in &objects {
            // The last objects of a round lose both copies.
            let is_lost = dice.percent(12);
            spoil(&world, object, is_lost, &mut dice);
            counts.damages += 1 + u64::from(is_lost);
            if is_lost {
                hopeless.push(object.key.clone());
            }
        }
        let reads: Vec<_> = objects
            .iter()
            .map(|object| (object, any_range(&mut dice, object.content.bytes.len())))
            .collect();
        let outcomes: Vec<(&Object, Outcome)> = stream::iter(reads)
            .map(async |(object, range)| (object, read(&server, object, range, &what).await))
            .buffer_unordered(8)
            .collect()
            .await;
        for (object, outcome) in outcomes {
            let is_lost = hopeless.contains(&object.key);
            match outcome {
                Outcome::Right => counts.right += 1,
                Outcome::Cut if is_lost => counts.cut += 1,
                Outcome::Refused if is_lost => counts.refused += 1,
                Outcome::Cut | Outcome::Refused => panic!(
                    "{}: {outcome:?}, though one copy is whole; {what}",
                    object.key
                ),
            }
        }
        counts.beyond_repair += hopeless.len() as u64;
        counts.healed += OBJECTS - hopeless.len() as u64;
        for key in hopeless {
            delete(&server, &key).await;
        }
        // Each copy is due to be looked at again, also those that no read came across.
        world.clock.advance(stockroom::workers::scrub::INTERVAL);
        world
            .clock
            .advance(stockroom::workers::scrub::INTERVAL / 100);
        audit::settle(&world, &server, Rest::Agreed, &what).await;
        for object in &objects {
            let reply = send(call(&server, Method::GET, &object.key)).await;
            if let Ok(reply) = reply
                && reply.status != 404
            {
                assert!(reply.body == object.content.bytes, "{}: {what}", object.key);
            }
        }
    }
    println!("figure: corruption {read_order}: {counts:?}");
    assert!(
        counts.cut + counts.refused > 0 && counts.healed > 0,
        "{counts:?}"
    );
    assert!(counts.damages >= 500, "{counts:?}");
}

/// Mostly small, some of several chunks.
fn size(dice: &mut Dice) -> usize {
    let size_bytes = match dice.below(100) {
        0..2 => 0,
        2..50 => 1 + dice.below(3_000),
        50..80 => dice.below(200_000),
        _ => dice.below(3_500_000),
    };
    usize::try_from(size_bytes).unwrap()
}

async fn store(world: &World, server: &Server, number: u64, content: Content) -> Object {
    let key = format!("models/fragile/{number}.bin");
    let put = call(server, Method::PUT, &key).body(content.bytes.clone());
    let reply = send(put).await.unwrap();
    assert_eq!(reply.status, 201);
    let name: Key = key.parse().unwrap();
    let row = server
        .app
        .catalog
        .find_object(&name)
        .await
        .unwrap()
        .unwrap()
        .object;
    assert_eq!(row.placements.len(), 2, "both copies are there: {row:?}");
    assert!(world.chaos().body(row.location.as_str()).unwrap() == content.bytes);
    Object { key, content, row }
}

async fn delete(server: &Server, key: &str) {
    assert_eq!(
        send(call(server, Method::DELETE, key))
            .await
            .unwrap()
            .status,
        204
    );
}

fn call(server: &Server, method: Method, key: &str) -> reqwest::RequestBuilder {
    server.call(Who::Operator, method, &format!("/v1/objects/{key}"))
}

fn spoil(world: &World, object: &Object, both: bool, dice: &mut Dice) {
    let first = dice.pick(&[StoreName::LOCAL, StoreName::S3]);
    let size_bytes = object.content.bytes.len();
    let location = object.row.location.as_str();
    for store in [StoreName::LOCAL, StoreName::S3] {
        if store != first && !both {
            continue;
        }
        let damage = Damage::any(dice, size_bytes);
        if store == StoreName::S3 {
            damage::in_bucket(world.chaos(), location, damage);
        } else {
            damage::on_disk(&world.uploads().join(location), damage);
        }
    }
}

/// None for the whole object.
fn any_range(dice: &mut Dice, size_bytes: usize) -> Option<(usize, usize)> {
    if size_bytes == 0 || dice.percent(60) {
        return None;
    }
    let first = dice.index(size_bytes);
    Some((
        first,
        (first + dice.index(2 * usize::try_from(CHUNK_BYTES).unwrap())).min(size_bytes - 1),
    ))
}

#[derive(Debug)]
enum Outcome {
    Right,
    Cut,
    Refused,
}

/// Reads an object. What comes as complete must be right.
async fn read(
    server: &Server,
    object: &Object,
    range: Option<(usize, usize)>,
    what: &str,
) -> Outcome {
    let mut request = call(server, Method::GET, &object.key);
    let mut expected: Bytes = object.content.bytes.clone();
    if let Some((first, last)) = range {
        request = request.header("range", format!("bytes={first}-{last}"));
        expected = expected.slice(first..=last);
    }
    match send(request).await {
        Ok(reply) if [200, 206].contains(&reply.status) => {
            assert!(
                reply.body == expected,
                "{} {range:?}: {} wrong bytes passed as complete; {what}",
                object.key,
                reply.body.len(),
            );
            Outcome::Right
        }
        Ok(reply) => {
            assert!(
                reply.is_failure(),
                "{}: {}; {what}",
                object.key,
                reply.status
            );
            Outcome::Refused
        }
        Err(_) => Outcome::Cut,
    }
}
