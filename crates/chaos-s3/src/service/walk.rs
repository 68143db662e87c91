//! Walks a map of keys the way S3 lists them: from a position on, below a prefix, with a delimiter.

use std::collections::BTreeMap;
use std::ops::Bound;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use s3s::{S3Result, s3_error};

/// Where a listing goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Position {
    /// Behind this key.
    Key(String),
    /// Behind all keys that start with this common prefix.
    Prefix(String),
}

impl Position {
    /// An opaque token, as a continuation token must be.
    pub(super) fn to_token(&self) -> String {
        let text = match self {
            Self::Key(key) => format!("k{key}"),
            Self::Prefix(prefix) => format!("p{prefix}"),
        };
        BASE64_URL_SAFE_NO_PAD.encode(text)
    }

    pub(super) fn from_token(token: &str) -> S3Result<Self> {
        let text = BASE64_URL_SAFE_NO_PAD
            .decode(token)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .unwrap_or_default();
        match text.split_at_checked(1) {
            Some(("k", key)) => Ok(Self::Key(key.to_owned())),
            Some(("p", prefix)) => Ok(Self::Prefix(prefix.to_owned())),
            _ => Err(s3_error!(
                InvalidArgument,
                "The continuation token provided is incorrect"
            )),
        }
    }

    fn is_before(&self, key: &str) -> bool {
        match self {
            Self::Key(last) => key > last.as_str(),
            Self::Prefix(last) => key > last.as_str() && !key.starts_with(last),
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Key(text) | Self::Prefix(text) => text,
        }
    }
}

/// One key, or all keys below a common prefix.
#[derive(Clone, Copy)]
pub(super) enum Entry<'a, T> {
    Key(&'a str, T),
    Prefix(&'a str),
}

/// Walks what lies below a prefix in the order of keys, with keys that share a common prefix up
/// to the delimiter folded into one entry.
pub(super) fn walk<'a, V, T>(
    map: &'a BTreeMap<String, V>,
    prefix: &'a str,
    delimiter: Option<&'a str>,
    after: Option<&'a Position>,
    select: impl Fn(&'a V) -> Option<T> + 'a,
) -> impl Iterator<Item = Entry<'a, T>> + 'a {
    let start = after
        .map(Position::text)
        .filter(|text| *text > prefix)
        .unwrap_or(prefix);
    let mut folded: Option<&str> = None;
    map.range::<str, _>((Bound::Included(start), Bound::Unbounded))
        .take_while(move |(key, _)| key.starts_with(prefix))
        .filter(move |(key, _)| after.is_none_or(|position| position.is_before(key)))
        .filter_map(move |(key, value)| Some((key, select(value)?)))
        .filter_map(move |(key, value)| {
            let Some(common) = common_prefix(key, prefix, delimiter) else {
                return Some(Entry::Key(key, value));
            };
            let seen = folded == Some(common);
            folded = Some(common);
            (!seen).then_some(Entry::Prefix(common))
        })
}

fn common_prefix<'a>(key: &'a str, prefix: &str, delimiter: Option<&str>) -> Option<&'a str> {
    let delimiter = delimiter?;
    let at = key[prefix.len()..].find(delimiter)?;
    Some(&key[..prefix.len() + at + delimiter.len()])
}
