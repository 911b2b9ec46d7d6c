//! From the lines of a source to the command that creates their order, or to what is wrong.

use uuid::Uuid;

use super::source::{Places, SourceLine, SourceOrder};
use crate::order::{
    Currency, CustomerId, Decimal, ItemId, Money, NewItem, OrderCommand, OrderId, ProductId,
    Quantity, command::Price,
};

/// The name space of imported orders' ids: they are derived from the source's order numbers, so
/// that importing again meets the same orders.
const NAMESPACE: Uuid = Uuid::from_u128(0x8f2b_6d1c_52f4_4a0e_9b67_0c6f_4f1d_a3e5);

/// What is the same for all orders of an import.
#[derive(Debug, Clone)]
pub struct Drafting {
    /// Tells apart sources that number their orders alike.
    pub source: String,
    /// The currency of all prices.
    pub currency: Currency,
    /// The customer of orders that name none.
    pub default_customer: Option<CustomerId>,
    /// Where the columns are.
    pub places: Places,
}

/// An order that can be created.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Its id, derived from its number.
    pub id: OrderId,
    /// The command.
    pub command: OrderCommand,
}

/// What is wrong with an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// On which line of the file; none where it is the order as a whole.
    pub line: Option<u64>,
    /// What it is.
    pub reason: String,
}

impl Drafting {
    /// Makes the command that creates an order.
    ///
    /// # Errors
    /// What is wrong with the first bad line: the order is refused whole.
    pub fn draft(&self, order: &SourceOrder) -> Result<Draft, Refusal> {
        if order.number.is_empty() {
            return Err(whole("the order's number is empty"));
        }
        let id = Uuid::new_v5(
            &NAMESPACE,
            format!("{}\n{}", self.source, order.number).as_bytes(),
        );
        let items = order
            .lines
            .iter()
            .enumerate()
            .map(|(index, line)| {
                let item_id = Uuid::new_v5(&id, index.to_string().as_bytes());
                self.item(item_id.into(), line).map_err(|reason| Refusal {
                    line: Some(line.number),
                    reason,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let customer_id = self.customer(order)?;
        let currency = self.currency;
        let command = OrderCommand::Create {
            order_id: id.into(),
            customer_id,
            currency,
            items,
        };
        Ok(Draft {
            id: id.into(),
            command,
        })
    }

    fn customer(&self, order: &SourceOrder) -> Result<CustomerId, Refusal> {
        let mut found: Option<&str> = None;
        for line in &order.lines {
            let refuse = |reason: String| Refusal {
                line: Some(line.number),
                reason,
            };
            let customer = cell(line, self.places.customer).map_err(refuse)?;
            match found {
                Some(other) if other != customer => {
                    let reason =
                        format!("the order's lines name two customers: {other:?}, {customer:?}");
                    return Err(refuse(reason));
                }
                _ => found = Some(customer),
            }
        }
        match (found.unwrap_or_default(), &self.default_customer) {
            ("", Some(default)) => Ok(default.clone()),
            ("", None) => Err(whole("the customer is empty")),
            (customer, _) => CustomerId::parse(customer)
                .map_err(|error| whole(&format!("customer {customer:?} {error}"))),
        }
    }

    fn item(&self, item_id: ItemId, line: &SourceLine) -> Result<NewItem, String> {
        let product = cell(line, self.places.product)?;
        let quantity = cell(line, self.places.quantity)?;
        let price = cell(line, self.places.price)?;
        let pieces = Decimal::parse(quantity)
            .and_then(|decimal| decimal.to_i64())
            .ok_or_else(|| format!("quantity {quantity:?} is no whole number"))?;
        let pieces = u32::try_from(pieces).unwrap_or(0);
        Ok(NewItem {
            item_id,
            is_id_given: true,
            product_id: ProductId::parse(product)
                .map_err(|error| format!("product {product:?} {error}"))?,
            quantity: Quantity::new(pieces)
                .map_err(|error| format!("quantity {quantity} {error}"))?,
            price: Money::parse(price, self.currency)
                .map(Price::Exact)
                .map_err(|error| format!("price {price} {error}"))?,
        })
    }
}

fn whole(reason: &str) -> Refusal {
    Refusal {
        line: None,
        reason: reason.to_owned(),
    }
}

fn cell(line: &SourceLine, place: usize) -> Result<&str, String> {
    let cell = line
        .record
        .get(place)
        .ok_or_else(|| format!("cell {} is missing", place + 1))?;
    std::str::from_utf8(cell)
        .map(str::trim)
        .map_err(|_| format!("cell {} is no UTF-8", place + 1))
}
