//! Lists of networks.

use std::net::IpAddr;

use ipnet::IpNet;

use super::problem::{Fault, fault};

/// A list of networks, or `none`. An address alone is a network of one. `everything` says why a
/// network that holds every address is none that is taken.
pub(super) fn networks(text: &str, everything: impl Fn() -> Fault) -> Result<Vec<IpNet>, Fault> {
    entries(text)
        .map(|entry| network(entry, &everything))
        .collect()
}

fn network(text: &str, everything: impl Fn() -> Fault) -> Result<IpNet, Fault> {
    let parsed = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match parsed {
        Ok(network) if network.prefix_len() == 0 => Err(everything()),
        // Addresses are compared in their IPv4 form, so this would match nobody.
        Ok(IpNet::V6(network)) if network.addr().to_ipv4_mapped().is_some() => Err(fault(
            "has IPv4 addresses in the form of IPv6",
            "Write them as IPv4, for example 10.0.0.0/8",
        )),
        Ok(network) => Ok(network.trunc()),
        Err(_) => Err(fault(
            "has an entry that is neither an IP address nor a network",
            "Write none, or a list such as 10.0.0.0/8, 192.0.2.7, 2001:db8::/32",
        )),
    }
}

/// The entries of a list that is separated by commas; `none` has none.
pub(super) fn entries(text: &str) -> impl Iterator<Item = &str> {
    let text = if text == "none" { None } else { Some(text) };
    text.into_iter()
        .flat_map(|text| text.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<IpNet>, Fault> {
        networks(text, || fault("holds every address", "Name some"))
    }

    #[test]
    fn networks_are_addresses_or_prefixes() {
        assert_eq!(read("none"), Ok(Vec::new()));
        let shown = |text| {
            let networks = read(text).unwrap();
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
            "::ffff:10.0.0.0/104",
            "::ffff:10.0.0.1",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
