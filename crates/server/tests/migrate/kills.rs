//! Invariant 8 under kill -9: a shop moves to a bucket and its folder is emptied, while clients read,
//! upload, replace and delete, and while its server and the commands that move it are killed at random
//! moments. Every answer has to be right, and in the end everything agrees by hash.

use std::time::Duration;

use chaos_s3::{ChaosS3, Operation};
use rand::RngExt as _;
use rand::rngs::StdRng;
use rand::seq::index::sample;
use tokio::time::{Instant, sleep};

use crate::business::{Business, Clients};
use crate::dice;
use crate::place::{Files, Place};
use crate::server::Server;
use crate::verdict;

/// How many objects each program copies at the same time.
const AT_ONCE: usize = 4;

/// Longer than anything stays claimed by what was killed.
const CLAIMED: Duration = Duration::from_secs(200);

/// How many copies of one program a kill may cost: those that are being written, being read back, or
/// noted together with others a moment later.
const COST: usize = 2 * AT_ONCE + 16;

const RUN: [&str; 4] = ["migrate", "run", "--to", "s3"];
const RETIRE: [&str; 6] = ["migrate", "retire", "--from", "local", "--grace", "0s"];

/// How large a run is.
struct Extent {
    small_files: usize,
    large_files: usize,
    /// Kills while everything is copied.
    kills: usize,
    /// Kills while the folder is emptied.
    later_kills: usize,
    /// Whether claims of what was killed are waited for, or a clock is set ahead.
    waits: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_in_business_is_moved_while_everything_is_killed() {
    prove(&Extent {
        small_files: 218,
        large_files: 2,
        kills: 4,
        later_kills: 2,
        waits: false,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "long: make torture"]
async fn a_shop_of_5_000_objects_is_moved_while_everything_is_killed_50_times() {
    prove(&Extent {
        small_files: 4_992,
        large_files: 8,
        kills: 40,
        later_kills: 10,
        waits: true,
    })
    .await;
}

async fn prove(extent: &Extent) {
    let mut dice = dice();
    let place = Place::start().await.with_settings(vec![
        ("LISTEN", format!("127.0.0.1:{}", free_port(&mut dice))),
        ("ENGINE_CONCURRENCY", AT_ONCE.to_string()),
        ("DELETE_GRACE", "2s".to_owned()),
    ]);
    let mut files = place.put_files(extent.small_files).await;
    files.extend(place.put_large_files(extent.large_files).await);

    let began = Instant::now();
    let mut server = Server::start(&place).await;
    let business = Business::of(&server, &files);
    let clients = business.begin(&mut dice);
    let mut moments = sample(&mut dice, files.len() * 8 / 10, extent.kills).into_vec();
    moments.sort_unstable();
    copy_under_kills(&place, &mut server, &clients, moments, &mut dice).await;
    finish_copying(&place, &mut server, &business, extent).await;
    assert_hardly_any_twice(&place, &business, &files, extent);

    // From now on new objects go to the bucket, and what came last is copied too.
    let place = place.in_mode("s3");
    business.kill_server(&mut server, &place).await;
    finish_copying(&place, &mut server, &business, extent).await;
    retire_under_kills(&place, &mut server, &business, extent, &mut dice).await;
    clients.end().await;
    let elapsed = began.elapsed();

    business.assert_all().await;
    server.stop();
    verdict::judge(&place, &business).await;
    place.assert_verified();
    let figures = business.figures();
    println!(
        "figure: migrate: {} objects, {} kills in {:.0} s; {} reads, {} uploads and replacements, \
         {} deletions, {} requests cut off and made again; none wrong, none lost, none back",
        files.len(),
        extent.kills + extent.later_kills,
        elapsed.as_secs_f64(),
        figures.reads,
        figures.uploads,
        figures.deletions,
        figures.cuts,
    );
}

/// Copies, and kills the server or a command each time that so many copies were made. The moments are
/// counts, so that the kills fall where work is done on machines of any speed.
async fn copy_under_kills(
    place: &Place,
    server: &mut Server,
    clients: &Clients,
    moments: Vec<usize>,
    dice: &mut StdRng,
) {
    let mut command = place.spawn_unheard(&RUN);
    for moment in moments {
        while copies(place.s3()) < moment {
            clients.assert_content();
            sleep(Duration::from_millis(2)).await;
            if command.has_ended() {
                command = place.spawn_unheard(&RUN);
            }
        }
        sleep(Duration::from_micros(dice.random_range(0..40_000))).await;
        if dice.random_bool(0.5) {
            clients.business.kill_server(server, place).await;
        } else {
            command.kill();
            command = place.spawn_unheard(&RUN);
        }
    }
    command.kill();
}

/// Empties the folder, and kills the command each time, and the server half of the times.
async fn retire_under_kills(
    place: &Place,
    server: &mut Server,
    business: &Business,
    extent: &Extent,
    dice: &mut StdRng,
) {
    for _ in 0..extent.later_kills {
        let command = place.spawn_unheard(&RETIRE);
        sleep(Duration::from_millis(dice.random_range(100..900))).await;
        if dice.random_bool(0.5) {
            business.kill_server(server, place).await;
        }
        command.kill();
    }
    if !extent.waits {
        place.later(CLAIMED).await;
    }
    let retired = place.run(&RETIRE);
    assert_eq!(retired.code, 0, "{}", retired.stdout);
}

/// Has everything copied that is there, while nobody writes.
async fn finish_copying(place: &Place, server: &mut Server, business: &Business, extent: &Extent) {
    let _held = business.pause_writers().await;
    if !extent.waits {
        assert_not_over_too_soon(place);
        let begun = place.run(&["migrate", "run", "--to", "s3", "--detach"]);
        assert_eq!(begun.code, 0, "{}", begun.stdout);
        // Whoever sets a clock ahead takes a server for dead, so it is.
        let finished = Box::pin(place.finish_later());
        business.without_server(server, place, finished).await;
    }
    let ran = place.run(&RUN);
    assert_eq!(ran.code, 0, "{}", ran.stdout);
    let status = ran.last();
    assert_eq!(status["copied"], status["objects"], "{status}");
}

/// What the dead had claimed is waited for: it is not over before everything is there.
fn assert_not_over_too_soon(place: &Place) {
    let command = place.spawn_unheard(&RUN);
    for _ in 0..10 {
        let status = place.run(&["migrate", "status"]).last();
        let is_whole = status["copied"] == status["objects"];
        assert!(status["state"] != "finished" || is_whole, "{status}");
    }
    command.kill();
}

/// Beside each object that was ever stored, only what was under way in a process that was killed may
/// have been copied once more.
fn assert_hardly_any_twice(place: &Place, business: &Business, files: &Files, extent: &Extent) {
    let figures = business.figures();
    let uploads = figures.uploads + figures.cut_uploads;
    // The id of the store is an object too; a command and the server are killed once more at the end.
    let most = files.len() + uploads + 1 + (extent.kills + 2) * COST;
    let copies = copies(place.s3());
    println!(
        "figure: migrate: {copies} copies of {} objects and {uploads} uploads",
        files.len()
    );
    assert!(copies <= most, "{copies} copies, at most {most} are needed");
}

/// How often an object was written to the bucket.
fn copies(s3: &ChaosS3) -> usize {
    s3.count(Operation::PutObject) + s3.count(Operation::CompleteMultipartUpload)
}

/// A port on which nobody listens, below those that the kernel gives to clients: the next server has
/// to get it again.
fn free_port(dice: &mut StdRng) -> u16 {
    loop {
        let port = dice.random_range(20_000..32_000);
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
