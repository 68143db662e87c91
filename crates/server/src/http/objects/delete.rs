//! `DELETE /v1/objects/{key}`

use axum::extract::State;
use http::{StatusCode, Uri};
use stockroom_domain::Action;

use crate::app::App;
use crate::flows::objects;
use crate::http::auth::Identity;
use crate::http::objects::{key_of, permitted};
use crate::http::problem::{Problem, ProblemBody};

/// Deletes an object: at once for readers, its bytes after the grace period.
#[utoipa::path(delete, path = "/v1/objects/{*key}", tag = "objects",
    params(("key" = String, Path, description = "With its slashes: `models/42/helmet.stl`.")),
    responses(
        (status = 204, description = "It is gone."),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn delete(
    State(app): State<App>,
    identity: Identity,
    uri: Uri,
) -> Result<StatusCode, Problem> {
    permitted(&app, &identity, Action::Change)?;
    objects::retire(&app, &key_of(&uri, "")?).await?;
    Ok(StatusCode::NO_CONTENT)
}
