//! `POST /v1/assets/{id}/restore`

use axum::Json;
use axum::extract::State;
use stockroom_domain::{Action, AssetId};

use crate::app::App;
use crate::http::assets::permitted;
use crate::http::auth::Credentials;
use crate::http::extract::Id;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::AssetView;

/// Brings back a deleted file and the older versions that were deleted with it, while the grace
/// period lasts. One that is not deleted is given as it is.
#[utoipa::path(post, path = "/v1/assets/{id}/restore", tag = "assets",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "It is there again.", body = AssetView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn restore(
    State(app): State<App>,
    credentials: Credentials,
    Id(id): Id<AssetId>,
) -> Result<Json<AssetView>, Problem> {
    let permitted = permitted(&app, &credentials, id, Action::Restore).await?;
    let asset = app.catalog.restore_asset(id, app.clock.now()).await?;
    // What a store owed before the deletion it owes again.
    app.engine_bell.notify_one();
    Ok(Json(AssetView::of(asset, &permitted.identity)))
}
