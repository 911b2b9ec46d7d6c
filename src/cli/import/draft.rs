//! Makes the command that creates an order from its lines, or tells which line is invalid.

use uuid::Uuid;

use super::source::{Places, SourceLine, SourceOrder};
use crate::order::{
    Currency, CustomerId, Decimal, ItemId, Money, NewItem, OrderCommand, OrderId, OutOfRange,
    ProductId, Quantity, command::Price,
};

/// The name space of imported orders' ids. They are derived from the order numbers, so that a
/// repeated import finds the same orders.
const NAMESPACE: Uuid = Uuid::from_u128(0x8f2b_6d1c_52f4_4a0e_9b67_0c6f_4f1d_a3e5);

/// The settings that all orders of an import share.
#[derive(Debug, Clone)]
pub struct Drafting {
    /// The name of the source. Equal order numbers of different sources are different orders.
    pub source: String,
    /// The currency of all prices.
    pub currency: Currency,
    /// The customer of orders that name none.
    pub default_customer: Option<CustomerId>,
    /// The columns of the file.
    pub places: Places,
}

/// A valid order of a file.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// The order's number in the file.
    pub number: &'a str,
    /// The order's id, derived from its number.
    pub id: OrderId,
    /// The command that creates the order.
    pub command: OrderCommand,
}

/// Why an order is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The line of the file; `None` if the order as a whole is invalid.
    pub line: Option<u64>,
    /// The reason.
    pub reason: String,
}

impl Drafting {
    /// Makes the command that creates an order.
    ///
    /// # Errors
    /// The refusal of the first invalid line. It refuses the whole order.
    pub fn draft<'a>(&self, order: &'a SourceOrder) -> Result<Draft<'a>, Refusal> {
        let number = std::str::from_utf8(&order.number)
            .map_err(|_| whole("the order's number is not UTF-8"))?;
        if number.is_empty() {
            return Err(whole("the order's number is empty"));
        }
        let id = Uuid::new_v5(&NAMESPACE, format!("{}\n{number}", self.source).as_bytes());
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
            number,
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
            .ok_or_else(|| format!("quantity {quantity:?} is not a whole number"))?;
        Ok(NewItem {
            item_id,
            is_id_given: true,
            product_id: ProductId::parse(product)
                .map_err(|error| format!("product {product:?} {error}"))?,
            quantity: u32::try_from(pieces)
                .map_err(|_| OutOfRange {
                    min: 1,
                    max: Quantity::MAX,
                })
                .and_then(Quantity::new)
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
        .map_err(|_| format!("cell {} is not UTF-8", place + 1))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::cli::import::source::{Columns, Source};

    #[test]
    fn an_order_whose_number_is_not_utf_8_is_refused() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = b"order,customer,product,quantity,price\n\xff,c,p,1,1.00\n\xfe,c,p,1,1.00\n";
        file.write_all(text).unwrap();
        let columns = Columns {
            order_column: "order".to_owned(),
            customer_column: "customer".to_owned(),
            product_column: "product".to_owned(),
            quantity_column: "quantity".to_owned(),
            price_column: "price".to_owned(),
        };
        let source = Source::open(file.path(), &columns).unwrap();
        let drafting = Drafting {
            source: "shop".to_owned(),
            currency: "EUR".parse().unwrap(),
            default_customer: None,
            places: source.places,
        };

        let mut refusals = vec![];
        let read = source.read(|order| {
            refusals.push((
                order.lines.len(),
                drafting.draft(&order).unwrap_err().reason,
            ));
            true
        });

        read.unwrap();
        let expected = (1, "the order's number is not UTF-8".to_owned());
        assert_eq!(refusals, [expected.clone(), expected]);
    }
}
