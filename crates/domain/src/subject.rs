//! Who acts: users by the shop's own ids, and the roles of keys.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A user, by the shop's own id: 1 to 128 visible ASCII characters that mean nothing to us.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Subject(Box<str>);

/// The text cannot be a subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a subject is 1 to 128 visible ASCII characters without spaces")]
pub struct SubjectError;

impl Subject {
    /// The longest subject, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// The text of the subject.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Subject {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let length_fits = (1..=Self::MAX_BYTES).contains(&text.len());
        if length_fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            Err(SubjectError)
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Operator,
    /// A shop's backend: models, purchases, signed URLs; acts for one user at a time.
    Service,
    /// A user who sells: own models, and own purchases like any buyer.
    Artist,
    /// A user who buys: own purchases.
    Buyer,
}

impl Role {
    /// All roles, most powerful first.
    pub const ALL: [Self; 4] = [Self::Operator, Self::Service, Self::Artist, Self::Buyer];

    /// The role's name in the API and in the catalog.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Service => "service",
            Self::Artist => "artist",
            Self::Buyer => "buyer",
        }
    }

    /// Whether a key of this role belongs to one user and so must name a subject.
    #[must_use]
    pub const fn needs_subject(self) -> bool {
        match self {
            Self::Operator | Self::Service => false,
            Self::Artist | Self::Buyer => true,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = crate::UnknownState;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| crate::UnknownState::new("role", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_visible_ascii_of_bounded_length() {
        assert!("u-42|auth0/abc@example.org".parse::<Subject>().is_ok());
        assert!("x".repeat(128).parse::<Subject>().is_ok());
        for bad in ["", "a b", "a\n", "é", "\u{7f}", &"x".repeat(129)] {
            assert_eq!(bad.parse::<Subject>(), Err(SubjectError), "{bad:?}");
        }
    }

    #[test]
    fn roles_read_back() {
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }
}
