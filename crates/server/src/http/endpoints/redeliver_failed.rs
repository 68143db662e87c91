//! `POST /v1/webhook-endpoints/{id}/redeliver`

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use stockroom_domain::{EndpointId, Timestamp};
use utoipa::ToSchema;

use crate::app::App;
use crate::flows::events::KEPT_FOR;
use crate::http::auth::Identity;
use crate::http::extract::{Id, JsonOrNothing};
use crate::http::problem::{Problem, ProblemBody};

/// Which events are sent once more.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SinceBody {
    /// Those since this moment, RFC 3339; all that are remembered when left out.
    #[schema(value_type = Option<String>)]
    since: Option<Timestamp>,
}

/// How much is sent once more.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Redelivered)]
pub struct RedeliveredView {
    /// How many events wait now that had been given up.
    events: u64,
}

/// Sends once more what was given up: after an endpoint was away for days, or was disabled.
#[utoipa::path(post, path = "/v1/webhook-endpoints/{id}/redeliver", tag = "webhooks",
    request_body = Option<SinceBody>, params(("id" = String, Path)),
    responses(
        (status = 200, description = "How many events.", body = RedeliveredView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn redeliver_failed(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<EndpointId>,
    body: Result<JsonOrNothing<SinceBody>, Problem>,
) -> Result<Json<RedeliveredView>, Problem> {
    identity.require_operator()?;
    let JsonOrNothing(body) = body?;
    if app.catalog.find_endpoint(id).await?.is_none() {
        return Err(Problem::not_found());
    }
    let now = app.clock.now();
    let since = body.since.unwrap_or_else(|| now.before(KEPT_FOR));
    let events = app.catalog.redeliver_failed(id, since, now).await?;
    Ok(Json(RedeliveredView { events }))
}
