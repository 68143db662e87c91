//! What a verification finds, in words for people and names for programs.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use stockroom_catalog::ObjectRow;
use stockroom_domain::{Key, ObjectId, StoreName};

/// The kinds of findings. Programs may rely on their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The store carries another id than the catalog knows: it may not be the one it should be.
    ForeignStore,
    /// The store, or one of its copies, cannot be looked at. Nothing is known of it then.
    Unreadable,
    /// No store has a whole copy.
    Lost,
    /// A copy is recorded, and the store has no such object.
    Missing,
    /// A copy has another size than is recorded.
    WrongSize,
    /// A copy was read, and its bytes are not those that were recorded.
    WrongHash,
    /// An object has no copy on a store of the mode, and none is owed to it.
    Unplaced,
    /// A copy is owed or doubted; the engine is to place it.
    UnderPlaced,
    /// The store has bytes that nothing in the catalog accounts for.
    Extra,
    /// The same, and another program wrote them: they may be what is still to be imported.
    Unimported,
    /// The bucket keeps more than one version under a location, and bills them all.
    OldVersions,
}

impl Kind {
    /// The name of the kind.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ForeignStore => "foreign_store",
            Self::Unreadable => "unreadable",
            Self::Lost => "lost",
            Self::Missing => "missing",
            Self::WrongSize => "wrong_size",
            Self::WrongHash => "wrong_hash",
            Self::Unplaced => "unplaced",
            Self::UnderPlaced => "under_placed",
            Self::Extra => "extra",
            Self::Unimported => "unimported",
            Self::OldVersions => "old_versions",
        }
    }

    /// Whether something is wrong that does not come right by itself: a copy that is owed is what
    /// every hybrid has after an outage, and what another program left is its own.
    #[must_use]
    pub const fn is_wrong(self) -> bool {
        !matches!(self, Self::UnderPlaced | Self::Unimported)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One thing in which the catalog and a store differ. Its texts hold no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    #[serde(rename = "finding")]
    pub kind: Kind,
    /// The store; none when it concerns all of them.
    pub store: Option<StoreName>,
    /// The key that readers know the object by, if one is known.
    pub key: Option<Key>,
    /// Where the bytes lie, or should.
    pub location: Option<Key>,
    /// The object, if one is known.
    pub object: Option<ObjectId>,
    /// What was seen, in one clause.
    pub detail: Cow<'static, str>,
    /// Whether it is mended; none when that was not asked for.
    pub repaired: Option<bool>,
    /// What was done about it, or why nothing was, in one clause.
    pub done: Option<Cow<'static, str>>,
}

impl Finding {
    /// About a store as a whole.
    pub(super) fn of_store(
        kind: Kind,
        store: &StoreName,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            kind,
            store: Some(store.clone()),
            key: None,
            location: None,
            object: None,
            detail: detail.into(),
            repaired: None,
            done: None,
        }
    }

    /// About the bytes at a location.
    pub(super) fn at(
        kind: Kind,
        store: &StoreName,
        location: &Key,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            location: Some(location.clone()),
            ..Self::of_store(kind, store, detail)
        }
    }

    /// About an object's copy on a store.
    pub(super) fn of_copy(
        kind: Kind,
        store: &StoreName,
        object: &ObjectRow,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            key: Some(object.key.clone()),
            object: Some(object.id),
            ..Self::at(kind, store, &object.location, detail)
        }
    }

    /// About an object on all stores.
    pub(super) fn of_object(
        kind: Kind,
        object: &ObjectRow,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            store: None,
            ..Self::of_copy(kind, &StoreName::LOCAL, object, detail)
        }
    }

    /// The same, with how a repair went.
    pub(super) fn with_outcome(mut self, outcome: Outcome) -> Self {
        self.repaired = Some(outcome.is_repaired);
        self.done = Some(outcome.done);
        self
    }
}

/// How a repair went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    is_repaired: bool,
    done: Cow<'static, str>,
}

impl Outcome {
    /// It is as it should be.
    pub(super) fn repaired(done: impl Into<Cow<'static, str>>) -> Self {
        Self {
            is_repaired: true,
            done: done.into(),
        }
    }

    /// It is as it was, for this reason.
    pub(super) fn not_repaired(why: impl Into<Cow<'static, str>>) -> Self {
        Self {
            is_repaired: false,
            done: why.into(),
        }
    }
}

/// A duration as people say it, in its largest unit.
pub(super) fn for_people(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (count, unit) = match seconds {
        0..120 => (seconds, "s"),
        120..7_200 => (seconds / 60, "min"),
        7_200..172_800 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "days"),
    };
    format!("{count} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_has_one_name_everywhere() {
        for kind in [
            Kind::ForeignStore,
            Kind::Unreadable,
            Kind::Lost,
            Kind::Missing,
            Kind::WrongSize,
            Kind::WrongHash,
            Kind::Unplaced,
            Kind::UnderPlaced,
            Kind::Extra,
            Kind::Unimported,
            Kind::OldVersions,
        ] {
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{kind}\""));
        }
    }

    #[test]
    fn durations_are_rounded_down_to_a_unit() {
        let said = |seconds| for_people(Duration::from_secs(seconds));
        assert_eq!(said(119), "119 s");
        assert_eq!(said(200), "3 min");
        assert_eq!(said(7_300), "2 h");
        assert_eq!(said(200_000), "2 days");
    }
}
