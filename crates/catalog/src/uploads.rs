//! Uploads: an object from the first byte until it is live, or until nothing is left of it.
//!
//! The row of an upload is written before the first byte, so that no byte lies on a store without
//! a row that knows of it. It ends in one of three ways:
//!
//! - recorded ([`Catalog::record_object`], [`Catalog::record_assets`]): the object is live;
//! - discarded ([`Catalog::discard_upload`]): the server that received it removed every byte
//!   itself, and the row goes too;
//! - abandoned: the server died, or could not clean up. The sweep takes the row
//!   ([`Catalog::claim_tombstones`]), from when on the upload cannot be recorded any more, removes
//!   the bytes and says so ([`Catalog::finish_tombstone`]). The row stays, because a byte that was
//!   under way may still land at its location, which must therefore not be used again.
//!
//! When recording ends in a transient error ([`crate::CatalogError::is_transient`]), the object may
//! be live all the same. [`Catalog::abandon_upload`] decides it: true, and it never will be, so the
//! sweep removes the bytes; false, and [`Catalog::find_object_by_id`] knows whether it is.

use std::collections::BTreeMap;

use stockroom_domain::{Key, ObjectId, PlacementState, Sha256Digest, StoreName, Timestamp};

use crate::Catalog;
use crate::error::{Conflict, Result};
use crate::objects::ObjectRow;
use crate::placements::insert_placement;
use crate::row::{Record, check_text, to_json, to_number};
use crate::run::{Statement, Tx, sql};

/// An upload that is about to begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUpload {
    /// The id of the object it will make.
    pub object_id: ObjectId,
    /// The key that readers will know the object by.
    pub key: Key,
    /// The object's media type.
    pub content_type: String,
    /// What the uploader notes with it.
    pub metadata: BTreeMap<String, String>,
    /// When the upload began.
    pub opened_at: Timestamp,
    /// Until when the sweep leaves it alone; see [`Catalog::extend_lease`].
    pub lease_until: Timestamp,
}

/// An upload that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The id of the object.
    pub object_id: ObjectId,
    /// The key that readers would know the object by.
    pub key: Key,
    /// The key under which its bytes lie on the stores.
    pub location: Key,
}

/// What is known of an object's bytes once all of them were received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectFacts {
    /// How many there are.
    pub size_bytes: u64,
    /// Their SHA-256.
    pub sha256: Sha256Digest,
    /// The checksums of their chunks; the catalog gives them back as they are.
    pub chunk_sums: Vec<u8>,
}

/// An upload whose bytes were received, with where they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedUpload {
    /// The id of the object.
    pub object_id: ObjectId,
    /// What is known of the bytes.
    pub facts: ObjectFacts,
    /// The stores where they are `present`, at least one, and those where they shall be and are
    /// still `copying`.
    pub placements: Vec<(StoreName, PlacementState)>,
}

/// An object that has become live, and the one whose key it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedObject {
    /// The object.
    pub object: ObjectRow,
    /// The object that had the key before; it is retiring now.
    pub replaced: Option<ObjectId>,
}

impl Catalog {
    /// Writes down that an upload begins and settles where its bytes go: to the key itself when
    /// no bytes were ever kept there, else to a place of its own under
    /// `CATEGORY/.versions/OBJECT_ID`.
    ///
    /// # Errors
    /// [`crate::CatalogError::InvalidText`] when the media type or the metadata has NUL;
    /// [`Conflict::Id`].
    pub async fn open_upload(&self, upload: NewUpload) -> Result<Upload> {
        check_text("content_type", &upload.content_type)?;
        for (name, value) in &upload.metadata {
            check_text("metadata", name)?;
            check_text("metadata", value)?;
        }
        let metadata = to_json(&upload.metadata)?;
        let own_place = own_place(&upload);
        // The constraint on locations decides, so that two uploads cannot both get the key's place.
        for location in [upload.key.clone(), own_place] {
            let opened = self
                .execute(insert_upload(&upload, &location, metadata.clone()))
                .await?;
            if opened == 1 {
                return Ok(Upload {
                    object_id: upload.object_id,
                    key: upload.key,
                    location,
                });
            }
        }
        Err(Conflict::Id.into())
    }

    /// Keeps the sweep away from an upload until `lease_until`. Call it while bytes arrive.
    ///
    /// # Errors
    /// [`Conflict::UploadClosed`]: stop, the bytes cannot be recorded any more.
    pub async fn extend_lease(&self, object_id: ObjectId, lease_until: Timestamp) -> Result<()> {
        let changed = self
            .execute(
                sql("UPDATE objects SET lease_until = $2 WHERE id = $1 AND state = 'receiving'")
                    .bind(object_id.to_string())
                    .bind(lease_until.unix_ms()),
            )
            .await?;
        if changed == 1 {
            Ok(())
        } else {
            Err(Conflict::UploadClosed.into())
        }
    }

    /// Forgets an upload whose bytes the caller removed from every store, and which nobody is
    /// writing any more. Its location is free again. Whether there was anything to forget: an
    /// upload that the sweep has taken keeps its row.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn discard_upload(&self, object_id: ObjectId) -> Result<bool> {
        let deleted = self
            .execute(
                sql("DELETE FROM objects WHERE id = $1 AND state = 'receiving'")
                    .bind(object_id.to_string()),
            )
            .await?;
        Ok(deleted == 1)
    }

    /// Gives an upload up whose bytes could not be removed: from now on it cannot be recorded, and
    /// the sweep removes its bytes soon. Whether it was open; when it was not, it may be live.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn abandon_upload(&self, object_id: ObjectId, now: Timestamp) -> Result<bool> {
        let changed = self
            .execute(
                sql(
                    "UPDATE objects SET state = 'gone', gone_at = $2, lease_until = $2
                     WHERE id = $1 AND state = 'receiving'",
                )
                .bind(object_id.to_string())
                .bind(now.unix_ms()),
            )
            .await?;
        Ok(changed == 1)
    }

    /// Makes a received upload the live object of its key, in one transaction with the step that
    /// takes the key from the object before it. That one's bytes may be removed from
    /// `retire_after` on, but not before those of objects that had the key earlier.
    ///
    /// # Errors
    /// [`Conflict::UploadClosed`], [`Conflict::NothingDurable`], [`Conflict::ObjectInUse`] when
    /// the key's object holds the bytes of an asset. In each case the caller removes the bytes
    /// and discards the upload. After a transient error it asks [`Catalog::abandon_upload`] first.
    pub async fn record_object(
        &self,
        upload: &ReceivedUpload,
        now: Timestamp,
        retire_after: Timestamp,
    ) -> Result<RecordedObject> {
        self.retried(|| self.try_record_object(upload, now, retire_after))
            .await
    }

    /// The same when no object may have the key yet: none is replaced.
    ///
    /// # Errors
    /// As [`Catalog::record_object`], and [`Conflict::ObjectKey`] in the place of
    /// [`Conflict::ObjectInUse`].
    pub async fn record_first_object(
        &self,
        upload: &ReceivedUpload,
        now: Timestamp,
    ) -> Result<ObjectRow> {
        self.retried(|| async {
            let mut tx = self.begin().await?;
            tx.make_live(upload, now).await?;
            let object = tx.object(&upload.object_id.to_string()).await?;
            tx.commit().await?;
            Ok(object)
        })
        .await
    }

    async fn try_record_object(
        &self,
        upload: &ReceivedUpload,
        now: Timestamp,
        retire_after: Timestamp,
    ) -> Result<RecordedObject> {
        let mut tx = self.begin().await?;
        let row = tx
            .fetch_optional(
                sql("SELECT o.id, o.key FROM objects o WHERE o.id = $1")
                    .bind(upload.object_id.to_string()),
            )
            .await?
            .ok_or(Conflict::UploadClosed)?;
        let key: Key = Record::new(&row, "objects", "id").parsed("key")?;
        // Of several uploads to one key the last to get here wins; each sees the one before.
        tx.lock_key(&key).await?;
        let replaced = tx.retire_live(&key, retire_after).await?;
        tx.make_live(upload, now).await?;
        let object = tx.object(&upload.object_id.to_string()).await?;
        tx.commit().await?;
        Ok(RecordedObject { object, replaced })
    }
}

impl Tx {
    /// The step of a received upload to a live object, with its placements.
    pub(crate) async fn make_live(
        &mut self,
        upload: &ReceivedUpload,
        now: Timestamp,
    ) -> Result<()> {
        let states = upload.placements.iter().map(|(_, state)| *state);
        if !states.clone().any(|state| state == PlacementState::Present) {
            return Err(Conflict::NothingDurable.into());
        }
        for state in states {
            if !matches!(state, PlacementState::Present | PlacementState::Copying) {
                return Err(Conflict::IllegalPlacement { state }.into());
            }
        }
        let facts = &upload.facts;
        let changed = self
            .execute(
                sql(
                    "UPDATE objects SET state = 'live', live_at = $2, lease_until = NULL,
                         size_bytes = $3, sha256 = $4, chunk_sums = $5
                     WHERE id = $1 AND state = 'receiving'",
                )
                .bind(upload.object_id.to_string())
                .bind(now.unix_ms())
                .bind(to_number("size_bytes", facts.size_bytes)?)
                .bind(facts.sha256.as_bytes().to_vec())
                .bind(facts.chunk_sums.clone()),
            )
            .await?;
        if changed == 0 {
            return Err(Conflict::UploadClosed.into());
        }
        for (store, state) in &upload.placements {
            self.execute(insert_placement(upload.object_id, store, *state, now))
                .await?;
        }
        Ok(())
    }
}

/// The location that no other object can have.
#[expect(
    clippy::expect_used,
    reason = "a category and two segments without special signs make a key"
)]
fn own_place(upload: &NewUpload) -> Key {
    let rest = format!(".versions/{}", upload.object_id);
    Key::new(upload.key.category(), &rest).expect("a valid key")
}

/// Inserts the row of an upload, unless its location is taken.
pub(crate) fn insert_upload(upload: &NewUpload, location: &Key, metadata: String) -> Statement {
    sql("INSERT INTO objects
             (id, key, location, state, content_type, metadata, opened_at, lease_until)
         VALUES ($1, $2, $3, 'receiving', $4, $5, $6, $7)
         ON CONFLICT (location) DO NOTHING")
    .bind(upload.object_id.to_string())
    .bind(upload.key.as_str())
    .bind(location.as_str())
    .bind(upload.content_type.clone())
    .bind(metadata)
    .bind(upload.opened_at.unix_ms())
    .bind(upload.lease_until.unix_ms())
}
