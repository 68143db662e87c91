//! Objects: immutable bytes. Readers know them by key, stores by location.

use std::collections::BTreeMap;

use sqlx::any::AnyRow;
use stockroom_domain::{Key, KeyPrefix, ObjectId, ObjectState, Sha256Digest, Timestamp};

use crate::Catalog;
use crate::assembled::Assembled;
use crate::error::{CatalogError, Conflict, Noun, Result};
use crate::page::{Page, Paged};
use crate::placements::{Placement, read_placements};
use crate::row::Record;
use crate::run::{Tx, sql};

/// An object that is or was live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRow {
    /// Its id.
    pub id: ObjectId,
    /// The key that readers know it by.
    pub key: Key,
    /// The key under which its bytes lie on the stores; never used for other bytes.
    pub location: Key,
    /// Where it is in its life.
    pub state: ObjectState,
    /// How many bytes it has.
    pub size_bytes: u64,
    /// The SHA-256 of its bytes.
    pub sha256: Sha256Digest,
    /// Its media type.
    pub content_type: String,
    /// What its uploader noted with it.
    pub metadata: BTreeMap<String, String>,
    /// When it became readable.
    pub live_at: Timestamp,
    /// From when on its bytes may be removed.
    pub retire_after: Option<Timestamp>,
    /// Where its bytes are, in the order of the stores' names.
    pub placements: Vec<Placement>,
}

/// An object with what is needed to read and check its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectDetails {
    /// The object.
    pub object: ObjectRow,
    /// The checksums of its chunks, as whoever recorded them wrote them.
    pub chunk_sums: Vec<u8>,
}

/// The columns of `objects o`, without the chunk sums, which lists do not need.
macro_rules! object_columns {
    () => {
        concat!(
            "o.id AS object_id, o.key AS object_key, o.location AS object_location, \
             o.state AS object_state, o.size_bytes AS object_size_bytes, \
             o.sha256 AS object_sha256, o.content_type AS object_content_type, \
             o.metadata AS object_metadata, o.live_at AS object_live_at, \
             o.retire_after AS object_retire_after, ",
            crate::placements::placements_text!()
        )
    };
}
pub(crate) use object_columns;

/// The same with the chunk sums.
macro_rules! object_details_columns {
    () => {
        concat!(
            crate::objects::object_columns!(),
            ", o.chunk_sums AS object_chunk_sums"
        )
    };
}
pub(crate) use object_details_columns;

impl ObjectRow {
    /// The object in the columns that [`object_columns`] names.
    pub(crate) fn read(row: &AnyRow) -> Result<Self> {
        let row = record(row);
        let sha256 = Sha256Digest::try_from(row.bytes("object_sha256")?)
            .map_err(|error| row.corrupt("object_sha256", &error))?;
        Ok(Self {
            id: row.parsed("object_id")?,
            key: row.parsed("object_key")?,
            location: row.parsed("object_location")?,
            state: row.parsed("object_state")?,
            size_bytes: row.count("object_size_bytes")?,
            sha256,
            content_type: row.text("object_content_type")?.to_owned(),
            metadata: row.json("object_metadata")?,
            live_at: row.time("object_live_at")?,
            retire_after: row.time_or_null("object_retire_after")?,
            placements: read_placements(row)?,
        })
    }
}

impl ObjectDetails {
    /// The object in the columns that [`object_details_columns`] names.
    pub(crate) fn read(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            object: ObjectRow::read(row)?,
            chunk_sums: record(row).bytes("object_chunk_sums")?.to_vec(),
        })
    }
}

const fn record(row: &AnyRow) -> Record<'_> {
    Record::new(row, "objects", "object_id")
}

macro_rules! find {
    ($condition:literal) => {
        concat!(
            "SELECT ",
            object_details_columns!(),
            " FROM objects o WHERE ",
            $condition
        )
    };
}

impl Catalog {
    /// The live object with this key.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_object(&self, key: &Key) -> Result<Option<ObjectDetails>> {
        self.find_details(
            find!("o.key = $1 AND o.state = 'live'"),
            key.as_str().to_owned(),
        )
        .await
    }

    /// The live object whose bytes lie at this location.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_object_by_location(&self, location: &Key) -> Result<Option<ObjectDetails>> {
        self.find_details(
            find!("o.location = $1 AND o.state = 'live'"),
            location.as_str().to_owned(),
        )
        .await
    }

    /// The object with this id, in whatever state, if it ever was live.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn find_object_by_id(&self, id: ObjectId) -> Result<Option<ObjectDetails>> {
        self.find_details(find!("o.id = $1 AND o.live_at IS NOT NULL"), id.to_string())
            .await
    }

    async fn find_details(
        &self,
        text: &'static str,
        value: String,
    ) -> Result<Option<ObjectDetails>> {
        self.fetch_optional(sql(text).bind(value))
            .await?
            .as_ref()
            .map(ObjectDetails::read)
            .transpose()
    }

    /// Live objects whose key begins with `prefix`, in the order of the keys' bytes. The cursor
    /// is the last key.
    ///
    /// # Errors
    /// [`CatalogError::InvalidCursor`].
    pub async fn list_objects(&self, prefix: &KeyPrefix, page: &Page) -> Result<Paged<ObjectRow>> {
        let mut select = Assembled::new(concat!(
            "SELECT ",
            object_columns!(),
            " FROM objects o WHERE o.state = 'live'"
        ));
        within(&mut select, prefix, page.cursor::<Key>()?.as_ref());
        select.push(" ORDER BY o.key LIMIT ").number(page.rows());
        let rows = self.fetch_all(select.finish()).await?;
        let objects = rows.iter().map(ObjectRow::read).collect::<Result<_>>()?;
        Ok(Paged::new(objects, page, |object: &ObjectRow| {
            object.key.clone()
        }))
    }

    /// Deletes the live object with this key for readers at once. Its bytes may be removed from
    /// `retire_after` on, but not before those of objects that had the key earlier; until then
    /// [`Catalog::restore_object`] brings it back.
    ///
    /// # Errors
    /// [`CatalogError::NotFound`]; [`Conflict::ObjectInUse`] when it holds the bytes of an asset.
    pub async fn retire_object(&self, key: &Key, retire_after: Timestamp) -> Result<ObjectId> {
        self.retried(|| self.try_retire_object(key, retire_after))
            .await
    }

    async fn try_retire_object(&self, key: &Key, retire_after: Timestamp) -> Result<ObjectId> {
        let mut tx = self.begin().await?;
        let retired = tx.retire_live(key, retire_after).await?;
        tx.commit().await?;
        retired.ok_or(CatalogError::NotFound(Noun::Object))
    }
}

impl Tx {
    /// Takes the live object of a key away from readers, if there is one. Its bytes stay until
    /// `retire_after`, and longer than those of every object that had the key before: a restore
    /// brings back the one that stays longest, and the clocks of servers and the grace period may
    /// have changed since the others were replaced.
    pub(crate) async fn retire_live(
        &mut self,
        key: &Key,
        retire_after: Timestamp,
    ) -> Result<Option<ObjectId>> {
        let retired = self
            .fetch_optional(
                sql(
                    "UPDATE objects SET state = 'retiring', retire_after = coalesce(
                         (SELECT max(o.retire_after) + 1 FROM objects o
                             WHERE o.key = $1 AND o.state = 'retiring' AND o.retire_after >= $2),
                         $2)
                     WHERE key = $1 AND state = 'live' AND NOT EXISTS (
                         SELECT 1 FROM assets a
                         WHERE a.object_id = objects.id AND a.deleted_at IS NULL)
                     RETURNING id",
                )
                .bind(key.as_str())
                .bind(retire_after.unix_ms()),
            )
            .await?;
        if let Some(row) = retired {
            return Record::new(&row, "objects", "id").parsed("id").map(Some);
        }
        let in_use = self
            .fetch_optional(
                sql(
                    "SELECT a.id FROM objects o JOIN assets a ON a.object_id = o.id
                     WHERE o.key = $1 AND o.state = 'live' AND a.deleted_at IS NULL",
                )
                .bind(key.as_str()),
            )
            .await?;
        match in_use {
            Some(row) => {
                let asset = Record::new(&row, "assets", "id").parsed("id")?;
                Err(Conflict::ObjectInUse { asset }.into())
            }
            None => Ok(None),
        }
    }

    /// The object with this id, which another row refers to and which is thus there.
    pub(crate) async fn object(&mut self, id: &str) -> Result<ObjectRow> {
        let row = self
            .fetch_optional(
                sql(concat!(
                    "SELECT ",
                    object_columns!(),
                    " FROM objects o WHERE o.id = $1"
                ))
                .bind(id.to_owned()),
            )
            .await?
            .ok_or(CatalogError::NotFound(Noun::Object))?;
        ObjectRow::read(&row)
    }
}

/// Adds the condition that the key of `objects o` begins with `prefix` and comes after `after`.
pub(crate) fn within(select: &mut Assembled, prefix: &KeyPrefix, after: Option<&Key>) {
    match after {
        // A cursor is at or after the prefix; one condition for both keeps the range short.
        Some(after) if after.as_str() >= prefix.as_str() => {
            select.push(" AND o.key > ").text(after.as_str())
        }
        _ => select.push(" AND o.key >= ").text(prefix.as_str()),
    };
    if let Some(end) = successor(prefix.as_str()) {
        select.push(" AND o.key < ").text(end);
    }
}

/// The first text after all that begin with `prefix`, in the order of bytes, which for UTF-8 is
/// the order of characters. There is none after the empty prefix.
pub(crate) fn successor(prefix: &str) -> Option<String> {
    let mut characters: Vec<char> = prefix.chars().collect();
    while let Some(last) = characters.pop() {
        // The range skips the surrogates, which are no characters.
        if let Some(next) = (last..=char::MAX).nth(1) {
            characters.push(next);
            return Some(characters.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_ends_the_range_of_a_prefix() {
        assert_eq!(successor("models/a").as_deref(), Some("models/b"));
        assert_eq!(successor("models/").as_deref(), Some("models0"));
        assert_eq!(successor("a\u{d7ff}").as_deref(), Some("a\u{e000}"));
        assert_eq!(successor("a\u{10ffff}").as_deref(), Some("b"));
        assert_eq!(successor(""), None);
        assert_eq!(successor("\u{10ffff}"), None);
    }

    #[test]
    fn what_begins_with_a_prefix_lies_before_its_successor() {
        for prefix in ["models/é", "models/%", "models/_", "temp/z", "im"] {
            let end = successor(prefix).unwrap();
            for rest in ["", "a", "\u{1}", "\u{10ffff}\u{10ffff}"] {
                let text = format!("{prefix}{rest}");
                assert!(prefix <= text.as_str() && text < end, "{text:?}");
            }
        }
    }
}
