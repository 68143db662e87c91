//! Lists: `?limit=&cursor=` in, `{data, next_cursor}` out.

use serde::{Deserialize, Serialize};
use stockroom_catalog::{Page, Paged};
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
    /// 400 when `limit` is no number from 1 to 100.
    pub fn page(&self) -> Result<Page, Problem> {
        let limit = match self.limit.as_deref() {
            None | Some("") => DEFAULT_LIMIT,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MAX_LIMIT).contains(limit))
                .ok_or_else(|| Problem::invalid("limit is a number from 1 to 100."))?,
        };
        let after = self.cursor.clone().filter(|cursor| !cursor.is_empty());
        Ok(Page { limit, after })
    }
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
            next_cursor: paged.next,
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
