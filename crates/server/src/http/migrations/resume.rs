//! `POST /v1/migrations/{id}/resume`

use axum::Json;
use axum::extract::State;
use stockroom_domain::MigrationId;

use super::{MigrationView, current};
use crate::app::App;
use crate::flows::migrate as flow;
use crate::http::auth::Identity;
use crate::http::extract::Id;
use crate::http::problem::{Problem, ProblemBody};

/// Goes on after a pause.
#[utoipa::path(post, path = "/v1/migrations/{id}/resume", tag = "migrations", params(("id" = String, Path)),
    responses(
        (status = 200, description = "The migration.", body = MigrationView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn resume(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<MigrationId>,
) -> Result<Json<MigrationView>, Problem> {
    identity.require_operator()?;
    current(&app, id).await?;
    Ok(Json(flow::resume(&app).await?.into()))
}
