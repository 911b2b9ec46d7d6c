//! The order: `decide` holds every rule, `evolve` none.

use std::{
    fmt::{self, Write as _},
    mem::size_of,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    command::{NewItem, OrderCommand},
    currency::Currency,
    error::{MAX_LINES, OrderError},
    event::{OrderEvent, OrderedItem},
    money::{MAX_TOTAL, Money},
    value::{CustomerId, ItemId, OrderId, ProductId, Quantity, Reason},
};
use crate::event_sourcing::{Aggregate, Instant};

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

/// An order, or the place where one could be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Order {
    /// Nothing was placed: refuses every command but `Create`.
    #[default]
    Absent,
    /// Placed: open or closed.
    Placed(Box<OrderState>),
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
    pub created_at: Instant,
    /// When it last changed.
    pub updated_at: Instant,
    /// When it was completed.
    pub completed_at: Option<Instant>,
    /// When it was cancelled.
    pub cancelled_at: Option<Instant>,
    /// Why it was cancelled.
    pub cancellation_reason: Option<Reason>,
    /// What it was created from, to recognise the same request.
    creation: Creation,
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
    pub added_at: Instant,
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
struct Creation {
    /// A name-based UUID over customer, currency and lines: 16 bytes instead of a second copy.
    digest: Uuid,
    item_ids: Vec<ItemId>,
}

impl Creation {
    fn new(
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
            digest: Uuid::new_v5(&order_id, text.as_bytes()),
            item_ids: items.iter().map(|item| item.item_id).collect(),
        }
    }
}

impl Order {
    /// The state, where there is an order.
    #[must_use]
    pub fn state(&self) -> Option<&OrderState> {
        match self {
            Self::Absent => None,
            Self::Placed(order) => Some(order),
        }
    }
}

impl Aggregate for Order {
    const TYPE: &'static str = "Order";
    const STATE_SCHEMA: i32 = 1;
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Refusal = OrderError;

    fn decide(&self, command: &OrderCommand) -> Result<Vec<OrderEvent>, OrderError> {
        match (self, command) {
            (
                _,
                OrderCommand::Create {
                    order_id,
                    customer_id,
                    currency,
                    items,
                },
            ) => self.create(*order_id, customer_id, *currency, items),
            (Self::Absent, _) => Err(OrderError::NotFound),
            (Self::Placed(order), _) if order.status != Status::Created => {
                Err(OrderError::NotOpen {
                    status: order.status,
                })
            }
            (Self::Placed(order), OrderCommand::AddItem(item)) => order.add_item(item),
            (Self::Placed(order), OrderCommand::ChangeItemQuantity { item_id, quantity }) => {
                order.change_quantity(*item_id, *quantity)
            }
            (Self::Placed(order), OrderCommand::RemoveItem { item_id }) => {
                order.line(*item_id)?;
                Ok(vec![OrderEvent::ItemRemoved { item_id: *item_id }])
            }
            (Self::Placed(order), OrderCommand::Complete) => {
                if order.lines.is_empty() {
                    return Err(OrderError::NoItems);
                }
                Ok(vec![OrderEvent::Completed])
            }
            (Self::Placed(_), OrderCommand::Cancel { reason }) => Ok(vec![OrderEvent::Cancelled {
                reason: reason.clone(),
            }]),
        }
    }

    fn evolve(&mut self, event: &OrderEvent, at: Instant) {
        match (&mut *self, event) {
            (
                _,
                OrderEvent::Created {
                    order_id,
                    customer_id,
                    currency,
                    items,
                },
            ) => {
                let creation = Creation::new(*order_id, customer_id, *currency, items);
                let mut order = OrderState {
                    id: *order_id,
                    customer_id: customer_id.clone(),
                    currency: *currency,
                    status: Status::Created,
                    lines: Vec::with_capacity(items.len()),
                    removed: Vec::new(),
                    total: Money::ZERO,
                    total_quantity: 0,
                    created_at: at,
                    updated_at: at,
                    completed_at: None,
                    cancelled_at: None,
                    cancellation_reason: None,
                    creation,
                };
                order.lines.extend(items.iter().map(|item| line(item, at)));
                order.sum_up();
                *self = Self::Placed(Box::new(order));
            }
            (Self::Placed(order), event) => order.evolve(event, at),
            // Nothing happens to what is not there; the stores refuse such a stream.
            (Self::Absent, _) => {}
        }
    }

    fn weight(&self) -> usize {
        let Self::Placed(order) = self else {
            return size_of::<Self>();
        };
        let per_line = size_of::<Line>().saturating_add(48);
        size_of::<OrderState>()
            .saturating_add(order.lines.len().saturating_mul(per_line))
            .saturating_add(order.removed.len().saturating_mul(size_of::<ItemId>()))
    }
}

impl Order {
    /// Creating what exists is fine where it was created from the same values: a repeated request.
    fn create(
        &self,
        order_id: OrderId,
        customer_id: &CustomerId,
        currency: Currency,
        items: &[NewItem],
    ) -> Result<Vec<OrderEvent>, OrderError> {
        if items.len() > MAX_LINES {
            return Err(OrderError::TooManyLines);
        }
        let ordered = items
            .iter()
            .enumerate()
            .map(|(index, item)| item.ordered(index, currency))
            .collect::<Result<Vec<_>, _>>()?;
        let total = ordered.iter().try_fold(Money::ZERO, |total, item| {
            checked_total(total, item.price, item.quantity)
        });
        total.ok_or(OrderError::TotalTooLarge)?;
        let Self::Placed(order) = self else {
            let customer_id = customer_id.clone();
            return Ok(vec![OrderEvent::Created {
                order_id,
                customer_id,
                currency,
                items: ordered,
            }]);
        };
        let asked = Creation::new(order_id, customer_id, currency, &ordered);
        let created = &order.creation;
        let same_ids = items
            .iter()
            .zip(&created.item_ids)
            .all(|(item, created)| !item.is_id_given || item.item_id == *created);
        if asked.digest == created.digest && same_ids {
            Ok(vec![])
        } else {
            Err(OrderError::AlreadyExists)
        }
    }
}

impl OrderState {
    /// What can be asked of the order with success.
    #[must_use]
    pub fn allowed_actions(&self) -> Vec<&'static str> {
        allowed_actions(self.status, self.lines.len())
    }

    fn add_item(&self, item: &NewItem) -> Result<Vec<OrderEvent>, OrderError> {
        let item_id = item.item_id;
        let is_used = self.lines.iter().any(|line| line.item_id == item_id)
            || self.removed.contains(&item_id);
        if is_used {
            return Err(OrderError::ItemAlreadyExists { item_id });
        }
        if self.lines.len() >= MAX_LINES {
            return Err(OrderError::TooManyLines);
        }
        let item = item.ordered(0, self.currency)?;
        checked_total(self.total, item.price, item.quantity).ok_or(OrderError::TotalTooLarge)?;
        Ok(vec![OrderEvent::ItemAdded {
            item,
            currency: self.currency,
        }])
    }

    fn change_quantity(
        &self,
        item_id: ItemId,
        quantity: Quantity,
    ) -> Result<Vec<OrderEvent>, OrderError> {
        let line = self.line(item_id)?;
        if line.quantity == quantity {
            return Ok(vec![]);
        }
        self.total
            .checked_sub(line.total())
            .and_then(|others| checked_total(others, line.price, quantity))
            .ok_or(OrderError::TotalTooLarge)?;
        Ok(vec![OrderEvent::ItemQuantityChanged { item_id, quantity }])
    }

    fn line(&self, item_id: ItemId) -> Result<&Line, OrderError> {
        let found = self.lines.iter().find(|line| line.item_id == item_id);
        found.ok_or(OrderError::ItemNotFound { item_id })
    }

    fn evolve(&mut self, event: &OrderEvent, at: Instant) {
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

impl NewItem {
    fn ordered(&self, index: usize, currency: Currency) -> Result<OrderedItem, OrderError> {
        let price = self
            .price
            .in_currency(currency)
            .map_err(|reason| OrderError::InvalidPrice { index, reason })?;
        Ok(OrderedItem {
            item_id: self.item_id,
            product_id: self.product_id.clone(),
            quantity: self.quantity,
            price,
        })
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

fn line(item: &OrderedItem, added_at: Instant) -> Line {
    Line {
        item_id: item.item_id,
        product_id: item.product_id.clone(),
        quantity: item.quantity,
        price: item.price,
        added_at,
    }
}

/// `total + price × quantity`, where an order may come to that.
fn checked_total(total: Money, price: Money, quantity: Quantity) -> Option<Money> {
    let sum = price
        .checked_mul(quantity.get())
        .and_then(|line| total.checked_add(line));
    sum.filter(|sum| sum.minor() <= MAX_TOTAL)
}
