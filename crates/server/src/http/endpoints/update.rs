//! `PATCH /v1/webhook-endpoints/{id}`

use axum::extract::State;
use serde::Deserialize;
use stockroom_catalog::EndpointPatch;
use stockroom_domain::EndpointId;
use utoipa::ToSchema;

use super::{EndpointView, parse_events, parse_url};
use crate::app::App;
use crate::http::auth::Identity;
use crate::http::extract::{Id, Json, given};
use crate::http::fields;
use crate::http::problem::{Problem, ProblemBody};

/// What changes. What is left out stays; `null` clears what can be empty.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndpointPatchBody {
    /// Where events are to be sent.
    url: Option<String>,
    /// Which kinds of events; `["*"]` for all.
    events: Option<Vec<String>>,
    /// What it is, for people.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    description: Option<Option<String>>,
    /// `enabled` or `disabled`. While it is disabled, what waits goes on waiting and nothing is added.
    status: Option<Status>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    Enabled,
    Disabled,
}

/// Changes an endpoint, or enables it again.
#[utoipa::path(patch, path = "/v1/webhook-endpoints/{id}", tag = "webhooks",
    request_body = EndpointPatchBody, params(("id" = String, Path)),
    responses(
        (status = 200, description = "The endpoint as it is now.", body = EndpointView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn update(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<EndpointId>,
    body: Result<Json<EndpointPatchBody>, Problem>,
) -> Result<axum::Json<EndpointView>, Problem> {
    identity.require_operator()?;
    let Json(body) = body?;
    let url = |text: &str| parse_url(text, app.event_sender.targets());
    let description = |text: Option<String>| {
        let text = text.as_deref();
        text.map(fields::endpoint_description).transpose()
    };
    let patch = EndpointPatch {
        url: body.url.as_deref().map(url).transpose()?,
        description: body.description.map(description).transpose()?,
        events: body.events.as_deref().map(parse_events).transpose()?,
        is_enabled: body.status.map(|status| status == Status::Enabled),
    };
    let now = app.clock.now();
    let row = app.catalog.update_endpoint(id, &patch, now).await?;
    Ok(axum::Json(EndpointView::of(row, now)))
}
