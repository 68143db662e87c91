//! What a question about an order needs.

use stockroom_catalog::NewPurchase;
use stockroom_domain::AssetId;

use crate::lab::{Lab, on_both_databases};

on_both_databases!(
    an_order_is_found_by_the_name_that_the_shop_gave_it,
    an_asset_is_found_also_after_it_was_deleted,
    deleted_files_are_listed_unless_a_newer_version_is_there,
);

async fn an_order_is_found_by_the_name_that_the_shop_gave_it(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let names = ["Order-1", "order-1", "order-1 ", "it's #1; \"%_\\ Ü"];
    for name in names {
        let new = NewPurchase {
            order_ref: name.to_owned(),
            ..lab.new_purchase("bo", model)
        };
        lab.buy(new).await;
    }
    for name in names {
        let found = lab.catalog.find_purchase_by_order(name).await.unwrap();
        assert_eq!(found.unwrap().order_ref, name);
    }
    for name in ["", "order", "ORDER-1", "order-1\0"] {
        let found = lab.catalog.find_purchase_by_order(name).await.unwrap();
        assert_eq!(found, None, "{name:?}");
    }
}

async fn an_asset_is_found_also_after_it_was_deleted(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let asset = lab.asset(model, "a.stl").await;
    let find = async |id| lab.catalog.find_asset_deleted_or_not(id).await.unwrap();
    assert_eq!(find(asset.id).await.unwrap().deleted_at, None);
    lab.catalog
        .retire_asset(asset.id, lab.now(), lab.after(60))
        .await
        .unwrap();
    let deleted = find(asset.id).await.unwrap();
    assert_eq!(deleted.filename, asset.filename);
    assert!(deleted.deleted_at.is_some());
    assert_eq!(find(lab.id(AssetId::generate)).await, None);
}

async fn deleted_files_are_listed_unless_a_newer_version_is_there(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let other = lab.model("kaethe").await.id;
    let deleted = async |model| {
        let assets = lab.catalog.deleted_assets(model).await.unwrap();
        let name =
            |asset: &stockroom_catalog::AssetRow| format!("{} {}", asset.filename, asset.version);
        assets.iter().map(name).collect::<Vec<_>>()
    };
    lab.asset(model, "b.stl").await;
    let b2 = lab.asset(model, "b.stl").await;
    let a1 = lab.asset(model, "a.stl").await;
    lab.asset(model, "c.stl").await;
    assert!(deleted(model).await.is_empty());
    for id in [a1.id, b2.id] {
        lab.catalog
            .retire_asset(id, lab.now(), lab.after(60))
            .await
            .unwrap();
    }
    assert_eq!(deleted(model).await, ["a.stl 1", "b.stl 2"]);
    assert!(deleted(other).await.is_empty());
    lab.asset(model, "a.stl").await;
    assert_eq!(deleted(model).await, ["b.stl 2"]);
}
