//! `POST /v1/migrations`

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use stockroom_catalog::{MigrationLimits, Sample};
use stockroom_domain::{KeyPrefix, StoreName};
use utoipa::ToSchema;

use super::{MigrationView, parse_grace};
use crate::app::App;
use crate::flows::migrate::hours::Hours;
use crate::flows::migrate::{self as flow, DEFAULT_GRACE, Request};
use crate::http::audit::Target;
use crate::http::auth::Identity;
use crate::http::extract::Json;
use crate::http::problem::{Problem, ProblemBody};

/// What is to be moved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BeginBody {
    /// Where to: `s3`, `local`, or the `S3_STORE_NAME` of a bucket.
    to: String,
    /// Where from; needed where there are several stores to move from.
    from: Option<String>,
    /// Only objects whose keys begin like this; all when left out.
    prefix: Option<String>,
    /// How many bytes each program that works on it may move in a second; any number when left out.
    #[schema(minimum = 1)]
    max_bytes_per_second: Option<u64>,
    /// The hours of the day in UTC in which it works, such as `22-06`; all day when left out.
    hours: Option<String>,
    /// How long the bytes of freed copies stay, such as `1h`; `7d` when left out.
    grace: Option<String>,
    /// Begins another migration, which reads also those copies again that one before has read.
    #[serde(default)]
    fresh: bool,
}

/// Begins a migration, or goes on with it: the same target and prefix again is the same migration,
/// until it is turned around. The servers do the work, and so does `stockroom migrate run`.
#[utoipa::path(post, path = "/v1/migrations", tag = "migrations", request_body = BeginBody,
    responses(
        (status = 202, description = "The migration.", body = MigrationView),
        (status = 409, description = "`migration_conflict`: another one is not finished", body = ProblemBody),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn begin(
    State(app): State<App>,
    identity: Identity,
    body: Result<Json<BeginBody>, Problem>,
) -> Result<Response, Problem> {
    identity.require_operator()?;
    let Json(body) = body?;
    let row = flow::begin(&app, &request(body)?).await?;
    let made = Extension(Target(row.id.to_string()));
    let view = axum::Json(MigrationView::from(row));
    Ok((StatusCode::ACCEPTED, made, view).into_response())
}

fn request(body: BeginBody) -> Result<Request, Problem> {
    let target: StoreName = body
        .to
        .parse()
        .map_err(|_| Problem::invalid("to is the name of a store, such as s3 or local."))?;
    let source = body.from.as_deref().map(str::parse).transpose();
    let source = source.map_err(|_| Problem::invalid("from is the name of a store."))?;
    let prefix: KeyPrefix = body
        .prefix
        .unwrap_or_default()
        .parse()
        .map_err(|error| Problem::invalid(format!("prefix does not begin a key: {error}.")))?;
    if body.max_bytes_per_second == Some(0) {
        return Err(Problem::invalid(
            "max_bytes_per_second is 0, so that nothing would move. Pause the migration instead.",
        ));
    }
    let hours = body.hours.as_deref().map(str::parse::<Hours>).transpose();
    let hours = hours.map_err(|error| Problem::invalid(format!("{error}.")))?;
    let grace = body.grace.as_deref().map(parse_grace).transpose()?;
    let says_limits = body.max_bytes_per_second.is_some() || hours.is_some() || grace.is_some();
    Ok(Request {
        target,
        source,
        prefix,
        limits: says_limits.then(|| MigrationLimits {
            max_bytes_per_second: body.max_bytes_per_second,
            hours: hours.map(|hours| hours.to_string()),
            grace: grace.unwrap_or(DEFAULT_GRACE),
            sample: Sample::ALL,
        }),
        is_fresh: body.fresh,
    })
}
