//! How servers sign what they tell each other. A signature covers every byte of a body as it is sent,
//! and the moment of sending.

pub(super) mod mac;
pub mod standard;

use std::time::Duration;

use stockroom_domain::Timestamp;

/// How far the moment of signing may lie before or after the present one. Whoever records an
/// event on its way cannot send it again later.
/// Source: <https://docs.stripe.com/webhooks#replay-attacks>, which recommends five minutes.
pub const TOLERANCE: Duration = Duration::from_secs(300);

/// A body whose signature was made with one of our secrets, and not long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedEvent<'b> {
    body: &'b [u8],
}

impl<'b> VerifiedEvent<'b> {
    /// The body, byte by byte as it was signed.
    #[must_use]
    pub const fn body(&self) -> &'b [u8] {
        self.body
    }
}

/// Why a signature is not taken. It holds neither the signature nor a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is not written in the way that the dialect wants.
    #[error("the header {header} {wrong}")]
    Malformed {
        /// The header.
        header: &'static str,
        /// What is wrong: the end of a sentence, without a full stop.
        wrong: &'static str,
    },
    /// No signature was made over these bytes with one of our secrets.
    #[error("no signature was made over this body with a secret that is known here")]
    Mismatch,
    /// The signature is right, and was made too long ago or in the future.
    #[error("the signature was made more than {} s from now", TOLERANCE.as_secs())]
    Expired,
}

/// Reads a moment that a header gives as seconds since 1970. Only digits are taken, although the
/// text itself is signed, so that there is one way to write a moment.
pub(super) fn unix_seconds(text: &str) -> Option<i64> {
    let has_only_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    has_only_digits.then(|| text.parse().ok()).flatten()
}

/// The event, when it was signed near enough to `now`. Both are compared in whole seconds, as the
/// dialects' own libraries do.
pub(super) fn in_time(
    body: &[u8],
    signed_unix_seconds: i64,
    now: Timestamp,
) -> Result<VerifiedEvent<'_>, SignatureError> {
    if now.unix_seconds().abs_diff(signed_unix_seconds) > TOLERANCE.as_secs() {
        return Err(SignatureError::Expired);
    }
    Ok(VerifiedEvent { body })
}
