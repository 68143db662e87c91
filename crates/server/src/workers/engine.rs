//! The engine: compares the placements that objects should have with those they have, and moves
//! bytes until they agree.
//!
//! Copies that are owed or doubted are placed (`place.rs`), objects whose grace period is over
//! are retired (`retire.rs`), what nobody owns any more is swept (`sweep.rs`), and copies that
//! were not looked at for long are read (`scrub.rs`). Nothing is deleted from a store before it
//! is known to be this catalog's own (`identity.rs`).

use std::time::Duration;

use stockroom_catalog::CatalogError;
use tokio::sync::Notify;

use crate::app::App;
use crate::flows::ledger;
use crate::workers::{identity, place, retire, scrub, sweep};

/// How long a worker sleeps when nobody rings.
const TICK: Duration = Duration::from_secs(5);

/// Runs until the shutdown begins. What copies does not wait for what deletes, nor the other way
/// round: either may take hours.
pub async fn run(app: App) {
    let silent = Notify::new();
    tokio::join!(
        repeat(&app, &app.engine_bell, placing),
        repeat(&app, &app.clearing_bell, clearing),
        repeat(&app, &silent, scrubbing),
    );
}

/// Runs what a migration needs of the engine until the shutdown begins: for a command that works on
/// one while no server does.
pub async fn run_for_migration(app: App) {
    tokio::join!(
        repeat(&app, &app.engine_bell, placing),
        repeat(&app, &app.clearing_bell, clearing),
    );
}

/// Does everything that is due once; whether there was anything that succeeded, so that more of
/// it may be due.
pub async fn round(app: &App) -> bool {
    // In boxes, as in `repeat`.
    let placed = Box::pin(placing(app)).await;
    let cleared = Box::pin(clearing(app)).await;
    let scrubbed = Box::pin(scrubbing(app)).await;
    placed || cleared || scrubbed
}

async fn repeat(app: &App, bell: &Notify, work: impl AsyncFn(&App) -> bool) {
    loop {
        // In a box: these are large futures, and whoever spawns this one need not know them.
        let did_something = Box::pin(work(app)).await;
        if app.shutdown.is_cancelled() {
            break;
        }
        if did_something {
            continue;
        }
        tokio::select! {
            () = bell.notified() => {}
            () = tokio::time::sleep(TICK) => {}
            () = app.shutdown.cancelled() => break,
        }
    }
}

async fn placing(app: &App) -> bool {
    identity::settle_all(app).await;
    report("place", place::due(app).await)
}

async fn clearing(app: &App) -> bool {
    // A failure was logged; it is tried again in the next round.
    let _ = ledger::flush(app).await;
    identity::settle_all(app).await;
    let retired = report("retire", retire::due(app).await);
    let freed = report("free", retire::freed(app).await);
    let swept = report("sweep", sweep::due(app).await);
    retired || freed || swept
}

async fn scrubbing(app: &App) -> bool {
    report("scrub", scrub::due(app).await)
}

fn report(work: &str, outcome: Result<usize, CatalogError>) -> bool {
    match outcome {
        Ok(done) => done > 0,
        Err(error) => {
            tracing::warn!(%error, work, "the catalog does not answer; trying again soon");
            false
        }
    }
}
