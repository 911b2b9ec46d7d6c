//! What may be asked of an order.

use super::{
    currency::Currency,
    money::Money,
    value::{CustomerId, ItemId, OrderId, ProductId, Quantity, Reason},
};

/// A line to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewItem {
    /// The line's id.
    pub item_id: ItemId,
    /// Whether the client chose that id (else it was made at the edge).
    pub is_id_given: bool,
    /// What is ordered.
    pub product_id: ProductId,
    /// How many.
    pub quantity: Quantity,
    /// The price of one, in the order's currency.
    pub price: Price,
}

/// A price as a client wrote it: what it comes to depends on the order's currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Price {
    /// Written as text: counts by that text.
    Text(String),
    /// Written as a JSON number: counts by its exact value.
    Number(String),
    /// An amount in minor units.
    Exact(Money),
}

impl Price {
    /// The amount in `currency`.
    ///
    /// # Errors
    /// Where the text is no amount of that currency.
    pub fn in_currency(&self, currency: Currency) -> Result<Money, super::money::InvalidMoney> {
        match self {
            Self::Text(text) => Money::parse(text, currency),
            Self::Number(number) => Money::parse_number(number, currency),
            Self::Exact(money) => Ok(*money),
        }
    }
}

/// A command on an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderCommand {
    /// Place a new order.
    Create {
        /// The order's id.
        order_id: OrderId,
        /// Who orders.
        customer_id: CustomerId,
        /// The currency of all its prices.
        currency: Currency,
        /// Its first lines.
        items: Vec<NewItem>,
    },
    /// Add a line.
    AddItem(NewItem),
    /// Change how many of a line are ordered.
    ChangeItemQuantity {
        /// Which line.
        item_id: ItemId,
        /// How many from now on.
        quantity: Quantity,
    },
    /// Remove a line.
    RemoveItem {
        /// Which line.
        item_id: ItemId,
    },
    /// Complete the order.
    Complete,
    /// Cancel the order.
    Cancel {
        /// Why.
        reason: Option<Reason>,
    },
}
