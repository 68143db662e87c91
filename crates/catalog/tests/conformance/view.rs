//! The one query behind a download.

use stockroom_catalog::{
    AssetQuery, AssetView, Charged, Given, KeyHash, NewGrant, NewKey, NewModel, NewPurchase,
    PurchaseRow,
};
use stockroom_domain::{
    AssetId, GrantId, GrantKind, KeyId, ModelStatus, PurchaseId, Role, Subject, Timestamp,
};

use crate::lab::{Lab, facts, on_both_databases, subject};

on_both_databases!(
    key_and_asset_come_back_each_without_the_other,
    all_facts_of_an_asset_come_in_one_query,
    the_purchase_is_the_callers,
    a_user_key_acts_for_nobody_else,
    the_best_purchase_is_the_one_that_helps_now,
    what_was_deleted_says_so,
);

async fn key_of(lab: &Lab, role: Role, owner: Option<&str>) -> KeyHash {
    let hash = KeyHash(lab.bytes());
    let key = NewKey {
        id: lab.id(KeyId::generate),
        hash,
        role,
        subject: owner.map(subject),
        name: None,
        created_at: lab.now(),
        expires_at: None,
    };
    lab.catalog.insert_key(&key).await.unwrap();
    hash
}

struct Viewer<'a> {
    lab: &'a Lab,
    asset_id: AssetId,
    now: Timestamp,
}

impl Viewer<'_> {
    async fn view(&self, key_hash: Option<KeyHash>, acting_for: Option<&Subject>) -> AssetView {
        let query = AssetQuery {
            asset_id: self.asset_id,
            key_hash,
            acting_for,
            now: self.now,
        };
        let view = self.lab.catalog.asset_view(query).await.unwrap();
        AssetView::clone(&view)
    }

    async fn purchase(
        &self,
        key_hash: Option<KeyHash>,
        acting_for: Option<&Subject>,
    ) -> Option<PurchaseId> {
        let asset = self.view(key_hash, acting_for).await.asset.unwrap();
        let facts = asset.facts();
        assert_eq!(
            facts.entitlement,
            asset.purchase.as_ref().map(PurchaseRow::entitlement)
        );
        asset.purchase.as_ref().map(|purchase| purchase.id)
    }
}

async fn key_and_asset_come_back_each_without_the_other(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let there = lab.asset(model, "a.stl").await.id;
    let missing = lab.id(AssetId::generate);
    let known = key_of(lab, Role::Buyer, Some("bo")).await;
    let unknown = KeyHash(lab.bytes());
    for (asset_id, key_hash, asset_found, key_found) in [
        (there, Some(known), true, true),
        (there, Some(unknown), true, false),
        (there, None, true, false),
        (missing, Some(known), false, true),
        (missing, None, false, false),
    ] {
        let view = Viewer {
            lab,
            asset_id,
            now: lab.now(),
        }
        .view(key_hash, None)
        .await;
        assert_eq!(
            (view.asset.is_some(), view.key.is_some()),
            (asset_found, key_found)
        );
        if let Some(key) = view.key {
            assert_eq!(Some(key), lab.catalog.find_key(&known).await.unwrap());
        }
    }
}

async fn all_facts_of_an_asset_come_in_one_query(lab: &Lab) {
    let draft = NewModel {
        status: ModelStatus::Draft,
        ..lab.new_model("kaethe")
    };
    let model = lab.catalog.insert_model(draft).await.unwrap().id;
    let asset = lab.asset(model, "a.stl").await;
    let viewer = Viewer {
        lab,
        asset_id: asset.id,
        now: lab.now(),
    };
    let details = viewer.view(None, None).await.asset.unwrap();
    assert_eq!(details.asset, asset);
    assert_eq!(details.chunk_sums, facts().chunk_sums);
    let facts = details.facts();
    assert_eq!(
        (facts.artist, facts.model_status),
        (subject("kaethe"), ModelStatus::Draft)
    );
    assert_eq!((facts.deleted, facts.entitlement), (false, None));
}

async fn the_purchase_is_the_callers(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let other_model = lab.model("kaethe").await.id;
    let asset_id = lab.asset(model, "a.stl").await.id;
    let bo = lab.buy(lab.new_purchase("bo", model)).await.id;
    let al = lab.buy(lab.new_purchase("al", model)).await.id;
    lab.buy(lab.new_purchase("cy", other_model)).await;
    let viewer = Viewer {
        lab,
        asset_id,
        now: lab.now(),
    };

    let buyer = |name| key_of(lab, Role::Buyer, Some(name));
    assert_eq!(
        viewer.purchase(Some(buyer("bo").await), None).await,
        Some(bo)
    );
    assert_eq!(
        viewer.purchase(Some(buyer("al").await), None).await,
        Some(al)
    );
    assert_eq!(viewer.purchase(Some(buyer("cy").await), None).await, None);
    assert_eq!(viewer.purchase(Some(buyer("BO").await), None).await, None);
    let artist = key_of(lab, Role::Artist, Some("bo")).await;
    assert_eq!(viewer.purchase(Some(artist), None).await, Some(bo));
    assert_eq!(viewer.purchase(None, None).await, None);
    for role in [Role::Service, Role::Operator] {
        let shop = Some(key_of(lab, role, None).await);
        assert_eq!(viewer.purchase(shop, None).await, None);
        assert_eq!(viewer.purchase(shop, Some(&subject("bo"))).await, Some(bo));
        assert_eq!(viewer.purchase(shop, Some(&subject("nobody"))).await, None);
    }
}

async fn a_user_key_acts_for_nobody_else(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let asset_id = lab.asset(model, "a.stl").await.id;
    lab.buy(lab.new_purchase("bo", model)).await;
    let viewer = Viewer {
        lab,
        asset_id,
        now: lab.now(),
    };
    let bo = subject("bo");
    for role in [Role::Buyer, Role::Artist] {
        let other = key_of(lab, role, Some("mallory")).await;
        assert_eq!(viewer.purchase(Some(other), Some(&bo)).await, None);
    }
    assert_eq!(viewer.purchase(None, Some(&bo)).await, None);
    assert_eq!(
        viewer.purchase(Some(KeyHash(lab.bytes())), Some(&bo)).await,
        None
    );
}

async fn the_best_purchase_is_the_one_that_helps_now(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let asset_id = lab.asset(model, "a.stl").await.id;
    let key = Some(key_of(lab, Role::Buyer, Some("bo")).await);
    let end = lab.after(60);
    let new = || lab.new_purchase("bo", model);

    let first = lab.buy(new()).await.id;
    let mut viewer = Viewer {
        lab,
        asset_id,
        now: lab.now(),
    };
    assert_eq!(viewer.purchase(key, None).await, Some(first));
    let newest = lab.buy(new()).await.id;
    assert_eq!(viewer.purchase(key, None).await, Some(newest));

    // Refunded, used up and expired ones come after one that helps, however new they are.
    let limited = lab
        .buy(NewPurchase {
            download_limit: Some(1),
            ..new()
        })
        .await
        .id;
    assert_eq!(viewer.purchase(key, None).await, Some(limited));
    let now = lab.now();
    let whole = NewGrant {
        id: lab.id(GrantId::generate),
        purchase_id: limited,
        size_bytes: 1,
        charged_bytes: 1,
        given: Given {
            asset_id,
            kind: GrantKind::Stream,
            at: now,
            range: 0..1,
            stores: "local".to_owned(),
            key_id: None,
            address: None,
        },
    };
    let charged = lab.catalog.charge_grant(&whole, now).await.unwrap();
    assert_eq!(charged, Charged::Began(whole.id.into()));
    assert_eq!(viewer.purchase(key, None).await, Some(newest));
    let ending = lab
        .buy(NewPurchase {
            expires_at: Some(end),
            ..new()
        })
        .await
        .id;
    assert_eq!(viewer.purchase(key, None).await, Some(ending));
    viewer.now = end;
    assert_eq!(viewer.purchase(key, None).await, Some(newest));
    lab.catalog
        .refund_purchase(newest, lab.now())
        .await
        .unwrap();
    assert_eq!(viewer.purchase(key, None).await, Some(first));
    lab.catalog.refund_purchase(first, lab.now()).await.unwrap();
    // When none helps, the newest tells why not.
    assert_eq!(viewer.purchase(key, None).await, Some(ending));
}

async fn what_was_deleted_says_so(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let older = lab.asset(model, "a.stl").await.id;
    let newer = lab.asset(model, "a.stl").await.id;
    let deleted = async |asset_id| {
        let viewer = Viewer {
            lab,
            asset_id,
            now: lab.now(),
        };
        viewer.view(None, None).await.asset.unwrap().facts().deleted
    };
    lab.catalog
        .retire_asset(older, lab.now(), lab.now())
        .await
        .unwrap();
    assert_eq!((deleted(older).await, deleted(newer).await), (true, false));
    lab.catalog
        .retire_model(model, lab.now(), lab.now())
        .await
        .unwrap();
    assert_eq!((deleted(older).await, deleted(newer).await), (true, true));
}
