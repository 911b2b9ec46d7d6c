//! The columns of an answer that holds orders with their lines, and how they become orders.

use uuid::Uuid;

use super::rows::{ItemRow, OrderRow, OrderWithItems};
use crate::{
    event_sourcing::{StoreError, Timestamp},
    order::OrderId,
};

/// A row of an answer: an order's columns, its lines as arrays, and what concerns the whole answer.
#[derive(Debug)]
pub(super) struct ViewColumns {
    pub id: Option<Uuid>,
    pub customer_id: Option<String>,
    pub status: Option<String>,
    pub currency: Option<String>,
    pub total_minor: Option<i64>,
    pub item_count: Option<i32>,
    pub total_quantity: Option<i64>,
    pub version: Option<i32>,
    pub position: Option<i64>,
    pub created_at: Option<Timestamp>,
    pub updated_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub cancelled_at: Option<Timestamp>,
    pub cancellation_reason: Option<String>,
    pub item_ids: Option<Vec<Uuid>>,
    pub line_nos: Option<Vec<i32>>,
    pub product_ids: Option<Vec<String>>,
    pub quantities: Option<Vec<i32>>,
    pub prices: Option<Vec<i64>>,
    pub added_ats: Option<Vec<Timestamp>>,
    pub projection_position: i64,
    pub total: Option<i64>,
    pub lines_before: Option<i64>,
    pub parked_version: Option<i32>,
}

/// A row of an answer lacks a column that the schema requires.
#[derive(Debug, thiserror::Error)]
#[error("the row of order {0} is incomplete")]
struct Incomplete(OrderId);

impl ViewColumns {
    /// The order and its lines; `None` if the row holds only what concerns the whole answer.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a column of the order is missing.
    pub(super) fn into_order(mut self) -> Result<Option<OrderWithItems>, StoreError> {
        let Some(id) = self.id.map(OrderId::new) else {
            return Ok(None);
        };
        let (Some(order), Some(items)) = (self.take_order(id), self.into_items(id)) else {
            return Err(StoreError::corrupt("the read model", Incomplete(id)));
        };
        Ok(Some(OrderWithItems { order, items }))
    }

    fn take_order(&mut self, id: OrderId) -> Option<OrderRow> {
        Some(OrderRow {
            id,
            customer_id: self.customer_id.take()?,
            status: self.status.take()?,
            currency: self.currency.take()?,
            total_minor: self.total_minor?,
            item_count: self.item_count?,
            total_quantity: self.total_quantity?,
            version: self.version?,
            position: self.position?,
            created_at: self.created_at?,
            updated_at: self.updated_at?,
            completed_at: self.completed_at,
            cancelled_at: self.cancelled_at,
            cancellation_reason: self.cancellation_reason.take(),
        })
    }

    /// The lines, empty if the arrays are absent; `None` if the arrays differ in length.
    fn into_items(self, order_id: OrderId) -> Option<Vec<ItemRow>> {
        let mut line_nos = self.line_nos.unwrap_or_default().into_iter();
        let mut product_ids = self.product_ids.unwrap_or_default().into_iter();
        let mut quantities = self.quantities.unwrap_or_default().into_iter();
        let mut prices = self.prices.unwrap_or_default().into_iter();
        let mut added_ats = self.added_ats.unwrap_or_default().into_iter();
        let items = self
            .item_ids
            .unwrap_or_default()
            .into_iter()
            .map(|item_id| {
                Some(ItemRow {
                    order_id,
                    item_id: item_id.into(),
                    line_no: line_nos.next()?,
                    product_id: product_ids.next()?,
                    quantity: quantities.next()?,
                    price_minor: prices.next()?,
                    added_at: added_ats.next()?,
                })
            });
        items.collect()
    }
}
