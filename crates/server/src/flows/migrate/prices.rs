//! What keeping bytes costs, by the host of the endpoint. Prices change: each line says when it was
//! looked up.

/// The price of keeping bytes at a provider.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoragePrice {
    /// The provider.
    pub provider: &'static str,
    /// US dollars for 10^9 bytes in a month.
    pub usd_per_gb_month: f64,
    /// How many bytes are free.
    pub free_bytes: u64,
    /// When that was looked up.
    pub as_of: &'static str,
}

/// By the end of the host's name. Looked up in third-party lists, because the providers' own pages
/// say it in several places.
const PRICES: &[(&str, StoragePrice)] = &[
    (
        ".backblazeb2.com",
        StoragePrice {
            provider: "Backblaze B2",
            usd_per_gb_month: 0.006_95,
            free_bytes: 10_000_000_000,
            as_of: "2026-11",
        },
    ),
    (
        ".r2.cloudflarestorage.com",
        StoragePrice {
            provider: "Cloudflare R2",
            usd_per_gb_month: 0.015,
            free_bytes: 10_000_000_000,
            as_of: "2026-11",
        },
    ),
    (
        ".amazonaws.com",
        StoragePrice {
            provider: "Amazon S3 (us-east-1, standard)",
            usd_per_gb_month: 0.023,
            free_bytes: 0,
            as_of: "2026-11",
        },
    ),
];

/// The price at this host; none where it is not known.
#[must_use]
pub fn storage_price(host: &str) -> Option<StoragePrice> {
    let found = PRICES.iter().find(|(end, _)| host.ends_with(end));
    found.map(|(_, price)| *price)
}

impl StoragePrice {
    /// US dollars for so many bytes in a month.
    #[must_use]
    pub fn usd_per_month(&self, bytes: u64) -> f64 {
        bytes.saturating_sub(self.free_bytes) as f64 / 1e9 * self.usd_per_gb_month
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_known_by_its_host() {
        let b2 = storage_price("s3.us-west-004.backblazeb2.com").unwrap();
        assert_eq!(b2.usd_per_month(10_000_000_000), 0.0);
        let cents = (b2.usd_per_month(1_010_000_000_000) * 100.0).round();
        assert_eq!(cents, 695.0);
        assert_eq!(storage_price("s3.amazonaws.com").unwrap().free_bytes, 0);
        assert_eq!(storage_price("backblazeb2.com.example"), None);
        assert_eq!(storage_price("127.0.0.1"), None);
    }
}
