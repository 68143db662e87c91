//! `GET /v1/purchases/{id}`

use axum::Json;
use axum::extract::State;
use stockroom_domain::PurchaseId;

use super::visible;
use crate::app::App;
use crate::flows::ledger;
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
    // Without it the counts are a moment old, which is no reason to refuse.
    let _ = ledger::flush(&app).await;
    let row = visible(&app, &identity, id).await?;
    Ok(Json(PurchaseView::of(row, app.clock.now())))
}
