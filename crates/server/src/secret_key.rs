//! API keys as callers hold them: `sr_live_`, 40 hex digits of randomness, 8 of checksum.
//!
//! The checksum tells a mistyped key from a revoked one without asking the database, and lets
//! scanners recognise a leaked key. The catalog keeps only the SHA-256.

use std::fmt;

use stockroom_catalog::KeyHash;
use stockroom_domain::{Entropy, Sha256Digest};

const PREFIX: &str = "sr_live_";
const RANDOM_BYTES: usize = 20;

/// The secret form of a key. Its `Debug` form leaves the secret out.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey([u8; RANDOM_BYTES]);

/// The text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key of the form sr_live_...")]
pub struct MalformedKey;

impl SecretKey {
    /// A new key that nobody can guess: 160 random bits.
    #[must_use]
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(entropy.bytes())
    }

    /// Reads a key as a caller sent it.
    ///
    /// # Errors
    /// When it has another form or its checksum is wrong.
    pub fn parse(text: &str) -> Result<Self, MalformedKey> {
        let digits = text.strip_prefix(PREFIX).ok_or(MalformedKey)?;
        if digits.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(MalformedKey);
        }
        let mut bytes = [0; RANDOM_BYTES + 4];
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| MalformedKey)?;
        let (random, sum) = bytes.split_at(RANDOM_BYTES);
        let random: [u8; RANDOM_BYTES] = random.try_into().map_err(|_| MalformedKey)?;
        if sum == checksum(&random) {
            Ok(Self(random))
        } else {
            Err(MalformedKey)
        }
    }

    /// The text to hand out, once.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!(
            "{PREFIX}{}{}",
            hex::encode(self.0),
            hex::encode(checksum(&self.0))
        )
    }

    /// What the catalog keeps. A fast hash is right here: 160 random bits cannot be searched.
    #[must_use]
    pub fn hash(&self) -> KeyHash {
        KeyHash(*Sha256Digest::of(self.reveal().as_bytes()).as_bytes())
    }
}

/// The text without the keys in it, of which the beginning that all have is left. What has only the
/// look of a key is taken out too: it may be one that was cut or mistyped.
#[must_use]
pub fn without_keys(text: &str) -> String {
    let mut pieces = text.split(PREFIX);
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        shown.push_str(PREFIX);
        let is_of_key = |c: char| c.is_ascii_alphanumeric();
        if piece.starts_with(is_of_key) {
            shown.push_str("***");
        }
        shown.push_str(piece.trim_start_matches(is_of_key));
    }
    shown
}

/// The first four bytes of a SHA-256: no secret, only a guard against typing errors.
fn checksum(random: &[u8; RANDOM_BYTES]) -> [u8; 4] {
    let digest = Sha256Digest::of(&[b"stockroom key checksum", &random[..]].concat());
    let [a, b, c, d, ..] = *digest.as_bytes();
    [a, b, c, d]
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use stockroom_domain::SeededEntropy;

    use super::*;

    #[test]
    fn a_key_reads_back_and_every_changed_digit_is_noticed() {
        let key = SecretKey::generate(&SeededEntropy::new(3));
        let text = key.reveal();
        assert_eq!(SecretKey::parse(&text), Ok(key.clone()));
        assert!(!format!("{key:?}").contains(&text[8..]));
        for position in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[position] = if changed[position] == b'0' {
                b'1'
            } else {
                b'0'
            };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(SecretKey::parse(&changed), Err(MalformedKey), "{changed}");
        }
        assert!(SecretKey::parse(&text[..text.len() - 1]).is_err());
        assert!(SecretKey::parse(&text.to_uppercase()).is_err());
        assert!(SecretKey::parse("").is_err());
    }

    #[test]
    fn keys_are_taken_out_of_a_text() {
        let key = SecretKey::generate(&SeededEntropy::new(6)).reveal();
        for (text, shown) in [
            (key.clone(), "sr_live_***"),
            (format!("{key}/{key}.stl"), "sr_live_***/sr_live_***.stl"),
            (format!("a/{}", &key[..20]), "a/sr_live_***"),
            (format!("{key}{key}"), "sr_live_***sr_live_***"),
            ("sr_live_".to_owned(), "sr_live_"),
            ("mdl_1/a%20b.stl".to_owned(), "mdl_1/a%20b.stl"),
        ] {
            assert_eq!(without_keys(&text), shown, "{text}");
        }
    }

    #[test]
    fn the_hash_is_not_the_key() {
        let key = SecretKey::generate(&SeededEntropy::new(4));
        let other = SecretKey::generate(&SeededEntropy::new(5));
        assert_ne!(key.hash(), other.hash());
        assert!(!key.reveal().contains(&hex::encode(key.hash().0)));
    }
}
