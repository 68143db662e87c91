//! Place: give a store the copy that it owes, verified by hash.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use stockroom_catalog::{
    CatalogError, ClaimedPlacement, Conflict, ObjectDetails, PlacementRow, PlacementStep,
};
use stockroom_domain::{PlacementState, StoreName};
use stockroom_storage::{Error, ErrorKind, GuardedStore, Operation, Store};
use tokio::task::JoinSet;

use super::lease::{self, holding};
use super::transfer::{sources, transfer};
use super::versions::remove_old_versions;
use crate::app::App;
use crate::flows::prove::{is_wrong, prove};

/// The longest wait between two attempts when the failure may pass by itself. It is short: when a
/// store comes back after an outage, nothing should wait longer than a moment.
const TRANSIENT_WAIT: Duration = Duration::from_secs(30);

/// The longest wait when somebody has to mend something.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The wait when there is no whole copy to heal a doubted one from. Looking costs reading all of it.
const HOPELESS_WAIT: Duration = Duration::from_secs(3_600);

/// How long copies that are under way may keep the engine from looking for more.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// How one placement went.
enum Settled {
    Placed,
    /// It was deleted meanwhile, or somebody else was faster.
    Moot,
    /// It is owed still.
    Owed,
    /// It is owed still, because no store that has a copy answers. So it is with all others that
    /// this store owes.
    NoSource(StoreName),
}

/// Places what is due on all stores that answer, a few at the same time; how many were placed.
pub(super) async fn due(app: &App) -> Result<usize, CatalogError> {
    let mut working: JoinSet<Result<Settled, CatalogError>> = JoinSet::new();
    let mut placed = 0;
    let mut failure = None;
    let mut without_source = BTreeSet::new();
    loop {
        // Never more rows are claimed than are begun at once, so that no claim grows old unused.
        let free = app.engine.concurrency - working.len();
        if failure.is_none() && free > 0 {
            failure = claim(app, &mut working, &without_source, free).await.err();
        }
        // One copy may take hours, and what comes to be owed meanwhile need not wait for it.
        let ended = tokio::select! {
            ended = working.join_next() => ended,
            () = app.engine_bell.notified(), if !working.is_empty() => continue,
            () = tokio::time::sleep(LOOK_AGAIN), if !working.is_empty() => continue,
        };
        let Some(ended) = ended else {
            return failure.map_or(Ok(placed), Err);
        };
        match ended {
            Ok(Ok(Settled::Placed)) => placed += 1,
            Ok(Ok(Settled::Moot | Settled::Owed)) => {}
            Ok(Ok(Settled::NoSource(store))) => drop(without_source.insert(store)),
            Ok(Err(error)) => failure = Some(error),
            Err(stopped) => tracing::error!(%stopped, "a copy ended in a panic"),
        }
    }
}

async fn claim(
    app: &App,
    working: &mut JoinSet<Result<Settled, CatalogError>>,
    without_source: &BTreeSet<StoreName>,
    mut free: usize,
) -> Result<(), CatalogError> {
    if app.shutdown.is_cancelled() {
        return Ok(());
    }
    let stores = app.stores.iter().filter(|store| store.is_available());
    for store in stores.filter(|store| !without_source.contains(store.name())) {
        let now = app.clock.now();
        let limit = u32::try_from(free).unwrap_or(u32::MAX);
        let claimed = app
            .catalog
            .claim_placements(store.name(), now, lease::until(now), limit)
            .await?;
        free -= claimed.len().min(free);
        for claim in claimed {
            working.spawn(settle(app.clone(), Arc::clone(store), claim));
        }
        if free == 0 {
            break;
        }
    }
    Ok(())
}

/// Tries one placement and notes how it went.
async fn settle(
    app: App,
    store: Arc<GuardedStore>,
    claim: ClaimedPlacement,
) -> Result<Settled, CatalogError> {
    let object_id = claim.object.id;
    let Some(details) = app.catalog.find_object_by_id(object_id).await? else {
        return Ok(Settled::Moot);
    };
    match holding(
        &app,
        &claim,
        place(&app, &store, &details, &claim.placement),
    )
    .await
    {
        Ok(()) => is_present(&app, &store, &claim.placement, &details).await,
        Err(failure) => {
            let (error, wait) = (&failure.error, failure.wait(claim.placement.attempts));
            tracing::warn!(%error, object = %object_id, store = %store.name(), "a copy is still owed");
            let now = app.clock.now();
            app.catalog
                .postpone_placement(&claim.placement, &error.to_string(), now, wait)
                .await?;
            let is_away = error.is_transient() && error.store() != store.name();
            Ok(if is_away {
                Settled::NoSource(store.name().clone())
            } else {
                Settled::Owed
            })
        }
    }
}

/// Why a copy is still owed.
struct Failure {
    error: Error,
    /// Whether there is nothing to copy from.
    is_hopeless: bool,
}

impl Failure {
    fn wait(&self, attempts: u32) -> Duration {
        let longest = match self.error.kind() {
            _ if self.is_hopeless => return HOPELESS_WAIT,
            ErrorKind::Unavailable => TRANSIENT_WAIT,
            _ => LONGEST_WAIT,
        };
        Duration::from_secs(1 << attempts.min(9)).min(longest)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self {
            error,
            is_hopeless: false,
        }
    }
}

/// Makes sure that the store holds the right bytes. A doubted copy is looked at first: it may be
/// well, and where it is the only one, it stays as the last resort.
async fn place(
    app: &App,
    store: &GuardedStore,
    details: &ObjectDetails,
    placement: &PlacementRow,
) -> Result<(), Failure> {
    let object = &details.object;
    if placement.state == PlacementState::Suspect {
        match prove(app, store, object, |_| {}).await {
            Ok(()) => return Ok(()),
            Err(error) if is_wrong(&error) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let sources = sources(app, object, store);
    if sources.is_empty() {
        let detail = "no other copy is left to heal this one from";
        let error = Error::new(store.name(), Operation::Get, ErrorKind::Corrupt, detail);
        return Err(Failure {
            error: error.about(&object.location),
            is_hopeless: true,
        });
    }
    let pace = app.migration_pace.of(placement.migration);
    if let Err(error) = transfer(app, sources, store, details, pace.as_deref()).await {
        let is_hopeless = error.store() != store.name() && is_wrong(&error);
        return Err(Failure { error, is_hopeless });
    }
    // What the destination acknowledged is what it will give back: that is seen, not believed.
    prove(app, store, object, |_| {}).await?;
    Ok(())
}

/// Notes that the copy is there. When the object was deleted meanwhile, the copy must not
/// outlive it.
async fn is_present(
    app: &App,
    store: &GuardedStore,
    placement: &PlacementRow,
    details: &ObjectDetails,
) -> Result<Settled, CatalogError> {
    let step = PlacementStep {
        object_id: placement.object_id,
        store: store.name(),
        from: placement.state,
        to: PlacementState::Present,
        error: None,
    };
    let location = &details.object.location;
    match app.catalog.step_placement(step, app.clock.now()).await {
        Ok(()) => {
            remove_old_versions(app, store, &details.object).await;
            Ok(Settled::Placed)
        }
        Err(CatalogError::Conflict(Conflict::PlacementMoved {
            found: PlacementState::Retiring | PlacementState::Gone,
        })) => {
            if let Err(error) = store.delete(location).await {
                // The second look at the deleted object will find it.
                tracing::warn!(%error, "the copy of a deleted object stays for now");
            }
            Ok(Settled::Moot)
        }
        // Somebody else was faster, with the same bytes at the same place.
        Err(CatalogError::Conflict(_)) => Ok(Settled::Moot),
        Err(error) => Err(error),
    }
}
