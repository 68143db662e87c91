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

/// How long bytes at a location that no row has are kept. A catalog that was restored from a backup
/// does not know what was uploaded after it.
const YOUNG_FOR: Duration = Duration::from_secs(30 * 86_400);

/// Whether bytes that were last written at this time are not known to be old.
pub(super) fn is_young(modified_at: Timestamp, now: Timestamp) -> bool {
    // A bucket that does not tell the time gives zero.
    modified_at.unix_ms() <= 0 || now.since(modified_at) < YOUNG_FOR
}

/// What is told of bytes that stay because they are young.
pub(super) fn kept_while_young() -> Outcome {
    Outcome::not_repaired(
        "kept, because it is not known to be older than 30 days: after a restored database it may \
         be the only trace of an upload",
    )
}

/// What is told of bytes that stay because another program wrote them.
pub(super) fn kept_as_unimported() -> Outcome {
    Outcome::not_repaired("kept, because no Stockroom wrote it: stockroom import adopts it")
}

/// Another store than the one that is deleted from.
#[derive(Clone)]
pub(super) struct Neighbour {
    pub(super) store: Arc<GuardedStore>,
    /// It is ours and this verification repairs it too; every object of it was listed.
    pub(super) is_compared: bool,
}

/// Deletes from one store.
#[derive(Clone)]
pub(super) struct Remover {
    pub(super) app: App,
    pub(super) store: Arc<GuardedStore>,
    /// All other stores that are configured.
    pub(super) neighbours: Vec<Neighbour>,
    /// Whether bytes that no row knows are deleted however young they are.
    pub(super) delete_unrecorded: bool,
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
        if let Some(why) = self.worth(&self.store, location).await {
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
    async fn worth(&self, store: &GuardedStore, location: &Key) -> Option<String> {
        if self.lost.is_empty() {
            return None;
        }
        match sha256_at(&self.app, store, location, |_| {}).await {
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

    /// Deletes bytes at a location that no row has. A row is made for it first and stays: an upload
    /// gets another location from now on, and cannot lose its bytes to a request to delete that
    /// arrives late.
    async fn remove_unrecorded(&self, location: &Key) -> Result<Outcome, CatalogError> {
        if let Some(outcome) = self.keep_unrecorded(location).await {
            return Ok(outcome);
        }
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
            // Nothing was written to the other location, nor deleted from it.
            catalog.discard_upload(reserved.object_id).await?;
            return Ok(Outcome::repaired("it is accounted for by now"));
        }
        let outcome = self.store.delete(location).await;
        let now = self.app.clock.now();
        catalog.abandon_upload(reserved.object_id, now).await?;
        Ok(deleted(outcome))
    }

    /// Why bytes at a location that no row has are kept. The sweep deletes at a location that was
    /// given up on every store, so what the others have there has to be of no worth either.
    async fn keep_unrecorded(&self, location: &Key) -> Option<Outcome> {
        match self.store.head(location).await {
            Ok(info) if !info.is_stockrooms && !self.delete_unrecorded => {
                return Some(kept_as_unimported());
            }
            Ok(info) if self.is_protected(info.modified_at) => return Some(kept_while_young()),
            Ok(_) => {}
            // Older versions may be there, which have been judged already.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Some(Outcome::not_repaired(error.detail().to_owned())),
        }
        for neighbour in &self.neighbours {
            if let Some(why) = self.keep_at(neighbour, location).await {
                let name = neighbour.store.name();
                return Some(Outcome::not_repaired(format!("kept, because {name} {why}")));
            }
        }
        None
    }

    /// Why nothing may be deleted at a location of another store.
    async fn keep_at(&self, neighbour: &Neighbour, location: &Key) -> Option<String> {
        let store = &neighbour.store;
        match store.head(location).await {
            Ok(_) if !neighbour.is_compared => {
                Some("has something there too, and is not repaired with it".to_owned())
            }
            Ok(info) if !info.is_stockrooms && !self.delete_unrecorded => {
                Some("has something there too that no Stockroom wrote".to_owned())
            }
            Ok(info) if self.is_protected(info.modified_at) => {
                Some("has something there too, not known to be older than 30 days".to_owned())
            }
            Ok(_) => {
                let why = self.worth(store, location).await?;
                Some(format!("has something there too: {why}"))
            }
            Err(error) if error.is_not_found() => None,
            Err(error) => {
                let why = error.detail();
                Some(format!("may have something there too: {why}"))
            }
        }
    }

    fn is_protected(&self, modified_at: Timestamp) -> bool {
        !self.delete_unrecorded && is_young(modified_at, self.app.clock.now())
    }

    /// Deletes the versions that readers do not see.
    async fn remove_versions(&self, location: &Key) -> Result<Outcome, CatalogError> {
        let name = self.store.name();
        let Some(bucket) = self.app.bucket(name) else {
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
        Ok(match bucket.store.remove_old_versions(location).await {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_young_for_thirty_days_and_while_their_age_is_not_known() {
        let now = Timestamp::from_unix_ms(1_800_000_000_000);
        let old = now.before(YOUNG_FOR);
        assert!(!is_young(old, now));
        assert!(is_young(old.after(Duration::from_millis(1)), now));
        assert!(is_young(now, now));
        // The clock of the store may be ahead.
        assert!(is_young(now.after(YOUNG_FOR), now));
        assert!(is_young(Timestamp::from_unix_ms(0), now));
    }
}
