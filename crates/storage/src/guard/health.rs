//! What is known of a store's health, in plain types.

use std::time::Duration;

use stockroom_domain::Timestamp;

use crate::{ErrorKind, Operation};

/// How a store has been doing, as its calls have shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Whether calls are let through.
    pub breaker: Breaker,
    /// Whether the last call was answered, be it with a refusal; none before the first.
    pub reachable: Option<bool>,
    /// When a call last did what it should, or proved that there is no such object.
    pub last_success_at: Option<Timestamp>,
    /// The last failure, whatever came after it.
    pub last_error: Option<LastError>,
    /// How long the beginning of a `get`, a `head` or a `put` takes, smoothed over the last ones
    /// that succeeded.
    pub latency: Option<Duration>,
}

/// The circuit breaker of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Breaker {
    /// Calls are let through.
    Closed {
        /// Since when.
        since: Timestamp,
    },
    /// The store does not answer, so calls fail at once.
    Open {
        /// Since when.
        since: Timestamp,
    },
}

impl Breaker {
    /// Whether calls fail at once.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }

    /// Since when it is as it is.
    #[must_use]
    pub const fn since(&self) -> Timestamp {
        match self {
            Self::Closed { since } | Self::Open { since } => *since,
        }
    }

    /// The name of the state in metrics and answers.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Closed { .. } => "closed",
            Self::Open { .. } => "open",
        }
    }
}

/// A failure of a store. It holds no secret and no signed URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastError {
    /// When it was noticed.
    pub at: Timestamp,
    /// What was being done.
    pub operation: Operation,
    /// The kind of failure.
    pub kind: ErrorKind,
    /// One clause for people: what the store said.
    pub detail: String,
}
