//! `GET /v1/webhook-endpoints`

use axum::Json;
use axum::extract::State;

use super::EndpointView;
use crate::app::App;
use crate::http::auth::Identity;
use crate::http::extract::Query;
use crate::http::page::{List, PageQuery};
use crate::http::problem::{Problem, ProblemBody};

/// Lists all endpoints, newest first.
#[utoipa::path(get, path = "/v1/webhook-endpoints", tag = "webhooks", params(PageQuery),
    responses(
        (status = 200, description = "A page of endpoints.", body = List<EndpointView>),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn list(
    State(app): State<App>,
    identity: Identity,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<EndpointView>>, Problem> {
    identity.require_operator()?;
    let endpoints = app.catalog.list_endpoints(&page.page()?).await?;
    let now = app.clock.now();
    Ok(Json(List::of(endpoints, |row| EndpointView::of(row, now))))
}
