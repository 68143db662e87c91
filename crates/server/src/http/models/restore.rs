//! `POST /v1/models/{id}/restore`

use axum::Json;
use axum::extract::State;
use stockroom_domain::{Action, ModelId};

use crate::app::App;
use crate::http::auth::Identity;
use crate::http::extract::Id;
use crate::http::models::gate;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::ModelView;

/// Brings back a deleted listing and the files that were deleted with it, while the grace period
/// lasts. One that is not deleted is given as it is.
#[utoipa::path(post, path = "/v1/models/{id}/restore", tag = "models",
    params(("id" = String, Path)),
    responses(
        (status = 200, description = "It is there again.", body = ModelView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn restore(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<ModelId>,
) -> Result<Json<ModelView>, Problem> {
    let now = app.clock.now();
    let found = app.catalog.find_model_deleted_or_not(id).await?;
    let model = found.ok_or_else(Problem::not_found)?;
    gate(&identity, &model, None, Action::Restore, now)?;
    let model = app.catalog.restore_model(id, now).await?;
    // What stores owed before the deletion they owe again.
    app.engine_bell.notify_one();
    Ok(Json(model.into()))
}
