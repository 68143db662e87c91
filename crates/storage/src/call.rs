//! One call that is under way, so that every call is told to the observer exactly once.

use std::fmt;
use std::sync::Arc;

use stockroom_domain::StoreName;
use tokio::time::Instant;

use crate::{Call, Error, ErrorKind, Observer, Operation, Outcome};

/// Begins when it is made and ends once: with an outcome, or as dropped.
pub(crate) struct OpenCall {
    observer: Arc<dyn Observer>,
    store: StoreName,
    operation: Operation,
    started_at: Instant,
    sent_bytes: u64,
    received_bytes: u64,
    is_over: bool,
}

impl OpenCall {
    pub(crate) fn begin(
        observer: &Arc<dyn Observer>,
        store: &StoreName,
        operation: Operation,
    ) -> Self {
        Self {
            observer: Arc::clone(observer),
            store: store.clone(),
            operation,
            started_at: Instant::now(),
            sent_bytes: 0,
            received_bytes: 0,
            is_over: false,
        }
    }

    /// Counts bytes that went to the store.
    pub(crate) const fn sent(&mut self, bytes: u64) {
        self.sent_bytes += bytes;
    }

    /// Counts bytes that came from the store.
    pub(crate) const fn received(&mut self, bytes: u64) {
        self.received_bytes += bytes;
    }

    /// Ends the call. A second end is not told: a stream may fail after its last byte was counted.
    pub(crate) fn end(&mut self, outcome: Outcome) {
        if std::mem::replace(&mut self.is_over, true) {
            return;
        }
        self.observer.call(&Call {
            store: &self.store,
            operation: self.operation,
            outcome,
            sent_bytes: self.sent_bytes,
            received_bytes: self.received_bytes,
            elapsed: self.started_at.elapsed(),
        });
    }

    /// Ends the call as its result says, and gives the result back.
    pub(crate) fn end_with<T>(mut self, result: Result<T, Error>) -> Result<T, Error> {
        self.end(match &result {
            Ok(_) => Outcome::Ok,
            Err(error) => outcome_of(error),
        });
        result
    }
}

/// A store that says "there is none" did what it should.
pub(crate) const fn outcome_of(error: &Error) -> Outcome {
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::RangeNotSatisfiable { .. } => Outcome::Ok,
        _ => Outcome::Failed,
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.end(Outcome::Dropped);
    }
}

impl fmt::Debug for OpenCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.store, self.operation)
    }
}
