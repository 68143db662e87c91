//! Signing and verifying URLs.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use stockroom_domain::{Key, Timestamp};
use subtle::ConstantTimeEq as _;

use super::SigningKeys;
use super::message::{Message, disposition_name};
use crate::{Disposition, MAX_EXPIRES_IN, SignMethod, SignRequest, SignedUrl};

/// What is not encoded in a URL: `unreserved` of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

/// What a signed URL was made for, so that one made for one thing opens no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Purpose {
    /// An asset is handed to somebody whom the gate let through.
    Download,
    /// An operator reads or writes an object.
    Object,
}

impl Purpose {
    /// All purposes.
    pub const ALL: [Self; 2] = [Self::Download, Self::Object];

    /// The name of the purpose in URLs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Object => "object",
        }
    }
}

/// Why a URL could not be signed: the caller asked for what cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The expiry is not 1 second to [`MAX_EXPIRES_IN`], or not in whole seconds.
    #[error("a signed URL lives 1 to {} whole seconds", MAX_EXPIRES_IN.as_secs())]
    Expiry,
    /// The media type could not stand in a header.
    #[error("the media type is not 1 to 255 visible ASCII characters and spaces")]
    ContentType,
    /// The holder is no short text.
    #[error("the holder is not 1 to 64 visible ASCII characters")]
    Holder,
}

/// Why a URL is not honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Nothing that was signed here looks like this. Whether it has expired is not told.
    #[error("the signature does not fit the URL")]
    Bad,
    /// It was signed here, but its time is over.
    #[error("the signed URL has expired")]
    Expired,
}

/// What a URL with a right signature allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedUrl {
    /// The object.
    pub key: Key,
    /// What a browser should do with the bytes.
    pub disposition: Disposition,
    /// The media type to answer with, in the place of the object's own.
    pub content_type: Option<String>,
    /// What the URL was made for.
    pub purpose: Purpose,
    /// On whose account the URL was made, in the words of whoever signed it.
    pub holder: Option<String>,
    /// When the permission ends.
    pub expires_at: Timestamp,
}

/// Makes and checks URLs of the form
/// `{base_url}/files/{key}?kid=&exp=&method=&disposition=&filename=&type=&purpose=&for=&sig=`.
///
/// Clones share their keys, so that these can be exchanged while the signer is in use.
#[derive(Clone)]
pub struct UrlSigner {
    keys: Arc<RwLock<Arc<SigningKeys>>>,
    base_url: Box<str>,
}

impl UrlSigner {
    /// A signer for URLs below `base_url`, such as `https://files.example.com`. Slashes at its
    /// end do not matter.
    #[must_use]
    pub fn new(keys: SigningKeys, base_url: &str) -> Self {
        Self {
            keys: Arc::new(RwLock::new(Arc::new(keys))),
            base_url: base_url.trim_end_matches('/').into(),
        }
    }

    /// Signs and verifies with these keys from now on, in all clones.
    pub fn replace_keys(&self, keys: SigningKeys) {
        let mut current = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(keys);
    }

    fn keys(&self) -> Arc<SigningKeys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A URL that allows `request` for the object, from `now` on.
    ///
    /// # Errors
    /// When the expiry is not 1 second to [`MAX_EXPIRES_IN`] in whole seconds, or the media type
    /// is none.
    pub fn sign(
        &self,
        key: &Key,
        request: &SignRequest,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<SignedUrl, SignError> {
        self.sign_for(None, key, request, purpose, now)
    }

    /// The same on the account of a holder, 1 to 64 visible ASCII characters: whoever verifies the
    /// URL learns whom to ask whether the permission still stands.
    ///
    /// # Errors
    /// As [`UrlSigner::sign`]; and when the holder is no such text.
    pub fn sign_for(
        &self,
        holder: Option<&str>,
        key: &Key,
        request: &SignRequest,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<SignedUrl, SignError> {
        let expires_in = request.expires_in;
        if expires_in.is_zero() || expires_in > MAX_EXPIRES_IN || expires_in.subsec_nanos() != 0 {
            return Err(SignError::Expiry);
        }
        if !request.content_type.as_deref().is_none_or(is_media_type) {
            return Err(SignError::ContentType);
        }
        if !holder.is_none_or(is_holder) {
            return Err(SignError::Holder);
        }
        // Rounded up, so that the permission lasts at least as long as was asked for.
        let expires_at_ms = now.after(expires_in).unix_ms();
        let expires_at_unix_seconds =
            expires_at_ms.div_euclid(1_000) + i64::from(expires_at_ms.rem_euclid(1_000) != 0);
        let keys = self.keys();
        let signing_key = keys.newest();
        let message = Message {
            kid: signing_key.kid().into(),
            method: request.method,
            key: key.clone(),
            expires_at_unix_seconds,
            disposition: request.disposition.clone(),
            content_type: request.content_type.clone(),
            purpose,
            holder: holder.map(str::to_owned),
        };
        let mac = signing_key.mac(&message.to_bytes());
        let (path, query) = (path_of(key), query_of(&message, &mac));
        Ok(SignedUrl {
            url: format!("{}/files/{path}?{query}", self.base_url),
            expires_at: Timestamp::from_unix_ms(expires_at_unix_seconds.saturating_mul(1_000)),
        })
    }

    /// Whether a request is allowed: its method, the part of its path after `/files/` and its
    /// query, both as they came, undecoded. A `HEAD` is allowed where a `GET` is.
    ///
    /// Exactly the text that [`UrlSigner::sign`] makes is accepted: no other encoding of it, no
    /// other order, nothing left out, twice or added.
    ///
    /// # Errors
    /// `Expired` only when the signature is right.
    pub fn verify(
        &self,
        method: &str,
        raw_path: &str,
        raw_query: &str,
        now: Timestamp,
    ) -> Result<VerifiedUrl, SignatureError> {
        let (message, mac) = parsed(raw_path, raw_query).ok_or(SignatureError::Bad)?;
        // Comparing what was parsed, written out again, with what came refuses every other form.
        let is_canonical =
            path_of(&message.key) == raw_path && query_of(&message, &mac) == raw_query;
        if !is_canonical || !allows(message.method, method) {
            return Err(SignatureError::Bad);
        }
        let keys = self.keys();
        let signing_key = keys.get(&message.kid).ok_or(SignatureError::Bad)?;
        let expected = signing_key.mac(&message.to_bytes());
        if !bool::from(expected.ct_eq(&mac)) {
            return Err(SignatureError::Bad);
        }
        let expires_at =
            Timestamp::from_unix_ms(message.expires_at_unix_seconds.saturating_mul(1_000));
        if now >= expires_at {
            return Err(SignatureError::Expired);
        }
        Ok(VerifiedUrl {
            key: message.key,
            disposition: message.disposition,
            content_type: message.content_type,
            purpose: message.purpose,
            holder: message.holder,
            expires_at,
        })
    }
}

impl fmt::Debug for UrlSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UrlSigner({}, {:?})", self.base_url, self.keys())
    }
}

/// Whether a signature for `signed` is good for a request with this method.
fn allows(signed: SignMethod, method: &str) -> bool {
    signed.as_str() == method || (signed == SignMethod::Get && method == "HEAD")
}

/// Whether a text can be kept as a media type and said again in a `Content-Type` header, by every
/// store and in a signed URL: 1 to 255 visible ASCII characters and spaces.
#[must_use]
pub fn is_media_type(text: &str) -> bool {
    (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

fn is_holder(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

fn path_of(key: &Key) -> String {
    utf8_percent_encode(key.as_str(), RESERVED_IN_PATH).to_string()
}

fn query_of(message: &Message, mac: &[u8; 32]) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, RESERVED).to_string();
    let mut query = format!(
        "kid={}&exp={}&method={}&disposition={}",
        encoded(&message.kid),
        message.expires_at_unix_seconds,
        message.method.as_str(),
        disposition_name(&message.disposition),
    );
    let optional = [
        ("filename", message.disposition.filename()),
        ("type", message.content_type.as_deref()),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            query.extend(["&", name, "=", &encoded(value)]);
        }
    }
    query.extend(["&purpose=", message.purpose.as_str()]);
    if let Some(holder) = &message.holder {
        query.extend(["&for=", &encoded(holder)]);
    }
    query.extend(["&sig=", &URL_SAFE_NO_PAD.encode(mac)]);
    query
}

/// Reads a URL back. What it lets through need not be canonical.
fn parsed(raw_path: &str, raw_query: &str) -> Option<(Message, [u8; 32])> {
    let key = decoded(raw_path)?.parse().ok()?;
    let mut values = Values::default();
    for pair in raw_query.split('&') {
        let (name, value) = pair.split_once('=')?;
        let slot = values.slot(name)?;
        if slot.replace(decoded(value)?).is_some() {
            return None;
        }
    }
    let filename = values.filename;
    let message = Message {
        kid: values.kid?.into(),
        method: [SignMethod::Get, SignMethod::Head, SignMethod::Put]
            .into_iter()
            .find(|method| Some(method.as_str()) == values.method.as_deref())?,
        key,
        expires_at_unix_seconds: values.expires_at?.parse().ok()?,
        disposition: match values.disposition?.as_str() {
            "attachment" => Disposition::Attachment { filename },
            "inline" => Disposition::Inline { filename },
            _ => return None,
        },
        content_type: values.content_type,
        purpose: Purpose::ALL
            .into_iter()
            .find(|purpose| Some(purpose.as_str()) == values.purpose.as_deref())?,
        holder: values.holder,
    };
    let mac = URL_SAFE_NO_PAD.decode(values.signature?).ok()?;
    Some((message, mac.try_into().ok()?))
}

/// The parameters of a URL, each at most once.
#[derive(Default)]
struct Values {
    kid: Option<String>,
    expires_at: Option<String>,
    method: Option<String>,
    disposition: Option<String>,
    filename: Option<String>,
    content_type: Option<String>,
    purpose: Option<String>,
    holder: Option<String>,
    signature: Option<String>,
}

impl Values {
    fn slot(&mut self, name: &str) -> Option<&mut Option<String>> {
        Some(match name {
            "kid" => &mut self.kid,
            "exp" => &mut self.expires_at,
            "method" => &mut self.method,
            "disposition" => &mut self.disposition,
            "filename" => &mut self.filename,
            "type" => &mut self.content_type,
            "purpose" => &mut self.purpose,
            "for" => &mut self.holder,
            "sig" => &mut self.signature,
            _ => return None,
        })
    }
}

fn decoded(text: &str) -> Option<String> {
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    Some(decoded.into_owned())
}
