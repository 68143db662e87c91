//! What all calls on a guarded store share: the breaker, its probe, and what is known of the
//! store's health.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use stockroom_domain::{Key, Timestamp};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::GuardOptions;
use super::health::{Breaker, Health, LastError};
use crate::{Error, ErrorKind, Operation, Result, Store};

/// The weight of the newest sample in the smoothed latency, as TCP smooths its round-trip time
/// (RFC 6298, section 2).
const NEWEST_WEIGHT: f64 = 0.125;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) store: Arc<dyn Store>,
    options: GuardOptions,
    /// How many calls the store has answered. It is read without the lock when a call begins.
    answers: AtomicU64,
    /// Mirrors `State::switch`, so that a call need not take the lock to begin.
    is_open: AtomicBool,
    state: Mutex<State>,
}

/// A call that was let through.
#[derive(Debug)]
pub(super) struct Begun {
    /// How many answers there were that say nothing about this call: those from before it began,
    /// and its own.
    known_answers: u64,
    at: Instant,
}

#[derive(Debug)]
struct State {
    switch: Switch,
    reachable: Option<bool>,
    last_success_at: Option<Timestamp>,
    last_error: Option<LastError>,
    latency: Option<Duration>,
}

#[derive(Debug)]
enum Switch {
    Closed {
        since: Timestamp,
    },
    Open {
        since: Timestamp,
        /// What opened it.
        cause: String,
        /// How long to wait before the next probe.
        wait: Duration,
        probe_at: Instant,
        is_probing: bool,
    },
}

impl Shared {
    pub(super) fn new(store: Arc<dyn Store>, options: GuardOptions) -> Self {
        let since = options.clock.now();
        Self {
            store,
            options,
            answers: AtomicU64::new(0),
            is_open: AtomicBool::new(false),
            state: Mutex::new(State {
                switch: Switch::Closed { since },
                reachable: None,
                last_success_at: None,
                last_error: None,
                latency: None,
            }),
        }
    }

    /// Lets a call through while the breaker is closed.
    pub(super) fn begin(
        self: &Arc<Self>,
        operation: Operation,
        key: Option<&Key>,
    ) -> Result<Begun> {
        if self.is_closed() {
            return Ok(self.begun());
        }
        let detail = "the store failed a moment ago and is being probed";
        let error = Error::new(self.store.name(), operation, ErrorKind::Unavailable, detail);
        Err(match key {
            Some(key) => error.about(key),
            None => error,
        })
    }

    fn begun(&self) -> Begun {
        Begun {
            known_answers: self.answers.load(Ordering::Acquire),
            at: Instant::now(),
        }
    }

    /// Whether the breaker is closed. Where it is open, a probe is started that is due.
    pub(super) fn is_closed(self: &Arc<Self>) -> bool {
        if !self.is_open.load(Ordering::Acquire) {
            return true;
        }
        self.probe_if_due();
        false
    }

    /// Tells how a call ended, with its duration if it is one by which latency is measured.
    pub(super) fn ended<T>(&self, begun: &mut Begun, result: &Result<T>, is_timed: bool) {
        match result {
            Ok(_) => {
                self.succeeded(is_timed.then(|| begun.at.elapsed()));
                begun.known_answers += 1;
            }
            Err(error) => self.failed(begun, error),
        }
    }

    pub(super) fn succeeded(&self, took: Option<Duration>) {
        let now = self.options.clock.now();
        let mut state = self.lock();
        self.answers.fetch_add(1, Ordering::Release);
        state.reachable = Some(true);
        state.last_success_at = Some(now);
        if let Some(took) = took {
            state.latency = Some(smoothed(state.latency, took));
        }
    }

    /// Only a store that does not answer is taken out: every other error is an answer.
    pub(super) fn failed(&self, begun: &Begun, error: &Error) {
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::RangeNotSatisfiable { .. } => self.succeeded(None),
            _ if error.is_transient() => self.went_unanswered(begun, error),
            _ => {
                let mut state = self.lock();
                self.answers.fetch_add(1, Ordering::Release);
                state.reachable = Some(true);
                state.last_error = Some(self.last_error(error));
            }
        }
    }

    /// Opens the breaker, unless the store answered somebody else since the call began: then the
    /// fault lies with one object and not with the store.
    fn went_unanswered(&self, begun: &Begun, error: &Error) {
        let last_error = self.last_error(error);
        {
            let mut state = self.lock();
            state.reachable = Some(false);
            let since = last_error.at;
            state.last_error = Some(last_error);
            let is_odd_one_out = self.answers.load(Ordering::Acquire) > begun.known_answers;
            if is_odd_one_out || matches!(state.switch, Switch::Open { .. }) {
                return;
            }
            state.switch = Switch::Open {
                since,
                cause: error.to_string(),
                wait: self.options.first_wait,
                probe_at: Instant::now() + self.options.first_wait,
                is_probing: false,
            };
            self.is_open.store(true, Ordering::Release);
        }
        // The lock is given back first: a log may be slow.
        tracing::warn!(
            store = %self.store.name(), %error,
            "a store does not answer: its calls fail at once until a probe is answered"
        );
    }

    pub(super) fn health(&self) -> Health {
        let state = self.lock();
        Health {
            breaker: match state.switch {
                Switch::Closed { since } => Breaker::Closed { since },
                Switch::Open { since, .. } => Breaker::Open { since },
            },
            reachable: state.reachable,
            last_success_at: state.last_success_at,
            last_error: state.last_error.clone(),
            latency: state.latency,
        }
    }

    /// Starts the one probe when it is due, and a runtime is there to run it.
    fn probe_if_due(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let mut state = self.lock();
        if let Switch::Open {
            probe_at,
            is_probing,
            ..
        } = &mut state.switch
            && !*is_probing
            && *probe_at <= Instant::now()
        {
            *is_probing = true;
            drop(state);
            let probe = Probe {
                shared: Arc::clone(self),
                is_answered: false,
            };
            runtime.spawn(probe.run());
        }
    }

    /// The store answered a probe.
    fn close(&self) {
        let now = self.options.clock.now();
        let closed = Switch::Closed { since: now };
        let opened = {
            let mut state = self.lock();
            self.is_open.store(false, Ordering::Release);
            std::mem::replace(&mut state.switch, closed)
        };
        if let Switch::Open { since, cause, .. } = opened {
            let open_ms = now.since(since).as_millis();
            tracing::info!(store = %self.store.name(), open_ms, cause, "a store answers again");
            self.options.recovered.notify_one();
        }
    }

    /// A probe ended without an answer.
    fn stay_open(&self) {
        if let Switch::Open {
            wait,
            probe_at,
            is_probing,
            ..
        } = &mut self.lock().switch
        {
            *is_probing = false;
            *wait = self.options.longest_wait.min(wait.saturating_mul(2));
            *probe_at = Instant::now() + *wait;
        }
    }

    fn last_error(&self, error: &Error) -> LastError {
        LastError {
            at: self.options.clock.now(),
            operation: error.operation(),
            kind: error.kind(),
            detail: error.detail().to_owned(),
        }
    }

    /// The state is whole between any two of its changes, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A probe under way. When it is dropped before its end, as by a runtime that shuts down, it
/// counts as unanswered, so that another one can follow.
struct Probe {
    shared: Arc<Shared>,
    is_answered: bool,
}

impl Probe {
    async fn run(mut self) {
        let Shared { store, options, .. } = &*self.shared;
        let begun = self.shared.begun();
        let head = store.head(&options.probe_key);
        let answer = match tokio::time::timeout(options.probe_timeout, head).await {
            Ok(answer) => answer.map(drop),
            Err(_) => Err(self.timed_out()),
        };
        match &answer {
            Ok(()) => self.shared.succeeded(None),
            Err(error) => self.shared.failed(&begun, error),
        }
        if !answer.is_err_and(|error| error.is_transient()) {
            self.is_answered = true;
            self.shared.close();
        }
    }

    fn timed_out(&self) -> Error {
        let Shared { store, options, .. } = &*self.shared;
        let timeout_s = options.probe_timeout.as_secs_f32();
        let detail = format!("no answer to a probe within {timeout_s} s");
        let name = store.name();
        Error::new(name, Operation::Probe, ErrorKind::Unavailable, detail).about(&options.probe_key)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        if !self.is_answered {
            self.shared.stay_open();
        }
    }
}

fn smoothed(latency: Option<Duration>, newest: Duration) -> Duration {
    latency.map_or(newest, |latency| {
        latency.mul_f64(1.0 - NEWEST_WEIGHT) + newest.mul_f64(NEWEST_WEIGHT)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_follows_what_is_measured_slowly() {
        let ms = Duration::from_millis;
        assert_eq!(smoothed(None, ms(80)), ms(80));
        assert_eq!(smoothed(Some(ms(80)), ms(160)), ms(90));
        assert_eq!(smoothed(Some(ms(80)), ms(0)), ms(70));
        let settled = (0..100).fold(ms(80), |latency, _| smoothed(Some(latency), ms(5)));
        assert!(settled >= ms(5) && settled < ms(6), "{settled:?}");
    }
}
