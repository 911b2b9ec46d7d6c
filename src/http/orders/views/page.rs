//! A page of orders as JSON.

use serde::Serialize;
use utoipa::ToSchema;

use super::order::{OrderSummary, OrderView};

/// A page of orders.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OrderPage<'a> {
    /// The orders: summaries, or with `view=full` whole orders.
    pub items: Vec<OrderEntry<'a>>,
    /// The number of the page, from 1; null if the request had a cursor.
    #[schema(required)]
    pub page: Option<u32>,
    /// The largest number of orders on a page.
    pub page_size: u32,
    /// Whether more orders follow.
    pub has_more: bool,
    /// The cursor of the next page; null at the end.
    #[schema(required)]
    pub next_cursor: Option<String>,
    /// The number of orders that match, at most 10000; null without `includeTotal=true`.
    #[schema(required)]
    pub total_count: Option<i64>,
    /// Whether more than 10000 orders match.
    pub total_count_capped: bool,
}

/// An order on a page.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum OrderEntry<'a> {
    /// Without lines (`view=summary`).
    Summary(OrderSummary<'a>),
    /// With lines (`view=full`).
    Full(OrderView<'a>),
}
