//! What may happen to an order, with stored names and schema versions.

use serde_json::value::{RawValue, to_raw_value};

use super::{
    currency::Currency,
    event_json as json,
    money::Money,
    value::{CustomerId, ItemId, OrderId, ProductId, Quantity, Reason},
};
use crate::event_sourcing::{DecodeError, DomainEvent};

/// A line as it was ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderedItem {
    /// The line's id.
    pub item_id: ItemId,
    /// What is ordered.
    pub product_id: ProductId,
    /// How many.
    pub quantity: Quantity,
    /// The price of one.
    pub price: Money,
}

/// A fact about an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderEvent {
    /// The order was placed.
    Created {
        /// Its id.
        order_id: OrderId,
        /// Who ordered.
        customer_id: CustomerId,
        /// The currency of all its prices.
        currency: Currency,
        /// Its first lines.
        items: Vec<OrderedItem>,
    },
    /// A line was added.
    ItemAdded {
        /// The line.
        item: OrderedItem,
        /// The order's currency.
        currency: Currency,
    },
    /// The quantity of a line was changed.
    ItemQuantityChanged {
        /// Which line.
        item_id: ItemId,
        /// How many from then on.
        quantity: Quantity,
    },
    /// A line was removed.
    ItemRemoved {
        /// Which line.
        item_id: ItemId,
    },
    /// The order was completed.
    Completed,
    /// The order was cancelled.
    Cancelled {
        /// Why.
        reason: Option<Reason>,
    },
}

/// Stored name of [`OrderEvent::Created`].
pub const ORDER_CREATED: &str = "OrderCreated";
/// Stored name of [`OrderEvent::ItemAdded`].
pub const ORDER_ITEM_ADDED: &str = "OrderItemAdded";
/// Stored name of [`OrderEvent::ItemQuantityChanged`].
pub const ORDER_ITEM_QUANTITY_CHANGED: &str = "OrderItemQuantityChanged";
/// Stored name of [`OrderEvent::ItemRemoved`].
pub const ORDER_ITEM_REMOVED: &str = "OrderItemRemoved";
/// Stored name of [`OrderEvent::Completed`].
pub const ORDER_COMPLETED: &str = "OrderCompleted";
/// Stored name of [`OrderEvent::Cancelled`].
pub const ORDER_CANCELLED: &str = "OrderCancelled";

impl DomainEvent for OrderEvent {
    const SCHEMAS: &'static [(&'static str, i16)] = &[
        (ORDER_CREATED, 3),
        (ORDER_ITEM_ADDED, 1),
        (ORDER_ITEM_QUANTITY_CHANGED, 1),
        (ORDER_ITEM_REMOVED, 1),
        (ORDER_COMPLETED, 1),
        (ORDER_CANCELLED, 1),
    ];

    fn schema_version(&self) -> i16 {
        match self {
            Self::Created { .. } => 3,
            Self::ItemAdded { .. }
            | Self::ItemQuantityChanged { .. }
            | Self::ItemRemoved { .. }
            | Self::Completed
            | Self::Cancelled { .. } => 1,
        }
    }

    fn event_type(&self) -> &'static str {
        match self {
            Self::Created { .. } => ORDER_CREATED,
            Self::ItemAdded { .. } => ORDER_ITEM_ADDED,
            Self::ItemQuantityChanged { .. } => ORDER_ITEM_QUANTITY_CHANGED,
            Self::ItemRemoved { .. } => ORDER_ITEM_REMOVED,
            Self::Completed => ORDER_COMPLETED,
            Self::Cancelled { .. } => ORDER_CANCELLED,
        }
    }

    fn encode(&self) -> Result<Box<RawValue>, serde_json::Error> {
        match self {
            Self::Created {
                order_id,
                customer_id,
                currency,
                items,
            } => to_raw_value(&json::created(*order_id, customer_id, *currency, items)),
            Self::ItemAdded { item, currency } => to_raw_value(&json::item_added(item, *currency)),
            Self::ItemQuantityChanged { item_id, quantity } => {
                to_raw_value(&json::ItemQuantityChanged {
                    item_id: *item_id,
                    quantity: *quantity,
                })
            }
            Self::ItemRemoved { item_id } => to_raw_value(&json::ItemRemoved { item_id: *item_id }),
            Self::Completed => to_raw_value(&json::Completed {}),
            Self::Cancelled { reason } => to_raw_value(&json::Cancelled {
                reason: reason.clone(),
            }),
        }
    }

    fn decode(event_type: &str, data: &RawValue) -> Result<Self, DecodeError> {
        let text = data.get();
        let decoded = match event_type {
            ORDER_CREATED => serde_json::from_str(text).and_then(json::into_created),
            ORDER_ITEM_ADDED => serde_json::from_str(text).and_then(json::into_item_added),
            ORDER_ITEM_QUANTITY_CHANGED => {
                serde_json::from_str(text).map(|json::ItemQuantityChanged { item_id, quantity }| {
                    Self::ItemQuantityChanged { item_id, quantity }
                })
            }
            ORDER_ITEM_REMOVED => serde_json::from_str(text)
                .map(|json::ItemRemoved { item_id }| Self::ItemRemoved { item_id }),
            ORDER_COMPLETED => serde_json::from_str(text).map(|json::Completed {}| Self::Completed),
            ORDER_CANCELLED => serde_json::from_str(text)
                .map(|json::Cancelled { reason }| Self::Cancelled { reason }),
            unknown => return Err(DecodeError::UnknownType(unknown.to_owned())),
        };
        decoded.map_err(|source| DecodeError::Malformed {
            event_type: event_type.to_owned(),
            source,
        })
    }
}
