//! What callers may do, and what is believed of them.

use std::time::Duration;

use ipnet::IpNet;

use super::networks::{entries, networks};
use super::problem::{Fault, fault};
use super::reader::{Noted, Reader};
use super::values::HttpUrl;
use super::variable;

/// What callers may do, and what is believed of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerSettings {
    /// How often one key may call; none for as often as it likes.
    pub rate_limit_per_key: Option<Rate>,
    /// How often one address may call; none for as often as it likes.
    pub rate_limit_per_address: Option<Rate>,
    /// Networks of proxies whose word about the address of a client is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The pages that may call from a browser.
    pub cors_origins: CorsOrigins,
}

/// Origins of pages: a scheme, a host, and a port where it is not the scheme's own (RFC 6454).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CorsOrigins {
    /// No page of another origin.
    None,
    /// Every page.
    Any,
    /// The pages of these origins.
    List(Vec<HttpUrl>),
}

/// So many calls in so much time, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    interval: Duration,
}

impl Rate {
    /// The most calls that a rate can count.
    const MAX_CALLS: u32 = 1_000_000;

    /// So many calls in that time. None when there are none or more than a million, or when there
    /// is no time for them.
    #[must_use]
    pub fn new(calls: u32, per: Duration) -> Option<Self> {
        let interval = per.checked_div(calls)?;
        let is_within = calls <= Self::MAX_CALLS && !interval.is_zero();
        is_within.then_some(Self { interval })
    }

    /// The time from one call to the next.
    #[must_use]
    pub const fn interval(self) -> Duration {
        self.interval
    }
}

pub(super) fn read(reader: &mut Reader<'_>) -> Result<CallerSettings, Noted> {
    let rate_limit_per_key = reader.read(&variable::RATE_LIMIT_PER_KEY, "none", rate);
    let rate_limit_per_address = reader.read(&variable::RATE_LIMIT_PER_ADDRESS, "none", rate);
    let trusted_proxies = reader.read(&variable::TRUSTED_PROXIES, "none", |text| {
        networks(text, || {
            fault(
                "has a network that holds every address, so that every client could claim any address",
                "Name the addresses of the proxies only",
            )
        })
    });
    let cors_origins = reader.read(&variable::CORS_ORIGINS, "none", origins);
    Ok(CallerSettings {
        rate_limit_per_key: rate_limit_per_key?,
        rate_limit_per_address: rate_limit_per_address?,
        trusted_proxies: trusted_proxies?,
        cors_origins: cors_origins?,
    })
}

/// `100/s`, `6000/m`, or `none`.
fn rate(text: &str) -> Result<Option<Rate>, Fault> {
    if text == "none" {
        return Ok(None);
    }
    let rate = text.split_once('/').and_then(|(calls, unit)| {
        let per = match unit {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            _ => return None,
        };
        let is_number = calls.bytes().all(|b| b.is_ascii_digit());
        Rate::new(calls.parse().ok().filter(|_| is_number)?, per)
    });
    rate.map(Some).ok_or_else(|| {
        fault(
            "is not a number of calls in a second or a minute",
            "Write none, or 1 to 1000000 calls such as 100/s or 6000/m",
        )
    })
}

/// A list of origins, `*` for all, or `none`.
fn origins(text: &str) -> Result<CorsOrigins, Fault> {
    match text {
        "none" => Ok(CorsOrigins::None),
        "*" => Ok(CorsOrigins::Any),
        _ => entries(text)
            .map(origin)
            .collect::<Result<_, _>>()
            .map(CorsOrigins::List),
    }
}

fn origin(text: &str) -> Result<HttpUrl, Fault> {
    // A browser sends no path, not even a slash; and a star that stands for a part of a host
    // would never match.
    let is_bare = !text.ends_with('/') && !text.contains('*');
    HttpUrl::parse_root(text)
        .ok()
        .filter(|_| is_bare)
        .ok_or_else(|| {
            fault(
                "has an entry that is no origin",
                "Write none, *, or a list such as https://shop.example, https://www.shop.example",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_calls_in_a_second_or_a_minute() {
        assert_eq!(rate("none"), Ok(None));
        for (text, interval_us) in [
            ("1/s", 1_000_000),
            ("100/s", 10_000),
            ("6000/m", 10_000),
            ("1/m", 60_000_000),
            ("1000000/s", 1),
        ] {
            let rate = rate(text).unwrap().unwrap();
            assert_eq!(
                rate.interval(),
                Duration::from_micros(interval_us),
                "{text}"
            );
        }
        for text in [
            "",
            "100",
            "/s",
            "0/s",
            "-1/s",
            "+1/s",
            "1.5/s",
            "1/h",
            "1 /s",
            "1/S",
            "1000001/m",
        ] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn origins_are_exact_or_all() {
        assert_eq!(origins("none"), Ok(CorsOrigins::None));
        assert_eq!(origins("*"), Ok(CorsOrigins::Any));
        let Ok(CorsOrigins::List(list)) =
            origins("https://Shop.example:443, http://localhost:5173")
        else {
            panic!("a list");
        };
        let list: Vec<&str> = list.iter().map(HttpUrl::as_str).collect();
        // As browsers write them.
        assert_eq!(list, ["https://shop.example", "http://localhost:5173"]);
        for text in [
            "",
            "shop.example",
            "https://shop.example/",
            "https://shop.example/shop",
            "https://*.shop.example",
            "https://shop.example, *",
            "null",
            "none, https://shop.example",
            "https://shop.example,",
        ] {
            assert!(origins(text).is_err(), "{text}");
        }
    }
}
