//! Counting downloads against purchases.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use stockroom_catalog::{CatalogError, PurchaseRow};
use stockroom_domain::{Denial, Grant, PurchaseId};

use crate::app::App;
use crate::flows::error::FlowError;

/// Downloads that were counted and are not in the catalog yet.
#[derive(Debug, Default)]
pub struct DownloadCounts {
    waiting: Mutex<HashMap<PurchaseId, u64>>,
    /// Held while counts are written, so that whoever flushes before a look at the catalog also
    /// waits for those that somebody else took.
    writing: tokio::sync::Mutex<()>,
}

/// Counts a download of a purchase; downloads by other rights are not counted.
///
/// With a limit the catalog decides, at once, so that no two callers share the last download.
/// Without one the count is written a moment later, so that a download costs one query.
///
/// # Errors
/// `Denied` when the limit was reached meanwhile; that of the catalog.
pub async fn count(
    app: &App,
    grant: &Grant,
    purchased: Option<&PurchaseRow>,
) -> Result<(), FlowError> {
    let Grant::Purchase(purchase) = grant else {
        return Ok(());
    };
    if purchased.is_some_and(|row| row.download_limit.is_some()) {
        let is_claimed = app
            .catalog
            .claim_download(*purchase, app.clock.now())
            .await?;
        return if is_claimed {
            Ok(())
        } else {
            Err(FlowError::Denied(Denial::DownloadLimitReached))
        };
    }
    if app.download_counts.add(*purchase) {
        let app = app.clone();
        let tasks = app.tasks.clone();
        tasks.spawn(async move { flush(&app).await });
    }
    Ok(())
}

/// Writes what was counted into the catalog. A failure keeps the counts for the next time.
pub async fn flush(app: &App) {
    let _writing = app.download_counts.writing.lock().await;
    let counts = app.download_counts.take();
    if counts.is_empty() {
        return;
    }
    let written: Result<(), CatalogError> = app.catalog.count_downloads(&counts).await;
    if let Err(error) = written {
        tracing::warn!(%error, "downloads could not be counted yet");
        app.download_counts.put_back(counts);
    }
}

impl DownloadCounts {
    /// Adds one; whether somebody should flush now, because nothing was waiting.
    fn add(&self, purchase: PurchaseId) -> bool {
        let mut counts = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = counts.is_empty();
        *counts.entry(purchase).or_default() += 1;
        was_empty
    }

    fn take(&self) -> Vec<(PurchaseId, u64)> {
        let mut counts = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        counts.drain().collect()
    }

    fn put_back(&self, taken: Vec<(PurchaseId, u64)>) {
        let mut counts = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for (purchase, count) in taken {
            *counts.entry(purchase).or_default() += count;
        }
    }
}
