//! Which stores take part, and how.

use std::fmt;
use std::str::FromStr;

use stockroom_domain::StoreName;

/// The text names none of the known values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not one of {known}")]
pub struct UnknownName {
    /// The values that exist.
    known: &'static str,
}

/// Which stores a [`Storage`](crate::Storage) is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// A folder.
    Local,
    /// A bucket.
    S3,
    /// A folder and a bucket.
    Hybrid,
}

/// Which copy is read when all are there; the others are what it fails over to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ReadOrder {
    /// The copy on local disk, then the one on S3.
    #[default]
    LocalFirst,
    /// The copy on S3, then the one on local disk.
    S3First,
}

/// When an upload to several stores counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Ack {
    /// When at least one copy is durable. The caller sees which stores failed and owes them
    /// their copies.
    #[default]
    Any,
    /// Only when every store has a durable copy.
    Both,
}

/// Gives a fieldless enum its names.
macro_rules! names {
    ($type:ident, $known:literal, $($variant:ident = $name:literal),+) => {
        impl $type {
            /// The name in configuration and output.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name),+
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $type {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                match text {
                    $($name => Ok(Self::$variant),)+
                    _ => Err(UnknownName { known: $known }),
                }
            }
        }
    };
}

names!(
    Mode,
    "local, s3, hybrid",
    Local = "local",
    S3 = "s3",
    Hybrid = "hybrid"
);
names!(
    ReadOrder,
    "local-first, s3-first",
    LocalFirst = "local-first",
    S3First = "s3-first"
);
names!(Ack, "any, both", Any = "any", Both = "both");

/// The name under which several stores behind one face appear in errors.
#[expect(
    clippy::expect_used,
    reason = "the text is a store name, as every test of a hybrid shows"
)]
pub(crate) fn hybrid_name() -> StoreName {
    "hybrid".parse().expect("a store name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for mode in [Mode::Local, Mode::S3, Mode::Hybrid] {
            assert_eq!(mode.as_str().parse(), Ok(mode));
        }
        for order in [ReadOrder::LocalFirst, ReadOrder::S3First] {
            assert_eq!(order.to_string().parse(), Ok(order));
        }
        for ack in [Ack::Any, Ack::Both] {
            assert_eq!(ack.to_string().parse(), Ok(ack));
        }
        let error = "Local".parse::<Mode>().unwrap_err();
        assert_eq!(error.to_string(), "not one of local, s3, hybrid");
    }
}
