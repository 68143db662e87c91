//! `/v1/objects`: the storage facade itself, for operators.

pub mod delete;
pub mod get;
pub mod list;
pub mod post;
pub mod put;
pub mod restore;
pub mod sign;

use std::collections::BTreeMap;

use http::Uri;
use http::header::{self, HeaderMap, HeaderValue};
use stockroom_domain::{Action, Decision, Denial, Key, Target, permits};
use stockroom_storage::{Metadata, is_media_type};

use crate::app::App;
use crate::flows::publish::object_key;
use crate::http::auth::Identity;
use crate::http::codes::Code;
use crate::http::extract::decoded_tail;
use crate::http::problem::Problem;

const PATH: &str = "/v1/objects/";

/// Headers that begin with this carry user metadata: `Stockroom-Meta-Artist: u-42`.
const META: &str = "stockroom-meta-";

/// Asks the gate. It needs to know nothing of an object: all of them are the operator's.
///
/// # Errors
/// 401 without a key, 403 with another one than an operator's.
pub fn permitted(app: &App, identity: &Identity, action: Action) -> Result<(), Problem> {
    match permits(&identity.caller, Target::Object, action, app.clock.now()) {
        Decision::Allow(_) => Ok(()),
        Decision::Deny(Denial::Unauthenticated) => Err(Problem::unauthenticated()),
        Decision::Deny(_) => Err(Problem::new(
            Code::Forbidden,
            "Objects are for the key of an operator who acts for nobody else.",
        )),
    }
}

/// The key that the raw path names, decoded once.
///
/// # Errors
/// 400 `invalid_key` when it is none.
pub fn key_of(uri: &Uri, suffix: &str) -> Result<Key, Problem> {
    let path = uri
        .path()
        .strip_suffix(suffix)
        .ok_or_else(Problem::not_found)?;
    Ok(object_key(&decoded_tail(path, PATH)?)?)
}

/// The media type that the caller says the bytes have. It is kept as it was sent, so one that could
/// not be said again is refused.
///
/// # Errors
/// 400 when it is said twice, or holds what no header may.
pub fn content_type_of(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (None, _) => Ok("application/octet-stream"),
        (Some(Ok(text)), None) if is_media_type(text) => Ok(text),
        _ => Err(Problem::invalid(
            "Send the header Content-Type once, with 1 to 255 visible ASCII characters and spaces.",
        )),
    }
}

/// The user metadata that the headers carry.
///
/// # Errors
/// 400 when a name or a value does not fit.
pub fn metadata_of(headers: &HeaderMap) -> Result<Metadata, Problem> {
    let mut metadata = Metadata::default();
    for (name, value) in headers {
        let Some(name) = name.as_str().strip_prefix(META) else {
            continue;
        };
        let value = value.to_str().map_err(|_| {
            Problem::invalid("The headers Stockroom-Meta-... hold visible ASCII characters only.")
        })?;
        metadata
            .insert(name, value)
            .map_err(|error| Problem::invalid(format!("The metadata cannot be kept: {error}.")))?;
    }
    Ok(metadata)
}

/// User metadata as headers.
pub fn metadata_headers(metadata: &BTreeMap<String, String>) -> HeaderMap {
    metadata
        .iter()
        .filter_map(|(name, value)| {
            let name = http::HeaderName::try_from(format!("{META}{name}")).ok()?;
            Some((name, value.parse().ok()?))
        })
        .collect()
}
