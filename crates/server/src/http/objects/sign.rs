//! `POST /v1/objects/{key}/signed-url`

use axum::extract::State;
use http::Uri;
use stockroom_domain::Action;

use crate::app::App;
use crate::flows::deliver::{self, LinkTo, Presentation};
use crate::flows::objects;
use crate::http::assets::sign::SignBody;
use crate::http::auth::Identity;
use crate::http::bytes::{parse_disposition, parse_expires_in};
use crate::http::extract::JsonOrNothing;
use crate::http::objects::{key_of, permitted};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::SignedUrlView;

/// Makes a URL with which anybody can read the object until it ends.
#[utoipa::path(post, path = "/v1/objects/{key}/signed-url", tag = "objects",
    params(("key" = String, Path, description = "With its slashes: `models/42/helmet.stl`.")),
    request_body = SignBody,
    responses(
        (status = 200, description = "The URL.", body = SignedUrlView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn sign(
    State(app): State<App>,
    identity: Identity,
    uri: Uri,
    body: Result<JsonOrNothing<SignBody>, Problem>,
) -> Result<axum::Json<SignedUrlView>, Problem> {
    permitted(&app, &identity, Action::SignUrl)?;
    let JsonOrNothing(body) = body?;
    let row = objects::find(&app, &key_of(&uri, "/signed-url")?).await?;
    let presentation = Presentation {
        disposition: parse_disposition(body.disposition.as_deref(), None)?,
        content_type: Some(row.object.content_type.clone()),
    };
    let expires_in = parse_expires_in(body.expires_in)?;
    let link = deliver::sign(&app, &row.object, presentation, LinkTo::Object, expires_in).await?;
    Ok(axum::Json(link.signed.into()))
}
