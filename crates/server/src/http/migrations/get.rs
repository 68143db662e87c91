//! `GET /v1/migrations/{id}`

use axum::Json;
use axum::extract::State;
use stockroom_domain::MigrationId;

use super::StatusView;
use crate::app::App;
use crate::flows::migrate::status_of;
use crate::http::auth::Identity;
use crate::http::extract::Id;
use crate::http::problem::{Problem, ProblemBody};

/// Says how far a migration is. This looks at all objects: some seconds for some million, so do not
/// ask more often than that.
#[utoipa::path(get, path = "/v1/migrations/{id}", tag = "migrations", params(("id" = String, Path)),
    responses(
        (status = 200, description = "The migration and how far it is.", body = StatusView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn get(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<MigrationId>,
) -> Result<Json<StatusView>, Problem> {
    identity.require_operator()?;
    let row = app.catalog.find_migration(id).await?;
    let row = row.ok_or_else(Problem::not_found)?;
    Ok(Json(status_of(&app.catalog, row).await?.into()))
}
