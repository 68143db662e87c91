//! One connection: it is ended when the client takes too little for too long, and it is not ended
//! while the client still sends what it was answered before.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::http::pace::Patience;
use crate::http::server::Timeouts;

/// How long a client may go on sending after the last answer.
const LINGER: Duration = Duration::from_secs(5);

/// What every HTTP/2 connection begins with (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that fails when the client takes too little for too long, so that nobody can hold a
/// file and its buffers open by not reading. Silence while reading is the business of those who
/// read, hyper for heads and `pace.rs` for bodies, but for the very beginning: hyper counts no
/// time before it knows which version of HTTP is spoken.
pub(super) struct StallGuard {
    stream: TcpStream,
    patience: Patience,
    opening: Option<Opening>,
    /// Whether a body was answered before its end.
    is_unread: Arc<AtomicBool>,
    lingering: Option<Pin<Box<Sleep>>>,
}

/// The beginning of a connection, up to the byte that tells the version of HTTP.
struct Opening {
    /// What may still come of HTTP/2's preface.
    rest: &'static [u8],
    timer: Pin<Box<Sleep>>,
}

impl Opening {
    /// Whether these bytes leave the version open.
    fn goes_on_after(&mut self, bytes: &[u8]) -> bool {
        match self.rest.strip_prefix(bytes) {
            Some(rest) => {
                self.rest = rest;
                !rest.is_empty()
            }
            None => false,
        }
    }
}

impl StallGuard {
    pub(super) fn new(stream: TcpStream, timeouts: Timeouts, is_unread: Arc<AtomicBool>) -> Self {
        // Answers go out at once; a failure only costs time.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            patience: Patience::new(timeouts.idle),
            opening: Some(Opening {
                rest: HTTP2_PREFACE,
                timer: Box::pin(sleep(timeouts.header)),
            }),
            is_unread,
            lingering: None,
        }
    }

    /// Takes what a client still sends that was answered before the end of its body. Closing at
    /// once would reset the connection, and many clients would lose the answer (RFC 9112, 9.6).
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut scratch = [0; 8 * 1024];
        loop {
            let mut unread = ReadBuf::new(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(cx, &mut unread) {
                Poll::Ready(Ok(())) if !unread.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                // Nobody is in the middle of anything.
                Poll::Pending if !self.is_owed_more() => return Poll::Ready(Ok(())),
                Poll::Pending => {}
            }
            let is_pending = unread.filled().is_empty();
            let timer = self
                .lingering
                .get_or_insert_with(|| Box::pin(sleep(LINGER)));
            if timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            if is_pending {
                return Poll::Pending;
            }
        }
    }

    /// Whether the client is likely to go on, though nothing has come just now.
    fn is_owed_more(&self) -> bool {
        self.lingering.is_some() || self.is_unread.load(Ordering::Relaxed)
    }

    /// Passes on how many bytes the client took, or waits no longer than the client may take.
    fn guard(
        &mut self,
        cx: &mut Context<'_>,
        taken: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match &taken {
            Poll::Ready(bytes) => {
                self.patience.moved(*bytes.as_ref().unwrap_or(&0));
                taken
            }
            Poll::Pending => {
                let over = self.patience.poll_over(cx);
                over.map(|()| Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl AsyncRead for StallGuard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let Some(opening) = &mut self.opening else {
            return result;
        };
        if result.is_pending() {
            let timer = opening.timer.as_mut();
            return timer.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        if !opening.goes_on_after(&buffer.filled()[before..]) {
            self.opening = None;
        }
        result
    }
}

impl AsyncWrite for StallGuard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.guard(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.guard(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket has nothing of its own to flush.
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        self.poll_linger(cx)
    }
}

/// The same request; `is_unread` tells, also when the body is dropped, whether it had more.
pub(super) fn noting_what_is_unread(
    request: Request<Incoming>,
    is_unread: &Arc<AtomicBool>,
) -> Request<NotedBody> {
    request.map(|body| {
        is_unread.store(!body.is_end_stream(), Ordering::Relaxed);
        NotedBody {
            body,
            is_unread: Arc::clone(is_unread),
        }
    })
}

/// The body of a request of which the connection knows whether it came to its end.
pub(super) struct NotedBody {
    body: Incoming,
    is_unread: Arc<AtomicBool>,
}

impl Body for NotedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) || self.body.is_end_stream() {
            self.is_unread.store(false, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
