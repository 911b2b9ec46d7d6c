//! The order: `decide` holds every rule, `evolve` ([`super::state`]) none.

use std::mem::size_of;

use serde::{Deserialize, Serialize};

use super::{
    command::{NewItem, OrderCommand},
    currency::Currency,
    error::{MAX_LINES, OrderError},
    event::{OrderEvent, OrderedItem},
    money::{MAX_TOTAL, Money},
    state::{Creation, Line, OrderState, Status},
    value::{CustomerId, ItemId, OrderId, Quantity},
};
use crate::event_sourcing::{Aggregate, Timestamp};

/// An order, or the place where one could be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Order {
    /// Nothing was placed: refuses every command but `Create`.
    #[default]
    Absent,
    /// Placed: open or closed.
    Placed(Box<OrderState>),
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

/// `total + price × quantity`, where an order may come to that.
fn checked_total(total: Money, price: Money, quantity: Quantity) -> Option<Money> {
    let sum = price
        .checked_mul(quantity.get())
        .and_then(|line| total.checked_add(line));
    sum.filter(|sum| sum.minor() <= MAX_TOTAL)
}
