//! What is in the record, in the bucket and on the disk after a migration, compared with what clients
//! know.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use stockroom::app::App;
use stockroom_catalog::{ObjectRow, Page};
use stockroom_domain::{PlacementState, Sha256Digest, StoreName};

use crate::business::Business;
use crate::place::Place;

/// How far ahead is looked, one time after the other: leases and grace periods are over by then, and so
/// is the hour after which what is gone is looked at once more.
const LOOKS: [Duration; 2] = [Duration::from_hours(2), Duration::from_hours(4)];

/// Cleans up as a later engine would, and compares everything. Each live object lies in the bucket once,
/// and nothing else does; nothing lies on the disk.
pub(crate) async fn judge(place: &Place, business: &Business) {
    for look in LOOKS {
        // A bucket refuses requests from a clock that is not near its own.
        place.s3().set_clock_skew(look.as_secs().cast_signed());
        place.later(look).await;
    }
    place.s3().set_clock_skew(0);
    let app = place.app(Duration::ZERO).await;
    let objects = live_objects(&app).await;
    app.catalog.close().await;

    let expected: BTreeMap<String, Sha256Digest> = business
        .settled()
        .into_iter()
        .filter_map(|(key, content)| Some((key, content?)))
        .collect();
    let recorded: BTreeMap<String, Sha256Digest> = objects
        .iter()
        .map(|object| (object.key.to_string(), object.sha256))
        .collect();
    assert_same(&expected, &recorded);
    for object in &objects {
        assert_in_bucket(place, object);
    }
    assert_nothing_else(place, &objects);
}

/// The record has what was acknowledged, and nothing that was deleted.
fn assert_same(
    expected: &BTreeMap<String, Sha256Digest>,
    recorded: &BTreeMap<String, Sha256Digest>,
) {
    for (key, content) in expected {
        assert_eq!(recorded.get(key), Some(content), "{key} is lost");
    }
    for key in recorded.keys() {
        assert!(expected.contains_key(key), "{key} is back");
    }
}

fn assert_in_bucket(place: &Place, object: &ObjectRow) {
    let location = object.location.to_string();
    let body = place.s3().body(&location);
    let body = body.unwrap_or_else(|| panic!("{location} is not in the bucket"));
    assert_eq!(Sha256Digest::of(&body), object.sha256, "{location}");
    for placement in &object.placements {
        let expected = match placement.store == StoreName::S3 {
            true => PlacementState::Present,
            false => PlacementState::Gone,
        };
        assert_eq!(placement.state, expected, "{location}: {placement:?}");
    }
}

/// No bytes are left of what was replaced, deleted, killed or moved.
fn assert_nothing_else(place: &Place, objects: &[ObjectRow]) {
    let locations: BTreeSet<String> = objects.iter().map(|it| it.location.to_string()).collect();
    let in_bucket: BTreeSet<String> = place.keys_in_bucket().into_iter().collect();
    let left: Vec<&String> = in_bucket.difference(&locations).collect();
    assert!(left.is_empty(), "left in the bucket: {left:?}");
    let versions = place.s3().all_version_count();
    assert_eq!(versions, locations.len() + 1, "with the id of the store");
    assert_eq!(place.s3().unfinished_uploads().len(), 0);
    assert_eq!(place.files_on_disk(), [] as [&str; 0]);
}

async fn live_objects(app: &App) -> Vec<ObjectRow> {
    let mut objects = Vec::new();
    let mut after = None;
    loop {
        let page = Page {
            limit: Page::MAX_LIMIT,
            after,
        };
        let page = app.catalog.list_objects(&"".parse().unwrap(), &page).await;
        let page = page.unwrap();
        objects.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return objects,
        }
    }
}
