//! Tombstones: what nobody finished or nobody wants any more is removed, and removed again.

use std::collections::BTreeSet;
use std::time::Duration;

use stockroom_catalog::{Conflict, SECOND_LOOK, Tombstone};
use stockroom_domain::{ObjectId, Timestamp};

use crate::assert_conflict;
use crate::lab::{Lab, on_both_databases, race, received, tombstone};

on_both_databases!(
    the_sweep_takes_what_nobody_cares_for,
    an_abandoned_upload_gets_a_second_look,
    bytes_that_are_removed_late_need_no_second_look,
    a_deleted_object_gets_a_second_look,
    a_sweep_that_dies_is_followed_by_another,
    two_sweeps_never_take_the_same_upload,
    tombstones_are_taken_longest_waiting_first,
);

/// What the sweep is given at this moment, for a minute.
async fn swept(lab: &Lab, now: Timestamp) -> Vec<Tombstone> {
    let lease_until = now.after(Duration::from_secs(60));
    lab.catalog
        .claim_tombstones(now, lease_until, 10)
        .await
        .unwrap()
}

async fn the_sweep_takes_what_nobody_cares_for(lab: &Lab) {
    let upload = lab.open("temp/a").await;
    let live = lab.put("temp/b").await.object;
    let catalog = &lab.catalog;
    assert_eq!(swept(lab, lab.now()).await, []);
    let later = lab.after(61);
    assert_eq!(swept(lab, later).await, [tombstone(&upload)]);
    let late = received(upload.object_id);
    let outcome = catalog.record_object(&late, later, later).await;
    assert_conflict!(outcome, Conflict::UploadClosed);
    assert!(!catalog.discard_upload(upload.object_id).await.unwrap());
    // A byte that was under way may still land there.
    assert_ne!(lab.open("temp/a").await.location, upload.location);
    assert!(catalog.find_object(&live.key).await.unwrap().is_some());
}

async fn an_abandoned_upload_gets_a_second_look(lab: &Lab) {
    let upload = lab.open("temp/a").await;
    let gone_at = lab.after(61);
    assert_eq!(swept(lab, gone_at).await.len(), 1);
    let finish = async |now| {
        lab.catalog
            .finish_tombstone(upload.object_id, now)
            .await
            .unwrap();
    };
    finish(gone_at).await;
    let second_look = gone_at.after(SECOND_LOOK);
    let early = second_look.before(Duration::from_millis(1));
    assert_eq!(swept(lab, early).await, []);
    assert_eq!(swept(lab, second_look).await, [tombstone(&upload)]);
    // There is no third one.
    finish(second_look).await;
    assert_eq!(swept(lab, lab.after(1_000_000)).await, []);
}

async fn bytes_that_are_removed_late_need_no_second_look(lab: &Lab) {
    let upload = lab.open("temp/a").await;
    // A store is away, so the bytes are removed only when nothing can be under way any more.
    let gone_at = lab.after(61);
    assert_eq!(swept(lab, gone_at).await.len(), 1);
    let removed = gone_at.after(2 * SECOND_LOOK);
    assert_eq!(swept(lab, removed).await.len(), 1);
    lab.catalog
        .finish_tombstone(upload.object_id, removed)
        .await
        .unwrap();
    assert_eq!(swept(lab, removed.after(10 * SECOND_LOOK)).await, []);
}

async fn a_deleted_object_gets_a_second_look(lab: &Lab) {
    let object = lab.put("models/a.stl").await.object;
    let catalog = &lab.catalog;
    let now = lab.now();
    catalog.retire_object(&object.key, now).await.unwrap();
    let claimed = catalog.claim_retiring(now, lab.after(60), 10).await;
    assert_eq!(claimed.unwrap().len(), 1);
    // What is being retired is nobody else's, also when its worker is late.
    assert_eq!(swept(lab, lab.after(600)).await, []);

    let gone_at = lab.now();
    catalog.finish_retire(object.id, gone_at).await.unwrap();
    let second_look = gone_at.after(SECOND_LOOK);
    assert_eq!(
        swept(lab, second_look.before(Duration::from_millis(1))).await,
        []
    );
    let expected = Tombstone {
        object_id: object.id,
        key: object.key.clone(),
        location: object.location,
        was_live: true,
    };
    assert_eq!(swept(lab, second_look).await, [expected]);
    // Saying again that it is retired takes nothing away from the second look.
    catalog.finish_retire(object.id, second_look).await.unwrap();
    assert_eq!(swept(lab, lab.after(1_000_000)).await.len(), 1);
    catalog
        .finish_tombstone(object.id, second_look)
        .await
        .unwrap();
    assert_eq!(swept(lab, lab.after(2_000_000)).await, []);
    let row = catalog.find_object_by_id(object.id).await.unwrap().unwrap();
    assert_eq!(row.object.retire_after, Some(now));
}

async fn a_sweep_that_dies_is_followed_by_another(lab: &Lab) {
    let upload = lab.open("temp/a").await;
    let (first, second) = (lab.after(61), lab.after(200));
    for now in [first, second] {
        let lease_until = now.after(Duration::from_secs(60));
        let claimed = lab
            .catalog
            .claim_tombstones(now, lease_until, 10)
            .await
            .unwrap();
        assert_eq!(claimed, [tombstone(&upload)]);
        let none = lab
            .catalog
            .claim_tombstones(now, lease_until, 10)
            .await
            .unwrap();
        assert!(none.is_empty());
    }
}

async fn two_sweeps_never_take_the_same_upload(lab: &Lab) {
    let mut opened = BTreeSet::new();
    for n in 0..40 {
        opened.insert(lab.open(&format!("temp/{n}")).await.object_id);
    }
    let (now, lease_until) = (lab.after(61), lab.after(600));
    let sweeps = race(|_| {
        let catalog = lab.catalog.clone();
        async move {
            catalog
                .claim_tombstones(now, lease_until, 10)
                .await
                .unwrap()
        }
    })
    .await;
    let mut taken: Vec<ObjectId> = sweeps.iter().flatten().map(|u| u.object_id).collect();
    // On PostgreSQL a sweep may lose all its rows to another; the next round takes the rest.
    loop {
        let rest = lab
            .catalog
            .claim_tombstones(now, lease_until, 10)
            .await
            .unwrap();
        if rest.is_empty() {
            break;
        }
        taken.extend(rest.iter().map(|upload| upload.object_id));
    }
    assert_eq!(taken.len(), opened.len());
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), opened);
}

async fn tombstones_are_taken_longest_waiting_first(lab: &Lab) {
    let mut opened = Vec::new();
    for n in 0..3 {
        opened.push(lab.open(&format!("temp/{n}")).await.object_id);
    }
    let first = lab.after(300);
    lab.catalog.extend_lease(opened[0], first).await.unwrap();
    let now = lab.after(600);
    for id in [opened[1], opened[2], opened[0]] {
        let claimed = lab.catalog.claim_tombstones(now, lab.after(900), 1).await;
        assert_eq!(claimed.unwrap()[0].object_id, id);
    }
}
