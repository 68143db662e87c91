//! Parsers for the kinds of values that several settings share.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use url::Url;

use super::problem::{Fault, fault};

/// The address of a server: http or https, a host, perhaps a port and a path; no user, no query.
/// It is kept without a slash at its end.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpUrl(Url);

impl HttpUrl {
    /// The address, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }

    /// The host, in lower case; an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// The port, also when it is not written.
    #[must_use]
    pub fn port(&self) -> u16 {
        // Both schemes that the parser accepts have a default port.
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// Whether the scheme is https.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// An address that may have a path, such as `https://shop.example/files`.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let has_scheme = text.starts_with("https://") || text.starts_with("http://");
        // The parser reads `\` as `/`, as browsers do.
        if !has_scheme || text.contains(['\\', ' ']) {
            return Err(fault(
                "is not an http or https address",
                "Write it with its scheme, for example https://files.example.com",
            ));
        }
        let url = Url::parse(text).map_err(|error| {
            // The messages of this parser are fixed sentences without the input.
            fault(
                format!("is not an address: {error}"),
                "Write a scheme and a host, for example https://files.example.com",
            )
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(fault(
                "has a user name or password",
                "Remove everything between :// and @, and the @",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(fault(
                "has a query or a fragment",
                "Remove everything from the ? or # on",
            ));
        }
        if url.port() == Some(0) {
            return Err(fault("has port 0", "Write the port the server listens on"));
        }
        Ok(Self(url))
    }

    /// An address that is a server's root: no path.
    pub(super) fn parse_root(text: &str) -> Result<Self, Fault> {
        let url = Self::parse(text)?;
        if url.0.path() != "/" {
            return Err(fault(
                "has a path",
                "Remove everything behind the host and port; a bucket goes into S3_BUCKET",
            ));
        }
        Ok(url)
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// One of a few names.
pub(super) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, Fault> {
    if let Some((_, chosen)) = choices.iter().find(|(name, _)| *name == text) {
        return Ok(*chosen);
    }
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    Err(fault(
        "is not one of the values it can have",
        format!("Write {}", one_of(&names)),
    ))
}

/// A duration: a whole number and a unit, such as `500ms`, `30s`, `15m`, `24h` or `7d`.
///
/// # Errors
/// A sentence that names the form, when the text has another one.
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    const FORM: &str = "a duration is a whole number and a unit: 500ms, 30s, 15m, 24h or 7d";
    let (number, unit) = number_and_unit(text).ok_or(FORM)?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(FORM),
    };
    number
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .ok_or("the duration is too long")
}

/// A size in bytes: a whole number, alone or with a unit such as `500MB` (decimal) or `2GiB` (binary).
///
/// # Errors
/// A sentence that names the form, when the text has another one.
pub fn parse_size(text: &str) -> Result<u64, &'static str> {
    const FORM: &str =
        "a size is a whole number of bytes, or one with a unit: 500MB (decimal), 2GiB (binary)";
    let (number, unit) = number_and_unit(text).ok_or(FORM)?;
    let unit_bytes: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return Err(FORM),
    };
    number
        .checked_mul(unit_bytes)
        .ok_or("the size is too large")
}

/// A duration within limits, which are named in the fix as they are written here.
pub(super) fn duration_within(
    text: &str,
    shortest: &str,
    longest: &str,
) -> Result<Duration, Fault> {
    let limits = format!("Write {shortest} to {longest}, for example 30s, 15m, 24h or 7d");
    let duration = parse_duration(text)
        .map_err(|_| fault("is not a duration with its unit", limits.clone()))?;
    let is_within = parse_duration(shortest).is_ok_and(|shortest| shortest <= duration)
        && parse_duration(longest).is_ok_and(|longest| duration <= longest);
    is_within
        .then_some(duration)
        .ok_or_else(|| fault("is out of range", limits))
}

/// A size within limits, which are named in the fix as they are written here.
pub(super) fn size_within(text: &str, smallest: &str, largest: &str) -> Result<u64, Fault> {
    let limits = format!("Write {smallest} to {largest}, for example 500MB or 2GiB");
    let size_bytes =
        parse_size(text).map_err(|_| fault("is not a size in bytes", limits.clone()))?;
    let is_within = parse_size(smallest).is_ok_and(|smallest| smallest <= size_bytes)
        && parse_size(largest).is_ok_and(|largest| size_bytes <= largest);
    is_within
        .then_some(size_bytes)
        .ok_or_else(|| fault("is out of range", limits))
}

/// A size, or the word that stands for none.
pub(super) fn size_or(
    none: &str,
    text: &str,
    smallest: &str,
    largest: &str,
) -> Result<Option<u64>, Fault> {
    if text == none {
        return Ok(None);
    }
    size_within(text, smallest, largest).map(Some).map_err(|_| {
        fault(
            format!("is neither {none} nor a size within its limits"),
            format!("Write {none}, or {smallest} to {largest}"),
        )
    })
}

/// A whole number within limits.
pub(super) fn count_within(text: &str, limits: RangeInclusive<usize>) -> Result<usize, Fault> {
    text.parse()
        .ok()
        .filter(|count| limits.contains(count))
        .ok_or_else(|| {
            fault(
                "is not a whole number within its limits",
                format!("Write {} to {}", limits.start(), limits.end()),
            )
        })
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit))
}

fn one_of(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        for (text, ms) in [
            ("0s", 0),
            ("500ms", 500),
            ("30s", 30_000),
            ("15m", 900_000),
            ("24h", 86_400_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(ms)),
                "{text}"
            );
        }
        for text in [
            "",
            "30",
            "s",
            "1.5h",
            "-1s",
            "+1s",
            "1 s",
            "1S",
            "1w",
            "99999999999999999999s",
            "213503982335d",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_decimal_or_binary_as_written() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1_024),
            ("7B", 7),
            ("500MB", 500_000_000),
            ("2GiB", 2_147_483_648),
            ("2gib", 2_147_483_648),
            ("1KB", 1_000),
            ("1KiB", 1_024),
            ("3TB", 3_000_000_000_000),
            ("1TiB", 1_099_511_627_776),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "MB",
            "5M",
            "5k",
            "1.5GB",
            "-1",
            "1 GB",
            "99999999TiB",
            "0x10",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn limits_include_their_ends() {
        assert!(duration_within("1s", "1s", "1m").is_ok());
        assert!(duration_within("1m", "1s", "1m").is_ok());
        assert!(duration_within("999ms", "1s", "1m").is_err());
        assert!(duration_within("61s", "1s", "1m").is_err());
        assert!(size_within("1", "1B", "2KB").is_ok());
        assert!(size_within("2001", "1B", "2KB").is_err());
        assert_eq!(count_within("3", 1..=3), Ok(3));
        assert!(count_within("4", 1..=3).is_err());
    }

    #[test]
    fn an_address_is_kept_without_its_last_slash() {
        let url = HttpUrl::parse("https://Files.example.com:8443/shop/");
        let url = url.expect("an address");
        assert_eq!(url.as_str(), "https://files.example.com:8443/shop");
        assert_eq!((url.host(), url.port()), ("files.example.com", 8443));
        assert!(url.is_https());
        let root = HttpUrl::parse_root("http://[::1]/").expect("an address");
        assert_eq!((root.as_str(), root.port()), ("http://[::1]", 80));
    }

    #[test]
    fn addresses_that_are_something_else_are_refused() {
        for text in [
            "files.example.com",
            "ftp://files.example.com",
            "https:/files.example.com",
            "https:files.example.com",
            "https:\\\\files.example.com",
            "https://",
            "https://a b",
            "https://user@files.example.com",
            "https://user:pass@files.example.com",
            "https://files.example.com?x",
            "https://files.example.com/#x",
            "https://files.example.com:0",
            "https://files.example.com:70000",
        ] {
            assert!(HttpUrl::parse(text).is_err(), "{text}");
        }
        assert!(HttpUrl::parse_root("https://files.example.com/bucket").is_err());
    }
}
