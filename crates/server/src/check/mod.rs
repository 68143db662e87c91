//! The nine steps that show whether the stores of the mode do what Stockroom needs of them.
//!
//! Every step is done on every store of the mode by itself, so that a hybrid with one broken
//! store is not green. The database is not opened: it has no part in this, and a check of the
//! storage should work without it.

mod fetch;
mod target;

use std::sync::Arc;

use serde::Serialize;
use stockroom_domain::{Clock, Entropy};
use stockroom_storage::Mode;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::target::{Probe, Target};
use crate::config::Config;

/// A step of the check, in the order in which they are done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// The settings can be used.
    Config,
    /// The store answers, and takes the key.
    Connect,
    /// An object can be written.
    Upload,
    /// It is there, and another one is not.
    Exists,
    /// It has the size it was written with.
    Size,
    /// Its bytes, and a part of them, are those that were written.
    Download,
    /// A signed URL gives its bytes.
    SignedUrl,
    /// It is listed.
    List,
    /// It can be deleted, and is gone then.
    Delete,
}

impl Step {
    /// All steps, in their order.
    pub const ALL: [Self; 9] = [
        Self::Config,
        Self::Connect,
        Self::Upload,
        Self::Exists,
        Self::Size,
        Self::Download,
        Self::SignedUrl,
        Self::List,
        Self::Delete,
    ];

    /// The name of the step.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Connect => "connect",
            Self::Upload => "upload",
            Self::Exists => "exists",
            Self::Size => "size",
            Self::Download => "download",
            Self::SignedUrl => "signed_url",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepResult {
    /// The step.
    pub step: Step,
    /// Whether it did what it should, on every store.
    pub ok: bool,
    /// How long it took, in milliseconds.
    pub ms: u64,
    /// What was seen on each store. It holds no secret and no signed URL.
    pub detail: String,
}

/// What a step saw, or why it failed.
type Seen = Result<String, String>;

/// A check that is being run.
#[derive(Debug)]
pub struct Check {
    config: Config,
    clock: Arc<dyn Clock>,
    probe: Probe,
    targets: Vec<Target>,
    /// The first step that failed.
    failed: Option<Step>,
    /// An object may be on a store.
    has_uploaded: bool,
}

impl Check {
    /// A check of the stores of the mode. Does nothing yet.
    #[must_use]
    pub fn new(config: &Config, clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self {
            config: config.clone(),
            clock,
            probe: Probe::new(entropy),
            targets: Vec::new(),
            failed: None,
            has_uploaded: false,
        }
    }

    /// Does a step. The steps must be done in their order, and all of them: after one that failed
    /// the others are skipped, except that the last one still removes the object. The same holds
    /// once `interruption` was cancelled.
    pub async fn run(&mut self, step: Step, interruption: &CancellationToken) -> StepResult {
        let started = Instant::now();
        let skipped = self
            .failed
            .map(|failed| format!("skipped: {} failed", failed.as_str()));
        let seen = match skipped {
            Some(reason) if step == Step::Delete => self.clean_up(reason).await,
            Some(reason) => Err(reason),
            // These two are not cut off: what they leave behind could not be told.
            None if matches!(step, Step::Upload | Step::Delete) => self.perform(step).await,
            None => tokio::select! {
                biased;
                () = interruption.cancelled() => Err("interrupted".to_owned()),
                seen = self.perform(step) => seen,
            },
        };
        if seen.is_err() && self.failed.is_none() {
            self.failed = Some(step);
        }
        StepResult {
            step,
            ok: seen.is_ok(),
            ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
            detail: seen.unwrap_or_else(|reason| reason),
        }
    }

    async fn perform(&mut self, step: Step) -> Seen {
        if step == Step::Config {
            return self.prepare();
        }
        self.has_uploaded |= step == Step::Upload;
        let mut all = Vec::new();
        let mut is_ok = true;
        for target in &mut self.targets {
            let seen = target.perform(step, &self.probe).await;
            is_ok &= seen.is_ok();
            let (Ok(detail) | Err(detail)) = seen;
            all.push(format!("{}: {detail}", target.name()));
        }
        if is_ok {
            Ok(all.join("; "))
        } else {
            Err(all.join("; "))
        }
    }

    fn prepare(&mut self) -> Seen {
        let storage = &self.config.storage;
        if storage.mode != Mode::S3 {
            self.targets.push(Target::local(
                &self.config,
                &self.clock,
                self.probe.entropy(),
            )?);
        }
        if storage.mode != Mode::Local {
            self.targets
                .push(Target::s3(&self.config, &self.clock, self.probe.entropy())?);
        }
        let places: Vec<String> = self.targets.iter().map(Target::place).collect();
        Ok(format!(
            "mode {}: {}; database {}",
            storage.mode,
            places.join(" and "),
            self.config.database.shown()
        ))
    }

    /// The last step after a failure: green when the object was there and is gone.
    async fn clean_up(&mut self, reason: String) -> Seen {
        if !self.has_uploaded {
            return Err(reason);
        }
        let seen = self.perform(Step::Delete).await;
        match (self.failed, seen) {
            (Some(Step::Upload), Ok(_)) => Err(format!("{reason}; nothing of it is left")),
            (_, seen) => seen,
        }
    }
}
