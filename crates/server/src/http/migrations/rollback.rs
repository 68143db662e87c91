//! `POST /v1/migrations/{id}/rollback`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use stockroom_domain::MigrationId;
use utoipa::ToSchema;

use super::{MigrationView, current, parse_grace};
use crate::app::App;
use crate::flows::migrate as flow;
use crate::http::auth::Identity;
use crate::http::extract::{Id, JsonOrNothing};
use crate::http::problem::{Problem, ProblemBody};

/// How a migration is undone.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackBody {
    /// How long the bytes that the migration made stay on the target, such as `1h`; as before when
    /// left out, `7d` at first.
    grace: Option<String>,
}

/// Goes back to the state before the migration: what it freed is copied back and read, then what it
/// gave is freed.
#[utoipa::path(post, path = "/v1/migrations/{id}/rollback", tag = "migrations",
    request_body = Option<RollbackBody>, params(("id" = String, Path)),
    responses(
        (status = 200, description = "The migration.", body = MigrationView),
        (status = 409, description = "`migration_conflict`", body = ProblemBody),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn rollback(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<MigrationId>,
    body: Result<JsonOrNothing<RollbackBody>, Problem>,
) -> Result<Json<MigrationView>, Problem> {
    identity.require_operator()?;
    let JsonOrNothing(body) = body?;
    let grace = body.grace.as_deref().map(parse_grace).transpose()?;
    current(&app, id).await?;
    Ok(Json(flow::roll_back(&app, grace).await?.into()))
}
