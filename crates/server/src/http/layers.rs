//! What happens around every handler: a request id, counters, one line of log, the body of a
//! problem, and the headers that every response carries.

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, StatusCode, Version};
use tokio::time::Instant;

use crate::app::App;
use crate::config::CorsOrigins;
use crate::http::address;
use crate::http::audit::Watch;
use crate::http::codes::Code;
use crate::http::cors;
use crate::http::message;
use crate::http::pace;
use crate::http::problem::Problem;
use crate::http::untaken;
use crate::secret_key;
use crate::telemetry::metrics::Metrics;

/// The header that names a request, in both directions.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Who may embed the response (<https://fetch.spec.whatwg.org/#cross-origin-resource-policy-header>).
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName =
    HeaderName::from_static("cross-origin-resource-policy");

/// For how long a browser shall speak to this host by https alone (RFC 6797), in seconds. Other
/// hosts of the domain are not ours to speak for.
const A_YEAR: &str = "max-age=31536000";

/// The outermost layer.
pub async fn around(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let request_id = request_id(&app, request.headers());
    request.headers_mut().remove(&REQUEST_ID);
    address::note(&mut request, &app.callers.trusted_proxies);
    let (method, version) = (known_method(request.method()), request.version());
    // The pattern of the path: a path itself can hold what belongs in no log.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched".to_owned(), |path| path.as_str().to_owned());
    let in_flight = InFlight::begin(&app);
    let watch = Watch::begin(&app, &mut request, &route, &request_id);
    let request = pace::paced(request, app.limits.idle_timeout);
    let response = match message::check(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    if let Some(watch) = watch {
        watch.end(&response).await;
    }
    drop(in_flight);
    let elapsed = started.elapsed();
    let problem = response.extensions().get::<Problem>().cloned();
    let status = response.status();
    app.metrics.request(&route, method, status, elapsed);
    log(
        &request_id,
        method,
        &route,
        status,
        elapsed.as_millis(),
        problem.as_ref(),
    );
    let mut response = finished(response, problem, &request_id);
    add_headers(&app, response.headers_mut(), &request_id);
    match version {
        Version::HTTP_2 => untaken::watched(response, app.limits.idle_timeout),
        _ => response,
    }
}

/// A request that is being answered, until it is dropped, be it because the caller went away.
struct InFlight<'a>(&'a Metrics);

impl<'a> InFlight<'a> {
    fn begin(app: &'a App) -> Self {
        app.metrics.requests_in_flight.inc();
        Self(&app.metrics)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.requests_in_flight.dec();
    }
}

/// The name of a method. A caller can make up any number of them, and each one that is counted by
/// its name stays in memory.
fn known_method(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE",
    ];
    let known = KNOWN.into_iter().find(|known| *known == method.as_str());
    known.unwrap_or("OTHER")
}

/// The caller's own id when it is harmless, else a new one.
fn request_id(app: &App, headers: &HeaderMap) -> String {
    let given = headers
        .get(&REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    match given {
        Some(id) if is_plain(id) => id.to_owned(),
        _ => format!("req_{}", hex::encode(app.entropy.bytes::<12>())),
    }
}

fn is_plain(id: &str) -> bool {
    (8..=64).contains(&id.len())
        // A key has the form of an id, and this one would be logged.
        && secret_key::without_keys(id) == id
        && id
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

fn log(
    request_id: &str,
    method: &str,
    route: &str,
    status: StatusCode,
    elapsed_ms: u128,
    problem: Option<&Problem>,
) {
    let status = status.as_u16();
    match problem {
        Some(problem) if status >= 500 => {
            let cause = problem.cause_chain().unwrap_or_default();
            let code = problem.code().as_str();
            tracing::error!(
                request_id,
                method,
                route,
                status,
                elapsed_ms,
                code,
                cause,
                "request failed"
            );
        }
        Some(problem) => {
            let cause = problem.cause_chain();
            let code = problem.code().as_str();
            tracing::debug!(
                request_id,
                method,
                route,
                status,
                elapsed_ms,
                code,
                cause,
                "request refused"
            );
        }
        None => tracing::debug!(
            request_id,
            method,
            route,
            status,
            elapsed_ms,
            "request answered"
        ),
    }
}

/// The response with its body: a problem's own, or one for an error that came from the router.
fn finished(response: Response, problem: Option<Problem>, request_id: &str) -> Response {
    let problem = match (problem, response.status()) {
        (Some(problem), _) => problem,
        (None, StatusCode::METHOD_NOT_ALLOWED) => {
            let mut problem = Problem::new(
                Code::MethodNotAllowed,
                "This path does not take this method; the header Allow names those it takes.",
            );
            if let Some(allow) = response.headers().get(header::ALLOW) {
                problem = problem.with_header(header::ALLOW, allow.clone());
            }
            problem
        }
        _ => return response,
    };
    let mut finished = problem.into_body(request_id);
    cors::carry_over(response.headers(), finished.headers_mut());
    finished
}

fn add_headers(app: &App, headers: &mut HeaderMap, request_id: &str) {
    // Where pages of other origins may call, they may show what they get.
    let embeddable = match app.callers.cors_origins {
        CorsOrigins::None => "same-origin",
        CorsOrigins::Any | CorsOrigins::List(_) => "cross-origin",
    };
    if let Ok(value) = HeaderValue::try_from(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    let fixed = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (CROSS_ORIGIN_RESOURCE_POLICY, embeddable),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if app.public_url.starts_with("https://") {
        headers.insert(
            header::STRICT_TRANSPORT_SECURITY,
            HeaderValue::from_static(A_YEAR),
        );
    }
    // Whatever a file holds, a browser that shows it runs nothing of it.
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_harmless_request_id_is_taken_over() {
        assert!(is_plain("0f8fad5b-d9cb-469f-a165-70867728950e"));
        for id in [
            "short",
            "a b c d e f",
            "<script>alert(1)</script>",
            "sr_live_0123456789abcdef",
            &"a".repeat(65),
        ] {
            assert!(!is_plain(id), "{id}");
        }
    }
}
