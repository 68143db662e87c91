//! `GET /livez`, `GET /readyz` and `GET /metrics`.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;

use crate::app::App;
use crate::flows::overview;
use crate::http::codes::Code;
use crate::http::problem::Problem;
use crate::telemetry;

/// The process runs.
#[utoipa::path(get, path = "/livez", tag = "service", security(()),
    responses((status = 200, description = "The process runs.", body = String)))]
pub async fn livez() -> &'static str {
    "ok\n"
}

/// The process can do its work: the database answers and no shutdown has begun.
#[utoipa::path(get, path = "/readyz", tag = "service", security(()),
    responses(
        (status = 200, description = "Requests can be served.", body = String),
        (status = 503, description = "Send requests elsewhere.", body = crate::http::problem::ProblemBody),
    ))]
pub async fn readyz(State(app): State<App>) -> Result<&'static str, Problem> {
    if app.shutdown.is_cancelled() {
        return Err(Problem::new(
            Code::StorageUnavailable,
            "The server is shutting down.",
        ));
    }
    app.catalog.ping().await?;
    Ok("ready\n")
}

/// Counters, and gauges of the stores and of a migration, as OpenMetrics text. While the database
/// does not answer, what is recorded of the stores is left out.
#[utoipa::path(get, path = "/metrics", tag = "service", security(()),
    responses((status = 200, description = "OpenMetrics text.", body = String)))]
pub async fn metrics(State(app): State<App>) -> Response {
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let counts = overview::counts_if_soon(&app).await;
    let stores = overview::stores(&app, counts.as_deref()).await;
    let gauges = telemetry::gauges::gauges(&stores, counts.as_deref(), app.clock.now());
    let text = app.metrics.render(&gauges);
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}
