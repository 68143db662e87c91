//! Identity: whether a store is the one this catalog knows.
//!
//! At first use an object with a random id is written into each store, and the id is noted in the
//! catalog. A folder that is not mounted, a bucket of the test system, or a database that was
//! restored elsewhere do not match, and nothing is written to or deleted from such a store.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use stockroom_catalog::{Catalog, CatalogError};
use stockroom_domain::{Category, Key, StoreName};
use stockroom_storage::{Error, GuardedStore, Identity, Store, WriteOptions};

use crate::app::App;

/// The segment after the category below which Stockroom keeps what is its own.
pub const OWN_SEGMENT: &str = ".stockroom";

/// How long a look may take. A store that does not answer is looked at again later.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often a store of somebody else is looked at again.
const FOREIGN_INTERVAL: Duration = Duration::from_secs(30);

/// How many recorded copies are looked for in a store without an id.
const LOOKUPS: u32 = 100;

/// The id object's content.
#[derive(Debug, Serialize, Deserialize)]
struct Label {
    store_id: String,
    /// For people who look: what this object is.
    about: String,
}

/// What the look at a store showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It carries the id that the catalog knows, now if not before.
    Ours,
    /// It is another store, for this reason.
    Foreign(&'static str),
}

/// How the id in a store and the one in the catalog compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// They are the same.
    Ours,
    /// The store carries none, and no copy is recorded there that would say that it should. It
    /// may be given one.
    Unlabelled {
        /// The id that the catalog has for it.
        recorded: Option<String>,
    },
    /// It is another store, for this reason.
    Foreign(&'static str),
}

/// Why nothing is known of a store's identity.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The store did not tell.
    #[error("{0}")]
    Store(#[from] Error),
    /// The catalog did not tell.
    #[error("{0}")]
    Catalog(#[from] CatalogError),
}

/// Why a store cannot be taken over.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// Nothing is known of it, or nothing could be written down.
    #[error("{0}")]
    Look(#[from] LookError),
    /// The record knows it by another name. Under two names it would be emptied when it is freed
    /// under one of them.
    #[error("it is the store {0} as well")]
    Taken(StoreName),
}

/// Whether bytes may be deleted from the store now.
#[must_use]
pub fn may_delete(store: &GuardedStore) -> bool {
    store.identity() == Identity::Ours && store.is_available()
}

/// The key of the id object; also what tells whether a store answers.
#[must_use]
#[expect(
    clippy::expect_used,
    reason = "two segments without special signs make a key"
)]
pub fn label_key() -> Key {
    Key::new(Category::Models, &format!("{OWN_SEGMENT}/store-id")).expect("a valid key")
}

/// Looks at every store that is not known to be this catalog's own. A foreign one is looked at
/// again too, because an operator may have mended or accepted it since.
pub async fn settle_all(app: &App) {
    let looks_again = app
        .foreign_looked_at
        .is_due(app.clock.now(), FOREIGN_INTERVAL);
    let unsettled = app.stores.iter().filter(|store| match store.identity() {
        Identity::Ours => false,
        Identity::Unknown => store.is_available(),
        Identity::Foreign => looks_again,
    });
    // One after the other: if two names lead to the same bucket, the second look has to find the id
    // that the first one wrote.
    for store in unsettled {
        settle(app, store).await;
    }
}

/// Looks at a store and tells its guard what was seen.
pub async fn settle(app: &App, store: &GuardedStore) {
    let outcome = match tokio::time::timeout(PATIENCE, look(app, store)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            tracing::warn!(store = %store.name(), "the store does not tell its id in time");
            return;
        }
    };
    match outcome {
        Ok(Verdict::Ours) => {
            if store.identity() == Identity::Foreign {
                tracing::info!(store = %store.name(), "the store is our own again");
            }
            store.set_identity(Identity::Ours);
        }
        Ok(Verdict::Foreign(reason)) => {
            if store.identity() != Identity::Foreign {
                tracing::error!(store = %store.name(), reason, "nothing is written to this store");
            }
            store.set_identity(Identity::Foreign);
        }
        Err(error) => {
            tracing::warn!(store = %store.name(), %error, "the store's id is not known yet");
        }
    }
}

/// Compares the id in the store with that in the catalog; at first use, writes both.
///
/// # Errors
/// When the store or the catalog does not tell.
pub async fn look(app: &App, store: &GuardedStore) -> Result<Verdict, LookError> {
    let name = store.name();
    let recorded = match compare(&app.catalog, store).await? {
        Comparison::Ours => return Ok(Verdict::Ours),
        Comparison::Foreign(reason) => return Ok(Verdict::Foreign(reason)),
        Comparison::Unlabelled { recorded } => recorded,
    };
    let id = match recorded {
        Some(id) => id,
        None => first_id(app, name).await?,
    };
    write_label(store, &id).await?;
    Ok(Verdict::Ours)
}

/// Compares the id in a store with that in the catalog, and changes neither.
///
/// # Errors
/// When the store or the catalog does not tell.
pub async fn compare(catalog: &Catalog, store: &dyn Store) -> Result<Comparison, LookError> {
    let name = store.name();
    // In this order, because a server that begins with a store notes the id before it writes it.
    let found = read_label(store).await?;
    let recorded = catalog.store_id(name).await?;
    match (recorded, found) {
        (Some(recorded), Some(found)) if recorded == found => Ok(Comparison::Ours),
        (Some(_), Some(_)) => Ok(Comparison::Foreign(
            "it carries the id of another store than the database knows",
        )),
        (None, Some(_)) => Ok(Comparison::Foreign(
            "it carries an id, and the database knows of none: it belongs to another database",
        )),
        (_, None) if catalog.has_copies(name).await? => {
            // Another server may have begun with the store and put a copy there just now, so both
            // are asked once more, in the same order.
            let found = read_label(store).await?;
            let recorded = catalog.store_id(name).await?;
            if found.is_some() && found == recorded {
                return Ok(Comparison::Ours);
            }
            // The id was noted, and the disk was full or the server died before it was written; or
            // the copies are from a version that wrote none.
            if found.is_none() && holds_a_copy(catalog, store).await? {
                return Ok(Comparison::Unlabelled { recorded });
            }
            Ok(Comparison::Foreign(
                "copies are recorded there and it carries no id: it was emptied, or is not mounted",
            ))
        }
        (recorded, None) => Ok(Comparison::Unlabelled { recorded }),
    }
}

/// Takes a store over: from now on it is the one that the catalog knows. What it holds is
/// compared with the record by a verification, not here.
///
/// # Errors
/// When the store or the catalog fails, or the store has another name, too.
pub async fn accept(app: &App, store: &GuardedStore) -> Result<(), AcceptError> {
    let name = store.name();
    store.set_identity(Identity::Unknown);
    match read_label(store).await.map_err(LookError::from)? {
        Some(found) => adopt(app, name, &found).await?,
        None => {
            let id = first_id(app, name).await.map_err(LookError::from)?;
            write_label(store, &id).await.map_err(LookError::from)?;
        }
    }
    store.set_identity(Identity::Ours);
    Ok(())
}

async fn adopt(app: &App, name: &StoreName, found: &str) -> Result<(), AcceptError> {
    let others = app.stores.iter().map(|store| store.name());
    for other in others.filter(|other| *other != name) {
        let id = app.catalog.store_id(other).await.map_err(LookError::from)?;
        if id.as_deref() == Some(found) {
            return Err(AcceptError::Taken(other.clone()));
        }
    }
    let adopted = app.catalog.adopt_store_id(name, found).await;
    Ok(adopted.map_err(LookError::from)?)
}

/// The id that the catalog has for a store, made now if there is none.
async fn first_id(app: &App, name: &StoreName) -> Result<String, CatalogError> {
    let proposed = format!("str_{}", hex::encode(app.entropy.bytes::<16>()));
    app.catalog.settle_store_id(name, &proposed).await
}

async fn read_label(store: &dyn Store) -> Result<Option<String>, Error> {
    let read = match store.get(&label_key(), None).await {
        Ok(read) => read.bytes().await?,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    // A damaged label is none: then the copies there tell whose store it is.
    let label: Option<Label> = serde_json::from_slice(&read).ok();
    Ok(label.map(|label| label.store_id))
}

/// Whether one of the copies that are recorded on the store lies there, whole or not.
async fn holds_a_copy(catalog: &Catalog, store: &dyn Store) -> Result<bool, LookError> {
    let recorded = catalog.list_recorded(None, LOOKUPS).await?;
    let here = recorded.iter().filter(|object| {
        object
            .placements
            .iter()
            .any(|placement| placement.store == *store.name() && placement.state.is_readable())
    });
    for object in here {
        if store.exists(&object.location).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Past the guard, which refuses to write to a store that was foreign a moment ago.
async fn write_label(store: &GuardedStore, id: &str) -> Result<(), Error> {
    let label = Label {
        store_id: id.to_owned(),
        about: "This store belongs to a Stockroom, which knows it by this id.".to_owned(),
    };
    // A label is two texts, which JSON can always hold.
    let bytes = serde_json::to_vec_pretty(&label).unwrap_or_default();
    let options = WriteOptions {
        content_type: Some("application/json".to_owned()),
        ..WriteOptions::default()
    };
    store
        .inner()
        .put(&label_key(), Bytes::from(bytes), options)
        .await?;
    // Seen, not believed; and the guard knows by it how the store is doing.
    store.head(&label_key()).await.map(drop)
}
