//! What a list is asked for, and what it returns.

use super::super::rows::{OrderRow, OrderWithItems};
use crate::{
    event_sourcing::{Position, Timestamp},
    order::{OrderId, Status},
};

/// The highest number of orders that a list counts.
pub const MAX_COUNT: i64 = 10_000;

/// Once the orders of a page have this many lines, no more orders are read. A page of orders with lines
/// has at least one order.
pub const MAX_LINES: i64 = 30_000;

/// How a list is sorted. Orders with equal times are sorted by id, in the same direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListSort {
    /// Newest first.
    #[default]
    CreatedDescending,
    /// Oldest first.
    CreatedAscending,
    /// Last changed first.
    UpdatedDescending,
    /// Longest unchanged first.
    UpdatedAscending,
}

impl ListSort {
    /// The sort key of an order. [`ListStart::After`] of the next page holds that of the last order.
    #[must_use]
    pub fn key(self, order: &OrderRow) -> (Timestamp, OrderId) {
        match self {
            Self::CreatedDescending | Self::CreatedAscending => (order.created_at, order.id),
            Self::UpdatedDescending | Self::UpdatedAscending => (order.updated_at, order.id),
        }
    }
}

/// Where a page starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListStart {
    /// After this number of orders.
    Offset(u32),
    /// After the order with this sort key: see [`ListSort::key`].
    After(Timestamp, OrderId),
}

impl Default for ListStart {
    fn default() -> Self {
        Self::Offset(0)
    }
}

/// A query for a page of orders. An absent filter matches every order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Orders of this customer.
    pub customer_id: Option<String>,
    /// Orders in one of these statuses; in any status if empty.
    pub statuses: Vec<Status>,
    /// Orders that hold a line of this product now.
    pub product_id: Option<String>,
    /// Created at or after this time.
    pub created_from: Option<Timestamp>,
    /// Created before this time.
    pub created_to: Option<Timestamp>,
    /// Last changed at or after this time.
    pub updated_from: Option<Timestamp>,
    /// Last changed before this time.
    pub updated_to: Option<Timestamp>,
    /// How the orders are sorted.
    pub sort: ListSort,
    /// Where the page starts.
    pub start: ListStart,
    /// The highest number of orders on the page.
    pub limit: u32,
    /// Whether to count all orders that match, up to [`MAX_COUNT`].
    pub with_total: bool,
    /// Whether to read the lines too. The page may then end early: see [`MAX_LINES`].
    pub with_items: bool,
}

/// How many orders match, on all pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// The number, at most [`MAX_COUNT`].
    pub count: i64,
    /// Whether there are more.
    pub is_capped: bool,
}

/// A page of a list. All of it is from one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// The orders, with their lines if those were asked for.
    pub orders: Vec<OrderWithItems>,
    /// Whether more orders follow.
    pub has_more: bool,
    /// How many orders match, if that was asked for.
    pub total: Option<Total>,
    /// Events were applied up to this position when the page was read.
    pub projection_position: Position,
}
