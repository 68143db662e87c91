//! What a signature covers, as bytes that can be read in one way only.

use stockroom_domain::Key;

use super::Purpose;
use crate::{Disposition, SignMethod};

/// Everything a URL allows. Its encoding is signed, and its URL form is built from it, so the two
/// cannot drift apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) kid: Box<str>,
    pub(super) method: SignMethod,
    pub(super) key: Key,
    pub(super) expires_at_unix_seconds: i64,
    pub(super) disposition: Disposition,
    pub(super) content_type: Option<String>,
    pub(super) purpose: Purpose,
    pub(super) holder: Option<String>,
}

impl Message {
    /// The labels of the encodings without and with a holder. A change of the fields needs another
    /// one.
    const VERSION: &str = "stockroom signed url 1";
    const VERSION_WITH_HOLDER: &str = "stockroom signed url 2";

    /// Each field with its length before it; what may be absent has a byte that says so. So no
    /// two messages share an encoding.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(256);
        let version = match self.holder {
            None => Self::VERSION,
            Some(_) => Self::VERSION_WITH_HOLDER,
        };
        push(&mut bytes, version);
        push(&mut bytes, &self.kid);
        push(&mut bytes, self.method.as_str());
        push(&mut bytes, self.key.as_str());
        push(&mut bytes, &self.expires_at_unix_seconds.to_string());
        push(&mut bytes, disposition_name(&self.disposition));
        push_optional(&mut bytes, self.disposition.filename());
        push_optional(&mut bytes, self.content_type.as_deref());
        push(&mut bytes, self.purpose.as_str());
        if let Some(holder) = &self.holder {
            push(&mut bytes, holder);
        }
        bytes
    }
}

/// The name of the disposition in URLs.
pub(super) const fn disposition_name(disposition: &Disposition) -> &'static str {
    match disposition {
        Disposition::Attachment { .. } => "attachment",
        Disposition::Inline { .. } => "inline",
    }
}

fn push(bytes: &mut Vec<u8>, field: &str) {
    bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
    bytes.extend_from_slice(field.as_bytes());
}

fn push_optional(bytes: &mut Vec<u8>, field: Option<&str>) {
    match field {
        None => bytes.push(0),
        Some(field) => {
            bytes.push(1);
            push(bytes, field);
        }
    }
}
