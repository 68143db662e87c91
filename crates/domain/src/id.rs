//! Prefixed, sortable ids: `mdl_01k...`, a type each, so that one cannot stand in for another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;

use crate::{Entropy, Timestamp};

/// The text is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of the form {prefix} followed by 26 letters and digits")]
pub struct IdError {
    prefix: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Ulid);

        impl $name {
            /// What every id of this kind begins with.
            pub const PREFIX: &'static str = $prefix;

            /// A new id that sorts after all that were made in earlier milliseconds.
            #[must_use]
            pub fn generate(now: Timestamp, entropy: &dyn Entropy) -> Self {
                Self(new_ulid(now, entropy))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_id(f, $prefix, self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_id(f, $prefix, self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_id($prefix, text).map(Self).ok_or(IdError { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )+};
}

ids! {
    /// A listing by an artist.
    ModelId = "mdl_";
    /// One version of one file of a model.
    AssetId = "ast_";
    /// What lets a buyer download.
    PurchaseId = "pur_";
    /// An API key.
    KeyId = "key_";
    /// The catalog's row for immutable bytes under a key.
    ObjectId = "obj_";
    /// A migration from one set of stores to another.
    MigrationId = "mig_";
    /// A download of a file by a buyer: all ranges and attempts that make up one.
    DownloadId = "dow_";
    /// One answer that gave a buyer bytes, or a link to them.
    GrantId = "grt_";
    /// An entry of the ledger: grants that were recorded together.
    LedgerId = "led_";
    /// Something that happened and is told to those who asked for it.
    EventId = "evt_";
    /// An address that events are sent to.
    EndpointId = "whk_";
    /// A line of the record of what operators did.
    AuditId = "aud_";
}

impl From<GrantId> for DownloadId {
    /// The id of the download that begins with this grant.
    fn from(first: GrantId) -> Self {
        Self(first.0)
    }
}

impl From<DownloadId> for GrantId {
    /// The grant that began the download.
    fn from(download: DownloadId) -> Self {
        Self(download.0)
    }
}

impl From<GrantId> for LedgerId {
    /// The id of the entry that holds this grant alone.
    fn from(only: GrantId) -> Self {
        Self(only.0)
    }
}

fn new_ulid(now: Timestamp, entropy: &dyn Entropy) -> Ulid {
    let mut random = [0; 16];
    // A ULID has 80 random bits; the upper 48 of the 128 are its time.
    entropy.fill(&mut random[6..]);
    Ulid::from_parts(
        u64::try_from(now.unix_ms()).unwrap_or(0),
        u128::from_be_bytes(random),
    )
}

fn write_id(f: &mut fmt::Formatter<'_>, prefix: &str, id: Ulid) -> fmt::Result {
    let mut buffer = [0; ulid::ULID_LEN];
    let text = id.array_to_str(&mut buffer);
    text.make_ascii_lowercase();
    f.write_str(prefix)?;
    f.write_str(text)
}

fn parse_id(prefix: &str, text: &str) -> Option<Ulid> {
    let encoded = text.strip_prefix(prefix)?;
    let id = Ulid::from_string(encoded).ok()?;
    // Crockford's alphabet reads upper case and look-alike letters too; an id has one spelling.
    let mut buffer = [0; ulid::ULID_LEN];
    let canonical = id.array_to_str(&mut buffer);
    canonical.make_ascii_lowercase();
    (canonical == encoded).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededEntropy;

    #[test]
    fn an_id_reads_back_and_sorts_by_time() {
        let entropy = SeededEntropy::new(1);
        let first = ModelId::generate(Timestamp::from_unix_ms(1_000), &entropy);
        let second = ModelId::generate(Timestamp::from_unix_ms(1_001), &entropy);
        assert!(first < second);
        assert!(first.to_string() < second.to_string());
        assert_eq!(first.to_string().parse(), Ok(first));
        assert_eq!(first.to_string().len(), 30);
    }

    #[test]
    fn another_kind_or_another_spelling_is_refused() {
        let entropy = SeededEntropy::new(2);
        let id = ModelId::generate(Timestamp::from_unix_ms(1_700_000_000_000), &entropy);
        let text = id.to_string();
        assert!(text.parse::<AssetId>().is_err());
        assert!(text.to_uppercase().parse::<ModelId>().is_err());
        assert!(text.replacen('0', "O", 1).parse::<ModelId>().is_err());
        assert!(format!("{text}0").parse::<ModelId>().is_err());
        assert!("mdl_".parse::<ModelId>().is_err());
        assert!("mdl_é1234567890123456789012345".parse::<ModelId>().is_err());
    }
}
