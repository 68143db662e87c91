//! Which pages in browsers may call (<https://fetch.spec.whatwg.org/#http-cors-protocol>).
//!
//! The layer is there only when `CORS_ORIGINS` names somebody. It lies inside of
//! [`super::layers::around`], so that preflight requests are counted and logged as all others are,
//! and outside of the limits, so that a page may read why it was refused.

use std::time::Duration;

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::config::CorsOrigins;
use crate::http::auth::ACT_AS;
use crate::http::digest::REPR_DIGEST;
use crate::http::layers::REQUEST_ID;

/// How long a browser may remember what it was allowed.
const MAX_AGE: Duration = Duration::from_secs(3_600);

/// The layer for these origins; none when there are none.
///
/// Pages call with a key that they hold, so cookies and other credentials of the browser are never
/// allowed, and `*` lets nobody do what they could not do without a browser.
#[must_use]
pub fn layer(origins: &CorsOrigins) -> Option<CorsLayer> {
    let allowed = match origins {
        CorsOrigins::None => return None,
        CorsOrigins::Any => AllowOrigin::any(),
        CorsOrigins::List(origins) => AllowOrigin::list(
            origins
                .iter()
                .filter_map(|origin| HeaderValue::try_from(origin.as_str()).ok()),
        ),
    };
    let layer = CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::RANGE,
            header::IF_NONE_MATCH,
            HeaderName::from_static(ACT_AS),
            HeaderName::from_static(REPR_DIGEST),
        ])
        .expose_headers([
            header::ETAG,
            header::CONTENT_RANGE,
            header::CONTENT_DISPOSITION,
            header::RETRY_AFTER,
            REQUEST_ID,
        ])
        .max_age(MAX_AGE);
    Some(layer)
}

/// Takes over what the layer said of one answer into another that replaces it.
pub fn carry_over(from: &HeaderMap, to: &mut HeaderMap) {
    for (name, value) in from {
        if *name == header::VARY || name.as_str().starts_with("access-control-") {
            to.append(name, value.clone());
        }
    }
}
