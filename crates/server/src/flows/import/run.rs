//! An import that is under way: what there is, one after the other, several at the same time.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::Either;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _, future};
use stockroom_domain::{StoreName, Timestamp};
use stockroom_storage::{GuardedStore, Identity, S3Store, SourceFolder, SourceKind, Store as _};

use super::adopt::Here;
use super::job::{Candidate, Counter, Job, Way};
use super::listing::Listings;
use super::map::MapFault;
use super::names::{Verdict, judge, judge_object};
use super::report::{Listener, Outcome, Report, Summary};
use super::standing::at;
use super::{ImportError, Options, Origin};
use crate::app::App;
use crate::workers::identity::{self, Comparison, LookError};

/// How often it is told how much was read.
const TOLD_EVERY: Duration = Duration::from_millis(250);

/// Something that lies in the folder or the bucket.
struct Seen {
    path: Vec<u8>,
    verdict: Verdict,
    size_bytes: u64,
    changed_at: Timestamp,
    has_other_names: bool,
}

/// An import that is about to begin.
pub(super) struct Run {
    app: App,
    options: Options,
    way: Way,
    s3: Option<(Arc<S3Store>, String)>,
    folder: Option<SourceFolder>,
}

impl Run {
    pub(super) fn new(app: &App, options: Options) -> Result<Self, ImportError> {
        let here = |name: StoreName, local| match app.store(&name) {
            Some(store) => Ok(Way::Adopt(Here { store, local })),
            None => Err(ImportError::NoStore(name)),
        };
        let (way, s3, folder) = match &options.origin {
            Origin::Folder(folder) => {
                let own = match &app.local {
                    Some(local) if local.is_at(folder).map_err(ImportError::Folder)? => {
                        Some(Arc::clone(local))
                    }
                    _ => None,
                };
                let way = match own {
                    Some(local) => here(StoreName::LOCAL, Some(local))?,
                    None => Way::Copy(folder.clone()),
                };
                (way, None, Some(folder.clone()))
            }
            Origin::Bucket(prefix) => {
                let bucket = app.buckets.first();
                let bucket = bucket.ok_or(ImportError::NoStore(StoreName::S3))?;
                let way = here(bucket.settings.name.clone(), None)?;
                (way, Some((Arc::clone(&bucket.store), prefix.clone())), None)
            }
        };
        Ok(Self {
            app: app.clone(),
            options,
            way,
            s3,
            folder,
        })
    }

    pub(super) async fn run(self, listener: &mut dyn Listener) -> Result<Summary, ImportError> {
        self.identify().await?;
        let mut summary = Summary {
            dry_run: self.options.dry_run,
            ..Summary::default()
        };
        self.survey(listener).await?;
        let seen = self.seen();
        let Self {
            app,
            mut options,
            way,
            ..
        } = self;
        let map = std::mem::take(&mut options.map);
        // What ends early takes the others with it, and not whoever gave the token.
        let interrupted_by_caller = options.interruption.clone();
        options.interruption = options.interruption.child_token();
        let listings = Listings::new(&app, map, options.dry_run).await?;
        let job = Arc::new(Job {
            app,
            options,
            listings,
            way,
            read_bytes: Counter::default(),
        });
        let outcome = take_all(&job, seen, &mut summary, listener).await;
        summary.read_bytes = job.read_bytes.total();
        outcome?;
        if interrupted_by_caller.is_cancelled() {
            return Err(ImportError::Interrupted);
        }
        if job.options.publish && !job.options.dry_run {
            summary.published = job.listings.publish(&job.app).await?;
        }
        Ok(summary)
    }

    /// Makes sure that the stores that would be written to are this catalog's own.
    async fn identify(&self) -> Result<(), ImportError> {
        if !self.options.dry_run {
            identity::settle_all(&self.app).await;
        }
        for store in &self.app.stores {
            let name = store.name();
            let is_adopted_on = matches!(&self.way, Way::Adopt(here) if here.store.name() == name);
            if is_adopted_on || self.app.storage.store(name).is_some() {
                self.identify_store(store, is_adopted_on).await?;
            }
        }
        Ok(())
    }

    async fn identify_store(
        &self,
        store: &GuardedStore,
        has_to_be_known: bool,
    ) -> Result<(), ImportError> {
        let is_known = match store.identity() {
            Identity::Ours => true,
            Identity::Foreign => false,
            // Of one that does not answer nothing is known, and nothing is adopted on it.
            Identity::Unknown => !has_to_be_known && !self.options.dry_run,
        };
        if is_known {
            return Ok(());
        }
        match identity::compare(&self.app.catalog, store).await {
            Ok(Comparison::Foreign(reason)) => Err(ImportError::ForeignStore {
                store: store.name().clone(),
                reason,
            }),
            // It is mended by now, or this is a dry run, which gives no store an id.
            Ok(Comparison::Ours | Comparison::Unlabelled { .. }) => Ok(()),
            Err(LookError::Store(error)) => Err(error.into()),
            Err(LookError::Catalog(error)) => Err(error.into()),
        }
    }

    /// Everything that lies there but the id of the store, with a verdict on its name.
    fn seen(&self) -> BoxStream<'static, Result<Seen, ImportError>> {
        let label = identity::label_key();
        self.all_seen()
            .try_filter(move |seen| future::ready(seen.path != label.as_str().as_bytes()))
            .boxed()
    }

    fn all_seen(&self) -> BoxStream<'static, Result<Seen, ImportError>> {
        let is_store = matches!(&self.way, Way::Adopt(_));
        if let Some((s3, prefix)) = &self.s3 {
            let seen = s3.names(prefix).map_ok(|object| Seen {
                verdict: judge_object(&object.name),
                path: object.name,
                size_bytes: object.size_bytes,
                changed_at: object.modified_at,
                has_other_names: false,
            });
            return seen.map_err(ImportError::from).boxed();
        }
        let Some(folder) = &self.folder else {
            return futures::stream::empty().boxed();
        };
        let seen = folder.entries().map_ok(move |entry| {
            let verdict = judge(&entry.path, &entry.kind, is_store);
            let (mut size_bytes, mut changed_at) = (0, Timestamp::from_unix_ms(0));
            let mut has_other_names = false;
            if let SourceKind::File(stamp) = &entry.kind {
                (size_bytes, changed_at) = (stamp.size_bytes(), stamp.changed_at());
                has_other_names = stamp.has_other_names();
            }
            Seen {
                path: entry.path,
                verdict,
                size_bytes,
                changed_at,
                has_other_names,
            }
        });
        seen.map_err(ImportError::Folder).boxed()
    }

    /// Counts what there is, and holds it against the map.
    async fn survey(&self, listener: &mut dyn Listener) -> Result<(), ImportError> {
        let lines = &self.options.map.lines;
        let mut missing: HashSet<&str> = lines.keys().map(String::as_str).collect();
        let (mut files, mut bytes) = (0, 0);
        let mut seen = self.seen();
        while let Some(seen) = seen.try_next().await? {
            if self.options.interruption.is_cancelled() {
                return Err(ImportError::Interrupted);
            }
            if matches!(seen.verdict, Verdict::Take(_)) {
                files += 1;
                bytes += seen.size_bytes;
                if let Ok(path) = std::str::from_utf8(&seen.path) {
                    missing.remove(path);
                }
            }
        }
        if missing.is_empty() {
            listener.counted(files, bytes);
            return Ok(());
        }
        let fault = |path: &&str| MapFault {
            line: lines.get(*path).map_or(0, |line| line.number),
            detail: format!("There is nothing at {path} that could be imported."),
        };
        let mut faults: Vec<MapFault> = missing.iter().map(fault).collect();
        faults.sort_by_key(|fault| fault.line);
        Err(ImportError::Map(faults))
    }
}

/// Takes one after the other, several at the same time. When it ends early, those that are under
/// way come to their end first.
async fn take_all(
    job: &Arc<Job>,
    seen: BoxStream<'static, Result<Seen, ImportError>>,
    summary: &mut Summary,
    listener: &mut dyn Listener,
) -> Result<(), ImportError> {
    let interruption = job.options.interruption.clone();
    let tasks = seen
        .take_until(interruption.cancelled_owned())
        .map(|seen| begin(job, seen));
    let mut tasks = pin!(tasks.buffer_unordered(job.options.concurrency.max(1)));
    let mut told_bytes = 0;
    let mut first_error = None;
    let mut ticks = tokio::time::interval(TOLD_EVERY);
    loop {
        let taken = tokio::select! {
            taken = tasks.next() => taken,
            _ = ticks.tick() => {
                let total = job.read_bytes.total();
                listener.progress(total - told_bytes);
                told_bytes = total;
                continue;
            }
        };
        let error = match taken {
            None => break,
            Some(Ok(None)) => {
                summary.ignored += 1;
                continue;
            }
            Some(Ok(Some(report))) => {
                summary.add(&report);
                match listener.report(report) {
                    ControlFlow::Continue(()) => continue,
                    ControlFlow::Break(()) => ImportError::Stopped,
                }
            }
            Some(Err(error)) => error,
        };
        job.options.interruption.cancel();
        // What follows the first one is that it was interrupted.
        first_error.get_or_insert(error);
    }
    listener.progress(job.read_bytes.total() - told_bytes);
    first_error.map_or(Ok(()), Err)
}

/// A task for what was seen, in which it comes to its end whatever happens around it.
fn begin(
    job: &Arc<Job>,
    seen: Result<Seen, ImportError>,
) -> impl Future<Output = Result<Option<Report>, ImportError>> + use<> {
    let seen = match seen {
        Ok(seen) => seen,
        Err(error) => return Either::Left(future::ready(Err(error))),
    };
    let shown = String::from_utf8_lossy(&seen.path).into_owned();
    let left_out = |reason| Report {
        path: shown.clone(),
        key: None,
        outcome: Outcome::LeftOut,
        reason: Some(reason),
        size: seen.size_bytes,
        model: None,
        asset: None,
        removed: false,
    };
    let (key, is_own) = match seen.verdict {
        Verdict::Ignore => return Either::Left(future::ready(Ok(None))),
        Verdict::LeaveOut(reason) => {
            return Either::Left(future::ready(Ok(Some(left_out(reason)))));
        }
        Verdict::Take(key) => (key, false),
        Verdict::Own(key) => (key, true),
    };
    let candidate = Candidate {
        path: shown.clone(),
        key,
        size_bytes: seen.size_bytes,
        changed_at: seen.changed_at,
        has_other_names: seen.has_other_names,
    };
    let report = left_out("keys below this folder are made by Stockroom itself".into());
    let (app, job) = (job.app.clone(), Arc::clone(job));
    let task = app.tasks.spawn(async move {
        if !is_own {
            return job.take(candidate).await;
        }
        let is_recorded =
            matches!(job.way, Way::Adopt(_)) && at(&job.app, &candidate.key).await?.is_some();
        Ok((!is_recorded).then_some(report))
    });
    Either::Right(async move { task.await? })
}
