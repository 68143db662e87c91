//! The ledger: which bytes were given on the account of which purchase.
//!
//! A purchase with a limit is charged in the catalog before any byte goes out. For all others the
//! grants are written together a moment later, so that a download costs one query; what is still
//! waiting is written when the server is told to stop.

mod meter;
mod waiting;

use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use stockroom_catalog::{
    AssetDetails, CatalogError, Charged, Given, GrantBatch, GrantEnd, LateEnd, NewGrant,
};
use stockroom_domain::{
    AssetId, Grant, GrantId, GrantKind, KeyId, LedgerId, PurchaseId, StoreName,
};
use tokio::sync::OnceCell;

use self::waiting::Waiting;
use crate::app::App;
use crate::flows::error::FlowError;

pub use self::meter::Meter;

/// How long a grant waits for others before they are written.
const GATHER: Duration = Duration::from_millis(200);

/// How many grants may wait. While the database takes none, no more bytes go out unrecorded.
const MAX_WAITING: usize = 100_000;

/// Grants and ends of grants that are not in the catalog yet.
#[derive(Debug, Default)]
pub struct Ledger {
    waiting: Waiting,
    /// What could not be written the last time, and perhaps was. Held while anything is written, so
    /// that whoever flushes before a look at the catalog also waits for what somebody else took.
    unsure: tokio::sync::Mutex<Option<(LedgerId, GrantBatch)>>,
    /// What addresses are hashed with. It is ready to take one, because each download with an account does.
    address_mac: OnceCell<Hmac<Sha256>>,
}

/// Who asks, as far as a receipt tells it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asker {
    /// The key that was used.
    pub key: Option<KeyId>,
    /// The address the request came from.
    pub address: Option<IpAddr>,
}

/// A purchase on whose account the bytes of an asset are given.
#[derive(Debug, Clone)]
pub struct Account {
    purchase: PurchaseId,
    has_limit: bool,
    asset: AssetId,
    size_bytes: u64,
    asker: Asker,
}

impl Account {
    /// The account that a grant of the gate is on; none where no purchase is needed.
    #[must_use]
    pub fn of(grant: &Grant, details: &AssetDetails, asker: Asker) -> Option<Self> {
        let Grant::Purchase(id) = grant else {
            return None;
        };
        let limit = details.purchase.as_ref().filter(|it| it.id == *id);
        Some(Self {
            purchase: *id,
            // A purchase that was not read along is charged as carefully as possible.
            has_limit: limit.is_none_or(|purchase| purchase.download_limit.is_some()),
            asset: details.asset.id,
            size_bytes: details.asset.object.size_bytes,
            asker,
        })
    }

    /// The purchase.
    #[must_use]
    pub const fn purchase(&self) -> PurchaseId {
        self.purchase
    }
}

/// Bytes that are given on an account.
#[derive(Debug, Clone)]
pub struct Giving {
    /// How.
    pub kind: GrantKind,
    /// The offsets of the bytes.
    pub range: Range<u64>,
    /// Whether they count from now on. What only leads to a link of this server counts when the
    /// link is used.
    pub counts: bool,
    /// The store that they come from, where that is known.
    pub store: Option<StoreName>,
}

impl Giving {
    /// A link to the bytes, answered by `store` or by this server.
    #[must_use]
    pub const fn link(kind: GrantKind, range: Range<u64>, store: Option<StoreName>) -> Self {
        Self {
            kind,
            range,
            // Nobody here sees what a bucket sends, so that the link counts as if it were used.
            counts: store.is_some(),
            store,
        }
    }
}

/// A grant whose end has to be told.
#[derive(Debug)]
pub struct OpenGrant {
    id: GrantId,
    purchase: PurchaseId,
    asset: AssetId,
    charged_bytes: u64,
}

/// Charges an account before its bytes are given.
///
/// # Errors
/// `Denied` when the purchase does not allow it any more; that of the catalog.
pub async fn charge(app: &App, account: &Account, giving: Giving) -> Result<OpenGrant, FlowError> {
    let now = app.clock.now();
    let address = match account.asker.address {
        Some(address) => Some(address_hash(app, address).await?),
        None => None,
    };
    let given = Given {
        asset_id: account.asset,
        kind: giving.kind,
        at: now,
        range: giving.range,
        stores: giving.store.map_or_else(String::new, |it| it.to_string()),
        key_id: account.asker.key,
        address,
    };
    let grant = NewGrant {
        id: GrantId::generate(now, &*app.entropy),
        purchase_id: account.purchase,
        size_bytes: account.size_bytes,
        charged_bytes: if giving.counts { given.bytes() } else { 0 },
        given,
    };
    let open = OpenGrant {
        id: grant.id,
        purchase: account.purchase,
        asset: account.asset,
        charged_bytes: grant.charged_bytes,
    };
    if account.has_limit {
        return match app.catalog.charge_grant(&grant, now).await? {
            Charged::Began(_) | Charged::Continued(_) => Ok(open),
            Charged::Refused(denial) => Err(FlowError::Denied(denial)),
        };
    }
    if app.ledger.waiting.len() >= MAX_WAITING {
        flush(app).await?;
    }
    if app.ledger.waiting.add(grant) {
        flush_soon(app);
    }
    Ok(open)
}

/// Notes how a grant ended.
fn end(app: &App, grant: &OpenGrant, end: GrantEnd) {
    let late = LateEnd {
        purchase_id: grant.purchase,
        asset_id: grant.asset,
        grant_id: grant.id,
        charged_bytes: grant.charged_bytes,
        end,
    };
    if app.ledger.waiting.end(late) {
        flush_soon(app);
    }
}

/// Writes what waits into the catalog.
///
/// # Errors
/// That of the catalog. What was not written waits for the next time.
pub async fn flush(app: &App) -> Result<(), CatalogError> {
    let mut unsure = app.ledger.unsure.lock().await;
    if let Some((id, batch)) = unsure.as_ref() {
        app.catalog.record_grants(*id, batch).await?;
        *unsure = None;
    }
    let batch = app.ledger.waiting.take();
    let id = LedgerId::generate(app.clock.now(), &*app.entropy);
    let written = app.catalog.record_grants(id, &batch).await;
    if let Err(error) = &written {
        tracing::warn!(%error, "grants cannot be recorded yet");
        *unsure = Some((id, batch));
    }
    written
}

fn flush_soon(app: &App) {
    let (app, tasks) = (app.clone(), app.tasks.clone());
    tasks.spawn(async move {
        tokio::select! {
            () = tokio::time::sleep(GATHER) => {}
            () = app.shutdown.cancelled() => {}
        }
        // A failure was logged, and the engine tries again.
        let _ = flush(&app).await;
    });
}

/// An address as receipts show it: the same for the same address, and of no use to whoever does
/// not have the catalog's secret.
///
/// # Errors
/// That of the catalog, which keeps the secret.
pub async fn address_hash(app: &App, address: IpAddr) -> Result<String, CatalogError> {
    let mac = app
        .ledger
        .address_mac
        .get_or_try_init(|| async {
            let proposed = hex::encode(app.entropy.bytes::<32>());
            app.catalog
                .secret("addresses", &proposed)
                .await
                .map(|secret| keyed(&secret))
        })
        .await?;
    let mut mac = mac.clone();
    mac.update(address.to_canonical().to_string().as_bytes());
    let mac = mac.finalize().into_bytes();
    Ok(hex::encode(&mac[..16]))
}

#[expect(
    clippy::expect_used,
    reason = "HMAC takes a key of any length (RFC 2104, section 2)"
)]
fn keyed(secret: &str) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret.as_bytes()).expect("any length fits")
}
