//! Every route, and the OpenAPI document that is made of the same list.

use axum::extract::DefaultBodyLimit;
use axum::{Router, middleware};
use http::Method;
use utoipa::openapi::{OpenApi, PathItem};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::http::extract::MAX_JSON_BYTES;
use crate::http::plain::Plain;
use crate::http::problem::Problem;
use crate::http::{
    assets, audit, cors, docs, endpoints, files, health, keys, layers, library, limits, migrations,
    models, objects, purchases, storage, webhooks,
};

/// The whole interface as a service.
pub fn router(app: App) -> Router {
    let (router, document) = routes().split_for_parts();
    let plain = plain(document)
        .into_iter()
        .fold(Router::new(), |router, plain| {
            router.route(plain.path, plain.handler)
        })
        .layer(DefaultBodyLimit::max(MAX_JSON_BYTES));
    let mut router = router.merge(plain).fallback(async || Problem::not_found());
    if app.rate_limits.counts_addresses() {
        let per_address = middleware::from_fn_with_state(app.clone(), limits::per_address);
        router = router.layer(per_address);
    }
    if let Some(cors) = cors::layer(&app.callers.cors_origins) {
        router = router.layer(cors);
    }
    router
        .layer(middleware::from_fn_with_state(app.clone(), layers::around))
        .with_state(app)
}

/// The OpenAPI document.
#[must_use]
pub fn document() -> OpenApi {
    docs::finished(routes().into_openapi())
}

/// Every call that the router answers, as method and path, read from the two lists that it is made
/// of. What has GET answers HEAD too. The matrix of who may do what has a row for each
/// (`crates/server/tests/http/matrix`), and `scripts/tidy` sees that nothing is added past the lists.
#[must_use]
pub fn served() -> Vec<(Method, String)> {
    let document = routes().into_openapi();
    let mut served = Vec::new();
    for (path, item) in &document.paths.paths {
        served.extend(methods(item).map(|method| (method, path.clone())));
    }
    for plain in plain(document) {
        served.push((plain.method, plain.path.to_owned()));
    }
    let reads: Vec<_> = served
        .iter()
        .filter(|(method, _)| method == Method::GET)
        .map(|(_, path)| (Method::HEAD, path.clone()))
        .collect();
    served.extend(reads);
    served.sort_by(|one, other| (&one.1, one.0.as_str()).cmp(&(&other.1, other.0.as_str())));
    served.dedup();
    served
}

fn methods(item: &PathItem) -> impl Iterator<Item = Method> {
    [
        (Method::GET, &item.get),
        (Method::HEAD, &item.head),
        (Method::POST, &item.post),
        (Method::PUT, &item.put),
        (Method::PATCH, &item.patch),
        (Method::DELETE, &item.delete),
        (Method::OPTIONS, &item.options),
        (Method::TRACE, &item.trace),
    ]
    .into_iter()
    .filter(|(_, operation)| operation.is_some())
    .map(|(method, _)| method)
}

/// The routes that are not in the document, or there in another form.
fn plain(document: OpenApi) -> Vec<Plain> {
    let mut plain = docs::routes(document);
    // In the document it is two calls, which `docs::head` names.
    plain.push(Plain::post("/v1/objects/{*key}", objects::post::post));
    plain
}

fn routes() -> OpenApiRouter<App> {
    let small_bodies = OpenApiRouter::with_openapi(docs::head())
        .routes(routes!(models::create::create, models::list::list))
        .routes(routes!(
            models::get::get,
            models::update::update,
            models::delete::delete
        ))
        .routes(routes!(models::restore::restore))
        .routes(routes!(assets::get::get, assets::delete::delete))
        .routes(routes!(assets::restore::restore))
        .routes(routes!(assets::download::download))
        .routes(routes!(assets::sign::sign))
        .routes(routes!(purchases::create::create, purchases::list::list))
        .routes(routes!(purchases::get::get))
        .routes(routes!(purchases::refund::refund))
        .routes(routes!(purchases::receipt::receipt))
        .routes(routes!(purchases::explain::explain))
        .routes(routes!(webhooks::receive::receive))
        .routes(routes!(endpoints::create::create, endpoints::list::list))
        .routes(routes!(
            endpoints::get::get,
            endpoints::update::update,
            endpoints::delete::delete
        ))
        .routes(routes!(endpoints::rotate::rotate))
        .routes(routes!(endpoints::test::test))
        .routes(routes!(endpoints::deliveries::deliveries))
        .routes(routes!(endpoints::redeliver::redeliver))
        .routes(routes!(endpoints::redeliver_failed::redeliver_failed))
        .routes(routes!(library::library))
        .routes(routes!(keys::create::create, keys::list::list))
        .routes(routes!(keys::get::get))
        .routes(routes!(keys::revoke::revoke))
        .routes(routes!(audit::list::list))
        .routes(routes!(migrations::begin::begin, migrations::list::list))
        .routes(routes!(migrations::get::get))
        .routes(routes!(migrations::pause::pause))
        .routes(routes!(migrations::resume::resume))
        .routes(routes!(migrations::retire::retire))
        .routes(routes!(migrations::rollback::rollback))
        .routes(routes!(objects::list::list))
        .routes(routes!(files::get))
        .routes(routes!(health::livez))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .routes(routes!(storage::storage))
        .layer(DefaultBodyLimit::max(MAX_JSON_BYTES));
    // Bodies that carry files are bounded by the upload itself, which counts as it streams.
    let files = OpenApiRouter::new()
        .routes(routes!(assets::form::upload, assets::list::list))
        .routes(routes!(assets::put::put))
        .routes(routes!(
            objects::get::get,
            objects::put::put,
            objects::delete::delete
        ))
        .layer(DefaultBodyLimit::disable());
    small_bodies.merge(files)
}
