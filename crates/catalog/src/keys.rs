//! API keys: what is stored is the SHA-256 of a key, never the key.

use std::collections::BTreeMap;
use std::fmt;

use sqlx::any::AnyRow;
use stockroom_domain::{KeyId, Role, Subject, Timestamp};

use crate::Catalog;
use crate::assembled::Assembled;
use crate::error::{CatalogError, Noun, Result};
use crate::page::{Page, Paged};
use crate::row::{Record, check_text};
use crate::run::sql;

/// The SHA-256 of an API key's text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(..)")
    }
}

/// A key to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewKey {
    /// Its id.
    pub id: KeyId,
    /// The hash it is found by.
    pub hash: KeyHash,
    /// What it may do.
    pub role: Role,
    /// Whose it is. Keys of artists and buyers must have one.
    pub subject: Option<Subject>,
    /// What its owner calls it.
    pub name: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// A stored key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Its id.
    pub id: KeyId,
    /// The hash it is found by.
    pub hash: KeyHash,
    /// What it may do.
    pub role: Role,
    /// Whose it is.
    pub subject: Option<Subject>,
    /// What its owner calls it.
    pub name: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, as far as [`Catalog::touch_keys`] was told.
    pub last_used_at: Option<Timestamp>,
}

impl KeyRow {
    /// Whether the key opens anything at the moment `now`.
    #[must_use]
    pub fn is_usable(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }

    /// The key in the columns that [`key_columns`] names.
    pub(crate) fn read(row: &AnyRow) -> Result<Self> {
        let row = record(row);
        Ok(Self {
            id: row.parsed("key_id")?,
            hash: KeyHash(
                row.bytes("key_hash")?
                    .try_into()
                    .map_err(|error| row.corrupt("key_hash", &error))?,
            ),
            role: row.parsed("key_role")?,
            subject: row.parsed_or_null("key_subject")?,
            name: row.text_or_null("key_name")?.map(str::to_owned),
            created_at: row.time("key_created_at")?,
            expires_at: row.time_or_null("key_expires_at")?,
            revoked_at: row.time_or_null("key_revoked_at")?,
            last_used_at: row.time_or_null("key_last_used_at")?,
        })
    }

    /// The same, or nothing where a left join found no key.
    pub(crate) fn read_if_there(row: &AnyRow) -> Result<Option<Self>> {
        record(row).is_there()?.then(|| Self::read(row)).transpose()
    }
}

const fn record(row: &AnyRow) -> Record<'_> {
    Record::new(row, "keys", "key_id")
}

/// The columns of `keys k`.
macro_rules! key_columns {
    () => {
        "k.id AS key_id, k.hash AS key_hash, k.role AS key_role, k.subject AS key_subject, k.name AS key_name, \
         k.created_at AS key_created_at, k.expires_at AS key_expires_at, \
         k.revoked_at AS key_revoked_at, k.last_used_at AS key_last_used_at"
    };
}
pub(crate) use key_columns;

impl Catalog {
    /// Stores a key.
    ///
    /// # Errors
    /// [`crate::Conflict::ApiKey`] when the id or the hash is taken.
    pub async fn insert_key(&self, key: &NewKey) -> Result<KeyRow> {
        if let Some(name) = &key.name {
            check_text("name", name)?;
        }
        self.execute(
            sql(
                "INSERT INTO keys (id, hash, role, subject, name, created_at, expires_at)
                 VALUES ($1, $2, $3, $4, $5, $6, $7)",
            )
            .bind(key.id.to_string())
            .bind(key.hash.0.to_vec())
            .bind(key.role.as_str())
            .bind(key.subject.as_ref().map(ToString::to_string))
            .bind(key.name.clone())
            .bind(key.created_at.unix_ms())
            .bind(key.expires_at.map(Timestamp::unix_ms)),
        )
        .await?;
        Ok(KeyRow {
            id: key.id,
            hash: key.hash,
            role: key.role,
            subject: key.subject.clone(),
            name: key.name.clone(),
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: None,
            last_used_at: None,
        })
    }

    /// The key with this hash, also when it was revoked or has ended: ask
    /// [`KeyRow::is_usable`].
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_key(&self, hash: &KeyHash) -> Result<Option<KeyRow>> {
        self.fetch_optional(
            sql(concat!(
                "SELECT ",
                key_columns!(),
                " FROM keys k WHERE k.hash = $1"
            ))
            .bind(hash.0.to_vec()),
        )
        .await?
        .as_ref()
        .map(KeyRow::read)
        .transpose()
    }

    /// The key with this id, also when it was revoked or has ended.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_key_by_id(&self, id: KeyId) -> Result<Option<KeyRow>> {
        self.fetch_optional(
            sql(concat!(
                "SELECT ",
                key_columns!(),
                " FROM keys k WHERE k.id = $1"
            ))
            .bind(id.to_string()),
        )
        .await?
        .as_ref()
        .map(KeyRow::read)
        .transpose()
    }

    /// All keys, newest first.
    ///
    /// # Errors
    /// [`CatalogError::InvalidCursor`].
    pub async fn list_keys(&self, page: &Page) -> Result<Paged<KeyRow>> {
        let mut select = Assembled::new(concat!("SELECT ", key_columns!(), " FROM keys k"));
        if let Some(after) = page.cursor::<KeyId>()? {
            select.push(" WHERE k.id < ").text(after.to_string());
        }
        select
            .push(" ORDER BY k.id DESC LIMIT ")
            .number(page.rows());
        let rows = self.fetch_all(select.finish()).await?;
        let keys = rows.iter().map(KeyRow::read).collect::<Result<_>>()?;
        Ok(Paged::new(keys, page, |key: &KeyRow| key.id))
    }

    /// Ends a key for good. Whether it was usable until now: false when it was revoked before.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`].
    pub async fn revoke_key(&self, id: KeyId, now: Timestamp) -> Result<bool> {
        let changed = self.retried(|| self.try_revoke_key(id, now)).await?;
        if changed == 1 {
            return Ok(true);
        }
        self.fetch_optional(sql("SELECT k.id FROM keys k WHERE k.id = $1").bind(id.to_string()))
            .await?
            .map(|_| false)
            .ok_or(CatalogError::NotFound(Noun::Key))
    }

    async fn try_revoke_key(&self, id: KeyId, now: Timestamp) -> Result<u64> {
        let mut tx = self.begin().await?;
        let changed = tx
            .execute(
                sql("UPDATE keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL")
                    .bind(id.to_string())
                    .bind(now.unix_ms()),
            )
            .await?;
        tx.end_access().await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// Notes when keys were last used, all or none. This is a write that waits for the disk, so
    /// call it at most once a minute for each key. A key that is not there any more is no error.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn touch_keys(&self, uses: &BTreeMap<KeyId, Timestamp>) -> Result<()> {
        // Keys come in one order everywhere, so that two calls never wait for each other.
        self.retried(|| self.try_touch_keys(uses)).await
    }

    async fn try_touch_keys(&self, uses: &BTreeMap<KeyId, Timestamp>) -> Result<()> {
        let mut tx = self.begin().await?;
        for (id, used_at) in uses {
            tx.execute(
                sql("UPDATE keys SET last_used_at = $2
                     WHERE id = $1 AND coalesce(last_used_at, 0) < $2")
                .bind(id.to_string())
                .bind(used_at.unix_ms()),
            )
            .await?;
        }
        tx.commit().await
    }
}
