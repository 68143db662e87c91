//! `POST /v1/migrations/{id}/retire`

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

/// How copies are freed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GraceBody {
    /// How long the bytes stay after readers have left them alone, such as `1h`; as before when left
    /// out, `7d` at first.
    pub(super) grace: Option<String>,
}

/// Frees the source: copies whose object has one on the target that was read back in this migration.
#[utoipa::path(post, path = "/v1/migrations/{id}/retire", tag = "migrations",
    request_body = Option<GraceBody>, params(("id" = String, Path)),
    responses(
        (status = 200, description = "The migration.", body = MigrationView),
        (status = 409, description = "`migration_conflict`", body = ProblemBody),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn retire(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<MigrationId>,
    body: Result<JsonOrNothing<GraceBody>, Problem>,
) -> Result<Json<MigrationView>, Problem> {
    identity.require_operator()?;
    let JsonOrNothing(body) = body?;
    let grace = body.grace.as_deref().map(parse_grace).transpose()?;
    let source = current(&app, id).await?.source;
    Ok(Json(flow::retire(&app, &source, grace).await?.into()))
}
