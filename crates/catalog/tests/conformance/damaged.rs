//! Rows that cannot be read: they keep nobody from all the others.

use stockroom_catalog::CatalogError;
use stockroom_domain::{ObjectId, StoreName};

use crate::connect::tamper;
use crate::lab::{Lab, on_both_databases};

on_both_databases!(
    a_damaged_object_does_not_keep_others_from_being_copied,
    a_damaged_placement_does_not_keep_others_from_being_copied,
    a_damaged_object_does_not_keep_others_from_being_verified,
    a_damaged_object_does_not_keep_others_from_being_retired,
    a_damaged_tombstone_does_not_keep_others_from_being_swept,
    a_list_goes_on_after_damaged_objects,
);

/// Three claims in a row, with their limits and what they are given when the damaged row is the
/// first one that is due.
const fn claims(second: ObjectId, third: ObjectId) -> [(u32, Option<ObjectId>); 3] {
    [(1, None), (1, Some(second)), (9, Some(third))]
}

async fn a_damaged_object_does_not_keep_others_from_being_copied(lab: &Lab) {
    let damaged = lab.under_placed("models/damaged").await.id;
    let second = lab.under_placed("models/b").await.id;
    let third = lab.under_placed("models/c").await.id;
    tamper(
        lab,
        "UPDATE objects SET metadata = '{' WHERE key = 'models/damaged'",
    )
    .await;
    let (now, lease_until) = (lab.now(), lab.after(60));
    for (limit, expected) in claims(second, third) {
        let claimed = lab
            .catalog
            .claim_placements(&StoreName::S3, now, lease_until, limit)
            .await
            .unwrap();
        assert!(claimed.iter().map(|claim| claim.object.id).eq(expected));
    }
    // Nothing else was changed, so that it can be mended.
    let rows = lab.catalog.placements_of(damaged).await.unwrap();
    assert_eq!(
        (rows[1].attempts, rows[1].next_attempt_at),
        (1, lease_until)
    );
    tamper(
        lab,
        "UPDATE objects SET metadata = '{}' WHERE key = 'models/damaged'",
    )
    .await;
    let claimed = lab
        .catalog
        .claim_placements(&StoreName::S3, lease_until, lease_until, 9)
        .await
        .unwrap();
    let claimed: Vec<_> = claimed.iter().map(|claim| claim.object.id).collect();
    assert!(claimed.contains(&damaged) && claimed.len() == 3);
}

async fn a_damaged_placement_does_not_keep_others_from_being_copied(lab: &Lab) {
    lab.under_placed("models/damaged").await;
    let second = lab.under_placed("models/b").await.id;
    let third = lab.under_placed("models/c").await.id;
    tamper(
        lab,
        "UPDATE placements SET attempts = -7 WHERE store = 's3' AND object_id =
             (SELECT o.id FROM objects o WHERE o.key = 'models/damaged')",
    )
    .await;
    let (now, lease_until) = (lab.now(), lab.after(60));
    for (limit, expected) in claims(second, third) {
        let claimed = lab
            .catalog
            .claim_placements(&StoreName::S3, now, lease_until, limit)
            .await
            .unwrap();
        assert!(claimed.iter().map(|claim| claim.object.id).eq(expected));
    }
}

async fn a_damaged_object_does_not_keep_others_from_being_verified(lab: &Lab) {
    lab.put("models/damaged").await;
    let second = lab.put("models/b").await.object.id;
    let third = lab.put("models/c").await.object.id;
    tamper(
        lab,
        "UPDATE objects SET metadata = '{' WHERE key = 'models/damaged'",
    )
    .await;
    let (now, lease_until) = (lab.now(), lab.after(60));
    for (limit, expected) in claims(second, third) {
        let claimed = lab
            .catalog
            .claim_unverified(&StoreName::S3, now, now, lease_until, limit)
            .await
            .unwrap();
        assert!(claimed.iter().map(|claim| claim.object.id).eq(expected));
    }
}

async fn a_damaged_object_does_not_keep_others_from_being_retired(lab: &Lab) {
    let mut ids = Vec::new();
    for key in ["models/damaged", "models/b", "models/c"] {
        let object = lab.put(key).await.object;
        lab.catalog
            .retire_object(&object.key, lab.now())
            .await
            .unwrap();
        ids.push(object.id);
    }
    tamper(
        lab,
        "UPDATE objects SET metadata = '{' WHERE key = 'models/damaged'",
    )
    .await;
    let (now, lease_until) = (lab.now(), lab.after(60));
    for (limit, expected) in claims(ids[1], ids[2]) {
        let claimed = lab
            .catalog
            .claim_retiring(now, lease_until, limit)
            .await
            .unwrap();
        assert!(claimed.iter().map(|object| object.id).eq(expected));
    }
}

async fn a_damaged_tombstone_does_not_keep_others_from_being_swept(lab: &Lab) {
    lab.open("temp/damaged").await;
    let second = lab.open("temp/b").await.object_id;
    let third = lab.open("temp/c").await.object_id;
    tamper(
        lab,
        "UPDATE objects SET key = 'nowhere' WHERE key = 'temp/damaged'",
    )
    .await;
    let (now, lease_until) = (lab.after(600), lab.after(660));
    for (limit, expected) in claims(second, third) {
        let claimed = lab
            .catalog
            .claim_tombstones(now, lease_until, limit)
            .await
            .unwrap();
        assert!(
            claimed
                .iter()
                .map(|tombstone| tombstone.object_id)
                .eq(expected)
        );
    }
}

async fn a_list_goes_on_after_damaged_objects(lab: &Lab) {
    let mut ids = Vec::new();
    for key in [
        "temp/1", "temp/2", "temp/3", "models/a", "temp/4", "models/b", "models/c", "temp/5",
    ] {
        ids.push(lab.put(key).await.object.id);
    }
    tamper(
        lab,
        "UPDATE objects SET metadata = '{' WHERE key LIKE 'temp/%'",
    )
    .await;
    let damaged = lab.catalog.find_object_by_id(ids[0]).await;
    assert!(matches!(damaged, Err(CatalogError::Corrupt { .. })));
    let mut listed = Vec::new();
    for rows in [2, 1, 0] {
        let after = listed.last().copied();
        let page = lab.catalog.list_recorded(after, 2).await.unwrap();
        assert_eq!(page.len(), rows);
        listed.extend(page.iter().map(|object| object.id));
    }
    assert_eq!(listed, [ids[3], ids[5], ids[6]]);
    let all = lab.catalog.list_recorded(None, 100).await.unwrap();
    assert_eq!(all.len(), 3);
}
