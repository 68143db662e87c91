//! Placements: steps, claims, counts.

use std::collections::BTreeSet;
use std::time::Duration;

use stockroom_catalog::{Conflict, Placed, PlacementStep, UnderPlaced};
use stockroom_domain::{ObjectId, ObjectState, PlacementState, StoreName};

use crate::lab::{Lab, on_both_databases, race};
use crate::{assert_conflict, assert_not_found};

use PlacementState::{Copying, Gone, Present, Retiring, Suspect};

on_both_databases!(
    a_placement_takes_legal_steps_only,
    a_step_from_another_state_is_refused,
    of_many_equal_steps_at_once_one_is_taken,
    only_a_match_counts_as_verified,
    a_placement_is_added_once,
    due_placements_are_taken_in_turn,
    what_is_owed_and_what_is_doubted_is_taken_in_one_turn,
    what_a_deleted_object_is_owed_is_not_taken,
    a_claim_is_kept_while_it_is_renewed,
    a_claim_that_is_given_back_is_due_at_once,
    what_was_copied_is_noted_at_once_unless_it_was_deleted,
    a_copy_is_read_by_one_of_many,
    a_placement_that_failed_waits,
    two_workers_never_take_the_same_placement,
    placements_are_counted_by_store_and_state,
    what_each_store_owes_is_counted,
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

async fn state(lab: &Lab, object_id: ObjectId) -> PlacementState {
    let rows = lab.catalog.placements_of(object_id).await.unwrap();
    rows.iter()
        .find(|row| row.store == StoreName::S3)
        .unwrap()
        .state
}

async fn a_placement_takes_legal_steps_only(lab: &Lab) {
    let id = lab.put("models/a.stl").await.object.id;
    let mut here = Present;
    // Each legal step in turn, and from each state every illegal one.
    for to in [
        Suspect, Copying, Present, Suspect, Present, Retiring, Gone, Copying, Retiring,
    ] {
        for wrong in PlacementState::ALL
            .iter()
            .copied()
            .filter(|to| here.step(*to).is_err())
        {
            let outcome = lab
                .catalog
                .step_placement(step(id, here, wrong), lab.now())
                .await;
            assert_conflict!(outcome, Conflict::IllegalStep(_));
        }
        assert_eq!(state(lab, id).await, here);
        lab.catalog
            .step_placement(step(id, here, to), lab.now())
            .await
            .unwrap();
        here = to;
    }
    assert_eq!(state(lab, id).await, Retiring);
}

async fn a_step_from_another_state_is_refused(lab: &Lab) {
    let id = lab.put("models/a.stl").await.object.id;
    let outcome = lab
        .catalog
        .step_placement(step(id, Copying, Present), lab.now())
        .await;
    assert_conflict!(outcome, Conflict::PlacementMoved { found: Present });
    let unknown = lab.id(ObjectId::generate);
    let outcome = lab
        .catalog
        .step_placement(step(unknown, Copying, Present), lab.now())
        .await;
    assert_not_found!(outcome, Placement);
    let elsewhere: StoreName = "r2-eu".parse().unwrap();
    let other = PlacementStep {
        store: &elsewhere,
        ..step(id, Copying, Present)
    };
    assert_not_found!(
        lab.catalog.step_placement(other, lab.now()).await,
        Placement
    );
}

async fn of_many_equal_steps_at_once_one_is_taken(lab: &Lab) {
    let id = lab.put("models/a.stl").await.object.id;
    let now = lab.now();
    let outcomes = race(|_| {
        let catalog = lab.catalog.clone();
        async move {
            catalog
                .step_placement(step(id, Present, Suspect), now)
                .await
        }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        assert_conflict!(outcome, Conflict::PlacementMoved { found: Suspect });
    }
}

async fn only_a_match_counts_as_verified(lab: &Lab) {
    let id = lab.put("models/a.stl").await.object.id;
    let s3 = StoreName::S3;
    let verified = lab.now();
    assert!(lab.catalog.note_verified(id, &s3, verified).await.unwrap());
    let doubt = PlacementStep {
        error: Some("chunk 3 does not match\0"),
        ..step(id, Present, Suspect)
    };
    let doubted = lab.now();
    lab.catalog.step_placement(doubt, doubted).await.unwrap();
    assert!(!lab.catalog.note_verified(id, &s3, lab.now()).await.unwrap());
    let rows = lab.catalog.placements_of(id).await.unwrap();
    let stores: Vec<_> = rows.iter().map(|row| row.store.as_str()).collect();
    assert_eq!(stores, ["local", "s3"]);
    assert_eq!(
        (rows[1].verified_at, rows[1].updated_at),
        (Some(verified), doubted)
    );
    assert_eq!(
        rows[1].last_error.as_deref(),
        Some("chunk 3 does not match\u{fffd}")
    );
    let now = lab.now();
    lab.catalog
        .step_placement(step(id, Suspect, Present), now)
        .await
        .unwrap();
    let rows = lab.catalog.placements_of(id).await.unwrap();
    assert_eq!(
        (rows[1].verified_at, rows[1].last_error.clone()),
        (Some(now), None)
    );
}

async fn a_placement_is_added_once(lab: &Lab) {
    let object = lab.put("models/a.stl").await.object;
    let elsewhere: StoreName = "r2-eu".parse().unwrap();
    assert!(
        lab.catalog
            .add_placement(object.id, &elsewhere, lab.now())
            .await
            .unwrap()
    );
    assert!(
        !lab.catalog
            .add_placement(object.id, &elsewhere, lab.now())
            .await
            .unwrap()
    );
    assert!(
        !lab.catalog
            .add_placement(object.id, &StoreName::S3, lab.now())
            .await
            .unwrap()
    );
    assert_eq!(state(lab, object.id).await, Present);
    let unknown = lab.id(ObjectId::generate);
    assert_not_found!(
        lab.catalog
            .add_placement(unknown, &elsewhere, lab.now())
            .await,
        Object
    );
    lab.catalog
        .retire_object(&object.key, lab.now())
        .await
        .unwrap();
    let outcome = lab
        .catalog
        .add_placement(object.id, &"x".parse().unwrap(), lab.now())
        .await;
    assert_not_found!(outcome, Object);
}

async fn due_placements_are_taken_in_turn(lab: &Lab) {
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(lab.under_placed(&format!("models/{n}")).await.id);
    }
    lab.put("models/whole").await;
    let (now, lease_until) = (lab.now(), lab.after(60));
    let s3 = StoreName::S3;
    let mut taken = Vec::new();
    for expected in [2, 1, 0] {
        let claimed = lab
            .catalog
            .claim_placements(&s3, now, lease_until, 2)
            .await
            .unwrap();
        assert_eq!(claimed.len(), expected);
        for claim in claimed {
            assert_eq!(
                (claim.placement.attempts, claim.object.state),
                (1, ObjectState::Live)
            );
            assert_eq!(claim.placement.object_id, claim.object.id);
            taken.push(claim.object.id);
        }
    }
    taken[..2].sort_unstable();
    assert_eq!(taken, ids);
    let local = StoreName::LOCAL;
    let none = lab
        .catalog
        .claim_placements(&local, now, lease_until, 2)
        .await
        .unwrap();
    assert!(none.is_empty());
    // A worker that died is followed by another.
    let again = lab
        .catalog
        .claim_placements(&s3, lease_until, lease_until, 9)
        .await;
    assert_eq!(again.unwrap().len(), 3);
}

async fn what_is_owed_and_what_is_doubted_is_taken_in_one_turn(lab: &Lab) {
    let mut waiting = Vec::new();
    for n in 0..6 {
        let owed = lab.under_placed(&format!("models/{n}/owed")).await.id;
        let doubted = lab.put(&format!("models/{n}/doubted")).await.object.id;
        lab.catalog
            .step_placement(step(doubted, Present, Suspect), lab.now())
            .await
            .unwrap();
        waiting.extend([owed, doubted]);
    }
    let (now, lease_until) = (lab.now(), lab.after(60));
    for expected in waiting.chunks(3) {
        let claimed = lab
            .catalog
            .claim_placements(&StoreName::S3, now, lease_until, 3)
            .await
            .unwrap();
        let taken: BTreeSet<_> = claimed.iter().map(|claim| claim.object.id).collect();
        assert_eq!(taken, expected.iter().copied().collect());
        assert!(
            claimed
                .iter()
                .all(|claim| matches!(claim.placement.state, Copying | Suspect))
        );
    }
}

async fn what_a_deleted_object_is_owed_is_not_taken(lab: &Lab) {
    let deleted = lab.under_placed("models/deleted").await;
    let live = lab.under_placed("models/live").await;
    let retire_after = lab.after(600);
    lab.catalog
        .retire_object(&deleted.key, retire_after)
        .await
        .unwrap();
    // One is asked for, and the deleted one, which waits longer, is not in its way.
    let claimed = lab
        .catalog
        .claim_placements(&StoreName::S3, lab.now(), lab.after(60), 1)
        .await
        .unwrap();
    let taken: Vec<_> = claimed.iter().map(|claim| claim.object.id).collect();
    assert_eq!(taken, [live.id]);
}

async fn a_claim_is_kept_while_it_is_renewed(lab: &Lab) {
    let id = lab.under_placed("models/a").await.id;
    let (catalog, s3) = (&lab.catalog, StoreName::S3);
    let (now, lease_until, renewed) = (lab.now(), lab.after(60), lab.after(120));
    let claim = async |now| {
        catalog
            .claim_placements(&s3, now, lease_until, 9)
            .await
            .unwrap()
            .len()
    };
    assert_eq!(claim(now).await, 1);
    assert!(catalog.renew_placement(id, &s3, renewed).await.unwrap());
    assert_eq!(claim(lease_until).await, 0);
    assert_eq!(claim(renewed).await, 1);
    let row = &catalog.placements_of(id).await.unwrap()[1];
    assert_eq!(row.attempts, 2);
    // What is present or unknown needs nobody to bring it.
    catalog
        .step_placement(step(id, Copying, Present), lab.now())
        .await
        .unwrap();
    assert!(!catalog.renew_placement(id, &s3, renewed).await.unwrap());
    let unknown = lab.id(ObjectId::generate);
    let renewal = catalog.renew_placement(unknown, &s3, renewed).await;
    assert!(!renewal.unwrap());
}

async fn a_claim_that_is_given_back_is_due_at_once(lab: &Lab) {
    let id = lab.under_placed("models/a").await.id;
    let placed = lab.put("models/b").await.object.id;
    let (catalog, s3) = (&lab.catalog, StoreName::S3);
    let (now, lease_until) = (lab.now(), lab.after(60));
    let claim = async || {
        catalog
            .claim_placements(&s3, now, lease_until, 9)
            .await
            .unwrap()
    };
    assert_eq!(claim().await.len(), 1);
    assert!(claim().await.is_empty());
    let before = catalog.placements_of(placed).await.unwrap();
    for objects in [&[][..], &[id, placed]] {
        catalog.return_placements(&s3, objects, now).await.unwrap();
    }
    assert_eq!(catalog.placements_of(placed).await.unwrap(), before);
    // It counts as if nobody had tried.
    let again = claim().await;
    assert_eq!((again.len(), again[0].placement.attempts), (1, 1));
}

async fn what_was_copied_is_noted_at_once_unless_it_was_deleted(lab: &Lab) {
    let (catalog, s3) = (&lab.catalog, StoreName::S3);
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(lab.under_placed(&format!("models/{n}")).await.id);
    }
    let deleted = lab.under_placed("models/deleted").await;
    ids.push(deleted.id);
    let now = lab.now();
    catalog.retire_object(&deleted.key, now).await.unwrap();
    let retiring = catalog.claim_retiring(now, lab.after(60), 9).await;
    assert_eq!(retiring.unwrap().len(), 1);
    let claimed = catalog
        .claim_placements(&s3, lab.now(), lab.after(60), 9)
        .await;
    assert_eq!(claimed.unwrap().len(), 3);

    let placed = |from, was_read| Placed {
        store: &s3,
        from,
        objects: &ids,
        was_read,
    };
    let illegal = catalog.note_placed(placed(Gone, true), lab.now()).await;
    assert_conflict!(illegal, Conflict::IllegalStep(_));
    let none = catalog.note_placed(placed(Suspect, true), lab.now()).await;
    assert_eq!(none.unwrap(), []);
    let now = lab.now();
    let noted = catalog.note_placed(placed(Copying, true), now).await;
    let mut noted = noted.unwrap();
    noted.sort_unstable();
    assert_eq!(noted, ids[..3]);
    for id in noted {
        let row = &catalog.placements_of(id).await.unwrap()[1];
        assert_eq!((row.state, row.attempts), (Present, 0));
        assert_eq!((row.verified_at, row.updated_at), (Some(now), now));
    }
    assert_eq!(state(lab, deleted.id).await, Retiring);
    let again = catalog.note_placed(placed(Copying, true), now).await;
    assert_eq!(again.unwrap(), []);

    // Another copy in the place of one that matched has not matched.
    for (from, to) in [(Present, Suspect), (Suspect, Copying)] {
        let step = step(ids[0], from, to);
        catalog.step_placement(step, lab.now()).await.unwrap();
    }
    let noted = catalog.note_placed(placed(Copying, false), lab.now()).await;
    assert_eq!(noted.unwrap(), [ids[0]]);
    let row = &catalog.placements_of(ids[0]).await.unwrap()[1];
    assert_eq!((row.state, row.verified_at), (Present, None));
}

async fn a_copy_is_read_by_one_of_many(lab: &Lab) {
    let (catalog, s3) = (&lab.catalog, StoreName::S3);
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(lab.put(&format!("models/{n}")).await.object.id);
    }
    let (now, lease_until) = (lab.after(2), lab.after(32));
    let listed_at = lab.after(1);
    // Who scrubs has taken one for an hour, which keeps nobody from reading it.
    let scrubbed = catalog
        .claim_unverified(&s3, lab.now(), lab.now(), lab.after(3_600), 1)
        .await;
    assert_eq!(scrubbed.unwrap().len(), 1);
    step_to_suspect(lab, ids[3]).await;
    let claims = race(|_| {
        let (catalog, s3, ids) = (catalog.clone(), s3.clone(), ids.clone());
        async move {
            let claimed = catalog
                .claim_reads(&s3, &ids, listed_at, now, lease_until)
                .await;
            claimed.unwrap()
        }
    })
    .await;
    let mut claimed = claims.concat();
    claimed.sort_unstable();
    assert_eq!(claimed, ids[..3], "each once, and none that is doubted");
    let slow = catalog.claim_reads(&s3, &ids, listed_at, lab.now(), lab.after(30));
    assert_eq!(
        slow.await.unwrap(),
        [],
        "it looked at the clock before them"
    );
    let later = lab.after(33);
    catalog
        .keep_reads(&s3, &ids[..1], lab.after(60))
        .await
        .unwrap();
    let claim = catalog.claim_reads(&s3, &ids, listed_at, later, lab.after(90));
    let again = claim.await;
    let mut again = again.unwrap();
    again.sort_unstable();
    assert_eq!(again, ids[1..3], "one is kept");
    let noted = catalog.note_reads(&s3, &ids, later).await.unwrap();
    assert_eq!(noted, 3);
    for id in &ids[..3] {
        let row = &catalog.placements_of(*id).await.unwrap()[1];
        assert_eq!((row.verified_at, row.next_attempt_at), (Some(later), later));
    }
    // Somebody who asked before they were read does not read them once more.
    for (listed_at, count) in [(listed_at, 0), (lab.after(34), 3)] {
        let claim = catalog.claim_reads(&s3, &ids, listed_at, lab.after(35), lab.after(90));
        assert_eq!(claim.await.unwrap().len(), count, "{listed_at}");
    }
}

async fn step_to_suspect(lab: &Lab, id: ObjectId) {
    let step = step(id, Present, Suspect);
    lab.catalog.step_placement(step, lab.now()).await.unwrap();
}

async fn a_placement_that_failed_waits(lab: &Lab) {
    let id = lab.under_placed("models/a").await.id;
    let s3 = StoreName::S3;
    let (now, lease_until) = (lab.now(), lab.after(60));
    let claimed = lab
        .catalog
        .claim_placements(&s3, now, lease_until, 2)
        .await
        .unwrap();
    let row = &claimed[0].placement;
    let wait = Duration::from_secs(600);
    lab.catalog
        .postpone_placement(row, "503 SlowDown", now, wait)
        .await
        .unwrap();
    let early = lab.after(300);
    let none = lab
        .catalog
        .claim_placements(&s3, early, lease_until, 2)
        .await
        .unwrap();
    assert!(none.is_empty());
    let due = now.after(wait);
    let claimed = lab
        .catalog
        .claim_placements(&s3, due, due, 2)
        .await
        .unwrap();
    assert_eq!(claimed[0].placement.attempts, 2);
    assert_eq!(
        claimed[0].placement.last_error.as_deref(),
        Some("503 SlowDown")
    );
    lab.catalog
        .step_placement(step(id, Copying, Present), lab.now())
        .await
        .unwrap();
    // Who failed late does not disturb who succeeded.
    lab.catalog
        .postpone_placement(row, "late", now, wait)
        .await
        .unwrap();
    let row = &lab.catalog.placements_of(id).await.unwrap()[1];
    assert_eq!(
        (row.state, row.attempts, row.last_error.as_deref()),
        (Present, 0, None)
    );
}

async fn two_workers_never_take_the_same_placement(lab: &Lab) {
    let mut ids = BTreeSet::new();
    for n in 0..40 {
        ids.insert(lab.under_placed(&format!("models/{n}")).await.id);
    }
    let (now, lease_until) = (lab.now(), lab.after(60));
    let s3 = StoreName::S3;
    let workers = race(|_| {
        let catalog = lab.catalog.clone();
        async move {
            let s3 = StoreName::S3;
            catalog
                .claim_placements(&s3, now, lease_until, 10)
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
        let rest = lab
            .catalog
            .claim_placements(&s3, now, lease_until, 10)
            .await
            .unwrap();
        if rest.is_empty() {
            break;
        }
        taken.extend(rest.iter().map(|claim| claim.object.id));
    }
    assert_eq!(taken.len(), ids.len());
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), ids);
}

async fn placements_are_counted_by_store_and_state(lab: &Lab) {
    assert_eq!(lab.catalog.counts_by_state().await.unwrap(), []);
    lab.put("models/a").await;
    lab.put("models/b").await;
    lab.under_placed("models/c").await;
    let counts: Vec<_> = lab
        .catalog
        .counts_by_state()
        .await
        .unwrap()
        .into_iter()
        .map(|count| (count.store.to_string(), count.state, count.placements))
        .collect();
    assert_eq!(
        counts,
        [
            ("local".to_owned(), Present, 3),
            ("s3".to_owned(), Copying, 1),
            ("s3".to_owned(), Present, 2),
        ]
    );
}

async fn what_each_store_owes_is_counted(lab: &Lab) {
    let catalog = &lab.catalog;
    assert_eq!(catalog.under_placed().await.unwrap(), []);
    lab.put("models/whole").await;
    let oldest = lab.under_placed("models/a").await;
    lab.under_placed("models/b").await;
    let deleted = lab.under_placed("models/deleted").await;
    let doubted_at = lab.now();
    let doubt = PlacementStep {
        store: &StoreName::LOCAL,
        ..step(oldest.id, Present, Suspect)
    };
    catalog.step_placement(doubt, doubted_at).await.unwrap();
    let retire_after = lab.after(600);
    catalog
        .retire_object(&deleted.key, retire_after)
        .await
        .unwrap();
    // Attempts do not make what is owed younger.
    catalog
        .claim_placements(&StoreName::S3, lab.now(), lab.after(60), 9)
        .await
        .unwrap();
    let owed = |store, placements, oldest_since| UnderPlaced {
        store,
        placements,
        oldest_since,
    };
    let local = owed(StoreName::LOCAL, 1, doubted_at);
    assert_eq!(
        catalog.under_placed().await.unwrap(),
        [local.clone(), owed(StoreName::S3, 2, oldest.live_at)]
    );
    catalog
        .step_placement(step(oldest.id, Copying, Present), lab.now())
        .await
        .unwrap();
    let rest = catalog.under_placed().await.unwrap();
    assert_eq!((rest.len(), &rest[0], rest[1].placements), (2, &local, 1));
    assert!(rest[1].oldest_since > oldest.live_at);
}
