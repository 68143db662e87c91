//! Opens one source after another, and says of each one that is of no use why.

use std::ops::Range;
use std::sync::Arc;
use std::vec;

use super::{Doubt, DoubtKind, Doubts, Source, failed};
use crate::verdict::most_telling;
use crate::{ByteRange, ByteStream, Error, ErrorKind, GetResult, ObjectInfo, Result};

/// The sources that were not tried yet, and how the others failed.
#[derive(Debug)]
pub(super) struct Failover {
    untried: vec::IntoIter<Source>,
    errors: Vec<Error>,
    doubts: Arc<dyn Doubts>,
}

/// A source that answered.
pub(super) struct Opened {
    pub(super) source: Source,
    pub(super) info: ObjectInfo,
    pub(super) range: Range<u64>,
    pub(super) stream: ByteStream,
}

/// How a copy is known to be one of the object that is wanted.
#[derive(Debug)]
pub(super) enum Identity {
    /// By the size in bytes that was recorded; the chunk sums show the rest.
    Recorded(u64),
    /// By what the first source to answer told.
    Seen(ObjectInfo),
}

impl Failover {
    pub(super) fn new(sources: Vec<Source>, doubts: Arc<dyn Doubts>) -> Self {
        Self {
            untried: sources.into_iter(),
            errors: Vec::new(),
            doubts,
        }
    }

    /// The next source that has any object under its key.
    pub(super) async fn open_any(&mut self, range: Option<ByteRange>) -> Result<Opened> {
        while let Some(source) = self.untried.next() {
            match source.store.get(&source.location, range).await {
                Ok(result) => return Ok(opened(source, result)),
                // The store has the object and knows its size: that is an answer.
                Err(error) if matches!(error.kind(), ErrorKind::RangeNotSatisfiable { .. }) => {
                    return Err(error);
                }
                Err(error) => self.pass_over(&source, 0, error),
            }
        }
        Err(self.verdict())
    }

    /// The next source that delivers these bytes of this object.
    pub(super) async fn open(&mut self, identity: &Identity, range: Range<u64>) -> Result<Opened> {
        while let Some(source) = self.untried.next() {
            let request = request(&range, identity.size_bytes());
            let result = match source.store.get(&source.location, request).await {
                Ok(result) => result,
                Err(error) => {
                    self.pass_over(&source, range.start, error);
                    continue;
                }
            };
            let Some(objection) = identity.objection(&range, &result) else {
                return Ok(opened(source, result));
            };
            let error = failed(Some(&source), ErrorKind::Corrupt, objection);
            match identity {
                Identity::Recorded(_) => self.pass_over(&source, range.start, error),
                // The copy may well be good: it is only not known to be of the same object.
                Identity::Seen(_) => self.errors.push(error),
            }
        }
        Err(self.verdict())
    }

    /// Reports what is wrong with a source, and remembers it for the verdict.
    pub(super) fn pass_over(&mut self, source: &Source, offset: u64, error: Error) {
        let kind = DoubtKind::from(&error);
        let (store, key) = (source.store.name(), &source.location);
        // Without a catalog every hybrid read of a key that only the second store has ends here.
        if kind == DoubtKind::Missing && offset == 0 {
            tracing::debug!(%store, %key, "a copy is not there; trying the next one");
        } else {
            tracing::warn!(%store, %key, offset, %kind, %error, "a copy is of no use");
        }
        self.doubts.doubt(&Doubt {
            store: store.clone(),
            location: key.clone(),
            offset,
            kind,
            detail: error.detail().to_owned(),
        });
        // The caller's range exists, whatever a copy of another size makes of it.
        self.errors.push(match error.kind() {
            ErrorKind::RangeNotSatisfiable { .. } => {
                failed(Some(source), ErrorKind::Corrupt, "the copy is too short").caused_by(error)
            }
            _ => error,
        });
    }

    fn verdict(&mut self) -> Error {
        most_telling(self.errors.drain(..))
            .unwrap_or_else(|| failed(None, ErrorKind::Unavailable, "no copy is left to read from"))
    }
}

impl Identity {
    const fn size_bytes(&self) -> u64 {
        match self {
            Self::Recorded(size_bytes) => *size_bytes,
            Self::Seen(info) => info.size_bytes,
        }
    }

    /// Why an answer is not what was asked for.
    fn objection(&self, range: &Range<u64>, result: &GetResult) -> Option<&'static str> {
        if result.info.size_bytes != self.size_bytes() {
            Some("the copy has another size")
        } else if !self.may_be(&result.info) {
            Some("the copy is not known to hold the same bytes")
        } else if result.range != *range {
            Some("the store delivers other bytes than it was asked for")
        } else {
            None
        }
    }

    fn may_be(&self, info: &ObjectInfo) -> bool {
        match self {
            Self::Recorded(_) => true,
            Self::Seen(seen) => match (seen.sha256, info.sha256) {
                (Some(seen), Some(found)) => seen == found,
                _ => seen.etag.is_some() && seen.etag == info.etag,
            },
        }
    }
}

fn opened(source: Source, result: GetResult) -> Opened {
    Opened {
        source,
        info: result.info,
        range: result.range,
        stream: result.stream,
    }
}

/// An empty range cannot be asked for; it only occurs as the whole of an empty object.
fn request(range: &Range<u64>, size_bytes: u64) -> Option<ByteRange> {
    (*range != (0..size_bytes)).then(|| ByteRange::Inclusive {
        first: range.start,
        last: range.end - 1,
    })
}
