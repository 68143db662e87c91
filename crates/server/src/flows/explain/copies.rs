//! The sixth link: do the bytes lie where they should?

use std::sync::Arc;

use stockroom_catalog::ObjectRow;
use stockroom_domain::StoreName;
use stockroom_storage::{Error, ErrorKind, GuardedStore, Store as _};
use tokio::time::timeout;

use super::Surroundings;
use super::chain::Outcome;
use crate::doctor::finding::{Finding, clause};
use crate::doctor::identity;
use crate::flows::prove::{is_wrong, prove};
use crate::workers::identity::{Comparison, compare};

/// What to do when the bucket lists its files and lets nobody read them.
const MAY_READ: &str = "Give the key in S3_KEY_ID the right to read (readFiles); stockroom doctor \
    looks closer.";

/// What a look at one copy showed.
enum Copy {
    /// It is there, and as far as it was looked at it is well.
    Well(String),
    /// It is not there, or not what was recorded.
    Wrong(String),
    /// The store does not tell.
    Unknown { why: String, fix: Option<String> },
}

/// Looks at each copy that a download may read.
pub(super) async fn examine(surroundings: &Surroundings<'_>, object: &ObjectRow) -> Outcome {
    let mut copies = Vec::new();
    for placement in &object.placements {
        let store = surroundings.app.store(&placement.store);
        if let Some(store) = store.filter(|_| placement.state.is_readable()) {
            let copy = look(surroundings, &store, object).await;
            copies.push((placement.store.clone(), copy));
        }
    }
    judge(object, &copies)
}

async fn look(
    surroundings: &Surroundings<'_>,
    store: &Arc<GuardedStore>,
    object: &ObjectRow,
) -> Copy {
    let size_bytes = object.size_bytes;
    let patience = surroundings.question.patience;
    let unanswered = || format!("there was no answer within {} s", patience.as_secs());
    if surroundings.is_silent(store.name()) {
        return silent(unanswered());
    }
    match timeout(patience, store.head(&object.location)).await {
        Ok(Ok(info)) if info.size_bytes == size_bytes => {}
        Ok(Ok(info)) => {
            let found = info.size_bytes;
            return Copy::Wrong(format!("has {found} bytes in place of {size_bytes}"));
        }
        Ok(Err(error)) => return failed(surroundings, store, &error).await,
        Err(_elapsed) => {
            surroundings.note_silent(store.name());
            return silent(unanswered());
        }
    }
    let Some(max_bytes) = surroundings.question.max_read_bytes else {
        return Copy::Well(format!("is there with {size_bytes} bytes"));
    };
    if !surroundings.may_read(max_bytes, size_bytes) {
        return Copy::Well(format!(
            "is there with {size_bytes} bytes, and was not read: one question reads at most \
             {max_bytes} bytes"
        ));
    }
    match prove(surroundings.app, &**store, object, |_| ()).await {
        Ok(()) => Copy::Well("was read and has the recorded SHA-256".to_owned()),
        Err(error) => failed(surroundings, store, &error).await,
    }
}

async fn failed(surroundings: &Surroundings<'_>, store: &GuardedStore, error: &Error) -> Copy {
    let detail = clause(error.detail()).to_owned();
    match error.kind() {
        ErrorKind::NotFound => match foreign(surroundings, store).await {
            Some(finding) => told(finding),
            None => Copy::Wrong("is not there".to_owned()),
        },
        _ if is_wrong(error) => Copy::Wrong(format!("is damaged: {detail}")),
        ErrorKind::Denied if *error.store() != StoreName::LOCAL => {
            let refusal = match surroundings.way(error.store()) {
                Some(way) => way.refusal().await,
                None => None,
            };
            match refusal {
                Some(finding) => told(finding),
                None => Copy::Unknown {
                    why: detail,
                    fix: Some(MAY_READ.to_owned()),
                },
            }
        }
        ErrorKind::Denied => Copy::Unknown {
            why: detail,
            fix: Some("Let the user who runs Stockroom read everything in STORAGE_DIR.".to_owned()),
        },
        _ => silent(detail),
    }
}

/// A disk that is not mounted, and a bucket of somebody else, have nothing of ours in them.
async fn foreign(surroundings: &Surroundings<'_>, store: &GuardedStore) -> Option<Finding> {
    let name = store.name();
    let mut known = surroundings.foreign.lock().await;
    if let Some(finding) = known.get(name) {
        return finding.clone();
    }
    let comparison = compare(&surroundings.app.catalog, store);
    let finding = match timeout(surroundings.question.patience, comparison).await {
        Ok(Ok(Comparison::Foreign(reason))) => Some(identity::foreign(name, reason)),
        // As far as anybody can tell it is ours.
        Ok(Ok(Comparison::Ours | Comparison::Unlabelled { .. }) | Err(_)) | Err(_) => None,
    };
    known.insert(name.clone(), finding.clone());
    finding
}

/// The store does not tell, for a reason that doctor knows.
fn told(finding: Finding) -> Copy {
    Copy::Unknown {
        why: clause(&finding.sentence).to_owned(),
        fix: finding.fix,
    }
}

/// The store does not tell, and may do so in a moment.
const fn silent(why: String) -> Copy {
    Copy::Unknown { why, fix: None }
}

fn judge(object: &ObjectRow, copies: &[(StoreName, Copy)]) -> Outcome {
    let said = |(store, copy): &(StoreName, Copy)| match copy {
        Copy::Well(what) | Copy::Wrong(what) => format!("The copy on {store} {what}."),
        Copy::Unknown { why, .. } => format!("Whether {store} has it cannot be told: {why}."),
    };
    let detail = copies.iter().map(said).collect::<Vec<_>>().join(" ");
    let all_well = copies.iter().all(|(_, copy)| matches!(copy, Copy::Well(_)));
    // One copy that is well is enough: reads go on from it.
    let any_well = copies.iter().any(|(_, copy)| matches!(copy, Copy::Well(_)));
    let any_wrong = copies
        .iter()
        .any(|(_, copy)| matches!(copy, Copy::Wrong(_)));
    let unknown = copies.iter().find_map(|(_, copy)| match copy {
        Copy::Unknown { fix, .. } => Some(fix.clone()),
        _ => None,
    });
    if copies.is_empty() {
        Outcome::skipped("There is no copy to look at.")
    } else if all_well {
        Outcome::ok(detail)
    } else if any_well && any_wrong {
        Outcome::warning(
            detail,
            "Run stockroom verify --repair, which replaces the copy that is wrong; downloads read \
             the other one meanwhile.",
        )
    } else if any_well {
        let fix = unknown.flatten().unwrap_or_else(|| {
            "Run stockroom doctor, which finds why a store does not answer; downloads read the \
             copy that is well meanwhile."
                .to_owned()
        });
        Outcome::warning(detail, fix)
    } else if let Some(fix) = unknown {
        let fix = fix.unwrap_or_else(|| {
            "Ask the buyer to try again in some minutes; if it stays so, stockroom doctor finds \
             why the store does not answer."
                .to_owned()
        });
        Outcome::unknown(detail, fix)
    } else {
        Outcome::broken(
            detail,
            format!(
                "Put the file back at {} from a backup, or have the artist upload it again; \
                 stockroom verify shows what else is gone.",
                object.location
            ),
        )
    }
}
