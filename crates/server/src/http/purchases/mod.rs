//! `/v1/purchases`: what lets buyers download.

pub mod create;
pub mod explain;
pub mod get;
pub mod list;
pub mod refund;

use stockroom_domain::Role;

/// Who records and refunds purchases: the shop.
pub const SHOP: [Role; 2] = [Role::Operator, Role::Service];
