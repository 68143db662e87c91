//! `DELETE /v1/webhook-endpoints/{id}`

use axum::extract::State;
use http::StatusCode;
use stockroom_domain::EndpointId;

use crate::app::App;
use crate::http::auth::Identity;
use crate::http::extract::Id;
use crate::http::problem::{Problem, ProblemBody};

/// Ends an endpoint: nothing is sent any more, and what waits is given up.
#[utoipa::path(delete, path = "/v1/webhook-endpoints/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses(
        (status = 204, description = "It is gone."),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn delete(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<EndpointId>,
) -> Result<StatusCode, Problem> {
    identity.require_operator()?;
    app.catalog.delete_endpoint(id, app.clock.now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
