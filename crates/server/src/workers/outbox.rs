//! The outbox: sends events to endpoints until they are taken.
//!
//! Endpoints are served side by side, so that one which does not answer keeps no other waiting. What
//! is due is claimed by lease. A server that dies is followed by another when the lease is over, so an
//! event may come twice, with the same id.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use stockroom_catalog::{Attempt, CatalogError, ClaimedDelivery, EndpointRow};
use stockroom_domain::{EndpointId, Timestamp};

use crate::app::App;
use crate::flows::events::{self, Outcome};

/// How long the worker sleeps when nobody rings: until it sees what other servers recorded.
const TICK: Duration = Duration::from_secs(5);

/// How many endpoints are served at the same time.
const MAX_ENDPOINTS: usize = 32;

/// How many events are on their way to one endpoint at the same time.
const AT_ONCE: u32 = 8;

/// How long a claim lasts: longer than an attempt with all its time-outs.
const LEASE: Duration = Duration::from_secs(30);

/// How long after the beginning of an attempt that failed an endpoint rests, whatever else waits for
/// it.
const REST: Duration = Duration::from_secs(5);

/// After this long without anything for an endpoint that failed, it counts as well again.
const FORGIVEN: Duration = Duration::from_secs(3_600);

/// How many events are forgotten in one transaction.
const FORGET: u32 = 500;

/// Runs until the shutdown begins; then what is under way ends.
pub async fn run(app: App) {
    let mut at_work = FuturesUnordered::new();
    let mut busy = HashSet::new();
    // Endpoints whose last attempt failed, with the end of their rest.
    let mut failing = HashMap::<EndpointId, Timestamp>::new();
    loop {
        let now = app.clock.now();
        failing.retain(|_, rests_until| now.since(*rests_until) < FORGIVEN);
        for endpoint in due(&app, now, MAX_ENDPOINTS + busy.len() + failing.len()).await {
            let rests_until = failing.get(&endpoint.id);
            let is_free = !busy.contains(&endpoint.id) && rests_until.is_none_or(|it| *it <= now);
            if is_free && busy.len() < MAX_ENDPOINTS {
                // One attempt tells whether it is back.
                let limit = rests_until.map_or(AT_ONCE, |_| 1);
                busy.insert(endpoint.id);
                at_work.push(serve(&app, endpoint, limit));
            }
        }
        tokio::select! {
            Some((id, began_at, is_well)) = at_work.next() => {
                busy.remove(&id);
                match is_well {
                    true => failing.remove(&id),
                    false => failing.insert(id, began_at.after(REST)),
                };
            }
            () = app.catalog.events_bell().notified() => {}
            () = tokio::time::sleep(TICK) => forget(&app).await,
            () = app.shutdown.cancelled() => break,
        }
    }
    while at_work.next().await.is_some() {}
}

/// Endpoints for which something waits that is due.
async fn due(app: &App, now: Timestamp, limit: usize) -> Vec<EndpointRow> {
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let due = app.catalog.due_endpoints(now, limit).await;
    due.unwrap_or_else(|error| {
        tracing::warn!(%error, "events wait: the catalog does not answer; trying again soon");
        Vec::new()
    })
}

/// Sends some of the events that are due to an endpoint; when that began, and whether it took them.
async fn serve(app: &App, endpoint: EndpointRow, limit: u32) -> (EndpointId, Timestamp, bool) {
    let began_at = app.clock.now();
    let is_well = match serve_some(app, &endpoint, limit).await {
        Ok(is_well) => is_well,
        Err(error) => {
            // What was sent and not noted is sent again when the lease is over.
            tracing::warn!(%error, endpoint = %endpoint.id, "what came of events is not noted");
            false
        }
    };
    (endpoint.id, began_at, is_well)
}

async fn serve_some(app: &App, endpoint: &EndpointRow, limit: u32) -> Result<bool, CatalogError> {
    let now = app.clock.now();
    let claimed = app
        .catalog
        .claim_deliveries(endpoint.id, now, now.after(LEASE), limit)
        .await?;
    let deliveries = claimed.iter().map(|it| deliver(app, endpoint, it));
    let mut is_well = true;
    for is_taken in join_all(deliveries).await {
        is_well &= is_taken?;
    }
    Ok(is_well)
}

/// Sends one event and notes what came of it; whether the endpoint took it.
async fn deliver(
    app: &App,
    endpoint: &EndpointRow,
    delivery: &ClaimedDelivery,
) -> Result<bool, CatalogError> {
    let outcome = events::attempt(app, endpoint, delivery).await;
    let (id, event, now) = (endpoint.id, delivery.event_id, app.clock.now());
    app.metrics.event_attempt(word(&outcome));
    let attempt = match outcome {
        Outcome::Gone => {
            const REASON: &str = "it answered 410: it is gone for good";
            tracing::warn!(endpoint = %id, "an endpoint is disabled: it answered 410");
            app.catalog.disable_endpoint(id, REASON, now).await?;
            return Ok(false);
        }
        Outcome::Noted(attempt) => attempt,
    };
    match &attempt {
        Attempt::Delivered { .. } => {
            tracing::debug!(endpoint = %id, %event, "an event is delivered");
        }
        Attempt::Again { error, .. } => {
            tracing::info!(endpoint = %id, %event, error, "an event is not taken yet");
        }
        Attempt::Failed { error, .. } => {
            tracing::warn!(endpoint = %id, %event, error, "an event is given up");
        }
    }
    app.catalog.note_attempt(id, event, &attempt, now).await?;
    Ok(matches!(attempt, Attempt::Delivered { .. }))
}

const fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Gone => "gone",
        Outcome::Noted(Attempt::Delivered { .. }) => "delivered",
        Outcome::Noted(Attempt::Again { .. }) => "again",
        Outcome::Noted(Attempt::Failed { .. }) => "failed",
    }
}

/// Forgets events that nobody will ask for any more.
async fn forget(app: &App) {
    let before = app.clock.now().before(events::KEPT_FOR);
    match app.catalog.forget_events(before, FORGET).await {
        Ok(0) => {}
        Ok(events) => tracing::info!(events, "old events are forgotten"),
        Err(error) => tracing::warn!(%error, "old events are not forgotten yet"),
    }
}
