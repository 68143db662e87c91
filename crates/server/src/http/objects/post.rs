//! `POST /v1/objects/{key}/...`: what is behind a key of several segments, the router cannot tell.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::Uri;

use crate::app::App;
use crate::http::assets::sign::SignBody;
use crate::http::auth::Identity;
use crate::http::extract::JsonOrNothing;
use crate::http::objects::{restore, sign};
use crate::http::problem::Problem;

/// Passes the call on to the endpoint that the end of its path names.
pub async fn post(
    state: State<App>,
    identity: Identity,
    uri: Uri,
    body: Result<JsonOrNothing<SignBody>, Problem>,
) -> Result<Response, Problem> {
    if uri.path().ends_with(restore::SUFFIX) {
        return Ok(restore::restore(state, identity, uri)
            .await?
            .into_response());
    }
    Ok(sign::sign(state, identity, uri, body)
        .await?
        .into_response())
}
