//! The record of what operators did. It is only ever added to.

use std::net::IpAddr;

use sqlx::any::AnyRow;
use stockroom_domain::{AuditId, KeyId, Timestamp};

use crate::Catalog;
use crate::assembled::Assembled;
use crate::error::Result;
use crate::page::{Page, Paged};
use crate::row::{Record, check_text};
use crate::run::sql;

/// One thing that an operator did, or tried to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its id.
    pub id: AuditId,
    /// When it was answered.
    pub at: Timestamp,
    /// The key it was done with; none on the command line.
    pub key: Option<KeyId>,
    /// What was done: method and route, or the command.
    pub action: String,
    /// What it was done to.
    pub target: Option<String>,
    /// The HTTP status of the answer. None on the command line, and when the caller went away
    /// before there was an answer.
    pub status: Option<u16>,
    /// The id of the request.
    pub request_id: Option<String>,
    /// Where the call came from.
    pub address: Option<IpAddr>,
}

impl AuditRow {
    fn read(row: &AnyRow) -> Result<Self> {
        let row = Record::new(row, "audit_log", "audit_id");
        Ok(Self {
            id: row.parsed("audit_id")?,
            at: row.time("audit_at")?,
            key: row.parsed_or_null("audit_key_id")?,
            action: row.text("audit_action")?.to_owned(),
            target: row.text_or_null("audit_target")?.map(str::to_owned),
            status: row.count_or_null("audit_status")?,
            request_id: row.text_or_null("audit_request_id")?.map(str::to_owned),
            address: row.parsed_or_null("audit_address")?,
        })
    }
}

impl Catalog {
    /// Adds to the record.
    ///
    /// # Errors
    /// [`crate::CatalogError::InvalidText`] for a text with NUL.
    pub async fn record_audit(&self, entry: &AuditRow) -> Result<()> {
        check_text("action", &entry.action)?;
        check_text("target", entry.target.as_deref().unwrap_or_default())?;
        check_text(
            "request_id",
            entry.request_id.as_deref().unwrap_or_default(),
        )?;
        self.execute(
            sql("INSERT INTO audit_log
                     (id, at, key_id, action, target, status, request_id, address)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)")
            .bind(entry.id.to_string())
            .bind(entry.at.unix_ms())
            .bind(entry.key.map(|key| key.to_string()))
            .bind(entry.action.clone())
            .bind(entry.target.clone())
            .bind(entry.status.map(i64::from))
            .bind(entry.request_id.clone())
            .bind(entry.address.map(|address| address.to_string())),
        )
        .await
        .map(drop)
    }

    /// What was done, newest first, with one key or with any.
    ///
    /// # Errors
    /// [`crate::CatalogError::InvalidCursor`].
    pub async fn list_audit(&self, key: Option<KeyId>, page: &Page) -> Result<Paged<AuditRow>> {
        let mut select = Assembled::new(
            "SELECT l.id AS audit_id, l.at AS audit_at, l.key_id AS audit_key_id,
                 l.action AS audit_action, l.target AS audit_target, l.status AS audit_status,
                 l.request_id AS audit_request_id, l.address AS audit_address
             FROM audit_log l WHERE 1 = 1",
        );
        if let Some(key) = key {
            select.push(" AND l.key_id = ").text(key.to_string());
        }
        if let Some(after) = page.cursor::<AuditId>()? {
            select.push(" AND l.id < ").text(after.to_string());
        }
        select
            .push(" ORDER BY l.id DESC LIMIT ")
            .number(page.rows());
        let rows = self.fetch_all(select.finish()).await?;
        let entries = rows.iter().map(AuditRow::read).collect::<Result<_>>()?;
        Ok(Paged::new(entries, page, |entry: &AuditRow| entry.id))
    }
}
