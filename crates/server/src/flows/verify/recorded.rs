//! The catalog, held against what a store has.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt as _, stream};
use stockroom_catalog::{CatalogError, ObjectRow};
use stockroom_domain::{ObjectId, ObjectState, PlacementState, StoreName};
use stockroom_storage::{GuardedStore, Store as _};

use super::finding::{Finding, Kind, for_people};
use super::heal::Remedy;
use super::look::{Depth, Look, Other, confirm as confirm_wrong, look, other_copy, state_on};
use super::{AT_ONCE, Run, VerifyError};
use crate::app::App;
use crate::flows::prove::{is_wrong, prove};

/// How many objects of the catalog are compared in one step.
const PAGE: u32 = 250;

/// What seems to be wrong with an object on a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Candidate {
    /// It is recorded there and was not listed.
    Unseen,
    /// Its copy is owed or doubted.
    UnderPlaced,
    /// It has no copy there and is owed none.
    Unplaced,
    /// It has no copy that could be read anywhere.
    Lost,
}

/// What it turned out to be.
enum Confirmed {
    Fine,
    Copy(Look),
    UnderPlaced { detail: String },
    Unplaced(ObjectRow),
    Lost(ObjectRow),
}

impl Run<'_> {
    /// Compares every object of the catalog with what was seen on a store.
    pub(super) async fn compare_recorded(
        &mut self,
        at: usize,
        seen: &HashSet<ObjectId>,
    ) -> Result<(), VerifyError> {
        let mut after = None;
        loop {
            let objects = self.app.catalog.list_recorded(after, PAGE).await?;
            let Some(last) = objects.last() else {
                return Ok(());
            };
            after = Some(last.id);
            self.compare_page(at, objects, seen).await?;
        }
    }

    async fn compare_page(
        &mut self,
        at: usize,
        objects: Vec<ObjectRow>,
        seen: &HashSet<ObjectId>,
    ) -> Result<(), VerifyError> {
        let store = Arc::clone(self.store(at));
        let subject = &self.subjects[at];
        let mut candidates = Vec::new();
        for object in objects {
            // Once is enough, and not when somebody asked for certain stores only.
            if at == 0 && self.options.stores.is_empty() {
                count_out_of_reach(self.app, &object, &mut self.out_of_reach);
            }
            // After a list that broke off, what was not seen may be there.
            let is_seen = seen.contains(&object.id) || !subject.is_listed;
            let suspicions = suspicions(&object, store.name(), subject.is_in_mode, is_seen);
            // What the list has shown to be wrong was told then.
            let is_told = subject.wrong.contains(&object.id);
            let suspicions = suspicions.into_iter().flatten().filter(|_| !is_told);
            candidates.extend(suspicions.map(|candidate| (object.clone(), candidate)));
        }
        let app = self.app.clone();
        let confirmed = stream::iter(candidates)
            .map(|(object, candidate)| {
                let (app, store) = (app.clone(), Arc::clone(&store));
                async move {
                    let outcome = confirm(&app, &store, &object, candidate).await;
                    (object, outcome)
                }
            })
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>();
        for (object, outcome) in confirmed.await {
            self.take_recorded(at, &object, outcome?).await?;
        }
        Ok(())
    }

    async fn take_recorded(
        &mut self,
        at: usize,
        object: &ObjectRow,
        confirmed: Confirmed,
    ) -> Result<(), VerifyError> {
        let store = self.store(at).name().clone();
        match confirmed {
            Confirmed::Fine | Confirmed::Copy(Look::Moot) => Ok(()),
            Confirmed::Copy(Look::Right) => {
                self.subjects[at].summary.present += 1;
                Ok(())
            }
            Confirmed::Copy(Look::Wrong(copy)) => self.wrong(at, *copy).await,
            Confirmed::Copy(Look::Unknown(error)) => {
                let unreadable = |why| Finding::of_copy(Kind::Unreadable, &store, object, why);
                self.unreadable(at, unreadable, &error)
            }
            Confirmed::UnderPlaced { detail } => {
                let finding = Finding::of_copy(Kind::UnderPlaced, &store, object, detail);
                self.settle(at, finding, Remedy::Await { object: object.id })
                    .await
            }
            Confirmed::Unplaced(object) => {
                let detail = "the mode wants a copy there, and none is recorded or owed";
                let finding = Finding::of_copy(Kind::Unplaced, &store, &object, detail);
                let is_gone = state_on(&object, &store).is_some();
                let object = object.id;
                self.settle(at, finding, Remedy::Place { object, is_gone })
                    .await
            }
            Confirmed::Lost(object) => self.lost(&object),
        }
    }
}

/// Counts the copies of an object that are recorded on stores that are not configured.
fn count_out_of_reach(app: &App, object: &ObjectRow, copies: &mut BTreeMap<StoreName, u64>) {
    for placement in &object.placements {
        if placement.state.is_readable() && app.store(&placement.store).is_none() {
            *copies.entry(placement.store.clone()).or_default() += 1;
        }
    }
}

/// What seems to be wrong with an object on a store, by its record.
fn suspicions(
    object: &ObjectRow,
    store: &StoreName,
    is_in_mode: bool,
    is_seen: bool,
) -> [Option<Candidate>; 2] {
    let is_live = object.state == ObjectState::Live;
    let here = match state_on(object, store) {
        Some(PlacementState::Present) if !is_seen => Some(Candidate::Unseen),
        // What is deleted is not healed before somebody wants it back.
        Some(PlacementState::Suspect) if is_live && !is_seen => Some(Candidate::Unseen),
        Some(PlacementState::Suspect | PlacementState::Copying) if is_live => {
            Some(Candidate::UnderPlaced)
        }
        Some(PlacementState::Gone) | None if is_live && is_in_mode => Some(Candidate::Unplaced),
        _ => None,
    };
    let is_anywhere = object.placements.iter().any(|it| it.state.is_readable());
    let lost = (is_live && !is_anywhere).then_some(Candidate::Lost);
    [here, lost]
}

async fn confirm(
    app: &App,
    store: &GuardedStore,
    object: &ObjectRow,
    candidate: Candidate,
) -> Result<Confirmed, CatalogError> {
    if candidate == Candidate::Unseen {
        let look = look(app, store, object.id, &object.location, object.size_bytes).await?;
        let is_doubted = state_on(object, store.name()) == Some(PlacementState::Suspect);
        if !(is_doubted && matches!(look, Look::Right)) {
            return Ok(Confirmed::Copy(look));
        }
    }
    let Some(details) = app.catalog.find_object_by_id(object.id).await? else {
        return Ok(Confirmed::Fine);
    };
    let now = details.object;
    let candidate = match candidate {
        Candidate::Unseen => Candidate::UnderPlaced,
        other => other,
    };
    if !suspicions(&now, store.name(), true, true).contains(&Some(candidate)) {
        return Ok(Confirmed::Fine);
    }
    match candidate {
        Candidate::Lost => Ok(Confirmed::Lost(now)),
        Candidate::Unplaced => Ok(Confirmed::Unplaced(now)),
        Candidate::UnderPlaced | Candidate::Unseen => under_placed(app, store, now).await,
    }
}

/// Since when a copy is owed or doubted, and why it still is. A doubted one may be all there is;
/// then it is read, because the object is lost when the doubt is right.
async fn under_placed(
    app: &App,
    store: &GuardedStore,
    object: ObjectRow,
) -> Result<Confirmed, CatalogError> {
    let name = store.name();
    if state_on(&object, name) == Some(PlacementState::Suspect)
        && other_copy(app, &object, name, Depth::Size).await == Other::Nowhere
        && let Err(error) = prove(app, store, &object, |_| {}).await
        && is_wrong(&error)
    {
        let detail = error.detail().to_owned();
        let look = confirm_wrong(app, store, object.id, Kind::WrongHash, detail).await?;
        return Ok(Confirmed::Copy(look));
    }
    let rows = app.catalog.placements_of(object.id).await?;
    let Some(row) = rows.into_iter().find(|row| row.store == *name) else {
        return Ok(Confirmed::Fine);
    };
    let what = match row.state {
        PlacementState::Copying => "owed",
        PlacementState::Suspect => "doubted",
        _ => return Ok(Confirmed::Fine),
    };
    let age = for_people(app.clock.now().since(row.updated_at));
    let error = row.last_error.map(|error| format!("; {error}"));
    let detail = format!("{what} for {age}{}", error.unwrap_or_default());
    Ok(Confirmed::UnderPlaced { detail })
}
