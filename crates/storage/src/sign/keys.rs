//! The secrets that sign.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use stockroom_domain::Entropy;

/// One secret with its id. Its `Debug` form leaves the secret out.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey {
    kid: Box<str>,
    secret: Box<[u8]>,
}

/// Why something is no signing key, or no list of them. It never holds the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningKeyError {
    /// The id has other characters, is empty or too long.
    #[error("the id of a signing key is 1 to 16 characters a-z, 0-9 or -")]
    Kid,
    /// The secret is too short.
    #[error(
        "the secret of a signing key is at least {} bytes long",
        SigningKey::MIN_SECRET_BYTES
    )]
    Secret,
    /// There is no key.
    #[error("at least one signing key is needed")]
    Empty,
    /// Two keys have the same id.
    #[error("two signing keys have the id {0}")]
    Duplicate(Box<str>),
}

impl SigningKey {
    /// The shortest secret in bytes: the length of the HMAC's output, below which its strength
    /// decreases (RFC 2104, section 3).
    pub const MIN_SECRET_BYTES: usize = 32;

    /// A key from its id and its secret. Every byte of the secret counts, as it is.
    ///
    /// # Errors
    /// When the id or the secret does not fit.
    pub fn new(kid: &str, secret: &[u8]) -> Result<Self, SigningKeyError> {
        let fits = (1..=16).contains(&kid.len())
            && kid
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !fits {
            return Err(SigningKeyError::Kid);
        }
        if secret.len() < Self::MIN_SECRET_BYTES {
            return Err(SigningKeyError::Secret);
        }
        Ok(Self {
            kid: kid.into(),
            secret: secret.into(),
        })
    }

    /// A new key with a secret of 64 random hex digits.
    ///
    /// # Errors
    /// When the id does not fit.
    pub fn generate(kid: &str, entropy: &dyn Entropy) -> Result<Self, SigningKeyError> {
        Self::new(kid, hex::encode(entropy.bytes::<32>()).as_bytes())
    }

    /// The id, which is public.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The secret, for writing it to where it is kept. It belongs in no log.
    #[must_use]
    pub fn expose_secret(&self) -> &[u8] {
        &self.secret
    }

    pub(super) fn mac(&self, message: &[u8]) -> [u8; 32] {
        #[expect(
            clippy::expect_used,
            reason = "HMAC takes a key of any length (RFC 2104, section 2)"
        )]
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("any length fits");
        mac.update(message);
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.kid)
    }
}

/// The keys in use, newest first: the first one signs, all of them verify. So a key is exchanged
/// by putting a new one in front and taking the old one away when its last URL has expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningKeys {
    newest: SigningKey,
    older: Vec<SigningKey>,
}

impl SigningKeys {
    /// A list of keys, newest first.
    ///
    /// # Errors
    /// When there is none, or two have the same id.
    pub fn new(keys: Vec<SigningKey>) -> Result<Self, SigningKeyError> {
        for (index, key) in keys.iter().enumerate() {
            if keys[..index].iter().any(|earlier| earlier.kid == key.kid) {
                return Err(SigningKeyError::Duplicate(key.kid.clone()));
            }
        }
        let mut keys = keys.into_iter();
        let newest = keys.next().ok_or(SigningKeyError::Empty)?;
        Ok(Self {
            newest,
            older: keys.collect(),
        })
    }

    /// The key that signs.
    #[must_use]
    pub const fn newest(&self) -> &SigningKey {
        &self.newest
    }

    /// All keys, newest first.
    pub fn iter(&self) -> impl Iterator<Item = &SigningKey> {
        std::iter::once(&self.newest).chain(&self.older)
    }

    /// The key with this id.
    #[must_use]
    pub fn get(&self, kid: &str) -> Option<&SigningKey> {
        self.iter().find(|key| key.kid() == kid)
    }
}

#[cfg(test)]
mod tests {
    use stockroom_domain::SystemEntropy;

    use super::*;

    #[test]
    fn keys_are_checked_and_never_shown() {
        let secret = "not-a-real-secret-not-a-real-secret";
        let key = SigningKey::new("k-1", secret.as_bytes()).unwrap();
        assert_eq!(format!("{key:?}"), "SigningKey(k-1)");
        let keys = SigningKeys::new(vec![key.clone()]).unwrap();
        assert!(!format!("{keys:?}").contains(secret));
        for kid in ["", "K", "a:b", "a b", "a234567890123456x"] {
            let refused = SigningKey::new(kid, secret.as_bytes());
            assert_eq!(refused, Err(SigningKeyError::Kid), "{kid}");
        }
        assert_eq!(
            SigningKey::new("k", &[b'x'; 31]),
            Err(SigningKeyError::Secret)
        );
        assert_eq!(SigningKeys::new(Vec::new()), Err(SigningKeyError::Empty));
        assert_eq!(
            SigningKeys::new(vec![key.clone(), key]),
            Err(SigningKeyError::Duplicate("k-1".into()))
        );
    }

    #[test]
    fn the_first_signs_and_all_are_found() {
        let new = SigningKey::generate("new", &SystemEntropy).unwrap();
        let old = SigningKey::generate("old", &SystemEntropy).unwrap();
        assert_ne!(new.expose_secret(), old.expose_secret());
        let keys = SigningKeys::new(vec![new.clone(), old.clone()]).unwrap();
        assert_eq!(keys.newest(), &new);
        assert_eq!(keys.get("old"), Some(&old));
        assert_eq!(keys.get("gone"), None);
        assert!(keys.iter().eq([&new, &old]));
    }

    #[test]
    fn the_mac_is_that_of_rfc_4231() {
        // Test case 6, whose key is long enough to be one of ours.
        let key = SigningKey::new("k", &[0xaa; 131]).unwrap();
        let mac = key.mac(b"Test Using Larger Than Block-Size Key - Hash Key First");
        assert_eq!(
            hex::encode(mac),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }
}
