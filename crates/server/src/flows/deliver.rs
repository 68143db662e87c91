//! The way of a download after the gate: where -> deliver.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use stockroom_catalog::{AssetDetails, ObjectDetails, ObjectRow};
use stockroom_domain::{PlacementState, PurchaseId, StoreName};
use stockroom_storage::{
    ByteRange, ByteStream, ChunkSums, ContinuedBy, Disposition, Expected, Mode, OpenRead, Purpose,
    SignMethod, SignRequest, SignedUrl, Source, Store, open_read,
};

use crate::app::App;
use crate::config::Delivery as DeliverySetting;
use crate::flows::error::FlowError;
use crate::flows::hot::Known;

/// How the bytes get to the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Through this server.
    Stream,
    /// By a signed URL, made by this store.
    Redirect,
}

/// What the caller's browser is told about the bytes.
#[derive(Debug, Clone)]
pub struct Presentation {
    /// Save them or show them, and under which name.
    pub disposition: Disposition,
    /// Their media type.
    pub content_type: Option<String>,
}

/// What a signed URL is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkTo {
    /// An object, for whoever an operator gives it to.
    Object,
    /// An asset, for whoever its artist or an operator gives it to.
    Asset,
    /// An asset, on the account of a purchase: this server's own links end with the purchase.
    Purchased(PurchaseId),
}

/// A signed URL, and who answers it.
#[derive(Debug)]
pub struct Link {
    /// The URL.
    pub signed: SignedUrl,
    /// The store that answers it; none where this server does.
    pub store: Option<StoreName>,
}

/// What is recorded of the bytes of an object.
#[derive(Debug, Clone, Copy)]
pub struct Recorded<'a> {
    /// The object with its placements.
    pub object: &'a ObjectRow,
    /// The checksums of its chunks.
    pub chunk_sums: &'a [u8],
}

impl Recorded<'_> {
    /// What a reader holds the bytes against.
    fn expected(&self) -> Expected {
        Expected {
            size_bytes: self.object.size_bytes,
            // Sums that cannot be read are damage in the record: the bytes are sent without the
            // check rather than not at all.
            chunk_sums: ChunkSums::from_bytes(self.chunk_sums).ok(),
        }
    }
}

impl<'a> From<&'a ObjectDetails> for Recorded<'a> {
    fn from(details: &'a ObjectDetails) -> Self {
        Self {
            object: &details.object,
            chunk_sums: &details.chunk_sums,
        }
    }
}

impl<'a> From<&'a AssetDetails> for Recorded<'a> {
    fn from(details: &'a AssetDetails) -> Self {
        Self {
            object: &details.asset.object,
            chunk_sums: &details.chunk_sums,
        }
    }
}

/// Bytes on their way to a caller.
pub struct Opened {
    /// Their offsets.
    pub range: Range<u64>,
    /// The store that they come from, or came from before they were kept in memory.
    pub served_by: StoreName,
    /// The stores that the read went on from.
    pub continued_by: ContinuedBy,
    /// The bytes. An error is its last item, and whoever passes the bytes on must cut the answer then.
    pub stream: ByteStream,
}

impl Opened {
    /// All bytes of a file or a part of them; none when it has no byte of the range.
    fn in_memory(file: &Bytes, range: Option<ByteRange>, store: &StoreName) -> Option<Self> {
        let range = match range {
            None => 0..file.len() as u64,
            Some(range) => range.resolve(file.len() as u64).ok()?,
        };
        let start = usize::try_from(range.start).ok()?;
        let end = usize::try_from(range.end).ok()?;
        Some(Self {
            range,
            served_by: store.clone(),
            continued_by: ContinuedBy::default(),
            stream: at_once(file.slice(start..end)),
        })
    }
}

impl From<OpenRead> for Opened {
    fn from(read: OpenRead) -> Self {
        Self {
            range: read.range,
            served_by: read.served_by,
            continued_by: read.continued_by,
            stream: read.stream,
        }
    }
}

fn at_once(bytes: Bytes) -> ByteStream {
    stream::iter([Ok(bytes)]).boxed()
}

/// Decides how the bytes get to the caller: as the caller asks, else as the operator set.
#[must_use]
pub fn choose(app: &App, object: &ObjectRow, asked: Option<Delivery>) -> Delivery {
    asked.unwrap_or(match app.delivery {
        DeliverySetting::Stream => Delivery::Stream,
        DeliverySetting::Redirect => Delivery::Redirect,
        // Bytes that lie only in a bucket need not make the way through this machine.
        DeliverySetting::Auto if only_on_s3(object) => Delivery::Redirect,
        DeliverySetting::Auto => Delivery::Stream,
    })
}

/// Opens the bytes of an object, or the part of them that `range` names. A small file that is wanted often
/// comes out of memory, as long as it has a copy that could be read.
///
/// # Errors
/// That of the storage, when no copy can be read.
pub async fn open(
    app: &App,
    bytes: Recorded<'_>,
    range: Option<ByteRange>,
) -> Result<Opened, FlowError> {
    let object = bytes.object;
    let sources = sources(app, object);
    let known = app.hot_files.find(object.sha256, object.size_bytes);
    if let (Known::Bytes(bytes), Some(first)) = (&known, sources.first())
        && let Some(opened) = Opened::in_memory(bytes, range, first.store.name())
    {
        app.metrics.hot_reads.inc();
        return Ok(opened);
    }
    let doubts = app.doubts_about(object);
    let read = open_read(sources, Some(bytes.expected()), range, doubts).await?;
    let mut opened = Opened::from(read);
    if known == Known::Again && range.is_none() {
        // It is a single chunk, of which nothing is passed on before all of it was checked anyway.
        let whole = opened.stream.try_collect::<BytesMut>().await?.freeze();
        app.hot_files.keep(object.sha256, &whole);
        opened.stream = at_once(whole);
    }
    Ok(opened)
}

/// Opens all bytes of an object from these copies.
///
/// # Errors
/// When none of them can be read.
pub async fn open_from(
    app: &App,
    sources: Vec<Source>,
    bytes: Recorded<'_>,
) -> Result<OpenRead, stockroom_storage::Error> {
    open_read(
        sources,
        Some(bytes.expected()),
        None,
        app.doubts_about(bytes.object),
    )
    .await
}

/// Signs a URL for the bytes of an object, by the store that reads try first.
///
/// # Errors
/// `Expiry` when it is not 1 second to 7 days; else that of the store.
pub async fn sign(
    app: &App,
    object: &ObjectRow,
    presentation: Presentation,
    to: LinkTo,
    expires_in: Duration,
) -> Result<Link, FlowError> {
    let request = SignRequest {
        method: SignMethod::Get,
        expires_in,
        disposition: presentation.disposition,
        content_type: presentation.content_type,
    };
    if let Some(store) = signing_store(app, object) {
        return Ok(Link {
            signed: store.signed_url(&object.location, &request).await?,
            store: Some(store.name().clone()),
        });
    }
    let (purpose, holder) = match to {
        LinkTo::Object => (Purpose::Object, None),
        LinkTo::Asset => (Purpose::Download, None),
        LinkTo::Purchased(purchase) => (Purpose::Download, Some(purchase.to_string())),
    };
    let (holder, now) = (holder.as_deref(), app.clock.now());
    let signed = app
        .signer
        .sign_for(holder, &object.location, &request, purpose, now)
        .map_err(|_| FlowError::Expiry)?;
    Ok(Link {
        signed,
        store: None,
    })
}

/// The copies of an object, best first: healthy ones in the mode's order, then healthy ones on
/// stores outside the mode, then doubted ones, then those on stores that do not answer. A doubted
/// copy is verified like every other while it is read, so trying it last can only help.
#[must_use]
pub fn sources(app: &App, object: &ObjectRow) -> Vec<Source> {
    let order = app.storage.read_order();
    let rank = |name: &StoreName| order.iter().position(|known| known == name);
    let mut copies: Vec<_> = object
        .placements
        .iter()
        .filter(|placement| placement.state.is_readable())
        .filter_map(|placement| {
            let store = app.store(&placement.store)?;
            let is_suspect = placement.state == PlacementState::Suspect;
            let rank = rank(&placement.store).unwrap_or(usize::MAX);
            Some(((!store.is_available(), is_suspect, rank), store))
        })
        .collect();
    copies.sort_by_key(|(order, _)| *order);
    copies
        .into_iter()
        .map(|(_, store)| Source {
            store,
            location: object.location.clone(),
        })
        .collect()
}

/// The store that signs by itself, when the first copy to read lies there; else this server
/// signs, streams the bytes and can fail over while it does.
fn signing_store(app: &App, object: &ObjectRow) -> Option<Arc<dyn Store>> {
    let first = sources(app, object).into_iter().next()?;
    let is_local = *first.store.name() == StoreName::LOCAL;
    (!is_local && app.storage.mode() != Mode::Local).then_some(first.store)
}

fn only_on_s3(object: &ObjectRow) -> bool {
    let mut healthy = object
        .placements
        .iter()
        .filter(|placement| placement.state == PlacementState::Present)
        .peekable();
    healthy.peek().is_some() && healthy.all(|placement| placement.store != StoreName::LOCAL)
}
