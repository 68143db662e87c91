//! Copies that are wrong, owed or forgotten: the record is made to say so, and the engine does the
//! rest.

use std::time::Duration;

use stockroom_catalog::{CatalogError, Conflict, ObjectRow, PlacementRow, PlacementStep};
use stockroom_domain::{ObjectId, ObjectState, PlacementState, StoreName, Timestamp};
use stockroom_storage::{GuardedStore, Store as _};
use tokio::time::Instant;

use super::finding::{Finding, Outcome};
use super::look::Other;
use super::{Run, VerifyError};
use crate::app::App;
use crate::workers::engine;

/// How many copies may wait for the engine before it is run, so that they take little memory.
const MOST_OWED: usize = 1_000;

/// How long to wait before looking again whether another server has placed a copy.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// How long a copy may stay as it is before it counts as given up. Whoever copies renews the claim
/// more often than this; what is not claimed waits for a store that does not answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// The same for a copy that is due: the engine has just left it alone.
const PATIENCE_WHILE_DUE: Duration = Duration::from_secs(1);

/// How the errors begin that a verification puts down. Those of the engine begin otherwise, so that
/// a second failure of the same kind is seen.
const NOTE: &str = "verification: ";

const DELETED_MEANWHILE: &str = "the object was deleted meanwhile";

/// What mends a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remedy {
    /// The copy is put down as doubted, and healed from another one.
    Heal {
        object: ObjectId,
        /// The object was deleted: it is healed when somebody wants it back.
        is_deleted: bool,
    },
    /// The copy is put down as owed, and made.
    Place {
        object: ObjectId,
        /// There was a copy once, which was deleted.
        is_gone: bool,
    },
    /// The copy is down as owed or doubted already.
    Await { object: ObjectId },
}

impl Remedy {
    /// What mends a copy that is wrong; nothing does when no other one is whole.
    pub(super) fn of_wrong_copy(
        object: &ObjectRow,
        state: PlacementState,
        other: Other,
    ) -> Option<Self> {
        let is_deleted = object.state != ObjectState::Live;
        let object = object.id;
        match other {
            Other::Nowhere => None,
            _ if state == PlacementState::Suspect && !is_deleted => Some(Self::Await { object }),
            _ => Some(Self::Heal { object, is_deleted }),
        }
    }
}

/// A copy that the engine is to place.
pub(super) struct Owed {
    finding: Finding,
    object: ObjectId,
    store: StoreName,
    /// The error in the record when the waiting began: another one is the engine's.
    known_error: Option<String>,
    /// Whether the engine was made to take it up now; else it may wait for its next turn.
    is_due: bool,
    /// When it may be tried again, as was seen last, and when that changed.
    next_attempt: Option<(Timestamp, Instant)>,
}

impl Run<'_> {
    /// Has a copy mended, or only tells of it.
    pub(super) async fn settle(
        &mut self,
        at: usize,
        finding: Finding,
        remedy: Remedy,
    ) -> Result<(), VerifyError> {
        let Some(finding) = self.may_change(at, finding)? else {
            return Ok(());
        };
        let store = &self.subjects[at].store;
        match prepare(self.app, store, remedy, &finding.detail).await? {
            Prepared::Owed { object, is_due } => {
                let store = store.name().clone();
                let row = placement(self.app, object, &store).await?;
                self.owed.push(Owed {
                    finding,
                    object,
                    store,
                    known_error: row.and_then(|row| row.last_error),
                    is_due,
                    next_attempt: None,
                });
            }
            Prepared::Done(outcome) => self.tell(finding.with_outcome(outcome))?,
        }
        if self.owed.len() >= MOST_OWED {
            self.heal().await?;
        }
        Ok(())
    }

    /// Runs the engine until every copy that waits for it is there or cannot be placed now.
    pub(super) async fn heal(&mut self) -> Result<(), VerifyError> {
        while !self.owed.is_empty() {
            // In a box: it is a large future, and this one is part of others.
            while Box::pin(engine::round(self.app)).await {}
            for mut owed in std::mem::take(&mut self.owed) {
                match outcome(self.app, &mut owed).await? {
                    Some(outcome) => self.tell(owed.finding.with_outcome(outcome))?,
                    None => self.owed.push(owed),
                }
            }
            if !self.owed.is_empty() {
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
        }
        Ok(())
    }
}

/// What a remedy has begun.
enum Prepared {
    /// The engine is to place a copy; whether it may take it up now.
    Owed { object: ObjectId, is_due: bool },
    /// There is nothing to wait for.
    Done(Outcome),
}

/// Makes the record say what the engine has to do.
async fn prepare(
    app: &App,
    store: &GuardedStore,
    remedy: Remedy,
    detail: &str,
) -> Result<Prepared, CatalogError> {
    let name = store.name();
    let why = format!("{NOTE}{detail}");
    let (object, is_due, stepped) = match remedy {
        Remedy::Heal { object, .. } => {
            let (from, to) = (PlacementState::Present, PlacementState::Suspect);
            (
                object,
                true,
                step(app, name, object, (from, to), &why).await,
            )
        }
        Remedy::Place {
            object,
            is_gone: true,
        } => {
            let (from, to) = (PlacementState::Gone, PlacementState::Copying);
            (
                object,
                true,
                step(app, name, object, (from, to), &why).await,
            )
        }
        Remedy::Place { object, .. } => {
            let added = app
                .catalog
                .add_placement(object, name, app.clock.now())
                .await;
            (object, true, added.map(drop))
        }
        Remedy::Await { object } => (object, take_up(app, name, object).await?, Ok(())),
    };
    match stepped {
        // Somebody else has noticed too: what the record says now decides.
        Ok(()) | Err(CatalogError::Conflict(Conflict::PlacementMoved { .. })) => {}
        Err(CatalogError::NotFound(_)) => {
            return Ok(Prepared::Done(Outcome::repaired(DELETED_MEANWHILE)));
        }
        Err(error) => return Err(error),
    }
    if let Remedy::Heal {
        is_deleted: true, ..
    } = remedy
    {
        let done = "put down as doubted; it is healed if the object is restored";
        return Ok(Prepared::Done(Outcome::repaired(done)));
    }
    Ok(Prepared::Owed { object, is_due })
}

/// Has the engine take up now what it would try again later: what was in its way may have been
/// mended by hand. Whether it may; a copy that nothing has gone wrong with yet is being made.
async fn take_up(app: &App, store: &StoreName, object: ObjectId) -> Result<bool, CatalogError> {
    let row = placement(app, object, store).await?;
    let is_owed =
        |row: &PlacementRow| matches!(row.state, PlacementState::Copying | PlacementState::Suspect);
    let Some(row) = row.filter(is_owed) else {
        return Ok(false);
    };
    let Some(error) = &row.last_error else {
        return Ok(false);
    };
    // What bears the note was made due when it was put down, so somebody has it by now.
    if !error.starts_with(NOTE) {
        let (error, now) = (format!("{NOTE}{error}"), app.clock.now());
        app.catalog
            .postpone_placement(&row, &error, now, Duration::ZERO)
            .await?;
    }
    Ok(true)
}

async fn step(
    app: &App,
    store: &StoreName,
    object_id: ObjectId,
    (from, to): (PlacementState, PlacementState),
    error: &str,
) -> Result<(), CatalogError> {
    let step = PlacementStep {
        object_id,
        store,
        from,
        to,
        error: Some(error),
    };
    app.catalog.step_placement(step, app.clock.now()).await
}

async fn placement(
    app: &App,
    object: ObjectId,
    store: &StoreName,
) -> Result<Option<PlacementRow>, CatalogError> {
    let rows = app.catalog.placements_of(object).await?;
    Ok(rows.into_iter().find(|row| row.store == *store))
}

/// What became of a copy after the engine has done all that is due; none while another server is
/// at it.
async fn outcome(app: &App, owed: &mut Owed) -> Result<Option<Outcome>, CatalogError> {
    let Some(row) = placement(app, owed.object, &owed.store).await? else {
        return Ok(Some(Outcome::repaired(DELETED_MEANWHILE)));
    };
    match row.state {
        PlacementState::Present => return Ok(Some(Outcome::repaired("placed and read back"))),
        PlacementState::Retiring | PlacementState::Gone => {
            return Ok(Some(Outcome::repaired(DELETED_MEANWHILE)));
        }
        PlacementState::Copying | PlacementState::Suspect => {}
    }
    if row.last_error != owed.known_error {
        let why = row.last_error.unwrap_or_else(|| "still owed".to_owned());
        return Ok(Some(Outcome::not_repaired(why)));
    }
    if !owed.is_due {
        return Ok(Some(Outcome::not_repaired("the engine tries again later")));
    }
    let seen = match owed.next_attempt {
        Some(seen) if seen.0 == row.next_attempt_at => seen,
        _ => (row.next_attempt_at, Instant::now()),
    };
    owed.next_attempt = Some(seen);
    let patience = if row.next_attempt_at <= app.clock.now() {
        PATIENCE_WHILE_DUE
    } else {
        PATIENCE
    };
    let why = "nobody takes it up now; the engine tries again later";
    Ok((seen.1.elapsed() > patience).then(|| Outcome::not_repaired(why)))
}
