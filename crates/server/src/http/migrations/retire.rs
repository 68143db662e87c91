//! `POST /v1/migrations/{id}/retire`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use stockroom_domain::MigrationId;
use utoipa::ToSchema;

use super::{MigrationView, current, parse_grace, parse_sample};
use crate::app::App;
use crate::flows::migrate as flow;
use crate::http::auth::Identity;
use crate::http::extract::{Id, JsonOrNothing};
use crate::http::problem::{Problem, ProblemBody};

/// How copies are freed.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetireBody {
    /// How long the bytes stay after readers have left them alone, such as `1h`; as before when left
    /// out, `7d` at first.
    grace: Option<String>,
    /// Reads back only so many of a hundred copies on the target, and frees the source of all when these
    /// matched; all of them are read when left out.
    #[schema(minimum = 1, maximum = 100)]
    sample_percent: Option<u8>,
}

/// Reads back the copies on the target, and frees the source of those whose object has one that matched.
#[utoipa::path(post, path = "/v1/migrations/{id}/retire", tag = "migrations",
    request_body = Option<RetireBody>, params(("id" = String, Path)),
    responses(
        (status = 200, description = "The migration.", body = MigrationView),
        (status = 409, description = "`migration_conflict`", body = ProblemBody),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn retire(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<MigrationId>,
    body: Result<JsonOrNothing<RetireBody>, Problem>,
) -> Result<Json<MigrationView>, Problem> {
    identity.require_operator()?;
    let JsonOrNothing(body) = body?;
    let grace = body.grace.as_deref().map(parse_grace).transpose()?;
    let sample = body.sample_percent.map(parse_sample).transpose()?;
    let source = current(&app, id).await?.source;
    let retired = flow::retire(&app, &source, grace, sample.unwrap_or_default()).await?;
    Ok(Json(retired.into()))
}
