//! The outbox: sends events to endpoints until they are taken.
//!
//! Endpoints are served side by side, each in a task of its own, so that one which does not answer
//! keeps no other waiting, and a catalog that is slow ends no attempt. What is due is claimed by
//! lease. A server that dies is followed by another when the lease is over, so an event may come
//! twice, with the same id.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures::future::join_all;
use stockroom_catalog::{Attempt, CatalogError, ClaimedDelivery, EndpointRow};
use stockroom_domain::{EndpointId, Timestamp};
use tokio::task::JoinSet;

use crate::app::App;
use crate::flows::events::{self, Outcome};

/// How long the worker sleeps when nobody rings: until it sees what other servers recorded.
const TICK: Duration = Duration::from_secs(5);

/// How many endpoints are served at the same time.
const MAX_ENDPOINTS: usize = 32;

/// How many of them may be such as failed last: the others are never kept waiting by those.
const MAX_FAILING: usize = 8;

/// How many events are on their way to one endpoint at the same time.
const AT_ONCE: u32 = 8;

/// How long a claim lasts: longer than an attempt with all its time-outs.
const LEASE: Duration = Duration::from_secs(30);

/// How long an endpoint rests after an attempt that failed, whatever else waits for it.
const REST: Duration = Duration::from_secs(5);

/// After this long without anything for an endpoint that failed, it counts as well again.
const FORGIVEN: Duration = Duration::from_secs(3_600);

/// How many events are forgotten in one transaction, and how often that is looked at.
const FORGET: u32 = 500;
const FORGET_INTERVAL: Duration = Duration::from_secs(3_600);

/// Runs until the shutdown begins; then what is under way ends.
pub async fn run(app: App) {
    tokio::join!(send_all(&app), forget_all(&app));
}

async fn send_all(app: &App) {
    let mut serving = JoinSet::new();
    let mut known = Known::default();
    loop {
        let now = app.clock.now();
        for (endpoint, limit) in known.choose(due(app, now, known.len()).await, now) {
            serving.spawn(serve(app.clone(), endpoint, limit));
        }
        tokio::select! {
            Some(served) = serving.join_next() => match served {
                Ok(served) => known.note(served),
                Err(stopped) => {
                    // Which one it was is not told, so that none counts as busy for ever.
                    tracing::error!(%stopped, "the sending of events ended in a panic");
                    known.busy.clear();
                }
            },
            () = app.catalog.events_bell().notified() => {}
            () = tokio::time::sleep(TICK) => {}
            () = app.shutdown.cancelled() => break,
        }
    }
    while serving.join_next().await.is_some() {}
}

/// How serving an endpoint ended.
#[derive(Debug, Clone, Copy)]
struct Served {
    id: EndpointId,
    ended_at: Timestamp,
    is_well: bool,
}

/// What is known of endpoints while this process runs.
#[derive(Default)]
struct Known {
    busy: HashSet<EndpointId>,
    /// Endpoints that failed last, with the moment.
    failing: HashMap<EndpointId, Timestamp>,
}

impl Known {
    fn len(&self) -> usize {
        self.busy.len() + self.failing.len()
    }

    /// Which of these are served now, and with how many events: those that failed last with one,
    /// which tells whether they are back.
    fn choose(&mut self, due: Vec<EndpointRow>, now: Timestamp) -> Vec<(EndpointRow, u32)> {
        // A clock that was set back makes nobody rest longer.
        self.failing
            .retain(|_, since| *since <= now && now.since(*since) < FORGIVEN);
        let mut chosen = Vec::new();
        let failing_busy = self.busy.iter().filter(|id| self.failing.contains_key(id));
        let mut room_for_failing = MAX_FAILING.saturating_sub(failing_busy.count());
        for endpoint in due {
            if self.busy.len() >= MAX_ENDPOINTS {
                break;
            }
            if self.busy.contains(&endpoint.id) {
                continue;
            }
            let limit = match self.failing.get(&endpoint.id) {
                None => AT_ONCE,
                Some(since) if now.since(*since) < REST || room_for_failing == 0 => continue,
                Some(_) => {
                    room_for_failing -= 1;
                    1
                }
            };
            self.busy.insert(endpoint.id);
            chosen.push((endpoint, limit));
        }
        chosen
    }

    fn note(&mut self, served: Served) {
        self.busy.remove(&served.id);
        match served.is_well {
            true => self.failing.remove(&served.id),
            false => self.failing.insert(served.id, served.ended_at),
        };
    }
}

/// Endpoints for which something waits that is due, also when so many are not to be served now.
async fn due(app: &App, now: Timestamp, besides: usize) -> Vec<EndpointRow> {
    let limit = u32::try_from(MAX_ENDPOINTS + besides).unwrap_or(u32::MAX);
    let due = app.catalog.due_endpoints(now, limit).await;
    due.unwrap_or_else(|error| {
        tracing::warn!(%error, "events wait: the catalog does not answer; trying again soon");
        Vec::new()
    })
}

/// Sends some of the events that are due to an endpoint.
async fn serve(app: App, endpoint: EndpointRow, limit: u32) -> Served {
    let mut served = Served {
        id: endpoint.id,
        ended_at: app.clock.now(),
        is_well: true,
    };
    if let Err(error) = serve_some(&app, &endpoint, limit, &mut served).await {
        // What was sent and not noted is sent again when the lease is over.
        tracing::warn!(%error, endpoint = %endpoint.id, "what came of events is not noted");
        served.is_well = false;
    }
    served
}

async fn serve_some(
    app: &App,
    endpoint: &EndpointRow,
    limit: u32,
    served: &mut Served,
) -> Result<(), CatalogError> {
    let now = app.clock.now();
    let claimed = app
        .catalog
        .claim_deliveries(endpoint.id, now, now.after(LEASE), limit)
        .await?;
    let deliveries = claimed.iter().map(|claim| deliver(app, endpoint, claim));
    for delivered in join_all(deliveries).await {
        let (ended_at, is_well) = delivered?;
        served.ended_at = served.ended_at.max(ended_at);
        served.is_well &= is_well;
    }
    Ok(())
}

/// Sends one event and notes what came of it; when that was known, and whether the endpoint is well.
async fn deliver(
    app: &App,
    endpoint: &EndpointRow,
    claim: &ClaimedDelivery,
) -> Result<(Timestamp, bool), CatalogError> {
    let outcome = events::attempt(app, endpoint, claim).await;
    let (id, event, now) = (endpoint.id, claim.event_id, app.clock.now());
    app.metrics.event_attempt(word(&outcome));
    let (attempt, is_well) = match outcome {
        Outcome::Gone => {
            const REASON: &str = "it answered 410: it is gone for good";
            if app.catalog.disable_endpoint(endpoint, REASON, now).await? {
                tracing::warn!(endpoint = %id, "an endpoint is disabled: it answered 410");
            }
            return Ok((now, false));
        }
        Outcome::Noted { attempt, is_well } => (attempt, is_well),
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
    app.catalog.note_attempt(id, claim, &attempt, now).await?;
    Ok((now, is_well))
}

const fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Gone => "gone",
        Outcome::Noted { attempt, .. } => match attempt {
            Attempt::Delivered { .. } => "delivered",
            Attempt::Again { .. } => "again",
            Attempt::Failed { .. } => "failed",
        },
    }
}

/// Forgets events that nobody will ask for any more, at the start and then now and then.
async fn forget_all(app: &App) {
    loop {
        forget(app).await;
        tokio::select! {
            () = tokio::time::sleep(FORGET_INTERVAL) => {}
            () = app.shutdown.cancelled() => break,
        }
    }
}

async fn forget(app: &App) {
    while !app.shutdown.is_cancelled() {
        let before = app.clock.now().before(events::KEPT_FOR);
        match app.catalog.forget_events(before, FORGET).await {
            Ok(0) => break,
            Ok(events) => tracing::info!(events, "old events are forgotten"),
            Err(error) => {
                tracing::warn!(%error, "old events are not forgotten yet");
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use stockroom_catalog::{EndpointSecret, EndpointUrl, Subscriptions};
    use stockroom_domain::{EndpointState, SystemEntropy};

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_ms(1_764_000_000_000 + seconds * 1_000)
    }

    fn endpoints(count: usize) -> Vec<EndpointRow> {
        let endpoint = |_| EndpointRow {
            id: EndpointId::generate(at(0), &SystemEntropy),
            url: EndpointUrl("https://shop.example/".to_owned()),
            description: None,
            events: Subscriptions::All,
            state: EndpointState::Enabled,
            disabled_reason: None,
            secret: EndpointSecret(String::new()),
            old_secrets: Vec::new(),
            created_at: at(0),
            updated_at: at(0),
        };
        (0..count).map(endpoint).collect()
    }

    fn chosen(known: &mut Known, due: &[EndpointRow], now: Timestamp) -> Vec<(EndpointId, u32)> {
        let chosen = known.choose(due.to_vec(), now);
        chosen.iter().map(|(row, limit)| (row.id, *limit)).collect()
    }

    fn fail(known: &mut Known, id: EndpointId, ended_at: Timestamp) {
        known.note(Served {
            id,
            ended_at,
            is_well: false,
        });
    }

    #[test]
    fn an_endpoint_that_failed_rests_and_is_asked_with_one_event() {
        let due = endpoints(1);
        let id = due[0].id;
        let mut known = Known::default();
        assert_eq!(chosen(&mut known, &due, at(0)), [(id, AT_ONCE)]);
        assert_eq!(chosen(&mut known, &due, at(1)), [], "it is being served");
        fail(&mut known, id, at(10));
        assert_eq!(chosen(&mut known, &due, at(14)), []);
        assert_eq!(chosen(&mut known, &due, at(15)), [(id, 1)]);
        fail(&mut known, id, at(20));
        // A clock that was set back makes it rest no longer.
        assert_eq!(chosen(&mut known, &due, at(-7_200)), [(id, AT_ONCE)]);
    }

    #[test]
    fn endpoints_that_hang_leave_room_for_others() {
        let due = endpoints(100);
        let mut known = Known::default();
        let first = chosen(&mut known, &due[..50], at(0));
        assert_eq!(first.len(), MAX_ENDPOINTS);
        for (id, _) in &first {
            fail(&mut known, *id, at(15));
        }
        // All have rested; those that failed come first in the list and get a part of the places.
        let second = chosen(&mut known, &due, at(60));
        let probes = second.iter().filter(|(_, limit)| *limit == 1).count();
        assert_eq!((second.len(), probes), (MAX_ENDPOINTS, MAX_FAILING));
    }
}
