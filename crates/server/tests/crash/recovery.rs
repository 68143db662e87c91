//! What is left after a process ended: the next one cleans up, and then everything is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chaos_s3::ChaosS3;
use futures::TryStreamExt as _;
use stockroom::app::App;
use stockroom::flows::deliver::{self, Recorded};
use stockroom::workers::engine;
use stockroom_catalog::{ObjectRow, Page};
use stockroom_domain::{Category, Key, KeyPrefix, PlacementState, Sha256Digest};

use crate::scenario::Readable;
use crate::site::{Mode, Site};
use crate::template::{BASE, LARGE, NEXT, SHELF, Template};

/// What is wrong after the recovery.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// Objects that should be there, or should not, or are not whole.
    pub(crate) lost: Vec<String>,
    /// Bytes and rows that belong to nothing.
    pub(crate) orphans: Vec<String>,
    /// What else is not as it should be.
    pub(crate) wrong: Vec<String>,
}

impl Findings {
    pub(crate) fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.orphans.is_empty() && self.wrong.is_empty()
    }
}

/// Where a store keeps what says whose it is.
const STORE_ID: &str = "models/.stockroom/store-id";

/// How far ahead the next process looks, one look after the other: leases and grace periods are
/// over by then, and so is the hour after which what is gone is looked at once more.
const LOOKS: [Duration; 2] = [Duration::from_hours(2), Duration::from_hours(4)];

/// Lets the next process clean up, and then looks at everything.
pub(crate) async fn recover(site: &Site, template: &Template, allowed: &[Readable]) -> Findings {
    let (app, clock) = site.assemble().await;
    for look in LOOKS {
        clock.set_forward(look);
        if let Some(chaos) = &site.chaos {
            // A bucket refuses requests from a clock that is not near its own.
            chaos.set_clock_skew(look.as_secs().cast_signed());
        }
        run_engine(&app).await;
        // A copy that is damaged is found by whoever reads it, and healed by the next look.
        for object in live_objects(&app).await {
            let _seen_below = read(&app, &object).await;
        }
        run_engine(&app).await;
    }
    let mut findings = Findings::default();
    let objects = live_objects(&app).await;
    look_at_objects(&app, site, template, &objects, allowed, &mut findings).await;
    look_at_stores(&app, site, &objects, &mut findings).await;
    look_at_rows(&app, template, &objects, &mut findings).await;
    app.catalog.close().await;
    findings
}

async fn run_engine(app: &App) {
    // An engine that always finds something to do never ends its work.
    for _ in 0..50 {
        let did_something = engine::round(app).await;
        while !app.tasks.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        if !did_something {
            return;
        }
    }
    panic!("the engine does not come to an end");
}

async fn live_objects(app: &App) -> Vec<ObjectRow> {
    let all: KeyPrefix = "".parse().unwrap();
    let page = Page {
        limit: 1_000,
        after: None,
    };
    app.catalog.list_objects(&all, &page).await.unwrap().items
}

/// Every live object is read to its end, and together they are what may be there.
async fn look_at_objects(
    app: &App,
    site: &Site,
    template: &Template,
    objects: &[ObjectRow],
    allowed: &[Readable],
    findings: &mut Findings,
) {
    let bytes = &template.bytes;
    let keys = BTreeMap::from([
        (Sha256Digest::of(&bytes.base), BASE),
        (Sha256Digest::of(&bytes.shelf), SHELF),
        (Sha256Digest::of(&bytes.new), SHELF),
        (Sha256Digest::of(&bytes.next), NEXT),
        (Sha256Digest::of(&bytes.large), LARGE),
    ]);
    let mut readable = Readable::new();
    for object in objects {
        let key = &object.key;
        match read(app, object).await {
            Ok(body) => {
                let sha256 = Sha256Digest::of(&body);
                if sha256 != object.sha256 {
                    findings.lost.push(format!("{key} has other bytes"));
                }
                if keys
                    .get(&sha256)
                    .is_some_and(|known| *known != key.as_str())
                {
                    findings.lost.push(format!("{key} has those of another"));
                }
                if !readable.insert(sha256) {
                    findings.orphans.push(format!("{key} is there twice"));
                }
            }
            Err(error) => findings.lost.push(format!("{key}: {error}")),
        }
        let states: Vec<_> = object.placements.iter().map(|it| it.state).collect();
        let wanted = vec![PlacementState::Present; 1 + usize::from(site.mode == Mode::Hybrid)];
        if states != wanted {
            findings.lost.push(format!("{key} is owed: {states:?}"));
        }
    }
    if !allowed.contains(&readable) {
        let found: Vec<_> = objects.iter().map(|object| object.key.as_str()).collect();
        findings.lost.push(format!("readable is {found:?}"));
    }
}

async fn read(app: &App, object: &ObjectRow) -> Result<Bytes, String> {
    let details = app.catalog.find_object_by_id(object.id).await.unwrap();
    let details = details.ok_or("the row is gone")?;
    let mut read = deliver::open(app, Recorded::from(&details), None)
        .await
        .map_err(|error| error.to_string())?;
    let mut body = BytesMut::new();
    while let Some(piece) = read
        .stream
        .try_next()
        .await
        .map_err(|error| error.to_string())?
    {
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

/// Every live object lies whole on every store of the mode, in one version, and nothing else does.
async fn look_at_stores(app: &App, site: &Site, objects: &[ObjectRow], findings: &mut Findings) {
    if site.mode.has_folder() {
        let files = site.files();
        let found = files.into_iter().map(|(name, body)| (name, body, 1));
        compare(app, "folder", found, objects, findings).await;
    }
    if let Some(chaos) = &site.chaos {
        let contents = bucket_contents(chaos);
        let visible: usize = contents.iter().map(|(_, _, versions)| versions).sum();
        let hidden = chaos.all_version_count() - visible;
        if hidden > 0 {
            findings.orphans.push(format!("{hidden} hidden versions"));
        }
        for upload in chaos.unfinished_uploads() {
            let text = format!("bucket: unfinished upload of {}", upload.key);
            findings.orphans.push(text);
        }
        compare(app, "bucket", contents.into_iter(), objects, findings).await;
    }
}

/// The visible objects of a bucket, with how many versions each has.
fn bucket_contents(chaos: &ChaosS3) -> Vec<(String, Bytes, usize)> {
    let keys = chaos.keys().into_iter();
    keys.filter_map(|key| {
        let (body, versions) = (chaos.body(&key)?, chaos.versions(&key).len());
        Some((key, body, versions))
    })
    .collect()
}

async fn compare(
    app: &App,
    store: &str,
    found: impl Iterator<Item = (String, Bytes, usize)>,
    objects: &[ObjectRow],
    findings: &mut Findings,
) {
    let mut owed: BTreeMap<&str, Sha256Digest> = objects
        .iter()
        .map(|object| (object.location.as_str(), object.sha256))
        .collect();
    for (name, body, versions) in found {
        match owed.remove(name.as_str()) {
            _ if name == STORE_ID => {}
            Some(sha256) if sha256 != Sha256Digest::of(&body) => {
                findings.lost.push(format!("{store}: {name} is damaged"));
            }
            Some(_) if versions > 1 => {
                let text = format!("{store}: {name} has {versions} versions");
                findings.orphans.push(text);
            }
            Some(_) => {}
            None => {
                let row = row_at(app, &name).await;
                findings.orphans.push(format!("{store}: {name}, {row}"));
            }
        }
    }
    for name in owed.keys() {
        findings.lost.push(format!("{store}: {name} is missing"));
    }
}

/// What the catalog knows of a location, for people who read a failure.
async fn row_at(app: &App, location: &str) -> String {
    let Ok(location) = location.parse::<Key>() else {
        return "which is no key".to_owned();
    };
    let now = app.clock.now();
    let rows = app.catalog.objects_at(&[location], now).await.unwrap();
    match rows.first() {
        Some(row) => format!(
            "{:?}, leased {}, {:?}",
            row.state, row.is_leased, row.placements
        ),
        None => "of which there is no row".to_owned(),
    }
}

/// No row waits for anything any more, and every file of the model has its object.
async fn look_at_rows(
    app: &App,
    template: &Template,
    objects: &[ObjectRow],
    findings: &mut Findings,
) {
    // A tombstone is looked at again an hour later, which only a folder's clock reaches here.
    let now = app.clock.now();
    let due = app.catalog.claim_tombstones(now, now, 1_000).await.unwrap();
    for upload in due {
        findings.orphans.push(format!("row of {}", upload.location));
    }
    let after = app.catalog.list_recorded(None, 1_000).await.unwrap();
    for object in after
        .iter()
        .filter(|row| !objects.iter().any(|it| it.id == row.id))
    {
        findings
            .orphans
            .push(format!("row of {} in {:?}", object.key, object.state));
    }
    let page = Page {
        limit: 1_000,
        after: None,
    };
    let assets = app
        .catalog
        .list_assets(template.model, true, &page)
        .await
        .unwrap();
    let of_assets: BTreeSet<_> = assets.items.iter().map(|asset| asset.object.id).collect();
    let of_model: BTreeSet<_> = objects
        .iter()
        .filter(|object| object.key.category() == Category::Models)
        .map(|object| object.id)
        .collect();
    if of_assets != of_model {
        findings
            .lost
            .push("files and objects of the model differ".to_owned());
    }
}
