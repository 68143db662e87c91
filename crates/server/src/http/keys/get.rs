//! `GET /v1/keys/{id}`

use axum::Json;
use axum::extract::State;
use stockroom_domain::KeyId;

use crate::app::App;
use crate::http::auth::Identity;
use crate::http::extract::Id;
use crate::http::keys::KeyView;
use crate::http::problem::{Problem, ProblemBody};

/// Reads a key, without its secret form.
#[utoipa::path(get, path = "/v1/keys/{id}", tag = "keys", params(("id" = String, Path)),
    responses(
        (status = 200, description = "The key.", body = KeyView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn get(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<KeyId>,
) -> Result<Json<KeyView>, Problem> {
    identity.require_operator()?;
    let row = app.catalog.find_key_by_id(id).await?;
    row.map(|row| Json(row.into()))
        .ok_or_else(Problem::not_found)
}
