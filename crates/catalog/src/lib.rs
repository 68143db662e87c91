//! What Stockroom knows, in SQL: one text for SQLite and PostgreSQL.
//!
//! [`Catalog`] is the whole interface. Each of its methods is one statement or one short
//! transaction; none is open while bytes move, and no transaction is part of the interface. What
//! differs between the two databases is in `dialect.rs` and in the migrations, nowhere else.
//!
//! Time comes in as an argument. Lists are newest first, except those of objects, which come in
//! the order of their keys.

mod address;
mod adoption;
mod assembled;
mod assets;
mod audit;
mod claims;
mod connect;
mod counts;
mod deliveries;
mod dialect;
mod downloads;
mod endpoints;
mod error;
mod export;
mod failures;
mod freeing;
mod grants;
mod instance;
mod kept;
mod keys;
mod library;
mod meta;
mod migrating;
mod migrations;
mod models;
mod objects;
mod orders;
mod outbox;
mod page;
mod placements;
mod purchases;
mod readers;
mod reading;
mod restore;
mod retire;
mod row;
mod run;
mod sample;
mod schema;
mod steps;
mod stores;
mod together;
mod tombstones;
mod uploads;
mod verification;
mod view;

pub use assets::{AssetRow, NewAsset};
pub use audit::AuditRow;
pub use claims::ClaimedPlacement;
pub use connect::{Catalog, ConnectOptions, Probe};
pub use counts::{StateCount, UnderPlaced};
pub use deliveries::{Attempt, ClaimedDelivery, DeliveryRow};
pub use dialect::Dialect;
pub use downloads::{Charged, GrantBatch, LateEnd};
pub use endpoints::{
    EndpointPatch, EndpointRow, EndpointSecret, EndpointUrl, NewEndpoint, Subscriptions,
};
pub use error::{CatalogError, Conflict, Noun, Result};
pub use export::ExportRow;
pub use failures::MigrationFailure;
pub use freeing::{FreeProgress, Freed};
pub use grants::{DownloadRow, FileRow, Given, GrantEnd, GrantRow, NewGrant};
pub use instance::Instance;
pub use keys::{KeyHash, KeyRow, NewKey};
pub use library::LibraryEntry;
pub use migrating::{CopyProgress, PlanCounts, Read, Uncovered, Wanted};
pub use migrations::{MigrationLimits, MigrationPatch, MigrationRow, NewMigration};
pub use models::{ModelFilter, ModelPatch, ModelRow, NewModel, VisibleTo};
pub use objects::{ObjectDetails, ObjectRow};
pub use page::{Page, Paged};
pub use placements::{Placed, Placement, PlacementRow, PlacementStep};
pub use purchases::{NewPurchase, PurchaseFilter, PurchaseRow, Recorded, RefundedOrder};
pub use sample::Sample;
pub use tombstones::{SECOND_LOOK, Tombstone};
pub use uploads::{NewUpload, ObjectFacts, ReceivedUpload, RecordedObject, Upload};
pub use verification::ObjectAt;
pub use view::{AssetDetails, AssetQuery, AssetView};
