//! Views: keeps who may read what in memory as long as nobody can have changed it unseen, see
//! `kept.rs` of the catalog.

use std::time::Duration;

use crate::app::App;

/// How long a server that ends tries to give its row back.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs until the shutdown begins.
pub async fn run(app: App) {
    tokio::select! {
        () = app.catalog.keep_views() => {}
        () = app.shutdown.cancelled() => {}
    }
    // Where the database does not answer, the row stays: whoever ends an access waits for this server
    // once, and removes it.
    let stopped = tokio::time::timeout(PATIENCE, app.catalog.stop_keeping_views()).await;
    if !matches!(stopped, Ok(Ok(()))) {
        tracing::debug!("the row of this server stays");
    }
}
