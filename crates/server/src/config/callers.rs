//! What callers may do, and what is believed of them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::problem::{Fault, fault};
use super::reader::{Noted, Reader};
use super::variable;

/// What callers may do, and what is believed of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerSettings {
    /// Networks of proxies whose word about the address of a client is believed.
    pub trusted_proxies: Vec<IpNet>,
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<CallerSettings, Noted> {
    let trusted_proxies = reader.read(&variable::TRUSTED_PROXIES, "none", networks);
    Ok(CallerSettings {
        trusted_proxies: trusted_proxies?,
    })
}

/// A list of networks, or `none`. An address alone is a network of one.
fn networks(text: &str) -> Result<Vec<IpNet>, Fault> {
    entries(text).map(network).collect()
}

fn network(text: &str) -> Result<IpNet, Fault> {
    let parsed = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match parsed {
        Ok(network) if network.prefix_len() == 0 => Err(fault(
            "has a network that holds every address, so that every client could claim any address",
            "Name the addresses of the proxies only",
        )),
        Ok(network) => Ok(network.trunc()),
        Err(_) => Err(fault(
            "has an entry that is neither an IP address nor a network",
            "Write none, or a list such as 10.0.0.0/8, 192.0.2.7, 2001:db8::/32",
        )),
    }
}

/// The entries of a list that is separated by commas; `none` has none.
fn entries(text: &str) -> impl Iterator<Item = &str> {
    let text = if text == "none" { None } else { Some(text) };
    text.into_iter()
        .flat_map(|text| text.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_addresses_or_prefixes() {
        assert_eq!(networks("none"), Ok(Vec::new()));
        let shown = |text| {
            let networks = networks(text).unwrap();
            networks.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            shown("10.1.2.3/8, 192.0.2.7,2001:db8::1/32 , ::1"),
            ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "::1/128"]
        );
        for text in [
            "",
            "all",
            "None",
            "none, 10.0.0.1",
            "10.0.0.0/33",
            "10.0.0.1,",
            "proxy.example",
            "0.0.0.0/0",
            "::/0",
            "10.0.0.1:80",
        ] {
            assert!(networks(text).is_err(), "{text}");
        }
    }
}
