//! `stockroom serve`: the server, until it is told to stop.

mod reload;
mod sample;
mod shapes;

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Context;
use super::error::CliError;
use crate::app::App;
use crate::assemble::assemble;
use crate::exit::Exit;
use crate::flows::ledger;
use crate::http::routes::router;
use crate::http::server::{Timeouts, serve};
use crate::workers::{engine, identity, migrate, outbox, views};

/// How to serve.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Make a few sample models when there is no model yet, and print how to use them
    #[arg(long)]
    sample_data: bool,
}

#[derive(Serialize)]
struct Listening<'a> {
    event: &'static str,
    address: SocketAddr,
    url: &'a str,
    mode: &'a str,
    #[serde(flatten)]
    sample: Option<&'a sample::Sample>,
}

/// Serves until Ctrl-C or SIGTERM, then lets running downloads end.
///
/// # Errors
/// The address cannot be bound, or a part cannot be used.
pub async fn run(context: &Context, args: ServeArgs) -> Result<Exit, CliError> {
    let http = &context.loaded.config.http;
    let listener = TcpListener::bind(http.listen)
        .await
        .map_err(|error| cannot_bind(http.listen, &error))?;
    let address = listener
        .local_addr()
        .map_err(|error| cannot_bind(http.listen, &error))?;
    let app = assemble(
        &context.loaded.config,
        &http.public_url(address),
        Arc::clone(&context.clock),
        Arc::clone(&context.entropy),
    )
    .await?;
    // Before the first upload: nothing is written to a folder that is not mounted, or to a bucket
    // of somebody else. A store that does not answer is looked at again later.
    identity::settle_all(&app).await;
    let sample = if args.sample_data {
        Some(sample::prepare(&app, &context.loaded.config.data_dir).await?)
    } else {
        None
    };
    announce(context, &app, address, sample.as_ref())?;
    app.tasks.spawn(engine::run(app.clone()));
    app.tasks.spawn(outbox::run(app.clone()));
    app.tasks.spawn(views::run(app.clone()));
    app.tasks.spawn(migrate::run(app.clone()));
    tokio::spawn(stop_on_signal(app.shutdown.clone()));
    reload::begin(&app, &context.loaded.config.signing);
    let timeouts = Timeouts {
        header: http.header_timeout,
        idle: http.idle_timeout,
        shutdown: http.shutdown_grace,
    };
    let served = serve(
        listener,
        router(app.clone()),
        timeouts,
        app.shutdown.clone(),
    )
    .await;
    finish(&app, timeouts).await;
    served
        .map(|()| Exit::Ok)
        .map_err(|error| CliError::failed("listener", format!("The listener failed: {error}.")))
}

/// Lets uploads and background work end, and writes what is still counted.
async fn finish(app: &App, timeouts: Timeouts) {
    app.shutdown.cancel();
    app.tasks.close();
    if tokio::time::timeout(timeouts.shutdown, app.tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!("background work that was still running is cut");
    }
    if let Err(error) = ledger::flush(app).await {
        tracing::error!(%error, "what buyers received last is not recorded");
    }
    app.catalog.close().await;
}

fn announce(
    context: &Context,
    app: &App,
    address: SocketAddr,
    sample: Option<&sample::Sample>,
) -> Result<(), CliError> {
    let mode = app.storage.mode().as_str();
    tracing::info!(%address, url = app.public_url, mode, "listening");
    let listening = Listening {
        event: "listening",
        address,
        url: &app.public_url,
        mode,
        sample,
    };
    let mut text = format!("Stockroom listens on {} (mode {mode}).", app.public_url);
    match sample {
        Some(sample) => text.push_str(&sample.instructions(&app.public_url)),
        None => text.push_str("\nMake a key with: stockroom key create --role service"),
    }
    if context.output.is_json() {
        return context.output.record(&listening);
    }
    text.lines().try_for_each(|line| context.output.line(line))
}

/// The first signal begins the shutdown, a second one ends the process at once.
async fn stop_on_signal(shutdown: CancellationToken) {
    signal().await;
    tracing::info!("stopping; running requests may end");
    shutdown.cancel();
    signal().await;
    std::process::exit(i32::from(Exit::Interrupted as u8));
}

async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut stream) => {
                stream.recv().await;
            }
            // Where no handler can be installed, the signal ends the process in its own way.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        Ok(()) = tokio::signal::ctrl_c() => {}
    }
}

fn cannot_bind(address: SocketAddr, error: &std::io::Error) -> CliError {
    CliError::failed(
        "cannot_bind",
        format!("The address {address} cannot be bound: {error}."),
    )
    .with_fix("Stop what listens there, or set LISTEN to another address.")
}
