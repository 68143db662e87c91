//! `/v1/webhook-endpoints`: where events are sent.

pub mod create;
pub mod delete;
pub mod deliveries;
pub mod get;
pub mod list;
pub mod redeliver;
pub mod redeliver_failed;
pub mod rotate;
pub mod test;
pub mod update;

use std::fmt;

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use serde::Serialize;
use stockroom_catalog::{DeliveryRow, EndpointRow, Subscriptions};
use stockroom_domain::{DeliveryState, EndpointId, EndpointState, EventId, EventKind, Timestamp};
use utoipa::ToSchema;

use crate::app::App;
use crate::flows::events::target::{TargetFault, TargetUrl, Targets};
use crate::http::problem::Problem;

/// What stands for all kinds of events.
const ALL_EVENTS: &str = "*";

/// An endpoint, without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookEndpoint)]
pub struct EndpointView {
    /// `whk_...`
    #[schema(value_type = String)]
    pub id: EndpointId,
    /// Where events are sent.
    pub url: String,
    /// What it is, for people.
    pub description: Option<String>,
    /// Which kinds of events, such as `purchase.refunded`; `*` for all.
    pub events: Vec<&'static str>,
    /// `enabled` or `disabled`.
    #[schema(value_type = String)]
    pub status: EndpointState,
    /// Why it is disabled, where that was not asked for.
    pub disabled_reason: Option<String>,
    /// Until when events are signed with the secret before the present one too.
    #[schema(value_type = Option<String>)]
    pub old_secret_until: Option<Timestamp>,
    /// RFC 3339, UTC.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// RFC 3339, UTC.
    #[schema(value_type = String)]
    pub updated_at: Timestamp,
}

/// An endpoint with its secret, which is shown once.
#[derive(Serialize, ToSchema)]
#[schema(as = WebhookEndpointWithSecret)]
pub struct EndpointWithSecretView {
    /// What events are signed with: `whsec_...`. It cannot be shown again.
    secret: String,
    #[serde(flatten)]
    row: EndpointView,
}

impl EndpointWithSecretView {
    fn of(row: EndpointRow, now: Timestamp) -> Self {
        Self {
            secret: row.secret.0.clone(),
            row: EndpointView::of(row, now),
        }
    }
}

impl fmt::Debug for EndpointWithSecretView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.row, f)
    }
}

/// An event on its way to an endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookDelivery)]
pub struct DeliveryView {
    /// `evt_...`, the same in the header `webhook-id`.
    #[schema(value_type = String)]
    event: EventId,
    /// What happened, such as `purchase.refunded`.
    #[schema(value_type = String)]
    r#type: EventKind,
    /// `waiting`, `delivered` or `failed`.
    #[schema(value_type = String)]
    status: DeliveryState,
    /// How often it was tried since it was last begun.
    attempts: u32,
    /// When it is tried next, while it waits.
    #[schema(value_type = Option<String>)]
    next_attempt_at: Option<Timestamp>,
    /// How the endpoint answered last.
    last_status: Option<u16>,
    /// What went wrong last.
    last_error: Option<String>,
    /// When it happened.
    #[schema(value_type = String)]
    created_at: Timestamp,
    /// When the delivery last changed.
    #[schema(value_type = String)]
    updated_at: Timestamp,
    /// What is sent.
    #[schema(value_type = Object)]
    body: serde_json::Value,
}

impl EndpointView {
    /// The endpoint as it is at the moment `now`.
    fn of(row: EndpointRow, now: Timestamp) -> Self {
        Self {
            id: row.id,
            url: row.url,
            description: row.description,
            events: match &row.events {
                Subscriptions::All => vec![ALL_EVENTS],
                Subscriptions::Only(kinds) => kinds.iter().map(|kind| kind.as_str()).collect(),
            },
            status: row.state,
            disabled_reason: row.disabled_reason,
            old_secret_until: row
                .old_secret
                .map(|(_, until)| until)
                .filter(|it| now < *it),
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl From<DeliveryRow> for DeliveryView {
    fn from(row: DeliveryRow) -> Self {
        let waits = row.state == DeliveryState::Waiting;
        Self {
            event: row.event_id,
            r#type: row.kind,
            status: row.state,
            attempts: row.attempts,
            next_attempt_at: waits.then_some(row.next_attempt_at),
            last_status: row.last_status,
            last_error: row.last_error,
            created_at: row.created_at,
            updated_at: row.updated_at,
            // What is no JSON any more is shown as it is.
            body: serde_json::from_str(&row.body).unwrap_or(serde_json::Value::String(row.body)),
        }
    }
}

/// Reads where events are to be sent.
fn parse_url(text: &str, targets: &Targets) -> Result<String, Problem> {
    let target = TargetUrl::parse(text, targets).map_err(|fault| {
        let fix = match fault {
            TargetFault::Private | TargetFault::Plain => {
                " WEBHOOK_ALLOWED_NETWORKS on the server allows networks of your own."
            }
            _ => "",
        };
        Problem::invalid(format!("url {fault}.{fix}"))
    })?;
    Ok(target.as_str().to_owned())
}

/// Reads which events are wanted.
fn parse_events(texts: &[String]) -> Result<Subscriptions, Problem> {
    if texts.is_empty() {
        return Err(Problem::invalid(
            "events names nothing. Send [\"*\"] for all, or disable the endpoint for none.",
        ));
    }
    if texts.iter().any(|text| text == ALL_EVENTS) {
        return Ok(Subscriptions::All);
    }
    let kind = |text: &String| {
        let is_told_of = |kind: &EventKind| *kind != EventKind::EndpointTest;
        text.parse().ok().filter(is_told_of).ok_or_else(|| {
            let known = EventKind::ALL.iter().filter(|kind| is_told_of(kind));
            let known: Vec<&str> = known.map(|kind| kind.as_str()).collect();
            Problem::invalid(format!(
                "events has an entry that is no kind of event. Send [\"*\"], or some of {}.",
                known.join(", ")
            ))
        })
    };
    texts
        .iter()
        .map(kind)
        .collect::<Result<_, _>>()
        .map(Subscriptions::Only)
}

/// The parameters of a path that names an endpoint and an event.
#[derive(Debug)]
pub struct DeliveryPath {
    endpoint: EndpointId,
    event: EventId,
}

impl FromRequestParts<App> for DeliveryPath {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let path = Path::<(String, String)>::from_request_parts(parts, app).await;
        // What is no id names nothing.
        let Path((endpoint, event)) = path.map_err(|_| Problem::not_found())?;
        Ok(Self {
            endpoint: endpoint.parse().map_err(|_| Problem::not_found())?,
            event: event.parse().map_err(|_| Problem::not_found())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_all_or_known_kinds() {
        let parse = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            parse_events(&texts)
        };
        assert_eq!(parse(&["*"]).unwrap(), Subscriptions::All);
        assert_eq!(parse(&["model.created", "*"]).unwrap(), Subscriptions::All);
        assert_eq!(
            parse(&["model.created", "model.created"]).unwrap(),
            Subscriptions::Only([EventKind::ModelCreated].into())
        );
        for texts in [
            &[][..],
            &[""],
            &["model"],
            &["model.*"],
            &["model.created", "MODEL.CREATED"],
            &["endpoint.test"],
        ] {
            assert!(parse(texts).is_err(), "{texts:?}");
        }
    }
}
