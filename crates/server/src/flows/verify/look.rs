//! The second look: what seems wrong counts only when the store and the catalog still say so.

use stockroom_catalog::{CatalogError, ObjectAt, ObjectRow};
use stockroom_domain::{Key, ObjectId, ObjectState, PlacementState, StoreName};
use stockroom_storage::{Error, GuardedStore, Store as _};

use super::finding::Kind;
use crate::app::App;
use crate::flows::prove::{is_wrong, prove};

/// What a look at a recorded copy showed.
pub(super) enum Look {
    /// It is there with the recorded size.
    Right,
    /// It is not expected there any more.
    Moot,
    /// It is wrong.
    Wrong(Box<WrongCopy>),
    /// The store does not tell.
    Unknown(Error),
}

/// A copy that is wrong.
pub(super) struct WrongCopy {
    pub(super) kind: Kind,
    pub(super) object: ObjectRow,
    /// The state of its placement.
    pub(super) state: PlacementState,
    pub(super) detail: String,
    /// Whether another store has a copy.
    pub(super) other: Other,
}

/// Whether another store has a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Other {
    /// One that is whole, as far as was looked.
    Whole,
    /// All of them told that they have none.
    Nowhere,
    /// One of them did not tell.
    Unknown,
}

/// How closely other copies are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// By their size.
    Size,
    /// By reading them to their end.
    Hash,
}

/// Looks at a copy on its store, and then in the catalog whether it is still expected there.
pub(super) async fn look(
    app: &App,
    store: &GuardedStore,
    id: ObjectId,
    location: &Key,
    size_bytes: u64,
) -> Result<Look, CatalogError> {
    let (kind, detail) = match store.head(location).await {
        Ok(info) if info.size_bytes == size_bytes => return Ok(Look::Right),
        Ok(info) => {
            let detail = format!("{} bytes, not the {size_bytes} recorded", info.size_bytes);
            (Kind::WrongSize, detail)
        }
        Err(error) if error.is_not_found() => {
            (Kind::Missing, "the store has no such object".to_owned())
        }
        Err(error) => return Ok(Look::Unknown(error)),
    };
    confirm(app, store, id, kind, detail).await
}

/// Looks in the catalog whether a copy that was seen to be wrong is still expected.
pub(super) async fn confirm(
    app: &App,
    store: &GuardedStore,
    id: ObjectId,
    kind: Kind,
    detail: String,
) -> Result<Look, CatalogError> {
    let Some((object, state)) = still_recorded(app, id, store.name()).await? else {
        return Ok(Look::Moot);
    };
    let other = other_copy(app, &object, store.name(), Depth::Size).await;
    Ok(Look::Wrong(Box::new(WrongCopy {
        kind,
        object,
        state,
        detail,
        other,
    })))
}

/// The object and the state of its copy on this store, when it is not deleted and readers may
/// still be given that copy.
async fn still_recorded(
    app: &App,
    id: ObjectId,
    store: &StoreName,
) -> Result<Option<(ObjectRow, PlacementState)>, CatalogError> {
    let found = app.catalog.find_object_by_id(id).await?;
    Ok(found.and_then(|details| {
        let object = details.object;
        let is_kept = matches!(object.state, ObjectState::Live | ObjectState::Retiring);
        let state = state_on(&object, store).filter(|state| is_kept && state.is_readable())?;
        Some((object, state))
    }))
}

/// The state of an object's placement on a store.
pub(super) fn state_on(object: &ObjectRow, store: &StoreName) -> Option<PlacementState> {
    let mut placements = object.placements.iter();
    let placement = placements.find(|placement| placement.store == *store)?;
    Some(placement.state)
}

/// Looks for a copy of the object on other stores than this one.
pub(super) async fn other_copy(
    app: &App,
    object: &ObjectRow,
    except: &StoreName,
    depth: Depth,
) -> Other {
    let mut other = Other::Nowhere;
    for placement in &object.placements {
        if placement.store == *except || !placement.state.is_readable() {
            continue;
        }
        // A store that is not configured here may well have its copy.
        let Some(store) = app.store(&placement.store) else {
            other = Other::Unknown;
            continue;
        };
        // The size of a doubted copy says nothing.
        let is_doubted = placement.state == PlacementState::Suspect;
        let seen = match depth {
            Depth::Size if !is_doubted => has_size(&store, object).await,
            _ => prove(app, &*store, object, |_| {}).await.map(|()| true),
        };
        match seen {
            Ok(true) => return Other::Whole,
            Ok(false) => {}
            Err(error) if is_wrong(&error) => {}
            Err(_) => other = Other::Unknown,
        }
    }
    other
}

async fn has_size(store: &GuardedStore, object: &ObjectRow) -> Result<bool, Error> {
    let info = store.head(&object.location).await?;
    Ok(info.size_bytes == object.size_bytes)
}

/// What the catalog says of an object that a store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is a copy that is recorded there, with this size.
    Recorded {
        /// The object.
        object: ObjectId,
        /// How many bytes it should have.
        size_bytes: u64,
    },
    /// Somebody is at work on it, or another comparison covers it.
    Elsewhere,
    /// Nothing accounts for it, for this reason.
    Extra(&'static str),
}

/// Judges an object that a store has by what is recorded at its location. `is_in_mode` says that
/// new objects are written to the store.
pub(super) fn judge(recorded: Option<&ObjectAt>, store: &StoreName, is_in_mode: bool) -> Judgement {
    let Some(recorded) = recorded else {
        return Judgement::Extra("no object is recorded there");
    };
    match recorded.state {
        // An upload, or what the sweep will take.
        ObjectState::Receiving => return Judgement::Elsewhere,
        ObjectState::Gone if recorded.is_leased => return Judgement::Elsewhere,
        ObjectState::Gone => return Judgement::Extra("the object was deleted"),
        ObjectState::Live | ObjectState::Retiring => {}
    }
    let mut placements = recorded.placements.iter();
    let placement = placements.find(|placement| placement.store == *store);
    let is_live = recorded.state == ObjectState::Live;
    match placement.map(|placement| placement.state) {
        // The doubt is on record, and a deleted object is not healed.
        Some(PlacementState::Suspect) if !is_live => Judgement::Elsewhere,
        Some(PlacementState::Present | PlacementState::Suspect) => match recorded.size_bytes {
            Some(size_bytes) => Judgement::Recorded {
                object: recorded.object_id,
                size_bytes,
            },
            None => Judgement::Elsewhere,
        },
        // The engine is at it.
        Some(PlacementState::Copying | PlacementState::Retiring) => Judgement::Elsewhere,
        // What a live object lacks on a store of the mode is found in the catalog, and the copy
        // that is made then takes the place of these bytes.
        Some(PlacementState::Gone) | None if is_live && is_in_mode => Judgement::Elsewhere,
        Some(PlacementState::Gone) | None if recorded.is_leased && !is_live => Judgement::Elsewhere,
        Some(PlacementState::Gone) => Judgement::Extra("the copy was deleted"),
        None => Judgement::Extra("no copy is recorded on this store"),
    }
}

#[cfg(test)]
mod tests {
    use stockroom_catalog::Placement;
    use stockroom_domain::{SeededEntropy, Timestamp};

    use super::*;

    /// What is judged of bytes on s3 with this record, on a store outside the mode and in it.
    fn judged(
        state: ObjectState,
        is_leased: bool,
        placement: Option<PlacementState>,
    ) -> [Judgement; 2] {
        let recorded = ObjectAt {
            object_id: id(),
            key: "models/a.stl".parse().unwrap(),
            location: "models/a.stl".parse().unwrap(),
            state,
            size_bytes: (state != ObjectState::Receiving).then_some(5),
            is_leased,
            placements: placement
                .map(|state| Placement {
                    store: StoreName::S3,
                    state,
                    verified_at: None,
                })
                .into_iter()
                .collect(),
        };
        [false, true].map(|is_in_mode| judge(Some(&recorded), &StoreName::S3, is_in_mode))
    }

    fn id() -> ObjectId {
        ObjectId::generate(Timestamp::from_unix_ms(1), &SeededEntropy::new(1))
    }

    #[test]
    fn bytes_are_extra_only_when_nothing_accounts_for_them() {
        use Judgement::{Elsewhere, Extra};
        let recorded = Judgement::Recorded {
            object: id(),
            size_bytes: 5,
        };
        let (live, retiring) = (ObjectState::Live, ObjectState::Retiring);
        let nowhere = Extra("no object is recorded there");
        assert_eq!(judge(None, &StoreName::S3, true), nowhere);
        for is_leased in [false, true] {
            assert_eq!(
                judged(ObjectState::Receiving, is_leased, None),
                [Elsewhere; 2]
            );
        }
        let deleted = Extra("the object was deleted");
        assert_eq!(judged(ObjectState::Gone, true, None), [Elsewhere; 2]);
        assert_eq!(judged(ObjectState::Gone, false, None), [deleted; 2]);
        let copy_deleted = Extra("the copy was deleted");
        let none_recorded = Extra("no copy is recorded on this store");
        for (placement, of_live, of_retiring) in [
            (Some(PlacementState::Present), [recorded; 2], [recorded; 2]),
            (Some(PlacementState::Suspect), [recorded; 2], [Elsewhere; 2]),
            (
                Some(PlacementState::Copying),
                [Elsewhere; 2],
                [Elsewhere; 2],
            ),
            (
                Some(PlacementState::Retiring),
                [Elsewhere; 2],
                [Elsewhere; 2],
            ),
            (
                Some(PlacementState::Gone),
                [copy_deleted, Elsewhere],
                [copy_deleted; 2],
            ),
            (None, [none_recorded, Elsewhere], [none_recorded; 2]),
        ] {
            assert_eq!(judged(live, false, placement), of_live, "{placement:?}");
            assert_eq!(
                judged(retiring, false, placement),
                of_retiring,
                "{placement:?}"
            );
            // An engine that deletes the object is at work on all of its copies.
            let leased = judged(retiring, true, placement);
            let is_extra = leased.iter().any(|it| matches!(it, Extra(_)));
            assert!(!is_extra, "{placement:?}");
        }
    }
}
