//! Bytes on their way out: status, headers and body of a download.

use std::ops::Range;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use futures::StreamExt as _;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use stockroom_catalog::ObjectRow;
use stockroom_domain::GrantKind;
use stockroom_storage::{ByteRange, Disposition, SignedUrl};

use crate::app::App;
use crate::flows::deliver::{self, Opened, Presentation, Recorded};
use crate::flows::error::FlowError;
use crate::flows::ledger::{self, Account, Giving, Meter};
use crate::http::codes::Code;
use crate::http::digest;
use crate::http::problem::Problem;
use crate::http::range::{Wanted, etag, wanted};

/// The life of a signed URL when the caller does not say.
pub const DEFAULT_EXPIRES_IN: Duration = Duration::from_secs(900);

/// The life of the URL that a redirect leads to: long enough to begin a download, and short because
/// a bucket asks whoever has it for no purchase.
pub const REDIRECT_EXPIRES_IN: Duration = Duration::from_secs(300);

/// As many headers as an answer with bytes has, with those that every answer gets.
const MOST_HEADERS: usize = 20;

/// On whose account bytes are given, and how.
pub type On<'a> = Option<(&'a Account, GrantKind)>;

/// Answers a GET or HEAD with the bytes of an object, on the account of a purchase where one lets
/// the caller have them.
///
/// # Errors
/// 412 or 416 where the request asks for it; 403 when the purchase does not allow it any more;
/// that of the storage.
pub async fn respond(
    app: &App,
    bytes: Recorded<'_>,
    on: On<'_>,
    presentation: &Presentation,
    method: &Method,
    request: &HeaderMap,
) -> Result<Response, Problem> {
    let object = bytes.object;
    let etag = etag(&object.sha256);
    match wanted(request, &etag) {
        Wanted::PreconditionFailed => Err(Problem::new(
            Code::PreconditionFailed,
            "The file is not the one that If-Match names.",
        )),
        Wanted::NotModified => {
            let mut response = StatusCode::NOT_MODIFIED.into_response();
            add_validators(response.headers_mut(), object, &etag);
            Ok(response)
        }
        // Section 14.2 of RFC 9110: a range is for GET alone.
        Wanted::Part(range) if method == Method::GET => {
            part(app, bytes, on, presentation, &etag, range).await
        }
        Wanted::Part(_) | Wanted::Whole => whole(app, bytes, on, presentation, &etag, method).await,
    }
}

/// The bytes that a GET asks for, where the answer leads to them: what they turn out to be is the
/// business of whoever sends them.
#[must_use]
pub fn asked_range(object: &ObjectRow, request: &HeaderMap) -> Range<u64> {
    let whole = 0..object.size_bytes;
    match wanted(request, &etag(&object.sha256)) {
        Wanted::Part(range) => range.resolve(object.size_bytes).unwrap_or(whole),
        Wanted::Whole | Wanted::NotModified | Wanted::PreconditionFailed => whole,
    }
}

/// Answers with a redirect to a signed URL, which nobody keeps.
///
/// # Errors
/// 500 when the URL is no header, which the signers rule out.
pub fn redirect(signed: &SignedUrl) -> Result<Response, Problem> {
    let location = HeaderValue::try_from(&signed.url).map_err(Problem::internal)?;
    let mut response = StatusCode::FOUND.into_response();
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location);
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-store"),
    );
    Ok(response)
}

async fn whole(
    app: &App,
    bytes: Recorded<'_>,
    on: On<'_>,
    presentation: &Presentation,
    etag: &str,
    method: &Method,
) -> Result<Response, Problem> {
    let object = bytes.object;
    let body = if method == Method::HEAD {
        Body::empty()
    } else {
        body(app, on, deliver::open(app, bytes, None).await?).await?
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    add_representation(headers, object, presentation, etag);
    insert(
        headers,
        header::CONTENT_LENGTH,
        object.size_bytes.to_string(),
    );
    Ok(response)
}

async fn part(
    app: &App,
    bytes: Recorded<'_>,
    on: On<'_>,
    presentation: &Presentation,
    etag: &str,
    range: ByteRange,
) -> Result<Response, Problem> {
    let object = bytes.object;
    let size_bytes = object.size_bytes;
    let resolved = range
        .resolve(size_bytes)
        .map_err(|_| Problem::range_not_satisfiable(size_bytes))?;
    let read = deliver::open(app, bytes, Some(range)).await?;
    let mut response = Response::new(body(app, on, read).await?);
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let headers = response.headers_mut();
    add_representation(headers, object, presentation, etag);
    let (first, last) = (resolved.start, resolved.end - 1);
    insert(
        headers,
        header::CONTENT_RANGE,
        format!("bytes {first}-{last}/{size_bytes}"),
    );
    insert(
        headers,
        header::CONTENT_LENGTH,
        (resolved.end - first).to_string(),
    );
    Ok(response)
}

/// The body, charged before its first byte. An error in the stream cuts the connection before the
/// announced length is reached, so that no client takes what came for the whole.
async fn body(app: &App, on: On<'_>, read: Opened) -> Result<Body, Problem> {
    let mut meter = match on {
        None => None,
        Some((account, kind)) => {
            let store = read.served_by.clone();
            let giving = Giving {
                kind,
                range: read.range.clone(),
                counts: true,
                store: Some(store.clone()),
            };
            let grant = ledger::charge(app, account, giving).await?;
            Some(Meter::new(app, grant, &store, &read.continued_by))
        }
    };
    let delivered_bytes = app.metrics.delivered_bytes.clone();
    Ok(Body::from_stream(read.stream.inspect(
        move |piece| match piece {
            Ok(piece) => {
                let bytes = piece.len() as u64;
                delivered_bytes.inc_by(bytes);
                if let Some(meter) = &mut meter {
                    meter.add(bytes);
                }
            }
            Err(error) => tracing::error!(%error, "a download is cut"),
        },
    )))
}

fn add_representation(
    headers: &mut HeaderMap,
    object: &ObjectRow,
    presentation: &Presentation,
    etag: &str,
) {
    headers.reserve(MOST_HEADERS);
    add_validators(headers, object, etag);
    let content_type = presentation
        .content_type
        .as_deref()
        .unwrap_or("application/octet-stream");
    insert(headers, header::CONTENT_TYPE, content_type.to_owned());
    let disposition = presentation
        .disposition
        .header_value(object.key.file_name());
    insert(headers, header::CONTENT_DISPOSITION, disposition);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
}

fn add_validators(headers: &mut HeaderMap, object: &ObjectRow, etag: &str) {
    insert(headers, header::ETAG, etag.to_owned());
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("private, no-cache"),
    );
    if let Some(value) = digest::header_value(&object.sha256) {
        headers.insert(HeaderName::from_static(digest::REPR_DIGEST), value);
    }
}

/// Inserts a header that we wrote. A value that is none is left out rather than sent wrong.
fn insert(headers: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// Reads a disposition as callers write it.
///
/// # Errors
/// 400 when it is neither `attachment` nor `inline`.
pub fn parse_disposition(
    text: Option<&str>,
    filename: Option<String>,
) -> Result<Disposition, Problem> {
    match text {
        None | Some("attachment") => Ok(Disposition::Attachment { filename }),
        Some("inline") => Ok(Disposition::Inline { filename }),
        Some(_) => Err(Problem::invalid("disposition is attachment or inline.")),
    }
}

/// Reads an expiry as callers write it: whole seconds, 1 to 604,800, else 900.
///
/// # Errors
/// 400 when it is outside.
pub fn parse_expires_in(seconds: Option<u64>) -> Result<Duration, Problem> {
    let expires_in = seconds.map_or(DEFAULT_EXPIRES_IN, Duration::from_secs);
    if expires_in.is_zero() || expires_in > stockroom_storage::MAX_EXPIRES_IN {
        return Err(FlowError::Expiry.into());
    }
    Ok(expires_in)
}
