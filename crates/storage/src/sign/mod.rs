//! URLs that carry their own permission, for objects on local disk.
//!
//! A signature is an HMAC-SHA256 (RFC 2104) over everything the URL allows: the id of the signing
//! key, the method, the object's key, the expiry, the disposition with its file name, the media
//! type and the purpose. Whoever changes any of them has no signature any more.

mod keys;
mod message;
mod url;

pub use keys::{SigningKey, SigningKeyError, SigningKeys};
pub use url::{Purpose, SignError, SignatureError, UrlSigner, VerifiedUrl, is_media_type};
