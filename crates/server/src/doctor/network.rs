//! The way to a server: its name and its port.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::finding::Finding;
use crate::config::S3Settings;

/// How long each step to a server may take.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(5);

/// A server as requests reach it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Server {
    /// Its name or address, an IPv6 address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Whether the bucket's name is a part of the host.
    has_bucket: bool,
}

impl Server {
    /// The server that requests to this bucket go to.
    pub(super) fn of(settings: &S3Settings) -> Self {
        let host = settings.endpoint.host();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        // As the store does: a bucket with a dot stays in the path, where certificates fit.
        let has_bucket =
            !settings.uses_path_style() && !is_address && !settings.bucket.contains('.');
        Self {
            host: if has_bucket {
                format!("{}.{host}", settings.bucket)
            } else {
                host.to_owned()
            },
            port: settings.endpoint.port(),
            has_bucket,
        }
    }

    /// What helps where only the bucket's own name is unknown to a server or its certificate.
    pub(super) fn hint(&self) -> &'static str {
        if self.has_bucket {
            " Where buckets have no names of their own, set S3_PATH_STYLE=true."
        } else {
            ""
        }
    }
}

/// Looks the name up.
pub(super) async fn resolve(server: &Server) -> Result<Vec<SocketAddr>, Finding> {
    let Server { host, port, .. } = server;
    let unknown = |why: String| {
        Finding::error(
            "s3.name-unknown",
            format!("The name {host} does not resolve: {why}."),
            format!(
                "Correct S3_ENDPOINT, or the network and DNS of this machine.{}",
                server.hint()
            ),
        )
    };
    let found = timeout(STEP_TIMEOUT, lookup_host((host.as_str(), *port))).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return Err(unknown(error.to_string())),
        Err(_elapsed) => return Err(unknown("DNS did not answer".to_owned())),
    };
    if addresses.is_empty() {
        return Err(unknown("it has no address".to_owned()));
    }
    Ok(addresses)
}

/// Opens a connection to the first address that takes one.
pub(super) async fn connect(
    server: &Server,
    addresses: &[SocketAddr],
) -> Result<TcpStream, Finding> {
    let Server { host, port, .. } = server;
    match timeout(STEP_TIMEOUT, TcpStream::connect(addresses)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Err(Finding::error(
            "s3.port-closed",
            format!("{host} refuses connections on port {port}."),
            "Correct the port in S3_ENDPOINT, or start the server.",
        )),
        Ok(Err(error)) => Err(unreachable(server, &error.to_string())),
        Err(_elapsed) => Err(unreachable(server, "there is no answer")),
    }
}

fn unreachable(server: &Server, why: &str) -> Finding {
    let Server { host, port, .. } = server;
    Finding::error(
        "s3.port-unreachable",
        format!("{host} cannot be reached on port {port}: {why}."),
        "Check the network of this machine, and let its firewall pass this port.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::bucket::tests::settings;

    #[test]
    fn the_server_is_the_one_that_the_store_talks_to() {
        for (endpoint, path_style, bucket, host, port) in [
            (
                "http://127.0.0.1:3900",
                "false",
                "a-shop",
                "127.0.0.1",
                3900,
            ),
            ("http://[::1]:3900", "auto", "a-shop", "::1", 3900),
            ("https://s3.test", "auto", "a-shop", "s3.test", 443),
            ("https://s3.test", "false", "a-shop", "a-shop.s3.test", 443),
            ("https://s3.test", "false", "a.shop", "s3.test", 443),
        ] {
            let server = Server::of(&settings(&[
                ("S3_ENDPOINT", endpoint),
                ("S3_PATH_STYLE", path_style),
                ("S3_BUCKET", bucket),
            ]));
            assert_eq!((server.host.as_str(), server.port), (host, port));
            let has_hint = server.hint().contains("S3_PATH_STYLE");
            assert_eq!(has_hint, host.starts_with("a-shop."), "{host}");
        }
    }

    #[tokio::test]
    async fn addresses_need_no_dns() {
        let server = Server::of(&settings(&[("S3_ENDPOINT", "http://[::1]:3900")]));
        let addresses = resolve(&server).await.expect("an address");
        assert_eq!(addresses, ["[::1]:3900".parse().expect("an address")]);
    }
}
