//! Migrations: what they lack, what they give and take, and what is never taken.

use std::time::Duration;

use stockroom_catalog::{
    Freed, MigrationLimits, MigrationPatch, MigrationRow, NewMigration, ObjectRow, Page,
    PlacementStep, Read, Sample, Wanted,
};
use stockroom_domain::{
    Key, KeyPrefix, MigrationId, MigrationPhase, MigrationState, ObjectId, PlacementState,
    StoreName, Timestamp,
};

use crate::lab::{Lab, key, on_both_databases, race};
use crate::{assert_conflict, assert_not_found};

on_both_databases!(
    one_migration_is_at_work_at_a_time,
    a_change_is_made_by_whoever_knows_the_present_state,
    every_live_object_is_lacked_until_it_was_read_on_the_target,
    what_was_asked_for_is_asked_for_once_and_can_be_taken_back,
    a_copy_is_freed_only_while_another_one_has_matched,
    outside_of_a_sample_a_copy_need_only_be_there,
    a_copy_that_could_not_be_read_is_left_until_somebody_asks_again,
    a_doubted_copy_is_on_its_way_until_healing_it_fails,
    what_was_freed_can_be_brought_back,
    a_prefix_leaves_the_others_alone,
    failures_are_listed_and_tried_again,
    a_deleted_object_is_no_part_of_a_migration,
    a_plan_counts_what_is_where,
    what_is_freed_and_doubted_at_once_keeps_a_copy,
    what_a_clock_that_was_ahead_has_noted_is_set_back,
);

fn limits() -> MigrationLimits {
    MigrationLimits {
        max_bytes_per_second: Some(1 << 20),
        hours: Some("22-06".to_owned()),
        grace: Duration::from_secs(60),
        sample: Sample::of_percent(40).unwrap(),
    }
}

fn migration_of(lab: &Lab) -> NewMigration {
    NewMigration {
        id: lab.id(MigrationId::generate),
        source: StoreName::LOCAL,
        target: StoreName::S3,
        prefix: KeyPrefix::all(),
        limits: limits(),
        began_at: lab.now(),
    }
}

pub(crate) async fn migration(lab: &Lab, prefix: &str) -> MigrationRow {
    let new = NewMigration {
        prefix: prefix.parse().unwrap(),
        ..migration_of(lab)
    };
    lab.catalog.insert_migration(&new).await.unwrap()
}

pub(crate) async fn finish(lab: &Lab, row: &MigrationRow) -> MigrationRow {
    let patch = MigrationPatch {
        state: Some(MigrationState::Finished),
        ..MigrationPatch::default()
    };
    let changed = lab.catalog.update_migration(row, &patch, lab.now()).await;
    changed.unwrap()
}

/// An object whose bytes are on the local disk alone.
async fn local(lab: &Lab, key: &str) -> ObjectRow {
    let upload = lab.open(key).await;
    let mut received = lab.received(&upload);
    received.placements = vec![(StoreName::LOCAL, PlacementState::Present)];
    let recorded = lab
        .catalog
        .record_object(&received, lab.now(), lab.after(3600))
        .await;
    recorded.unwrap().object
}

fn wanted(row: &MigrationRow) -> Wanted {
    Wanted {
        store: row.target.clone(),
        read: Some(all_since(row.began_at)),
        only_given: false,
    }
}

const fn all_since(since: Timestamp) -> Read {
    Read {
        since,
        sample: Sample::ALL,
    }
}

/// The same migration, which reads all copies and no sample.
fn that_reads_all(mut row: MigrationRow) -> MigrationRow {
    row.limits.sample = Sample::ALL;
    row
}

async fn lacked(lab: &Lab, row: &MigrationRow) -> Vec<ObjectId> {
    let lacked = lab.catalog.uncovered(row, &wanted(row), None, 100).await;
    lacked.unwrap().iter().map(|it| it.object.id).collect()
}

async fn owe(lab: &Lab, row: &MigrationRow, objects: &[ObjectId]) -> u64 {
    let now = lab.now();
    let owed = lab
        .catalog
        .owe_placements(objects, &row.target, row.id, now)
        .await;
    owed.unwrap()
}

async fn step(
    lab: &Lab,
    id: ObjectId,
    store: &StoreName,
    from: PlacementState,
    to: PlacementState,
) {
    let step = PlacementStep {
        object_id: id,
        store,
        from,
        to,
        error: None,
    };
    lab.catalog.step_placement(step, lab.now()).await.unwrap();
}

async fn copied(lab: &Lab, row: &MigrationRow, id: ObjectId) {
    assert_eq!(owe(lab, row, &[id]).await, 1);
    let (from, to) = (PlacementState::Copying, PlacementState::Present);
    step(lab, id, &row.target, from, to).await;
}

async fn free(lab: &Lab, row: &MigrationRow, id: ObjectId, what: &Freed) -> bool {
    let (now, remove_after) = (lab.now(), lab.after(60));
    let freed = lab
        .catalog
        .free_placements(&[id], what, row.id, now, remove_after)
        .await;
    freed.unwrap() == 1
}

async fn state(lab: &Lab, id: ObjectId, store: &StoreName) -> Option<PlacementState> {
    let rows = lab.catalog.placements_of(id).await.unwrap();
    rows.iter().find(|it| it.store == *store).map(|it| it.state)
}

fn freed(row: &MigrationRow, since: Timestamp) -> Freed {
    Freed {
        from: row.source.clone(),
        kept_on: row.target.clone(),
        read: all_since(since),
        only_given: false,
    }
}

async fn one_migration_is_at_work_at_a_time(lab: &Lab) {
    assert_eq!(lab.catalog.current_migration().await.unwrap(), None);
    let first = migration(lab, "models/").await;
    assert_eq!(first.limits, limits());
    assert_eq!(
        (first.phase, first.state),
        (MigrationPhase::Copy, MigrationState::Running)
    );
    let second = NewMigration {
        id: lab.id(MigrationId::generate),
        source: StoreName::S3,
        target: StoreName::LOCAL,
        prefix: KeyPrefix::all(),
        limits: limits(),
        began_at: lab.now(),
    };
    let refused = lab.catalog.insert_migration(&second).await;
    assert_conflict!(refused, stockroom_catalog::Conflict::MigrationAtWork);
    let found = lab.catalog.current_migration().await.unwrap();
    assert_eq!(found.as_ref(), Some(&first));
    let done = finish(lab, &first).await;
    lab.catalog.insert_migration(&second).await.unwrap();
    // One that is over does not come back beside another.
    let patch = MigrationPatch {
        state: Some(MigrationState::Running),
        ..MigrationPatch::default()
    };
    let refused = lab.catalog.update_migration(&done, &patch, lab.now()).await;
    assert_conflict!(refused, stockroom_catalog::Conflict::MigrationAtWork);
    let listed = lab.catalog.list_migrations(&Page::default()).await.unwrap();
    let ids: Vec<_> = listed.items.iter().map(|it| it.id).collect();
    assert_eq!(ids, [second.id, first.id]);
    let found = lab.catalog.find_migration(first.id).await.unwrap();
    assert_eq!(found, Some(done));
}

async fn a_change_is_made_by_whoever_knows_the_present_state(lab: &Lab) {
    let known = migration(lab, "").await;
    let patch = |state| MigrationPatch {
        state: Some(state),
        ..MigrationPatch::default()
    };
    let now = lab.now();
    let outcomes = race(|_| {
        let (catalog, known) = (lab.catalog.clone(), known.clone());
        async move {
            let patch = patch(MigrationState::Paused);
            catalog.update_migration(&known, &patch, now).await.is_ok()
        }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|is_done| **is_done).count(), 1);
    let paused = lab.catalog.current_migration().await.unwrap().unwrap();
    assert_eq!(paused.phase_began_at, known.began_at);
    let turned = MigrationPatch {
        phase: Some(MigrationPhase::Rollback),
        state: Some(MigrationState::Running),
        limits: None,
    };
    let later = lab.after(60);
    let turned = lab.catalog.update_migration(&paused, &turned, later).await;
    let turned = turned.unwrap();
    assert_eq!(turned.phase_began_at, later);
    assert_eq!((turned.began_at, turned.limits), (known.began_at, limits()));
    let nobody = MigrationRow {
        id: lab.id(MigrationId::generate),
        ..known
    };
    let patch = patch(MigrationState::Paused);
    assert_not_found!(
        lab.catalog.update_migration(&nobody, &patch, now).await,
        Migration
    );
}

async fn every_live_object_is_lacked_until_it_was_read_on_the_target(lab: &Lab) {
    let before = lab.put("temp/on-both").await.object;
    let missing = local(lab, "temp/missing").await;
    let owed = lab.under_placed("temp/owed").await;
    let row = that_reads_all(migration(lab, "").await);
    // While it copies, it is enough that a copy is there.
    let there = Wanted {
        read: None,
        ..wanted(&row)
    };
    let lacks = lab.catalog.uncovered(&row, &there, None, 9).await.unwrap();
    assert_eq!((lacks.len(), lacks[0].object.id), (1, missing.id));
    assert_eq!(lacks[0].state, None);
    let progress = lab.catalog.copy_progress(&row).await.unwrap();
    assert_eq!((progress.copied, progress.copied_bytes), (1, 3));
    assert_eq!((progress.verified, progress.unread()), (0, 1));
    // What is owed already is on its way.
    assert_eq!(lacked(lab, &row).await, [before.id, missing.id]);
    assert_eq!(lab.catalog.count_owed(&row.target).await.unwrap(), 1);
    lab.catalog
        .note_verified(before.id, &row.target, lab.now())
        .await
        .unwrap();
    copied(lab, &row, missing.id).await;
    assert_eq!(lacked(lab, &row).await, []);
    let progress = lab.catalog.copy_progress(&row).await.unwrap();
    assert_eq!((progress.objects, progress.verified), (3, 2));
    assert_eq!((progress.bytes, progress.verified_bytes), (9, 6));
    assert_eq!((progress.unreadable, progress.under_way), (0, 1));
    let (from, to) = (PlacementState::Copying, PlacementState::Present);
    step(lab, owed.id, &row.target, from, to).await;
    let progress = lab.catalog.copy_progress(&row).await.unwrap();
    assert_eq!(progress.verified, 3);
    assert_eq!((progress.copied, progress.unread()), (3, 0));
    // A new object is one more, and whoever stores one has not read it.
    let late = local(lab, "temp/late").await;
    let stored = lab.put("temp/stored").await.object;
    assert_eq!(lacked(lab, &row).await, [late.id, stored.id]);
    assert!(!free(lab, &row, stored.id, &freed(&row, row.began_at)).await);
}

async fn a_copy_that_could_not_be_read_is_left_until_somebody_asks_again(lab: &Lab) {
    let object = lab.put("temp/a").await.object;
    let copying = migration(lab, "").await;
    let (now, s3) = (lab.now(), &copying.target);
    lab.catalog
        .note_unreadable(object.id, s3, "403\0", now)
        .await
        .unwrap();
    let failed = lab.catalog.count_failures(&copying).await.unwrap();
    assert_eq!(failed, 0, "while it copies, nothing is read");
    let turned = MigrationPatch {
        phase: Some(MigrationPhase::Retire),
        ..MigrationPatch::default()
    };
    let row = lab.catalog.update_migration(&copying, &turned, now).await;
    let row = that_reads_all(row.unwrap());
    assert_eq!(lacked(lab, &row).await, []);
    let progress = lab.catalog.copy_progress(&row).await.unwrap();
    assert_eq!((progress.unreadable, progress.unread()), (1, 0));
    assert_eq!(lab.catalog.count_failures(&row).await.unwrap(), 1);
    let failures = lab.catalog.migration_failures(&row, None, 9).await.unwrap();
    assert_eq!(failures[0].error, "403\u{fffd}");
    assert!(!free(lab, &row, object.id, &freed(&row, row.began_at)).await);
    let retried = lab.catalog.retry_failures(&row, lab.now()).await;
    assert_eq!(retried.unwrap(), 1);
    assert_eq!(lacked(lab, &row).await, [object.id]);
    let progress = lab.catalog.copy_progress(&row).await.unwrap();
    assert_eq!((progress.unreadable, progress.unread()), (0, 1));
}

/// Why it was doubted is no failure: somebody is about to heal it.
async fn a_doubted_copy_is_on_its_way_until_healing_it_fails(lab: &Lab) {
    let object = lab.put("temp/a").await.object;
    let row = migration(lab, "").await;
    let doubt = PlacementStep {
        object_id: object.id,
        store: &row.target,
        from: PlacementState::Present,
        to: PlacementState::Suspect,
        error: Some("another hash"),
    };
    lab.catalog.step_placement(doubt, lab.now()).await.unwrap();
    let counts = || async {
        let progress = lab.catalog.copy_progress(&row).await.unwrap();
        let owed = lab.catalog.count_owed(&row.target).await.unwrap();
        assert_eq!(owed, progress.under_way);
        let failed = lab.catalog.count_failures(&row).await.unwrap();
        (progress.under_way, failed)
    };
    assert_eq!(counts().await, (1, 0));
    let now = lab.now();
    let claimed = lab
        .catalog
        .claim_placements(&row.target, now, lab.after(60), 9)
        .await
        .unwrap();
    assert_eq!(counts().await, (1, 0));
    let (placement, wait) = (&claimed[0].placement, Duration::from_secs(60));
    lab.catalog
        .postpone_placement(placement, "503", now, wait)
        .await
        .unwrap();
    assert_eq!(counts().await, (0, 1));
}

async fn what_was_asked_for_is_asked_for_once_and_can_be_taken_back(lab: &Lab) {
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(local(lab, &format!("temp/{n}")).await.id);
    }
    let row = migration(lab, "").await;
    assert_eq!(owe(lab, &row, &ids).await, 3);
    assert_eq!(owe(lab, &row, &ids).await, 0);
    let claimed = lab
        .catalog
        .claim_placements(&row.target, lab.now(), lab.after(60), 1)
        .await
        .unwrap();
    assert_eq!(claimed[0].placement.migration, Some(row.id));
    // One that somebody is making stays.
    assert_eq!(lab.catalog.withdraw_owed(row.id).await.unwrap(), 2);
    let left = lacked(lab, &row).await;
    assert_eq!(left.len(), 2);
    assert!(!left.contains(&claimed[0].object.id));
    assert_eq!(owe(lab, &row, &ids).await, 2);
}

async fn a_copy_is_freed_only_while_another_one_has_matched(lab: &Lab) {
    let (copied_one, missing) = (local(lab, "temp/a").await, local(lab, "temp/b").await);
    let row = migration(lab, "").await;
    copied(lab, &row, copied_one.id).await;
    let what = freed(&row, row.began_at);
    let freeable = |what: Freed| {
        let row = row.clone();
        async move { lab.catalog.freeable(&row, &what, None, 9).await.unwrap() }
    };
    assert_eq!(freeable(what.clone()).await, [copied_one.id]);
    assert!(!free(lab, &row, missing.id, &what).await);
    // What matched before does not count.
    assert!(!free(lab, &row, copied_one.id, &freed(&row, lab.now())).await);
    let (present, suspect) = (PlacementState::Present, PlacementState::Suspect);
    step(lab, copied_one.id, &row.target, present, suspect).await;
    assert!(!free(lab, &row, copied_one.id, &what).await);
    step(lab, copied_one.id, &row.target, suspect, present).await;
    assert!(free(lab, &row, copied_one.id, &what).await);
    assert!(!free(lab, &row, copied_one.id, &what).await);
    let local = &row.source;
    let retiring = Some(PlacementState::Retiring);
    assert_eq!(state(lab, copied_one.id, local).await, retiring);
    // Its bytes go when the grace period is over, and not before.
    let claim = |now: Timestamp| {
        lab.catalog
            .claim_freed(local, now, now.after(Duration::from_secs(60)), 9)
    };
    let now = lab.now();
    assert!(!lab.catalog.has_removable(local, now).await.unwrap());
    assert_eq!(claim(now).await.unwrap(), []);
    let later = lab.after(120);
    assert!(lab.catalog.has_removable(local, later).await.unwrap());
    let claimed = claim(later).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].object.id, copied_one.id);
    let being_removed = lab.catalog.has_removable(local, later);
    assert!(
        being_removed.await.unwrap(),
        "whoever claimed it is not done"
    );
    assert_eq!(claim(later).await.unwrap(), []);
    // Who waits for the removal is told of one that cannot be removed.
    let turned = MigrationRow {
        phase: MigrationPhase::Retire,
        ..row.clone()
    };
    let (placement, wait) = (&claimed[0].placement, Duration::from_secs(60));
    lab.catalog
        .postpone_placement(placement, "403", later, wait)
        .await
        .unwrap();
    assert!(
        !lab.catalog
            .has_removable(local, lab.after(300))
            .await
            .unwrap()
    );
    let failures = lab.catalog.migration_failures(&turned, None, 9).await;
    let failures = failures.unwrap();
    assert_eq!((failures.len(), &failures[0].store), (1, local));
    assert_eq!(lab.catalog.count_failures(&row).await.unwrap(), 0);
    let retried = lab.catalog.retry_failures(&turned, later).await;
    assert_eq!(retried.unwrap(), 1);
    assert_eq!(claim(later).await.unwrap().len(), 1);
    step(
        lab,
        copied_one.id,
        local,
        PlacementState::Retiring,
        PlacementState::Gone,
    )
    .await;
    let progress = lab.catalog.free_progress(&row, local).await.unwrap();
    assert_eq!((progress.kept, progress.freeing, progress.freed), (1, 0, 1));
    assert_eq!((progress.kept_bytes, progress.freed_bytes), (3, 3));
}

async fn outside_of_a_sample_a_copy_need_only_be_there(lab: &Lab) {
    let mut ids = Vec::new();
    for number in 0..40 {
        // On both stores, and read on neither.
        ids.push(lab.put(&format!("models/{number}")).await.object.id);
    }
    let alone = local(lab, "models/alone").await.id;
    let row = migration(lab, "").await;
    let read = Read {
        since: row.began_at,
        sample: row.limits.sample,
    };
    let wanted = Wanted {
        read: Some(read),
        ..wanted(&row)
    };
    let all = freed(&row, row.began_at);
    let freed = Freed {
        read,
        ..all.clone()
    };

    let lacked = lab
        .catalog
        .uncovered(&row, &wanted, None, 100)
        .await
        .unwrap();
    let mut lacked: Vec<ObjectId> = lacked.iter().map(|it| it.object.id).collect();
    assert_eq!(
        lacked.pop(),
        Some(alone),
        "what is not there is always lacked"
    );
    assert!(
        (1..ids.len()).contains(&lacked.len()),
        "{} of 40 are drawn",
        lacked.len()
    );
    let of_all = Wanted {
        read: Some(all.read),
        ..wanted.clone()
    };
    let of_all = lab.catalog.uncovered(&row, &of_all, None, 100).await;
    assert_eq!(of_all.unwrap().len(), 41);
    let progress = lab.catalog.copy_progress(&row).await.unwrap();
    assert_eq!(progress.outside_sample, (ids.len() - lacked.len()) as u64);

    for id in &ids {
        assert!(!free(lab, &row, *id, &all).await, "none has matched");
    }
    let (s3, now) = (&row.target, lab.now());
    let noted = lab.catalog.note_reads(s3, &lacked, now).await.unwrap();
    assert_eq!(noted, lacked.len() as u64);
    let left = lab.catalog.uncovered(&row, &wanted, None, 100).await;
    assert_eq!(left.unwrap().len(), 1);
    let freeable = lab.catalog.freeable(&row, &freed, None, 100).await.unwrap();
    assert_eq!(freeable, ids, "but for the one that is not there");
    let (now, after) = (lab.now(), lab.after(60));
    let count = lab
        .catalog
        .free_placements(&ids, &freed, row.id, now, after)
        .await;
    assert_eq!(count.unwrap(), 40);
    for id in ids {
        assert_eq!(
            state(lab, id, &row.source).await,
            Some(PlacementState::Retiring)
        );
    }
    let is_freed = free(lab, &row, alone, &freed).await;
    assert!(!is_freed, "the only copy stays");
}

async fn what_was_freed_can_be_brought_back(lab: &Lab) {
    let (first, second) = (local(lab, "temp/a").await, local(lab, "temp/b").await);
    let untouched = lab.put("temp/c").await.object;
    let row = migration(lab, "").await;
    let what = freed(&row, row.began_at);
    for id in [first.id, second.id] {
        copied(lab, &row, id).await;
        assert!(free(lab, &row, id, &what).await);
    }
    let local = &row.source;
    let (retiring, gone) = (PlacementState::Retiring, PlacementState::Gone);
    step(lab, first.id, local, retiring, gone).await;
    // What is still there is looked at, what is gone is made again.
    let brought = lab.catalog.unfree_placements(local, row.id, lab.now());
    assert_eq!(brought.await.unwrap(), 1);
    let suspect = Some(PlacementState::Suspect);
    assert_eq!(state(lab, second.id, local).await, suspect);
    let wanted = Wanted {
        store: local.clone(),
        read: Some(all_since(lab.now())),
        only_given: true,
    };
    let lacked = lab.catalog.uncovered(&row, &wanted, None, 9).await.unwrap();
    let lacked: Vec<_> = lacked.iter().map(|it| (it.object.id, it.state)).collect();
    assert_eq!(lacked, [(first.id, Some(gone))]);
    let now = lab.now();
    let owed = lab
        .catalog
        .owe_placements(&[first.id], local, row.id, now)
        .await;
    assert_eq!(owed.unwrap(), 1);
    let copying = Some(PlacementState::Copying);
    assert_eq!(state(lab, first.id, local).await, copying);
    // What the migration did not give is not taken by undoing it.
    lab.catalog
        .note_verified(untouched.id, local, lab.now())
        .await
        .unwrap();
    let given = Freed {
        from: row.target.clone(),
        kept_on: local.clone(),
        read: all_since(row.began_at),
        only_given: true,
    };
    let freeable = lab.catalog.freeable(&row, &given, None, 9).await.unwrap();
    assert_eq!(freeable, []);
    let (from, to) = (PlacementState::Suspect, PlacementState::Present);
    step(lab, second.id, local, from, to).await;
    let freeable = lab.catalog.freeable(&row, &given, None, 9).await.unwrap();
    assert_eq!(freeable, [second.id]);
}

async fn a_prefix_leaves_the_others_alone(lab: &Lab) {
    let inside = local(lab, "temp/é/a").await;
    for other in ["temp/f", "temp/e", "images/é/a"] {
        local(lab, other).await;
    }
    let row = migration(lab, "temp/é").await;
    assert_eq!(lacked(lab, &row).await, [inside.id]);
    let progress = lab.catalog.copy_progress(&row).await.unwrap();
    assert_eq!(progress.objects, 1);
}

async fn failures_are_listed_and_tried_again(lab: &Lab) {
    let object = local(lab, "temp/a").await;
    let row = migration(lab, "").await;
    owe(lab, &row, &[object.id]).await;
    let claim = || async {
        let claimed = lab
            .catalog
            .claim_placements(&row.target, lab.now(), lab.after(60), 9)
            .await;
        claimed.unwrap()
    };
    let claimed = claim().await;
    let (placement, now) = (&claimed[0].placement, lab.now());
    lab.catalog
        .postpone_placement(
            placement,
            "the source is damaged",
            now,
            Duration::from_secs(3600),
        )
        .await
        .unwrap();
    assert_eq!(lab.catalog.count_owed(&row.target).await.unwrap(), 0);
    let progress = lab.catalog.copy_progress(&row).await.unwrap();
    assert_eq!(progress.under_way, 0);
    assert_eq!(lab.catalog.count_failures(&row).await.unwrap(), 1);
    let failures = |after| lab.catalog.migration_failures(&row, after, 9);
    let listed = failures(None).await.unwrap();
    assert_eq!(listed[0].object.id, object.id);
    assert_eq!(listed[0].error, "the source is damaged");
    assert_eq!(failures(Some(object.id)).await.unwrap(), []);
    assert_eq!(claim().await, []);
    let retry = |row: MigrationRow| async move {
        let retried = lab.catalog.retry_failures(&row, lab.now()).await;
        retried.unwrap()
    };
    let elsewhere = MigrationRow {
        prefix: "models/".parse().unwrap(),
        ..row.clone()
    };
    assert_eq!(retry(elsewhere).await, 0, "it is about other objects");
    assert_eq!(retry(row.clone()).await, 1);
    assert_eq!(failures(None).await.unwrap(), []);
    assert_eq!(claim().await.len(), 1);
}

async fn a_deleted_object_is_no_part_of_a_migration(lab: &Lab) {
    let object = local(lab, "temp/a").await;
    let row = migration(lab, "").await;
    copied(lab, &row, object.id).await;
    let gone: Key = key("temp/a");
    lab.catalog
        .retire_object(&gone, lab.after(3600))
        .await
        .unwrap();
    assert!(!free(lab, &row, object.id, &freed(&row, row.began_at)).await);
    assert_eq!(owe(lab, &row, &[object.id]).await, 0);
    assert_eq!(lacked(lab, &row).await, []);
    let progress = lab.catalog.copy_progress(&row).await.unwrap();
    assert_eq!(progress.objects, 0);
}

async fn a_plan_counts_what_is_where(lab: &Lab) {
    let there = lab.put("temp/there").await.object;
    let read = local(lab, "temp/read").await;
    local(lab, "temp/unread").await;
    let doubted = local(lab, "temp/doubted").await;
    lab.catalog
        .note_verified(read.id, &StoreName::LOCAL, lab.now())
        .await
        .unwrap();
    let (present, suspect) = (PlacementState::Present, PlacementState::Suspect);
    step(lab, doubted.id, &StoreName::LOCAL, present, suspect).await;
    let counts = |prefix: &str| {
        let prefix: KeyPrefix = prefix.parse().unwrap();
        async move {
            lab.catalog
                .plan_counts(&StoreName::S3, &prefix)
                .await
                .unwrap()
        }
    };
    let all = counts("").await;
    assert_eq!((all.objects, all.bytes), (4, 12));
    assert_eq!((all.on_target, all.on_target_bytes), (1, 3));
    assert_eq!((all.to_copy, all.to_copy_bytes), (3, 9));
    assert_eq!((all.unverified, all.without_source), (1, 1));
    assert_eq!(all.on_others_bytes, 9);
    let some = counts("temp/th").await;
    assert_eq!((some.objects, some.on_target), (1, 1));
    assert_eq!(counts("images/").await.objects, 0);
    assert_eq!(there.key, key("temp/there"));
}

/// Of two that take an object's copies at the same time, one leaves its own.
async fn what_is_freed_and_doubted_at_once_keeps_a_copy(lab: &Lab) {
    for n in 0..20 {
        let object = local(lab, &format!("temp/{n}")).await;
        let current = lab.catalog.current_migration().await.unwrap();
        let row = match current {
            Some(row) => row,
            None => migration(lab, "").await,
        };
        copied(lab, &row, object.id).await;
        let (now, what) = (lab.now(), freed(&row, row.began_at));
        let doubt = PlacementStep {
            object_id: object.id,
            store: &row.target,
            from: PlacementState::Present,
            to: PlacementState::Suspect,
            error: Some("another hash"),
        };
        let (is_freed, doubted) = tokio::join!(
            free(lab, &row, object.id, &what),
            lab.catalog.step_placement(doubt, now),
        );
        doubted.unwrap();
        // Whoever came second saw the other: a copy that is freed after the doubt would be the last.
        let is_kept = state(lab, object.id, &row.source).await == Some(PlacementState::Present);
        assert_eq!(is_kept, !is_freed);
        // And what was freed before is not removed while the other one is doubted.
        let claimed = lab
            .catalog
            .claim_freed(&row.source, lab.after(120), lab.after(180), 99)
            .await
            .unwrap();
        for claim in claimed {
            let other = claim
                .object
                .placements
                .iter()
                .find(|it| it.store == row.target);
            assert_eq!(other.map(|it| it.state), Some(PlacementState::Suspect));
        }
    }
}

async fn what_a_clock_that_was_ahead_has_noted_is_set_back(lab: &Lab) {
    let ids = [local(lab, "temp/a").await.id, local(lab, "temp/b").await.id];
    let (now, ahead) = (lab.now(), lab.after(1_200));
    let new = NewMigration {
        began_at: ahead,
        ..migration_of(lab)
    };
    let row = lab.catalog.insert_migration(&new).await.unwrap();
    let owed = lab
        .catalog
        .owe_placements(&ids, &row.target, row.id, ahead)
        .await;
    assert_eq!(owed.unwrap(), 2);
    let claim = |now: Timestamp, until: Timestamp, limit| {
        lab.catalog.claim_placements(&row.target, now, until, limit)
    };
    // Somebody is making one of them, and nobody else is given it.
    let claimed = claim(ahead, lab.after(1_320), 1).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claim(now, lab.after(60), 9).await.unwrap(), []);

    let back = lab.catalog.set_migration_back(row.id, now).await.unwrap();
    assert_eq!((back.began_at, back.phase_began_at), (now, now));
    let others = claim(now, lab.after(60), 9).await.unwrap();
    assert_eq!(others.len(), 1);
    assert_ne!(others[0].object.id, claimed[0].object.id);
    // What began earlier stays as it is.
    let later = lab.after(60);
    let same = lab.catalog.set_migration_back(row.id, later).await;
    assert_eq!(same.unwrap(), back);
}
