//! Restoring: what comes back, what does not, and who wins against the removal of bytes.

use stockroom_catalog::{AssetQuery, AssetRow, Conflict, KeyHash, NewKey, PlacementStep};
use stockroom_domain::{AssetId, KeyId, ModelId, ObjectState, PlacementState, Role, StoreName};

use crate::lab::{Lab, key, on_both_databases, subject};
use crate::{assert_conflict, assert_not_found};

on_both_databases!(
    a_deleted_object_comes_back_as_it_was,
    the_object_that_was_deleted_last_comes_back,
    an_object_that_was_replaced_never_comes_back_for_the_deleted_one,
    a_key_that_was_taken_stays_taken,
    nothing_comes_back_after_the_grace_period,
    nothing_comes_back_once_its_bytes_are_being_removed,
    the_bytes_of_an_asset_come_back_with_the_asset_only,
    an_asset_comes_back_with_the_versions_that_were_deleted_with_it,
    an_older_version_comes_back_without_the_newer_ones,
    an_asset_comes_back_after_its_model_only,
    a_model_comes_back_with_what_its_deletion_took,
    deletions_at_the_same_moment_are_told_apart,
    a_restore_is_whole_or_changes_nothing,
    what_is_not_deleted_is_given_back_as_it_is,
    a_buyer_can_download_what_was_restored,
);

async fn a_deleted_object_comes_back_as_it_was(lab: &Lab) {
    let catalog = &lab.catalog;
    let object = lab.under_placed("models/a.stl").await;
    let step = PlacementStep {
        object_id: object.id,
        store: &StoreName::LOCAL,
        from: PlacementState::Present,
        to: PlacementState::Suspect,
        error: None,
    };
    catalog.step_placement(step, lab.now()).await.unwrap();
    let before = catalog.find_object(&object.key).await.unwrap().unwrap();
    let retire_after = lab.after(60);
    catalog
        .retire_object(&object.key, retire_after)
        .await
        .unwrap();
    // What a deleted object is owed is not brought to it.
    let (now, lease_until) = (lab.now(), lab.after(60));
    let owed = async |store| {
        catalog
            .claim_placements(store, now, lease_until, 9)
            .await
            .unwrap()
            .len()
    };
    assert_eq!(
        (owed(&StoreName::LOCAL).await, owed(&StoreName::S3).await),
        (0, 0)
    );
    let restored = catalog
        .restore_object(&object.key, lab.now())
        .await
        .unwrap();
    assert_eq!(restored, before.object);
    let found = catalog.find_object(&object.key).await.unwrap();
    assert_eq!(found, Some(before));
    assert_eq!(
        (owed(&StoreName::LOCAL).await, owed(&StoreName::S3).await),
        (1, 1)
    );
    // The end of the old grace period means nothing any more.
    let later = lab.after(3600);
    let claimed = catalog.claim_retiring(later, later, 9).await.unwrap();
    assert_eq!(claimed, []);
}

async fn the_object_that_was_deleted_last_comes_back(lab: &Lab) {
    let catalog = &lab.catalog;
    lab.put("temp/a").await;
    let second = lab.put("temp/a").await.object;
    let retire_after = lab.after(3600);
    catalog
        .retire_object(&second.key, retire_after)
        .await
        .unwrap();
    let restored = catalog.restore_object(&second.key, lab.now()).await;
    assert_eq!(restored.unwrap(), second);
    assert_not_found!(
        catalog.restore_object(&key("temp/b"), lab.now()).await,
        Object
    );
    // An upload that nobody finished was never an object.
    let upload = lab.open("temp/c").await;
    let outcome = catalog.restore_object(&upload.key, lab.now()).await;
    assert_not_found!(outcome, Object);
    catalog
        .abandon_upload(upload.object_id, lab.now())
        .await
        .unwrap();
    let outcome = catalog.restore_object(&upload.key, lab.now()).await;
    assert_not_found!(outcome, Object);
}

async fn an_object_that_was_replaced_never_comes_back_for_the_deleted_one(lab: &Lab) {
    let catalog = &lab.catalog;
    lab.put("temp/a").await;
    let second = lab.put("temp/a").await;
    let deleted = second.object;
    let replaced = second.replaced.unwrap();
    // The server that deletes has a clock that is behind that of the one that replaced, or the
    // grace period was shortened in between.
    for earlier in [lab.after(60), lab.after(3600), lab.now()] {
        catalog.retire_object(&deleted.key, earlier).await.unwrap();
        let row = catalog.find_object_by_id(replaced).await.unwrap().unwrap();
        let last = row.object.retire_after.unwrap();
        let row = catalog
            .find_object_by_id(deleted.id)
            .await
            .unwrap()
            .unwrap();
        let expected = earlier.max(last.after(std::time::Duration::from_millis(1)));
        assert_eq!(row.object.retire_after, Some(expected));
        let restored = catalog.restore_object(&deleted.key, lab.now()).await;
        assert_eq!(restored.unwrap(), deleted);
    }
    // Also when it is replaced, and the one that replaced it is deleted.
    let upload = lab.open("temp/a").await;
    let received = lab.received(&upload);
    let third = catalog
        .record_object(&received, lab.now(), lab.after(1))
        .await
        .unwrap();
    assert_eq!(third.replaced, Some(deleted.id));
    let long_ago = lab.now();
    catalog.retire_object(&deleted.key, long_ago).await.unwrap();
    let restored = catalog.restore_object(&deleted.key, lab.now()).await;
    assert_eq!(restored.unwrap(), third.object);
    // Objects of other keys have nothing to do with it.
    let other = lab.put("temp/b").await.object;
    let retire_after = lab.after(2);
    catalog
        .retire_object(&other.key, retire_after)
        .await
        .unwrap();
    let row = catalog.find_object_by_id(other.id).await.unwrap().unwrap();
    assert_eq!(row.object.retire_after, Some(retire_after));
}

async fn a_key_that_was_taken_stays_taken(lab: &Lab) {
    let catalog = &lab.catalog;
    let first = lab.put("temp/a").await.object;
    let second = lab.put("temp/a").await.object;
    let outcome = catalog.restore_object(&first.key, lab.now()).await;
    assert_conflict!(outcome, Conflict::KeyTaken);
    let live = catalog.find_object(&first.key).await.unwrap().unwrap();
    assert_eq!(live.object, second);

    let model = lab.model("kaethe").await.id;
    let asset = lab.asset(model, "a.stl").await;
    let retire_after = lab.after(60);
    catalog
        .retire_asset(asset.id, lab.now(), retire_after)
        .await
        .unwrap();
    let taken_by = lab.put(asset.object.key.as_str()).await.object;
    let outcome = catalog.restore_asset(asset.id, lab.now()).await;
    assert_conflict!(outcome, Conflict::KeyTaken);
    let live = catalog.find_object(&taken_by.key).await.unwrap().unwrap();
    assert_eq!(live.object, taken_by);
    assert_eq!(catalog.find_asset(asset.id).await.unwrap(), None);
}

async fn nothing_comes_back_after_the_grace_period(lab: &Lab) {
    let catalog = &lab.catalog;
    let object = lab.put("temp/a").await.object;
    let model = lab.model("kaethe").await.id;
    let asset = lab.asset(model, "a.stl").await.id;
    lab.asset(model, "b.stl").await;
    let over = lab.after(60);
    catalog.retire_object(&object.key, over).await.unwrap();
    catalog.retire_asset(asset, lab.now(), over).await.unwrap();
    assert_not_found!(catalog.restore_object(&object.key, over).await, Object);
    assert_not_found!(catalog.restore_asset(asset, over).await, Asset);
    catalog.retire_model(model, lab.now(), over).await.unwrap();
    assert_not_found!(catalog.restore_model(model, over).await, Model);
    assert_eq!(catalog.find_model(model).await.unwrap(), None);
    // A moment before it does.
    let last = over.before(std::time::Duration::from_millis(1));
    catalog.restore_object(&object.key, last).await.unwrap();
    catalog.restore_model(model, last).await.unwrap();
    catalog.restore_asset(asset, last).await.unwrap();
}

async fn nothing_comes_back_once_its_bytes_are_being_removed(lab: &Lab) {
    let catalog = &lab.catalog;
    let object = lab.put("temp/a").await.object;
    let over = lab.after(60);
    catalog.retire_object(&object.key, over).await.unwrap();
    let claimed = catalog
        .claim_retiring(over, lab.after(90), 9)
        .await
        .unwrap();
    assert_eq!(claimed.len(), 1);
    // The clock of this server is behind that of the one that removes.
    let behind = lab.now();
    let restore = async || catalog.restore_object(&object.key, behind).await;
    assert_not_found!(restore().await, Object);
    // Neither a worker that died nor one that waits gives the object back.
    let wait = std::time::Duration::from_secs(600);
    catalog
        .postpone_retire(object.id, over, wait)
        .await
        .unwrap();
    assert_not_found!(restore().await, Object);
    catalog.finish_retire(object.id, over).await.unwrap();
    assert_not_found!(restore().await, Object);
    let row = catalog.find_object_by_id(object.id).await.unwrap().unwrap();
    assert_eq!(row.object.state, ObjectState::Gone);
}

async fn the_bytes_of_an_asset_come_back_with_the_asset_only(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let asset = lab.asset(model, "a.stl").await;
    let retire_after = lab.after(60);
    lab.catalog
        .retire_asset(asset.id, lab.now(), retire_after)
        .await
        .unwrap();
    let outcome = lab
        .catalog
        .restore_object(&asset.object.key, lab.now())
        .await;
    assert_conflict!(outcome, Conflict::AssetObject { asset: id } if id == asset.id);
    let restored = lab.catalog.restore_asset(asset.id, lab.now()).await;
    assert_eq!(restored.unwrap(), asset);
}

/// Which of these assets are there.
pub(crate) async fn there(lab: &Lab, assets: &[&AssetRow]) -> Vec<bool> {
    let mut there = Vec::new();
    for asset in assets {
        let found = lab.catalog.find_asset(asset.id).await.unwrap();
        let object = lab.catalog.find_object(&asset.object.key).await.unwrap();
        assert_eq!(found.is_some(), object.is_some());
        if let Some(found) = &found {
            assert_eq!(found, *asset);
        }
        there.push(found.is_some());
    }
    there
}

pub(crate) async fn delete(lab: &Lab, asset: AssetId) {
    let retire_after = lab.after(3600);
    lab.catalog
        .retire_asset(asset, lab.now(), retire_after)
        .await
        .unwrap();
}

pub(crate) async fn delete_model(lab: &Lab, model: ModelId) {
    let retire_after = lab.after(3600);
    lab.catalog
        .retire_model(model, lab.now(), retire_after)
        .await
        .unwrap();
}

async fn an_asset_comes_back_with_the_versions_that_were_deleted_with_it(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let first = lab.asset(model, "a.stl").await;
    delete(lab, first.id).await;
    let second = lab.asset(model, "a.stl").await;
    let third = lab.asset(model, "a.stl").await;
    let fourth = lab.asset(model, "a.stl").await;
    let other = lab.asset(model, "b.stl").await;
    delete(lab, third.id).await;
    delete(lab, other.id).await;
    delete(lab, fourth.id).await;
    let all = [&first, &second, &third, &fourth, &other];
    assert_eq!(there(lab, &all).await, [false; 5]);

    let now = lab.now();
    let restored = lab.catalog.restore_asset(third.id, now).await;
    assert_eq!(restored.unwrap(), third);
    assert_eq!(there(lab, &all).await, [false, true, true, false, false]);
    let row = lab.catalog.find_model(model).await.unwrap().unwrap();
    assert_eq!(row.updated_at, now);
    for (asset, expected) in [
        (&first, [true, true, true, false, false]),
        (&fourth, [true, true, true, true, false]),
        (&other, [true; 5]),
    ] {
        lab.catalog
            .restore_asset(asset.id, lab.now())
            .await
            .unwrap();
        assert_eq!(there(lab, &all).await, expected);
    }
    // Versions go on where they were.
    assert_eq!(lab.asset(model, "a.stl").await.version, 5);
}

async fn an_older_version_comes_back_without_the_newer_ones(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let first = lab.asset(model, "a.stl").await;
    let second = lab.asset(model, "a.stl").await;
    delete(lab, second.id).await;
    lab.catalog
        .restore_asset(first.id, lab.now())
        .await
        .unwrap();
    assert_eq!(there(lab, &[&first, &second]).await, [true, false]);
    lab.catalog
        .restore_asset(second.id, lab.now())
        .await
        .unwrap();
    assert_eq!(there(lab, &[&first, &second]).await, [true, true]);
}

async fn an_asset_comes_back_after_its_model_only(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let asset = lab.asset(model, "a.stl").await;
    delete_model(lab, model).await;
    let outcome = lab.catalog.restore_asset(asset.id, lab.now()).await;
    assert_conflict!(outcome, Conflict::ModelDeleted { model: id } if id == model);
    assert_eq!(there(lab, &[&asset]).await, [false]);
}

async fn a_model_comes_back_with_what_its_deletion_took(lab: &Lab) {
    let model = lab.model("kaethe").await;
    let early = lab.asset(model.id, "early.stl").await;
    let first = lab.asset(model.id, "a.stl").await;
    let second = lab.asset(model.id, "a.stl").await;
    let elsewhere = lab.asset(lab.model("kaethe").await.id, "a.stl").await;
    delete(lab, early.id).await;
    delete(lab, elsewhere.id).await;
    delete_model(lab, model.id).await;
    let all = [&early, &first, &second, &elsewhere];
    assert_eq!(there(lab, &all).await, [false; 4]);

    let now = lab.now();
    let restored = lab.catalog.restore_model(model.id, now).await.unwrap();
    assert_eq!(
        lab.catalog.find_model(model.id).await.unwrap().as_ref(),
        Some(&restored)
    );
    assert_eq!((restored.status, restored.deleted_at), (model.status, None));
    assert_eq!(restored.updated_at, now);
    assert_eq!(there(lab, &all).await, [false, true, true, false]);
    // What had been deleted before can come back by itself.
    lab.catalog
        .restore_asset(early.id, lab.now())
        .await
        .unwrap();
    assert_eq!(there(lab, &all).await, [true, true, true, false]);
}

async fn deletions_at_the_same_moment_are_told_apart(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let first = lab.asset(model, "a.stl").await;
    let second = lab.asset(model, "a.stl").await;
    let third = lab.asset(model, "b.stl").await;
    let (now, retire_after) = (lab.now(), lab.after(60));
    for id in [first.id, second.id] {
        lab.catalog
            .retire_asset(id, now, retire_after)
            .await
            .unwrap();
    }
    lab.catalog
        .retire_model(model, now, retire_after)
        .await
        .unwrap();
    let all = [&first, &second, &third];
    lab.catalog.restore_model(model, lab.now()).await.unwrap();
    assert_eq!(there(lab, &all).await, [false, false, true]);
    lab.catalog
        .restore_asset(second.id, lab.now())
        .await
        .unwrap();
    assert_eq!(there(lab, &all).await, [false, true, true]);
}

async fn a_restore_is_whole_or_changes_nothing(lab: &Lab) {
    let catalog = &lab.catalog;
    let model = lab.model("kaethe").await.id;
    let first = lab.asset(model, "a.stl").await;
    let second = lab.asset(model, "a.stl").await;
    delete_model(lab, model).await;
    // Somebody else took one of the keys meanwhile.
    let taken_by = lab.put(first.object.key.as_str()).await.object;
    let outcome = catalog.restore_model(model, lab.now()).await;
    assert_conflict!(outcome, Conflict::KeyTaken);
    assert_eq!(catalog.find_model(model).await.unwrap(), None);
    let row = catalog.find_object(&second.object.key).await.unwrap();
    assert_eq!(row, None);
    let long_ago = lab.now();
    catalog
        .retire_object(&taken_by.key, long_ago)
        .await
        .unwrap();
    catalog.restore_model(model, lab.now()).await.unwrap();
    assert_eq!(there(lab, &[&first, &second]).await, [true, true]);

    // The bytes of one are being removed.
    catalog
        .retire_asset(second.id, lab.now(), lab.after(60))
        .await
        .unwrap();
    let step = PlacementStep {
        object_id: first.object.id,
        store: &StoreName::S3,
        from: PlacementState::Present,
        to: PlacementState::Retiring,
        error: None,
    };
    catalog.step_placement(step, lab.now()).await.unwrap();
    let outcome = catalog.restore_asset(second.id, lab.now()).await;
    assert_not_found!(outcome, Asset);
    assert_eq!(there(lab, &[&first, &second]).await, [false, false]);
}

async fn what_is_not_deleted_is_given_back_as_it_is(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let asset = lab.asset(model, "a.stl").await;
    let before = lab.catalog.find_model(model).await.unwrap().unwrap();
    let restored = lab.catalog.restore_asset(asset.id, lab.now()).await;
    assert_eq!(restored.unwrap(), asset);
    let restored = lab.catalog.restore_model(model, lab.now()).await;
    assert_eq!(restored.unwrap(), before);
    let now = lab.now();
    let unknown = lab.id(ModelId::generate);
    assert_not_found!(lab.catalog.restore_model(unknown, now).await, Model);
    let unknown = lab.id(AssetId::generate);
    assert_not_found!(lab.catalog.restore_asset(unknown, now).await, Asset);
}

async fn a_buyer_can_download_what_was_restored(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let asset = lab.asset(model, "a.stl").await.id;
    let purchase = lab.buy(lab.new_purchase("bo", model)).await.id;
    let hash = KeyHash(lab.bytes());
    let new = NewKey {
        id: lab.id(KeyId::generate),
        hash,
        role: Role::Buyer,
        subject: Some(subject("bo")),
        name: None,
        created_at: lab.now(),
        expires_at: None,
    };
    lab.catalog.insert_key(&new).await.unwrap();
    let may_download = async || {
        let query = AssetQuery {
            asset_id: asset,
            key_hash: Some(hash),
            acting_for: None,
            now: lab.now(),
        };
        let view = lab.catalog.asset_view(query).await.unwrap();
        let details = view.asset.as_ref().unwrap();
        assert_eq!(details.purchase.as_ref().map(|p| p.id), Some(purchase));
        !details.deleted
    };
    assert!(may_download().await);
    delete_model(lab, model).await;
    assert!(!may_download().await);
    lab.catalog.restore_model(model, lab.now()).await.unwrap();
    assert!(may_download().await);
    delete(lab, asset).await;
    assert!(!may_download().await);
    lab.catalog.restore_asset(asset, lab.now()).await.unwrap();
    assert!(may_download().await);
}
