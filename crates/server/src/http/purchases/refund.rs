//! `POST /v1/purchases/{id}/refund`

use axum::Json;
use axum::extract::State;
use stockroom_domain::PurchaseId;

use crate::app::App;
use crate::http::auth::Identity;
use crate::http::extract::Id;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::purchases::SHOP;
use crate::http::views::PurchaseView;

/// Takes access back, at once. A second refund of the same purchase changes nothing.
#[utoipa::path(post, path = "/v1/purchases/{id}/refund", tag = "purchases",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "The purchase, refunded.", body = PurchaseView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn refund(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<PurchaseId>,
) -> Result<Json<PurchaseView>, Problem> {
    identity.require(&SHOP)?;
    let now = app.clock.now();
    let row = app.catalog.refund_purchase(id, now).await?;
    Ok(Json(PurchaseView::of(row, now)))
}
