//! The commands on an order.

use super::{
    currency::Currency,
    money::{InvalidMoney, Money},
    value::{CustomerId, ItemId, OrderId, ProductId, Quantity, Reason},
};

/// A line to add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewItem {
    /// The line's id.
    pub item_id: ItemId,
    /// Whether the client chose the id. Otherwise the service made it.
    pub is_id_given: bool,
    /// The product.
    pub product_id: ProductId,
    /// The number of pieces.
    pub quantity: Quantity,
    /// The price of one piece, in the order's currency.
    pub price: Price,
}

/// A price as the client wrote it. The amount depends on the order's currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Price {
    /// Written as a JSON string: read by [`Money::parse`].
    Text(String),
    /// Written as a JSON number: read by [`Money::parse_number`].
    Number(String),
    /// An amount in minor units.
    Exact(Money),
}

impl Price {
    /// The amount in `currency`.
    ///
    /// # Errors
    /// [`InvalidMoney`] if the text is not a valid amount of that currency.
    pub fn in_currency(&self, currency: Currency) -> Result<Money, InvalidMoney> {
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
    /// Create a new order.
    Create {
        /// The order's id.
        order_id: OrderId,
        /// The customer.
        customer_id: CustomerId,
        /// The currency of all its prices.
        currency: Currency,
        /// Its first lines.
        items: Vec<NewItem>,
    },
    /// Add a line.
    AddItem(NewItem),
    /// Change the quantity of a line.
    ChangeItemQuantity {
        /// The line's id.
        item_id: ItemId,
        /// The new number of pieces.
        quantity: Quantity,
    },
    /// Remove a line.
    RemoveItem {
        /// The line's id.
        item_id: ItemId,
    },
    /// Complete the order.
    Complete,
    /// Cancel the order.
    Cancel {
        /// Why, if the client says so.
        reason: Option<Reason>,
    },
}
