//! Errors that answer "what should the caller do?".

use stockroom_domain::{AssetId, IllegalTransition, ModelId, ObjectId, PlacementState};

/// What the catalog's calls give back.
pub type Result<T, E = CatalogError> = std::result::Result<T, E>;

/// Why a call to the catalog failed.
///
/// The text holds no password and no address of a server, so it may be logged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// There is no such row, or it was deleted.
    #[error("there is no such {0}")]
    NotFound(Noun),
    /// The rows that are there do not allow the change; trying again does not help.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// A text that cannot be stored, such as one with NUL, which PostgreSQL cannot hold.
    #[error("{field} {reason}")]
    InvalidText {
        /// Which text.
        field: &'static str,
        /// What it must or must not be.
        reason: &'static str,
    },
    /// A number above what the databases can hold (2^63 - 1).
    #[error("{field} is too large")]
    TooLarge {
        /// Which number.
        field: &'static str,
    },
    /// The cursor was not made by the list that it was given to.
    #[error("the cursor does not belong to this list")]
    InvalidCursor,
    /// The address of the database cannot be used. The reason does not repeat the address.
    #[error("the address of the database cannot be used: {reason}")]
    InvalidUrl {
        /// What is wrong with it.
        reason: String,
    },
    /// No connection to the database could be made at start. Check address, password and network.
    #[error("the database cannot be reached: {reason}")]
    Unreachable {
        /// What the driver or the system said.
        reason: String,
    },
    /// A newer version of Stockroom wrote this database. Run that version, or restore a backup.
    #[error(
        "the database has schema version {found}; this program knows up to {known}. \
         Run the newer version of Stockroom"
    )]
    NewerSchema {
        /// The newest migration in the database.
        found: i64,
        /// The newest migration of this program.
        known: i64,
    },
    /// The database's migrations are not the ones of this program, although the numbers match.
    #[error("migration {version} of the database is not the one that this program has")]
    ForeignSchema {
        /// The first migration that differs.
        version: i64,
    },
    /// The database is busy with other work. Try again in a moment.
    #[error("the database is busy")]
    Busy(#[source] sqlx::Error),
    /// The connection broke or the database is shutting down. Try again later; a change may or
    /// may not have been made.
    #[error("the database does not answer")]
    Unavailable(#[source] sqlx::Error),
    /// The database has no room left. Free some, then try again.
    #[error("the database has no room left")]
    Full(#[source] sqlx::Error),
    /// A row that this program cannot have written.
    #[error("the row {id} of {table} is damaged: {reason}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The row.
        id: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Anything else that the database reported: a bug here, or a damaged database.
    #[error("the database reported an error: {0}")]
    Database(#[source] sqlx::Error),
}

impl CatalogError {
    /// Whether the catalog said no: the call has changed nothing, and will not have. After any
    /// other error a transaction may turn out to have been committed.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Conflict(_) | Self::NotFound(_) | Self::InvalidText { .. }
        )
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::Unavailable(_))
    }
}

/// What a caller asked for and is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Noun {
    /// An API key.
    Key,
    /// A model.
    Model,
    /// An asset.
    Asset,
    /// An object.
    Object,
    /// A placement.
    Placement,
    /// A purchase.
    Purchase,
    /// An endpoint that events are sent to.
    Endpoint,
    /// The delivery of an event to an endpoint.
    Delivery,
    /// A migration.
    Migration,
}

impl std::fmt::Display for Noun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Key => "key",
            Self::Model => "model",
            Self::Asset => "asset",
            Self::Object => "object",
            Self::Placement => "placement",
            Self::Purchase => "purchase",
            Self::Endpoint => "endpoint",
            Self::Delivery => "delivery",
            Self::Migration => "migration",
        })
    }
}

/// Why the rows that are there do not allow a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Conflict {
    /// The order is recorded with another buyer, model, expiry or download limit.
    #[error("this order was recorded before, with other contents")]
    Order,
    /// An API key with this id or this hash exists.
    #[error("this API key exists already")]
    ApiKey,
    /// Another row with this id exists.
    #[error("a row with this id exists already")]
    Id,
    /// The upload is not open any more: it was recorded, discarded or given up by the sweep.
    /// The bytes must not become visible; remove them.
    #[error("the upload is not open any more")]
    UploadClosed,
    /// An upload cannot be recorded while its bytes are durable nowhere.
    #[error("the bytes are durable on no store")]
    NothingDurable,
    /// A new object's bytes are present or being copied, nothing else.
    #[error("a new object cannot have a placement that is {state}")]
    IllegalPlacement {
        /// The state that was given.
        state: PlacementState,
    },
    /// The key already has a live object. Assets get keys that nobody else uses.
    #[error("the key already names an object")]
    ObjectKey,
    /// An object or an upload has the location, or had it once; a location is used once.
    #[error("the place of the key belongs to another object, or did once")]
    LocationTaken,
    /// The object holds the bytes of an asset. Delete the asset instead.
    #[error("the object holds the bytes of asset {asset}")]
    ObjectInUse {
        /// The asset.
        asset: AssetId,
    },
    /// The key has a live object, so one that was deleted before cannot be restored.
    #[error("the key names an object, so none that was deleted before can return to it")]
    KeyTaken,
    /// The deleted object holds the bytes of an asset. Restore the asset instead.
    #[error("the object returns only with asset {asset}")]
    AssetObject {
        /// The asset.
        asset: AssetId,
    },
    /// The asset was deleted with its model, or before it. Restore the model first.
    #[error("the asset can return only when model {model} has been restored")]
    ModelDeleted {
        /// The model.
        model: ModelId,
    },
    /// The placement is in another state than the caller believed. Look again, then decide.
    #[error("the placement is {found}")]
    PlacementMoved {
        /// The state the placement is in.
        found: PlacementState,
    },
    /// The object is not being retired, or not yet.
    #[error("object {object} is not being retired")]
    NotRetiring {
        /// The object.
        object: ObjectId,
    },
    /// Another migration is not finished.
    #[error("another migration is not finished")]
    MigrationAtWork,
    /// The migration is in another phase or state than the caller believed.
    #[error("the migration has gone on meanwhile")]
    MigrationMoved,
    /// The step is not legal for anybody.
    #[error(transparent)]
    IllegalStep(#[from] IllegalTransition),
}
