//! Uploads: from the first byte to a live object, or to nothing.

use std::collections::{BTreeMap, BTreeSet};

use stockroom_catalog::{CatalogError, Conflict, NewUpload, ObjectDetails};
use stockroom_domain::{KeyPrefix, ObjectState, PlacementState, StoreName};

use crate::assert_conflict;
use crate::lab::{Lab, RACERS, facts, key, on_both_databases, race, received, tombstone};

on_both_databases!(
    an_upload_becomes_an_object,
    nobody_sees_an_upload_before_it_is_recorded,
    new_content_gets_a_new_location,
    a_discarded_upload_leaves_nothing,
    a_location_that_was_live_is_never_used_again,
    an_abandoned_upload_cannot_be_recorded,
    a_lease_keeps_the_sweep_away,
    an_upload_is_either_recorded_or_abandoned,
    an_upload_is_recorded_once,
    nothing_durable_is_not_recorded,
    uploads_to_one_key_at_once_get_places_of_their_own,
    of_many_uploads_to_one_key_one_is_live,
    hostile_metadata_is_only_text,
);

async fn an_upload_becomes_an_object(lab: &Lab) {
    let upload = lab.open("models/a.stl").await;
    assert_eq!(upload.location, upload.key);
    let now = lab.now();
    let mut received = received(upload.object_id);
    received.placements[0].1 = PlacementState::Copying;
    let recorded = lab
        .catalog
        .record_object(&received, now, lab.after(60))
        .await
        .unwrap();
    assert_eq!(recorded.replaced, None);
    let object = recorded.object;
    assert_eq!((object.state, object.live_at), (ObjectState::Live, now));
    assert_eq!((object.size_bytes, object.sha256), (3, facts().sha256));
    assert_eq!(
        object.metadata,
        BTreeMap::from([("artist".to_owned(), "Käthe".to_owned())])
    );
    let placements: Vec<_> = object
        .placements
        .iter()
        .map(|p| (p.store.clone(), p.state, p.verified_at))
        .collect();
    assert_eq!(
        placements,
        [
            (StoreName::LOCAL, PlacementState::Present, Some(now)),
            (StoreName::S3, PlacementState::Copying, None),
        ]
    );
    let details = ObjectDetails {
        object,
        chunk_sums: facts().chunk_sums,
    };
    let found = lab.catalog.find_object(&upload.key).await.unwrap();
    assert_eq!(found, Some(details.clone()));
    let found = lab
        .catalog
        .find_object_by_location(&upload.location)
        .await
        .unwrap();
    assert_eq!(found, Some(details));
}

async fn nobody_sees_an_upload_before_it_is_recorded(lab: &Lab) {
    let upload = lab.open("models/a.stl").await;
    let catalog = &lab.catalog;
    assert!(catalog.find_object(&upload.key).await.unwrap().is_none());
    assert!(
        catalog
            .find_object_by_location(&upload.location)
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        catalog
            .find_object_by_id(upload.object_id)
            .await
            .unwrap()
            .is_none()
    );
    let all = KeyPrefix::all();
    let listed = catalog
        .list_objects(&all, &Default::default())
        .await
        .unwrap();
    assert!(listed.items.is_empty());
}

async fn new_content_gets_a_new_location(lab: &Lab) {
    let first = lab.put("thumbnails/a/b.png").await;
    let second = lab.put("thumbnails/a/b.png").await;
    assert_eq!(second.replaced, Some(first.object.id));
    assert_eq!(first.object.location, first.object.key);
    assert_eq!(
        second.object.location,
        key(&format!("thumbnails/.versions/{}", second.object.id))
    );
    let found = lab
        .catalog
        .find_object(&first.object.key)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(found.object, second.object);
    let old = lab
        .catalog
        .find_object_by_id(first.object.id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(old.object.state, ObjectState::Retiring);
    let gone = lab
        .catalog
        .find_object_by_location(&first.object.location)
        .await
        .unwrap();
    assert!(gone.is_none());
    // A key that looks like somebody's place does not get it.
    let clash = lab.open(second.object.location.as_str()).await;
    assert_ne!(clash.location, second.object.location);
}

async fn a_discarded_upload_leaves_nothing(lab: &Lab) {
    let upload = lab.open("temp/a").await;
    assert!(lab.catalog.discard_upload(upload.object_id).await.unwrap());
    assert!(!lab.catalog.discard_upload(upload.object_id).await.unwrap());
    let outcome = lab
        .catalog
        .record_object(&received(upload.object_id), lab.now(), lab.now())
        .await;
    assert_conflict!(outcome, Conflict::UploadClosed);
    assert_eq!(lab.open("temp/a").await.location, key("temp/a"));
    let live = lab.put("temp/b").await.object;
    assert!(!lab.catalog.discard_upload(live.id).await.unwrap());
}

async fn a_location_that_was_live_is_never_used_again(lab: &Lab) {
    let object = lab.put("images/a.png").await.object;
    let now = lab.now();
    lab.catalog.retire_object(&object.key, now).await.unwrap();
    let claimed = lab
        .catalog
        .claim_retiring(now, lab.after(60), 10)
        .await
        .unwrap();
    assert_eq!(claimed.len(), 1);
    lab.catalog
        .finish_retire(object.id, lab.now())
        .await
        .unwrap();
    let again = lab.put("images/a.png").await.object;
    assert_eq!(again.key, object.key);
    assert_ne!(again.location, object.location);
}

async fn an_abandoned_upload_cannot_be_recorded(lab: &Lab) {
    let upload = lab.open("temp/a").await;
    assert!(
        lab.catalog
            .abandon_upload(upload.object_id, lab.now())
            .await
            .unwrap()
    );
    assert!(
        !lab.catalog
            .abandon_upload(upload.object_id, lab.now())
            .await
            .unwrap()
    );
    let late = received(upload.object_id);
    let outcome = lab.catalog.record_object(&late, lab.now(), lab.now()).await;
    assert_conflict!(outcome, Conflict::UploadClosed);
    let outcome = lab
        .catalog
        .extend_lease(upload.object_id, lab.after(60))
        .await;
    assert_conflict!(outcome, Conflict::UploadClosed);
    // It is taken at once, without waiting for the end of its lease.
    let claimed = lab
        .catalog
        .claim_tombstones(lab.now(), lab.after(60), 10)
        .await
        .unwrap();
    assert_eq!(claimed, [tombstone(&upload)]);
}

async fn a_lease_keeps_the_sweep_away(lab: &Lab) {
    let upload = lab.open("temp/a").await;
    lab.catalog
        .extend_lease(upload.object_id, lab.after(600))
        .await
        .unwrap();
    let none = lab
        .catalog
        .claim_tombstones(lab.after(120), lab.after(180), 10)
        .await
        .unwrap();
    assert!(none.is_empty());
    let recorded = lab
        .catalog
        .record_object(&received(upload.object_id), lab.now(), lab.now())
        .await;
    assert!(recorded.is_ok());
    let none = lab
        .catalog
        .claim_tombstones(lab.after(900), lab.after(960), 10)
        .await
        .unwrap();
    assert!(none.is_empty());
    let outcome = lab
        .catalog
        .extend_lease(upload.object_id, lab.after(600))
        .await;
    assert_conflict!(outcome, Conflict::UploadClosed);
}

async fn an_upload_is_either_recorded_or_abandoned(lab: &Lab) {
    for round in 0..4 {
        let upload = lab.open(&format!("temp/{round}")).await;
        let (id, now, late) = (upload.object_id, lab.now(), lab.after(61));
        let outcomes = race(|n| {
            let catalog = lab.catalog.clone();
            async move {
                match n % 3 {
                    0 => catalog.record_object(&received(id), now, now).await.is_ok(),
                    1 => catalog.abandon_upload(id, now).await.unwrap(),
                    _ => !catalog
                        .claim_tombstones(late, now, 9)
                        .await
                        .unwrap()
                        .is_empty(),
                }
            }
        })
        .await;
        let recorded = outcomes.iter().step_by(3).filter(|won| **won).count();
        let abandoned = outcomes
            .iter()
            .skip(1)
            .step_by(3)
            .filter(|won| **won)
            .count();
        let is_live = lab
            .catalog
            .find_object(&upload.key)
            .await
            .unwrap()
            .is_some();
        assert_eq!(recorded, usize::from(is_live), "{outcomes:?}");
        assert!(recorded + abandoned <= 1, "{outcomes:?}");
        let still_open = lab.catalog.discard_upload(id).await.unwrap();
        assert!(!still_open, "{outcomes:?}");
    }
}

async fn an_upload_is_recorded_once(lab: &Lab) {
    let id = lab.open("models/a.stl").await.object_id;
    let now = lab.now();
    let outcomes = race(|_| {
        let catalog = lab.catalog.clone();
        async move { catalog.record_object(&received(id), now, now).await }
    })
    .await;
    let won = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(won, 1, "{outcomes:?}");
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        assert_conflict!(outcome, Conflict::UploadClosed);
    }
    // Those that lost have not taken the key away from the one that won.
    let live = lab
        .catalog
        .find_object(&key("models/a.stl"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(live.object.id, id);
}

async fn nothing_durable_is_not_recorded(lab: &Lab) {
    let before = lab.put("models/a.stl").await.object;
    let upload = lab.open("models/a.stl").await;
    let mut nowhere = received(upload.object_id);
    for placements in [vec![], vec![(StoreName::LOCAL, PlacementState::Copying)]] {
        nowhere.placements = placements;
        let outcome = lab
            .catalog
            .record_object(&nowhere, lab.now(), lab.now())
            .await;
        assert_conflict!(outcome, Conflict::NothingDurable);
    }
    nowhere.placements = vec![
        (StoreName::LOCAL, PlacementState::Present),
        (StoreName::S3, PlacementState::Suspect),
    ];
    let outcome = lab
        .catalog
        .record_object(&nowhere, lab.now(), lab.now())
        .await;
    assert_conflict!(outcome, Conflict::IllegalPlacement { .. });
    let live = lab.catalog.find_object(&before.key).await.unwrap().unwrap();
    assert_eq!(live.object, before);
    assert!(lab.catalog.discard_upload(upload.object_id).await.unwrap());
}

async fn uploads_to_one_key_at_once_get_places_of_their_own(lab: &Lab) {
    let uploads: Vec<NewUpload> = (0..RACERS)
        .map(|_| lab.new_upload("models/a.stl"))
        .collect();
    let opened = race(|n| {
        let (catalog, upload) = (lab.catalog.clone(), uploads[n as usize].clone());
        async move { catalog.open_upload(upload).await.unwrap() }
    })
    .await;
    let locations: BTreeSet<_> = opened
        .iter()
        .map(|upload| upload.location.clone())
        .collect();
    assert_eq!(locations.len(), RACERS as usize);
    assert!(locations.contains(&key("models/a.stl")));
    let again = lab.catalog.open_upload(uploads[0].clone()).await;
    assert_conflict!(again, Conflict::Id);
}

async fn of_many_uploads_to_one_key_one_is_live(lab: &Lab) {
    let mut ids = Vec::new();
    for _ in 0..RACERS {
        ids.push(lab.open("models/a.stl").await.object_id);
    }
    let (now, retire_after) = (lab.now(), lab.after(60));
    let recorded = race(|n| {
        let (catalog, id) = (lab.catalog.clone(), ids[n as usize]);
        async move {
            catalog
                .record_object(&received(id), now, retire_after)
                .await
                .unwrap()
        }
    })
    .await;
    // Each but the first replaced another one, and each but the last was replaced once.
    let replaced: BTreeSet<_> = recorded.iter().filter_map(|r| r.replaced).collect();
    assert_eq!(replaced.len(), RACERS as usize - 1);
    let live = lab
        .catalog
        .find_object(&key("models/a.stl"))
        .await
        .unwrap()
        .unwrap();
    assert!(!replaced.contains(&live.object.id));
    let page = Default::default();
    let listed = lab
        .catalog
        .list_objects(&KeyPrefix::all(), &page)
        .await
        .unwrap();
    assert_eq!(listed.items, [live.object]);
}

async fn hostile_metadata_is_only_text(lab: &Lab) {
    let hostile = NewUpload {
        content_type: "text/html; x=\"'\"".to_owned(),
        metadata: BTreeMap::from([
            (
                "'; DROP TABLE objects; --".to_owned(),
                "\"}{\\ \u{1}$1".to_owned(),
            ),
            (String::new(), "ü\r\n".to_owned()),
        ]),
        ..lab.new_upload("temp/'%_$1 \"ü")
    };
    let upload = lab.catalog.open_upload(hostile.clone()).await.unwrap();
    let recorded = lab
        .catalog
        .record_object(&received(upload.object_id), lab.now(), lab.now())
        .await
        .unwrap();
    assert_eq!(recorded.object.metadata, hostile.metadata);
    assert_eq!(recorded.object.content_type, hostile.content_type);
    assert_eq!(recorded.object.key, hostile.key);

    let with_nul = NewUpload {
        metadata: BTreeMap::from([("a".to_owned(), "\0".to_owned())]),
        ..lab.new_upload("temp/x")
    };
    let error = lab.catalog.open_upload(with_nul).await.unwrap_err();
    assert!(
        matches!(error, CatalogError::InvalidText { .. }),
        "{error:?}"
    );
}
