//! SIGHUP: the server reads the file of signing keys again, so that exchanging a key cuts no
//! download.

use std::io::{self, IsTerminal};

use stockroom_storage::UrlSigner;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::config::SigningSettings;

/// Listens for the signal from now on. A server that was started in a terminal does not: there the
/// signal says that the terminal was closed, and the server ends with it as it always did.
pub(super) fn begin(app: &App, settings: &SigningSettings) {
    if io::stderr().is_terminal() {
        return;
    }
    // Where no handler can be installed, the signal ends the process.
    let Ok(mut hangups) = signal(SignalKind::hangup()) else {
        return;
    };
    let (signer, settings) = (app.signer.clone(), settings.clone());
    tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            reload(&signer, &settings);
        }
    });
}

/// The keys that are in use stay where the file cannot be used.
fn reload(signer: &UrlSigner, settings: &SigningSettings) {
    match settings.reload() {
        Ok(keys) => {
            let (signs, count) = (keys.newest().kid().to_owned(), keys.iter().count());
            signer.replace_keys(keys);
            tracing::info!(signs, count, "the signing keys were read again");
        }
        Err(error) => tracing::warn!(%error, "the signing keys stay as they are"),
    }
}
