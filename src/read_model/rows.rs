//! The rows of the read model, with their columns as they are stored.

use crate::{
    event_sourcing::Timestamp,
    order::{ItemId, OrderId},
};

/// A row of `order_views`: one order as the GET endpoints show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRow {
    /// The order's id.
    pub id: OrderId,
    /// The customer.
    pub customer_id: String,
    /// The name of its [`Status`](crate::order::Status).
    pub status: String,
    /// The code of its [`Currency`](crate::order::Currency).
    pub currency: String,
    /// The sum over the lines, in minor units of the currency.
    pub total_minor: i64,
    /// The number of lines.
    pub item_count: i32,
    /// The sum of the lines' quantities.
    pub total_quantity: i64,
    /// The version of its last event.
    pub version: i32,
    /// The position of its last event.
    pub position: i64,
    /// When it was placed.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was completed.
    pub completed_at: Option<Timestamp>,
    /// When it was cancelled.
    pub cancelled_at: Option<Timestamp>,
    /// Why it was cancelled.
    pub cancellation_reason: Option<String>,
}

/// A row of `order_items`: one line of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemRow {
    /// The order's id.
    pub order_id: OrderId,
    /// The line's id.
    pub item_id: ItemId,
    /// The place among the lines. It rises in order of addition and may have holes.
    pub line_no: i32,
    /// The product.
    pub product_id: String,
    /// The number of pieces.
    pub quantity: i32,
    /// The price of one piece, in minor units of the order's currency.
    pub price_minor: i64,
    /// When the line was added.
    pub added_at: Timestamp,
}

/// An order with its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderWithItems {
    /// The order.
    pub order: OrderRow,
    /// Its lines in order of addition; empty if only the order was asked for.
    pub items: Vec<ItemRow>,
}

/// An order whose event cannot be applied: a row of `projection_parked`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedOrder {
    /// The order's id.
    pub order_id: OrderId,
    /// The version of the event.
    pub version: i32,
    /// The position of the event.
    pub position: i64,
    /// The stored name of the event.
    pub event_type: String,
    /// Why it cannot be applied.
    pub reason: String,
}
