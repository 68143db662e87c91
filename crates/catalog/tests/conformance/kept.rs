//! Views that are kept in memory: whatever ends an access ends them, in every server, before it returns.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use stockroom_catalog::{
    AssetQuery, AssetView, Catalog, ConnectOptions, KeyHash, ModelPatch, NewKey, NewPurchase,
};
use stockroom_domain::{AssetId, KeyId, ModelId, ModelStatus, PurchaseId, Role, Timestamp};
use tokio::time::Instant;

use crate::lab::{Lab, on_both_databases, subject};

on_both_databases!(
    what_ends_an_access_ends_it_in_every_server,
    a_server_that_hangs_uses_nothing_it_kept,
    a_server_that_died_is_waited_for_once,
    a_change_here_is_seen_here_at_once,
    a_limit_and_a_stranger_are_always_asked_for,
    nothing_is_kept_that_was_read_before_a_change,
);

/// Longer than anybody waits for a server that answers.
const WAITED_IN_VAIN: Duration = Duration::from_millis(2_200);

/// A buyer with a purchase.
struct Bought {
    key: (KeyId, KeyHash),
    model: ModelId,
    asset: AssetId,
    purchase: PurchaseId,
    now: Timestamp,
}

impl Bought {
    fn query(&self) -> AssetQuery<'_> {
        AssetQuery {
            asset_id: self.asset,
            key_hash: Some(self.key.1),
            acting_for: None,
            now: self.now,
        }
    }
}

async fn bought(lab: &Lab, download_limit: Option<u64>) -> Bought {
    let model = lab.model("kaethe").await.id;
    let asset = lab.asset(model, "a.stl").await.id;
    let purchase = NewPurchase {
        download_limit,
        ..lab.new_purchase("bo", model)
    };
    let hash = KeyHash(lab.bytes());
    let key = NewKey {
        id: lab.id(KeyId::generate),
        hash,
        role: Role::Buyer,
        subject: Some(subject("bo")),
        name: None,
        created_at: lab.now(),
        expires_at: None,
    };
    lab.catalog.insert_key(&key).await.unwrap();
    Bought {
        key: (key.id, hash),
        model,
        asset,
        purchase: lab.buy(purchase).await.id,
        now: lab.now(),
    }
}

/// Another server on the same database.
struct Other {
    catalog: Catalog,
    keeping: tokio::task::JoinHandle<()>,
}

impl Other {
    async fn start(lab: &Lab) -> Self {
        let catalog = Catalog::connect(&lab.url, &ConnectOptions::default())
            .await
            .unwrap();
        let keeper = catalog.clone();
        Self {
            catalog,
            keeping: tokio::spawn(async move { keeper.keep_views().await }),
        }
    }

    async fn stop(self) {
        self.keeping.abort();
        self.catalog.stop_keeping_views().await.unwrap();
        self.catalog.close().await;
    }
}

/// Asks until the answer is kept.
async fn keep(catalog: &Catalog, bought: &Bought) -> Arc<AssetView> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(kept) = catalog.kept_view(&bought.query()) {
            return kept;
        }
        assert!(Instant::now() < deadline, "nothing is kept");
        catalog.asset_view(bought.query()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn what_ends_an_access_ends_it_in_every_server(lab: &Lab) {
    let other = Other::start(lab).await;
    for what in ["refund", "key", "draft", "model", "asset"] {
        let bought = bought(lab, None).await;
        let kept = keep(&other.catalog, &bought).await;
        assert_eq!(kept.key.as_ref().unwrap().id, bought.key.0);
        let (now, later) = (lab.now(), lab.after(3600));
        let began = Instant::now();
        match what {
            "refund" => drop(
                lab.catalog
                    .refund_purchase(bought.purchase, now)
                    .await
                    .unwrap(),
            ),
            "key" => drop(lab.catalog.revoke_key(bought.key.0, now).await.unwrap()),
            "draft" => {
                let patch = ModelPatch {
                    status: Some(ModelStatus::Draft),
                    ..ModelPatch::default()
                };
                drop(
                    lab.catalog
                        .update_model(bought.model, patch, now)
                        .await
                        .unwrap(),
                );
            }
            "model" => lab
                .catalog
                .retire_model(bought.model, now, later)
                .await
                .unwrap(),
            _ => lab
                .catalog
                .retire_asset(bought.asset, now, later)
                .await
                .unwrap(),
        }
        let kept = other.catalog.kept_view(&bought.query());
        assert!(kept.is_none(), "{what}: {kept:?}");
        assert!(
            began.elapsed() < WAITED_IN_VAIN,
            "{what}: the other server answers"
        );
    }
    other.stop().await;
}

async fn a_server_that_hangs_uses_nothing_it_kept(lab: &Lab) {
    let other = Other::start(lab).await;
    let bought = bought(lab, None).await;
    keep(&other.catalog, &bought).await;
    // Nobody polls what looks for changes any more.
    other.keeping.abort();
    let kept = other.catalog.kept_view(&bought.query());
    assert!(kept.is_some(), "it does not know yet");
    let refund = lab.catalog.refund_purchase(bought.purchase, lab.now());
    refund.await.unwrap();
    assert!(other.catalog.kept_view(&bought.query()).is_none());
    other.stop().await;
}

async fn a_server_that_died_is_waited_for_once(lab: &Lab) {
    let other = Other::start(lab).await;
    let (first, second) = (bought(lab, None).await, bought(lab, None).await);
    keep(&other.catalog, &first).await;
    other.keeping.abort();
    let refund = lab.catalog.refund_purchase(first.purchase, lab.now());
    refund.await.unwrap();
    let began = Instant::now();
    let refund = lab.catalog.refund_purchase(second.purchase, lab.now());
    refund.await.unwrap();
    assert!(began.elapsed() < WAITED_IN_VAIN, "{:?}", began.elapsed());
    // A server that was taken for dead begins anew.
    let keeper = other.catalog.clone();
    let keeping = tokio::spawn(async move { keeper.keep_views().await });
    let third = bought(lab, None).await;
    keep(&other.catalog, &third).await;
    let refund = lab.catalog.refund_purchase(third.purchase, lab.now());
    refund.await.unwrap();
    assert!(other.catalog.kept_view(&third.query()).is_none());
    keeping.abort();
    other.stop().await;
}

async fn a_change_here_is_seen_here_at_once(lab: &Lab) {
    let catalog = lab.catalog.clone();
    let keeping = tokio::spawn({
        let keeper = catalog.clone();
        async move { keeper.keep_views().await }
    });
    let bought = bought(lab, None).await;
    keep(&catalog, &bought).await;
    // Whatever it is about.
    lab.model("kaethe").await;
    assert!(catalog.kept_view(&bought.query()).is_none());
    keep(&catalog, &bought).await;
    let refunded = catalog.refund_purchase(bought.purchase, lab.now());
    // Its own row is no reason to wait.
    tokio::time::timeout(WAITED_IN_VAIN, refunded)
        .await
        .unwrap()
        .unwrap();
    assert!(catalog.kept_view(&bought.query()).is_none());
    keeping.abort();
}

async fn a_limit_and_a_stranger_are_always_asked_for(lab: &Lab) {
    let other = Other::start(lab).await;
    let (limited, free) = (bought(lab, Some(3)).await, bought(lab, None).await);
    keep(&other.catalog, &free).await;
    other.catalog.asset_view(limited.query()).await.unwrap();
    assert!(other.catalog.kept_view(&limited.query()).is_none());
    let stranger = AssetQuery {
        key_hash: Some(KeyHash(lab.bytes())),
        ..free.query()
    };
    other.catalog.asset_view(stranger).await.unwrap();
    assert!(other.catalog.kept_view(&stranger).is_none());
    assert!(other.catalog.kept_view(&free.query()).is_some());
    other.stop().await;
}

/// Reads that race with a refund: what they saw before it is not kept after it.
async fn nothing_is_kept_that_was_read_before_a_change(lab: &Lab) {
    let other = Other::start(lab).await;
    for _ in 0..20 {
        let bought = bought(lab, None).await;
        keep(&other.catalog, &bought).await;
        let reads = async {
            for _ in 0..200 {
                let viewed = other.catalog.asset_view(bought.query()).await.unwrap();
                let asset = viewed.asset.as_ref().unwrap();
                if asset.purchase.as_ref().unwrap().refunded_at.is_some() {
                    return;
                }
            }
        };
        let refund = lab.catalog.refund_purchase(bought.purchase, lab.now());
        let (refund, ()) = futures::future::join(refund, reads.boxed()).await;
        refund.unwrap();
        if let Some(kept) = other.catalog.kept_view(&bought.query()) {
            let purchase = kept.asset.as_ref().unwrap().purchase.clone().unwrap();
            assert!(
                purchase.refunded_at.is_some(),
                "what is kept is older than the refund"
            );
        }
    }
    other.stop().await;
}
