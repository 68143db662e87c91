//! `POST /v1/objects/{key}/restore`

use axum::Json;
use axum::extract::State;
use http::Uri;
use stockroom_domain::Action;

use crate::app::App;
use crate::flows::objects;
use crate::http::auth::Identity;
use crate::http::objects::{key_of, permitted};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::ObjectView;

/// What follows the key.
pub const SUFFIX: &str = "/restore";

/// Brings back the object of this key that was deleted last, while the grace period lasts. While
/// the key names an object, that is a conflict.
#[utoipa::path(post, path = "/v1/objects/{key}/restore", tag = "objects",
    params(("key" = String, Path, description = "With its slashes: `models/42/helmet.stl`.")),
    responses(
        (status = 200, description = "It is there again.", body = ObjectView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn restore(
    State(app): State<App>,
    identity: Identity,
    uri: Uri,
) -> Result<Json<ObjectView>, Problem> {
    permitted(&app, &identity, Action::Restore)?;
    let object = objects::restore(&app, &key_of(&uri, SUFFIX)?).await?;
    Ok(Json(object.into()))
}
