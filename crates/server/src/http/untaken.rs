//! Answers over HTTP/2 that nobody takes.
//!
//! Over HTTP/1 the connection itself shows that a client takes nothing, and `server.rs` cuts it.
//! Over HTTP/2 a client may let one stream wait and go on with others; hyper then asks for no
//! further piece of the body, and the body could hold its file and buffers for ever. Here a
//! watcher lets go of them.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use crate::http::pace::{MIN_PROGRESS_BYTES, TooSlow};

/// The same response, whose body ends with an error when the client takes less than 16 KiB of it
/// in this time. Short ones hold little and are left as they are.
#[must_use]
pub fn watched(response: Response, limit: Duration) -> Response {
    let size_bytes = response.body().size_hint().exact();
    if size_bytes.is_some_and(|bytes| bytes <= MIN_PROGRESS_BYTES as u64) {
        return response;
    }
    response.map(|body| Body::new(WatchedBody::new(body, limit)))
}

struct WatchedBody {
    state: Arc<Mutex<State>>,
    limit: Duration,
    watcher: AbortHandle,
}

struct State {
    /// None once it was let go of.
    body: Option<Body>,
    /// What is left of a piece of which only a part was asked for.
    rest: Bytes,
    /// Since when it is the client's turn; none while the server waits for a store.
    handed_at: Option<Instant>,
}

impl WatchedBody {
    fn new(body: Body, limit: Duration) -> Self {
        let state = Arc::new(Mutex::new(State {
            body: Some(body),
            rest: Bytes::new(),
            handed_at: Some(Instant::now()),
        }));
        let watcher = tokio::spawn(watch(Arc::clone(&state), limit)).abort_handle();
        Self {
            state,
            limit,
            watcher,
        }
    }
}

impl Drop for WatchedBody {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

/// Lets go of the body when the client lets it wait for too long.
async fn watch(state: Arc<Mutex<State>>, limit: Duration) {
    loop {
        let turn = lock(&state).handed_at;
        sleep_until(turn.unwrap_or_else(Instant::now) + limit).await;
        let mut state = lock(&state);
        if state.handed_at.is_some_and(|at| at.elapsed() >= limit) {
            state.body = None;
            state.rest = Bytes::new();
            return;
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// The next piece, no longer than what a client has to take in time.
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        limit: Duration,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(Some(Err(axum::Error::new(TooSlow(limit)))));
        };
        if self.rest.is_empty() {
            match std::task::ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let bytes = self.rest.len().min(MIN_PROGRESS_BYTES);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(bytes)))))
    }
}

impl HttpBody for WatchedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut state = lock(&self.state);
        let piece = state.poll_piece(cx, self.limit);
        state.handed_at = piece.is_ready().then(Instant::now);
        piece
    }

    fn is_end_stream(&self) -> bool {
        let state = lock(&self.state);
        state.rest.is_empty() && state.body.as_ref().is_some_and(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let state = lock(&self.state);
        let mut hint = state
            .body
            .as_ref()
            .map(HttpBody::size_hint)
            .unwrap_or_default();
        let rest_bytes = state.rest.len() as u64;
        // The upper end first: it must not be below the lower one.
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest_bytes));
        }
        hint.set_lower(hint.lower().saturating_add(rest_bytes));
        hint
    }
}
