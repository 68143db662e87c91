//! The comparison of catalog, disk and bucket, byte by byte and version by version, once
//! everything has come to rest.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use stockroom::app::App;
use stockroom::workers::engine;
use stockroom_catalog::ObjectRow;
use stockroom_domain::{ObjectState, PlacementState, Sha256Digest, StoreName};
use tokio::time::Instant;

use crate::support::{Backend, STORE_ID, collect_files};
use crate::world::{Server, World};

/// How long everything may take to come to rest (invariant 6).
const PATIENCE: Duration = Duration::from_secs(60);

/// By how much the clock is set forward when the engine finds nothing to do.
const STEP: Duration = Duration::from_secs(180);

/// After this time the scrub looks at every copy again.
const MONTH: Duration = Duration::from_hours(31 * 24);

/// How a finding begins that says that the bucket keeps more than one version.
const VERSIONS: &str = "in the bucket, more versions";

/// What is true of the places where bytes lie, told by what is wrong there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing is owed any more, as far as the catalog knows.
    Placed,
    /// Everything was compared by hash, and nothing is there that should not be.
    Agreed,
}

/// Lets the engine work until this is reached, setting the clock forward meanwhile; how long it
/// took.
pub(crate) async fn settle(world: &World, server: &Server, rest: Rest, what: &str) -> Duration {
    let began = Instant::now();
    loop {
        server.idle().await;
        while engine::round(&server.app).await {}
        let wrong = match rest {
            Rest::Placed => owed(&server.app).await,
            Rest::Agreed => disagreements(world, &server.app).await,
        };
        if wrong.is_empty() {
            return began.elapsed();
        }
        assert!(
            began.elapsed() < PATIENCE,
            "{what}: after {PATIENCE:?} catalog, disk and bucket do not agree: {wrong:#?}"
        );
        // A request that lands late leaves the same bytes twice. That is the scrub's business.
        let only_versions = wrong.iter().all(|it| it.starts_with(VERSIONS));
        world
            .clock
            .advance(if only_versions { MONTH } else { STEP });
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The copies of live objects that are not present.
async fn owed(app: &App) -> Vec<String> {
    let owed = app.catalog.under_placed().await.unwrap();
    owed.iter().map(|owed| format!("{owed:?}")).collect()
}

/// Everything in which catalog, disk and bucket disagree.
async fn disagreements(world: &World, app: &App) -> Vec<String> {
    let mut wrong = Vec::new();
    let recorded = recorded(app).await;
    for object in &recorded {
        match object.state {
            ObjectState::Live => wrong.extend(owed_by(world, object)),
            state => wrong.push(format!("{} is {state:?} still", name(object))),
        }
    }
    if world.backend != Backend::S3 {
        compare_files(world, &recorded, &mut wrong);
        let staged = app.local.as_ref().unwrap().staged().await.unwrap();
        wrong.extend(staged.iter().map(|file| format!("staged: {file:?}")));
    }
    if world.backend != Backend::Local {
        compare_bucket(world, &recorded, &mut wrong);
    }
    wrong
}

/// All objects whose bytes should be somewhere.
pub(crate) async fn recorded(app: &App) -> Vec<ObjectRow> {
    let mut recorded = Vec::new();
    loop {
        let after = recorded.last().map(|object: &ObjectRow| object.id);
        let more = app.catalog.list_recorded(after, 1_000).await.unwrap();
        if more.is_empty() {
            return recorded;
        }
        recorded.extend(more);
    }
}

fn owed_by(world: &World, object: &ObjectRow) -> Option<String> {
    let stores: Vec<StoreName> = match world.backend {
        Backend::Local => vec![StoreName::LOCAL],
        Backend::S3 => vec![StoreName::S3],
        Backend::Hybrid => vec![StoreName::LOCAL, StoreName::S3],
    };
    let copies = &object.placements;
    let present = copies
        .iter()
        .filter(|copy| copy.state == PlacementState::Present)
        .map(|copy| &copy.store);
    let is_right = copies.len() == stores.len() && present.eq(&stores);
    (!is_right).then(|| format!("{} lies on {copies:?}", name(object)))
}

fn compare_files(world: &World, recorded: &[ObjectRow], wrong: &mut Vec<String>) {
    let root = world.uploads();
    let mut paths = Vec::new();
    collect_files(&root, &mut paths);
    let mut there: BTreeSet<String> = paths
        .iter()
        .map(|path| {
            path.strip_prefix(&root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .filter(|path| path != STORE_ID)
        .collect();
    for object in recorded {
        let location = object.location.as_str();
        let bytes = std::fs::read(root.join(location)).ok();
        wrong.extend(is_other(object, bytes.as_deref()).map(|how| format!("on disk {how}")));
        there.remove(location);
    }
    wrong.extend(there.iter().map(|path| format!("on disk, extra: {path}")));
}

fn compare_bucket(world: &World, recorded: &[ObjectRow], wrong: &mut Vec<String>) {
    let chaos = world.chaos();
    let mut visible: BTreeSet<String> = chaos.keys().into_iter().collect();
    visible.remove(STORE_ID);
    let mut versions = chaos.versions(STORE_ID).len();
    for object in recorded {
        let location = object.location.as_str();
        let bytes: Option<Bytes> = chaos.body(location);
        wrong.extend(is_other(object, bytes.as_deref()).map(|how| format!("in the bucket {how}")));
        let of_object = chaos.versions(location).len();
        if of_object > 1 {
            wrong.push(format!("{VERSIONS} ({of_object}): {}", name(object)));
        }
        versions += of_object;
        visible.remove(location);
    }
    wrong.extend(
        visible
            .iter()
            .map(|key| format!("in the bucket, extra: {key}")),
    );
    let hidden = chaos.all_version_count() - versions - visible.len();
    if hidden > 0 {
        wrong.push(format!("in the bucket {hidden} versions that nobody sees"));
    }
    let unfinished = chaos.unfinished_uploads();
    wrong.extend(
        unfinished
            .iter()
            .map(|upload| format!("in the bucket, unfinished: {upload:?}")),
    );
}

/// How the bytes at an object's place differ from those that were recorded.
fn is_other(object: &ObjectRow, bytes: Option<&[u8]>) -> Option<String> {
    let Some(bytes) = bytes else {
        return Some(format!("missing: {}", name(object)));
    };
    (Sha256Digest::of(bytes) != object.sha256)
        .then(|| format!("other bytes ({}): {}", bytes.len(), name(object)))
}

fn name(object: &ObjectRow) -> String {
    format!(
        "{} at {} ({} bytes)",
        object.key, object.location, object.size_bytes
    )
}

/// What lies where, to see that it stays so.
pub(crate) fn snapshot(world: &World) -> BTreeMap<String, usize> {
    let mut all = BTreeMap::new();
    let mut paths = Vec::new();
    collect_files(&world.uploads(), &mut paths);
    for path in paths {
        all.insert(path.display().to_string(), 1);
    }
    if let Some(chaos) = &world.chaos {
        for key in chaos.keys() {
            all.insert(format!("bucket: {key}"), chaos.versions(&key).len());
        }
        all.insert("bucket: all versions".to_owned(), chaos.all_version_count());
    }
    all
}
