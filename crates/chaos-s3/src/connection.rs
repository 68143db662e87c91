//! One TCP connection, plain or TLS, that can be cut from inside a request.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::server::TlsStream;

use crate::locked;

/// How long a client has to take what was written before a reset. RST makes the kernel throw away
/// what it has not delivered, and it tells nobody when it has.
const DELIVERY: Duration = Duration::from_millis(50);

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// At once, with RST.
    Reset,
    /// With RST, once the client had a moment to take what was written.
    DeliverThenReset,
    /// In good order: `close_notify` where there is TLS, then FIN.
    Close,
}

/// Lets a request or a body end the connection it came over.
#[derive(Debug)]
pub(crate) struct ConnectionControl {
    pub(crate) id: u64,
    cut: Mutex<CutState>,
    fired: Notify,
}

#[derive(Debug, Clone, Copy)]
enum CutState {
    No,
    /// To be cut as soon as what was written so far has been flushed.
    Armed(Cut),
    Fired(Cut),
}

impl ConnectionControl {
    pub(crate) fn new(id: u64) -> Arc<Self> {
        Arc::new(Self {
            id,
            cut: Mutex::new(CutState::No),
            fired: Notify::new(),
        })
    }

    /// Cuts the connection. The future never ends, the connection's task drops it.
    pub(crate) async fn cut_now<T>(&self, cut: Cut) -> T {
        *locked(&self.cut) = CutState::Fired(cut);
        self.fired.notify_one();
        std::future::pending().await
    }

    /// Cuts the connection once everything written so far is on its way.
    pub(crate) fn cut_after_flush(&self, cut: Cut) {
        let mut state = locked(&self.cut);
        if matches!(*state, CutState::No) {
            *state = CutState::Armed(cut);
        }
    }

    /// Waits until the connection is to be cut.
    pub(crate) async fn cut(&self) -> Cut {
        loop {
            if let CutState::Fired(cut) = *locked(&self.cut) {
                return cut;
            }
            self.fired.notified().await;
        }
    }

    fn flushed(&self) {
        let mut state = locked(&self.cut);
        if let CutState::Armed(cut) = *state {
            *state = CutState::Fired(cut);
            self.fired.notify_one();
        }
    }
}

/// The byte stream of a connection; tells the control about flushes.
#[derive(Debug)]
pub(crate) struct ConnectionIo {
    stream: Stream,
    control: Arc<ConnectionControl>,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl ConnectionIo {
    pub(crate) fn plain(stream: TcpStream, control: Arc<ConnectionControl>) -> Self {
        Self {
            stream: Stream::Plain(stream),
            control,
        }
    }

    pub(crate) fn tls(stream: TlsStream<TcpStream>, control: Arc<ConnectionControl>) -> Self {
        Self {
            stream: Stream::Tls(Box::new(stream)),
            control,
        }
    }

    /// Ends the connection the way `cut` says. Errors mean that it has already ended.
    pub(crate) async fn end(mut self, cut: Cut) -> io::Result<()> {
        match cut {
            Cut::Close => self.shutdown().await,
            Cut::Reset | Cut::DeliverThenReset => {
                if cut == Cut::DeliverThenReset {
                    tokio::time::sleep(DELIVERY).await;
                }
                let tcp = match &self.stream {
                    Stream::Plain(tcp) => tcp,
                    Stream::Tls(tls) => tls.get_ref().0,
                };
                // With a linger time of zero, closing the socket sends RST instead of FIN.
                tcp.set_zero_linger()
            }
        }
    }
}

impl AsyncRead for ConnectionIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for ConnectionIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        };
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.control.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
