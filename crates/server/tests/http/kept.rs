//! Two servers of one shop, each of which keeps in memory who may read what: nobody is let in by what
//! ended on the other one (invariant 10 of ARCHITECTURE.md).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use serde_json::json;
use stockroom_catalog::AssetQuery;
use stockroom_domain::AssetId;
use tokio::time::Instant;

use crate::support::{Backend, Beside, Shop, Who, answer, stl};

const READERS: usize = 4;
const ROUNDS: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn no_server_grants_after_a_refund_returned() {
    let shop = Shop::start(Backend::Local).await;
    refunds(&shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_server_grants_after_a_refund_returned_with_postgres() {
    if let Some(shop) = Shop::start_on_postgres(Backend::Local, &[]).await {
        refunds(&shop).await;
    }
}

/// A buyer downloads from one server without a pause, and the other one takes the refunds.
async fn refunds(shop: &Shop) {
    let beside = shop.beside().await;
    let model = shop.published_model().await;
    let bytes = stl(100, 1);
    let asset = shop.put_asset(&model, "helmet.stl", bytes.clone()).await;
    let asset = asset["id"].as_str().unwrap().to_owned();
    let url = beside.url(&format!("/v1/assets/{asset}/download"));
    for round in 0..ROUNDS {
        let purchase = shop.sell(&model, &format!("order {round}")).await;
        let is_over = Arc::new(AtomicBool::new(false));
        let given = Arc::new(AtomicUsize::new(0));
        let readers: Vec<_> = (0..READERS)
            .map(|_| {
                let request = shop
                    .fetch(Method::GET, &url)
                    .header("authorization", shop.authorization(Who::Buyer));
                let (is_over, given) = (Arc::clone(&is_over), Arc::clone(&given));
                let size_bytes = bytes.len();
                tokio::spawn(async move {
                    loop {
                        // Before the request is sent, so that whatever it shows began later.
                        let began_after = is_over.load(Ordering::SeqCst);
                        let answer = answer(request.try_clone().unwrap()).await;
                        match answer.status {
                            200 => {
                                assert!(!began_after, "a download after the refund");
                                assert_eq!(answer.body.len(), size_bytes);
                                given.fetch_add(1, Ordering::SeqCst);
                            }
                            status => {
                                answer.assert_problem(403, "not_purchased", "the refund");
                                assert_eq!(status, 403);
                            }
                        }
                        if began_after {
                            return;
                        }
                    }
                })
            })
            .collect();
        until_kept(shop, &beside, &asset).await;
        let path = format!("/v1/purchases/{purchase}/refund");
        let refund = answer(shop.call(Who::Service, Method::POST, &path)).await;
        is_over.store(true, Ordering::SeqCst);
        assert_eq!(refund.json(200)["status"], "refunded");
        for reader in readers {
            reader.await.unwrap();
        }
        assert!(given.load(Ordering::SeqCst) > 0);
    }
}

/// Waits until a server lets the buyer in without asking the database.
async fn until_kept(shop: &Shop, beside: &Beside, asset: &str) {
    let key = shop.key_hash(Who::Buyer);
    let query = AssetQuery {
        asset_id: asset.parse::<AssetId>().unwrap(),
        key_hash: Some(key),
        acting_for: None,
        now: shop.app.clock.now(),
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let kept = beside.app.catalog.kept_view(&query);
        let purchase = kept.and_then(|view| view.asset.as_ref()?.purchase.clone());
        if purchase.is_some_and(|it| it.refunded_at.is_none()) {
            return;
        }
        assert!(Instant::now() < deadline, "nothing is kept");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_server_recognises_a_key_after_its_revocation_returned() {
    let shop = Shop::start(Backend::Local).await;
    revocations(&shop).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_server_recognises_a_key_after_its_revocation_returned_with_postgres() {
    if let Some(shop) = Shop::start_on_postgres(Backend::Local, &[]).await {
        revocations(&shop).await;
    }
}

/// Somebody calls both servers without a pause, and one of them revokes the key.
async fn revocations(shop: &Shop) {
    let beside = shop.beside().await;
    let urls = [shop.url("/v1/library"), beside.url("/v1/library")];
    for round in 0..ROUNDS {
        let request = shop.call(Who::Operator, Method::POST, "/v1/keys");
        let key = answer(request.json(&json!({"role": "buyer", "subject": "ben"}))).await;
        let key = key.json(201);
        let bearer = format!("Bearer {}", key["key"].as_str().unwrap());
        let is_over = Arc::new(AtomicBool::new(false));
        let given = Arc::new(AtomicUsize::new(0));
        let callers: Vec<_> = (0..READERS)
            .map(|n| {
                let request = shop.fetch(Method::GET, &urls[n % urls.len()]);
                let request = request.header("authorization", &bearer);
                let (is_over, given) = (Arc::clone(&is_over), Arc::clone(&given));
                tokio::spawn(async move {
                    loop {
                        // Before the request is sent, so that whatever it shows began later.
                        let began_after = is_over.load(Ordering::SeqCst);
                        let answer = answer(request.try_clone().unwrap()).await;
                        match answer.status {
                            200 => {
                                assert!(!began_after, "a call after the revocation");
                                given.fetch_add(1, Ordering::SeqCst);
                            }
                            _ => answer.assert_problem(401, "unauthenticated", "the revocation"),
                        }
                        if began_after {
                            return;
                        }
                    }
                })
            })
            .collect();
        let deadline = Instant::now() + Duration::from_secs(10);
        // So many are not answered before the key is kept by both.
        while given.load(Ordering::SeqCst) < 100 {
            assert!(Instant::now() < deadline, "round {round}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let path = format!("/v1/keys/{}/revoke", key["id"].as_str().unwrap());
        let revoked = answer(shop.call(Who::Operator, Method::POST, &path)).await;
        is_over.store(true, Ordering::SeqCst);
        assert!(revoked.json(200)["revoked_at"].is_string());
        for caller in callers {
            caller.await.unwrap();
        }
    }
}

/// Whatever an operator or an artist takes away on one server is gone on the other one.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_away_on_one_server_is_gone_on_the_other() {
    let shop = Shop::start(Backend::Local).await;
    let beside = shop.beside().await;
    for (what, status) in [("asset", 404), ("model", 404), ("key", 401)] {
        let model = shop.published_model().await;
        let asset = shop.put_asset(&model, "a.stl", stl(100, 1)).await;
        let asset = asset["id"].as_str().unwrap().to_owned();
        shop.sell(&model, &format!("order {what}")).await;
        let url = beside.url(&format!("/v1/assets/{asset}/download"));
        let buyer = shop.authorization(Who::Buyer);
        let get = || {
            let request = shop.fetch(Method::GET, &url);
            answer(request.header("authorization", &buyer))
        };
        for _ in 0..50 {
            assert_eq!(get().await.status, 200, "{what}");
        }
        until_kept(&shop, &beside, &asset).await;
        let key = shop.app.catalog.find_key(&shop.key_hash(Who::Buyer)).await;
        let key = key.unwrap().unwrap().id;
        let (who, method, path) = match what {
            "asset" => (Who::Artist, Method::DELETE, format!("/v1/assets/{asset}")),
            "model" => (Who::Artist, Method::DELETE, format!("/v1/models/{model}")),
            _ => (
                Who::Operator,
                Method::POST,
                format!("/v1/keys/{key}/revoke"),
            ),
        };
        let ended = answer(shop.call(who, method, &path)).await;
        assert!(
            (200..300).contains(&ended.status),
            "{what}: {}",
            ended.status
        );
        assert_eq!(get().await.status, status, "{what}");
    }
}
