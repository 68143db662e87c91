//! The accept loop. `axum::serve` installs no timer, so that hyper's time-outs would never fire;
//! this loop does, and it lets running downloads end when the process is asked to.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::http::address::Peer;
use crate::http::connection::{StallGuard, noting_what_is_unread};

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
        let is_unread = Arc::new(AtomicBool::new(false));
        let guard = StallGuard::new(stream, timeouts, Arc::clone(&is_unread));
        let service = router
            .clone()
            .map_request(move |mut request: Request<Incoming>| {
                request.extensions_mut().insert(peer);
                noting_what_is_unread(request, &is_unread)
            });
        let service = TowerToHyperService::new(service);
        let connection = builder.serve_connection(TokioIo::new(guard), service);
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
