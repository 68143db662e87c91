//! What failed calls mean: which may be tried again, and what to tell the caller.

use std::error::Error as StdError;
use std::time::Duration;

use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::ErrorKind;

/// The longest text of a store that goes into our own.
const MAX_MESSAGE_CHARS: usize = 200;

/// The service refused a request for who we are, not for what we want.
const DENIED: [&str; 14] = [
    "AccessDenied",
    "AccountProblem",
    "AllAccessDisabled",
    "AuthorizationHeaderMalformed",
    "ExpiredToken",
    "InvalidAccessKeyId",
    "InvalidSecurity",
    "InvalidToken",
    "NotSignedUp",
    "PermanentRedirect",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TemporaryRedirect",
    "UnauthorizedAccess",
];

/// The service asks to try again, or has got other bytes than were sent.
/// Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>.
const TRY_AGAIN: [&str; 12] = [
    "BadDigest",
    "InternalError",
    "OperationAborted",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "XAmzContentSHA256Mismatch",
];

/// One attempt that failed.
#[derive(Debug)]
pub(super) struct Failure {
    cause: Cause,
    /// What the store said, or what became of the connection.
    detail: String,
    code: Option<String>,
    retry_after: Option<Duration>,
    content_range: Option<String>,
    /// How many bytes of the request's body were handed to the connection.
    pub(super) sent_bytes: u64,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// The store answered with this status, whole.
    Status(u16),
    /// No whole answer came.
    NoAnswer,
    /// There was no connection to send the request over.
    NoConnection,
    /// The connection could not be trusted; another attempt meets the same certificate.
    Untrusted,
    /// The request could not even be made.
    NoRequest,
}

impl Failure {
    pub(super) fn of<E>(error: SdkError<E, HttpResponse>) -> Self
    where
        E: StdError + Send + Sync + ProvideErrorMetadata + 'static,
    {
        match error {
            SdkError::ServiceError(context) => {
                let (code, message) = {
                    let error = context.err();
                    (error.code().map(plain), error.message().map(plain))
                };
                Self::of_answer(context.raw(), code, message.as_deref())
            }
            SdkError::DispatchFailure(context) => {
                // The SDK has a time-out for connecting, and no other.
                let cause = if context.is_timeout() {
                    Cause::NoConnection
                } else {
                    Cause::NoAnswer
                };
                let error = SdkError::<E, HttpResponse>::DispatchFailure(context);
                Self::no_answer(cause, error.into_source().ok())
            }
            SdkError::TimeoutError(_) => Self::timed_out("no connection in time".to_owned()),
            SdkError::ResponseError(context) => {
                let status = context.raw().status().as_u16();
                let source = SdkError::<E, HttpResponse>::ResponseError(context).into_source();
                let mut failure = Self::new(
                    Cause::NoAnswer,
                    format!("the answer ({status}) broke off or cannot be read"),
                );
                failure.source = source.ok();
                failure
            }
            other => {
                let mut failure = Self::new(Cause::NoRequest, "the request cannot be made".into());
                failure.source = other.into_source().ok();
                failure
            }
        }
    }

    /// No whole answer came in time.
    pub(super) fn timed_out(detail: String) -> Self {
        Self::new(Cause::NoAnswer, detail)
    }

    fn new(cause: Cause, detail: String) -> Self {
        Self {
            cause,
            detail,
            code: None,
            retry_after: None,
            content_range: None,
            sent_bytes: 0,
            source: None,
        }
    }

    fn of_answer(answer: &HttpResponse, code: Option<String>, message: Option<&str>) -> Self {
        let status = answer.status().as_u16();
        let detail = match (&code, message) {
            (Some(code), Some(message)) => format!("{status} {code}: {message}"),
            (Some(code), None) => format!("{status} {code}"),
            (None, _) => format!("the store answered {status}"),
        };
        let seconds = answer.headers().get("retry-after").map(str::trim);
        Self {
            retry_after: seconds
                .and_then(|seconds| seconds.parse().ok())
                .map(Duration::from_secs),
            content_range: answer.headers().get("content-range").map(str::to_owned),
            code,
            ..Self::new(Cause::Status(status), detail)
        }
    }

    fn no_answer(cause: Cause, source: Option<Box<dyn StdError + Send + Sync>>) -> Self {
        let cause = match source.as_deref() {
            Some(error) if is_untrusted(error) => Cause::Untrusted,
            Some(error) if is_refused(error) => Cause::NoConnection,
            _ => cause,
        };
        let what = match cause {
            Cause::NoAnswer => "there is no connection, or it broke",
            _ => "there is no connection",
        };
        let why = source.as_deref().map(innermost).unwrap_or_default();
        Self {
            source,
            ..Self::new(cause, format!("{what}: {why}"))
        }
    }

    /// The status of the answer, if a whole one came.
    pub(super) const fn status(&self) -> Option<u16> {
        match self.cause {
            Cause::Status(status) => Some(status),
            _ => None,
        }
    }

    pub(super) fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// How long the store asks to wait.
    pub(super) const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The size of the object, as a 416 tells it (RFC 9110, section 14.4: `bytes */123`).
    pub(super) fn size_of_416(&self) -> Option<u64> {
        let value = self.content_range.as_deref()?;
        value.strip_prefix("bytes */")?.parse().ok()
    }

    /// Whether the store said that there is no such object.
    pub(super) fn is_no_such_key(&self) -> bool {
        matches!(self.code(), Some("NoSuchKey" | "NoSuchVersion"))
    }

    /// Whether the same request may succeed when it is sent again.
    pub(super) fn may_pass(&self) -> bool {
        match self.cause {
            Cause::NoAnswer | Cause::NoConnection => true,
            Cause::Untrusted | Cause::NoRequest => false,
            Cause::Status(501 | 507) => false,
            Cause::Status(status) => {
                status == 429
                    || status >= 500
                    || self.code().is_some_and(|code| TRY_AGAIN.contains(&code))
            }
        }
    }

    /// Whether the request may have had its effect all the same.
    pub(super) const fn may_have_passed(&self) -> bool {
        matches!(
            self.cause,
            Cause::NoAnswer | Cause::Status(200 | 500 | 502 | 504)
        )
    }

    /// What a caller can do about it. A 404 without a code is no proof of anything.
    pub(super) fn kind(&self) -> ErrorKind {
        let status = match self.cause {
            Cause::NoAnswer | Cause::NoConnection | Cause::Untrusted => {
                return ErrorKind::Unavailable;
            }
            Cause::NoRequest => return ErrorKind::Other,
            Cause::Status(status) => status,
        };
        match (status, self.code().unwrap_or("")) {
            (_, "NoSuchKey" | "NoSuchVersion") => ErrorKind::NotFound,
            (_, "NoSuchBucket") => ErrorKind::Other,
            // Somebody gave the upload up; writing the object again may succeed.
            (_, "NoSuchUpload") => ErrorKind::Unavailable,
            (_, code) if DENIED.contains(&code) => ErrorKind::Denied,
            // Ceph says it with 403. Source:
            // <https://github.com/CSCfi/csc-user-guide/blob/master/docs/data/Allas/using_allas/error_messages.md>.
            (507, _) | (_, "QuotaExceeded" | "XMinioStorageFull") => ErrorKind::Full,
            (301 | 307 | 401 | 403, _) => ErrorKind::Denied,
            (501, _) | (_, "NotImplemented" | "MethodNotAllowed") => ErrorKind::Unsupported,
            (_, "BadDigest" | "InvalidDigest" | "XAmzContentSHA256Mismatch") => ErrorKind::Corrupt,
            (_, "EntityTooLarge" | "EntityTooSmall" | "KeyTooLongError") => ErrorKind::Invalid,
            _ if self.may_pass() => ErrorKind::Unavailable,
            _ => ErrorKind::Other,
        }
    }

    pub(super) fn into_parts(
        self,
    ) -> (
        String,
        Option<String>,
        Option<Box<dyn StdError + Send + Sync>>,
    ) {
        (self.detail, self.code, self.source)
    }
}

/// The text of a store, without what could break a line of a log, and not longer than needed.
fn plain(text: &str) -> String {
    text.chars()
        .take(MAX_MESSAGE_CHARS)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// The errors that led to an error, itself included. `io::Error` hides what it wraps from
/// `source()`, so that is looked at too.
fn chain<'a>(
    error: &'a (dyn StdError + 'static),
) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| {
        match error.downcast_ref::<std::io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
            None => error.source(),
        }
    })
}

fn innermost(error: &(dyn StdError + Send + Sync + 'static)) -> String {
    chain(error)
        .last()
        .map_or_else(String::new, |last| plain(&last.to_string()))
}

fn is_untrusted(error: &(dyn StdError + 'static)) -> bool {
    chain(error).any(|error| {
        matches!(
            error.downcast_ref::<rustls::Error>(),
            Some(rustls::Error::InvalidCertificate(_))
        )
    })
}

fn is_refused(error: &(dyn StdError + 'static)) -> bool {
    chain(error).any(|error| {
        error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused)
    })
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::primitives::SdkBody;

    use super::*;

    fn answered(status: u16, code: &str) -> Failure {
        let mut answer = HttpResponse::new(status.try_into().unwrap(), SdkBody::empty());
        answer.headers_mut().insert("retry-after", "7");
        answer.headers_mut().insert("content-range", "bytes */42");
        Failure::of_answer(&answer, Some(code.to_owned()), Some("why"))
    }

    #[test]
    fn kinds_answer_what_to_do() {
        let cases = [
            (404, "NoSuchKey", ErrorKind::NotFound, false),
            (404, "NoSuchBucket", ErrorKind::Other, false),
            (404, "NotFound", ErrorKind::Other, false),
            (404, "NoSuchUpload", ErrorKind::Unavailable, false),
            (403, "AccessDenied", ErrorKind::Denied, false),
            (403, "RequestTimeTooSkewed", ErrorKind::Denied, false),
            (
                400,
                "AuthorizationHeaderMalformed",
                ErrorKind::Denied,
                false,
            ),
            (301, "PermanentRedirect", ErrorKind::Denied, false),
            (400, "RequestTimeout", ErrorKind::Unavailable, true),
            (400, "XAmzContentSHA256Mismatch", ErrorKind::Corrupt, true),
            (409, "OperationAborted", ErrorKind::Unavailable, true),
            (429, "TooManyRequests", ErrorKind::Unavailable, true),
            (500, "InternalError", ErrorKind::Unavailable, true),
            (200, "InternalError", ErrorKind::Unavailable, true),
            (503, "SlowDown", ErrorKind::Unavailable, true),
            (501, "NotImplemented", ErrorKind::Unsupported, false),
            (507, "QuotaExceeded", ErrorKind::Full, false),
            (403, "QuotaExceeded", ErrorKind::Full, false),
            (400, "InvalidArgument", ErrorKind::Other, false),
        ];
        for (status, code, kind, may_pass) in cases {
            let failure = answered(status, code);
            assert_eq!(failure.kind(), kind, "{status} {code}");
            assert_eq!(failure.may_pass(), may_pass, "{status} {code}");
        }
    }

    #[test]
    fn headers_are_read() {
        let failure = answered(503, "SlowDown");
        assert_eq!(failure.retry_after(), Some(Duration::from_secs(7)));
        assert_eq!(answered(416, "InvalidRange").size_of_416(), Some(42));
    }

    #[test]
    fn a_refusal_has_no_effect_and_silence_may_have_one() {
        assert!(!answered(503, "SlowDown").may_have_passed());
        assert!(answered(200, "InternalError").may_have_passed());
        assert!(Failure::timed_out("late".to_owned()).may_have_passed());
    }

    #[test]
    fn long_and_broken_texts_are_made_plain() {
        assert_eq!(plain("a\r\nb"), "a  b");
        assert_eq!(plain(&"é".repeat(500)).chars().count(), MAX_MESSAGE_CHARS);
    }
}
