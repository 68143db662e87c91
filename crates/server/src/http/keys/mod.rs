//! `/v1/keys`: who may call.

pub mod create;
pub mod get;
pub mod list;
pub mod revoke;

use serde::Serialize;
use stockroom_catalog::KeyRow;
use stockroom_domain::{KeyId, Role, Subject, Timestamp};
use utoipa::ToSchema;

/// A key, without its secret form.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Key)]
pub struct KeyView {
    /// `key_...`
    #[schema(value_type = String)]
    pub id: KeyId,
    /// `operator`, `service`, `artist` or `buyer`.
    #[schema(value_type = String)]
    pub role: Role,
    /// The user whose key it is; for artists and buyers.
    #[schema(value_type = Option<String>)]
    pub subject: Option<Subject>,
    /// A name to recognise it by.
    pub name: Option<String>,
    /// RFC 3339, UTC.
    #[schema(value_type = String)]
    pub created_at: Timestamp,
    /// When it ends; never when `null`.
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    #[schema(value_type = Option<String>)]
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    #[schema(value_type = Option<String>)]
    pub last_used_at: Option<Timestamp>,
}

impl From<KeyRow> for KeyView {
    fn from(row: KeyRow) -> Self {
        Self {
            id: row.id,
            role: row.role,
            subject: row.subject,
            name: row.name,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            last_used_at: row.last_used_at,
        }
    }
}
