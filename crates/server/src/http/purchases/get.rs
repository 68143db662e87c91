//! `GET /v1/purchases/{id}`

use axum::Json;
use axum::extract::State;
use stockroom_domain::PurchaseId;

use crate::app::App;
use crate::flows::entitle;
use crate::http::auth::Identity;
use crate::http::extract::Id;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::PurchaseView;

/// Reads a purchase: any for the shop, an own one for a user.
#[utoipa::path(get, path = "/v1/purchases/{id}", tag = "purchases", params(("id" = String, Path)),
    responses(
        (status = 200, description = "The purchase.", body = PurchaseView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn get(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<PurchaseId>,
) -> Result<Json<PurchaseView>, Problem> {
    if identity.role.is_none() {
        return Err(Problem::unauthenticated());
    }
    entitle::flush(&app).await;
    let row = app
        .catalog
        .find_purchase(id)
        .await?
        .ok_or_else(Problem::not_found)?;
    let is_own = identity.caller.subject() == Some(&row.buyer);
    if !is_own && !identity.caller.runs_the_shop() {
        return Err(Problem::not_found());
    }
    Ok(Json(PurchaseView::of(row, app.clock.now())))
}
