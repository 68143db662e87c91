//! Lists in pages: newest first, except objects, which come by key.

use std::fmt::Display;
use std::str::FromStr;

use crate::error::{CatalogError, Result};

/// Which part of a list is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// How many items at most; taken as 1 when it is 0 and as [`Page::MAX_LIMIT`] when above it.
    pub limit: u32,
    /// The cursor that the page before ended with.
    pub after: Option<String>,
}

impl Page {
    /// How many items a page has unless the caller says otherwise.
    pub const DEFAULT_LIMIT: u32 = 20;
    /// How many items a page can have.
    pub const MAX_LIMIT: u32 = 100;

    /// The first page of `limit` items.
    #[must_use]
    pub const fn first(limit: u32) -> Self {
        Self { limit, after: None }
    }

    /// How many items the page has at most.
    fn size(&self) -> usize {
        self.limit.clamp(1, Self::MAX_LIMIT) as usize
    }

    /// How many rows to ask for: one more than the page has, to know whether another follows.
    pub(crate) fn rows(&self) -> i64 {
        i64::from(self.limit.clamp(1, Self::MAX_LIMIT)) + 1
    }

    /// The cursor, which is the id or key of the last item that was seen.
    pub(crate) fn cursor<T: FromStr>(&self) -> Result<Option<T>> {
        self.after
            .as_deref()
            .map(|text| text.parse().map_err(|_| CatalogError::InvalidCursor))
            .transpose()
    }
}

impl Default for Page {
    fn default() -> Self {
        Self::first(Self::DEFAULT_LIMIT)
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paged<T> {
    /// The items, in the list's order.
    pub items: Vec<T>,
    /// The cursor for the page after this one; none when this is the last.
    pub next: Option<String>,
}

impl<T> Paged<T> {
    /// The only page of an empty list.
    pub(crate) const fn empty() -> Self {
        Self {
            items: Vec::new(),
            next: None,
        }
    }

    /// A page from the rows that [`Page::rows`] asked for.
    pub(crate) fn new<C: Display>(
        mut items: Vec<T>,
        page: &Page,
        cursor: impl Fn(&T) -> C,
    ) -> Self {
        let more = items.len() > page.size();
        items.truncate(page.size());
        let next = items
            .last()
            .filter(|_| more)
            .map(|last| cursor(last).to_string());
        Self { items, next }
    }
}
