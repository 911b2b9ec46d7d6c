//! The rows of the read model, column by column as they are stored.

use crate::{
    event_sourcing::Timestamp,
    order::{ItemId, OrderId},
};

/// A row of `order_views`: one order as the GET endpoints show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRow {
    /// The order's id.
    pub id: OrderId,
    /// Who ordered.
    pub customer_id: String,
    /// The name of its [`Status`](crate::order::Status).
    pub status: String,
    /// The code of its [`Currency`](crate::order::Currency).
    pub currency: String,
    /// Sum over the lines, in minor units.
    pub total_minor: i64,
    /// How many lines it has.
    pub item_count: i32,
    /// Pieces over all lines.
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
    /// Which order.
    pub order_id: OrderId,
    /// The line's id.
    pub item_id: ItemId,
    /// Rises in order of addition; holes are fine.
    pub line_no: i32,
    /// What is ordered.
    pub product_id: String,
    /// How many.
    pub quantity: i32,
    /// The price of one, in minor units.
    pub price_minor: i64,
    /// When the line was added.
    pub added_at: Timestamp,
}

/// An order whose event cannot be applied: a row of `projection_parked`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedOrder {
    /// Which order.
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
