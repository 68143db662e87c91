//! Endpoints that events cannot be sent to, and for how long.

use std::time::Duration;

use stockroom_catalog::{Catalog, EndpointRow, Page};
use stockroom_domain::{DeliveryState, EndpointState, Timestamp};

use super::finding::Finding;

/// An endpoint that has not taken an event for so long is down for more than a deployment.
const WAITS_TOO_LONG: Duration = Duration::from_secs(3_600);

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
    let since = waiting_since(catalog, endpoint).await?;
    if now.since(since) <= WAITS_TOO_LONG {
        return None;
    }
    Some(Finding::warning(
        "events.waiting",
        format!("The endpoint {id} has not taken an event of {since} yet."),
        format!(
            "See that stockroom serve runs, and what GET /v1/webhook-endpoints/{id}/deliveries\
             ?status=waiting says of the last attempt."
        ),
    ))
}

/// When the oldest event happened that waits for an endpoint.
async fn waiting_since(catalog: &Catalog, endpoint: &EndpointRow) -> Option<Timestamp> {
    let oldest = catalog.oldest_delivery(endpoint.id, DeliveryState::Waiting);
    Some(oldest.await.ok()??.created_at)
}
