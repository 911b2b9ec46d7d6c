//! The state of an order, and how events change it. It has no rules: stored events are facts.

use serde::{Deserialize, Serialize};

use super::{
    creation::Creation,
    currency::Currency,
    event::{OrderEvent, OrderedItem},
    money::Money,
    status::Status,
    value::{CustomerId, ItemId, OrderId, ProductId, Quantity, Reason},
};
use crate::event_sourcing::Timestamp;

/// The state of an order that was created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderState {
    /// The order's id.
    pub id: OrderId,
    /// The customer.
    pub customer_id: CustomerId,
    /// The currency of all its prices.
    pub currency: Currency,
    /// The status.
    pub status: Status,
    /// Its lines in order of addition.
    pub lines: Vec<Line>,
    /// The ids of removed lines: no id is used twice.
    pub removed: Vec<ItemId>,
    /// The sum of the line totals. [`Money::MAX`] if it overflows, which only a corrupt store can cause:
    /// `decide` accepts nothing beyond [`MAX_TOTAL`](super::value::MAX_TOTAL).
    pub total: Money,
    /// The number of pieces of all lines.
    pub total_quantity: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
    /// When it was completed.
    pub completed_at: Option<Timestamp>,
    /// When it was cancelled.
    pub cancelled_at: Option<Timestamp>,
    /// Why it was cancelled, if the client said so.
    pub cancellation_reason: Option<Reason>,
    /// What it was created from, to recognise a repeated request.
    pub(super) creation: Creation,
}

/// A line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The line's id.
    pub item_id: ItemId,
    /// The product.
    pub product_id: ProductId,
    /// The number of pieces.
    pub quantity: Quantity,
    /// The price of one piece.
    pub price: Money,
    /// When it was added.
    pub added_at: Timestamp,
}

impl Line {
    /// Price times quantity; `None` if it overflows, which only a corrupt store can cause.
    #[must_use]
    pub fn total(&self) -> Option<Money> {
        self.price.checked_mul(self.quantity.get())
    }
}

impl OrderState {
    /// The state after the creation.
    pub(super) fn created(
        id: OrderId,
        customer_id: &CustomerId,
        currency: Currency,
        items: &[OrderedItem],
        at: Timestamp,
    ) -> Self {
        let mut order = Self {
            id,
            customer_id: customer_id.clone(),
            currency,
            status: Status::Created,
            lines: items.iter().map(|item| line(item, at)).collect(),
            removed: Vec::new(),
            total: Money::ZERO,
            total_quantity: 0,
            created_at: at,
            updated_at: at,
            completed_at: None,
            cancelled_at: None,
            cancellation_reason: None,
            creation: Creation::new(id, customer_id, currency, items),
        };
        order.sum_up();
        order
    }

    /// Applies an event after the creation.
    pub(super) fn evolve(&mut self, event: &OrderEvent, at: Timestamp) {
        self.updated_at = at;
        match event {
            // `Order::evolve` handles the creation.
            OrderEvent::Created { .. } => {}
            OrderEvent::ItemAdded { item, currency: _ } => self.lines.push(line(item, at)),
            OrderEvent::ItemQuantityChanged { item_id, quantity } => {
                if let Some(line) = self.lines.iter_mut().find(|line| line.item_id == *item_id) {
                    line.quantity = *quantity;
                }
            }
            OrderEvent::ItemRemoved { item_id } => {
                self.lines.retain(|line| line.item_id != *item_id);
                self.removed.push(*item_id);
            }
            OrderEvent::Completed => {
                self.status = Status::Completed;
                self.completed_at = Some(at);
            }
            OrderEvent::Cancelled { reason } => {
                self.status = Status::Cancelled;
                self.cancelled_at = Some(at);
                self.cancellation_reason.clone_from(reason);
            }
        }
        self.sum_up();
    }

    /// Computes the totals from the lines.
    fn sum_up(&mut self) {
        let mut lines = self.lines.iter().map(Line::total);
        let total = lines.try_fold(Money::ZERO, |sum, line| sum.checked_add(line?));
        self.total = total.unwrap_or(Money::MAX);
        let quantities = self.lines.iter().map(|line| u64::from(line.quantity.get()));
        self.total_quantity = quantities.fold(0, u64::saturating_add);
    }
}

fn line(item: &OrderedItem, added_at: Timestamp) -> Line {
    Line {
        item_id: item.item_id,
        product_id: item.product_id.clone(),
        quantity: item.quantity,
        price: item.price,
        added_at,
    }
}
