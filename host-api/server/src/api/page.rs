//! Pages of lists.

use serde::Serialize;
use utoipa::ToSchema;
use verdict::registry::catalogue::Page;

/// A part of a list, in the list's order.
#[derive(Serialize, ToSchema)]
pub(crate) struct Items<T> {
    items: Vec<T>,
    /// Goes back as `after` to get the next page; null on the last.
    next: Option<String>,
}

impl<T> Items<T> {
    pub(crate) fn new(items: Vec<T>, next: Option<String>) -> Self {
        Self { items, next }
    }

    /// From a page of the catalogue, with the cursor of an item.
    pub(crate) fn of<E>(page: Page<E>, cursor: impl Fn(&E) -> String, view: impl Fn(E) -> T) -> Self {
        let next = page.items.last().filter(|_| page.more).map(cursor);
        Self { items: page.items.into_iter().map(view).collect(), next }
    }
}
