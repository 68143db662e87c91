//! A Stockroom with something to sell, and the requests that are made of it.

use bytes::Bytes;
use stockroom::app::App;
use stockroom::workers::{engine, identity};
use tokio::runtime::Runtime;

use crate::client::{CLIENTS, Work};
use crate::support::{Backend, Shop, Who, answer, stl};

/// How many files of each size are downloaded in turn.
const FILES: u64 = 16;

/// The size of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Small,
    Larger,
}

impl Size {
    pub(crate) const ALL: [Self; 2] = [Self::Small, Self::Larger];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Small => "20 kB",
            Self::Larger => "200 kB",
        }
    }

    /// A binary STL has 50 bytes for each triangle.
    fn triangles(self) -> u32 {
        match self {
            Self::Small => 400,
            Self::Larger => 4_000,
        }
    }
}

/// A Stockroom with one model, which one buyer has bought.
pub(crate) struct Stall {
    pub(crate) shop: Shop,
    model: String,
    /// The requests for the files of each size.
    shelves: [Vec<Bytes>; 2],
}

impl Stall {
    /// A model without files.
    pub(crate) fn empty(runtime: &Runtime, shop: Shop) -> Self {
        let model = runtime.block_on(async {
            let model = shop.published_model().await;
            shop.sell(&model, "order-1").await;
            model
        });
        Self {
            shop,
            model,
            shelves: Default::default(),
        }
    }

    /// A model with files of both sizes. Each was downloaded once and was right.
    pub(crate) fn stocked(runtime: &Runtime, backend: Backend, settings: &[(&str, &str)]) -> Self {
        let mut stall = Self::empty(runtime, start(runtime, backend, settings));
        stall.shelves = Size::ALL.map(|size| runtime.block_on(stall.fill(size)));
        assert_eq!(runtime.block_on(owed(&stall.shop.app)), 0);
        stall
    }

    async fn fill(&self, size: Size) -> Vec<Bytes> {
        let key = self.shop.authorization(Who::Buyer);
        let mut requests = Vec::new();
        for seed in 0..FILES {
            let file = stl(size.triangles(), seed);
            let name = format!("{}-{seed}.stl", size.triangles());
            let asset = self.shop.put_asset(&self.model, &name, file.clone()).await;
            let path = format!("/v1/assets/{}/download", asset["id"].as_str().unwrap());
            assert_eq!(answer(self.shop.get(Who::Buyer, &path)).await.body, file);
            let head =
                format!("GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: {key}\r\n\r\n");
            requests.push(Bytes::from(head));
        }
        requests
    }

    /// So many downloads by each client, after one of each file that does not count.
    pub(crate) fn downloads(&self, size: Size, count: usize) -> Work {
        let shelf = &self.shelves[size as usize];
        let requests = |client| {
            let turns = shelf.iter().cycle().skip(client);
            turns.take(shelf.len() + count).cloned().collect()
        };
        Work {
            address: self.address(),
            status: 200,
            warm_up: shelf.len(),
            requests: (0..CLIENTS).map(requests).collect(),
        }
    }

    /// So many uploads of 20 kB by all clients together, under names of their own.
    pub(crate) fn uploads(&self, prefix: &str, count: usize) -> Work {
        let file = stl(Size::Small.triangles(), FILES);
        let requests = |client| {
            let own = (client..count).step_by(CLIENTS);
            own.map(|n| self.upload(&format!("{prefix}-{n}.stl"), &file))
                .collect()
        };
        Work {
            address: self.address(),
            status: 201,
            warm_up: 0,
            requests: (0..CLIENTS).map(requests).collect(),
        }
    }

    fn upload(&self, name: &str, file: &Bytes) -> Bytes {
        let head = format!(
            "PUT /v1/models/{}/assets/{name} HTTP/1.1\r\nhost: bench\r\nauthorization: {}\r\n\
             content-length: {}\r\n\r\n",
            self.model,
            self.shop.authorization(Who::Artist),
            file.len()
        );
        [head.as_bytes(), file].concat().into()
    }

    /// Whether the breakers of all stores are closed.
    pub(crate) fn is_available(&self) -> bool {
        self.shop.app.stores.iter().all(|it| it.is_available())
    }

    fn address(&self) -> std::net::SocketAddr {
        let (_, address) = self.shop.app.public_url.split_once("://").unwrap();
        address.parse().unwrap()
    }
}

/// A Stockroom with its work in the background, as `stockroom serve` begins it.
pub(crate) fn start(runtime: &Runtime, backend: Backend, settings: &[(&str, &str)]) -> Shop {
    let shop = runtime.block_on(Shop::start_with(backend, settings));
    begin_work(runtime, &shop.app);
    shop
}

/// The same in hybrid mode with its record in PostgreSQL; none where there is no server.
pub(crate) fn start_on_postgres(runtime: &Runtime) -> Option<Shop> {
    let shop = runtime.block_on(Shop::start_on_postgres(Backend::Hybrid, &[]))?;
    begin_work(runtime, &shop.app);
    Some(shop)
}

fn begin_work(runtime: &Runtime, app: &App) {
    runtime.block_on(identity::settle_all(app));
    app.tasks
        .spawn_on(engine::run(app.clone()), runtime.handle());
}

/// How many copies are owed, by all stores together.
pub(crate) async fn owed(app: &App) -> u64 {
    let stores = app.catalog.under_placed().await.unwrap();
    stores.iter().map(|store| store.placements).sum()
}
