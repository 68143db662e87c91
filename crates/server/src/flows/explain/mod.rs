//! Why can this buyer not download? Follows one purchase from the gate to its bytes, the way a
//! download goes, and names the first link that does not hold with its fix.
//!
//! The links are in [`chain`]. Each is looked at also after one before it broke, as far as that
//! makes sense, so that one question shows all there is to mend. Nothing is changed, and no signed
//! URL leaves this module.

pub mod chain;
mod clock;
mod copies;
mod files;
mod link;
mod purchase;
mod record;
mod way;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use stockroom_catalog::{AssetRow, CatalogError, Noun, PurchaseRow};
use stockroom_domain::{AssetId, PurchaseId, StoreName};

use self::chain::{AssetOutcome, Outcome, Step, StepName};
use self::way::Way;
use crate::app::App;
use crate::doctor::finding::Finding;

/// How many files of a model are looked at.
pub const MAX_ASSETS: u32 = 20;

/// How many of them at once.
const AT_ONCE: usize = 4;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// This file alone; else the newest version of each, up to [`MAX_ASSETS`].
    pub asset: Option<AssetId>,
    /// Read the copies and hash them, up to so many bytes in all; else their sizes are compared.
    pub max_read_bytes: Option<u64>,
    /// How long a store may take to tell what it has, and a link to answer. What does not answer
    /// by then is not known to be missing.
    pub patience: Duration,
}

impl Question {
    /// How long most of those who ask want to wait for a store.
    pub const PATIENCE: Duration = Duration::from_secs(10);
}

/// The chain of one purchase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The purchase.
    pub purchase: PurchaseRow,
    /// Every link, in the order of the chain.
    pub steps: Vec<Step>,
}

impl Explanation {
    /// The link that keeps the buyer from the bytes; none where the chain is whole.
    #[must_use]
    pub fn first_broken(&self) -> Option<&Step> {
        chain::first_broken(&self.steps)
    }
}

/// The purchase that a person names: by its id, or by the shop's own name for the order.
///
/// # Errors
/// When the database fails.
pub async fn find(app: &App, named: &str) -> Result<Option<PurchaseRow>, CatalogError> {
    if let Ok(id) = named.parse::<PurchaseId>()
        && let Some(found) = app.catalog.find_purchase(id).await?
    {
        return Ok(Some(found));
    }
    app.catalog.find_purchase_by_order(named).await
}

/// Follows the chain of a purchase. It takes seconds at most, and where the bucket does not answer
/// less than two minutes; with a question that reads the bytes, as long as that takes.
///
/// # Errors
/// When the database fails.
pub async fn explain(
    app: &App,
    purchase: PurchaseRow,
    question: Question,
) -> Result<Explanation, CatalogError> {
    let surroundings = Surroundings::new(app, question);
    let model = app.catalog.find_model_deleted_or_not(purchase.model_id);
    let model = model.await?.ok_or(CatalogError::NotFound(Noun::Model))?;
    let gate = purchase::examine(app, &purchase, &model).await?;
    let (asset, files) = files::examine(app, &model, question.asset).await?;
    let mut steps = vec![
        Step::new(StepName::Purchase, gate),
        Step::new(StepName::Model, purchase::model(app, &model)),
        Step::new(StepName::Asset, asset),
    ];
    let looked = stream::iter(files)
        .map(|file| look(&surroundings, file))
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    steps.extend(of_files(looked, question.max_read_bytes.is_some()));
    let is_whole = chain::first_broken(&steps).is_none();
    let clock = clock::examine(&surroundings, &purchase, is_whole).await;
    steps.push(Step::new(StepName::Clock, clock));
    Ok(Explanation { purchase, steps })
}

/// Looks at one file: what is recorded of it, its copies, and a link to it.
async fn look(
    surroundings: &Surroundings<'_>,
    asset: AssetRow,
) -> Result<[AssetOutcome; 4], CatalogError> {
    let app = surroundings.app;
    let found = match app.catalog.find_object_by_id(asset.object.id).await {
        Ok(Some(details)) => Ok(details),
        Ok(None) => Err("its object is not there".to_owned()),
        Err(CatalogError::Corrupt { reason, .. }) => Err(reason),
        Err(error) => return Err(error),
    };
    let outcomes = match found {
        Ok(details) => {
            let bytes = copies::examine(surroundings, &details.object).await;
            let link = link::examine(surroundings, &asset, bytes.state).await;
            let placements = record::placements(app, &details).await?;
            [record::facts(&details), placements, bytes, link]
        }
        Err(reason) => {
            let skipped = || Outcome::skipped("Not tried: the record cannot be read.");
            let detail = format!("The record of the bytes cannot be read: {reason}.");
            let record = Outcome::broken(detail, files::MEND_THE_RECORD);
            [record, skipped(), skipped(), skipped()]
        }
    };
    Ok(outcomes.map(|outcome| AssetOutcome {
        asset: asset.id,
        filename: asset.filename.clone(),
        outcome,
    }))
}

/// The links that are looked at for each file, over all of them.
fn of_files(looked: Vec<[AssetOutcome; 4]>, is_deep: bool) -> [Step; 4] {
    let mut of = [const { Vec::new() }; 4];
    for outcomes in looked {
        for (column, outcome) in of.iter_mut().zip(outcomes) {
            column.push(outcome);
        }
    }
    let [record, placements, bytes, link] = of;
    let all_there = if is_deep {
        "Every copy is there, and those that were read have the recorded SHA-256"
    } else {
        "Every copy is there with its size"
    };
    [
        (StepName::Record, "What is recorded is whole", record),
        (
            StepName::Placements,
            "Every copy is recorded as present",
            placements,
        ),
        (StepName::Bytes, all_there, bytes),
        (StepName::Link, "The links work", link),
    ]
    .map(|(name, all_well, found)| Step::of_assets(name, all_well, found))
}

/// What the looks share. What costs something is made once, when it is first needed.
struct Surroundings<'a> {
    app: &'a App,
    question: Question,
    read_bytes: AtomicU64,
    /// The stores that did not answer in time, which are not asked again.
    silent: Mutex<BTreeSet<StoreName>>,
    /// Whose the stores are where something was not found, which proves nothing in a store of
    /// somebody else.
    foreign: tokio::sync::Mutex<BTreeMap<StoreName, Option<Finding>>>,
    /// The ways to the buckets, that of the mode first.
    ways: Vec<Way<'a>>,
}

impl<'a> Surroundings<'a> {
    fn new(app: &'a App, question: Question) -> Self {
        Self {
            app,
            question,
            read_bytes: AtomicU64::new(0),
            silent: Mutex::default(),
            foreign: tokio::sync::Mutex::default(),
            ways: app
                .buckets
                .iter()
                .map(|bucket| Way::new(bucket, question.patience))
                .collect(),
        }
    }

    /// Takes so many bytes of those that may be read; false when that would be too many.
    fn may_read(&self, max_bytes: u64, size_bytes: u64) -> bool {
        let add = |read: u64| {
            let sum = read.saturating_add(size_bytes);
            (sum <= max_bytes).then_some(sum)
        };
        let order = Ordering::Relaxed;
        self.read_bytes.fetch_update(order, order, add).is_ok()
    }

    /// The way to the bucket of this name.
    fn way(&self, name: &StoreName) -> Option<&Way<'a>> {
        self.ways.iter().find(|way| way.settings().name == *name)
    }

    fn note_silent(&self, store: &StoreName) {
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.insert(store.clone());
    }

    fn is_silent(&self, store: &StoreName) -> bool {
        let silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        silent.contains(store)
    }
}
