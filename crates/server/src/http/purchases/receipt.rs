//! `GET /v1/purchases/{id}/receipt`

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};
use stockroom_catalog::GrantRow;
use stockroom_domain::{AssetId, DownloadId, GrantId, KeyId, PurchaseId, Sha256Digest, Timestamp};
use utoipa::{IntoParams, ToSchema};

use super::visible;
use crate::app::App;
use crate::flows::receipt::{self, Download, Receipt};
use crate::http::auth::Identity;
use crate::http::extract::{Id, Query};
use crate::http::problem::{Problem, ProblemBody};
use crate::http::views::PurchaseView;
use crate::spreadsheet::harmless;

/// The form of a receipt.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ReceiptQuery {
    /// `json` or `csv`; without it as the header `Accept` says, else JSON.
    format: Option<String>,
}

/// What a buyer was given with a purchase.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Receipt)]
pub struct ReceiptView {
    /// The purchase.
    purchase: PurchaseView,
    /// When the receipt was made. RFC 3339, UTC.
    #[schema(value_type = String)]
    made_at: Timestamp,
    /// The downloads, oldest first.
    downloads: Vec<DownloadView>,
    /// How many bytes were sent, those that were sent twice counted twice.
    sent_bytes: u64,
    /// There are older answers than the 10,000 that are shown.
    truncated: bool,
}

/// All ranges and attempts that together are one download of a file.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Download)]
pub struct DownloadView {
    /// `dow_...`
    #[schema(value_type = String)]
    id: DownloadId,
    /// The file.
    #[schema(value_type = String)]
    asset: AssetId,
    /// Its name.
    filename: String,
    /// Its version.
    version: u32,
    /// The SHA-256 of its bytes, in hex.
    #[schema(value_type = String)]
    sha256: Sha256Digest,
    /// Its size in bytes.
    size: u64,
    /// When it began. RFC 3339, UTC.
    #[schema(value_type = Option<String>)]
    began_at: Option<Timestamp>,
    /// When it was last continued. RFC 3339, UTC.
    #[schema(value_type = Option<String>)]
    last_at: Option<Timestamp>,
    /// How many bytes this server sent, those that were sent twice counted twice.
    sent_bytes: u64,
    /// What this server sent of the file.
    sent: Vec<SentRange>,
    /// Whether this server sent every byte of the file.
    complete: bool,
    /// The answers that gave the bytes, oldest first.
    grants: Vec<GrantView>,
}

/// Bytes that were sent, both ends included.
#[derive(Debug, Serialize, ToSchema)]
pub struct SentRange {
    /// The offset of the first one.
    first_byte: u64,
    /// The offset of the last one.
    last_byte: u64,
}

/// An answer that gave bytes, or a link to them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Grant)]
pub struct GrantView {
    /// `grt_...`
    #[schema(value_type = String)]
    id: GrantId,
    /// `stream`: the bytes; `link`: the bytes, over a signed URL of this server; `redirect` and
    /// `signed_url`: a link to them.
    kind: &'static str,
    /// When. RFC 3339, UTC.
    #[schema(value_type = String)]
    at: Timestamp,
    /// When the answer ended; `null` while it runs and for links.
    #[schema(value_type = Option<String>)]
    ended_at: Option<Timestamp>,
    /// The offset of the first byte that was granted.
    first_byte: u64,
    /// How many bytes were granted.
    granted_bytes: u64,
    /// How many bytes were handed to the connection; `null` where that is not known: while the
    /// answer runs, and for links that a bucket answers.
    sent_bytes: Option<u64>,
    /// The stores that the bytes came from.
    stores: Vec<String>,
    /// The key that asked; `null` where a link was followed.
    #[schema(value_type = Option<String>)]
    key: Option<KeyId>,
    /// A keyed hash of the address that asked: the same for the same address.
    address: Option<String>,
}

/// Shows what a buyer was given with a purchase, and when: what a shop sends to its bank when a
/// payment is disputed. For the shop and for the buyer.
#[utoipa::path(get, path = "/v1/purchases/{id}/receipt", tag = "purchases",
    params(("id" = String, Path), ReceiptQuery),
    responses(
        (status = 200, description = "The receipt, as JSON or as CSV with a line for each answer.", body = ReceiptView),
        (status = "default", description = "What went wrong.", body = ProblemBody),
    ))]
pub async fn receipt(
    State(app): State<App>,
    identity: Identity,
    Id(id): Id<PurchaseId>,
    Query(query): Query<ReceiptQuery>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let is_csv = wants_csv(query.format.as_deref(), &headers)?;
    let purchase = visible(&app, &identity, id).await?;
    let receipt = receipt::receipt(&app, purchase).await?;
    // The purchase was read before the last grants were recorded, which count its downloads.
    let receipt = Receipt {
        purchase: visible(&app, &identity, id).await?,
        ..receipt
    };
    let mut response = if is_csv {
        csv(&receipt)?
    } else {
        Json(view(receipt, app.clock.now())).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn wants_csv(format: Option<&str>, headers: &HeaderMap) -> Result<bool, Problem> {
    match format {
        Some("csv") => Ok(true),
        Some("json") => Ok(false),
        Some(_) => Err(Problem::invalid("format is json or csv.")),
        None => Ok(headers
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.trim_start().starts_with("text/csv"))),
    }
}

fn view(receipt: Receipt, now: Timestamp) -> ReceiptView {
    ReceiptView {
        sent_bytes: receipt.sent_bytes(),
        truncated: receipt.is_cut,
        purchase: PurchaseView::of(receipt.purchase, now),
        made_at: now,
        downloads: receipt
            .downloads
            .into_iter()
            .map(DownloadView::from)
            .collect(),
    }
}

impl From<Download> for DownloadView {
    fn from(download: Download) -> Self {
        let sent = download.sent.iter().map(|range| SentRange {
            first_byte: range.start,
            last_byte: range.end - 1,
        });
        let times = download.times();
        Self {
            sent: sent.collect(),
            sent_bytes: download.sent_bytes(),
            complete: download.is_complete(),
            began_at: times.map(|(first, _)| first),
            last_at: times.map(|(_, last)| last),
            id: download.row.id,
            asset: download.row.file.asset_id,
            filename: download.row.file.filename.as_str().to_owned(),
            version: download.row.file.version,
            sha256: download.row.file.sha256,
            size: download.row.file.size_bytes,
            grants: download
                .row
                .grants
                .into_iter()
                .map(GrantView::from)
                .collect(),
        }
    }
}

impl From<GrantRow> for GrantView {
    fn from(row: GrantRow) -> Self {
        let stores = row.stores().split(',').filter(|store| !store.is_empty());
        Self {
            id: row.id,
            kind: row.given.kind.as_str(),
            at: row.given.at,
            ended_at: row.end.as_ref().map(|end| end.ended_at),
            first_byte: row.given.range.start,
            granted_bytes: row.given.bytes(),
            sent_bytes: row.sent_bytes(),
            stores: stores.map(str::to_owned).collect(),
            key: row.given.key_id,
            address: row.given.address,
        }
    }
}

/// The columns of the CSV form.
const COLUMNS: [&str; 19] = [
    "order_ref",
    "purchase",
    "buyer",
    "download",
    "asset",
    "filename",
    "version",
    "sha256",
    "size",
    "grant",
    "kind",
    "at",
    "ended_at",
    "first_byte",
    "granted_bytes",
    "sent_bytes",
    "stores",
    "key",
    "address",
];

fn csv(receipt: &Receipt) -> Result<Response, Problem> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS).map_err(Problem::internal)?;
    for download in &receipt.downloads {
        for grant in &download.row.grants {
            writer
                .write_record(line(receipt, download, grant))
                .map_err(Problem::internal)?;
        }
    }
    // Writing into memory cannot fail, so this never tells of an error.
    let bytes = writer
        .into_inner()
        .map_err(|error| Problem::internal(error.into_error()))?;
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/csv; charset=utf-8; header=present"),
    );
    let name = format!(
        "attachment; filename=\"receipt-{}.csv\"",
        receipt.purchase.id
    );
    if let Ok(name) = HeaderValue::try_from(name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

fn line(receipt: &Receipt, download: &Download, grant: &GrantRow) -> [String; COLUMNS.len()] {
    let (purchase, file, given) = (&receipt.purchase, &download.row.file, &grant.given);
    let or_nothing = |value: Option<String>| value.unwrap_or_default();
    [
        harmless(&purchase.order_ref),
        purchase.id.to_string(),
        harmless(purchase.buyer.as_str()),
        download.row.id.to_string(),
        file.asset_id.to_string(),
        harmless(file.filename.as_str()),
        file.version.to_string(),
        file.sha256.to_string(),
        file.size_bytes.to_string(),
        grant.id.to_string(),
        given.kind.to_string(),
        given.at.to_string(),
        or_nothing(grant.end.as_ref().map(|end| end.ended_at.to_string())),
        given.range.start.to_string(),
        given.bytes().to_string(),
        or_nothing(grant.sent_bytes().map(|bytes| bytes.to_string())),
        grant.stores().replace(',', "+"),
        or_nothing(given.key_id.map(|id| id.to_string())),
        or_nothing(given.address.clone()),
    ]
}
