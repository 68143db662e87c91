//! `POST /v1/webhook-endpoints/{id}/deliveries/{event}/redeliver`

use axum::Json;
use axum::extract::State;

use super::{DeliveryPath, DeliveryView};
use crate::app::App;
use crate::http::auth::Identity;
use crate::http::problem::{Problem, ProblemBody};

/// Sends an event once more, whatever came of it, with the same id.
#[utoipa::path(post, path = "/v1/webhook-endpoints/{id}/deliveries/{event}/redeliver", tag = "webhooks",
    params(("id" = String, Path), ("event" = String, Path)),
    responses(
        (status = 200, description = "The delivery, which waits now.", body = DeliveryView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn redeliver(
    State(app): State<App>,
    identity: Identity,
    path: Result<DeliveryPath, Problem>,
) -> Result<Json<DeliveryView>, Problem> {
    identity.require_operator()?;
    let DeliveryPath { endpoint, event } = path?;
    if app.catalog.find_endpoint(endpoint).await?.is_none() {
        return Err(Problem::not_found());
    }
    let row = app
        .catalog
        .redeliver(endpoint, event, app.clock.now())
        .await?;
    Ok(Json(row.into()))
}
