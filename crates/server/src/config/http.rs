//! The server: where it listens, how it is reached, and its limits.

use std::net::SocketAddr;
use std::time::Duration;

use super::problem::{Fault, Source, fault};
use super::reader::{Noted, Reader};
use super::values::{HttpUrl, choice, count_within, duration_within, size_or, size_within};
use super::variable;

/// The server: where it listens, how it is reached, and its limits.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// The address to bind. Port 0 lets the system choose one.
    pub listen: SocketAddr,
    /// How clients reach the server, when that is not the address it listens on.
    pub public_url: Option<HttpUrl>,
    /// How a download gets its bytes.
    pub delivery: Delivery,
    /// How much memory small files that are wanted often may take, in bytes; none for no such thing.
    pub file_cache_bytes: Option<u64>,
    /// The longest body of an upload, in bytes.
    pub max_upload_bytes: u64,
    /// The most files in one form.
    pub max_form_files: usize,
    /// How long a client may take for the head of a request.
    pub header_timeout: Duration,
    /// How long a connection or a body may go without progress.
    pub idle_timeout: Duration,
    /// How long downloads may go on after the server was told to stop.
    pub shutdown_grace: Duration,
}

impl HttpSettings {
    /// The URL that links begin with, without a slash at its end. `bound` is the address that the
    /// listener got, which tells the port when the system chose it.
    #[must_use]
    pub fn public_url(&self, bound: SocketAddr) -> String {
        match &self.public_url {
            Some(url) => url.as_str().to_owned(),
            None => format!("http://{bound}"),
        }
    }
}

/// How a download gets its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// A redirect when the only healthy copy is in the bucket, else a stream.
    Auto,
    /// Always through this server.
    Stream,
    /// By a redirect to a signed URL, wherever that is possible.
    Redirect,
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<HttpSettings, Noted> {
    let listen = reader.read(&variable::LISTEN, "127.0.0.1:8080", socket_address);
    let public_url = reader.read_optional(&variable::PUBLIC_URL, HttpUrl::parse);
    if let (Ok(listen), Ok(None)) = (&listen, &public_url) {
        let url = format!("http://{listen}");
        reader.report(&variable::PUBLIC_URL, url, Source::Default);
    }
    let delivery = reader.read(&variable::DELIVERY, "auto", |text| {
        choice(
            text,
            &[
                ("auto", Delivery::Auto),
                ("stream", Delivery::Stream),
                ("redirect", Delivery::Redirect),
            ],
        )
    });
    let file_cache_bytes = reader.read(&variable::FILE_CACHE_BYTES, "16MiB", |text| {
        size_or("off", text, "1MiB", "1TB")
    });
    // The largest file that B2 keeps has 10 TB (backblaze.com/docs/cloud-storage-large-files).
    let max_upload_bytes = reader.read(&variable::MAX_UPLOAD_BYTES, "10GiB", |text| {
        size_within(text, "1B", "10TB")
    });
    let max_form_files = reader.read(&variable::MAX_FORM_FILES, "100", |text| {
        count_within(text, 1..=10_000)
    });
    let header_timeout = reader.read(&variable::HEADER_TIMEOUT, "10s", |text| {
        duration_within(text, "100ms", "10m")
    });
    let idle_timeout = reader.read(&variable::IDLE_TIMEOUT, "60s", |text| {
        duration_within(text, "100ms", "24h")
    });
    let shutdown_grace = reader.read(&variable::SHUTDOWN_GRACE, "30s", |text| {
        duration_within(text, "0s", "24h")
    });
    Ok(HttpSettings {
        listen: listen?,
        public_url: public_url?,
        delivery: delivery?,
        file_cache_bytes: file_cache_bytes?,
        max_upload_bytes: max_upload_bytes?,
        max_form_files: max_form_files?,
        header_timeout: header_timeout?,
        idle_timeout: idle_timeout?,
        shutdown_grace: shutdown_grace?,
    })
}

fn socket_address(text: &str) -> Result<SocketAddr, Fault> {
    text.parse().map_err(|_| {
        fault(
            "is not an IP address with a port",
            "Write for example 127.0.0.1:8080, 0.0.0.0:8080 for all interfaces, or [::1]:8080",
        )
    })
}
