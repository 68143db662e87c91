//! Endpoints that events cannot be sent to, and for how long.

use std::time::Duration;

use stockroom_catalog::{Catalog, DeliveryRow, EndpointRow, Page};
use stockroom_domain::{DeliveryState, EndpointState, Timestamp};

use super::finding::Finding;

/// An event that nobody has tried for so long is not sent at all.
const WAITS_TOO_LONG: Duration = Duration::from_secs(3 * 3_600);

/// So many attempts take more than half an hour: longer than a deployment.
const MANY_ATTEMPTS: u32 = 3;

/// Looks at all endpoints. What cannot be read is told of elsewhere.
pub(super) async fn examine(catalog: &Catalog, now: Timestamp, findings: &mut Vec<Finding>) {
    let mut page = Page::first(Page::MAX_LIMIT);
    let mut seen = 0;
    let before = findings.len();
    while let Ok(endpoints) = catalog.list_endpoints(&page).await {
        for endpoint in &endpoints.items {
            seen += 1;
            findings.extend(of(catalog, endpoint, now).await);
        }
        match endpoints.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    if seen > 0 && findings.len() == before {
        let sentence = match seen {
            1 => "The endpoint for events takes what it is sent.".to_owned(),
            _ => format!("The {seen} endpoints for events take what they are sent."),
        };
        findings.push(Finding::ok("events", sentence));
    }
}

async fn of(catalog: &Catalog, endpoint: &EndpointRow, now: Timestamp) -> Option<Finding> {
    let id = endpoint.id;
    if endpoint.state == EndpointState::Disabled {
        // One that an operator disabled is as it should be.
        let reason = endpoint.disabled_reason.as_ref()?;
        return Some(Finding::warning(
            "events.disabled",
            format!("The endpoint {id} is sent no events any more: {reason}."),
            format!(
                "Mend the receiver and send PATCH /v1/webhook-endpoints/{id} {{\"status\": \
                 \"enabled\"}}, or delete the endpoint."
            ),
        ));
    }
    let ends = |state| catalog.ends_of_deliveries(id, state);
    let newest_of = async |state| Some(ends(state).await.ok()??.1.event_id);
    let (failed, delivered) = (
        newest_of(DeliveryState::Failed).await,
        newest_of(DeliveryState::Delivered).await,
    );
    let (oldest, _) = ends(DeliveryState::Waiting).await.ok()?.unzip();
    let stuck = oldest.filter(|it| is_stuck(it, now));
    // What came after the last that was given up was taken: it is back.
    if stuck.is_none() && failed <= delivered {
        return None;
    }
    let sentence = match &stuck {
        Some(oldest) => format!(
            "The endpoint {id} has not taken an event of {} yet.",
            oldest.created_at
        ),
        None => format!("The endpoint {id} did not take the last event that it was sent."),
    };
    Some(Finding::warning(
        "events.waiting",
        sentence,
        format!(
            "See that stockroom serve runs, and what GET /v1/webhook-endpoints/{id}/deliveries says \
             of the last attempt. POST /v1/webhook-endpoints/{id}/redeliver sends once more what \
             was given up."
        ),
    ))
}

/// Whether an event waits for longer than a deployment takes: it was refused several times, or
/// nobody has tried it.
fn is_stuck(delivery: &DeliveryRow, now: Timestamp) -> bool {
    let is_untried = now.since(delivery.updated_at) > WAITS_TOO_LONG;
    delivery.attempts >= MANY_ATTEMPTS || is_untried
}
