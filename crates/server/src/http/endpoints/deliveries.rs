//! `GET /v1/webhook-endpoints/{id}/deliveries`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use stockroom_domain::EndpointId;
use utoipa::IntoParams;

use super::DeliveryView;
use crate::app::App;
use crate::http::auth::Identity;
use crate::http::extract::{Id, Query};
use crate::http::page::{List, PageQuery};
use crate::http::problem::{Problem, ProblemBody};

/// Which deliveries are wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct DeliveriesQuery {
    /// Only `waiting`, `delivered` or `failed` ones.
    status: Option<String>,
}

/// Lists what was sent to an endpoint and what waits, newest first. What is older than 30 days and
/// does not wait is forgotten.
#[utoipa::path(get, path = "/v1/webhook-endpoints/{id}/deliveries", tag = "webhooks",
    params(("id" = String, Path), DeliveriesQuery, PageQuery),
    responses(
        (status = 200, description = "A page of deliveries.", body = List<DeliveryView>),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn deliveries(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<EndpointId>,
    Query(query): Query<DeliveriesQuery>,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<DeliveryView>>, Problem> {
    identity.require_operator()?;
    let state = query.status.as_deref().map(str::parse).transpose();
    let state = state.map_err(|_| Problem::invalid("status is waiting, delivered or failed."))?;
    let page = page.page()?;
    if app.catalog.find_endpoint(id).await?.is_none() {
        return Err(Problem::not_found());
    }
    let deliveries = app.catalog.list_deliveries(id, state, &page).await?;
    Ok(Json(List::of(deliveries, DeliveryView::from)))
}
