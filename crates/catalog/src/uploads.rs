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
use crate::assembled::{Assembled, pieces};
use crate::dialect::Dialect;
use crate::error::{Conflict, Result};
use crate::objects::ObjectRow;
use crate::placements::{NewPlacement, insert_placements};
use crate::row::{Record, check_text, to_json, to_number};
use crate::run::{Tx, sql};
use crate::steps::Step;

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
        self.together.join(self, upload).await
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
    /// Opens several uploads, each at its key or at a place of its own.
    ///
    /// # Errors
    /// [`Conflict::Id`] when one has no place; then none is open.
    pub(crate) async fn open_uploads(&mut self, uploads: &[&NewUpload]) -> Result<Vec<Upload>> {
        // The constraint on locations decides, so that two uploads cannot both get the key's place.
        let mut opened: BTreeMap<ObjectId, Key> = BTreeMap::new();
        for location in [|upload: &NewUpload| upload.key.clone(), own_place] {
            let left = uploads
                .iter()
                .filter(|it| !opened.contains_key(&it.object_id));
            let places: Vec<(&NewUpload, Key)> = left.map(|it| (*it, location(it))).collect();
            let inserts = pieces(&places).map(|it| insert_uploads(it).map(Step::from));
            let inserts = inserts.collect::<Result<Vec<Step>>>()?;
            if inserts.is_empty() {
                break;
            }
            for row in self.run(inserts).await?.iter().flatten() {
                let row = Record::new(row, "objects", "id");
                opened.insert(row.parsed("id")?, row.parsed("location")?);
            }
        }
        let uploads = uploads.iter().map(|upload| {
            Ok(Upload {
                object_id: upload.object_id,
                key: upload.key.clone(),
                location: opened.remove(&upload.object_id).ok_or(Conflict::Id)?,
            })
        });
        uploads.collect()
    }

    /// The step of a received upload to a live object, with its placements.
    pub(crate) async fn make_live(
        &mut self,
        upload: &ReceivedUpload,
        now: Timestamp,
    ) -> Result<()> {
        let steps = make_live(self.dialect(), &[upload], now)?;
        self.run(steps).await.map(drop)
    }
}

/// The steps that do for several uploads what [`Tx::make_live`] does for one.
pub(crate) fn make_live(
    dialect: Dialect,
    uploads: &[&ReceivedUpload],
    now: Timestamp,
) -> Result<Vec<Step>> {
    uploads.iter().try_for_each(|it| check_placements(it))?;
    let mut steps = Vec::new();
    for piece in pieces(uploads) {
        let update = set_live(dialect, piece, now)?;
        let closed = Conflict::UploadClosed.into();
        steps.push(Step::changing(update, piece.len() as u64, closed));
    }
    let placements = uploads.iter().flat_map(|upload| {
        let of_one = upload.placements.iter();
        of_one.map(|(store, state)| (upload.object_id, store, *state))
    });
    let placements: Vec<NewPlacement<'_>> = placements.collect();
    for piece in pieces(&placements) {
        steps.push(insert_placements(piece, now)?.into());
    }
    Ok(steps)
}

fn set_live(dialect: Dialect, uploads: &[&ReceivedUpload], now: Timestamp) -> Result<Assembled> {
    let (before, after) = dialect.around_bytes();
    let mut update = Assembled::new("UPDATE objects SET state = 'live', live_at = ");
    update.number(now.unix_ms());
    update.push(
        ", lease_until = NULL, size_bytes = v.column2, sha256 = v.column3, chunk_sums = v.column4
         FROM (VALUES ",
    );
    update.rows(uploads, |row, upload| {
        let facts = &upload.facts;
        row.text(upload.object_id.to_string()).comma();
        row.push("CAST(");
        row.number(to_number("size_bytes", facts.size_bytes)?);
        row.push(" AS BIGINT)");
        for bytes in [facts.sha256.as_bytes().as_slice(), &facts.chunk_sums] {
            row.comma().push(before).bytes(bytes).push(after);
        }
        Ok(())
    })?;
    update.push(") v WHERE objects.id = v.column1 AND objects.state = 'receiving'");
    Ok(update)
}

fn check_placements(upload: &ReceivedUpload) -> Result<()> {
    let states = upload.placements.iter().map(|(_, state)| *state);
    if !states.clone().any(|state| state == PlacementState::Present) {
        return Err(Conflict::NothingDurable.into());
    }
    for state in states {
        if !matches!(state, PlacementState::Present | PlacementState::Copying) {
            return Err(Conflict::IllegalPlacement { state }.into());
        }
    }
    Ok(())
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

/// Inserts the rows of uploads at these places, unless they are taken, and gives back those that it
/// inserted.
pub(crate) fn insert_uploads(uploads: &[(&NewUpload, Key)]) -> Result<Assembled> {
    let mut insert = Assembled::new(
        "INSERT INTO objects
             (id, key, location, state, content_type, metadata, opened_at, lease_until) VALUES ",
    );
    insert.rows(uploads, |row, (upload, location)| {
        row.text(upload.object_id.to_string()).comma();
        row.text(upload.key.as_str()).comma();
        row.text(location.as_str()).push(", 'receiving', ");
        row.text(upload.content_type.as_str()).comma();
        row.text(to_json(&upload.metadata)?).comma();
        row.number(upload.opened_at.unix_ms()).comma();
        row.number(upload.lease_until.unix_ms());
        Ok(())
    })?;
    insert.push(" ON CONFLICT (location) DO NOTHING RETURNING id, location");
    Ok(insert)
}
