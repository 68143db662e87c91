//! The ids of stores.

use stockroom_catalog::{CatalogError, PlacementStep};
use stockroom_domain::{PlacementState, StoreName};

use crate::lab::{Lab, on_both_databases, race};

on_both_databases!(
    the_first_id_of_a_store_is_kept,
    an_id_is_overwritten_when_it_is_adopted,
    a_store_has_copies_until_the_last_is_gone,
);

async fn the_first_id_of_a_store_is_kept(lab: &Lab) {
    let (local, s3) = (StoreName::LOCAL, StoreName::S3);
    assert_eq!(lab.catalog.store_id(&s3).await.unwrap(), None);
    let settled = race(|n| {
        let catalog = lab.catalog.clone();
        async move {
            let proposed = format!("id {n}");
            catalog
                .settle_store_id(&StoreName::S3, &proposed)
                .await
                .unwrap()
        }
    })
    .await;
    assert!(settled.iter().all(|id| *id == settled[0]), "{settled:?}");
    let known = lab.catalog.store_id(&s3).await.unwrap();
    assert_eq!(known.as_ref(), Some(&settled[0]));
    // Each store has its own, and none is taken for that of the catalog.
    assert_eq!(lab.catalog.store_id(&local).await.unwrap(), None);
    let instance = lab.catalog.instance("catalog", lab.now()).await.unwrap();
    assert_eq!(instance.id, "catalog");
    assert_eq!(lab.catalog.store_id(&s3).await.unwrap(), known);
}

async fn an_id_is_overwritten_when_it_is_adopted(lab: &Lab) {
    let s3 = StoreName::S3;
    for id in ["one", "two ' %", "two ' %"] {
        lab.catalog.adopt_store_id(&s3, id).await.unwrap();
        let known = lab.catalog.store_id(&s3).await.unwrap();
        assert_eq!(known.as_deref(), Some(id));
    }
    let settled = lab.catalog.settle_store_id(&s3, "late").await.unwrap();
    assert_eq!(settled, "two ' %");
    for outcome in [
        lab.catalog.adopt_store_id(&s3, "a\0b").await,
        lab.catalog.settle_store_id(&s3, "a\0b").await.map(drop),
    ] {
        assert!(matches!(outcome, Err(CatalogError::InvalidText { .. })));
    }
}

async fn a_store_has_copies_until_the_last_is_gone(lab: &Lab) {
    let s3 = StoreName::S3;
    let elsewhere: StoreName = "r2-eu".parse().unwrap();
    let has_copies = async |store| lab.catalog.has_copies(store).await.unwrap();
    assert!(!has_copies(&s3).await);
    // What is owed is not there yet.
    lab.under_placed("models/a").await;
    assert!(!has_copies(&s3).await);
    let object = lab.put("models/b").await.object;
    assert!(has_copies(&s3).await);
    assert!(!has_copies(&elsewhere).await);
    let doubt = PlacementStep {
        object_id: object.id,
        store: &s3,
        from: PlacementState::Present,
        to: PlacementState::Suspect,
        error: None,
    };
    lab.catalog.step_placement(doubt, lab.now()).await.unwrap();
    assert!(has_copies(&s3).await);
    let now = lab.now();
    lab.catalog.retire_object(&object.key, now).await.unwrap();
    assert!(has_copies(&s3).await);
    let claimed = lab.catalog.claim_retiring(now, lab.after(60), 9).await;
    assert_eq!(claimed.unwrap().len(), 1);
    assert!(!has_copies(&s3).await);
}
