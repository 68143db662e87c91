//! One file of an import: what it is taken by, and what becomes of it.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use stockroom_catalog::{CatalogError, Conflict, ObjectFacts, ObjectRow, ReceivedUpload};
use stockroom_domain::{AssetId, Key, ModelId, Timestamp};
use stockroom_formats::{Rejection, Report as FormatReport};
use stockroom_storage::{Error, ErrorKind, SourceFolder};

use super::adopt::{self, Here};
use super::listing::{Listings, Sold};
use super::map::Line;
use super::report::{Outcome, Report};
use super::{ImportError, Options, copy};
use crate::app::App;
use crate::flows::publish::NewFile;

/// What is told of a file that somebody writes to.
pub(super) const CHANGED: &str = "it was written to while it was read";

/// What all files of an import share.
pub(super) struct Job {
    pub(super) app: App,
    pub(super) options: Options,
    pub(super) listings: Listings,
    pub(super) way: Way,
    pub(super) read_bytes: Counter,
}

/// How files come in.
pub(super) enum Way {
    Adopt(Here),
    Copy(SourceFolder),
}

/// Counts bytes that were read.
#[derive(Debug, Clone, Default)]
pub(super) struct Counter(Arc<AtomicU64>);

impl Counter {
    pub(super) fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A file that may be imported.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// Its path below the folder, or its name in the bucket.
    pub(super) path: String,
    pub(super) key: Key,
    pub(super) size_bytes: u64,
    /// When it last changed in any way.
    pub(super) changed_at: Timestamp,
    /// Somebody may write to it by another name.
    pub(super) has_other_names: bool,
}

/// What became of a candidate.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) outcome: Outcome,
    pub(super) reason: Option<Cow<'static, str>>,
    pub(super) removed: bool,
    /// Its object is recorded and has a whole copy.
    pub(super) is_durable: bool,
    is_ignored: bool,
    sold: Option<(ModelId, AssetId)>,
}

impl Done {
    pub(super) const fn new(outcome: Outcome) -> Self {
        Self {
            outcome,
            reason: None,
            removed: false,
            is_durable: false,
            is_ignored: false,
            sold: None,
        }
    }

    fn because(outcome: Outcome, reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            reason: Some(reason.into()),
            ..Self::new(outcome)
        }
    }

    pub(super) fn ignored() -> Self {
        Self {
            is_ignored: true,
            ..Self::new(Outcome::LeftOut)
        }
    }

    pub(super) fn left_out(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::because(Outcome::LeftOut, reason)
    }

    pub(super) fn conflict(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::because(Outcome::Conflict, reason)
    }

    pub(super) fn failed(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::because(Outcome::Failed, reason)
    }

    pub(super) fn unlisted(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::because(Outcome::Unlisted, reason)
    }

    /// The same with a whole copy.
    pub(super) const fn durable(mut self) -> Self {
        self.is_durable = true;
        self
    }

    /// The same as a file of a model.
    pub(super) const fn sold(mut self, model: ModelId, asset: AssetId) -> Self {
        self.sold = Some((model, asset));
        self
    }

    /// What a failure of a store means: one that does not answer, or is full, ends the import.
    pub(super) fn of_store_error(error: Error) -> Result<Self, ImportError> {
        match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Full => Err(error.into()),
            ErrorKind::NotFound => Ok(Self::left_out("it is gone by now")),
            ErrorKind::Corrupt => Ok(Self::left_out(CHANGED)),
            _ => Ok(Self::failed(error.detail().to_owned())),
        }
    }

    fn report(self, candidate: Candidate) -> Option<Report> {
        if self.is_ignored {
            return None;
        }
        Some(Report {
            path: candidate.path,
            key: Some(candidate.key),
            outcome: self.outcome,
            reason: self.reason,
            size: candidate.size_bytes,
            model: self.sold.map(|(model, _)| model),
            asset: self.sold.map(|(_, asset)| asset),
            removed: self.removed,
        })
    }
}

impl Job {
    /// Counts bytes that were read, or would be.
    pub(super) fn count_read(&self, bytes: u64) {
        self.read_bytes.add(bytes);
    }

    pub(super) fn counter(&self) -> Counter {
        self.read_bytes.clone()
    }

    pub(super) async fn take(&self, candidate: Candidate) -> Result<Option<Report>, ImportError> {
        let done = match &self.way {
            Way::Adopt(here) => adopt::take(self, here, &candidate).await?,
            Way::Copy(folder) => copy::take(self, folder, &candidate).await?,
        };
        if let Some(line) = self.listings.line(&candidate.path)
            && done.outcome.is_problem()
        {
            self.listings.is_incomplete(line);
        }
        Ok(done.report(candidate))
    }

    /// Makes the asset that the map wants of an object that is there.
    pub(super) async fn list(
        &self,
        done: Done,
        sold: Sold,
        line: Option<&Line>,
        object: &ObjectRow,
        verdict: Option<Result<FormatReport, Rejection>>,
    ) -> Result<Done, ImportError> {
        let unlisted = |why: String, done: &Done| Done {
            is_durable: done.is_durable,
            ..Done::unlisted(why)
        };
        let (model, line) = match (sold, line) {
            (Sold::Wanted(model), Some(line)) => (model, line),
            (Sold::Already(asset), _) => return Ok(done.sold(asset.model_id, asset.id)),
            (Sold::Impossible(why), _) => return Ok(unlisted(why.to_owned(), &done)),
            (Sold::Someday, _) => {
                let outcome = Outcome::Listed;
                return Ok(Done { outcome, ..done });
            }
            _ => return Ok(done),
        };
        let report = match verdict {
            Some(Ok(report)) => report,
            Some(Err(rejection)) => return Ok(unlisted(rejection.to_string(), &done)),
            None => return Ok(done),
        };
        let file = NewFile::new(&self.app, line.filename.clone());
        let upload = ReceivedUpload {
            object_id: object.id,
            facts: ObjectFacts {
                size_bytes: object.size_bytes,
                sha256: object.sha256,
                chunk_sums: Vec::new(),
            },
            placements: Vec::new(),
        };
        let asset = file.asset_of(model.id, Some(&report), upload);
        let attached = self.app.catalog.attach_asset(&asset, self.app.clock.now());
        match attached.await {
            Ok(_) if done.outcome == Outcome::CopyAdopted => Ok(done.sold(model.id, asset.id)),
            Ok(_) => {
                let outcome = Outcome::Listed;
                Ok(Done { outcome, ..done }.sold(model.id, asset.id))
            }
            Err(CatalogError::Conflict(error @ Conflict::ObjectInUse { .. })) => {
                Ok(unlisted(error.to_string(), &done))
            }
            Err(error) if error.is_refusal() => Ok(Done::failed(error.to_string())),
            Err(error) => Err(error.into()),
        }
    }
}
