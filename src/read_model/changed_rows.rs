//! The rows that the SQL function `write_chunk` takes: one struct for each of its composite types, with
//! the attributes in the same order.

use uuid::Uuid;

use super::rows::{ItemRow, OrderRow, ParkedOrder};
use crate::{
    event_sourcing::{Timestamp, Version},
    order::{ItemId, OrderId},
    sql::composite_type,
};

/// `order_change`: a new or changed row of `order_views`.
#[derive(Debug, sqlx::Encode)]
pub(super) struct OrderChange<'a> {
    from_version: i32,
    id: Uuid,
    customer_id: &'a str,
    status: &'a str,
    currency: &'a str,
    total_minor: i64,
    item_count: i32,
    total_quantity: i64,
    version: i32,
    position: i64,
    created_at: Timestamp,
    updated_at: Timestamp,
    completed_at: Option<Timestamp>,
    cancelled_at: Option<Timestamp>,
    cancellation_reason: Option<&'a str>,
}

composite_type!(OrderChange, "order_change");

impl<'a> OrderChange<'a> {
    /// `from` is the version of the stored row; zero when there is none.
    pub(super) fn new(row: &'a OrderRow, from: Version) -> Self {
        Self {
            from_version: from.get(),
            id: row.id.get(),
            customer_id: &row.customer_id,
            status: &row.status,
            currency: &row.currency,
            total_minor: row.total_minor,
            item_count: row.item_count,
            total_quantity: row.total_quantity,
            version: row.version,
            position: row.position,
            created_at: row.created_at,
            updated_at: row.updated_at,
            completed_at: row.completed_at,
            cancelled_at: row.cancelled_at,
            cancellation_reason: row.cancellation_reason.as_deref(),
        }
    }
}

/// `item_change`: a new or changed row of `order_items`.
#[derive(Debug, sqlx::Encode)]
pub(super) struct ItemChange<'a> {
    order_id: Uuid,
    item_id: Uuid,
    line_no: i32,
    product_id: &'a str,
    quantity: i32,
    price_minor: i64,
    added_at: Timestamp,
}

composite_type!(ItemChange, "item_change");

impl<'a> From<&'a ItemRow> for ItemChange<'a> {
    fn from(row: &'a ItemRow) -> Self {
        Self {
            order_id: row.order_id.get(),
            item_id: row.item_id.get(),
            line_no: row.line_no,
            product_id: &row.product_id,
            quantity: row.quantity,
            price_minor: row.price_minor,
            added_at: row.added_at,
        }
    }
}

/// `item_key`: the key of a row of `order_items`.
#[derive(Debug, sqlx::Type)]
#[sqlx(type_name = "item_key")]
pub(super) struct ItemKey {
    order_id: Uuid,
    item_id: Uuid,
}

impl From<&(OrderId, ItemId)> for ItemKey {
    fn from((order, item): &(OrderId, ItemId)) -> Self {
        Self {
            order_id: order.get(),
            item_id: item.get(),
        }
    }
}

/// `parked_order`: a new row of `projection_parked`.
#[derive(Debug, sqlx::Encode)]
pub(super) struct NewlyParked<'a> {
    order_id: Uuid,
    version: i32,
    position: i64,
    event_type: &'a str,
    reason: &'a str,
}

composite_type!(NewlyParked, "parked_order");

impl<'a> From<&'a ParkedOrder> for NewlyParked<'a> {
    fn from(order: &'a ParkedOrder) -> Self {
        Self {
            order_id: order.order_id.get(),
            version: order.version,
            position: order.position,
            event_type: &order.event_type,
            reason: &order.reason,
        }
    }
}
