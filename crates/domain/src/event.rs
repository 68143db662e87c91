//! What Stockroom tells other programs of.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::UnknownState;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)?) => {
        /// What kind of thing happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum EventKind {
            $($(#[$doc])* $variant),+
        }

        impl EventKind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The kind's name in events and in the catalog.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

kinds! {
    /// A model was made.
    ModelCreated = "model.created",
    /// What a model says of itself was changed.
    ModelUpdated = "model.updated",
    /// A model was put on show.
    ModelPublished = "model.published",
    /// A model that was on show is a draft again.
    ModelUnpublished = "model.unpublished",
    /// A model was deleted, with its assets.
    ModelDeleted = "model.deleted",
    /// A deleted model was brought back, with the assets that went with it.
    ModelRestored = "model.restored",
    /// A file of a model was uploaded.
    AssetCreated = "asset.created",
    /// A file was deleted, with its older versions.
    AssetDeleted = "asset.deleted",
    /// A deleted file was brought back, with the older versions that went with it.
    AssetRestored = "asset.restored",
    /// A purchase was recorded.
    PurchaseCreated = "purchase.created",
    /// A purchase was refunded.
    PurchaseRefunded = "purchase.refunded",
    /// A buyer began to download a file: once for all ranges and attempts that make up one download.
    DownloadStarted = "download.started",
    /// A store got a copy that it was owed, or a doubted copy there is well again.
    PlacementPresent = "placement.present",
    /// A copy on a store is doubted.
    PlacementSuspect = "placement.suspect",
    /// The bytes of a deleted object are gone from a store.
    PlacementGone = "placement.gone",
    /// Nothing happened: an operator tries an endpoint.
    EndpointTest = "endpoint.test",
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for EventKind {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let found = Self::ALL.iter().find(|kind| kind.as_str() == text);
        found
            .copied()
            .ok_or_else(|| UnknownState::new("kind of event", text))
    }
}

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_by_its_name() {
        for kind in EventKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(*kind));
            // The form that the Standard Webhooks specification gives to types of events.
            let fits = |b: u8| b.is_ascii_lowercase() || matches!(b, b'.' | b'_');
            assert!(kind.as_str().bytes().all(fits), "{kind}");
        }
        assert!("model.exploded".parse::<EventKind>().is_err());
    }
}
