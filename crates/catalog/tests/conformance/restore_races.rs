//! Restores at once with removals, uploads and other restores: who wins, and that only one does.

use std::collections::BTreeSet;

use stockroom_catalog::CatalogError;
use stockroom_domain::{ObjectState, PlacementState, Timestamp};

use crate::lab::{Lab, RACERS, on_both_databases, race, received};
use crate::restore::{delete, delete_model, there};

on_both_databases!(
    a_restore_and_a_removal_never_both_win,
    a_restored_model_and_a_removal_never_both_win,
    a_restore_and_an_upload_to_the_key_never_both_win,
    restores_at_once_restore_once,
);

/// Two moments that two servers take for the present one: for the first the grace period lasts,
/// for the second it is over.
fn before_and_after(lab: &Lab) -> (Timestamp, Timestamp, Timestamp) {
    let (before, over, after) = (lab.after(59), lab.after(60), lab.after(61));
    (before, over, after)
}

/// Ends the removals of a round, so that the next one meets its own objects only.
async fn remove_what_is_left(lab: &Lab, now: Timestamp) {
    for object in lab.catalog.claim_retiring(now, now, 9).await.unwrap() {
        lab.catalog.finish_retire(object.id, now).await.unwrap();
    }
}

async fn a_restore_and_a_removal_never_both_win(lab: &Lab) {
    let (mut restored, mut removed) = (0, 0);
    for round in 0..12 {
        let object = lab.put(&format!("temp/{round}")).await.object;
        let (before, over, after) = before_and_after(lab);
        lab.catalog.retire_object(&object.key, over).await.unwrap();
        let outcomes = race(|n| {
            let (catalog, key) = (lab.catalog.clone(), object.key.clone());
            // Who comes first changes from round to round.
            let restores = (n + round) % 2 == 0;
            async move {
                if restores {
                    // A claim reads before it writes; so both have the same way to go.
                    catalog.find_object(&key).await.unwrap();
                    match catalog.restore_object(&key, before).await {
                        Ok(_) => (1, 0),
                        Err(CatalogError::NotFound(_) | CatalogError::Conflict(_)) => (0, 0),
                        Err(error) => panic!("{error:?}"),
                    }
                } else {
                    let claimed = catalog.claim_retiring(after, after, 9).await.unwrap();
                    (0, claimed.len())
                }
            }
        })
        .await;
        let won = outcomes.iter().map(|(restored, _)| restored).sum::<usize>();
        let lost = outcomes.iter().map(|(_, removed)| removed).sum::<usize>();
        // A claim that ends at once is taken again by the next worker.
        assert!(won == 0 || lost == 0, "{outcomes:?}");
        assert!(won + lost > 0, "{outcomes:?}");
        assert!(won <= 1, "{outcomes:?}");
        let row = lab.catalog.find_object_by_id(object.id).await.unwrap();
        let row = row.unwrap().object;
        let retiring = PlacementState::Retiring;
        let is_removed = row.placements.iter().any(|p| p.state == retiring);
        assert_eq!(row.state == ObjectState::Live, won == 1);
        assert_eq!(is_removed, lost > 0);
        restored += won;
        removed += usize::from(lost > 0);
        remove_what_is_left(lab, after).await;
    }
    println!("restored {restored}, removed {removed}");
}

async fn a_restored_model_and_a_removal_never_both_win(lab: &Lab) {
    for round in 0..6 {
        let model = lab.model("kaethe").await.id;
        let mut objects = BTreeSet::new();
        for n in 0..3 {
            objects.insert(lab.asset(model, &format!("{n}.stl")).await.object.id);
        }
        let (before, over, after) = before_and_after(lab);
        lab.catalog
            .retire_model(model, lab.now(), over)
            .await
            .unwrap();
        let outcomes = race(|n| {
            let catalog = lab.catalog.clone();
            let restores = (n + round) % 2 == 0;
            async move {
                if restores {
                    catalog.find_model(model).await.unwrap();
                    match catalog.restore_model(model, before).await {
                        Ok(_) => return None,
                        Err(CatalogError::NotFound(_)) => return Some(0),
                        Err(error) => panic!("{error:?}"),
                    }
                }
                // One at a time, so that a restore can find some taken and some not.
                let claimed = catalog.claim_retiring(after, after, 1).await.unwrap();
                Some(claimed.len())
            }
        })
        .await;
        let is_restored = outcomes.contains(&None);
        let removed: usize = outcomes.iter().flatten().sum();
        assert_eq!(is_restored, removed == 0, "{outcomes:?}");
        let found = lab.catalog.find_model(model).await.unwrap();
        assert_eq!(found.is_some(), is_restored);
        for id in objects {
            let row = lab.catalog.find_object_by_id(id).await.unwrap().unwrap();
            assert_eq!(row.object.state == ObjectState::Live, is_restored);
        }
        remove_what_is_left(lab, after).await;
    }
}

async fn a_restore_and_an_upload_to_the_key_never_both_win(lab: &Lab) {
    let object = lab.put("temp/a").await.object;
    let retire_after = lab.after(600);
    lab.catalog
        .retire_object(&object.key, retire_after)
        .await
        .unwrap();
    let mut uploads = Vec::new();
    for _ in 0..RACERS {
        uploads.push(lab.open("temp/a").await.object_id);
    }
    let now = lab.now();
    let outcomes = race(|n| {
        let (catalog, key, id) = (lab.catalog.clone(), object.key.clone(), uploads[n as usize]);
        async move {
            if n % 4 != 0 {
                return catalog.restore_object(&key, now).await.is_ok();
            }
            catalog
                .record_object(&received(id), now, retire_after)
                .await
                .unwrap();
            true
        }
    })
    .await;
    // Every upload wins over what was there, a restore only over nothing.
    let won = outcomes.iter().filter(|won| **won).count();
    assert!((4..=5).contains(&won), "{outcomes:?}");
    let page = stockroom_catalog::Page::first(100);
    let prefix = "temp/".parse().unwrap();
    let live = lab.catalog.list_objects(&prefix, &page).await.unwrap();
    assert_eq!(live.items.len(), 1);
    assert_ne!(live.items[0].id, object.id);
}

async fn restores_at_once_restore_once(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let asset = lab.asset(model, "a.stl").await;
    delete(lab, asset.id).await;
    let kept = lab.asset(model, "b.stl").await;
    delete_model(lab, model).await;
    let now = lab.now();
    let outcomes = race(|_| {
        let catalog = lab.catalog.clone();
        async move {
            catalog.restore_model(model, now).await.unwrap();
            catalog.restore_asset(asset.id, now).await.unwrap().id
        }
    })
    .await;
    assert_eq!(outcomes, [asset.id; RACERS as usize]);
    assert_eq!(there(lab, &[&asset, &kept]).await, [true, true]);
}
