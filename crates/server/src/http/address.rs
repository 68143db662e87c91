//! Where a call comes from: the address of the connection, or what a trusted proxy says of it.

use std::convert::Infallible;
use std::net::IpAddr;

use axum::extract::{OptionalFromRequestParts, Request};
use http::HeaderMap;
use http::request::Parts;
use ipnet::IpNet;

/// The header in which proxies write whom they speak for, each behind those before it.
pub const FORWARDED_FOR: &str = "x-forwarded-for";

/// The other end of the connection, which the accept loop notes in each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// The address of whoever calls. An IPv4 address has one form, however it came.
///
/// It is in the extensions of each request that came over a connection. `Forwarded`,
/// `X-Real-IP`, `X-Forwarded-Proto` and `X-Forwarded-Host` never have a say in anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// The address of a call by what is known of it.
    ///
    /// `X-Forwarded-For` counts only when it comes from a trusted proxy. It is read from its end,
    /// because whoever calls can write what stands at its beginning: the first address that is no
    /// trusted proxy is the client's. When all are, it is the first of the list; when an entry is
    /// no address, nothing of the header counts.
    #[must_use]
    pub fn find(peer: IpAddr, headers: &HeaderMap, trusted_proxies: &[IpNet]) -> Self {
        let peer = peer.to_canonical();
        let is_trusted =
            |address: IpAddr| trusted_proxies.iter().any(|proxy| proxy.contains(&address));
        if !is_trusted(peer) {
            return Self(peer);
        }
        let mut client = peer;
        for line in headers.get_all(FORWARDED_FOR).iter().rev() {
            let Ok(line) = line.to_str() else {
                return Self(peer);
            };
            for entry in line.rsplit(',') {
                let Some(address) = address(entry.trim()) else {
                    return Self(peer);
                };
                client = address;
                if !is_trusted(client) {
                    return Self(client);
                }
            }
        }
        Self(client)
    }
}

/// Notes the client's address in a request. One that came over no connection has none.
pub fn note(request: &mut Request, trusted_proxies: &[IpNet]) -> Option<ClientAddress> {
    let Peer(peer) = *request.extensions().get()?;
    let client = ClientAddress::find(peer, request.headers(), trusted_proxies);
    request.extensions_mut().insert(client);
    Some(client)
}

/// Reads `192.0.2.7`, `192.0.2.7:80`, `2001:db8::7`, `[2001:db8::7]` and `[2001:db8::7]:80`.
fn address(entry: &str) -> Option<IpAddr> {
    let bare = match entry.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            if !port.is_empty() && !is_port(port.strip_prefix(':')?) {
                return None;
            }
            return address
                .parse()
                .ok()
                .map(IpAddr::V6)
                .map(|ip| ip.to_canonical());
        }
        None => match entry.split_once(':') {
            Some((address, port)) if is_port(port) && address.contains('.') => address,
            _ => entry,
        },
    };
    bare.parse().ok().map(|ip: IpAddr| ip.to_canonical())
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

impl<S: Sync> OptionalFromRequestParts<S> for ClientAddress {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(peer: &str, lines: &[&'static str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        // None of these has a say.
        headers.insert("forwarded", "for=203.0.113.99".parse().unwrap());
        headers.insert("x-real-ip", "203.0.113.99".parse().unwrap());
        let trusted: Vec<IpNet> = trusted.iter().map(|text| text.parse().unwrap()).collect();
        let ClientAddress(address) = ClientAddress::find(peer.parse().unwrap(), &headers, &trusted);
        address.to_string()
    }

    #[tokio::test]
    async fn a_handler_gets_the_address_where_there_is_one() {
        let mut request = Request::new(axum::body::Body::empty());
        assert_eq!(note(&mut request, &[]), None);
        request
            .extensions_mut()
            .insert(Peer("::ffff:192.0.2.1".parse().unwrap()));
        let noted = note(&mut request, &[]);
        let (mut parts, _) = request.into_parts();
        let got =
            <ClientAddress as OptionalFromRequestParts<()>>::from_request_parts(&mut parts, &());
        assert_eq!(got.await, Ok(noted));
        assert_eq!(noted, Some(ClientAddress("192.0.2.1".parse().unwrap())));
    }

    #[test]
    fn nobody_is_believed_unless_the_operator_says_so() {
        assert_eq!(found("192.0.2.1", &["203.0.113.5"], &[]), "192.0.2.1");
        let other = ["10.0.0.0/8"];
        assert_eq!(found("192.0.2.1", &["203.0.113.5"], &other), "192.0.2.1");
    }

    #[test]
    fn the_last_address_that_is_no_proxy_is_the_clients() {
        let proxies = ["10.0.0.0/8", "fd00::/8"];
        for (lines, client) in [
            (&["203.0.113.5"][..], "203.0.113.5"),
            (&["1.1.1.1, 203.0.113.5"], "203.0.113.5"),
            (&["1.1.1.1, 203.0.113.5,10.0.0.9"], "203.0.113.5"),
            // Several lines are one list.
            (
                &["1.1.1.1", "203.0.113.5, 10.0.0.9", "fd00::7"],
                "203.0.113.5",
            ),
            (&["2001:db8::7"], "2001:db8::7"),
            (&["[2001:db8::7]"], "2001:db8::7"),
            (&["[2001:db8::7]:4711, 10.0.0.9:80"], "2001:db8::7"),
            (&["203.0.113.5:4711"], "203.0.113.5"),
            (&["::ffff:203.0.113.5"], "203.0.113.5"),
            // A call that a proxy makes by itself.
            (&["10.0.0.8, 10.0.0.9"], "10.0.0.8"),
            (&[], "10.0.0.1"),
            // What stands before the client was written by the client.
            (&["<script>, 203.0.113.5"], "203.0.113.5"),
        ] {
            assert_eq!(found("10.0.0.1", lines, &proxies), client, "{lines:?}");
        }
        assert_eq!(
            found("::ffff:10.0.0.1", &["203.0.113.5"], &proxies),
            "203.0.113.5"
        );
    }

    #[test]
    fn what_is_no_address_is_not_believed() {
        for line in [
            "",
            "unknown",
            "203.0.113.5,",
            "203.0.113.5, ",
            "203.0.113.5:99999",
            "203.0.113.5:+80",
            "203.0.113.5 10.0.0.9",
            "[2001:db8::7",
            "[2001:db8::7]4711",
            "[203.0.113.5]",
            "2001:db8::7%eth0",
            "_hidden",
            "for=203.0.113.5",
            "\u{e4}",
        ] {
            assert_eq!(
                found("10.0.0.1", &[line], &["10.0.0.1/32"]),
                "10.0.0.1",
                "{line}"
            );
        }
    }
}
