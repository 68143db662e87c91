//! Objects: found by key or location, listed by key, retired in two phases.

use std::collections::BTreeSet;

use stockroom_catalog::{CatalogError, Conflict, Page, PlacementStep};
use stockroom_domain::{Key, KeyPrefix, ObjectId, ObjectState, PlacementState, StoreName};

use crate::lab::{Lab, key, on_both_databases, race};
use crate::{assert_conflict, assert_not_found};

on_both_databases!(
    objects_are_listed_in_the_order_of_their_keys_bytes,
    a_prefix_is_no_pattern,
    a_list_goes_on_after_its_cursor,
    a_deleted_object_is_gone_for_readers_at_once,
    the_bytes_of_an_asset_are_not_deleted_by_key,
    bytes_are_removed_after_the_grace_period_only,
    a_worker_that_dies_is_followed_by_another,
    two_workers_never_take_the_same_object,
    deleted_stays_deleted,
    an_object_is_finished_only_by_who_claimed_it,
);

async fn listed(lab: &Lab, prefix: &str) -> Vec<String> {
    let prefix: KeyPrefix = prefix.parse().unwrap();
    let found = lab
        .catalog
        .list_objects(&prefix, &Page::first(100))
        .await
        .unwrap();
    assert_eq!(found.next, None);
    found
        .items
        .iter()
        .map(|object| object.key.to_string())
        .collect()
}

async fn objects_are_listed_in_the_order_of_their_keys_bytes(lab: &Lab) {
    // A language would sort these otherwise: without case, without signs, Ä beside A.
    let mut keys = [
        "models/B",
        "models/a",
        "models/A",
        "models/Ä",
        "models/b",
        "models/-a",
        "models/_",
        "models/a b",
        "models/a/b",
        "models/a.b",
        "models/ab",
        "models/Z",
        "models/\u{10ffff}",
        "images/z",
        "temp/0",
    ];
    for key in keys {
        lab.put(key).await;
    }
    keys.sort_unstable();
    assert_eq!(listed(lab, "").await, keys);
    assert_eq!(listed(lab, "models/").await.len(), 13);
}

async fn a_prefix_is_no_pattern(lab: &Lab) {
    let keys = [
        "models/a%b",
        "models/aXb",
        "models/a_b",
        "models/a'b",
        "models/a*b",
        "models/b",
    ];
    for key in keys {
        lab.put(key).await;
    }
    assert_eq!(listed(lab, "models/a%").await, ["models/a%b"]);
    assert_eq!(listed(lab, "models/a_").await, ["models/a_b"]);
    assert_eq!(listed(lab, "models/a'").await, ["models/a'b"]);
    assert_eq!(listed(lab, "models/a*").await, ["models/a*b"]);
    assert_eq!(listed(lab, "mod").await.len(), keys.len());
    assert_eq!(listed(lab, "models/A").await, [""; 0]);
}

async fn a_list_goes_on_after_its_cursor(lab: &Lab) {
    for n in 0..7 {
        lab.put(&format!("models/{n}")).await;
    }
    lab.put("temp/a").await;
    let prefix: KeyPrefix = "models/".parse().unwrap();
    let mut page = Page::first(3);
    let mut seen: Vec<Key> = Vec::new();
    for expected in [3, 3, 1] {
        let found = lab.catalog.list_objects(&prefix, &page).await.unwrap();
        assert_eq!(found.items.len(), expected);
        seen.extend(found.items.iter().map(|object| object.key.clone()));
        page.after = found.next;
    }
    assert_eq!(page.after, None);
    assert_eq!(
        seen,
        (0..7)
            .map(|n| key(&format!("models/{n}")))
            .collect::<Vec<_>>()
    );

    // A cursor before the prefix shows nothing that is not under it.
    page = Page {
        limit: 100,
        after: Some("images/a".to_owned()),
    };
    let found = lab.catalog.list_objects(&prefix, &page).await.unwrap();
    assert_eq!(found.items.len(), 7);
    page.after = Some("temp/z".to_owned());
    let found = lab.catalog.list_objects(&prefix, &page).await.unwrap();
    assert!(found.items.is_empty());
    page.after = Some("../etc".to_owned());
    let outcome = lab.catalog.list_objects(&prefix, &page).await;
    assert!(matches!(outcome, Err(CatalogError::InvalidCursor)));
}

async fn a_deleted_object_is_gone_for_readers_at_once(lab: &Lab) {
    let object = lab.put("models/a.stl").await.object;
    let retired = lab
        .catalog
        .retire_object(&object.key, lab.after(60))
        .await
        .unwrap();
    assert_eq!(retired, object.id);
    assert!(
        lab.catalog
            .find_object(&object.key)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        lab.catalog
            .find_object_by_location(&object.location)
            .await
            .unwrap()
            .is_none()
    );
    assert!(listed(lab, "").await.is_empty());
    assert_not_found!(
        lab.catalog.retire_object(&object.key, lab.now()).await,
        Object
    );
}

async fn the_bytes_of_an_asset_are_not_deleted_by_key(lab: &Lab) {
    let model = lab.model("kaethe").await;
    let asset = lab.asset(model.id, "a.stl").await;
    let object_key = &asset.object.key;
    let outcome = lab.catalog.retire_object(object_key, lab.now()).await;
    assert_conflict!(outcome, Conflict::ObjectInUse { asset: id } if id == asset.id);
    let upload = lab.open(object_key.as_str()).await;
    let outcome = lab
        .catalog
        .record_object(&lab.received(&upload), lab.now(), lab.now())
        .await;
    assert_conflict!(outcome, Conflict::ObjectInUse { .. });
    let live = lab.catalog.find_object(object_key).await.unwrap().unwrap();
    assert_eq!(live.object, asset.object);

    lab.catalog
        .retire_asset(asset.id, lab.now(), lab.now())
        .await
        .unwrap();
    let recorded = lab
        .catalog
        .record_object(&lab.received(&upload), lab.now(), lab.now())
        .await
        .unwrap();
    assert_eq!(recorded.replaced, None);
}

async fn bytes_are_removed_after_the_grace_period_only(lab: &Lab) {
    let object = lab.put("models/a.stl").await.object;
    let live = lab.put("models/b.stl").await.object;
    lab.catalog
        .retire_object(&object.key, lab.after(60))
        .await
        .unwrap();
    let early = lab
        .catalog
        .claim_retiring(lab.after(30), lab.after(90), 10)
        .await
        .unwrap();
    assert!(early.is_empty());

    let claimed = lab
        .catalog
        .claim_retiring(lab.after(61), lab.after(120), 10)
        .await
        .unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(
        (claimed[0].id, &claimed[0].location),
        (object.id, &object.location)
    );
    let states: BTreeSet<_> = claimed[0]
        .placements
        .iter()
        .map(|p| p.state.as_str())
        .collect();
    assert_eq!(states, BTreeSet::from(["retiring"]));

    let now = lab.after(62);
    lab.catalog.finish_retire(object.id, now).await.unwrap();
    lab.catalog
        .finish_retire(object.id, lab.after(63))
        .await
        .unwrap();
    let gone = lab
        .catalog
        .find_object_by_id(object.id)
        .await
        .unwrap()
        .unwrap()
        .object;
    assert_eq!(gone.state, ObjectState::Gone);
    assert!(
        gone.placements
            .iter()
            .all(|p| p.state == PlacementState::Gone)
    );
    let none = lab
        .catalog
        .claim_retiring(lab.after(9999), lab.after(9999), 10)
        .await
        .unwrap();
    assert!(none.is_empty());
    assert!(lab.catalog.find_object(&live.key).await.unwrap().is_some());
}

async fn a_worker_that_dies_is_followed_by_another(lab: &Lab) {
    let object = lab.put("models/a.stl").await.object;
    lab.catalog
        .retire_object(&object.key, lab.now())
        .await
        .unwrap();
    let (now, lease_until) = (lab.after(1), lab.after(60));
    for (now, expected) in [(now, 1), (now, 0), (lease_until, 1)] {
        let claimed = lab
            .catalog
            .claim_retiring(now, lease_until, 10)
            .await
            .unwrap();
        assert_eq!(claimed.len(), expected);
    }
}

async fn two_workers_never_take_the_same_object(lab: &Lab) {
    let mut retired = BTreeSet::new();
    for n in 0..40 {
        let object = lab.put(&format!("temp/{n}")).await.object;
        retired.insert(
            lab.catalog
                .retire_object(&object.key, lab.now())
                .await
                .unwrap(),
        );
    }
    let (now, lease_until) = (lab.after(1), lab.after(600));
    let workers = race(|_| {
        let catalog = lab.catalog.clone();
        async move { catalog.claim_retiring(now, lease_until, 10).await.unwrap() }
    })
    .await;
    let mut taken: Vec<ObjectId> = workers.iter().flatten().map(|object| object.id).collect();
    // On PostgreSQL a worker may lose all its rows to another; the next round takes the rest.
    loop {
        let rest = lab
            .catalog
            .claim_retiring(now, lease_until, 10)
            .await
            .unwrap();
        if rest.is_empty() {
            break;
        }
        taken.extend(rest.iter().map(|object| object.id));
    }
    assert_eq!(taken.len(), retired.len());
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), retired);
}

async fn deleted_stays_deleted(lab: &Lab) {
    let upload = lab.open("models/a.stl").await;
    let mut received = lab.received(&upload);
    received.placements = vec![
        (StoreName::LOCAL, PlacementState::Present),
        (StoreName::S3, PlacementState::Copying),
    ];
    let (now, lease_until) = (lab.now(), lab.after(600));
    let object = lab
        .catalog
        .record_object(&received, now, now)
        .await
        .unwrap()
        .object;
    // A worker begins to copy and takes longer than its claim lasts; meanwhile the object is
    // deleted and its bytes are removed.
    let copying = PlacementState::Copying;
    let claimed = lab
        .catalog
        .claim_placements(&StoreName::S3, now, lease_until, 10)
        .await
        .unwrap();
    assert_eq!(claimed.len(), 1);
    lab.catalog.retire_object(&object.key, now).await.unwrap();
    assert_eq!(
        lab.catalog
            .claim_retiring(lease_until, lab.after(900), 10)
            .await
            .unwrap()
            .len(),
        1
    );

    let step = PlacementStep {
        object_id: object.id,
        store: &StoreName::S3,
        from: copying,
        to: PlacementState::Present,
        error: None,
    };
    let retiring = PlacementState::Retiring;
    let outcome = lab.catalog.step_placement(step, lab.now()).await;
    assert_conflict!(outcome, Conflict::PlacementMoved { found } if found == retiring);
    lab.catalog
        .finish_retire(object.id, lab.now())
        .await
        .unwrap();
    let gone = PlacementState::Gone;
    let outcome = lab.catalog.step_placement(step, lab.now()).await;
    assert_conflict!(outcome, Conflict::PlacementMoved { found } if found == gone);
    let outcome = lab
        .catalog
        .add_placement(object.id, &StoreName::S3, lab.now())
        .await;
    assert_not_found!(outcome, Object);
    assert!(
        lab.catalog
            .find_object(&object.key)
            .await
            .unwrap()
            .is_none()
    );
}

async fn an_object_is_finished_only_by_who_claimed_it(lab: &Lab) {
    let object = lab.put("models/a.stl").await.object;
    let outcome = lab.catalog.finish_retire(object.id, lab.now()).await;
    assert_conflict!(outcome, Conflict::NotRetiring { .. });
    lab.catalog
        .retire_object(&object.key, lab.now())
        .await
        .unwrap();
    let outcome = lab.catalog.finish_retire(object.id, lab.now()).await;
    assert_conflict!(outcome, Conflict::NotRetiring { .. });
    let unknown = lab.id(ObjectId::generate);
    assert_not_found!(lab.catalog.finish_retire(unknown, lab.now()).await, Object);
}
