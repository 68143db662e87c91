//! What a migration would do. Nothing is changed but for a probe on the target, which goes again.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use stockroom_catalog::{CatalogError, PlanCounts};
use stockroom_domain::{Key, KeyPrefix, ObjectState, PlacementState, StoreName};
use stockroom_storage::{ContentHasher, Error, Store, WriteOptions};
use tokio::time::Instant;

use super::prices::{StoragePrice, storage_price};
use super::{MigrateError, source, target_of};
use crate::app::App;

/// How many bytes the probe has.
const PROBE_BYTES: usize = 4 << 20;

/// How many keys are named of each kind of trouble.
const NAMED: usize = 20;

/// How many locations are looked up at once.
const LOOKUP: usize = 500;

/// What a migration would do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where from.
    pub source: StoreName,
    /// Where to.
    pub target: StoreName,
    /// What the catalog says.
    pub counts: PlanCounts,
    /// Locations on the target at which there are bytes that nobody recorded and that a copy would
    /// replace; none where the target was not listed.
    pub collisions: Option<Collisions>,
    /// What was seen when a probe was written to the target.
    pub rate: Result<Rate, String>,
    /// What keeping the bytes costs; none where the price is not known.
    pub cost: Option<Cost>,
}

/// Bytes in the way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Collisions {
    /// How many.
    pub count: u64,
    /// Some of them.
    pub keys: Vec<Key>,
}

/// How fast the target took a probe.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Bytes in a second, one file after the other.
    pub bytes_per_second: f64,
    /// How long a small file takes.
    pub per_object: Duration,
}

/// What keeping the bytes costs in a month, in US dollars.
#[derive(Debug, Clone, PartialEq)]
pub struct Cost {
    /// The prices that are counted with: one for each bucket.
    pub prices: Vec<StoragePrice>,
    /// Now.
    pub before_usd: f64,
    /// When the migration is done; and as long as the source is kept, no less.
    pub after_usd: f64,
}

impl Plan {
    /// How long it takes at the rate that was seen, several objects at a time.
    #[must_use]
    pub fn duration(&self, concurrency: usize) -> Option<Duration> {
        let rate = self.rate.as_ref().ok()?;
        let of_bytes = self.counts.to_copy_bytes as f64 / rate.bytes_per_second;
        let of_objects = rate.per_object.as_secs_f64() * self.counts.to_copy as f64;
        // One line is shared by all, but waiting is not.
        let seconds = of_bytes + of_objects / concurrency.max(1) as f64;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// Looks what a migration would do.
///
/// # Errors
/// There is no such store, or none to move from; the catalog fails.
pub async fn plan(
    app: &App,
    target: &StoreName,
    from: Option<&StoreName>,
    prefix: &KeyPrefix,
    lists_target: bool,
) -> Result<Plan, MigrateError> {
    let store = target_of(app, target).await?;
    let source = source(app, target, from)?;
    let counts = app.catalog.plan_counts(target, prefix).await?;
    let rate = match measure(app, &*store).await {
        Ok(rate) => Ok(rate),
        Err(error) => Err(error.to_string()),
    };
    let collisions = match lists_target && rate.is_ok() {
        true => collisions(app, &*store, prefix).await?,
        false => None,
    };
    Ok(Plan {
        cost: cost(app, &source, target, &counts),
        source,
        target: target.clone(),
        counts,
        collisions,
        rate,
    })
}

/// What is on other stores is counted as if it were on the source. The folder costs nothing.
fn cost(app: &App, source: &StoreName, target: &StoreName, counts: &PlanCounts) -> Option<Cost> {
    let priced = |store| match app.bucket(store) {
        Some(bucket) => storage_price(bucket.settings.endpoint.host()).map(Some),
        None => Some(None),
    };
    let (from, to) = (priced(source)?, priced(target)?);
    let keeping =
        |price: Option<StoragePrice>, bytes| price.map_or(0.0, |price| price.usd_per_month(bytes));
    let moved_in = counts.on_target_bytes + counts.to_copy_bytes;
    Some(Cost {
        prices: [from, to].into_iter().flatten().collect(),
        before_usd: keeping(from, counts.on_others_bytes) + keeping(to, counts.on_target_bytes),
        after_usd: keeping(to, moved_in),
    })
}

/// Writes a large and a small probe, and removes them.
async fn measure(app: &App, store: &dyn Store) -> Result<Rate, Error> {
    let mut bytes = vec![0; PROBE_BYTES];
    app.entropy.fill(&mut bytes);
    let bytes = Bytes::from(bytes);
    let small = write_probe(app, store, bytes.slice(..1_024)).await?;
    let large = write_probe(app, store, bytes).await?;
    let beyond = large.saturating_sub(small).as_secs_f64().max(1e-6);
    Ok(Rate {
        bytes_per_second: PROBE_BYTES as f64 / beyond,
        per_object: small,
    })
}

async fn write_probe(app: &App, store: &dyn Store, bytes: Bytes) -> Result<Duration, Error> {
    let name = hex::encode(app.entropy.bytes::<8>());
    #[expect(
        clippy::expect_used,
        reason = "a category, a plain name and hexadecimal digits are a key"
    )]
    let key: Key = format!("temp/plan-{name}").parse().expect("a key");
    let mut hasher = ContentHasher::new();
    hasher.update(&bytes);
    let facts = hasher.finish();
    let options = WriteOptions {
        size_hint_bytes: Some(bytes.len() as u64),
        sha256: Some(facts.sha256),
        ..WriteOptions::default()
    };
    let began = Instant::now();
    let mut writer = store.writer(&key, options).await?;
    let written = match writer.write(bytes).await {
        Ok(()) => writer.finish(&facts).await.map(drop),
        Err(error) => {
            writer.abort().await;
            Err(error)
        }
    };
    let elapsed = began.elapsed();
    let removed = store.delete(&key).await;
    written.and(removed).map(|()| elapsed)
}

/// Bytes on the target that a copy would replace and that nobody recorded there; none when the
/// target cannot be listed.
async fn collisions(
    app: &App,
    store: &dyn Store,
    prefix: &KeyPrefix,
) -> Result<Option<Collisions>, MigrateError> {
    let mut found = Collisions::default();
    let mut pages = store.list(prefix).ready_chunks(LOOKUP);
    while let Some(entries) = pages.next().await {
        let mut locations = Vec::with_capacity(entries.len());
        for entry in entries {
            match entry {
                Ok(entry) => locations.push(entry.key),
                Err(error) => {
                    tracing::warn!(%error, "the target cannot be listed");
                    return Ok(None);
                }
            }
        }
        for key in in_the_way(app, store.name(), &locations).await? {
            found.count += 1;
            if found.keys.len() < NAMED {
                found.keys.push(key);
            }
        }
    }
    Ok(Some(found))
}

async fn in_the_way(
    app: &App,
    target: &StoreName,
    locations: &[Key],
) -> Result<Vec<Key>, CatalogError> {
    let recorded = app.catalog.objects_at(locations, app.clock.now()).await?;
    let is_in_the_way = |at: &stockroom_catalog::ObjectAt| {
        let copy = at.placements.iter().find(|it| it.store == *target);
        let is_known = copy.is_some_and(|it| it.state != PlacementState::Gone);
        at.state == ObjectState::Live && !is_known
    };
    let found = recorded.into_iter().filter(is_in_the_way);
    Ok(found.map(|at| at.location).collect())
}
