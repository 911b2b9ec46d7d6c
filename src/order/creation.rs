//! What an order was created from. It tells a repeated request from another order with the same id.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    command::NewItem,
    currency::Currency,
    event::OrderedItem,
    value::{CustomerId, ItemId, OrderId},
};

/// A digest of the values that an order was created from, and the ids of its first lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Creation {
    /// A name-based UUID over the customer, the currency and the lines: 16 bytes, not a second copy.
    digest: Uuid,
    item_ids: Vec<ItemId>,
}

impl Creation {
    pub(super) fn new(
        order_id: OrderId,
        customer_id: &CustomerId,
        currency: Currency,
        items: &[OrderedItem],
    ) -> Self {
        let bytes = canonical_bytes(customer_id, currency, items);
        Self {
            digest: Uuid::new_v5(&order_id.get(), &bytes),
            item_ids: items.iter().map(|item| item.item_id).collect(),
        }
    }

    /// Whether `requested`, made from `items`, has the same values. The id of an item is compared
    /// only if the client chose it: others are new in each request.
    pub(super) fn is_same(&self, requested: &Self, items: &[NewItem]) -> bool {
        let mut ids = items.iter().zip(&self.item_ids);
        self.digest == requested.digest
            && ids.all(|(item, created)| !item.is_id_given || item.item_id == *created)
    }
}

/// The values as bytes. Snapshots hold a digest of them, so a change here needs a new
/// [state schema](crate::event_sourcing::Aggregate::STATE_SCHEMA).
fn canonical_bytes(customer_id: &CustomerId, currency: Currency, items: &[OrderedItem]) -> Vec<u8> {
    let mut bytes = Vec::new();
    append_text(&mut bytes, customer_id.as_str());
    append_text(&mut bytes, currency.code());
    for item in items {
        append_text(&mut bytes, item.product_id.as_str());
        bytes.extend(item.quantity.get().to_be_bytes());
        bytes.extend(item.price.minor().to_be_bytes());
    }
    bytes
}

/// Appends a text after its length, so that different texts never give the same bytes.
fn append_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend(u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
    bytes.extend(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::order::{Money, ProductId, Quantity};

    fn item(product: &str, quantity: u32, minor: i64) -> OrderedItem {
        OrderedItem {
            item_id: Uuid::nil().into(),
            product_id: ProductId::parse(product).unwrap(),
            quantity: Quantity::new(quantity).unwrap(),
            price: Money::from_minor(minor),
        }
    }

    #[test]
    fn the_bytes_of_a_creation_are_a_stored_format() {
        let customer_id = CustomerId::parse("cé").unwrap();
        let currency = "EUR".parse().unwrap();

        let bytes = canonical_bytes(&customer_id, currency, &[item("p", 258, 4990)]);

        let expected = [
            &[0, 0, 0, 0, 0, 0, 0, 3, b'c', 0xC3, 0xA9][..],
            &[0, 0, 0, 0, 0, 0, 0, 3, b'E', b'U', b'R'],
            &[0, 0, 0, 0, 0, 0, 0, 1, b'p'],
            &[0, 0, 1, 2],
            &[0, 0, 0, 0, 0, 0, 0x13, 0x7E],
        ];
        assert_eq!(bytes, expected.concat());
    }

    #[test]
    fn other_values_have_another_digest() {
        let digest = |customer: &str, currency: &str, items: &[OrderedItem]| {
            let customer_id = CustomerId::parse(customer).unwrap();
            let order_id = OrderId::new(Uuid::from_u128(1));
            Creation::new(order_id, &customer_id, currency.parse().unwrap(), items).digest
        };
        let same = digest("ab", "EUR", &[item("c", 1, 1)]);
        let others = [
            digest("a", "EUR", &[item("c", 1, 1)]),
            digest("ab", "USD", &[item("c", 1, 1)]),
            digest("ab", "EUR", &[item("d", 1, 1)]),
            digest("ab", "EUR", &[item("c", 2, 1)]),
            digest("ab", "EUR", &[item("c", 1, 2)]),
            digest("ab", "EUR", &[item("c", 1, 1), item("c", 1, 1)]),
            digest("ab", "EUR", &[]),
        ];

        assert_eq!(same, digest("ab", "EUR", &[item("c", 1, 1)]));
        assert!(!others.contains(&same));
    }
}
