//! API keys as callers hold them: `sr_live_`, 40 hex digits of randomness, 8 of checksum.
//!
//! The checksum tells a mistyped key from a revoked one without asking the database, and lets
//! scanners recognise a leaked key. The catalog keeps only the SHA-256.

use std::fmt;

use sha2::{Digest as _, Sha256};
use stockroom_catalog::KeyHash;
use stockroom_domain::{Entropy, Sha256Digest};

const PREFIX: &str = "sr_live_";
const RANDOM_BYTES: usize = 20;
const CHECKSUM_BYTES: usize = 4;

/// The secret form of a key. Its `Debug` form leaves the secret out.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretKey {
    /// What is written in hex behind the prefix.
    random_and_checksum: [u8; RANDOM_BYTES + CHECKSUM_BYTES],
}

/// The text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key of the form sr_live_...")]
pub struct MalformedKey;

impl SecretKey {
    /// A new key that nobody can guess: 160 random bits.
    #[must_use]
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self::of(entropy.bytes())
    }

    fn of(random: [u8; RANDOM_BYTES]) -> Self {
        let mut random_and_checksum = [0; RANDOM_BYTES + CHECKSUM_BYTES];
        random_and_checksum[..RANDOM_BYTES].copy_from_slice(&random);
        random_and_checksum[RANDOM_BYTES..].copy_from_slice(&checksum(&random));
        Self {
            random_and_checksum,
        }
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
        let mut random_and_checksum = [0; RANDOM_BYTES + CHECKSUM_BYTES];
        hex::decode_to_slice(digits, &mut random_and_checksum).map_err(|_| MalformedKey)?;
        let (random, sum) = random_and_checksum.split_at(RANDOM_BYTES);
        if sum == checksum(random) {
            Ok(Self {
                random_and_checksum,
            })
        } else {
            Err(MalformedKey)
        }
    }

    /// The text to hand out, once.
    #[must_use]
    pub fn reveal(&self) -> String {
        PREFIX.to_owned() + &hex::encode(self.random_and_checksum)
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
fn checksum(random: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::new()
        .chain_update(b"stockroom key checksum")
        .chain_update(random)
        .finalize();
    let [a, b, c, d, ..]: [u8; 32] = digest.into();
    [a, b, c, d]
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom as _;
    use rand::{RngExt as _, SeedableRng as _};
    use stockroom_domain::{SeededEntropy, SystemEntropy};

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

    /// As many as take a second or two without optimisation.
    const QUICK_MUTATIONS: usize = 250_000;

    #[test]
    fn no_mutation_of_a_key_is_accepted() {
        assert_none_is_accepted(QUICK_MUTATIONS);
    }

    #[test]
    #[ignore = "a million takes ten seconds without optimisation"]
    fn no_mutation_of_a_key_of_a_million_is_accepted() {
        assert_none_is_accepted(1_000_000);
    }

    /// Does what a call with a key goes through, with keys that are nearly right:
    /// the text is read, and the hash is looked for among those that are known.
    fn assert_none_is_accepted(mutations: usize) {
        let seed = seed();
        let mut random = StdRng::seed_from_u64(seed);
        let entropy = SeededEntropy::new(seed);
        let originals: Vec<String> = (0..1_000)
            .map(|_| SecretKey::generate(&entropy).reveal())
            .collect();
        let accepted = |known: &HashMap<KeyHash, String>, text: &str| match SecretKey::parse(text) {
            Ok(key) => (true, known.get(&key.hash()).cloned()),
            Err(MalformedKey) => (false, None),
        };
        let known: HashMap<KeyHash, String> = originals
            .iter()
            .map(|text| (SecretKey::parse(text).unwrap().hash(), text.clone()))
            .collect();
        // The look-up finds what it should, so that finding nothing says something.
        for text in &originals {
            assert_eq!(accepted(&known, text), (true, Some(text.clone())));
        }
        let unchanged: HashSet<&str> = originals.iter().map(String::as_str).collect();
        let mut counts = [0_u32; MUTATIONS.len()];
        let (mut tried, mut parsed) = (0, 0);
        while tried < mutations {
            let original = originals.choose(&mut random).unwrap();
            let which = random.random_range(0..MUTATIONS.len());
            let mut text = MUTATIONS[which].1(original, &originals, &mut random);
            if random.random_bool(0.2) && text.is_ascii() {
                let (_, again) = MUTATIONS[random.random_range(0..MUTATIONS.len())];
                text = again(&text, &originals, &mut random);
            }
            if unchanged.contains(text.as_str()) {
                continue;
            }
            tried += 1;
            counts[which] += 1;
            let (is_parsed, found) = accepted(&known, &text);
            parsed += u32::from(is_parsed);
            assert_eq!(found, None, "{text}; to replay: STOCKROOM_SEED={seed}");
        }
        let kinds: Vec<String> = MUTATIONS
            .iter()
            .zip(counts)
            .map(|((name, _), count)| format!("{name} {count}"))
            .collect();
        println!(
            "figure: {tried} mutations of keys, {parsed} of them with a right checksum, seed {seed}: \
             0 accepted ({})",
            kinds.join(", ")
        );
        assert!(parsed > 0, "no checksum was right");
    }

    /// The seed of this run, which is printed.
    fn seed() -> u64 {
        let system: &dyn Entropy = &SystemEntropy;
        let seed = match std::env::var("STOCKROOM_SEED") {
            Ok(text) => text.parse().expect("STOCKROOM_SEED is a whole number"),
            Err(_) => u64::from_be_bytes(system.bytes()),
        };
        println!("seed {seed}; to replay: STOCKROOM_SEED={seed}");
        seed
    }

    /// A way to change a key. Others lend their parts.
    type Mutate = fn(&str, &[String], &mut StdRng) -> String;

    const MUTATIONS: [(&str, Mutate); 12] = [
        ("bit flipped", |text, _, random| {
            replace_one(text, random, |byte, random| {
                byte ^ 1 << random.random_range(0..7)
            })
        }),
        ("digit replaced", |text, _, random| {
            replace_one(text, random, |_, random| {
                *b"0123456789abcdefABCDEFgG_ -".choose(random).unwrap()
            })
        }),
        ("digits swapped", |text, _, random| {
            let mut bytes = text.as_bytes().to_vec();
            if let Some(last) = bytes.len().checked_sub(1) {
                bytes.swap(random.random_range(0..=last), random.random_range(0..=last));
            }
            String::from_utf8(bytes).unwrap()
        }),
        ("cut", |text, _, random| {
            let at = random.random_range(0..=text.len());
            match random.random_bool(0.5) {
                true => text[..at].to_owned(),
                false => text[at..].to_owned(),
            }
        }),
        ("extended", |text, others, random| {
            let more = ["0", "00", " ", "\t", "\0", "=", "\u{e9}", "sr_live_"];
            match random.random_range(0..3) {
                0 => format!("{text}{}", more.choose(random).unwrap()),
                1 => format!("{}{text}", more.choose(random).unwrap()),
                _ => format!("{text}{}", others.choose(random).unwrap()),
            }
        }),
        ("in capitals", |text, _, random| {
            let at = random.random_range(0..=text.len());
            match random.random_range(0..3) {
                0 => text.to_ascii_uppercase(),
                1 => format!("{}{}", &text[..at], text[at..].to_ascii_uppercase()),
                _ => format!("{}{}", text[..at].to_ascii_uppercase(), &text[at..]),
            }
        }),
        ("joined with another", |text, others, random| {
            let other = others.choose(random).unwrap();
            let at = random.random_range(0..=text.len().min(other.len()));
            format!("{}{}", &text[..at], &other[at..])
        }),
        ("with another checksum", |text, others, random| {
            let other = others.choose(random).unwrap();
            let at = text.len().saturating_sub(8);
            format!("{}{}", &text[..at], &other[other.len() - 8..])
        }),
        (
            "one bit changed and its checksum made anew",
            |text, _, random| {
                let Ok(key) = SecretKey::parse(text) else {
                    return text.to_owned();
                };
                let mut bytes: [u8; RANDOM_BYTES] =
                    std::array::from_fn(|at| key.random_and_checksum[at]);
                bytes[random.random_range(0..RANDOM_BYTES)] ^= 1 << random.random_range(0..8);
                SecretKey::of(bytes).reveal()
            },
        ),
        ("drawn, with its checksum", |_, _, random| {
            SecretKey::of(random.random()).reveal()
        }),
        ("drawn, without one", |_, _, random| {
            let bytes: [u8; RANDOM_BYTES + 4] = random.random();
            format!("{PREFIX}{}", hex::encode(bytes))
        }),
        ("with another prefix", |text, _, random| {
            let digits = text.strip_prefix(PREFIX).unwrap_or(text);
            let prefixes = [
                "", "sr_", "sr_test_", "SR_LIVE_", "sr-live-", "sk_live_", "sr_live",
            ];
            format!("{}{digits}", prefixes.choose(random).unwrap())
        }),
    ];

    /// Puts another byte in the place of one.
    fn replace_one(
        text: &str,
        random: &mut StdRng,
        with: impl FnOnce(u8, &mut StdRng) -> u8,
    ) -> String {
        let mut bytes = text.as_bytes().to_vec();
        if !bytes.is_empty() {
            let at = random.random_range(0..bytes.len());
            bytes[at] = with(bytes[at], random);
        }
        String::from_utf8(bytes).unwrap()
    }
}
