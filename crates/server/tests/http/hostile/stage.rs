//! A shop with something to lose, and helpers to write requests that no library would send.

use std::os::unix::fs::symlink;

use bytes::Bytes;
use http::Method;
use stockroom_domain::Clock as _;

use crate::signed;
use crate::support::{Backend, Shop, Who, answer, noise, stl};

/// Small, so that what is too large costs nothing.
pub(super) const MAX_UPLOAD_BYTES: usize = 300_000;

/// What lies in files beside the store. Who reads it got out.
pub(super) const CANARY: &str = "canary: these bytes lie beside the store";

/// The keys that sign URLs, newest first.
pub(super) const KIDS: [(&str, &str); 2] = [
    ("new", "not-a-real-secret-not-a-real-secret-new"),
    ("old", "not-a-real-secret-not-a-real-secret-old"),
];

fn settings() -> Vec<(&'static str, String)> {
    let signing_keys = KIDS.map(|(kid, secret)| format!("{kid}:{secret}"));
    let mut settings = vec![
        ("MAX_UPLOAD_BYTES", MAX_UPLOAD_BYTES.to_string()),
        ("MAX_FORM_FILES", "3".to_owned()),
        ("SIGNING_KEYS", signing_keys.join(",")),
    ];
    settings.extend(signed::SETTINGS.map(|(name, value)| (name, value.to_owned())));
    settings
}

/// The shop of a group of cases.
pub(super) struct Stage {
    pub(super) shop: Shop,
    /// A published model of the artist.
    pub(super) model: String,
    /// Its file, which the buyer bought.
    pub(super) asset: String,
    pub(super) file: Bytes,
    /// `models/stock`, an object of an operator.
    pub(super) stock: Bytes,
}

impl Stage {
    pub(super) async fn set(backend: Backend) -> Self {
        let settings = settings();
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        Self::in_shop(Shop::start_with(backend, &settings).await).await
    }

    /// A stage whose record is in PostgreSQL; none where there is no server for tests.
    pub(super) async fn set_on_postgres(backend: Backend) -> Option<Self> {
        let settings = settings();
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        let shop = Shop::start_on_postgres(backend, &settings).await?;
        Some(Self::in_shop(shop).await)
    }

    async fn in_shop(shop: Shop) -> Self {
        let model = shop.published_model().await;
        let (file, stock) = (stl(20, 1), noise(1_000, 1));
        let asset = shop.put_asset(&model, "helmet.stl", file.clone()).await;
        shop.sell(&model, "order-1").await;
        let stage = Self {
            model,
            asset: asset["id"].as_str().unwrap().to_owned(),
            file,
            stock,
            shop,
        };
        for (key, bytes) in [
            ("models/stock", stage.stock.clone()),
            ("models/empty", Bytes::new()),
            ("models/stolen", stage.stolen().into()),
        ] {
            stage.put(key, bytes).await;
        }
        if stage.shop.backend != Backend::S3 {
            stage.plant();
        }
        stage
    }

    /// The bytes of an object in the place of whose file a link lies. They are those that the link
    /// leads to, so that their size and digest give nothing away, unless a bucket has them too.
    pub(super) fn stolen(&self) -> String {
        match self.shop.backend {
            Backend::Local => CANARY.to_owned(),
            Backend::S3 | Backend::Hybrid => CANARY.to_uppercase(),
        }
    }

    /// Stores an object.
    async fn put(&self, key: &str, bytes: Bytes) {
        let path = format!("/v1/objects/{key}");
        let put = self.shop.call(Who::Operator, Method::PUT, &path);
        assert_eq!(answer(put.body(bytes)).await.status, 201);
    }

    /// Lays canaries beside the store, and links in it that lead to them.
    fn plant(&self) {
        let (folder, uploads) = (self.shop.folder(), self.shop.uploads_folder());
        let outside = folder.join("outside");
        std::fs::create_dir(&outside).unwrap();
        for place in [folder, &folder.join("data"), &outside] {
            std::fs::write(place.join("canary.txt"), CANARY).unwrap();
        }
        symlink(&outside, uploads.join("models/link-to-folder")).unwrap();
        symlink(
            outside.join("canary.txt"),
            uploads.join("models/link-to-file"),
        )
        .unwrap();
        symlink(outside.join("new"), uploads.join("models/link-to-nothing")).unwrap();
        // One in the place of a file that the store wrote.
        let stolen = uploads.join("models/stolen");
        std::fs::remove_file(&stolen).unwrap();
        symlink(outside.join("canary.txt"), stolen).unwrap();
    }

    pub(super) fn unix_seconds(&self) -> i64 {
        self.shop.clock.now().unix_seconds()
    }

    /// The head of a request up to its empty line, which is left to the caller.
    pub(super) fn head(&self, who: Who, method: &str, target: &str) -> String {
        let authorization = match who {
            Who::Nobody => String::new(),
            _ => format!("Authorization: {}\r\n", self.shop.authorization(who)),
        };
        format!("{method} {target} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n{authorization}")
    }

    /// A whole request, whose length is right.
    pub(super) fn wire(&self, who: Who, method: &str, target: &str, body: &str) -> String {
        let (head, length) = (self.head(who, method, target), body.len());
        format!("{head}Content-Length: {length}\r\n\r\n{body}")
    }
}
