//! `GET /openapi.json`, and `GET /docs`: a page that shows it and loads nothing from outside.

use axum::response::{IntoResponse, Redirect, Response};
use http::header;
use utoipa::OpenApi as _;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi, PathItem};

use crate::http::plain::Plain;

/// What the document says beside the routes.
#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Stockroom",
        description = "The stockroom behind a shop that sells digital files. Times are RFC 3339 in UTC; lists are pages of `{data, next_cursor}`; errors are `application/problem+json` (RFC 9457) with a stable `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "models", description = "Listings of artists."),
        (name = "assets", description = "The files of models."),
        (name = "purchases", description = "What lets buyers download."),
        (name = "webhooks", description = "Who is told what happens, for operators."),
        (name = "keys", description = "Who may call, for operators."),
        (name = "objects", description = "The storage facade, for operators."),
        (name = "migrations", description = "Moving objects from one store to another, for operators."),
        (name = "files", description = "This server's own signed URLs."),
        (name = "service", description = "Health and counters."),
    ),
    security(("key" = [])),
    // Calls below a key of several segments, which is the rest of the path for the router.
    paths(
        crate::http::objects::sign::sign,
        crate::http::objects::restore::restore,
    ),
)]
struct Head;

/// The document without its routes.
#[must_use]
pub fn head() -> OpenApi {
    let mut document = Head::openapi();
    let key = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("`Authorization: Bearer sr_live_...`"))
        .build();
    document
        .components
        .get_or_insert_default()
        .add_security_scheme("key", SecurityScheme::Http(key));
    document
}

/// The document as it is shown: a parameter that takes several segments is written like any
/// other.
#[must_use]
pub fn finished(mut document: OpenApi) -> OpenApi {
    let paths = std::mem::take(&mut document.paths.paths);
    let shown = |(path, item): (String, PathItem)| (path.replace("{*", "{"), item);
    document.paths.paths = paths.into_iter().map(shown).collect();
    document
}

/// The routes of the document and its page.
pub fn routes(document: OpenApi) -> Vec<Plain> {
    // The document is made once; that it cannot be written as JSON is out of reach.
    let json: std::sync::Arc<str> = finished(document)
        .to_pretty_json()
        .unwrap_or_default()
        .into();
    vec![
        Plain::get("/", async || Redirect::temporary("/docs")),
        Plain::get("/openapi.json", async move || {
            text("application/json", json.to_string())
        }),
        Plain::get("/docs", async || page()),
        Plain::get("/docs/page.js", async || {
            text(
                "text/javascript; charset=utf-8",
                include_str!("docs/page.js"),
            )
        }),
        Plain::get("/docs/page.css", async || {
            text("text/css; charset=utf-8", include_str!("docs/page.css"))
        }),
    ]
}

fn page() -> Response {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                  base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    (headers, include_str!("docs/page.html")).into_response()
}

fn text(content_type: &'static str, body: impl IntoResponse) -> Response {
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
}

#[cfg(test)]
mod tests {
    use crate::http::routes::document;

    #[test]
    fn the_document_has_every_call_of_the_contract() {
        let document = serde_json::to_value(document()).unwrap();
        let calls = [
            ("/v1/models", "post"),
            ("/v1/models", "get"),
            ("/v1/models/{id}", "get"),
            ("/v1/models/{id}", "patch"),
            ("/v1/models/{id}", "delete"),
            ("/v1/models/{id}/assets", "post"),
            ("/v1/models/{id}/assets", "get"),
            ("/v1/models/{id}/assets/{filename}", "put"),
            ("/v1/assets/{id}", "get"),
            ("/v1/assets/{id}", "delete"),
            ("/v1/assets/{id}/download", "get"),
            ("/v1/assets/{id}/download", "head"),
            ("/v1/assets/{id}/signed-url", "post"),
            ("/files/{key}", "get"),
            ("/files/{key}", "head"),
            ("/v1/purchases", "post"),
            ("/v1/purchases", "get"),
            ("/v1/purchases/{id}", "get"),
            ("/v1/purchases/{id}/refund", "post"),
            ("/v1/library", "get"),
            ("/v1/objects", "get"),
            ("/v1/objects/{key}", "put"),
            ("/v1/objects/{key}", "get"),
            ("/v1/objects/{key}", "head"),
            ("/v1/objects/{key}", "delete"),
            ("/v1/objects/{key}/signed-url", "post"),
            ("/v1/objects/{key}/restore", "post"),
            ("/v1/models/{id}/restore", "post"),
            ("/v1/assets/{id}/restore", "post"),
            ("/v1/keys", "post"),
            ("/v1/keys", "get"),
            ("/v1/keys/{id}", "get"),
            ("/v1/keys/{id}/revoke", "post"),
            ("/v1/audit", "get"),
            ("/v1/storage", "get"),
            ("/livez", "get"),
            ("/readyz", "get"),
            ("/metrics", "get"),
        ];
        for (path, method) in calls {
            assert!(
                document["paths"][path][method].is_object(),
                "{method} {path}"
            );
        }
    }

    #[test]
    fn the_page_loads_nothing_from_outside() {
        for text in [
            include_str!("docs/page.html"),
            include_str!("docs/page.js"),
            include_str!("docs/page.css"),
        ] {
            assert!(
                !text.contains("http://") && !text.contains("https://"),
                "{text}"
            );
            assert!(!text.contains("//cdn"), "{text}");
        }
    }
}
