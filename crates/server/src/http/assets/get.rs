//! `GET /v1/assets/{id}`

use axum::Json;
use axum::extract::State;
use stockroom_domain::{Action, AssetId};

use crate::app::App;
use crate::http::assets::permitted;
use crate::http::auth::Credentials;
use crate::http::extract::Id;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::AssetView;

/// Reads the record of a file.
#[utoipa::path(get, path = "/v1/assets/{id}", tag = "assets", params(("id" = String, Path)),
    responses(
        (status = 200, description = "The asset.", body = AssetView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn get(
    State(app): State<App>,
    credentials: Credentials,
    Id(id): Id<AssetId>,
) -> Result<Json<AssetView>, Problem> {
    let permitted = permitted(&app, &credentials, id, Action::ReadRecord).await?;
    Ok(Json(AssetView::of(
        permitted.details.asset.clone(),
        &permitted.identity,
    )))
}
