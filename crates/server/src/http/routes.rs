//! Every route, and the OpenAPI document that is made of the same list.

use axum::extract::DefaultBodyLimit;
use axum::routing::post;
use axum::{Router, middleware};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::http::extract::MAX_JSON_BYTES;
use crate::http::problem::Problem;
use crate::http::{
    assets, audit, cors, docs, files, health, keys, layers, library, limits, models, objects,
    purchases, storage, webhooks,
};

/// The whole interface as a service.
pub fn router(app: App) -> Router {
    let (router, document) = routes().split_for_parts();
    let mut router = router
        .merge(docs::router(document))
        .fallback(async || Problem::not_found());
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
        .routes(routes!(library::library))
        .routes(routes!(keys::create::create, keys::list::list))
        .routes(routes!(keys::get::get))
        .routes(routes!(keys::revoke::revoke))
        .routes(routes!(audit::list::list))
        .routes(routes!(objects::list::list))
        // In the document it is two calls, which `docs::head` names.
        .route("/v1/objects/{*key}", post(objects::post::post))
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
