//! What an import tells.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;

use serde::Serialize;
use stockroom_domain::{AssetId, Key, ModelId};

/// What became of a file. Programs may rely on the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is an object where it lies.
    Adopted,
    /// Its bytes were copied into the stores of the mode.
    Copied,
    /// It has a second name in the local store.
    Linked,
    /// It was an object already, and is an asset now.
    Listed,
    /// Its object was there already, and one more copy of it is known now.
    CopyAdopted,
    /// It was there already.
    Unchanged,
    /// Whether it was there already is to be seen by reading it, which a dry run of a bucket does
    /// not do.
    ToCompare,
    /// It is an object, and cannot be the asset that the map wants.
    Unlisted,
    /// Its key has other bytes already, which stay.
    Conflict,
    /// It cannot be imported as it is, and was left alone.
    LeftOut,
    /// It could not be read or written.
    Failed,
}

impl Outcome {
    /// The name of the outcome.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Adopted => "adopted",
            Self::Copied => "copied",
            Self::Linked => "linked",
            Self::Listed => "listed",
            Self::CopyAdopted => "copy_adopted",
            Self::Unchanged => "unchanged",
            Self::ToCompare => "to_compare",
            Self::Unlisted => "unlisted",
            Self::Conflict => "conflict",
            Self::LeftOut => "left_out",
            Self::Failed => "failed",
        }
    }

    /// Whether somebody has to look at it.
    #[must_use]
    pub const fn is_problem(self) -> bool {
        matches!(
            self,
            Self::Unlisted | Self::Conflict | Self::LeftOut | Self::Failed
        )
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Its path below the folder, or its name in the bucket; what is no text is shown as it can be.
    pub path: String,
    /// The key of its object, if the path makes one.
    pub key: Option<Key>,
    /// What became of it.
    pub outcome: Outcome,
    /// Why, or what else is to be known, in one clause.
    pub reason: Option<Cow<'static, str>>,
    /// How many bytes it has.
    pub size: u64,
    /// The model that it is a file of.
    pub model: Option<ModelId>,
    /// The asset that it is.
    pub asset: Option<AssetId>,
    /// Whether it was removed from the folder it came from.
    pub removed: bool,
}

/// How an import ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Nothing was changed; the numbers say what would have been done.
    pub dry_run: bool,
    /// How many files were looked at, without those that are ignored.
    pub files: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// How many files there were of each outcome.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// How many bytes the files of each outcome have.
    pub outcome_bytes: BTreeMap<Outcome, u64>,
    /// How many files are nothing to import: those in temp/, and what systems and Stockroom leave.
    pub ignored: u64,
    /// How many bytes were read, or would be.
    pub read_bytes: u64,
    /// How many files were removed from the folder that they came from.
    pub removed: u64,
    /// How many models were published.
    pub published: u64,
}

impl Summary {
    /// How many files have this outcome.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }

    /// How many files somebody has to look at.
    #[must_use]
    pub fn problems(&self) -> u64 {
        let problems = self.outcomes.iter().filter(|(it, _)| it.is_problem());
        problems.map(|(_, count)| count).sum()
    }

    pub(super) fn add(&mut self, report: &Report) {
        self.files += 1;
        self.bytes += report.size;
        *self.outcomes.entry(report.outcome).or_default() += 1;
        *self.outcome_bytes.entry(report.outcome).or_default() += report.size;
        self.removed += u64::from(report.removed);
    }
}

/// Is told what happens.
pub trait Listener {
    /// So much is there to import.
    fn counted(&mut self, files: u64, bytes: u64);

    /// Something became of a file. `Break` ends the import.
    fn report(&mut self, report: Report) -> ControlFlow<()>;

    /// Bytes were read.
    fn progress(&mut self, bytes: u64);
}
