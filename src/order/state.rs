//! The state of an order, and how it evolves: no rule is here, for what happened has happened.

use std::fmt::{self, Write as _};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    currency::Currency,
    error::{MAX_LINES, OrderError},
    event::{OrderEvent, OrderedItem},
    money::Money,
    value::{CustomerId, ItemId, OrderId, ProductId, Quantity, Reason},
};
use crate::event_sourcing::Timestamp;

/// Where an order is in its life: `created` → `completed` | `cancelled`, both final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Open: its lines may change.
    Created,
    /// Completed: final.
    Completed,
    /// Cancelled: final.
    Cancelled,
}

impl Status {
    /// The name, as it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// All that is known of a placed order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderState {
    /// Its id.
    pub id: OrderId,
    /// Who ordered.
    pub customer_id: CustomerId,
    /// The currency of all its prices.
    pub currency: Currency,
    /// Where it is in its life.
    pub status: Status,
    /// Its lines in order of addition.
    pub lines: Vec<Line>,
    /// Ids of the lines that are gone: none is used twice.
    pub removed: Vec<ItemId>,
    /// Sum over the lines.
    pub total: Money,
    /// Pieces over all lines.
    pub total_quantity: u64,
    /// When it was placed.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was completed.
    pub completed_at: Option<Timestamp>,
    /// When it was cancelled.
    pub cancelled_at: Option<Timestamp>,
    /// Why it was cancelled.
    pub cancellation_reason: Option<Reason>,
    /// What it was created from, to recognise the same request.
    pub(super) creation: Creation,
}

/// A line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its id.
    pub item_id: ItemId,
    /// What is ordered.
    pub product_id: ProductId,
    /// How many.
    pub quantity: Quantity,
    /// The price of one.
    pub price: Money,
    /// When it was added.
    pub added_at: Timestamp,
}

impl Line {
    /// Price times quantity. It cannot overflow: the order's total was checked.
    #[must_use]
    pub fn total(&self) -> Money {
        self.price
            .checked_mul(self.quantity.get())
            .unwrap_or_default()
    }
}

/// What an order was created from: a digest of the values and the ids of the first lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creation {
    /// A name-based UUID over customer, currency and lines: 16 bytes instead of a second copy.
    pub(super) digest: Uuid,
    pub(super) item_ids: Vec<ItemId>,
}

impl Creation {
    pub(super) fn new(
        order_id: OrderId,
        customer_id: &CustomerId,
        currency: Currency,
        items: &[OrderedItem],
    ) -> Self {
        let mut text = format!("{:?}\n{currency}", customer_id.as_str());
        for item in items {
            let (product, quantity) = (item.product_id.as_str(), item.quantity.get());
            // Writing to a string cannot fail.
            let _ = write!(text, "\n{product:?} {quantity} {}", item.price.minor());
        }
        Self {
            digest: Uuid::new_v5(&order_id.get(), text.as_bytes()),
            item_ids: items.iter().map(|item| item.item_id).collect(),
        }
    }
}

impl OrderState {
    /// An order as it is placed.
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

    /// What can be asked of the order with success.
    #[must_use]
    pub fn allowed_actions(&self) -> Vec<&'static str> {
        allowed_actions(self.status, self.lines.len())
    }

    /// One of its lines.
    pub(super) fn line(&self, item_id: ItemId) -> Result<&Line, OrderError> {
        let found = self.lines.iter().find(|line| line.item_id == item_id);
        found.ok_or(OrderError::ItemNotFound { item_id })
    }

    /// Evolves by what happened after it was placed.
    pub(super) fn evolve(&mut self, event: &OrderEvent, at: Timestamp) {
        self.updated_at = at;
        match event {
            // Handled by the order itself, which it makes.
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

    /// Totals from the lines; the sums were checked when each line was decided on.
    fn sum_up(&mut self) {
        let totals = self.lines.iter().map(|line| line.total().minor());
        self.total = Money::from_minor(totals.fold(0, i64::saturating_add));
        let quantities = self.lines.iter().map(|line| u64::from(line.quantity.get()));
        self.total_quantity = quantities.fold(0, u64::saturating_add);
    }
}

/// What can be asked with success of an order in this status with so many lines.
#[must_use]
pub fn allowed_actions(status: Status, lines: usize) -> Vec<&'static str> {
    if status != Status::Created {
        return vec![];
    }
    let mut actions = Vec::with_capacity(5);
    if lines < MAX_LINES {
        actions.push("addItem");
    }
    if lines > 0 {
        actions.extend(["changeItem", "removeItem", "complete"]);
    }
    actions.push("cancel");
    actions
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
