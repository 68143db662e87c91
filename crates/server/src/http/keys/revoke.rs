//! `POST /v1/keys/{id}/revoke`

use axum::Json;
use axum::extract::State;
use stockroom_domain::KeyId;

use crate::app::App;
use crate::http::auth::Identity;
use crate::http::extract::Id;
use crate::http::keys::KeyView;
use crate::http::problem::{Problem, ProblemBody};

/// Ends a key for good, from the next request on. A key may revoke itself. A second revocation
/// changes nothing.
#[utoipa::path(post, path = "/v1/keys/{id}/revoke", tag = "keys", params(("id" = String, Path)),
    responses(
        (status = 200, description = "The key, revoked.", body = KeyView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn revoke(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<KeyId>,
) -> Result<Json<KeyView>, Problem> {
    identity.require_operator()?;
    app.catalog.revoke_key(id, app.clock.now()).await?;
    let row = app.catalog.find_key_by_id(id).await?;
    row.map(|row| Json(row.into()))
        .ok_or_else(Problem::not_found)
}
