//! `PUT /v1/objects/{key}`

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use stockroom_domain::Action;

use crate::app::App;
use crate::flows::objects;
use crate::flows::receive::Intake;
use crate::http::auth::Identity;
use crate::http::body::{announced_bytes, incoming, to_its_end};
use crate::http::digest::expected_sha256;
use crate::http::objects::{content_type_of, key_of, metadata_of, permitted};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::ObjectView;

/// Stores an object. One that is there under the key is replaced atomically.
#[utoipa::path(put, path = "/v1/objects/{*key}", tag = "objects",
    params(
        ("key" = String, Path, description = "With its slashes: `models/42/helmet.stl`."),
        ("Repr-Digest" = Option<String>, Header,
            description = "`sha-256=:BASE64:`; bytes with another digest are refused (RFC 9530)."),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "The object.", body = ObjectView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn put(
    State(app): State<App>,
    identity: Identity,
    request: Request,
) -> Result<Response, Problem> {
    permitted(&app, &identity, Action::Change)?;
    let headers = request.headers();
    let intake = Intake {
        key: key_of(request.uri(), "")?,
        content_type: content_type_of(headers)?.to_owned(),
        metadata: metadata_of(headers)?,
        announced_bytes: announced_bytes(headers),
        expected_sha256: expected_sha256(headers)?,
        checker: None,
    };
    let body = incoming(&app, request.into_body());
    let task_app = app.clone();
    let put = async move { Ok(objects::put(&task_app, intake, body).await?) };
    let row = to_its_end(&app, put).await?;
    Ok((StatusCode::CREATED, axum::Json(ObjectView::from(row))).into_response())
}
