//! Two servers of one shop, each of which keeps in memory who may read what: nobody is let in by what
//! ended on the other one (invariant 10 of ARCHITECTURE.md).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use reqwest::RequestBuilder;
use serde_json::json;
use stockroom_catalog::AssetQuery;
use stockroom_domain::AssetId;
use tokio::task::JoinHandle;
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
        let request = shop
            .fetch(Method::GET, &url)
            .header("authorization", shop.authorization(Who::Buyer));
        let requests = (0..READERS).map(|_| request.try_clone().unwrap());
        let readers = Callers::begin(requests, Some(bytes.len()), (403, "not_purchased"));
        until_kept(shop, &beside, &asset).await;
        let path = format!("/v1/purchases/{purchase}/refund");
        let refund = answer(shop.call(Who::Service, Method::POST, &path)).await;
        readers.it_is_over();
        assert_eq!(refund.json(200)["status"], "refunded");
        assert!(readers.end().await > 0);
    }
}

/// Those who call without a pause while something ends.
struct Callers {
    is_over: Arc<AtomicBool>,
    given: Arc<AtomicUsize>,
    tasks: Vec<JoinHandle<()>>,
}

impl Callers {
    /// Each sends its request again and again. What is answered is as large as it should be, and what is refused is
    /// refused for this reason.
    fn begin(
        requests: impl Iterator<Item = RequestBuilder>,
        size_bytes: Option<usize>,
        refusal: (u16, &'static str),
    ) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let given = Arc::new(AtomicUsize::new(0));
        let tasks = requests
            .map(|request| {
                let (is_over, given) = (Arc::clone(&is_over), Arc::clone(&given));
                tokio::spawn(async move {
                    loop {
                        // Before the request is sent, so that whatever it shows began later.
                        let began_after = is_over.load(Ordering::SeqCst);
                        let answer = answer(request.try_clone().unwrap()).await;
                        if answer.status == 200 {
                            assert!(!began_after, "an answer after the end");
                            let size_bytes = size_bytes.unwrap_or(answer.body.len());
                            assert_eq!(answer.body.len(), size_bytes);
                            given.fetch_add(1, Ordering::SeqCst);
                        } else {
                            let (status, code) = refusal;
                            answer.assert_problem(status, code, "the end");
                            assert_eq!(answer.status, status);
                        }
                        if began_after {
                            return;
                        }
                    }
                })
            })
            .collect();
        Self {
            is_over,
            given,
            tasks,
        }
    }

    fn given(&self) -> usize {
        self.given.load(Ordering::SeqCst)
    }

    /// Whatever is asked from now on has to be refused.
    fn it_is_over(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }

    /// Waits until each was refused once; how many answers there were.
    async fn end(self) -> usize {
        for task in self.tasks {
            task.await.unwrap();
        }
        self.given.load(Ordering::SeqCst)
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
        let requests = (0..READERS).map(|n| {
            let request = shop.fetch(Method::GET, &urls[n % urls.len()]);
            request.header("authorization", &bearer)
        });
        let callers = Callers::begin(requests, None, (401, "unauthenticated"));
        let deadline = Instant::now() + Duration::from_secs(10);
        // So many are not answered before the key is kept by both.
        while callers.given() < 100 {
            assert!(Instant::now() < deadline, "round {round}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let path = format!("/v1/keys/{}/revoke", key["id"].as_str().unwrap());
        let revoked = answer(shop.call(Who::Operator, Method::POST, &path)).await;
        callers.it_is_over();
        assert!(revoked.json(200)["revoked_at"].is_string());
        callers.end().await;
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
