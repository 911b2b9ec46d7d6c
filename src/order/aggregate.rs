//! The order. `decide` has all rules; `evolve` ([`super::state`]) has none.

use std::mem::size_of;

use serde::{Deserialize, Serialize};

use super::{
    command::{NewItem, OrderCommand},
    creation::Creation,
    currency::Currency,
    error::OrderError,
    event::{OrderEvent, OrderedItem},
    money::Money,
    state::{Line, OrderState},
    status::Status,
    value::{CustomerId, ItemId, MAX_LINES, MAX_TOTAL, OrderId, Quantity},
};
use crate::event_sourcing::{Aggregate, Timestamp};

/// An order, or [`Absent`](Self::Absent) before it is created.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Order {
    /// Not created yet: refuses every command but `Create`.
    #[default]
    Absent,
    /// Created: open or final.
    Placed(Box<OrderState>),
}

impl Order {
    /// The state; `None` before the creation.
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
    const STATE_SCHEMA: i32 = 2;
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

    fn evolve(&mut self, event: &OrderEvent, at: Timestamp) {
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
                let order = OrderState::created(*order_id, customer_id, *currency, items, at);
                *self = Self::Placed(Box::new(order));
            }
            (Self::Placed(order), event) => order.evolve(event, at),
            // No stream begins with another event than the creation.
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
    /// Decides on a creation. One of an existing order changes nothing if the values are the same: the
    /// client has repeated its request.
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
        let requested = Creation::new(order_id, customer_id, currency, &ordered);
        if order.creation.is_same(&requested, items) {
            Ok(vec![])
        } else {
            Err(OrderError::AlreadyExists)
        }
    }
}

/// The names of the actions that [`Order::decide`](Aggregate::decide) accepts in this status with this
/// number of lines, if the client gives valid values.
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

impl OrderState {
    /// One of the lines.
    fn line(&self, item_id: ItemId) -> Result<&Line, OrderError> {
        let found = self.lines.iter().find(|line| line.item_id == item_id);
        found.ok_or(OrderError::ItemNotFound { item_id })
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
            .checked_sub(line.total().ok_or(OrderError::TotalTooLarge)?)
            .and_then(|others| checked_total(others, line.price, quantity))
            .ok_or(OrderError::TotalTooLarge)?;
        Ok(vec![OrderEvent::ItemQuantityChanged { item_id, quantity }])
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

/// `total + price × quantity`; `None` if that is more than the largest total of an order.
fn checked_total(total: Money, price: Money, quantity: Quantity) -> Option<Money> {
    let sum = price
        .checked_mul(quantity.get())
        .and_then(|line| total.checked_add(line));
    sum.filter(|sum| sum.minor() <= MAX_TOTAL)
}
