//! `DELETE /v1/assets/{id}`

use axum::extract::State;
use http::StatusCode;
use stockroom_domain::{Action, AssetId};

use crate::app::App;
use crate::http::assets::permitted;
use crate::http::auth::Credentials;
use crate::http::extract::Id;
use crate::http::problem::{Problem, ProblemBody};

/// Deletes a file: this version and the older ones of the same name, at once for everybody who
/// reads, the bytes after the grace period.
#[utoipa::path(delete, path = "/v1/assets/{id}", tag = "assets", params(("id" = String, Path)),
    responses(
        (status = 204, description = "It is gone."),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn delete(
    State(app): State<App>,
    credentials: Credentials,
    Id(id): Id<AssetId>,
) -> Result<StatusCode, Problem> {
    permitted(&app, &credentials, id, Action::Change).await?;
    let now = app.clock.now();
    app.catalog
        .retire_asset(id, now, now.after(app.limits.delete_grace))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
