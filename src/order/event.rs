//! The events of an order, and their stored names.

use super::{
    currency::Currency,
    money::Money,
    value::{CustomerId, ItemId, OrderId, ProductId, Quantity, Reason},
};

/// A line as it was ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderedItem {
    /// The line's id.
    pub item_id: ItemId,
    /// The product.
    pub product_id: ProductId,
    /// The number of pieces.
    pub quantity: Quantity,
    /// The price of one piece.
    pub price: Money,
}

/// An event of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderEvent {
    /// The order was created.
    Created {
        /// The order's id.
        order_id: OrderId,
        /// The customer.
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
        /// The line's id.
        item_id: ItemId,
        /// The new number of pieces.
        quantity: Quantity,
    },
    /// A line was removed.
    ItemRemoved {
        /// The line's id.
        item_id: ItemId,
    },
    /// The order was completed.
    Completed,
    /// The order was cancelled.
    Cancelled {
        /// Why, if the client said so.
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
