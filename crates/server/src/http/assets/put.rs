//! `PUT /v1/models/{id}/assets/{filename}`

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use stockroom_domain::{Action, ModelId};

use crate::app::App;
use crate::flows::publish::{NewFile, record_assets};
use crate::flows::receive::receive;
use crate::http::assets::form::parse_filename;
use crate::http::auth::Identity;
use crate::http::body::{announced_bytes, incoming, to_its_end};
use crate::http::digest::expected_sha256;
use crate::http::models::permitted;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::AssetView;

/// Adds one file to a model. The same name again makes the next version.
#[utoipa::path(put, path = "/v1/models/{id}/assets/{filename}", tag = "assets",
    params(
        ("id" = String, Path),
        ("filename" = String, Path),
        ("Repr-Digest" = Option<String>, Header,
            description = "`sha-256=:BASE64:`; bytes with another digest are refused (RFC 9530)."),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream"),
    responses(
        (status = 201, description = "The new asset.", body = AssetView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn put(
    State(app): State<App>,
    identity: Identity,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Path((id, filename)) = path.map_err(|_| not_utf8(&identity))?;
    let id: ModelId = id.parse().map_err(|_| Problem::not_found())?;
    let model = permitted(&app, &identity, id, Action::Change).await?;
    let file = NewFile::new(&app, parse_filename(&filename)?);
    let mut intake = file.intake(&model)?;
    intake.expected_sha256 = expected_sha256(request.headers())?;
    intake.announced_bytes = announced_bytes(request.headers());
    intake.checker = intake
        .checker
        .map(|checker| checker.expected_size_bytes(intake.announced_bytes));
    let body = incoming(&app, request.into_body());
    let task_app = app.clone();
    let rows = to_its_end(&app, async move {
        let received = receive(&task_app, intake, body).await?;
        Ok(record_assets(&task_app, id, vec![(file, received)]).await?)
    });
    let row = rows
        .await?
        .into_iter()
        .next()
        .ok_or_else(Problem::not_found)?;
    Ok((
        StatusCode::CREATED,
        axum::Json(AssetView::of(row, &identity)),
    )
        .into_response())
}

/// What to answer when the path is not UTF-8. Who is not let in is not told what is wrong with it.
fn not_utf8(identity: &Identity) -> Problem {
    match identity.role {
        None => Problem::unauthenticated(),
        Some(_) => Problem::invalid("The file name cannot be kept: it is not UTF-8."),
    }
}
