//! Events: every change that somebody asked to know of is recorded with it, once, and nothing else.

use serde_json::{Value, json};
use stockroom_catalog::{
    EndpointRow, GrantBatch, ModelPatch, NewGrant, Page, Placed, PlacementStep, Recorded,
    Subscriptions,
};
use stockroom_domain::{
    EventKind, GrantId, GrantKind, LedgerId, ModelStatus, PlacementState, PurchaseId, StoreName,
};

use crate::endpoints::{endpoint, only};
use crate::lab::{Lab, on_both_databases, race};

on_both_databases!(
    what_happens_to_models_and_assets_is_told,
    what_happens_to_purchases_is_told_once,
    a_refund_that_came_first_is_told_with_its_purchase,
    a_download_is_told_when_it_begins,
    what_happens_to_copies_is_told,
    a_change_that_fails_tells_nothing,
    an_endpoint_is_sent_what_it_asked_for,
    what_nobody_asks_for_is_not_recorded,
    racing_orders_are_told_once,
);

/// The bodies of what waits for an endpoint, oldest first.
async fn told(lab: &Lab, endpoint: &EndpointRow) -> Vec<Value> {
    let page = Page::first(Page::MAX_LIMIT);
    let listed = lab.catalog.list_deliveries(endpoint.id, None, &page).await;
    let mut bodies = Vec::new();
    for row in listed.unwrap().items.iter().rev() {
        let body: Value = serde_json::from_str(&row.body).unwrap();
        assert_eq!(body["id"], row.event_id.to_string());
        assert_eq!(body["type"], row.kind.as_str());
        assert_eq!(body["timestamp"], row.created_at.to_string());
        bodies.push(body);
    }
    bodies
}

fn kinds(bodies: &[Value]) -> Vec<&str> {
    bodies
        .iter()
        .map(|body| body["type"].as_str().unwrap())
        .collect()
}

async fn what_happens_to_models_and_assets_is_told(lab: &Lab) {
    let endpoint = endpoint(lab, Subscriptions::All).await;
    let mut new = lab.new_model("kaethe");
    new.status = ModelStatus::Draft;
    let model = lab.catalog.insert_model(new).await.unwrap();
    for status in [ModelStatus::Published, ModelStatus::Draft] {
        let patch = ModelPatch {
            status: Some(status),
            ..ModelPatch::default()
        };
        lab.catalog
            .update_model(model.id, patch, lab.now())
            .await
            .unwrap();
    }
    let first = lab.asset(model.id, "a.stl").await;
    let second = lab.asset(model.id, "a.stl").await;
    let retire_after = lab.after(60);
    lab.catalog
        .retire_asset(second.id, lab.now(), retire_after)
        .await
        .unwrap();
    lab.catalog
        .restore_asset(second.id, lab.now())
        .await
        .unwrap();
    lab.catalog
        .retire_model(model.id, lab.now(), retire_after)
        .await
        .unwrap();
    lab.catalog
        .restore_model(model.id, lab.now())
        .await
        .unwrap();
    let told = told(lab, &endpoint).await;
    let mut kinds = kinds(&told);
    // The two events of one change have the same time, so their order is chance.
    kinds[1..5].sort_unstable();
    assert_eq!(
        kinds,
        [
            "model.created",
            "model.published",
            "model.unpublished",
            "model.updated",
            "model.updated",
            "asset.created",
            "asset.created",
            "asset.deleted",
            "asset.restored",
            "model.deleted",
            "model.restored",
        ]
    );
    assert_eq!(
        told[0]["data"],
        json!({"model": model.id.to_string(), "artist": "kaethe", "title": "Helmet", "status": "draft"})
    );
    assert_eq!(
        told[5]["data"],
        json!({"asset": first.id.to_string(), "model": model.id.to_string(), "filename": "a.stl",
            "version": 1, "format": "stl", "size": 3, "sha256": first.object.sha256.to_string(),
            "key": first.object.key.to_string()})
    );
    assert_eq!(told[7]["data"]["asset"], second.id.to_string());
    assert_eq!(told[9]["data"]["model"], model.id.to_string());
}

async fn what_happens_to_purchases_is_told_once(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let endpoint = endpoint(lab, Subscriptions::All).await;
    let order = lab.new_purchase("bo", model);
    let bought = lab.buy(order.clone()).await;
    let again = lab.catalog.record_purchase(&order).await.unwrap();
    assert!(matches!(again, Recorded::Same(_)));
    for _ in 0..2 {
        lab.catalog
            .refund_purchase(bought.id, lab.now())
            .await
            .unwrap();
    }
    let told = told(lab, &endpoint).await;
    assert_eq!(kinds(&told), ["purchase.created", "purchase.refunded"]);
    let mut facts = json!({"purchase": bought.id.to_string(), "buyer": "bo",
        "model": model.to_string(), "order_ref": bought.order_ref,
        "purchased_at": bought.purchased_at.to_string(), "expires_at": null,
        "download_limit": null, "refunded_at": null});
    assert_eq!(told[0]["data"], facts);
    facts["refunded_at"] = told[1]["timestamp"].clone();
    assert_eq!(told[1]["data"], facts);
}

async fn a_refund_that_came_first_is_told_with_its_purchase(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let endpoint = endpoint(lab, Subscriptions::All).await;
    let order = lab.new_purchase("bo", model);
    let now = lab.now();
    lab.catalog
        .refund_order(&order.order_ref, now, None)
        .await
        .unwrap();
    assert_eq!(
        told(lab, &endpoint).await,
        [] as [Value; 0],
        "there is no purchase yet"
    );
    lab.buy(order).await;
    let told = told(lab, &endpoint).await;
    let mut kinds = kinds(&told);
    kinds.sort_unstable();
    assert_eq!(kinds, ["purchase.created", "purchase.refunded"]);
    for event in &told {
        assert_eq!(event["data"]["refunded_at"], now.to_string());
    }
}

fn grant(lab: &Lab, purchase: PurchaseId, asset: stockroom_domain::AssetId) -> NewGrant {
    NewGrant {
        id: lab.id(GrantId::generate),
        purchase_id: purchase,
        size_bytes: 3,
        charged_bytes: 1,
        given: stockroom_catalog::Given {
            asset_id: asset,
            kind: GrantKind::Stream,
            at: lab.now(),
            range: 0..1,
            stores: "local".to_owned(),
            key_id: None,
            address: None,
        },
    }
}

async fn a_download_is_told_when_it_begins(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let asset = lab.asset(model, "a.stl").await.id;
    let endpoint = endpoint(lab, only([EventKind::DownloadStarted])).await;
    // One that is charged alone, and one in a batch; each with a range that continues it.
    let mut limited = lab.new_purchase("bo", model);
    limited.download_limit = Some(5);
    let limited = lab.buy(limited).await.id;
    let open = lab.buy(lab.new_purchase("eve", model)).await;
    for _ in 0..2 {
        let grant = grant(lab, limited, asset);
        lab.catalog.charge_grant(&grant, lab.now()).await.unwrap();
    }
    let grants: Vec<_> = (0..2).map(|_| (grant(lab, open.id, asset), None)).collect();
    let first = grants[0].0.clone();
    let batch = GrantBatch {
        grants,
        ends: Vec::new(),
    };
    let id = lab.id(LedgerId::generate);
    for _ in 0..2 {
        lab.catalog.record_grants(id, &batch).await.unwrap();
    }
    let told = told(lab, &endpoint).await;
    assert_eq!(kinds(&told), ["download.started", "download.started"]);
    assert_eq!(told[0]["data"]["purchase"], limited.to_string());
    let download = stockroom_domain::DownloadId::from(first.id);
    assert_eq!(
        told[1]["data"],
        json!({"download": download.to_string(), "purchase": open.id.to_string(), "buyer": "eve",
            "model": model.to_string(), "asset": asset.to_string(), "order_ref": open.order_ref,
            "size": 3})
    );
    assert_eq!(told[1]["timestamp"], first.given.at.to_string());
}

async fn what_happens_to_copies_is_told(lab: &Lab) {
    let endpoint = endpoint(lab, Subscriptions::All).await;
    let object = lab.under_placed("temp/a").await;
    let s3 = &StoreName::S3;
    let step = |from, to, error| {
        let step = PlacementStep {
            object_id: object.id,
            store: s3,
            from,
            to,
            error,
        };
        lab.catalog.step_placement(step, lab.now())
    };
    use PlacementState::{Copying, Present, Suspect};
    step(Copying, Present, None).await.unwrap();
    step(Present, Suspect, Some("another\0 hash"))
        .await
        .unwrap();
    // Of what did not happen, nobody is told.
    step(Present, Suspect, None).await.unwrap_err();
    step(Suspect, Copying, None).await.unwrap();
    let placed = Placed {
        store: s3,
        from: Copying,
        objects: &[object.id],
        was_read: true,
    };
    let together = lab.catalog.note_placed(placed, lab.now()).await;
    assert_eq!(together.unwrap(), [object.id]);
    let now = lab.now();
    lab.catalog.retire_object(&object.key, now).await.unwrap();
    let lease_until = lab.after(60);
    let claimed = lab.catalog.claim_retiring(now, lease_until, 9).await;
    assert_eq!(claimed.unwrap().len(), 1);
    step(PlacementState::Retiring, PlacementState::Gone, None)
        .await
        .unwrap();
    lab.catalog
        .finish_retire(object.id, lab.now())
        .await
        .unwrap();
    let told = told(lab, &endpoint).await;
    let what: Vec<(&str, &str)> = told
        .iter()
        .map(|event| {
            (
                event["type"].as_str().unwrap(),
                event["data"]["store"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        what,
        [
            ("placement.present", "s3"),
            ("placement.suspect", "s3"),
            ("placement.present", "s3"),
            ("placement.gone", "s3"),
            ("placement.gone", "local"),
        ]
    );
    assert_eq!(
        told[1]["data"],
        json!({"object": object.id.to_string(), "key": "temp/a", "store": "s3",
            "state": "suspect", "reason": "another\u{fffd} hash"})
    );
}

async fn a_change_that_fails_tells_nothing(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let endpoint = endpoint(lab, Subscriptions::All).await;
    let fine = lab.new_asset(model, "a.stl").await;
    let refused = lab.new_asset(model, "b.stl").await;
    lab.catalog
        .discard_upload(refused.upload.object_id)
        .await
        .unwrap();
    lab.catalog
        .record_assets(&[fine, refused], lab.now())
        .await
        .unwrap_err();
    let mut order = lab.new_purchase("bo", model);
    lab.catalog
        .retire_model(model, lab.now(), lab.after(60))
        .await
        .unwrap();
    lab.catalog.record_purchase(&order).await.unwrap_err();
    order.order_ref = "\0".to_owned();
    lab.catalog.record_purchase(&order).await.unwrap_err();
    let patch = ModelPatch::default();
    lab.catalog
        .update_model(model, patch, lab.now())
        .await
        .unwrap_err();
    assert_eq!(kinds(&told(lab, &endpoint).await), ["model.deleted"]);
}

async fn an_endpoint_is_sent_what_it_asked_for(lab: &Lab) {
    let all = endpoint(lab, Subscriptions::All).await;
    let some = endpoint(lab, only([EventKind::ModelDeleted])).await;
    let none = endpoint(lab, only([])).await;
    let model = lab.model("kaethe").await.id;
    lab.catalog
        .retire_model(model, lab.now(), lab.now())
        .await
        .unwrap();
    assert_eq!(told(lab, &all).await.len(), 3);
    let told_some = told(lab, &some).await;
    assert_eq!(kinds(&told_some), ["model.deleted"]);
    // It is one event for both.
    assert_eq!(told_some[0], told(lab, &all).await[2]);
    assert_eq!(told(lab, &none).await.len(), 0);
}

async fn what_nobody_asks_for_is_not_recorded(lab: &Lab) {
    endpoint(lab, only([EventKind::ModelDeleted])).await;
    lab.model("kaethe").await;
    // Whatever there is, is old enough to be forgotten.
    let forgotten = lab.catalog.forget_events(lab.after(60), 100).await;
    assert_eq!(forgotten.unwrap(), 0);
    let late = endpoint(lab, Subscriptions::All).await;
    assert_eq!(told(lab, &late).await.len(), 0);
}

async fn racing_orders_are_told_once(lab: &Lab) {
    let model = lab.model("kaethe").await.id;
    let endpoint = endpoint(lab, Subscriptions::All).await;
    let order = lab.new_purchase("bo", model);
    race(|_| {
        let (catalog, order) = (lab.catalog.clone(), order.clone());
        async move { catalog.record_purchase(&order).await.unwrap() }
    })
    .await;
    let now = lab.now();
    race(|_| {
        let (catalog, order_ref) = (lab.catalog.clone(), order.order_ref.clone());
        async move { catalog.refund_order(&order_ref, now, None).await.unwrap() }
    })
    .await;
    let told = told(lab, &endpoint).await;
    assert_eq!(kinds(&told), ["purchase.created", "purchase.refunded"]);
}
