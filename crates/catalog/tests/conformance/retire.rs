//! Retiring: who may remove the bytes of a deleted object, and when.

use std::collections::BTreeSet;
use std::time::Duration;

use stockroom_catalog::{ObjectRow, PlacementStep};
use stockroom_domain::{ObjectId, ObjectState, PlacementState, StoreName, Timestamp};

use crate::lab::{Lab, on_both_databases, race};

use PlacementState::{Copying, Gone, Present, Retiring, Suspect};

on_both_databases!(
    an_object_that_is_written_to_is_retired_later,
    a_doubted_copy_that_is_replaced_keeps_its_claim,
    a_store_at_a_time_is_emptied,
    a_retirement_that_failed_waits,
    objects_that_cannot_be_removed_stand_behind_the_others,
    a_copy_and_a_removal_never_begin_together,
);

fn step(object_id: ObjectId, from: PlacementState, to: PlacementState) -> PlacementStep<'static> {
    PlacementStep {
        object_id,
        store: &StoreName::S3,
        from,
        to,
        error: None,
    }
}

/// What a worker that retires is given at this moment, for a minute.
async fn claimed(lab: &Lab, now: Timestamp) -> Vec<ObjectRow> {
    let lease_until = now.after(Duration::from_secs(60));
    lab.catalog
        .claim_retiring(now, lease_until, 10)
        .await
        .unwrap()
}

async fn an_object_that_is_written_to_is_retired_later(lab: &Lab) {
    let catalog = &lab.catalog;
    let object = lab.under_placed("models/a").await;
    let doubted = lab.put("models/b").await.object;
    catalog
        .step_placement(step(doubted.id, Present, Suspect), lab.now())
        .await
        .unwrap();
    let (now, lease_until) = (lab.now(), lab.after(60));
    let taken = catalog
        .claim_placements(&StoreName::S3, now, lease_until, 10)
        .await
        .unwrap();
    assert_eq!(taken.len(), 2);
    for key in [&object.key, &doubted.key] {
        catalog.retire_object(key, now).await.unwrap();
    }
    let before = catalog.placements_of(object.id).await.unwrap();
    assert_eq!(claimed(lab, lab.now()).await, []);
    // It is left as it was, so that the worker can end its work.
    assert_eq!(catalog.placements_of(object.id).await.unwrap(), before);
    let found = catalog.find_object_by_id(object.id).await.unwrap().unwrap();
    assert_eq!(found.object.state, ObjectState::Retiring);

    // One worker ends, the other dies.
    catalog
        .step_placement(step(object.id, Copying, Present), lab.now())
        .await
        .unwrap();
    let ids: Vec<_> = claimed(lab, lab.now()).await.iter().map(|o| o.id).collect();
    assert_eq!(ids, [object.id]);
    let ids: Vec<_> = claimed(lab, lease_until)
        .await
        .iter()
        .map(|o| o.id)
        .collect();
    assert_eq!(ids, [doubted.id]);
}

async fn a_doubted_copy_that_is_replaced_keeps_its_claim(lab: &Lab) {
    let catalog = &lab.catalog;
    let object = lab.put("models/a").await.object;
    catalog
        .step_placement(step(object.id, Present, Suspect), lab.now())
        .await
        .unwrap();
    let (now, lease_until) = (lab.now(), lab.after(60));
    let taken = catalog
        .claim_placements(&StoreName::S3, now, lease_until, 10)
        .await
        .unwrap();
    assert_eq!(taken.len(), 1);
    catalog
        .step_placement(step(object.id, Suspect, Copying), lab.now())
        .await
        .unwrap();
    let row = &catalog.placements_of(object.id).await.unwrap()[1];
    assert_eq!(
        (row.state, row.next_attempt_at, row.attempts),
        (Copying, lease_until, 1)
    );
    catalog.retire_object(&object.key, now).await.unwrap();
    assert_eq!(claimed(lab, lab.now()).await, []);
    assert_eq!(claimed(lab, lease_until).await.len(), 1);
}

async fn a_store_at_a_time_is_emptied(lab: &Lab) {
    let object = lab.put("models/a").await.object;
    let now = lab.now();
    lab.catalog.retire_object(&object.key, now).await.unwrap();
    assert_eq!(claimed(lab, now).await.len(), 1);
    lab.catalog
        .step_placement(step(object.id, Retiring, Gone), lab.now())
        .await
        .unwrap();
    // The other store was away. Whoever comes next knows which one is left.
    let again = claimed(lab, lab.after(61)).await;
    let states: Vec<_> = again[0].placements.iter().map(|p| p.state).collect();
    assert_eq!(states, [Retiring, Gone]);
    lab.catalog
        .finish_retire(object.id, lab.now())
        .await
        .unwrap();
    let rows = lab.catalog.placements_of(object.id).await.unwrap();
    assert!(rows.iter().all(|row| row.state == Gone), "{rows:?}");
}

async fn a_retirement_that_failed_waits(lab: &Lab) {
    let object = lab.put("models/a").await.object;
    let live = lab.put("models/b").await.object;
    let (now, wait) = (lab.now(), Duration::from_secs(600));
    let catalog = &lab.catalog;
    catalog.retire_object(&object.key, now).await.unwrap();
    // What nobody has claimed cannot have failed.
    for id in [object.id, live.id] {
        catalog.postpone_retire(id, now, wait).await.unwrap();
    }
    assert_eq!(claimed(lab, now).await.len(), 1);
    catalog.postpone_retire(object.id, now, wait).await.unwrap();
    let due = now.after(wait);
    assert_eq!(claimed(lab, due.before(Duration::from_millis(1))).await, []);
    assert_eq!(claimed(lab, due).await.len(), 1);
    catalog.finish_retire(object.id, due).await.unwrap();
    catalog.postpone_retire(object.id, due, wait).await.unwrap();
    let second_look = due.after(stockroom_catalog::SECOND_LOOK);
    let looked_at = catalog.claim_tombstones(second_look, second_look, 9).await;
    assert_eq!(looked_at.unwrap().len(), 1);
}

async fn objects_that_cannot_be_removed_stand_behind_the_others(lab: &Lab) {
    let catalog = &lab.catalog;
    let mut objects = Vec::new();
    for n in 0..4 {
        let object = lab.put(&format!("models/{n}")).await.object;
        catalog.retire_object(&object.key, lab.now()).await.unwrap();
        objects.push(object.id);
    }
    // The store of all of them is away for good. Each is due again a minute later, when the
    // worker comes by again.
    let wait = Duration::from_secs(60);
    let mut now = lab.now();
    for expected in [&objects[..2], &objects[2..], &objects[..2], &objects[2..]] {
        let claimed = catalog.claim_retiring(now, now.after(wait), 2).await;
        let taken: Vec<_> = claimed.unwrap().iter().map(|object| object.id).collect();
        assert_eq!(taken, expected);
        for id in taken {
            catalog.postpone_retire(id, now, wait).await.unwrap();
        }
        now = now.after(wait);
    }
    // What was deleted only now does not wait for those.
    let object = lab.put("models/new").await.object;
    catalog.retire_object(&object.key, now).await.unwrap();
    let claimed = catalog.claim_retiring(now, now.after(wait), 1).await;
    assert_eq!(claimed.unwrap()[0].id, object.id);
}

async fn a_copy_and_a_removal_never_begin_together(lab: &Lab) {
    for round in 0..4 {
        let mut objects = Vec::new();
        for n in 0..8 {
            objects.push(lab.under_placed(&format!("temp/{round}/{n}")).await);
        }
        let (now, lease_until) = (lab.now(), lab.after(60));
        let outcomes = race(|n| {
            let (catalog, key) = (lab.catalog.clone(), objects[n as usize / 2].key.clone());
            async move {
                if n % 2 == 0 {
                    let taken = catalog
                        .claim_placements(&StoreName::S3, now, lease_until, 2)
                        .await
                        .unwrap();
                    return (taken.iter().map(|claim| claim.object.id).collect(), vec![]);
                }
                catalog.retire_object(&key, now).await.unwrap();
                let removed = catalog.claim_retiring(now, lease_until, 10).await.unwrap();
                (vec![], removed.iter().map(|object| object.id).collect())
            }
        })
        .await;
        let (copied, removed): (Vec<Vec<_>>, Vec<Vec<ObjectId>>) = outcomes.into_iter().unzip();
        let (copied, removed) = (copied.concat(), removed.concat());
        let copied_once: BTreeSet<_> = copied.iter().copied().collect();
        let removed_once: BTreeSet<_> = removed.iter().copied().collect();
        assert_eq!(copied_once.len(), copied.len());
        assert_eq!(removed_once.len(), removed.len());
        assert!(
            copied_once.is_disjoint(&removed_once),
            "{copied:?} {removed:?}"
        );
        // Each object is with one of them, or still waits for the next round.
        let rest = claimed(lab, now).await;
        assert!(rest.iter().all(|object| !copied_once.contains(&object.id)));
        assert_eq!(copied.len() + removed.len() + rest.len(), objects.len());
    }
}
