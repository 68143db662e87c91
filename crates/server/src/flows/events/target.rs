//! Where events may be sent: to the public internet over TLS, and into networks that the operator
//! allows. A shop's backend says where, so without this it could have this server call what only
//! this server can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// Which addresses events may be sent to.
#[derive(Debug, Clone, Default)]
pub struct Targets {
    allowed: Vec<IpNet>,
}

/// An address that events may be sent to, as far as its text tells: what its name stands for is
/// looked at with every connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetUrl(Url);

/// Why a text is no address to send events to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetFault {
    /// It is no address of a web server.
    #[error("must be an https address, such as https://shop.example/hooks")]
    Malformed,
    /// It is too long.
    #[error("is longer than {} bytes", TargetUrl::MAX_BYTES)]
    TooLong,
    /// It has a user name or a password.
    #[error("must not have a user name or password; the signature tells who calls")]
    Credentials,
    /// It has a fragment, which is never sent.
    #[error("must not have a fragment")]
    Fragment,
    /// It lies in a network that is not public and not allowed.
    #[error("lies in a network that events are not sent to")]
    Private,
    /// It is spoken to without TLS and is not in a network that is allowed.
    #[error("must be https")]
    Plain,
}

impl Targets {
    /// The public internet, and these networks.
    #[must_use]
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed }
    }

    /// Whether events may be sent to this address over TLS.
    #[must_use]
    pub fn takes(&self, address: IpAddr) -> bool {
        is_public(address.to_canonical()) || self.takes_plain(address)
    }

    /// Whether events may be sent to this address without TLS: only into networks that are allowed.
    #[must_use]
    pub fn takes_plain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allowed.iter().any(|net| net.contains(&address))
    }
}

impl TargetUrl {
    /// The longest address, in bytes.
    pub const MAX_BYTES: usize = 2_048;

    /// Reads an address. One that is written with a name may turn out to be refused later.
    ///
    /// # Errors
    /// See [`TargetFault`].
    pub fn parse(text: &str, targets: &Targets) -> Result<Self, TargetFault> {
        if text.len() > Self::MAX_BYTES {
            return Err(TargetFault::TooLong);
        }
        let has_scheme = text.starts_with("https://") || text.starts_with("http://");
        // The parser takes blanks and backslashes for something else.
        if !has_scheme || text.contains(|c: char| c == '\\' || c.is_control() || c == ' ') {
            return Err(TargetFault::Malformed);
        }
        let url = Url::parse(text).map_err(|_| TargetFault::Malformed)?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(TargetFault::Credentials);
        }
        if url.fragment().is_some() {
            return Err(TargetFault::Fragment);
        }
        if url.port() == Some(0) {
            return Err(TargetFault::Malformed);
        }
        let target = Self(url);
        match target.address() {
            Some(address) if !targets.takes(address) => Err(TargetFault::Private),
            Some(address) if target.is_plain() && !targets.takes_plain(address) => {
                Err(TargetFault::Plain)
            }
            None if target.is_plain() && targets.allowed.is_empty() => Err(TargetFault::Plain),
            _ => Ok(target),
        }
    }

    /// Whether it is spoken to without TLS.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.0.scheme() == "http"
    }

    /// The address, where the text has one and no name. The parser has understood every way of
    /// writing one by then, such as `0x7f.1`.
    fn address(&self) -> Option<IpAddr> {
        match self.0.host()? {
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
            Host::Domain(_) => None,
        }
    }

    /// The address as it is called.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

/// Networks that are no part of the public internet, by the registries of IANA, and addresses at
/// which clouds tell a machine its secrets.
/// Source: <https://www.iana.org/assignments/iana-ipv4-special-registry/>.
const NOT_PUBLIC_V4: &[Ipv4Net] = &[
    v4([0, 0, 0, 0], 8),
    v4([10, 0, 0, 0], 8),
    v4([100, 64, 0, 0], 10),
    v4([127, 0, 0, 0], 8),
    v4([169, 254, 0, 0], 16),
    v4([172, 16, 0, 0], 12),
    v4([192, 0, 0, 0], 24),
    v4([192, 0, 2, 0], 24),
    v4([192, 88, 99, 0], 24),
    v4([192, 168, 0, 0], 16),
    v4([198, 18, 0, 0], 15),
    v4([198, 51, 100, 0], 24),
    v4([203, 0, 113, 0], 24),
    v4([224, 0, 0, 0], 4),
    v4([240, 0, 0, 0], 4),
    // The channel from a virtual machine to its host in Azure, which lies in a public network.
    v4([168, 63, 129, 16], 32),
];

/// What is assigned to the public internet at all.
/// Source: <https://www.iana.org/assignments/ipv6-unicast-address-assignments/>.
const PUBLIC_V6: Ipv6Net = v6([0x2000, 0, 0], 3);

/// What is not public within that. 2001::/23 and 2002::/16 lead to addresses of IPv4 that nobody here
/// looked at. Source: <https://www.iana.org/assignments/iana-ipv6-special-registry/>.
const NOT_PUBLIC_V6: &[Ipv6Net] = &[
    v6([0x2001, 0, 0], 23),
    v6([0x2001, 0xdb8, 0], 32),
    v6([0x2002, 0, 0], 16),
    v6([0x3fff, 0, 0], 20),
];

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(segments: [u16; 3], prefix: u8) -> Ipv6Net {
    let [a, b, c] = segments;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !NOT_PUBLIC_V4.iter().any(|net| net.contains(&address)),
        IpAddr::V6(address) => {
            PUBLIC_V6.contains(&address) && !NOT_PUBLIC_V6.iter().any(|net| net.contains(&address))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(networks: &[&str]) -> Targets {
        Targets::new(networks.iter().map(|net| net.parse().unwrap()).collect())
    }

    #[test]
    fn only_public_addresses_are_taken() {
        let targets = with(&[]);
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:1.1.1.1",
        ] {
            assert!(targets.takes(address.parse().unwrap()), "{address}");
            assert!(!targets.takes_plain(address.parse().unwrap()), "{address}");
        }
        for address in [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            // Metadata services of clouds: AWS and others, Alibaba, Oracle, Azure.
            "169.254.169.254",
            "100.100.100.200",
            "192.0.0.192",
            "168.63.129.16",
            "fd00:ec2::254",
            "127.0.0.1",
            "127.255.255.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fdff::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!targets.takes(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_network_that_is_allowed_is_taken_and_no_other() {
        let targets = with(&["10.1.0.0/16", "::1/128"]);
        for (address, is_taken) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("10.2.0.1", false),
            ("::1", true),
            ("127.0.0.1", false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(targets.takes(address), is_taken, "{address}");
            assert_eq!(targets.takes_plain(address), is_taken, "{address}");
        }
    }

    #[test]
    fn an_address_in_a_url_is_looked_at_however_it_is_written() {
        let targets = with(&[]);
        for text in [
            "https://127.0.0.1/",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://0/",
            "https://\u{ff11}27.0.0.1/",
            "https://127.0.0.1./",
            "https://[::1]/",
            "https://[::ffff:169.254.169.254]/latest",
            "https://[0:0:0:0:0:ffff:7f00:1]:8443/",
        ] {
            let outcome = TargetUrl::parse(text, &targets);
            assert_eq!(outcome, Err(TargetFault::Private), "{text}");
        }
        for (text, fault) in [
            ("", TargetFault::Malformed),
            ("shop.example", TargetFault::Malformed),
            ("ftp://shop.example/", TargetFault::Malformed),
            ("file:///etc/passwd", TargetFault::Malformed),
            ("gopher://shop.example/", TargetFault::Malformed),
            ("https://", TargetFault::Malformed),
            ("https:///path", TargetFault::Malformed),
            ("https://shop.example:0/", TargetFault::Malformed),
            ("https://shop.example:99999/", TargetFault::Malformed),
            ("https://shop.example\\@127.0.0.1/", TargetFault::Malformed),
            ("https://shop.example/\r\nHost: a", TargetFault::Malformed),
            (" https://shop.example/", TargetFault::Malformed),
            ("https://a:b@shop.example/", TargetFault::Credentials),
            ("https://shop.example@127.0.0.1/", TargetFault::Credentials),
            ("https://shop.example/#x", TargetFault::Fragment),
            ("http://shop.example/", TargetFault::Plain),
            ("http://1.1.1.1/", TargetFault::Plain),
        ] {
            assert_eq!(TargetUrl::parse(text, &targets), Err(fault), "{text}");
        }
        let long = format!("https://shop.example/{}", "a".repeat(TargetUrl::MAX_BYTES));
        assert_eq!(TargetUrl::parse(&long, &targets), Err(TargetFault::TooLong));
        for text in [
            "https://shop.example/hooks?token=a",
            "https://shop.example:8443",
            "https://1.1.1.1/",
            "https://[2606:4700::1111]/",
            // A name is looked at when it is looked up.
            "https://localhost/",
        ] {
            assert!(TargetUrl::parse(text, &targets).is_ok(), "{text}");
        }
        let targets = with(&["127.0.0.0/8"]);
        for text in ["http://127.0.0.1:9000/", "http://backend.internal/"] {
            assert!(TargetUrl::parse(text, &targets).is_ok(), "{text}");
        }
        assert_eq!(
            TargetUrl::parse("http://1.1.1.1/", &targets),
            Err(TargetFault::Plain)
        );
    }
}
