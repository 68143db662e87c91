//! One deletion, right after a last look at the catalog.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use stockroom_catalog::{CatalogError, NewUpload, ObjectRow};
use stockroom_domain::{Key, ObjectId, ObjectState, PlacementState, Sha256Digest, Timestamp};
use stockroom_storage::{Error, GuardedStore, Store as _};

use super::finding::{Finding, Kind, Outcome};
use super::listing::recorded_at;
use super::look::{Depth, Judgement, Other, judge, other_copy, state_on};
use crate::app::App;
use crate::flows::prove::{prove, sha256_at};
use crate::workers::identity;

/// How long a location is kept for the deletion of what lies there.
const RESERVED_FOR: Duration = Duration::from_secs(600);

/// Deletes from one store.
#[derive(Clone)]
pub(super) struct Remover {
    pub(super) app: App,
    pub(super) store: Arc<GuardedStore>,
    pub(super) is_in_mode: bool,
    pub(super) is_listed: bool,
    /// When the verification began.
    pub(super) started_at: Timestamp,
    /// The objects of which no whole copy was found, with their hashes.
    pub(super) lost: Arc<HashMap<ObjectId, Sha256Digest>>,
}

impl Remover {
    /// Deletes what was found, if that is still so and nothing of worth is lost by it.
    pub(super) async fn remove(&self, finding: &Finding) -> Result<Outcome, CatalogError> {
        let Some(location) = &finding.location else {
            return Ok(Outcome::not_repaired("it has no location"));
        };
        if !self.is_listed {
            let why = "it is not known how large a part of the store would go";
            return Ok(Outcome::not_repaired(why));
        }
        if !identity::may_delete(&self.store) {
            let why = "the store does not answer, or not whose it is";
            return Ok(Outcome::not_repaired(why));
        }
        if finding.object.is_some_and(|id| self.lost.contains_key(&id)) {
            let why = "it may be all that is left of the object";
            return Ok(Outcome::not_repaired(why));
        }
        if finding.kind == Kind::OldVersions {
            self.remove_versions(location).await
        } else {
            self.remove_extra(location).await
        }
    }

    /// Deletes bytes that nothing accounts for, with all their versions.
    async fn remove_extra(&self, location: &Key) -> Result<Outcome, CatalogError> {
        let recorded = recorded_at(&self.app, std::iter::once(location.clone())).await?;
        let recorded = recorded.get(location);
        let Judgement::Extra(_) = judge(recorded, self.store.name(), self.is_in_mode) else {
            return Ok(Outcome::repaired("it is accounted for by now"));
        };
        if let Some(why) = self.worth(location).await {
            return Ok(Outcome::not_repaired(why));
        }
        match recorded {
            None => self.remove_unrecorded(location).await,
            Some(recorded) if self.may_be_needed(recorded.object_id).await? => {
                let why = "no other copy is known to be whole, so this one stays";
                Ok(Outcome::not_repaired(why))
            }
            Some(_) => Ok(deleted(self.store.delete(location).await)),
        }
    }

    /// Why bytes that nothing accounts for may be worth keeping: somebody may have moved what is
    /// missing elsewhere. They are read only when something is lost.
    async fn worth(&self, location: &Key) -> Option<String> {
        if self.lost.is_empty() {
            return None;
        }
        match sha256_at(&self.app, &*self.store, location, |_| {}).await {
            Ok(sha256) => {
                let (lost, _) = self.lost.iter().find(|(_, hash)| **hash == sha256)?;
                Some(format!("these are the bytes of {lost}, which is lost"))
            }
            Err(error) => {
                let why = error.detail();
                Some(format!(
                    "something is lost, and whether this is it cannot be told: {why}"
                ))
            }
        }
    }

    /// Whether bytes at the location of an object may be the last copy of it.
    async fn may_be_needed(&self, object: ObjectId) -> Result<bool, CatalogError> {
        let found = self.app.catalog.find_object_by_id(object).await?;
        let kept = found.filter(|details| details.object.state != ObjectState::Gone);
        let Some(details) = kept else {
            return Ok(false);
        };
        let name = self.store.name();
        Ok(other_copy(&self.app, &details.object, name, Depth::Hash).await != Other::Whole)
    }

    /// Deletes bytes at a location that no row has. A row of its own keeps the location
    /// meanwhile: an upload that begins now gets another one, and cannot lose its bytes to this
    /// deletion.
    async fn remove_unrecorded(&self, location: &Key) -> Result<Outcome, CatalogError> {
        let (catalog, now) = (&self.app.catalog, self.app.clock.now());
        let reserved = catalog
            .open_upload(NewUpload {
                object_id: ObjectId::generate(now, &*self.app.entropy),
                key: location.clone(),
                content_type: "application/octet-stream".to_owned(),
                metadata: BTreeMap::new(),
                opened_at: now,
                lease_until: now.after(RESERVED_FOR),
            })
            .await?;
        if reserved.location != *location {
            catalog.discard_upload(reserved.object_id).await?;
            return Ok(Outcome::repaired("it is accounted for by now"));
        }
        let outcome = self.store.delete(location).await;
        if outcome.is_ok() {
            catalog.discard_upload(reserved.object_id).await?;
        } else {
            // The deletion may still take effect, so the location stays taken, and the sweep
            // repeats it.
            let now = self.app.clock.now();
            catalog.abandon_upload(reserved.object_id, now).await?;
        }
        Ok(deleted(outcome))
    }

    /// Deletes the versions that readers do not see.
    async fn remove_versions(&self, location: &Key) -> Result<Outcome, CatalogError> {
        let name = self.store.name();
        let Some(s3) = self.app.s3.as_ref().filter(|s3| s3.name() == name) else {
            return Ok(Outcome::not_repaired("the store keeps no versions"));
        };
        let recorded = recorded_at(&self.app, std::iter::once(location.clone())).await?;
        let object = match recorded.get(location) {
            Some(recorded) => {
                self.app
                    .catalog
                    .find_object_by_id(recorded.object_id)
                    .await?
            }
            None => None,
        };
        let object = object.map(|details| details.object);
        match object.as_ref().and_then(|object| state_on(object, name)) {
            Some(PlacementState::Present) => {}
            // Readers see none of them, and nothing accounts for them.
            None | Some(PlacementState::Gone) => return self.remove_extra(location).await,
            Some(state) => {
                let why =
                    format!("the copy is {state}, so an older version may be the last whole one");
                return Ok(Outcome::not_repaired(why));
            }
        }
        if let Some(object) = &object
            && let Err(error) = self.see_whole(object).await
        {
            let why = error.detail();
            let why =
                format!("what readers see is not known to be whole, so the rest stays: {why}");
            return Ok(Outcome::not_repaired(why));
        }
        Ok(match s3.remove_old_versions(location).await {
            Ok(0) => Outcome::repaired("they are gone by now"),
            Ok(count) => Outcome::repaired(format!("{count} deleted")),
            Err(error) => Outcome::not_repaired(error.detail().to_owned()),
        })
    }

    /// Makes sure that a copy is whole, by reading it unless that was done since the verification
    /// began: an older version may be the last one that is.
    async fn see_whole(&self, object: &ObjectRow) -> Result<(), Error> {
        let name = self.store.name();
        let mut placements = object.placements.iter();
        let here = placements.find(|placement| placement.store == *name);
        let verified_at = here.and_then(|placement| placement.verified_at);
        if verified_at.is_some_and(|at| at >= self.started_at) {
            return Ok(());
        }
        prove(&self.app, &*self.store, object, |_| {}).await
    }
}

fn deleted(outcome: Result<(), Error>) -> Outcome {
    match outcome {
        Ok(()) => Outcome::repaired("deleted"),
        Err(error) => Outcome::not_repaired(error.detail().to_owned()),
    }
}
