//! The accept loop. `axum::serve` installs no timer, so that hyper's time-outs would never fire;
//! this loop does, and it lets running downloads end when the process is asked to.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::http::address::Peer;
use crate::http::pace::Patience;

/// Time-outs of connections.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From the beginning of the connection, or from the end of the request before, to the end of
    /// the head.
    pub header: Duration,
    /// How long a client may take next to nothing of a response.
    pub idle: Duration,
    /// How long running requests may go on after the shutdown began.
    pub shutdown: Duration,
}

/// Serves until `shutdown` is cancelled, then lets the running requests end.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    timeouts: Timeouts,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let graceful = GracefulShutdown::new();
    let (connections, cut) = (TaskTracker::new(), CancellationToken::new());
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.header)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(timeouts.idle)
        .max_header_list_size(MAX_HEAD_BYTES as u32);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if concerns_one_connection(&error) => continue,
            Err(error) => {
                // Out of file descriptors, most likely: wait until some are free again.
                tracing::error!(%error, "no connection can be accepted");
                sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        tracing::trace!(%peer, "a connection begins");
        let peer = Peer(peer.ip());
        let service = router
            .clone()
            .map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(peer);
                request
            });
        let service = TowerToHyperService::new(service);
        let connection =
            builder.serve_connection(TokioIo::new(StallGuard::new(stream, timeouts)), service);
        let connection = graceful.watch(connection.into_owned());
        let cut = cut.clone();
        connections.spawn(async move {
            tokio::select! {
                () = cut.cancelled() => {}
                ended = connection => if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early");
                }
            }
        });
    }
    drop(listener);
    if timeout(timeouts.shutdown, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("requests that were still running are cut");
        // Whoever waits for the end of an answer learns of it before the process ends.
        cut.cancel();
        connections.close();
        connections.wait().await;
    }
    Ok(())
}

/// The largest head of a request, and hyper's read buffer. The longest key takes 3 KiB when every
/// byte is escaped, a key's header less than 1 KiB.
const MAX_HEAD_BYTES: usize = 64 * 1024;

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
    )
}

/// How long a client may go on sending after the last answer.
const LINGER: Duration = Duration::from_secs(5);

/// What every HTTP/2 connection begins with (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that fails when the client takes too little for too long, so that nobody can hold a
/// file and its buffers open by not reading. Silence while reading is the business of those who
/// read, hyper for heads and `pace.rs` for bodies, but for the very beginning: hyper counts no
/// time before it knows which version of HTTP is spoken.
struct StallGuard {
    stream: TcpStream,
    patience: Patience,
    opening: Option<Opening>,
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
    fn new(stream: TcpStream, timeouts: Timeouts) -> Self {
        // Answers go out at once; a failure only costs time.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            patience: Patience::new(timeouts.idle),
            opening: Some(Opening {
                rest: HTTP2_PREFACE,
                timer: Box::pin(sleep(timeouts.header)),
            }),
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
                Poll::Pending if self.lingering.is_none() => return Poll::Ready(Ok(())),
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
