//! Leases: how long a claimed row is out of reach of other workers.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
use stockroom_catalog::PlacementRow;
use stockroom_domain::Timestamp;

use crate::app::App;

/// How long a claim lasts. A row whose worker died waits no longer than this; one that takes
/// longer is renewed meanwhile.
pub(super) const LEASE: Duration = Duration::from_secs(30);

/// How often a claim is renewed: often enough that one slow transaction does no harm.
pub(super) const RENEWAL: Duration = Duration::from_secs(8);

/// Until when rows that are claimed now are ours.
pub(super) fn until(now: Timestamp) -> Timestamp {
    now.after(LEASE)
}

/// Does some work on a placement and renews the claim meanwhile. A claim that cannot be renewed
/// ends nothing: whoever else takes the placement writes the same bytes to the same place, and
/// the catalog decides in the end.
pub(super) async fn holding<T>(
    app: &App,
    placement: &PlacementRow,
    work: impl Future<Output = T>,
) -> T {
    match select(pin!(work), pin!(keep(app, placement))).await {
        Either::Left((outcome, _)) => outcome,
        Either::Right((never, _)) => match never {},
    }
}

async fn keep(app: &App, placement: &PlacementRow) -> Infallible {
    loop {
        tokio::time::sleep(RENEWAL).await;
        if !renew(app, placement).await {
            tracing::debug!(object = %placement.object_id, "the claim is lost");
        }
    }
}

/// Renews a claim; whether the copy is still wanted, as far as the catalog tells.
pub(super) async fn renew(app: &App, placement: &PlacementRow) -> bool {
    let lease_until = until(app.clock.now());
    let renewed = app
        .catalog
        .renew_placement(placement.object_id, &placement.store, lease_until)
        .await;
    renewed.unwrap_or_else(|error| {
        tracing::warn!(%error, "a claim is not renewed yet");
        true
    })
}
