//! A verification that is under way: what all its parts share.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;

use stockroom_catalog::ObjectRow;
use stockroom_domain::{ObjectId, Sha256Digest, StoreName, Timestamp};
use stockroom_storage::{Error, GuardedStore, Identity, Store as _};

use super::finding::{Finding, Kind, Outcome};
use super::heal::Owed;
use super::{Listener, Options, Refusal, StoreSummary, Summary, VerifyError, stores};
use crate::app::App;
use crate::workers::identity::{self, LookError, Verdict};

/// A verification that is under way.
pub(super) struct Run<'a> {
    pub(super) app: &'a App,
    pub(super) options: &'a Options,
    pub(super) listener: &'a mut dyn Listener,
    pub(super) started_at: Timestamp,
    pub(super) subjects: Vec<Subject>,
    /// Copies that the engine is to place.
    pub(super) owed: Vec<Owed>,
    /// Why nothing is deleted.
    pub(super) refusal: Option<Refusal>,
    /// How many copies are recorded on stores that are not configured.
    pub(super) out_of_reach: BTreeMap<StoreName, u64>,
    /// Objects that are known to be lost, so that each is told of once, with their hashes.
    pub(super) lost: HashMap<ObjectId, Sha256Digest>,
    pub(super) findings: BTreeMap<Kind, u64>,
    pub(super) repaired: u64,
    pub(super) remaining: u64,
}

/// A store that is compared.
pub(super) struct Subject {
    pub(super) store: Arc<GuardedStore>,
    /// New objects are written there.
    pub(super) is_in_mode: bool,
    /// Every object of it was listed.
    pub(super) is_listed: bool,
    /// Objects whose copies here were found wrong, so that each is told of once.
    pub(super) wrong: HashSet<ObjectId>,
    /// How many copies could not be looked at because the store did not answer, and why.
    pub(super) unanswered: Option<(u64, String)>,
    /// What is to be deleted.
    pub(super) deletions: Vec<Finding>,
    pub(super) summary: StoreSummary,
}

impl<'a> Run<'a> {
    pub(super) fn new(app: &'a App, options: &'a Options, listener: &'a mut dyn Listener) -> Self {
        let subjects = stores(app, &options.stores).into_iter().map(|store| {
            let name = store.name().clone();
            Subject {
                is_in_mode: app.storage.store(&name).is_some(),
                store,
                is_listed: false,
                wrong: HashSet::new(),
                unanswered: None,
                deletions: Vec::new(),
                summary: StoreSummary {
                    store: name,
                    listed: 0,
                    listed_bytes: 0,
                    present: 0,
                    hashed: 0,
                    hashed_bytes: 0,
                    findings: BTreeMap::new(),
                },
            }
        });
        Self {
            app,
            options,
            listener,
            started_at: app.clock.now(),
            subjects: subjects.collect(),
            owed: Vec::new(),
            refusal: None,
            out_of_reach: BTreeMap::new(),
            lost: HashMap::new(),
            findings: BTreeMap::new(),
            repaired: 0,
            remaining: 0,
        }
    }

    pub(super) fn store(&self, at: usize) -> &Arc<GuardedStore> {
        &self.subjects[at].store
    }

    /// Finds out whose the stores are. A store that does not tell is found out to be unreadable
    /// when it is compared.
    pub(super) async fn identify(&mut self) -> Result<(), VerifyError> {
        for at in 0..self.subjects.len() {
            let store = Arc::clone(self.store(at));
            match identity::look(self.app, &store).await {
                Ok(Verdict::Ours) => store.set_identity(Identity::Ours),
                Ok(Verdict::Foreign(reason)) => {
                    store.set_identity(Identity::Foreign);
                    let store = store.name().clone();
                    if self.options.repair {
                        return Err(VerifyError::ForeignStore { store, reason });
                    }
                    let detail = format!("{reason}; --accept-store {store} takes it over");
                    self.tell(Finding::of_store(Kind::ForeignStore, &store, detail))?;
                }
                Err(LookError::Catalog(error)) => return Err(error.into()),
                Err(LookError::Store(error)) => {
                    tracing::debug!(%error, "the store does not tell its id");
                }
            }
        }
        Ok(())
    }

    pub(super) async fn compare(&mut self, at: usize) -> Result<(), VerifyError> {
        let seen = self.list(at).await?;
        self.compare_recorded(at, &seen).await?;
        // It is the largest thing in memory.
        drop(seen);
        self.compare_versions(at).await?;
        self.tell_unanswered(at)
    }

    pub(super) fn tell_unanswered(&mut self, at: usize) -> Result<(), VerifyError> {
        let Some((copies, why)) = self.subjects[at].unanswered.take() else {
            return Ok(());
        };
        let detail = format!("the store did not answer about {copies} copies: {why}");
        let finding = Finding::of_store(Kind::Unreadable, self.store(at).name(), detail);
        self.keep(finding)
    }

    pub(super) fn tell_out_of_reach(&mut self) -> Result<(), VerifyError> {
        for (store, copies) in std::mem::take(&mut self.out_of_reach) {
            let detail = format!("{copies} copies are recorded there, and it is not configured");
            self.keep(Finding::of_store(Kind::Unreadable, &store, detail))?;
        }
        Ok(())
    }

    /// Notes that a copy could not be looked at. A store that does not answer is told of once, a
    /// refusal for each copy that it concerns.
    pub(super) fn unreadable(
        &mut self,
        at: usize,
        finding: impl FnOnce(String) -> Finding,
        error: &Error,
    ) -> Result<(), VerifyError> {
        let why = error.detail().to_owned();
        if error.is_transient() {
            self.subjects[at].unanswered.get_or_insert((0, why)).0 += 1;
            return Ok(());
        }
        self.keep(finding(why))
    }

    /// Tells once that an object is lost. Nothing is changed then: what is left of it may be all
    /// there is.
    pub(super) fn lost(&mut self, object: &ObjectRow) -> Result<(), VerifyError> {
        if self.lost.insert(object.id, object.sha256).is_some() {
            return Ok(());
        }
        let detail = "no store has a whole copy";
        self.keep(Finding::of_object(Kind::Lost, object, detail))
    }

    /// The finding comes back when it may be mended; else it is told of here.
    pub(super) fn may_change(
        &mut self,
        at: usize,
        finding: Finding,
    ) -> Result<Option<Finding>, VerifyError> {
        if !self.options.repair {
            return self.tell(finding).map(|()| None);
        }
        if self.store(at).identity() == Identity::Ours {
            return Ok(Some(finding));
        }
        let why = "the store does not tell whose it is, so nothing in it is changed";
        let finding = finding.with_outcome(Outcome::not_repaired(why));
        self.tell(finding).map(|()| None)
    }

    /// Tells of something that no repair mends.
    pub(super) fn keep(&mut self, finding: Finding) -> Result<(), VerifyError> {
        if !self.options.repair {
            return self.tell(finding);
        }
        let why = match finding.kind {
            Kind::Lost => {
                "put it back from a backup; nothing is changed, so that what is left stays"
            }
            Kind::Unreadable => "nothing is known of it",
            _ => "there is no whole copy to mend it from",
        };
        self.tell(finding.with_outcome(Outcome::not_repaired(why)))
    }

    /// Counts a finding and passes it on.
    pub(super) fn tell(&mut self, finding: Finding) -> Result<(), VerifyError> {
        *self.findings.entry(finding.kind).or_default() += 1;
        let summary = self
            .subjects
            .iter_mut()
            .map(|subject| &mut subject.summary)
            .find(|summary| finding.store.as_ref() == Some(&summary.store));
        if let Some(summary) = summary {
            *summary.findings.entry(finding.kind).or_default() += 1;
        }
        match finding.repaired {
            Some(true) => self.repaired += 1,
            _ if finding.kind.is_wrong() => self.remaining += 1,
            _ => {}
        }
        match self.listener.finding(finding) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(VerifyError::Stopped),
        }
    }

    pub(super) fn summary(self) -> Summary {
        let summaries = self.subjects.into_iter().map(|subject| subject.summary);
        Summary {
            stores: summaries.collect(),
            findings: self.findings,
            repaired: self.repaired,
            remaining: self.remaining,
            refusal: self.refusal,
        }
    }
}
