//! The engine: compares the placements that objects should have with those they have, and moves
//! bytes until they agree.
//!
//! Copies that are owed or doubted are placed (`place.rs`), objects whose grace period is over
//! are retired (`retire.rs`), uploads that nobody owns any more are swept (`sweep.rs`).

use std::time::Duration;

use stockroom_domain::Timestamp;

use crate::app::App;
use crate::flows::entitle;
use crate::workers::{place, retire, sweep};

/// How long the engine sleeps when nobody rings.
const TICK: Duration = Duration::from_secs(5);

/// How long a claimed row is out of reach of other engines. Placing a large object over a slow
/// line takes long; a row whose engine died waits no longer than this.
pub(super) const CLAIM: Duration = Duration::from_secs(3_600);

/// How many rows are claimed at once: few, so that several engines share the work.
pub(super) const BATCH: u32 = 8;

/// Runs until the shutdown begins.
pub async fn run(app: App) {
    loop {
        let did_something = round(&app).await;
        if app.shutdown.is_cancelled() {
            break;
        }
        if did_something {
            continue;
        }
        tokio::select! {
            () = app.engine_bell.notified() => {}
            () = tokio::time::sleep(TICK) => {}
            () = app.shutdown.cancelled() => break,
        }
    }
}

/// Does everything that is due once; whether there was anything that succeeded, so that more of
/// it may be due.
pub async fn round(app: &App) -> bool {
    entitle::flush(app).await;
    let mut did_something = false;
    for store in app.storage.stores() {
        did_something |= report("place", place::due(app, store).await);
    }
    did_something |= report("retire", retire::due(app).await);
    did_something |= report("sweep", sweep::due(app).await);
    did_something
}

/// Until when rows that are claimed now are ours.
pub(super) fn lease(now: Timestamp) -> Timestamp {
    now.after(CLAIM)
}

fn report(work: &str, outcome: Result<usize, stockroom_catalog::CatalogError>) -> bool {
    match outcome {
        Ok(done) => done > 0,
        Err(error) => {
            tracing::warn!(%error, work, "the catalog does not answer; trying again soon");
            false
        }
    }
}
