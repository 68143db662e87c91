//! Bytes that lie on a store already become objects.

use stockroom_catalog::{Conflict, NewAsset, NewUpload, ObjectRow, Page};
use stockroom_domain::{AssetId, Key, KeyPrefix, ModelId, ObjectState, PlacementState, StoreName};

use crate::lab::{Lab, key, on_both_databases, race, received};
use crate::{assert_conflict, assert_not_found};

on_both_databases!(
    an_adopted_object_lies_at_its_key,
    a_location_that_was_used_is_not_adopted,
    a_key_that_names_an_object_is_not_adopted,
    adopting_and_uploading_never_share_a_location,
    an_adopted_object_is_an_asset_at_once_or_not_at_all,
    an_object_becomes_an_asset_once,
    the_first_object_of_a_key_replaces_none,
    a_copy_on_one_more_store_is_recorded_once,
    everything_live_is_exported_once_with_what_it_is_sold_as,
);

async fn adopt(lab: &Lab, new: &NewUpload) -> stockroom_catalog::Result<ObjectRow> {
    let mut received = received(new.object_id);
    received.placements = vec![
        (StoreName::LOCAL, PlacementState::Present),
        (StoreName::S3, PlacementState::Copying),
    ];
    lab.catalog
        .adopt_object(new, &received, None, lab.now())
        .await
}

fn asset_of(lab: &Lab, model_id: ModelId, object: &NewUpload) -> NewAsset {
    NewAsset {
        id: lab.id(AssetId::generate),
        model_id,
        filename: "a.stl".parse().unwrap(),
        format: "stl".to_owned(),
        report: None,
        upload: received(object.object_id),
    }
}

async fn an_adopted_object_lies_at_its_key(lab: &Lab) {
    let new = lab.new_upload("models/42/a.stl");
    let object = adopt(lab, &new).await.unwrap();
    assert_eq!((object.id, &object.location), (new.object_id, &new.key));
    assert_eq!(object.state, ObjectState::Live);
    assert_eq!(object.metadata, new.metadata);
    let states: Vec<_> = object.placements.iter().map(|it| it.state).collect();
    assert_eq!(states, [PlacementState::Present, PlacementState::Copying]);
    let found = lab.catalog.find_object(&new.key).await.unwrap().unwrap();
    assert_eq!(found.object, object);
    // No sweep takes it for an upload that nobody finished.
    let later = lab.after(1 << 20);
    let claimed = lab.catalog.claim_tombstones(later, later, 9).await.unwrap();
    assert_eq!(claimed, []);
}

async fn a_location_that_was_used_is_not_adopted(lab: &Lab) {
    let open = lab.open("models/open").await;
    let dead = lab.open("models/dead").await;
    assert!(
        lab.catalog
            .abandon_upload(dead.object_id, lab.now())
            .await
            .unwrap()
    );
    let deleted = lab.put("models/deleted").await.object;
    lab.catalog
        .retire_object(&deleted.key, lab.now())
        .await
        .unwrap();
    for key in [open.key, dead.key, deleted.key] {
        let new = lab.new_upload(key.as_str());
        assert_conflict!(adopt(lab, &new).await, Conflict::LocationTaken);
        assert_eq!(lab.catalog.find_object(&key).await.unwrap(), None);
    }
}

async fn a_key_that_names_an_object_is_not_adopted(lab: &Lab) {
    // Its first object was deleted, so the one that has the key now lies elsewhere.
    lab.put("models/a").await;
    let now = lab.put("models/a").await.object;
    assert_ne!(now.location, now.key);
    let new = lab.new_upload("models/a");
    assert_conflict!(adopt(lab, &new).await, Conflict::LocationTaken);
    let found = lab.catalog.find_object(&now.key).await.unwrap().unwrap();
    assert_eq!(found.object, now);
    // An upload lies at the key's place, and an object of the key elsewhere, when the first one is
    // discarded meanwhile.
    let open = lab.open("models/b").await;
    lab.put("models/b").await;
    assert!(lab.catalog.discard_upload(open.object_id).await.unwrap());
    let new = lab.new_upload("models/b");
    assert_conflict!(adopt(lab, &new).await, Conflict::ObjectKey);
}

async fn adopting_and_uploading_never_share_a_location(lab: &Lab) {
    let uploads: Vec<NewUpload> = (0..crate::lab::RACERS)
        .map(|_| lab.new_upload("models/raced"))
        .collect();
    let (catalog, now) = (lab.catalog.clone(), lab.now());
    let outcomes = race(|n| {
        let (catalog, new) = (catalog.clone(), uploads[n as usize].clone());
        async move {
            if n % 2 == 0 {
                let received = received(new.object_id);
                let adopted = catalog.adopt_object(&new, &received, None, now).await;
                adopted.ok().map(|object| object.location)
            } else {
                Some(catalog.open_upload(new).await.unwrap().location)
            }
        }
    })
    .await;
    let mut locations: Vec<Key> = outcomes.into_iter().flatten().collect();
    let all = locations.len();
    locations.sort();
    locations.dedup();
    assert_eq!(locations.len(), all);
    let at_key = locations.iter().filter(|it| it.as_str() == "models/raced");
    assert_eq!(at_key.count(), 1);
}

async fn an_adopted_object_is_an_asset_at_once_or_not_at_all(lab: &Lab) {
    let model = lab.model("kaethe").await;
    let new = lab.new_upload("models/42/a.stl");
    let asset = asset_of(lab, model.id, &new);
    let catalog = &lab.catalog;
    let adopted = catalog
        .adopt_object(&new, &asset.upload, Some(&asset), lab.now())
        .await
        .unwrap();
    let row = catalog.asset_of_object(adopted.id).await.unwrap().unwrap();
    assert_eq!((row.id, row.version), (asset.id, 1));
    assert_eq!(row.object, adopted);

    let missing = lab.id(ModelId::generate);
    let new = lab.new_upload("models/42/b.stl");
    let asset = asset_of(lab, missing, &new);
    let refused = catalog
        .adopt_object(&new, &asset.upload, Some(&asset), lab.now())
        .await;
    assert_not_found!(refused, Model);
    assert_eq!(catalog.find_object(&new.key).await.unwrap(), None);
    adopt(lab, &new).await.unwrap();
}

async fn an_object_becomes_an_asset_once(lab: &Lab) {
    let model = lab.model("kaethe").await;
    let new = lab.new_upload("models/42/a.stl");
    adopt(lab, &new).await.unwrap();
    let catalog = &lab.catalog;
    assert_eq!(catalog.asset_of_object(new.object_id).await.unwrap(), None);
    let asset = asset_of(lab, model.id, &new);
    let row = catalog.attach_asset(&asset, lab.now()).await.unwrap();
    assert_eq!(catalog.find_asset(asset.id).await.unwrap(), Some(row));
    let again = asset_of(lab, model.id, &new);
    let refused = catalog.attach_asset(&again, lab.now()).await;
    assert_conflict!(refused, Conflict::ObjectInUse { asset: id } if id == asset.id);
    let deleted = lab.put("models/gone").await.object;
    catalog
        .retire_object(&deleted.key, lab.now())
        .await
        .unwrap();
    let mut asset = asset_of(lab, model.id, &new);
    asset.upload.object_id = deleted.id;
    assert_not_found!(catalog.attach_asset(&asset, lab.now()).await, Object);
}

async fn the_first_object_of_a_key_replaces_none(lab: &Lab) {
    let catalog = &lab.catalog;
    let first = lab.open("models/a").await;
    let second = lab.open("models/a").await;
    let first = lab.received(&first);
    let live = catalog
        .record_first_object(&first, lab.now())
        .await
        .unwrap();
    assert_eq!(live.id, first.object_id);
    let second = lab.received(&second);
    let refused = catalog.record_first_object(&second, lab.now()).await;
    assert_conflict!(refused, Conflict::ObjectKey);
    let again = catalog.record_first_object(&first, lab.now()).await;
    assert_conflict!(again, Conflict::UploadClosed);
    let found = catalog.find_object(&key("models/a")).await.unwrap();
    assert_eq!(found.unwrap().object, live);
}

async fn a_copy_on_one_more_store_is_recorded_once(lab: &Lab) {
    let catalog = &lab.catalog;
    let new = lab.new_upload("models/a");
    let mut received = received(new.object_id);
    received.placements = vec![(StoreName::LOCAL, PlacementState::Present)];
    catalog
        .adopt_object(&new, &received, None, lab.now())
        .await
        .unwrap();
    let now = lab.now();
    for is_new in [true, false] {
        let adopted = catalog.adopt_copy(new.object_id, &StoreName::S3, now).await;
        assert_eq!(adopted.unwrap(), is_new);
    }
    let placements = catalog.placements_of(new.object_id).await.unwrap();
    let s3 = &placements[1];
    assert_eq!(
        (&s3.store, s3.state),
        (&StoreName::S3, PlacementState::Present)
    );
    assert_eq!(s3.verified_at, Some(now));
    catalog.retire_object(&new.key, now).await.unwrap();
    let refused = catalog.adopt_copy(new.object_id, &StoreName::S3, now).await;
    assert_not_found!(refused, Object);
}

async fn everything_live_is_exported_once_with_what_it_is_sold_as(lab: &Lab) {
    let model = lab.model("kaethe").await;
    let asset = lab.asset(model.id, "a.stl").await;
    for key in ["images/1.png", "images/2.png", "thumbnails/1.png"] {
        lab.put(key).await;
    }
    lab.put("images/deleted.png").await;
    let deleted = "images/deleted.png".parse().unwrap();
    let catalog = &lab.catalog;
    catalog.retire_object(&deleted, lab.now()).await.unwrap();
    let mut page = Page::first(2);
    let mut all = Vec::new();
    loop {
        let rows = catalog.export(&KeyPrefix::all(), &page).await.unwrap();
        assert!(rows.items.len() <= 2);
        all.extend(rows.items);
        page.after = rows.next;
        if page.after.is_none() {
            break;
        }
    }
    let keys: Vec<&str> = all.iter().map(|row| row.object.key.as_str()).collect();
    let own = asset.object.key.as_str();
    assert_eq!(
        keys,
        ["images/1.png", "images/2.png", own, "thumbnails/1.png"]
    );
    let sold: Vec<bool> = all.iter().map(|row| row.asset.is_some()).collect();
    assert_eq!(sold, [false, false, true, false]);
    let (exported, of) = all[2].asset.as_ref().unwrap();
    assert_eq!(
        (exported.id, of.id, of.title.as_str()),
        (asset.id, model.id, "Helmet")
    );
    let prefix = "images/".parse().unwrap();
    let rows = catalog.export(&prefix, &Page::default()).await.unwrap();
    assert_eq!((rows.items.len(), rows.next), (2, None));
}
