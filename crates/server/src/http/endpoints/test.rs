//! `POST /v1/webhook-endpoints/{id}/test`

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use stockroom_domain::{EndpointId, EventId};
use utoipa::ToSchema;

use crate::app::App;
use crate::http::auth::Identity;
use crate::http::extract::Id;
use crate::http::problem::{Problem, ProblemBody};

/// An event that is on its way.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TestEvent)]
pub struct TestView {
    /// `evt_...`; `GET .../deliveries` tells what became of it.
    #[schema(value_type = String)]
    event: EventId,
}

/// Sends `endpoint.test`, an event that tells nothing, to see that the endpoint takes events. While
/// the endpoint is disabled, it waits.
#[utoipa::path(post, path = "/v1/webhook-endpoints/{id}/test", tag = "webhooks", params(("id" = String, Path)),
    responses(
        (status = 202, description = "It is on its way.", body = TestView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn test(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<EndpointId>,
) -> Result<(StatusCode, Json<TestView>), Problem> {
    identity.require_operator()?;
    let event = app.catalog.test_endpoint(id, app.clock.now()).await?;
    Ok((StatusCode::ACCEPTED, Json(TestView { event })))
}
