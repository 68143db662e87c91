//! The chain from a purchase to its bytes, link by link, and how each was found.

use std::fmt;

use serde::Serialize;
use stockroom_domain::{AssetId, Filename};

/// The links of the chain, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StepName {
    /// Does the purchase let its buyer download?
    Purchase,
    /// Is the model there?
    Model,
    /// Which files does it have?
    Asset,
    /// Is what is recorded of their bytes whole?
    Record,
    /// On which stores should the bytes lie?
    Placements,
    /// Do they lie there?
    Bytes,
    /// Does a link that is made for them work?
    Link,
    /// Does the clock agree with the bucket's, and with the times of the purchase?
    Clock,
}

impl StepName {
    /// The name in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Purchase => "purchase",
            Self::Model => "model",
            Self::Asset => "asset",
            Self::Record => "record",
            Self::Placements => "placements",
            Self::Bytes => "bytes",
            Self::Link => "link",
            Self::Clock => "clock",
        }
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a link was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It holds for this buyer, and something about it should be looked at.
    Warning,
    /// It does not hold: the buyer cannot download.
    Broken,
    /// Whether it holds cannot be told, and as long as that is so the buyer cannot download.
    Unknown,
    /// It was not tried, because an earlier one does not hold.
    Skipped,
}

impl State {
    /// The name in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Broken => "broken",
            Self::Unknown => "unknown",
            Self::Skipped => "skipped",
        }
    }

    /// Whether the buyer gets past this link; none where it was not tried.
    #[must_use]
    pub const fn holds(self) -> Option<bool> {
        match self {
            Self::Ok | Self::Warning => Some(true),
            Self::Broken | Self::Unknown => Some(false),
            Self::Skipped => None,
        }
    }

    /// The higher, the more there is to say about it.
    const fn weight(self) -> u8 {
        match self {
            Self::Skipped => 0,
            Self::Ok => 1,
            Self::Warning => 2,
            Self::Unknown => 3,
            Self::Broken => 4,
        }
    }
}

/// What was found of a link. The texts hold no secret and no signed URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it was found.
    pub state: State,
    /// What was found, in sentences.
    pub detail: String,
    /// What to do about it; never absent where the link does not hold.
    pub fix: Option<String>,
}

impl Outcome {
    pub(super) fn ok(detail: impl Into<String>) -> Self {
        Self {
            state: State::Ok,
            detail: detail.into(),
            fix: None,
        }
    }

    pub(super) fn warning(detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            state: State::Warning,
            detail: detail.into(),
            fix: Some(fix.into()),
        }
    }

    pub(super) fn broken(detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            state: State::Broken,
            ..Self::warning(detail, fix)
        }
    }

    pub(super) fn unknown(detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            state: State::Unknown,
            ..Self::warning(detail, fix)
        }
    }

    pub(super) fn skipped(detail: impl Into<String>) -> Self {
        Self {
            state: State::Skipped,
            ..Self::ok(detail)
        }
    }
}

/// What was found of a link for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetOutcome {
    /// The file.
    pub asset: AssetId,
    /// What the artist calls it.
    pub filename: Filename,
    /// What was found.
    pub outcome: Outcome,
}

/// One link of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub name: StepName,
    /// What was found, over all files.
    pub outcome: Outcome,
    /// The files for which there is something to say, where several were looked at.
    pub assets: Vec<AssetOutcome>,
}

impl Step {
    pub(super) const fn new(name: StepName, outcome: Outcome) -> Self {
        Self {
            name,
            outcome,
            assets: Vec::new(),
        }
    }

    /// A link that was looked at for each file: as it is for the one with the most to say.
    /// `all_well` says what holds when there is nothing to say about any of several.
    pub(super) fn of_assets(name: StepName, all_well: &str, mut found: Vec<AssetOutcome>) -> Self {
        let Some(worst) = found
            .iter()
            .rev()
            .max_by_key(|it| it.outcome.state.weight())
            .cloned()
        else {
            return Self::new(name, Outcome::skipped("There is no file to look at."));
        };
        let total = found.len();
        if total == 1 {
            return Self::new(name, worst.outcome);
        }
        if worst.outcome.state == State::Ok {
            return Self::new(name, Outcome::ok(format!("{all_well} ({total} files).")));
        }
        found.retain(|it| it.outcome.state != State::Ok);
        let detail = format!(
            "{} of {total} files: {}: {}",
            found.len(),
            worst.filename,
            worst.outcome.detail
        );
        Self {
            name,
            outcome: Outcome {
                detail,
                ..worst.outcome
            },
            assets: found,
        }
    }
}

/// The link that keeps the buyer from the bytes. One that is proven broken comes before one that
/// only cannot be told: a bucket that refuses every request for the time it carries tells nothing
/// of the bytes, and the clock is what to mend.
#[must_use]
pub fn first_broken(steps: &[Step]) -> Option<&Step> {
    let first = |state| steps.iter().find(|step| step.outcome.state == state);
    first(State::Broken).or_else(|| first(State::Unknown))
}

#[cfg(test)]
mod tests {
    use stockroom_domain::{SeededEntropy, Timestamp};

    use super::*;

    fn outcome(state: State) -> Outcome {
        Outcome {
            state,
            detail: format!("It is {}.", state.as_str()),
            fix: (state.holds() == Some(false)).then(|| "Mend it.".to_owned()),
        }
    }

    fn assets(states: &[State]) -> Vec<AssetOutcome> {
        let entropy = SeededEntropy::new(1);
        let asset = |(index, state): (usize, &State)| AssetOutcome {
            asset: AssetId::generate(Timestamp::from_unix_ms(1), &entropy),
            filename: format!("{index}.stl").parse().expect("a name"),
            outcome: outcome(*state),
        };
        states.iter().enumerate().map(asset).collect()
    }

    #[test]
    fn what_is_proven_broken_comes_before_what_cannot_be_told() {
        use State::{Broken, Ok, Skipped, Unknown, Warning};
        for (states, expected) in [
            ([Ok, Ok, Warning], None),
            ([Ok, Broken, Broken], Some(1)),
            ([Ok, Unknown, Skipped], Some(1)),
            ([Unknown, Skipped, Broken], Some(2)),
        ] {
            let names = [StepName::Bytes, StepName::Link, StepName::Clock];
            let steps: Vec<Step> = names
                .into_iter()
                .zip(states)
                .map(|(name, state)| Step::new(name, outcome(state)))
                .collect();
            let expected = expected.map(|index: usize| names[index]);
            assert_eq!(first_broken(&steps).map(|step| step.name), expected);
        }
    }

    #[test]
    fn several_files_are_summed_up_and_those_that_differ_are_listed() {
        use State::{Broken, Ok, Skipped, Warning};
        let step = |states: &[State]| Step::of_assets(StepName::Bytes, "All well", assets(states));
        assert_eq!(step(&[]).outcome.state, Skipped);
        assert_eq!(step(&[Broken]).outcome, outcome(Broken));
        assert!(step(&[Broken]).assets.is_empty());
        let well = step(&[Ok, Ok]);
        assert_eq!(well.outcome, Outcome::ok("All well (2 files)."));
        assert!(well.assets.is_empty());
        let mixed = step(&[Ok, Warning, Broken, Broken]);
        assert_eq!(mixed.outcome.state, Broken);
        assert_eq!(mixed.outcome.detail, "3 of 4 files: 2.stl: It is broken.");
        assert_eq!(mixed.outcome.fix.as_deref(), Some("Mend it."));
        assert_eq!(mixed.assets.len(), 3);
    }
}
