//! The accept loop, on a thread and a runtime of its own, so that a test may block its own.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::connection::{ConnectionControl, ConnectionIo};
use crate::layer::{self, Shared};

/// A running server; dropping it stops the server and waits until its port is free.
pub(crate) struct Server {
    commands: Option<mpsc::UnboundedSender<SetOnline>>,
    thread: Option<JoinHandle<()>>,
    pub(crate) port: u16,
}

struct SetOnline {
    online: bool,
    done: std::sync::mpsc::Sender<io::Result<()>>,
}

impl Server {
    pub(crate) fn start(shared: Arc<Shared>, tls: Option<TlsAcceptor>) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (commands, received) = mpsc::unbounded_channel();
        let thread = std::thread::Builder::new()
            .name("chaos-s3".to_owned())
            .spawn(move || {
                let served = runtime.block_on(serve(listener, address, received, shared, tls));
                if let Err(error) = served {
                    tracing::error!(%error, "the S3 server for tests has stopped");
                }
            })?;
        Ok(Self {
            commands: Some(commands),
            thread: Some(thread),
            port: address.port(),
        })
    }

    /// Opens or closes the door and waits, for milliseconds, until that is done.
    pub(crate) fn set_online(&self, online: bool) -> io::Result<()> {
        let stopped = || io::Error::other("the server has stopped");
        let (done, answer) = std::sync::mpsc::channel();
        self.commands
            .as_ref()
            .and_then(|commands| commands.send(SetOnline { online, done }).ok())
            .ok_or_else(stopped)?;
        answer.recv().map_err(|_| stopped())?
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the server thread was already reported on stderr.
            let _ = thread.join();
        }
    }
}

enum Door {
    Open(TcpListener),
    /// Bound but not listening: connections are refused, yet nobody else can take the port.
    Closed(TcpSocket),
}

async fn serve(
    listener: std::net::TcpListener,
    address: SocketAddr,
    mut commands: mpsc::UnboundedReceiver<SetOnline>,
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
) -> io::Result<()> {
    let mut door = Door::Open(TcpListener::from_std(listener)?);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            command = commands.recv() => {
                let Some(SetOnline { online, done }) = command else {
                    return Ok(());
                };
                if !online {
                    connections.shutdown().await;
                }
                door = match turn(door, online, address) {
                    Ok(door) => {
                        // Nobody waiting for the answer is no reason to stop.
                        let _ = done.send(Ok(()));
                        door
                    }
                    Err(error) => {
                        let _ = done.send(Err(io::Error::new(error.kind(), error.to_string())));
                        return Err(error);
                    }
                };
            }
            accepted = accept(&door) => {
                // A failed accept is the client's loss, not the server's end.
                if let Ok(stream) = accepted {
                    let id = shared.connections.fetch_add(1, Ordering::Relaxed) + 1;
                    let control = ConnectionControl::new(id);
                    connections.spawn(connection(stream, control, Arc::clone(&shared), tls.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept(door: &Door) -> io::Result<TcpStream> {
    match door {
        Door::Open(listener) => Ok(listener.accept().await?.0),
        Door::Closed(_) => std::future::pending().await,
    }
}

fn turn(door: Door, online: bool, address: SocketAddr) -> io::Result<Door> {
    match (door, online) {
        (Door::Open(listener), false) => {
            drop(listener);
            let socket = TcpSocket::new_v4()?;
            // The port has connections in TIME_WAIT.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            Ok(Door::Closed(socket))
        }
        (Door::Closed(socket), true) => Ok(Door::Open(socket.listen(1_024)?)),
        (door, _) => Ok(door),
    }
}

async fn connection(
    stream: TcpStream,
    control: Arc<ConnectionControl>,
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
) {
    // Without this, small answers wait for delayed acknowledgements.
    let _ = stream.set_nodelay(true);
    let io = match tls {
        None => ConnectionIo::plain(stream, Arc::clone(&control)),
        Some(acceptor) => match acceptor.accept(stream).await {
            Ok(stream) => ConnectionIo::tls(stream, Arc::clone(&control)),
            Err(error) => {
                tracing::debug!(%error, "TLS handshake failed");
                return;
            }
        },
    };
    let service = service_fn({
        let control = Arc::clone(&control);
        move |request: Request<Incoming>| {
            let answer = layer::handle(Arc::clone(&shared), Arc::clone(&control), request);
            async { Ok::<_, Infallible>(answer.await) }
        }
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(io), service);
    let cut = tokio::select! {
        // Whatever ended the connection, the client knows.
        _ = &mut connection => return,
        cut = control.cut() => cut,
    };
    let io = connection.into_parts().io.into_inner();
    if let Err(error) = io.end(cut).await {
        tracing::debug!(%error, "the connection had already ended");
    }
}
