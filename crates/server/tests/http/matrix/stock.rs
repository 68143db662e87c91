//! What cells ask for: a model with a file that some have bought, and objects of operators.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::Method;
use stockroom_catalog::{
    EndpointSecret, EndpointUrl, MigrationLimits, MigrationPatch, NewEndpoint, NewMigration,
    NewModel, NewPurchase, Recorded, Subscriptions,
};
use stockroom_domain::{
    AssetId, EndpointId, EventId, Key, KeyId, KeyPrefix, MigrationId, MigrationState, ModelId,
    ModelStatus, PurchaseId, Role, StoreName, Timestamp,
};

use super::callers::{Callers, subject};
use crate::support::{Shop, answer, noise, stl};

/// What became of the model, after it was sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Published,
    Draft,
    ModelDeleted,
    FileDeleted,
}

/// A model, its file and its purchases.
#[derive(Debug)]
pub(crate) struct Stock {
    /// A word that no other model has in its title.
    pub(crate) title: String,
    pub(crate) model: ModelId,
    pub(crate) asset: AssetId,
    /// The bytes of the file.
    pub(crate) file: Bytes,
    /// The purchase of the buyer.
    pub(crate) purchase: PurchaseId,
    /// Path and query of a link to the file, made for the artist.
    pub(crate) link: String,
    /// An object with these bytes.
    pub(crate) object_key: Key,
    pub(crate) object: Bytes,
    /// An object that was deleted.
    pub(crate) deleted_key: Key,
    /// A key that nobody uses.
    pub(crate) key: KeyId,
    /// An endpoint that is sent nothing but this event.
    pub(crate) endpoint: EndpointId,
    pub(crate) event: EventId,
    /// A migration that is finished.
    pub(crate) migration: MigrationId,
}

const TRIANGLES: u32 = 20;

impl Stock {
    pub(crate) async fn prepare(shop: &Shop, callers: &Callers, state: State) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let title = format!("matrix{number}");
        let model = publish(shop, &title).await;
        let file = stl(TRIANGLES, number);
        let asset = upload(shop, callers, model, &file).await;
        let mut purchase = None;
        for caller in ["buyer", "refunded", "expired", "used_up"] {
            let id = sell(shop, model, caller).await;
            if caller == "buyer" {
                purchase = Some(id);
            }
        }
        let path = format!("/v1/assets/{asset}");
        use_up(shop, callers, &format!("{path}/download")).await;
        let link = sign(shop, callers, &format!("{path}/signed-url")).await;
        let object = noise(700, number);
        let key = |name: &str| -> Key { format!("images/{title}/{name}").parse().unwrap() };
        let (object_key, deleted_key) = (key("there.png"), key("gone.png"));
        for key in [&object_key, &deleted_key] {
            let path = format!("/v1/objects/{key}");
            let put = callers.call(shop, "operator", Method::PUT, &path);
            assert_eq!(answer(put.body(object.clone())).await.status, 201);
        }
        let delete = |caller, path: String| async move {
            let request = callers.call(shop, caller, Method::DELETE, &path);
            assert_eq!(answer(request).await.status, 204, "{path}");
        };
        delete("operator", format!("/v1/objects/{deleted_key}")).await;
        let (endpoint, event) = connect(shop).await;
        match state {
            State::Published => {}
            State::Draft => withdraw(shop, callers, model).await,
            State::ModelDeleted => delete("owner", format!("/v1/models/{model}")).await,
            State::FileDeleted => delete("owner", path).await,
        }
        Self {
            title,
            model,
            asset,
            file,
            purchase: purchase.expect("the buyer is one of those who buy"),
            link,
            object_key,
            object,
            deleted_key,
            key: shop.create_key(Role::Service, None).await.0,
            endpoint,
            event,
            migration: migrate(shop).await,
        }
    }

    /// A text with what the stock holds in the place of the names in braces.
    pub(crate) fn fill(&self, text: &str) -> String {
        text.replace("{model}", &self.model.to_string())
            .replace("{title}", &self.title)
    }

    /// The path of a route, for what the stock holds.
    pub(crate) fn path(&self, route: &str) -> String {
        let id = self.id_of(route);
        let key = if route.ends_with("/restore") {
            self.deleted_key.as_str()
        } else {
            self.object_key.as_str()
        };
        route
            .replace("{id}", &id)
            .replace("{filename}", "another.stl")
            .replace("{event}", &self.event.to_string())
            .replace("{*key}", key)
            .replace("{key}", key)
    }

    /// The same for what does not exist.
    pub(crate) fn path_to_nothing(route: &str) -> Option<String> {
        let prefix = kind_of(route)?;
        let id = format!("{}_01jd0000000000000000000000", prefix.1);
        Some(
            route
                .replace("{id}", &id)
                .replace("{event}", "evt_01jd0000000000000000000000")
                .replace("{filename}", "another.stl"),
        )
    }

    /// What `{id}` stands for.
    fn id_of(&self, route: &str) -> String {
        match kind_of(route) {
            None => String::new(),
            Some(("models", _)) => self.model.to_string(),
            Some(("assets", _)) => self.asset.to_string(),
            Some(("purchases", _)) => self.purchase.to_string(),
            Some(("keys", _)) => self.key.to_string(),
            Some(("migrations", _)) => self.migration.to_string(),
            Some(("webhook-endpoints", _)) => self.endpoint.to_string(),
            Some((other, _)) => panic!("{route}: what is the id of {other}?"),
        }
    }

    /// Everything of it that a call could have changed, as text to be compared.
    pub(crate) async fn record(&self, shop: &Shop) -> String {
        let catalog = &shop.app.catalog;
        let page = stockroom_catalog::Page {
            limit: 1,
            after: None,
        };
        let everything = stockroom_catalog::ModelFilter {
            artist: None,
            status: None,
            q: None,
            visible_to: stockroom_catalog::VisibleTo::All,
        };
        format!(
            "{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}",
            catalog.find_model_deleted_or_not(self.model).await.unwrap(),
            catalog.list_assets(self.model, true, &page).await.unwrap(),
            // How often it was downloaded is written a moment later.
            catalog
                .find_purchase(self.purchase)
                .await
                .unwrap()
                .map(|purchase| (purchase.refunded_at, purchase.expires_at)),
            catalog.find_object(&self.object_key).await.unwrap(),
            catalog.find_object(&self.deleted_key).await.unwrap(),
            catalog
                .list_models(&everything, &page)
                .await
                .unwrap()
                .items
                .first()
                .map(|model| model.id),
            catalog
                .list_purchases(&stockroom_catalog::PurchaseFilter::default(), &page)
                .await
                .unwrap()
                .items
                .first()
                .map(|purchase| purchase.id),
            // When it was last used is written a moment later.
            catalog
                .find_key_by_id(self.key)
                .await
                .unwrap()
                .map(|key| key.revoked_at),
            catalog
                .list_keys(&page)
                .await
                .unwrap()
                .items
                .first()
                .map(|key| key.id),
            catalog.find_migration(self.migration).await.unwrap(),
            catalog.find_endpoint(self.endpoint).await.unwrap(),
            catalog
                .list_endpoints(&page)
                .await
                .unwrap()
                .items
                .first()
                .map(|endpoint| endpoint.id),
            catalog
                .list_deliveries(self.endpoint, None, &page)
                .await
                .unwrap(),
        )
    }
}

/// The noun before `{id}` in a route, and the prefix of its ids.
fn kind_of(route: &str) -> Option<(&str, &'static str)> {
    let (before, _) = route.split_once("/{id}")?;
    let noun = before.rsplit('/').next()?;
    let prefixes = [
        ("models", "mdl"),
        ("assets", "ast"),
        ("purchases", "pur"),
        ("keys", "key"),
        ("migrations", "mig"),
        ("webhook-endpoints", "whk"),
    ];
    let (_, prefix) = prefixes
        .iter()
        .find(|(known, _)| *known == noun)
        .unwrap_or_else(|| panic!("{route}: which ids do {noun} have?"));
    Some((noun, prefix))
}

async fn publish(shop: &Shop, title: &str) -> ModelId {
    let now = shop.app.clock.now();
    let model = NewModel {
        id: ModelId::generate(now, &*shop.app.entropy),
        artist: subject("owner").unwrap().parse().unwrap(),
        title: title.to_owned(),
        description: None,
        license: None,
        tags: Vec::new(),
        price: None,
        status: ModelStatus::Published,
        created_at: now,
    };
    shop.app.catalog.insert_model(model).await.unwrap().id
}

/// A migration that has nothing to do. One that a call before turned around ends first.
async fn migrate(shop: &Shop) -> MigrationId {
    let (catalog, now) = (&shop.app.catalog, shop.app.clock.now());
    let finished = MigrationPatch {
        state: Some(MigrationState::Finished),
        ..MigrationPatch::default()
    };
    let current = catalog.current_migration().await.unwrap();
    let at_work = current.filter(|it| it.state != MigrationState::Finished);
    if let Some(row) = at_work {
        catalog
            .update_migration(&row, &finished, now)
            .await
            .unwrap();
    }
    let migration = NewMigration {
        id: MigrationId::generate(now, &*shop.app.entropy),
        source: StoreName::LOCAL,
        target: StoreName::S3,
        prefix: KeyPrefix::all(),
        limits: MigrationLimits::default(),
        began_at: now,
    };
    let row = catalog.insert_migration(&migration).await.unwrap();
    let row = catalog.update_migration(&row, &finished, now).await;
    row.unwrap().id
}

/// An endpoint and an event that was sent to it. Nothing is sent where no worker runs.
async fn connect(shop: &Shop) -> (EndpointId, EventId) {
    let now = shop.app.clock.now();
    let endpoint = NewEndpoint {
        id: EndpointId::generate(now, &*shop.app.entropy),
        url: EndpointUrl("https://shop.example/hooks".to_owned()),
        description: None,
        events: Subscriptions::Only([].into()),
        secret: EndpointSecret("whsec_bm90IGEgcmVhbCBzZWNyZXQsIG5vdCBhIHJlYWwgb25l".to_owned()),
        created_at: now,
    };
    let catalog = &shop.app.catalog;
    let id = catalog.insert_endpoint(&endpoint).await.unwrap().id;
    (id, catalog.test_endpoint(id, now).await.unwrap())
}

async fn withdraw(shop: &Shop, callers: &Callers, model: ModelId) {
    let path = format!("/v1/models/{model}");
    let patch = callers
        .call(shop, "owner", Method::PATCH, &path)
        .json(&serde_json::json!({"status": "draft"}));
    assert_eq!(answer(patch).await.status, 200);
}

async fn upload(shop: &Shop, callers: &Callers, model: ModelId, file: &Bytes) -> AssetId {
    let path = format!("/v1/models/{model}/assets/tile.stl");
    let put = callers.call(shop, "owner", Method::PUT, &path);
    let asset = answer(put.body(file.clone())).await.json(201);
    asset["id"].as_str().unwrap().parse().unwrap()
}

async fn sell(shop: &Shop, model: ModelId, caller: &str) -> PurchaseId {
    let now = shop.app.clock.now();
    let a_moment_ago = Timestamp::from_unix_ms(now.unix_ms() - 1_000);
    let purchase = NewPurchase {
        id: PurchaseId::generate(now, &*shop.app.entropy),
        buyer: subject(caller).unwrap().parse().unwrap(),
        model_id: model,
        order_ref: format!("{model} for {caller}"),
        purchased_at: now,
        expires_at: (caller == "expired").then_some(a_moment_ago),
        download_limit: (caller == "used_up").then_some(1),
    };
    let recorded = shop.app.catalog.record_purchase(&purchase).await.unwrap();
    assert!(matches!(recorded, Recorded::New(_)));
    if caller == "refunded" {
        let refunded = shop.app.catalog.refund_purchase(purchase.id, now).await;
        assert!(refunded.unwrap().refunded_at.is_some());
    }
    purchase.id
}

/// Downloads until nothing is left of the one download that the purchase allows, not even the
/// rest that could be fetched again.
async fn use_up(shop: &Shop, callers: &Callers, path: &str) {
    let mut last = 0;
    for range in ["bytes=0-", "bytes=0-541", "bytes=0-0"] {
        let request = callers
            .call(shop, "used_up", Method::GET, path)
            .header("range", range);
        last = answer(request).await.status;
    }
    assert_eq!(last, 403, "{path}: the download limit is not reached");
}

async fn sign(shop: &Shop, callers: &Callers, path: &str) -> String {
    let request = callers.call(shop, "owner", Method::POST, path);
    let signed = answer(request).await.json(200);
    let url = signed["url"].as_str().unwrap();
    url.strip_prefix(&shop.app.public_url)
        .unwrap_or_else(|| panic!("the link leads elsewhere: {url}"))
        .to_owned()
}
