//! The record against the stores: are the files there that the database says are there?

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt as _, stream};
use stockroom_catalog::{Catalog, CatalogError, ObjectRow, Page};
use stockroom_domain::{Entropy, KeyPrefix, ObjectState, PlacementState, StoreName};
use stockroom_storage::{LocalOptions, LocalStore, S3Store, Store};

use super::Surroundings;
use super::finding::{Finding, clause};

/// The first objects by key are always looked at, and as many more at random.
const FIRST: usize = 20;
const RANDOM: usize = 20;

/// How many pages of the record the random ones are drawn from.
const MAX_PAGES: usize = 50;

/// How many requests are under way at once.
const AT_ONCE: usize = 8;

/// The stores that can be looked into.
pub(super) struct Stores {
    open: BTreeMap<StoreName, Arc<dyn Store>>,
    /// Those that are not the ones of the record; what they hold says nothing about it.
    foreign: BTreeSet<StoreName>,
}

impl Stores {
    /// The buckets, and the folder where a store was made in it: opening one makes folders.
    pub(super) fn open(
        dir: &Path,
        buckets: Vec<Arc<S3Store>>,
        surroundings: &Surroundings,
    ) -> Self {
        let mut open = BTreeMap::new();
        for s3 in buckets {
            open.insert(s3.name().clone(), s3 as Arc<dyn Store>);
        }
        let options = LocalOptions::default()
            .clock(Arc::clone(surroundings.clock))
            .entropy(Arc::clone(surroundings.entropy));
        if dir.join("models").is_dir()
            && let Ok(local) = LocalStore::open(dir, options)
        {
            open.insert(local.name().clone(), Arc::new(local) as Arc<dyn Store>);
        }
        Self {
            open,
            foreign: BTreeSet::new(),
        }
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<dyn Store>> {
        self.open.values().cloned().collect()
    }

    /// Takes one out that is somebody else's.
    pub(super) fn disown(&mut self, name: &StoreName) {
        self.open.remove(name);
        self.foreign.insert(name.clone());
    }
}

/// One copy that should be there.
struct Recorded {
    object: ObjectRow,
    store: Arc<dyn Store>,
}

/// What a look for a copy showed.
enum Look {
    /// It is there, or nobody expects it there any more.
    Fine,
    /// It is not there, or not whole.
    Wrong(Finding),
    /// The store does not tell.
    Unknown { store: StoreName, why: String },
}

/// Looks for a sample of the recorded objects on their stores.
pub(super) async fn examine(
    catalog: &Catalog,
    stores: &Stores,
    entropy: &Arc<dyn Entropy>,
    findings: &mut Vec<Finding>,
) {
    let objects = match sample(catalog, &**entropy).await {
        Ok(objects) => objects,
        Err(error) => {
            findings.push(Finding::error(
                "database.unreadable",
                format!("The record cannot be read: {error}."),
                "Check the disk of the database; restore a backup if the database is damaged.",
            ));
            return;
        }
    };
    let (copies, out_of_reach) = copies_of(objects, stores);
    let mut looks = stream::iter(copies)
        .map(|copy| look(catalog, copy))
        .buffered(AT_ONCE);
    let mut fine = 0;
    let mut wrong = 0;
    let mut unknown: BTreeMap<StoreName, (usize, String)> = BTreeMap::new();
    while let Some(look) = looks.next().await {
        match look {
            Look::Fine => fine += 1,
            Look::Wrong(finding) => {
                wrong += 1;
                findings.push(finding);
            }
            Look::Unknown { store, why } => unknown.entry(store).or_insert((0, why)).0 += 1,
        }
    }
    if fine > 0 && wrong == 0 {
        findings.push(Finding::ok(
            "objects",
            format!("{fine} recorded copies were looked for, and all are there."),
        ));
    }
    for (store, (count, why)) in unknown {
        findings.push(Finding::warning(
            "object.unknown",
            format!("Whether {count} recorded copies are on {store} cannot be told: {why}."),
            "Mend what the other findings say, then run doctor again.",
        ));
    }
    for (store, count) in out_of_reach {
        findings.push(unseen(&store, count));
    }
}

/// Some live objects: the first ones, and others at random from the pages behind them.
async fn sample(catalog: &Catalog, entropy: &dyn Entropy) -> Result<Vec<ObjectRow>, CatalogError> {
    let mut first = Vec::new();
    let mut random = Vec::new();
    let mut seen: u64 = 0;
    let mut page = Page::first(Page::MAX_LIMIT);
    for _ in 0..MAX_PAGES {
        let listed = catalog.list_objects(&KeyPrefix::all(), &page).await?;
        for object in listed.items {
            if first.len() < FIRST {
                first.push(object);
                continue;
            }
            // Each object seen so far is kept with the same chance (reservoir sampling).
            seen += 1;
            if random.len() < RANDOM {
                random.push(object);
                continue;
            }
            let drawn = u64::from_le_bytes(entropy.bytes()) % seen;
            if let Some(kept) = usize::try_from(drawn)
                .ok()
                .and_then(|at| random.get_mut(at))
            {
                *kept = object;
            }
        }
        page.after = listed.next;
        if page.after.is_none() {
            break;
        }
    }
    first.append(&mut random);
    Ok(first)
}

/// The copies that should be there, and how many of them are on stores that cannot be looked into.
fn copies_of(
    objects: Vec<ObjectRow>,
    stores: &Stores,
) -> (Vec<Recorded>, BTreeMap<StoreName, usize>) {
    let mut copies = Vec::new();
    let mut out_of_reach = BTreeMap::new();
    for object in objects {
        for placement in &object.placements {
            let is_foreign = stores.foreign.contains(&placement.store);
            if placement.state != PlacementState::Present || is_foreign {
                continue;
            }
            match stores.open.get(&placement.store) {
                Some(store) => copies.push(Recorded {
                    object: object.clone(),
                    store: Arc::clone(store),
                }),
                None => *out_of_reach.entry(placement.store.clone()).or_insert(0) += 1,
            }
        }
    }
    (copies, out_of_reach)
}

async fn look(catalog: &Catalog, copy: Recorded) -> Look {
    let Recorded { object, store } = copy;
    let (key, name) = (&object.key, store.name());
    match store.head(&object.location).await {
        Ok(info) if info.size_bytes == object.size_bytes => Look::Fine,
        Ok(info) => Look::Wrong(Finding::error(
            "object.wrong-size",
            format!(
                "{key} has {} bytes on {name}, and {} in the record.",
                info.size_bytes, object.size_bytes
            ),
            "Run stockroom verify --repair, which replaces it from the other store if it is whole \
             there; else put it back from a backup.",
        )),
        Err(error) if error.is_not_found() => {
            // The server may have deleted it since the record was read.
            if !is_still_expected(catalog, &object, name).await {
                return Look::Fine;
            }
            let location = &object.location;
            Look::Wrong(Finding::error(
                "object.missing",
                format!("{key} is recorded on {name} and is not there (at {location})."),
                "Run stockroom verify --repair, which puts it back from the other store if it is \
                 there; else put it back from a backup. Then find out what deleted it, such as a \
                 lifecycle rule of the bucket.",
            ))
        }
        Err(error) => Look::Unknown {
            store: name.clone(),
            why: clause(error.detail()).to_owned(),
        },
    }
}

async fn is_still_expected(catalog: &Catalog, object: &ObjectRow, store: &StoreName) -> bool {
    match catalog.find_object_by_id(object.id).await {
        Ok(Some(now)) => {
            let placements = &now.object.placements;
            now.object.state == ObjectState::Live
                && placements
                    .iter()
                    .any(|it| it.store == *store && it.state == PlacementState::Present)
        }
        Ok(None) => false,
        // What was read a moment ago is the best that is known.
        Err(_) => true,
    }
}

fn unseen(store: &StoreName, count: usize) -> Finding {
    if *store == StoreName::LOCAL {
        Finding::error(
            "storage.missing",
            format!(
                "{count} recorded copies should be in STORAGE_DIR, and no store can be opened there."
            ),
            "Mount the disk, or set STORAGE_DIR to the folder that holds models and images; the user \
             that runs Stockroom must be able to write it.",
        )
    } else {
        Finding::warning(
            "object.unseen",
            format!("{count} recorded copies on {store} were not looked for."),
            "Mend what the other findings say of this store, or set it up, then run doctor again.",
        )
    }
}
