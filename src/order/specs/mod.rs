//! Given/when/then tests of the order: the success of each command and every refusal.

mod creating;
mod items;
mod status;

use uuid::Uuid;

use super::{
    Currency, CustomerId, InvalidMoney, ItemId, MAX_LINES, MAX_TOTAL, Money, NewItem, Order,
    OrderCommand, OrderError, OrderEvent, OrderId, ProductId, Quantity, Reason, Status,
    allowed_actions, command::Price, event::OrderedItem,
};
use crate::event_sourcing::{
    Aggregate,
    testing::{given, instant},
};

const ORDER: OrderId = OrderId::new(Uuid::from_u128(1));

fn id(n: u128) -> ItemId {
    ItemId::new(Uuid::from_u128(0x100_u128.wrapping_add(n)))
}

fn eur() -> Currency {
    "EUR".parse().unwrap()
}

fn quantity(n: u32) -> Quantity {
    Quantity::new(n).unwrap()
}

fn item(n: u128, pieces: u32, price: &str) -> NewItem {
    NewItem {
        item_id: id(n),
        is_id_given: true,
        product_id: ProductId::parse("product-1").unwrap(),
        quantity: quantity(pieces),
        price: Price::Text(price.to_owned()),
    }
}

fn ordered(n: u128, pieces: u32, minor: i64) -> OrderedItem {
    OrderedItem {
        item_id: id(n),
        product_id: ProductId::parse("product-1").unwrap(),
        quantity: quantity(pieces),
        price: Money::from_minor(minor),
    }
}

fn create(items: Vec<NewItem>) -> OrderCommand {
    let customer_id = CustomerId::parse("customer-1").unwrap();
    OrderCommand::Create {
        order_id: ORDER,
        customer_id,
        currency: eur(),
        items,
    }
}

fn created(items: Vec<OrderedItem>) -> OrderEvent {
    let customer_id = CustomerId::parse("customer-1").unwrap();
    OrderEvent::Created {
        order_id: ORDER,
        customer_id,
        currency: eur(),
        items,
    }
}

fn added(n: u128, pieces: u32, minor: i64) -> OrderEvent {
    OrderEvent::ItemAdded {
        item: ordered(n, pieces, minor),
        currency: eur(),
    }
}

fn cancelled(reason: Option<&str>) -> OrderEvent {
    OrderEvent::Cancelled {
        reason: reason.map(|text| Reason::parse(text).unwrap()),
    }
}

fn change(n: u128, pieces: u32) -> OrderCommand {
    OrderCommand::ChangeItemQuantity {
        item_id: id(n),
        quantity: quantity(pieces),
    }
}

/// Every command but `Create`.
fn other_commands() -> Vec<OrderCommand> {
    vec![
        OrderCommand::AddItem(item(9, 1, "1.00")),
        change(1, 2),
        OrderCommand::RemoveItem { item_id: id(1) },
        OrderCommand::Complete,
        OrderCommand::Cancel { reason: None },
    ]
}
