//! The objects of a store, held against the catalog.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use stockroom_catalog::{CatalogError, ObjectAt};
use stockroom_domain::{Key, KeyPrefix, ObjectId, StoreName, Timestamp};
use stockroom_storage::{Error, GuardedStore, ListEntry, Store as _};

use super::finding::{Finding, Kind};
use super::heal::Remedy;
use super::look::{Judgement, Look, WrongCopy, judge, look};
use super::remove::kept_as_unimported;
use super::{AT_ONCE, BATCH, Run, Step, VerifyError};
use crate::app::App;
use crate::workers::identity::label_key;

/// What a listed object seems to be.
enum Candidate {
    WrongSize { object: ObjectId, size_bytes: u64 },
    Extra,
}

/// What it turned out to be.
enum Confirmed {
    Fine,
    Copy(Look),
    Extra {
        why: &'static str,
        object: Option<(ObjectId, Key)>,
        modified_at: Timestamp,
        /// A Stockroom wrote it.
        is_stockrooms: bool,
    },
    Unknown(Error),
}

impl Run<'_> {
    /// Lists the objects of a store and compares each with the catalog. The ids of the recorded
    /// copies that were seen come back.
    pub(super) async fn list(&mut self, at: usize) -> Result<HashSet<ObjectId>, VerifyError> {
        let mut seen = HashSet::new();
        let store = Arc::clone(self.store(at));
        let mut list = store.list(&KeyPrefix::all()).try_chunks(BATCH);
        while let Some(chunk) = list.next().await {
            let (entries, broke_off) = match chunk {
                Ok(entries) => (entries, None),
                Err(stream::TryChunksError(entries, error)) => (entries, Some(error)),
            };
            self.compare_listed(at, entries, &mut seen).await?;
            if let Some(error) = broke_off {
                let detail = format!("the list of its objects broke off: {}", error.detail());
                self.keep(Finding::of_store(Kind::Unreadable, store.name(), detail))?;
                return Ok(seen);
            }
        }
        self.subjects[at].is_listed = true;
        Ok(seen)
    }

    async fn compare_listed(
        &mut self,
        at: usize,
        mut entries: Vec<ListEntry>,
        seen: &mut HashSet<ObjectId>,
    ) -> Result<(), VerifyError> {
        let label = label_key();
        entries.retain(|entry| entry.key != label);
        let store = Arc::clone(self.store(at));
        let is_in_mode = self.subjects[at].is_in_mode;
        let bytes = entries.iter().map(|entry| entry.size_bytes).sum::<u64>();
        self.listener.progress(Step::Compare, store.name(), bytes);
        let recorded = recorded_at(self.app, entries.iter().map(|entry| entry.key.clone())).await?;
        let summary = &mut self.subjects[at].summary;
        summary.listed += entries.len() as u64;
        summary.listed_bytes += bytes;

        let mut candidates = Vec::new();
        for entry in entries {
            match judge(recorded.get(&entry.key), store.name(), is_in_mode) {
                Judgement::Recorded { object, size_bytes } => {
                    seen.insert(object);
                    if entry.size_bytes == size_bytes {
                        summary.present += 1;
                    } else {
                        candidates.push((entry.key, Candidate::WrongSize { object, size_bytes }));
                    }
                }
                Judgement::Elsewhere => {}
                Judgement::Extra(_) => candidates.push((entry.key, Candidate::Extra)),
            }
        }
        let app = self.app.clone();
        let confirmed = stream::iter(candidates)
            .map(|(location, candidate)| {
                let (app, store) = (app.clone(), Arc::clone(&store));
                async move {
                    let outcome = confirm(&app, &store, is_in_mode, &location, candidate).await;
                    (location, outcome)
                }
            })
            .buffer_unordered(AT_ONCE)
            .collect::<Vec<_>>();
        for (location, outcome) in confirmed.await {
            self.take_confirmed(at, &location, outcome?).await?;
        }
        Ok(())
    }

    async fn take_confirmed(
        &mut self,
        at: usize,
        location: &Key,
        confirmed: Confirmed,
    ) -> Result<(), VerifyError> {
        let store = self.store(at).name().clone();
        let unreadable = |why| Finding::at(Kind::Unreadable, &store, location, why);
        match confirmed {
            Confirmed::Fine | Confirmed::Copy(Look::Moot) => Ok(()),
            Confirmed::Copy(Look::Right) => {
                self.subjects[at].summary.present += 1;
                Ok(())
            }
            Confirmed::Copy(Look::Wrong(copy)) => self.wrong(at, *copy).await,
            Confirmed::Copy(Look::Unknown(error)) | Confirmed::Unknown(error) => {
                self.unreadable(at, unreadable, &error)
            }
            Confirmed::Extra {
                why,
                object,
                modified_at,
                is_stockrooms,
            } => {
                if object.is_none() && !is_stockrooms && !self.options.delete_unrecorded {
                    return self.tell_unimported(&store, location);
                }
                let mut finding = Finding::at(Kind::Extra, &store, location, why);
                let Some((id, key)) = object else {
                    return self.discard_unrecorded(at, finding, modified_at);
                };
                finding.object = Some(id);
                finding.key = Some(key);
                self.discard(at, finding)
            }
        }
    }

    /// Tells of bytes that another program wrote, which stay.
    fn tell_unimported(&mut self, store: &StoreName, location: &Key) -> Result<(), VerifyError> {
        let detail = "another program wrote it, and no object is recorded there";
        let mut finding = Finding::at(Kind::Unimported, store, location, detail);
        if self.options.repair {
            finding = finding.with_outcome(kept_as_unimported());
        }
        self.tell(finding)
    }

    /// Tells of a copy that is wrong, and of its object when no other copy is whole.
    pub(super) async fn wrong(&mut self, at: usize, copy: WrongCopy) -> Result<(), VerifyError> {
        let store = self.store(at).name().clone();
        self.subjects[at].wrong.insert(copy.object.id);
        let finding = Finding::of_copy(copy.kind, &store, &copy.object, copy.detail);
        match Remedy::of_wrong_copy(&copy.object, copy.state, copy.other) {
            Some(remedy) => self.settle(at, finding, remedy).await,
            None => {
                self.keep(finding)?;
                self.lost(&copy.object)
            }
        }
    }
}

/// What is recorded at these locations.
pub(super) async fn recorded_at(
    app: &App,
    locations: impl Iterator<Item = Key>,
) -> Result<HashMap<Key, ObjectAt>, CatalogError> {
    let locations: Vec<Key> = locations.collect();
    let recorded = app.catalog.objects_at(&locations, app.clock.now()).await?;
    let by_location = recorded.into_iter().map(|it| (it.location.clone(), it));
    Ok(by_location.collect())
}

async fn confirm(
    app: &App,
    store: &GuardedStore,
    is_in_mode: bool,
    location: &Key,
    candidate: Candidate,
) -> Result<Confirmed, CatalogError> {
    if let Candidate::WrongSize { object, size_bytes } = candidate {
        let look = look(app, store, object, location, size_bytes).await?;
        return Ok(Confirmed::Copy(look));
    }
    let (modified_at, is_stockrooms) = match store.head(location).await {
        Ok(info) => (info.modified_at, info.is_stockrooms),
        Err(error) if error.is_not_found() => return Ok(Confirmed::Fine),
        Err(error) => return Ok(Confirmed::Unknown(error)),
    };
    let recorded = recorded_at(app, std::iter::once(location.clone())).await?;
    let recorded = recorded.get(location);
    Ok(match judge(recorded, store.name(), is_in_mode) {
        Judgement::Extra(why) => Confirmed::Extra {
            why,
            object: recorded.map(|it| (it.object_id, it.key.clone())),
            modified_at,
            is_stockrooms,
        },
        _ => Confirmed::Fine,
    })
}
