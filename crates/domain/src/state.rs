//! States and the steps that are legal between them.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A text that names none of the known states; it comes from a database of another version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} \"{text}\"")]
pub struct UnknownState {
    what: &'static str,
    text: String,
}

impl UnknownState {
    pub(crate) fn new(what: &'static str, text: &str) -> Self {
        Self {
            what,
            text: text.chars().take(40).collect(),
        }
    }
}

/// A step that the rules do not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot go from {from} to {to}")]
pub struct IllegalTransition {
    what: &'static str,
    from: &'static str,
    to: &'static str,
}

macro_rules! states {
    ($(#[$doc:meta])* $name:ident, $what:literal {
        $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name {
            $($(#[$variant_doc])* $variant),+
        }

        impl $name {
            /// All states.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The state's name in the API and in the catalog.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownState;

            fn from_str(text: &str) -> Result<Self, UnknownState> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(UnknownState::new($what, text)),
                }
            }
        }
    };
}

states! {
    /// Whether a model is on show.
    ModelStatus, "model status" {
        /// Only its artist, services and operators see it.
        Draft = "draft",
        /// Everybody sees it; its assets are for those who bought it.
        Published = "published",
    }
}

states! {
    /// The life of an object: immutable bytes under a key.
    ObjectState, "object state" {
        /// An upload has begun; no reader can see it.
        Receiving = "receiving",
        /// Whole, recorded and readable.
        Live = "live",
        /// Gone for readers; the bytes go after the grace period.
        Retiring = "retiring",
        /// The bytes are gone too. The row stays, so that nothing brings the object back.
        Gone = "gone",
    }
}

states! {
    /// What a migration is doing.
    MigrationPhase, "migration phase" {
        /// Objects get a copy on the target that was read back.
        Copy = "copy",
        /// Copies on the source are removed whose objects have one on the target.
        Retire = "retire",
        /// Objects get back what they had before, and lose what the migration gave them.
        Rollback = "rollback",
    }
}

states! {
    /// How a phase of a migration is going.
    MigrationState, "migration state" {
        /// It goes on wherever a server or a command works on it.
        Running = "running",
        /// Nothing new is begun until somebody resumes it.
        Paused = "paused",
        /// Everything that could be done is done.
        Finished = "finished",
    }
}

states! {
    /// Whether an endpoint is sent events.
    EndpointState, "endpoint state" {
        /// Events are sent to it.
        Enabled = "enabled",
        /// Nothing is sent to it until somebody enables it again.
        Disabled = "disabled",
        /// It does not exist any more.
        Deleted = "deleted",
    }
}

states! {
    /// How far the delivery of one event to one endpoint has come.
    DeliveryState, "delivery state" {
        /// It is tried now or later.
        Waiting = "waiting",
        /// The endpoint took the event.
        Delivered = "delivered",
        /// It was given up.
        Failed = "failed",
    }
}

states! {
    /// What is known of an object's bytes on one store.
    PlacementState, "placement state" {
        /// The bytes should be here and are not known to be.
        Copying = "copying",
        /// The bytes were durable here and matched their hash.
        Present = "present",
        /// A read or a check doubted the bytes here.
        Suspect = "suspect",
        /// The bytes here are to be deleted.
        Retiring = "retiring",
        /// The bytes are not here any more.
        Gone = "gone",
    }
}

impl ObjectState {
    /// The state after a step to `to`.
    ///
    /// # Errors
    /// When the step is not legal; nothing comes back from [`ObjectState::Gone`].
    pub const fn step(self, to: Self) -> Result<Self, IllegalTransition> {
        let legal = matches!(
            (self, to),
            (Self::Receiving, Self::Live | Self::Gone)
                | (Self::Live, Self::Retiring)
                | (Self::Retiring, Self::Live | Self::Gone)
        );
        if legal {
            Ok(to)
        } else {
            Err(IllegalTransition {
                what: "an object",
                from: self.as_str(),
                to: to.as_str(),
            })
        }
    }
}

impl PlacementState {
    /// The state after a step to `to`.
    ///
    /// # Errors
    /// When the step is not legal. Bytes become present only by being copied or checked.
    pub const fn step(self, to: Self) -> Result<Self, IllegalTransition> {
        let legal = matches!(
            (self, to),
            (Self::Copying, Self::Present | Self::Retiring)
                | (Self::Present, Self::Suspect | Self::Retiring)
                | (
                    Self::Suspect,
                    Self::Present | Self::Copying | Self::Retiring
                )
                | (Self::Retiring, Self::Suspect | Self::Gone)
                | (Self::Gone, Self::Copying)
        );
        if legal {
            Ok(to)
        } else {
            Err(IllegalTransition {
                what: "a placement",
                from: self.as_str(),
                to: to.as_str(),
            })
        }
    }

    /// Whether a reader may try these bytes. A suspect copy is the last resort: the reader
    /// verifies what it reads, so it can be better than nothing and never worse.
    #[must_use]
    pub const fn is_readable(self) -> bool {
        match self {
            Self::Present | Self::Suspect => true,
            Self::Copying | Self::Retiring | Self::Gone => false,
        }
    }
}

/// The name of a store: `local`, `s3`, or one that an operator chose for another bucket.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreName(Cow<'static, str>);

impl StoreName {
    /// The folder on this machine.
    pub const LOCAL: Self = Self(Cow::Borrowed("local"));
    /// The bucket.
    pub const S3: Self = Self(Cow::Borrowed("s3"));

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StoreName {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let fits = (1..=32).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        match text {
            "local" => Ok(Self::LOCAL),
            "s3" => Ok(Self::S3),
            _ if fits => Ok(Self(Cow::Owned(text.to_owned()))),
            _ => Err(UnknownState::new("store", text)),
        }
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for StoreName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_read_back() {
        for state in PlacementState::ALL {
            assert_eq!(state.as_str().parse(), Ok(*state));
        }
        let error = "melted".parse::<ObjectState>().unwrap_err();
        assert_eq!(error.to_string(), "unknown object state \"melted\"");
    }

    #[test]
    fn deleted_stays_deleted_by_the_rules_of_objects() {
        for to in ObjectState::ALL {
            assert!(ObjectState::Gone.step(*to).is_err(), "gone -> {to}");
        }
        assert_eq!(
            ObjectState::Retiring.step(ObjectState::Live),
            Ok(ObjectState::Live)
        );
        assert!(ObjectState::Live.step(ObjectState::Gone).is_err());
    }

    #[test]
    fn bytes_become_present_only_by_a_copy_or_a_check() {
        let sources: Vec<_> = PlacementState::ALL
            .iter()
            .filter(|from| from.step(PlacementState::Present).is_ok())
            .collect();
        assert_eq!(
            sources,
            [&PlacementState::Copying, &PlacementState::Suspect]
        );
        assert!(PlacementState::Present.step(PlacementState::Gone).is_err());
    }

    #[test]
    fn a_store_has_a_plain_name() {
        assert_eq!("local".parse(), Ok(StoreName::LOCAL));
        assert_eq!("r2-eu".parse::<StoreName>().unwrap().as_str(), "r2-eu");
        for bad in ["", "S3", "a b", "../x", &"a".repeat(33)] {
            assert!(bad.parse::<StoreName>().is_err(), "{bad:?}");
        }
    }
}
