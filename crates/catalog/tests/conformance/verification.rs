//! What a comparison of catalog and stores asks.

use std::collections::BTreeSet;
use std::time::Duration;

use stockroom_catalog::PlacementStep;
use stockroom_domain::{Key, ObjectId, ObjectState, PlacementState, StoreName, Timestamp};

use crate::lab::{Lab, key, on_both_databases, race};

use PlacementState::{Copying, Present, Suspect};

on_both_databases!(
    copies_are_verified_least_recently_verified_first,
    only_present_copies_of_live_objects_are_verified,
    a_copy_that_cannot_be_read_waits,
    two_scrubs_never_take_the_same_copy,
    a_location_tells_what_is_recorded_there,
    more_locations_than_one_statement_takes_are_looked_up,
    every_object_with_bytes_is_listed_once,
);

/// The objects whose copies on S3 are claimed for a minute.
async fn unverified(lab: &Lab, before: Timestamp, now: Timestamp, limit: u32) -> Vec<ObjectId> {
    let lease_until = now.after(Duration::from_secs(60));
    let claimed = lab
        .catalog
        .claim_unverified(&StoreName::S3, before, now, lease_until, limit)
        .await
        .unwrap();
    for claim in &claimed {
        assert_eq!(claim.placement.state, Present);
        assert_eq!(claim.placement.object_id, claim.object.id);
        assert_eq!(claim.placement.next_attempt_at, lease_until);
    }
    claimed.iter().map(|claim| claim.object.id).collect()
}

async fn copies_are_verified_least_recently_verified_first(lab: &Lab) {
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(lab.put(&format!("models/{n}")).await.object.id);
    }
    let catalog = &lab.catalog;
    let s3 = StoreName::S3;
    assert!(catalog.note_verified(ids[0], &s3, lab.now()).await.unwrap());
    let now = lab.after(1);
    for id in [ids[1], ids[2], ids[0]] {
        assert_eq!(unverified(lab, now, now, 1).await, [id]);
    }
    assert_eq!(unverified(lab, now, now, 9).await, []);
    // What was verified since is not due, however long the lease was.
    let verified = lab.now();
    assert!(catalog.note_verified(ids[1], &s3, verified).await.unwrap());
    let row = &catalog.placements_of(ids[1]).await.unwrap()[1];
    assert_eq!((row.next_attempt_at, row.attempts), (verified, 0));
    assert_eq!(unverified(lab, verified, lab.now(), 9).await, []);
    let just_after = verified.after(Duration::from_millis(1));
    assert_eq!(unverified(lab, just_after, lab.now(), 9).await, [ids[1]]);
    // A worker that died is followed by another.
    let later = lab.after(120);
    assert_eq!(unverified(lab, later, later, 9).await.len(), 3);
}

async fn only_present_copies_of_live_objects_are_verified(lab: &Lab) {
    lab.under_placed("models/owed").await;
    let doubted = lab.put("models/doubted").await.object;
    let doubt = PlacementStep {
        object_id: doubted.id,
        store: &StoreName::S3,
        from: Present,
        to: Suspect,
        error: None,
    };
    lab.catalog.step_placement(doubt, lab.now()).await.unwrap();
    let deleted = lab.put("models/deleted").await.object;
    let retire_after = lab.after(600);
    lab.catalog
        .retire_object(&deleted.key, retire_after)
        .await
        .unwrap();
    let now = lab.after(1);
    assert_eq!(unverified(lab, now, now, 9).await, []);
    let found = lab
        .catalog
        .claim_unverified(&"r2-eu".parse().unwrap(), now, now, now, 9)
        .await;
    assert_eq!(found.unwrap(), []);
    // A doubt ends the lease of whoever was reading: the copy can be repaired at once.
    let live = lab.put("models/live").await.object.id;
    let now = lab.after(1);
    assert_eq!(unverified(lab, now, now, 9).await, [live]);
    let doubt = PlacementStep {
        object_id: live,
        ..doubt
    };
    let doubted_at = lab.now();
    lab.catalog.step_placement(doubt, doubted_at).await.unwrap();
    let rows = lab.catalog.placements_of(live).await.unwrap();
    assert_eq!(rows[1].next_attempt_at, doubted_at);
}

async fn a_copy_that_cannot_be_read_waits(lab: &Lab) {
    let id = lab.put("models/a").await.object.id;
    let now = lab.after(1);
    assert_eq!(unverified(lab, now, now, 9).await, [id]);
    let row = lab.catalog.placements_of(id).await.unwrap().remove(1);
    let wait = Duration::from_secs(600);
    lab.catalog
        .postpone_placement(&row, "503 SlowDown", now, wait)
        .await
        .unwrap();
    let early = now.after(Duration::from_secs(599));
    assert_eq!(unverified(lab, early, early, 9).await, []);
    let due = now.after(wait);
    assert_eq!(unverified(lab, due, due, 9).await, [id]);
    let row = &lab.catalog.placements_of(id).await.unwrap()[1];
    assert_eq!(
        (row.attempts, row.last_error.as_deref()),
        (2, Some("503 SlowDown"))
    );
}

async fn two_scrubs_never_take_the_same_copy(lab: &Lab) {
    let mut ids = BTreeSet::new();
    for n in 0..40 {
        ids.insert(lab.put(&format!("models/{n}")).await.object.id);
    }
    let (now, lease_until) = (lab.after(1), lab.after(60));
    let workers = race(|_| {
        let catalog = lab.catalog.clone();
        async move {
            catalog
                .claim_unverified(&StoreName::S3, now, now, lease_until, 10)
                .await
                .unwrap()
        }
    })
    .await;
    let mut taken: Vec<_> = workers
        .iter()
        .flatten()
        .map(|claim| claim.object.id)
        .collect();
    // On PostgreSQL a worker may lose all its rows to another; the next round takes the rest.
    loop {
        let rest = unverified(lab, now, now, 10).await;
        if rest.is_empty() {
            break;
        }
        taken.extend(rest);
    }
    assert_eq!(taken.len(), ids.len());
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), ids);
}

async fn a_location_tells_what_is_recorded_there(lab: &Lab) {
    let receiving = lab.open("models/receiving").await;
    let live = lab.under_placed("models/live").await;
    let replaced = lab.put("models/again").await.object;
    let newer = lab.put("models/again").await.object;
    let gone = lab.put("models/gone").await.object;
    let catalog = &lab.catalog;
    let now = lab.now();
    catalog.retire_object(&gone.key, now).await.unwrap();
    let claimed = catalog.claim_retiring(now, lab.after(60), 9).await.unwrap();
    assert_eq!(claimed.len(), 1);
    catalog.finish_retire(gone.id, now).await.unwrap();

    let mut locations = [&live, &replaced, &newer, &gone].map(|o| o.location.clone());
    locations.sort();
    let asked = [
        &[receiving.location.clone(), key("models/nothing")],
        &locations[..],
    ]
    .concat();
    let now = lab.now();
    let mut found = catalog.objects_at(&asked, now).await.unwrap();
    assert_eq!(found.len(), 5);
    let mut take = |id: ObjectId| {
        let index = found.iter().position(|o| o.object_id == id).unwrap();
        found.remove(index)
    };
    let row = take(receiving.object_id);
    assert_eq!((row.key, row.location), (receiving.key, receiving.location));
    assert_eq!(
        (row.state, row.size_bytes, row.is_leased, row.placements),
        (ObjectState::Receiving, None, true, vec![])
    );
    let row = take(live.id);
    assert_eq!(
        (row.state, row.size_bytes, row.is_leased),
        (ObjectState::Live, Some(3), false)
    );
    assert_eq!(row.placements, live.placements);
    let row = take(replaced.id);
    assert_eq!((row.state, row.is_leased), (ObjectState::Retiring, false));
    let row = take(newer.id);
    assert_eq!((row.key, row.location), (newer.key, newer.location));
    let row = take(gone.id);
    assert_eq!((row.state, row.size_bytes), (ObjectState::Gone, Some(3)));
    // A lease that is over is none.
    let later = lab.after(120);
    let found = catalog.objects_at(&asked[..1], later).await.unwrap();
    assert!(!found[0].is_leased);
    assert_eq!(catalog.objects_at(&[], later).await.unwrap(), []);
}

async fn more_locations_than_one_statement_takes_are_looked_up(lab: &Lab) {
    let mut expected = BTreeSet::new();
    let mut asked: Vec<Key> = (0..1_000).map(|n| key(&format!("models/{n}"))).collect();
    for n in [0, 99, 100, 555, 999] {
        expected.insert(lab.put(asked[n].as_str()).await.object.id);
    }
    asked.push(key("models/0"));
    let found = lab.catalog.objects_at(&asked, lab.now()).await.unwrap();
    let found: BTreeSet<_> = found.iter().map(|object| object.object_id).collect();
    assert_eq!(found, expected);
}

async fn every_object_with_bytes_is_listed_once(lab: &Lab) {
    let mut expected = Vec::new();
    for n in 0..5 {
        expected.push(lab.put(&format!("models/{n}")).await.object.id);
    }
    lab.open("models/receiving").await;
    let gone = lab.put("models/gone").await.object;
    let catalog = &lab.catalog;
    let now = lab.now();
    catalog.retire_object(&gone.key, now).await.unwrap();
    let claimed = catalog.claim_retiring(now, lab.after(60), 9).await.unwrap();
    assert_eq!(claimed.len(), 1);
    catalog.finish_retire(gone.id, now).await.unwrap();
    let retire_after = lab.after(600);
    catalog
        .retire_object(&key("models/2"), retire_after)
        .await
        .unwrap();

    let mut seen = Vec::new();
    for rows in [2, 2, 1, 0] {
        let after = seen.last().copied();
        let listed = catalog.list_recorded(after, 2).await.unwrap();
        assert_eq!(listed.len(), rows);
        seen.extend(listed.iter().map(|object| object.id));
    }
    assert_eq!(seen, expected);
    let rows = catalog.list_recorded(None, 100).await.unwrap();
    assert_eq!(rows[2].state, ObjectState::Retiring);
    assert_eq!(rows[2].placements.len(), 2);
    assert!(rows.iter().all(|row| row.placements[0].state != Copying));
}
