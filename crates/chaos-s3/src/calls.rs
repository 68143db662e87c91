//! The log of calls: what was asked, over which connection, and how it was answered.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::locked;
use crate::operation::Operation;

/// One call that reached the server, in the order the request heads arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What was asked.
    pub operation: Operation,
    /// The object key, where the call is about one.
    pub key: Option<String>,
    /// The status answered; `None` while or because there was no answer.
    pub status: Option<u16>,
    /// Bytes of the request's body that were read.
    pub request_bytes: u64,
    /// Bytes of the answer's body that were handed to the connection.
    pub response_bytes: u64,
    /// Which TCP connection it came over; ids rise from 1.
    pub connection: u64,
    /// The `Range` header, as sent.
    pub range: Option<String>,
}

/// The counters of one call, shared with the bodies that are still moving.
#[derive(Debug)]
pub(crate) struct CallCounters {
    /// 0 is "not answered".
    status: AtomicU16,
    request_bytes: AtomicU64,
    response_bytes: AtomicU64,
}

impl CallCounters {
    pub(crate) fn answered(&self, status: http::StatusCode) {
        self.status.store(status.as_u16(), Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.request_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.response_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
pub(crate) struct CallLog(Mutex<Vec<Entry>>);

#[derive(Debug)]
struct Entry {
    operation: Operation,
    key: Option<String>,
    connection: u64,
    range: Option<String>,
    counters: Arc<CallCounters>,
}

impl CallLog {
    /// Logs a call that begins.
    pub(crate) fn begin(
        &self,
        operation: Operation,
        key: Option<String>,
        connection: u64,
        range: Option<String>,
    ) -> Arc<CallCounters> {
        let counters = Arc::new(CallCounters {
            status: AtomicU16::new(0),
            request_bytes: AtomicU64::new(0),
            response_bytes: AtomicU64::new(0),
        });
        locked(&self.0).push(Entry {
            operation,
            key,
            connection,
            range,
            counters: Arc::clone(&counters),
        });
        counters
    }

    pub(crate) fn snapshot(&self) -> Vec<Call> {
        locked(&self.0).iter().map(Entry::to_call).collect()
    }

    pub(crate) fn count(&self, operation: Operation) -> usize {
        locked(&self.0)
            .iter()
            .filter(|entry| operation.covers(entry.operation))
            .count()
    }

    pub(crate) fn clear(&self) {
        locked(&self.0).clear();
    }
}

impl Entry {
    fn to_call(&self) -> Call {
        let status = self.counters.status.load(Ordering::Relaxed);
        Call {
            operation: self.operation,
            key: self.key.clone(),
            status: (status != 0).then_some(status),
            request_bytes: self.counters.request_bytes.load(Ordering::Relaxed),
            response_bytes: self.counters.response_bytes.load(Ordering::Relaxed),
            connection: self.connection,
            range: self.range.clone(),
        }
    }
}
