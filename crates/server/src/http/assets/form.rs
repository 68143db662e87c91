//! `POST /v1/models/{id}/assets`

use axum::extract::multipart::{Field, Multipart, MultipartRejection};
use axum::extract::{FromRequest as _, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use stockroom_catalog::{AssetRow, ModelRow};
use stockroom_domain::{Action, Filename, ModelId};
use utoipa::ToSchema;

use crate::app::App;
use crate::flows::error::FlowError;
use crate::flows::publish::{NewFile, record_assets};
use crate::flows::receive::{Received, discard, receive};
use crate::http::assets::between::{self, Between};
use crate::http::auth::Identity;
use crate::http::body::{counted, to_its_end};
use crate::http::codes::Code;
use crate::http::extract::Id;
use crate::http::models::permitted;
use crate::http::pace;
use crate::http::page::List;
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::AssetView;

/// A form with files.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "describes the form to the OpenAPI document")]
pub struct FilesForm {
    /// A file; the field may be repeated.
    #[schema(value_type = Vec<String>, format = Binary)]
    file: Vec<u8>,
}

/// Adds files to a model, all of them or none: a file that is refused refuses the whole call.
#[utoipa::path(post, path = "/v1/models/{id}/assets", tag = "assets",
    params(("id" = String, Path)),
    request_body(content = FilesForm, content_type = "multipart/form-data"),
    responses(
        (status = 201, description = "The new assets.", body = List<AssetView>),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn upload(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<ModelId>,
    request: Request,
) -> Result<Response, Problem> {
    let model = permitted(&app, &identity, id, Action::Change).await?;
    let (request, between) = between::bounded(request);
    let form = Multipart::from_request(request, &app)
        .await
        .map_err(no_form)?;
    let task_app = app.clone();
    let rows = to_its_end(&app, async move {
        receive_form(&task_app, &model, form, &between).await
    })
    .await?;
    let view = |row| AssetView::of(row, &identity);
    let list = List::whole(rows.into_iter().map(view).collect());
    Ok((StatusCode::CREATED, axum::Json(list)).into_response())
}

async fn receive_form(
    app: &App,
    model: &ModelRow,
    mut form: Multipart,
    between: &Between,
) -> Result<Vec<AssetRow>, Problem> {
    let mut files = Vec::new();
    if let Err(problem) = receive_fields(app, model, &mut form, between, &mut files).await {
        for (_, received) in files {
            discard(app, received).await;
        }
        return Err(problem);
    }
    Ok(record_assets(app, model.id, files).await?)
}

async fn receive_fields(
    app: &App,
    model: &ModelRow,
    form: &mut Multipart,
    between: &Between,
    files: &mut Vec<(NewFile, Received)>,
) -> Result<(), Problem> {
    while let Some(field) = form.next_field().await.map_err(broken_form)? {
        if files.len() == app.limits.max_form_files {
            return Err(Problem::new(
                Code::TooLarge,
                format!("A form holds at most {} files.", app.limits.max_form_files),
            ));
        }
        let file = NewFile::new(app, filename(&field)?);
        let intake = file.intake(model)?;
        between.file_begins();
        let received = receive(app, intake, counted(app, field))
            .await
            .map_err(refused_file)?;
        between.file_ends();
        files.push((file, received));
    }
    if files.is_empty() {
        return Err(Problem::new(
            Code::BadMultipart,
            "The form holds no file. Send each file in a field named file.",
        ));
    }
    Ok(())
}

/// The name of the file in a field.
///
/// # Errors
/// When the field is called anything but `file`, or the file has no name that can be kept.
pub fn filename(field: &Field<'_>) -> Result<Filename, Problem> {
    if field.name() != Some("file") {
        return Err(Problem::new(
            Code::BadMultipart,
            "The form has a field with another name than file. Send each file in a field named file.",
        ));
    }
    let name = field.file_name().ok_or_else(|| {
        Problem::new(
            Code::BadMultipart,
            "A file in the form has no filename, or one that is not UTF-8.",
        )
    })?;
    parse_filename(name)
}

/// Reads a file name as callers send it.
///
/// # Errors
/// 400 with what is wrong with it.
pub fn parse_filename(text: &str) -> Result<Filename, Problem> {
    text.parse()
        .map_err(|error| Problem::invalid(format!("The file name cannot be kept: {error}.")))
}

fn no_form(rejection: MultipartRejection) -> Problem {
    Problem::new(
        Code::BadMultipart,
        "The body is no form. Send multipart/form-data with a boundary.",
    )
    .caused_by(rejection)
}

/// Why a file is refused. One that breaks off is a form that does.
fn refused_file(error: FlowError) -> Problem {
    match error {
        FlowError::Body(_) => broken_form(error),
        other => other.into(),
    }
}

fn broken_form(cause: impl std::error::Error + Send + Sync + 'static) -> Problem {
    let known = pace::too_slow(&cause).or_else(|| between::too_much(&cause));
    known.unwrap_or_else(|| {
        Problem::new(
            Code::BadMultipart,
            "The form breaks off or cannot be read. Nothing was stored; send it again.",
        )
        .caused_by(cause)
    })
}
