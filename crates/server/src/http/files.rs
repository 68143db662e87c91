//! `GET` and `HEAD /files/...`: this server's own signed URLs.

use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, Method, Uri};
use stockroom_storage::SignatureError;

use crate::app::App;
use crate::flows::deliver::Presentation;
use crate::http::bytes::respond;
use crate::http::codes::Code;
use crate::http::problem::{Problem, ProblemBody};

/// Delivers a file to whoever has a signed URL for it. Nothing else is asked for.
#[utoipa::path(method(get, head), path = "/files/{*key}", tag = "files", security(()),
    params(("key" = String, Path, description = "As it was signed.")),
    responses(
        (status = 200, description = "All bytes.", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 206, description = "The range that was asked for.", body = Vec<u8>, content_type = "application/octet-stream"),
        (status = 304, description = "The caller's copy is current."),
        (status = 403, description = "`bad_signature` or `signature_expired`", body = ProblemBody),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn get(
    State(app): State<App>,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let raw_path = uri
        .path()
        .strip_prefix("/files/")
        .ok_or_else(Problem::not_found)?;
    let raw_query = uri.query().unwrap_or_default();
    let verified = app
        .signer
        .verify(method.as_str(), raw_path, raw_query, app.clock.now())
        .map_err(refused)?;
    // The signature names where the bytes lie, so that a link never leads to other bytes than
    // those it was made for.
    let row = app
        .catalog
        .find_object_by_location(&verified.key)
        .await?
        .ok_or_else(Problem::not_found)?;
    let presentation = Presentation {
        disposition: verified.disposition,
        content_type: verified
            .content_type
            .or_else(|| Some(row.object.content_type.clone())),
    };
    respond(&app, (&row).into(), &presentation, &method, &headers).await
}

fn refused(error: SignatureError) -> Problem {
    match error {
        SignatureError::Bad => Problem::new(
            Code::BadSignature,
            "This link was not made here, or it was changed. Ask for a new one.",
        ),
        SignatureError::Expired => Problem::new(
            Code::SignatureExpired,
            "This link has expired. Ask for a new one.",
        ),
    }
}
