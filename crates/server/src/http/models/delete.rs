//! `DELETE /v1/models/{id}`

use axum::extract::State;
use http::StatusCode;
use stockroom_domain::{Action, ModelId};

use crate::app::App;
use crate::http::auth::Identity;
use crate::http::extract::Id;
use crate::http::models::permitted;
use crate::http::problem::{Problem, ProblemBody};

/// Deletes a listing with its files: at once for everybody who reads, the bytes after the grace
/// period.
#[utoipa::path(delete, path = "/v1/models/{id}", tag = "models", params(("id" = String, Path)),
    responses(
        (status = 204, description = "It is gone."),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn delete(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<ModelId>,
) -> Result<StatusCode, Problem> {
    permitted(&app, &identity, id, Action::Change).await?;
    let now = app.clock.now();
    app.catalog
        .retire_model(id, now, now.after(app.limits.delete_grace))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
