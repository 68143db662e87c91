//! Assets: versions, lists, deletion.

use std::collections::BTreeSet;

use stockroom_catalog::{CatalogError, Conflict, NewAsset, Page};
use stockroom_domain::{AssetId, ModelId, ObjectState};

use crate::lab::{Lab, RACERS, on_both_databases, race};
use crate::{assert_conflict, assert_not_found};

on_both_databases!(
    an_asset_reads_back_as_it_was_recorded,
    the_same_name_again_is_the_next_version,
    many_uploads_of_one_name_at_once_have_no_gap,
    who_is_refused_takes_nobody_along,
    names_compare_byte_by_byte,
    a_call_records_all_its_files_or_none,
    an_upload_for_a_deleted_model_is_refused,
    a_key_that_is_in_use_is_refused,
    a_deleted_asset_takes_its_older_versions_along,
    the_next_version_follows_deleted_ones_too,
    assets_are_listed_newest_first_in_pages,
    uploads_and_deletions_at_once_leave_whole_models,
);

async fn an_asset_reads_back_as_it_was_recorded(lab: &Lab) {
    let model = lab.model("kaethe").await;
    let mut new = lab.new_asset(model.id, "Schild 'Ü' \"1\".stl").await;
    new.report = Some(serde_json::json!({"triangles": 12, "note": "a\u{0}b"}));
    let now = lab.now();
    let recorded = lab
        .catalog
        .record_assets(std::slice::from_ref(&new), now)
        .await
        .unwrap();
    let row = lab.catalog.find_asset(new.id).await.unwrap().unwrap();
    assert_eq!(recorded, std::slice::from_ref(&row));
    assert_eq!((row.id, row.model_id, row.version), (new.id, model.id, 1));
    assert_eq!((row.filename, row.report), (new.filename, new.report));
    assert_eq!((row.created_at, row.deleted_at), (now, None));
    assert_eq!(row.object.id, new.upload.object_id);
    assert_eq!(row.object.placements.len(), 2);
    let model = lab.catalog.find_model(model.id).await.unwrap().unwrap();
    assert_eq!(model.updated_at, now);
    let unknown = lab.id(AssetId::generate);
    assert_eq!(lab.catalog.find_asset(unknown).await.unwrap(), None);
}

async fn the_same_name_again_is_the_next_version(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let other = lab.model("kaethe").await.id;
    let versions = [
        lab.asset(model, "a.stl").await.version,
        lab.asset(model, "a.stl").await.version,
        lab.asset(model, "b.stl").await.version,
        lab.asset(other, "a.stl").await.version,
    ];
    assert_eq!(versions, [1, 2, 1, 1]);
    let pair = [
        lab.new_asset(model, "a.stl").await,
        lab.new_asset(model, "a.stl").await,
    ];
    let recorded = lab.catalog.record_assets(&pair, lab.now()).await.unwrap();
    assert_eq!((recorded[0].version, recorded[1].version), (3, 4));
}

async fn many_uploads_of_one_name_at_once_have_no_gap(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let mut assets = Vec::new();
    for _ in 0..RACERS {
        assets.push(lab.new_asset(model, "a.stl").await);
    }
    let now = lab.now();
    let versions = race(|n| {
        let (catalog, asset) = (lab.catalog.clone(), assets[n as usize].clone());
        async move { catalog.record_assets(&[asset], now).await.unwrap()[0].version }
    })
    .await;
    let versions: BTreeSet<u32> = versions.into_iter().collect();
    assert_eq!(versions, (1..=RACERS).collect());
}

/// What comes at the same moment may become real in one transaction; each is answered for itself.
async fn who_is_refused_takes_nobody_along(lab: &Lab) {
    let (model, deleted) = (lab.model("kaethe").await.id, lab.model("kaethe").await.id);
    let mut calls = Vec::new();
    for n in 0..RACERS {
        let in_model = if n % 4 == 1 { deleted } else { model };
        let names = ["a.stl", "b.stl"].into_iter().take(1 + n as usize % 2);
        let mut call = Vec::new();
        for name in names {
            call.push(lab.new_asset(in_model, name).await);
        }
        calls.push(call);
    }
    let now = lab.now();
    lab.catalog.retire_model(deleted, now, now).await.unwrap();
    // One whose upload was given up meanwhile.
    let given_up = calls[2][0].upload.object_id;
    lab.catalog.abandon_upload(given_up, now).await.unwrap();
    let outcomes = race(|n| {
        let (catalog, call) = (lab.catalog.clone(), calls[n as usize].clone());
        async move { catalog.record_assets(&call, now).await }
    })
    .await;
    let mut versions = BTreeSet::new();
    for (n, (outcome, call)) in outcomes.into_iter().zip(&calls).enumerate() {
        match n {
            2 => assert_conflict!(outcome, Conflict::UploadClosed),
            n if n % 4 == 1 => assert_not_found!(outcome, Model),
            _ => {
                let rows = outcome.unwrap();
                let ids: Vec<AssetId> = rows.iter().map(|row| row.id).collect();
                let wanted: Vec<AssetId> = call.iter().map(|asset| asset.id).collect();
                assert_eq!(ids, wanted, "in the order of the call");
                for row in rows {
                    assert_eq!(row.object.state, ObjectState::Live);
                    assert!(versions.insert((row.filename, row.version)));
                }
                continue;
            }
        }
        for asset in call {
            assert_eq!(lab.catalog.find_asset(asset.id).await.unwrap(), None);
        }
    }
    let most = versions.iter().map(|(_, version)| *version).max();
    let of_a = versions.iter().filter(|(name, _)| name.as_str() == "a.stl");
    assert_eq!(of_a.count() as u32, most.unwrap(), "without a gap");
}

async fn names_compare_byte_by_byte(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    for name in ["a.stl", "A.stl", "a.stl ", "\u{e9}.stl", "e\u{301}.stl"] {
        assert_eq!(lab.asset(model, name).await.version, 1, "{name:?}");
    }
}

async fn a_call_records_all_its_files_or_none(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let good = lab.new_asset(model, "a.stl").await;
    let bad = lab.new_asset(model, "b.stl").await;
    lab.catalog
        .discard_upload(bad.upload.object_id)
        .await
        .unwrap();
    let outcome = lab
        .catalog
        .record_assets(&[good.clone(), bad], lab.now())
        .await;
    assert_conflict!(outcome, Conflict::UploadClosed);
    assert!(lab.catalog.find_asset(good.id).await.unwrap().is_none());
    assert!(
        lab.catalog
            .find_object_by_id(good.upload.object_id)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        lab.catalog
            .discard_upload(good.upload.object_id)
            .await
            .unwrap()
    );
    assert_eq!(lab.catalog.record_assets(&[], lab.now()).await.unwrap(), []);
}

async fn an_upload_for_a_deleted_model_is_refused(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let asset = lab.new_asset(model, "a.stl").await;
    lab.catalog
        .retire_model(model, lab.now(), lab.now())
        .await
        .unwrap();
    let outcome = lab
        .catalog
        .record_assets(std::slice::from_ref(&asset), lab.now())
        .await;
    assert_not_found!(outcome, Model);
    assert!(
        lab.catalog
            .discard_upload(asset.upload.object_id)
            .await
            .unwrap()
    );
    let unknown = lab.new_asset(lab.id(ModelId::generate), "a.stl").await;
    let outcome = lab.catalog.record_assets(&[unknown], lab.now()).await;
    assert_not_found!(outcome, Model);
}

async fn a_key_that_is_in_use_is_refused(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    lab.put("models/taken").await;
    let upload = lab.open("models/taken").await;
    let asset = NewAsset {
        upload: lab.received(&upload),
        ..lab.new_asset(model, "a.stl").await
    };
    let outcome = lab.catalog.record_assets(&[asset], lab.now()).await;
    assert_conflict!(outcome, Conflict::ObjectKey);
}

async fn a_deleted_asset_takes_its_older_versions_along(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let first = lab.asset(model, "a.stl").await;
    let second = lab.asset(model, "a.stl").await;
    let third = lab.asset(model, "a.stl").await;
    let other = lab.asset(model, "b.stl").await;
    let retire_after = lab.after(60);
    lab.catalog
        .retire_asset(second.id, lab.now(), retire_after)
        .await
        .unwrap();
    for (asset, there) in [
        (&first, false),
        (&second, false),
        (&third, true),
        (&other, true),
    ] {
        let found = lab.catalog.find_asset(asset.id).await.unwrap();
        assert_eq!(found.is_some(), there, "version {}", asset.version);
        let object = lab
            .catalog
            .find_object_by_id(asset.object.id)
            .await
            .unwrap()
            .unwrap()
            .object;
        let state = if there {
            ObjectState::Live
        } else {
            ObjectState::Retiring
        };
        assert_eq!(
            (object.state, object.retire_after.is_none()),
            (state, there)
        );
    }
    for asset in [first.id, second.id, lab.id(AssetId::generate)] {
        let outcome = lab
            .catalog
            .retire_asset(asset, lab.now(), retire_after)
            .await;
        assert_not_found!(outcome, Asset);
    }
    lab.catalog
        .retire_model(model, lab.now(), retire_after)
        .await
        .unwrap();
    let outcome = lab
        .catalog
        .retire_asset(third.id, lab.now(), retire_after)
        .await;
    assert_not_found!(outcome, Asset);
}

async fn the_next_version_follows_deleted_ones_too(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let first = lab.asset(model, "a.stl").await;
    lab.catalog
        .retire_asset(first.id, lab.now(), lab.now())
        .await
        .unwrap();
    assert_eq!(lab.asset(model, "a.stl").await.version, 2);
}

async fn listed(lab: &Lab, model: ModelId, all_versions: bool) -> Vec<AssetId> {
    let mut page = Page::first(2);
    let mut ids = Vec::new();
    loop {
        let found = lab
            .catalog
            .list_assets(model, all_versions, &page)
            .await
            .unwrap();
        ids.extend(found.items.iter().map(|asset| asset.id));
        match found.next {
            Some(next) => page.after = Some(next),
            None => return ids,
        }
    }
}

async fn assets_are_listed_newest_first_in_pages(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let a1 = lab.asset(model, "a.stl").await.id;
    let b1 = lab.asset(model, "b.stl").await.id;
    let a2 = lab.asset(model, "a.stl").await.id;
    let c1 = lab.asset(model, "c.stl").await.id;
    let c2 = lab.asset(model, "c.stl").await.id;
    lab.asset(lab.model("kaethe").await.id, "a.stl").await;
    assert_eq!(listed(lab, model, true).await, [c2, c1, a2, b1, a1]);
    assert_eq!(listed(lab, model, false).await, [c2, a2, b1]);
    lab.catalog
        .retire_asset(c2, lab.now(), lab.now())
        .await
        .unwrap();
    assert_eq!(listed(lab, model, true).await, [a2, b1, a1]);
    let page = Page {
        limit: 1,
        after: Some(model.to_string()),
    };
    let outcome = lab.catalog.list_assets(model, true, &page).await;
    assert!(matches!(outcome, Err(CatalogError::InvalidCursor)));
}

async fn uploads_and_deletions_at_once_leave_whole_models(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let mut assets = Vec::new();
    for _ in 0..RACERS {
        assets.push(lab.new_asset(model, "a.stl").await);
    }
    let now = lab.now();
    let outcomes = race(|n| {
        let (catalog, asset) = (lab.catalog.clone(), assets[n as usize].clone());
        async move {
            if n == RACERS / 2 {
                catalog.retire_model(model, now, now).await.unwrap();
                return None;
            }
            Some(catalog.record_assets(&[asset], now).await)
        }
    })
    .await;
    // Whatever was recorded before the deletion went with it; the rest was refused.
    for (asset, outcome) in assets.iter().zip(outcomes) {
        let found = lab
            .catalog
            .find_object_by_id(asset.upload.object_id)
            .await
            .unwrap();
        match outcome {
            Some(Ok(_)) => assert_eq!(found.unwrap().object.state, ObjectState::Retiring),
            Some(Err(CatalogError::NotFound(_))) | None => assert_eq!(found, None),
            Some(Err(error)) => panic!("{error:?}"),
        }
    }
}
