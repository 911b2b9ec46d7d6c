//! Random histories of an order.

use proptest::prelude::*;
use uuid::Uuid;

use crate::order::{
    CustomerId, ItemId, Money, NewItem, OrderCommand, OrderId, ProductId, Quantity, command::Price,
};

pub const ORDER: OrderId = OrderId::new(Uuid::from_u128(1));

pub fn id(n: u128) -> ItemId {
    ItemId::new(Uuid::from_u128(0x100 + n))
}

pub fn item(n: u128, pieces: u32, minor: u32) -> NewItem {
    NewItem {
        item_id: id(n),
        is_id_given: true,
        product_id: ProductId::parse(&format!("product-{}", n % 5)).unwrap(),
        quantity: Quantity::new(pieces).unwrap(),
        price: Price::Exact(Money::from_minor(minor.into())),
    }
}

pub fn create(items: Vec<NewItem>) -> OrderCommand {
    OrderCommand::Create {
        order_id: ORDER,
        customer_id: CustomerId::parse("customer-1").unwrap(),
        currency: "EUR".parse().unwrap(),
        items,
    }
}

/// A random command. There are few item ids, so that lines are changed, removed and added again. The
/// order is rarely completed or cancelled, so that histories are long.
fn command() -> impl Strategy<Value = OrderCommand> {
    let number = 0..12_u128;
    prop_oneof![
        30 => (0..60_u128, 1..=10_000_u32, 0..100_000_u32)
            .prop_map(|(n, pieces, minor)| OrderCommand::AddItem(item(n, pieces, minor))),
        30 => (number.clone(), 1..=10_000_u32).prop_map(|(n, pieces)| {
            OrderCommand::ChangeItemQuantity {
                item_id: id(n),
                quantity: Quantity::new(pieces).unwrap(),
            }
        }),
        10 => number.prop_map(|n| OrderCommand::RemoveItem { item_id: id(n) }),
        1 => Just(OrderCommand::Complete),
        1 => Just(OrderCommand::Cancel { reason: None }),
    ]
}

/// The commands of one order. Refused commands leave no event.
pub fn history() -> impl Strategy<Value = Vec<OrderCommand>> {
    (
        prop::collection::vec((0..12_u128, 1..9_u32, 0..999_u32), 0..4),
        prop::collection::vec(command(), 20..80),
    )
        .prop_map(|(items, mut commands)| {
            let items = items
                .into_iter()
                .map(|(n, pieces, minor)| item(n, pieces, minor));
            commands.insert(0, create(items.collect()));
            commands
        })
}
