//! Lists: `?limit=&cursor=` in, `{data, next_cursor}` out.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use stockroom_catalog::{CatalogError, Page, Paged};
use utoipa::{IntoParams, ToSchema};

use crate::http::problem::Problem;

/// How many entries a page has when the caller does not say.
const DEFAULT_LIMIT: u32 = 20;

/// The largest page.
const MAX_LIMIT: u32 = 100;

/// Which page of a list is wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// How many entries, 1 to 100; 20 when left out.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl PageQuery {
    /// The page.
    ///
    /// # Errors
    /// 400 when `limit` is no number from 1 to 100, or `cursor` none that a list gave.
    pub fn page(&self) -> Result<Page, Problem> {
        let limit = match self.limit.as_deref() {
            None | Some("") => DEFAULT_LIMIT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                .ok_or_else(|| Problem::invalid("limit is a number from 1 to 100."))?,
        };
        let after = match self.cursor.as_deref() {
            None | Some("") => None,
            Some(text) => Some(from_cursor(text).ok_or(CatalogError::InvalidCursor)?),
        };
        Ok(Page { limit, after })
    }
}

/// The catalog's cursors hold keys, and those any character: what callers get can stand in a URL
/// as it is.
fn to_cursor(last: &str) -> String {
    URL_SAFE_NO_PAD.encode(last)
}

fn from_cursor(text: &str) -> Option<String> {
    String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct List<T> {
    /// The entries.
    pub data: Vec<T>,
    /// What to send as `cursor` for the next page; `null` on the last one.
    pub next_cursor: Option<String>,
}

impl<T> List<T> {
    /// A page of what the catalog gave, each entry turned into what the caller sees.
    pub fn of<R>(paged: Paged<R>, view: impl FnMut(R) -> T) -> Self {
        Self {
            data: paged.items.into_iter().map(view).collect(),
            next_cursor: paged.next.as_deref().map(to_cursor),
        }
    }

    /// A list that is whole.
    #[must_use]
    pub const fn whole(data: Vec<T>) -> Self {
        Self {
            data,
            next_cursor: None,
        }
    }
}
