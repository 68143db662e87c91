//! Errors as outside programs see them: `application/problem+json` (RFC 9457).
//!
//! A [`Problem`] is what a handler returns. It travels in the response's extensions to the
//! outermost layer, which adds the request id, logs the cause once and writes the body.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::header::{HeaderName, HeaderValue};
use http::{StatusCode, header};
use serde::Serialize;
use stockroom_domain::Denial;
use utoipa::ToSchema;

use crate::causes::causes_in_a_line;
use crate::http::codes::Code;

/// A refusal or a failure: a stable code, one sentence, and inside its cause.
#[derive(Debug, Clone)]
pub struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    // A problem is the error of most functions here, and a map would make each result large.
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The body of an error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// The HTTP status.
    pub status: u16,
    /// What kind of problem it is, in words.
    pub title: &'static str,
    /// What kind of problem it is, for programs. It never changes its meaning.
    pub code: &'static str,
    /// What happened and what to do about it, in one or two sentences.
    pub detail: &'a str,
    /// The id of this request, as in the header `X-Request-Id` and in the server's log.
    pub request_id: &'a str,
}

impl Problem {
    /// A problem with this code. `detail` says what happened and what to do about it.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
            headers: Vec::new(),
            cause: None,
        }
    }

    /// A bad request, with what is wrong with it.
    #[must_use]
    pub fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Code::InvalidRequest, detail)
    }

    /// The answer to everything the caller may not know of.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(
            Code::NotFound,
            "There is nothing here, or nothing that you may know of.",
        )
    }

    /// Our own failure. The cause goes to the log and not to the caller.
    #[must_use]
    pub fn internal(cause: impl StdError + Send + Sync + 'static) -> Self {
        Self::new(
            Code::Internal,
            "Something went wrong here. Try again; if it stays, tell the operator the request id.",
        )
        .caused_by(cause)
    }

    /// The same problem, with what caused it.
    #[must_use]
    pub fn caused_by(mut self, cause: impl StdError + Send + Sync + 'static) -> Self {
        self.cause = Some(Arc::new(cause));
        self
    }

    /// The same problem, with a header on its response.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The stable code.
    #[must_use]
    pub const fn code(&self) -> Code {
        self.code
    }

    /// The sentence for the caller.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Everything that led to the problem, outermost first, for the log.
    #[must_use]
    pub fn cause_chain(&self) -> Option<String> {
        Some(causes_in_a_line(self.cause.as_deref()?))
    }

    /// The response with its body, once the request id is known.
    #[must_use]
    pub fn into_body(self, request_id: &str) -> Response {
        let body = ProblemBody {
            status: self.code.status().as_u16(),
            title: self.code.title(),
            code: self.code.as_str(),
            detail: &self.detail,
            request_id,
        };
        // Serialising strings and a number into memory cannot fail; an empty body would still
        // carry the status.
        let bytes = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = (self.code.status(), bytes).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers);
        response
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.detail)
    }
}

impl StdError for Problem {}

impl From<Denial> for Problem {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::NotFound => Self::not_found(),
            Denial::Unauthenticated => Self::unauthenticated(),
            Denial::Forbidden => Self::new(
                Code::Forbidden,
                "This key may not do that. A service key gets paid bytes only for a user, named in the header Stockroom-Act-As.",
            ),
            Denial::NotPurchased => {
                Self::new(Code::NotPurchased, "This user has not bought the model.")
            }
            Denial::Refunded => Self::new(
                Code::NotPurchased,
                "The purchase was refunded, so it gives no access any more.",
            ),
            Denial::Expired => Self::new(Code::NotPurchased, "The purchase has expired."),
            Denial::DownloadLimitReached => Self::new(
                Code::DownloadLimitReached,
                "All downloads that the purchase allows were made.",
            ),
        }
    }
}

impl Problem {
    /// The answer to a call without a key where one is needed.
    #[must_use]
    pub fn unauthenticated() -> Self {
        Self::new(
            Code::Unauthenticated,
            "Send a key that is valid: Authorization: Bearer sr_live_...",
        )
        .with_header(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"stockroom\""),
        )
    }

    /// The answer to a range of which no byte exists.
    #[must_use]
    pub fn range_not_satisfiable(size_bytes: u64) -> Self {
        let problem = Self::new(
            Code::RangeNotSatisfiable,
            format!("No byte of the range exists; the file has {size_bytes} bytes."),
        );
        match HeaderValue::try_from(format!("bytes */{size_bytes}")) {
            Ok(value) => problem.with_header(header::CONTENT_RANGE, value),
            Err(_) => problem,
        }
    }

    /// The status of the response.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.code.status()
    }
}
