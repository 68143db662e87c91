//! What Stockroom means, without I/O and without async: ids, digests, keys, states with their
//! legal transitions, and the gate.
//!
//! Everything here is a value or a pure function. Time and randomness come in as arguments
//! ([`Clock`], [`Entropy`]), so that every rule can be tested at any moment one likes.

mod clock;
mod digest;
mod downloads;
mod entropy;
mod event;
mod filename;
mod id;
mod key;
mod money;
mod permits;
mod state;
mod subject;

pub use clock::{Clock, ManualClock, SystemClock, Timestamp, TimestampError};
pub use digest::{DigestError, Sha256Digest};
pub use downloads::{DOWNLOAD_WINDOW, Download, GrantKind, allowance_bytes};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use event::EventKind;
pub use filename::{Filename, FilenameError};
pub use id::{
    AssetId, AuditId, DownloadId, EndpointId, EventId, GrantId, IdError, KeyId, LedgerId,
    MigrationId, ModelId, ObjectId, PurchaseId,
};
pub use key::{Category, Key, KeyError, KeyPrefix, MAX_KEY_BYTES};
pub use money::{Currency, Money, MoneyError};
pub use permits::{
    Action, AssetFacts, Caller, Decision, Denial, Entitlement, Grant, PurchaseStatus, Target,
    permits,
};
pub use state::{
    DeliveryState, EndpointState, IllegalTransition, MigrationPhase, MigrationState, ModelStatus,
    ObjectState, PlacementState, StoreName, UnknownState,
};
pub use subject::{Role, Subject, SubjectError};
