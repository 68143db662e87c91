//! `GET /v1/webhook-endpoints/{id}`

use axum::Json;
use axum::extract::State;
use stockroom_domain::EndpointId;

use super::EndpointView;
use crate::app::App;
use crate::http::auth::Identity;
use crate::http::extract::Id;
use crate::http::problem::{Problem, ProblemBody};

/// Reads an endpoint, without its secret.
#[utoipa::path(get, path = "/v1/webhook-endpoints/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses(
        (status = 200, description = "The endpoint.", body = EndpointView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn get(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<EndpointId>,
) -> Result<Json<EndpointView>, Problem> {
    identity.require_operator()?;
    let row = app.catalog.find_endpoint(id).await?;
    row.map(|row| Json(EndpointView::of(row, app.clock.now())))
        .ok_or_else(Problem::not_found)
}
