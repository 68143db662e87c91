//! `GET` and `HEAD /v1/objects/{key}`

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Method, Uri};
use stockroom_domain::Action;
use stockroom_storage::Disposition;

use crate::app::App;
use crate::flows::deliver::Presentation;
use crate::flows::objects;
use crate::http::auth::Identity;
use crate::http::bytes::respond;
use crate::http::objects::{key_of, metadata_headers, permitted};
use crate::http::problem::{Problem, ProblemBody};

/// Reads an object, with ranges and conditions as in RFC 9110.
#[utoipa::path(method(get, head), path = "/v1/objects/{*key}", tag = "objects",
    params(("key" = String, Path, description = "With its slashes: `models/42/helmet.stl`.")),
    responses(
        (status = 200, description = "All bytes.", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The range that was asked for.", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 304, description = "The caller's copy is current."),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn get(
    State(app): State<App>,
    identity: Identity,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    permitted(&app, &identity, Action::Download)?;
    let row = objects::find(&app, &key_of(&uri, "")?).await?;
    let presentation = Presentation {
        disposition: Disposition::Attachment { filename: None },
        content_type: Some(row.object.content_type.clone()),
    };
    let mut response = respond(&app, (&row).into(), None, &presentation, &method, &headers).await?;
    response
        .headers_mut()
        .extend(metadata_headers(&row.object.metadata));
    Ok(response)
}
