//! Reads one object that has copies on several stores: fails over from one to the next, also in
//! the middle, and checks the bytes before it passes them on.

mod doubt;
mod failover;
mod reading;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use stockroom_domain::{Key, StoreName};

pub use self::doubt::{Doubt, DoubtKind, Doubts, NoDoubts};
use self::failover::{Failover, Identity};
use self::reading::Reading;
use crate::mode::hybrid_name;
use crate::{
    ByteRange, ByteStream, CHUNK_BYTES, ChunkSums, Error, ErrorKind, Facts, ObjectInfo, Operation,
    Result, Store,
};

/// A copy of an object.
#[derive(Debug, Clone)]
pub struct Source {
    /// The store that has it.
    pub store: Arc<dyn Store>,
    /// The key under which it lies there.
    pub location: Key,
}

/// What was recorded of an object when it was stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its size in bytes.
    pub size_bytes: u64,
    /// The sums of its chunks. Without them only the size can be checked.
    pub chunk_sums: Option<ChunkSums>,
}

impl From<&Facts> for Expected {
    fn from(facts: &Facts) -> Self {
        Self {
            size_bytes: facts.size_bytes,
            chunk_sums: Some(facts.chunk_sums.clone()),
        }
    }
}

/// An object that is being read.
pub struct OpenRead {
    /// The size of the whole object in bytes.
    pub size_bytes: u64,
    /// The offsets of the bytes that the stream delivers; empty only when the object is.
    pub range: Range<u64>,
    /// The store that answered first. A later failover does not change it.
    pub served_by: StoreName,
    /// The stores that the read went on from.
    pub continued_by: ContinuedBy,
    /// What that store knows of the object.
    pub info: ObjectInfo,
    /// The bytes. An error is its last item: whoever passes the bytes on must cut the answer
    /// then, so that it cannot be taken for complete.
    pub stream: ByteStream,
}

/// The stores that a read went on from, one for each failover, as long as the bytes flow. Clones
/// are the same list.
#[derive(Debug, Clone, Default)]
pub struct ContinuedBy(Arc<Mutex<Vec<StoreName>>>);

impl ContinuedBy {
    /// Those so far, in their order.
    #[must_use]
    pub fn stores(&self) -> Vec<StoreName> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn push(&self, store: &StoreName) {
        let mut stores = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stores.push(store.clone());
    }
}

impl fmt::Debug for OpenRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenRead")
            .field("size_bytes", &self.size_bytes)
            .field("range", &self.range)
            .field("served_by", &self.served_by)
            .finish_non_exhaustive()
    }
}

/// Opens an object, or the part of it that `range` names, on the first of `sources` that can
/// deliver it.
///
/// With `expected`, a copy of another size is passed over, and with chunk sums every chunk of
/// [`CHUNK_BYTES`] is checked before any byte of it is passed on; for that the read begins and
/// ends at chunk boundaries, and up to one chunk is held in memory. When a source fails, ends
/// early or delivers a bad chunk, the read goes on with the next source from the same offset.
/// After the last one the stream ends with an error.
///
/// Without `expected`, the first source that answers says what the object is. A later source is
/// taken in the middle of the stream only if it tells the same size and the same SHA-256, or,
/// where a SHA-256 is not known on both sides, the same validator (`etag`). Nothing else shows
/// that it holds the same bytes.
///
/// What was wrong with a source is told to `doubts` and logged.
///
/// # Errors
/// - `RangeNotSatisfiable` when no byte of the range exists.
/// - `NotFound` when every source proved that it has no such object; `Unavailable` when one could
///   not answer, or when there is no source at all: unknown is not missing.
/// - `Corrupt` when the chunk sums do not fit the size, which says that the record is wrong, not
///   the copies; or when every copy is wrong.
/// - Else that of the stores.
pub async fn open_read(
    sources: Vec<Source>,
    expected: Option<Expected>,
    range: Option<ByteRange>,
    doubts: Arc<dyn Doubts>,
) -> Result<OpenRead> {
    let Some(first) = sources.first() else {
        return Err(failed(None, ErrorKind::Unavailable, "no copy to read from"));
    };
    let planned = match expected {
        Some(expected) => Some((plan(&expected, range, first)?, expected)),
        None => None,
    };
    let mut failover = Failover::new(sources, doubts);
    let (identity, sums, wanted, opened) = match planned {
        Some((plan, expected)) => {
            let identity = Identity::Recorded(expected.size_bytes);
            let opened = failover.open(&identity, plan.fetch).await?;
            (identity, expected.chunk_sums, plan.wanted, opened)
        }
        None => {
            let opened = failover.open_any(range).await?;
            let identity = Identity::Seen(opened.info.clone());
            let wanted = opened.range.clone();
            (identity, None, wanted, opened)
        }
    };
    let continued_by = ContinuedBy::default();
    Ok(OpenRead {
        size_bytes: opened.info.size_bytes,
        range: wanted.clone(),
        served_by: opened.source.store.name().clone(),
        continued_by: continued_by.clone(),
        info: opened.info.clone(),
        stream: Reading::new(failover, identity, sums, wanted, opened, continued_by).into_stream(),
    })
}

/// Offsets of bytes.
struct Plan {
    /// Those that are wanted.
    wanted: Range<u64>,
    /// Those that must be fetched to check them.
    fetch: Range<u64>,
}

fn plan(expected: &Expected, range: Option<ByteRange>, first: &Source) -> Result<Plan> {
    let size_bytes = expected.size_bytes;
    let wanted = match range.map(|range| range.resolve(size_bytes)) {
        None => 0..size_bytes,
        Some(Ok(wanted)) => wanted,
        Some(Err(error)) => {
            let kind = ErrorKind::RangeNotSatisfiable { size_bytes };
            let detail = "no byte of the range exists";
            return Err(failed(Some(first), kind, detail).caused_by(error));
        }
    };
    let Some(sums) = &expected.chunk_sums else {
        let fetch = wanted.clone();
        return Ok(Plan { wanted, fetch });
    };
    if !sums.fits(size_bytes) {
        let detail = "the recorded chunk sums do not fit the recorded size";
        return Err(failed(Some(first), ErrorKind::Corrupt, detail));
    }
    let chunk_bytes = CHUNK_BYTES as u64;
    let start = wanted.start - wanted.start % chunk_bytes;
    let end = wanted.end.div_ceil(chunk_bytes).saturating_mul(chunk_bytes);
    let fetch = start..end.min(size_bytes);
    Ok(Plan { wanted, fetch })
}

fn failed(source: Option<&Source>, kind: ErrorKind, detail: &'static str) -> Error {
    match source {
        Some(source) => {
            Error::new(source.store.name(), Operation::Get, kind, detail).about(&source.location)
        }
        None => Error::new(&hybrid_name(), Operation::Get, kind, detail),
    }
}
