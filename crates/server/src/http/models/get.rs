//! `GET /v1/models/{id}`

use axum::Json;
use axum::extract::State;
use stockroom_domain::{Action, ModelId};

use crate::app::App;
use crate::http::auth::Identity;
use crate::http::extract::Id;
use crate::http::models::permitted;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::ModelView;

/// Reads a listing. Published ones are public.
#[utoipa::path(get, path = "/v1/models/{id}", tag = "models", params(("id" = String, Path)),
    responses(
        (status = 200, description = "The listing.", body = ModelView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn get(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<ModelId>,
) -> Result<Json<ModelView>, Problem> {
    let model = permitted(&app, &identity, id, Action::ReadRecord).await?;
    Ok(Json(model.into()))
}
