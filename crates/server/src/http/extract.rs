//! Extractors whose refusals are [`Problem`]s.

use std::convert::Infallible;
use std::str::FromStr;

use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use bytes::Bytes;
use http::header::{self, HeaderMap};
use http::request::Parts;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::app::App;
use crate::http::codes::Code;
use crate::http::pace;
use crate::http::problem::Problem;
use crate::json_fault;

/// The largest JSON body, in bytes.
pub const MAX_JSON_BYTES: usize = 1 << 20;

/// A JSON body. Unknown fields are the business of the type.
#[derive(Debug)]
pub struct Json<T>(pub T);

/// A JSON body that may be left out.
#[derive(Debug)]
pub struct JsonOrNothing<T>(pub T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let is_json = is_json(request.headers());
        let bytes = Bytes::from_request(request, app)
            .await
            .map_err(body_problem)?;
        parse_json(is_json, &bytes).map(Self)
    }
}

impl<T: DeserializeOwned + Default> FromRequest<App> for JsonOrNothing<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        let is_json = is_json(request.headers());
        let bytes = Bytes::from_request(request, app)
            .await
            .map_err(body_problem)?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        parse_json(is_json, &bytes).map(Self)
    }
}

/// A body as it came, byte by byte.
#[derive(Debug)]
pub struct RawBody(pub Bytes);

impl FromRequest<App> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &App) -> Result<Self, Problem> {
        Bytes::from_request(request, app)
            .await
            .map(Self)
            .map_err(body_problem)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse::<mime::Mime>().ok())
        .is_some_and(|media_type| {
            media_type.type_() == mime::APPLICATION
                && (media_type.subtype() == mime::JSON || media_type.suffix() == Some(mime::JSON))
        })
}

fn parse_json<T: DeserializeOwned>(is_json: bool, bytes: &[u8]) -> Result<T, Problem> {
    if !is_json {
        return Err(Problem::new(
            Code::UnsupportedType,
            "Send JSON, with the header Content-Type: application/json.",
        ));
    }
    serde_json::from_slice(bytes).map_err(|error| {
        let fault = json_fault::describe(&error);
        Problem::invalid(format!("The JSON body does not fit: {fault}."))
    })
}

fn body_problem(rejection: BytesRejection) -> Problem {
    match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            Problem::new(
                Code::TooLarge,
                format!("A JSON body has at most {MAX_JSON_BYTES} bytes."),
            )
        }
        other => pace::too_slow(&other).unwrap_or_else(|| {
            Problem::invalid("The body could not be read to its end.").caused_by(other)
        }),
    }
}

/// Tells a field of a JSON body that is `null` from one that is left out: for `deserialize_with`.
///
/// # Errors
/// Those of the value.
pub fn given<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

/// The query of the URL. Unknown parameters are the business of the type.
#[derive(Debug)]
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<App> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|error| Problem::invalid(format!("The query does not fit: {error}.")))
    }
}

/// All headers, taken out of the request instead of copied: nothing that comes after this has any.
#[derive(Debug)]
pub struct TakenHeaders(pub HeaderMap);

impl FromRequestParts<App> for TakenHeaders {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Infallible> {
        Ok(Self(std::mem::take(&mut parts.headers)))
    }
}

/// The parameter `id` of the path. What is no id names nothing, so the answer is 404.
#[derive(Debug)]
pub struct Id<T>(pub T);

impl<T: FromStr> FromRequestParts<App> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Path(id) = Path::<String>::from_request_parts(parts, app)
            .await
            .map_err(|_| Problem::not_found())?;
        id.parse().map(Self).map_err(|_| Problem::not_found())
    }
}

/// The part of a raw path after `prefix`, decoded once. Unlike the router's own parameter it
/// keeps apart what the router would fold.
///
/// # Errors
/// 400 `invalid_key` when it is not UTF-8 after decoding.
pub fn decoded_tail(raw_path: &str, prefix: &str) -> Result<String, Problem> {
    let tail = raw_path
        .strip_prefix(prefix)
        .ok_or_else(Problem::not_found)?;
    percent_decode_str(tail)
        .decode_utf8()
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| Problem::new(Code::InvalidKey, "A key is UTF-8."))
}
