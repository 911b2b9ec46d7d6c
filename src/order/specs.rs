//! Given/when/then for the order: each command's success, every refusal.

use uuid::Uuid;

use super::{
    Currency, CustomerId, InvalidMoney, ItemId, Money, NewItem, Order, OrderCommand, OrderError,
    OrderEvent, OrderId, ProductId, Quantity, Reason, Status, command::Price, error::MAX_LINES,
    event::OrderedItem, money::MAX_TOTAL,
};
use crate::event_sourcing::testing::{given, instant};

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

#[test]
fn an_absent_order_refuses_every_command_but_create() {
    for command in other_commands() {
        given::<Order>([])
            .when(command)
            .then_refused(&OrderError::NotFound);
    }
}

#[test]
fn creating_an_order_raises_order_created() {
    given::<Order>([])
        .when(create(vec![item(1, 2, "49.99")]))
        .then([created(vec![ordered(1, 2, 4999)])]);
}

#[test]
fn creating_the_same_order_again_changes_nothing() {
    let history = [
        created(vec![ordered(1, 2, 4990)]),
        added(2, 1, 100),
        OrderEvent::Completed,
    ];
    let mut same = item(7, 2, "49.9");
    same.is_id_given = false;

    given::<Order>(history.clone())
        .when(create(vec![item(1, 2, "49.90")]))
        .then_nothing();
    given::<Order>(history)
        .when(create(vec![same]))
        .then_nothing();
}

#[test]
fn creating_another_order_under_the_same_id_is_refused() {
    let history = [created(vec![ordered(1, 2, 4990)])];
    let others = [
        vec![],
        vec![item(1, 3, "49.90")],
        vec![item(1, 2, "49.91")],
        vec![item(2, 2, "49.90")],
    ];
    for items in others {
        given::<Order>(history.clone())
            .when(create(items))
            .then_refused(&OrderError::AlreadyExists);
    }
}

#[test]
fn adding_an_item_raises_order_item_added() {
    given::<Order>([created(vec![])])
        .when(OrderCommand::AddItem(item(1, 2, "0.50")))
        .then([added(1, 2, 50)]);
}

#[test]
fn the_same_product_twice_is_two_lines() {
    let order = given::<Order>([created(vec![]), added(1, 1, 100), added(2, 1, 100)]).state();

    assert_eq!(order.state().unwrap().lines.len(), 2);
}

#[test]
fn an_item_id_is_never_used_twice() {
    let is = |n| OrderError::ItemAlreadyExists { item_id: id(n) };
    let add = || OrderCommand::AddItem(item(1, 1, "1.00"));
    let removed = OrderEvent::ItemRemoved { item_id: id(1) };

    given::<Order>([created(vec![ordered(1, 1, 1)])])
        .when(add())
        .then_refused(&is(1));
    given::<Order>([created(vec![ordered(1, 1, 1)]), removed])
        .when(add())
        .then_refused(&is(1));
}

#[test]
fn a_price_is_exact_in_the_orders_currency() {
    let reason = InvalidMoney::TooPrecise;

    given::<Order>([created(vec![])])
        .when(OrderCommand::AddItem(item(1, 1, "0.001")))
        .then_refused(&OrderError::InvalidPrice { index: 0, reason });
}

#[test]
fn changing_a_quantity_raises_an_event_only_where_it_changes() {
    let history = [created(vec![ordered(1, 2, 100)])];
    let changed = OrderEvent::ItemQuantityChanged {
        item_id: id(1),
        quantity: quantity(3),
    };

    given::<Order>(history.clone())
        .when(change(1, 3))
        .then([changed]);
    given::<Order>(history.clone())
        .when(change(1, 2))
        .then_nothing();
    given::<Order>(history)
        .when(change(2, 3))
        .then_refused(&OrderError::ItemNotFound { item_id: id(2) });
}

#[test]
fn removing_an_item_raises_order_item_removed() {
    let history = [created(vec![ordered(1, 2, 100)])];
    let remove = |n| OrderCommand::RemoveItem { item_id: id(n) };
    let removed = OrderEvent::ItemRemoved { item_id: id(1) };

    given::<Order>(history.clone())
        .when(remove(1))
        .then([removed]);
    given::<Order>(history)
        .when(remove(2))
        .then_refused(&OrderError::ItemNotFound { item_id: id(2) });
}

#[test]
fn an_order_with_items_is_completed() {
    given::<Order>([created(vec![ordered(1, 1, 0)])])
        .when(OrderCommand::Complete)
        .then([OrderEvent::Completed]);
}

#[test]
fn completing_without_items_is_refused() {
    let emptied = [
        created(vec![ordered(1, 1, 1)]),
        OrderEvent::ItemRemoved { item_id: id(1) },
    ];

    given::<Order>([created(vec![])])
        .when(OrderCommand::Complete)
        .then_refused(&OrderError::NoItems);
    given::<Order>(emptied)
        .when(OrderCommand::Complete)
        .then_refused(&OrderError::NoItems);
}

#[test]
fn cancelling_keeps_the_reason() {
    let reason = Some(Reason::parse("changed my mind").unwrap());

    given::<Order>([created(vec![])])
        .when(OrderCommand::Cancel { reason })
        .then([cancelled(Some("changed my mind"))]);
}

#[test]
fn a_final_order_refuses_every_change() {
    let ends = [
        (OrderEvent::Completed, Status::Completed),
        (cancelled(None), Status::Cancelled),
    ];
    for (end, status) in ends {
        for command in other_commands() {
            given::<Order>([created(vec![ordered(1, 1, 1)]), end.clone()])
                .when(command)
                .then_refused(&OrderError::NotOpen { status });
        }
    }
}

#[test]
fn an_order_has_at_most_2000_lines() {
    let full = (0..).take(MAX_LINES).map(|n| ordered(n, 1, 1)).collect();
    let too_many = (0..)
        .take(MAX_LINES + 1)
        .map(|n| item(n, 1, "0.01"))
        .collect();

    given::<Order>([created(full)])
        .when(OrderCommand::AddItem(item(9999, 1, "0.01")))
        .then_refused(&OrderError::TooManyLines);
    given::<Order>([])
        .when(create(too_many))
        .then_refused(&OrderError::TooManyLines);
}

#[test]
fn a_total_may_reach_its_limit_and_no_further() {
    let all_but_one = [created(vec![ordered(1, 1, MAX_TOTAL - 1)])];

    given::<Order>(all_but_one.clone())
        .when(OrderCommand::AddItem(item(2, 1, "0.01")))
        .then([added(2, 1, 1)]);
    given::<Order>(all_but_one.clone())
        .when(OrderCommand::AddItem(item(2, 2, "0.01")))
        .then_refused(&OrderError::TotalTooLarge);
    given::<Order>(all_but_one)
        .when(change(1, 2))
        .then_refused(&OrderError::TotalTooLarge);
}

#[test]
fn the_state_is_rebuilt_from_events() {
    let order = given::<Order>([
        created(vec![ordered(1, 2, 4999)]),
        added(2, 1, 50),
        OrderEvent::ItemQuantityChanged {
            item_id: id(1),
            quantity: quantity(3),
        },
        added(3, 1, 1),
        OrderEvent::ItemRemoved { item_id: id(3) },
        OrderEvent::Completed,
    ])
    .state();

    let order = order.state().unwrap();
    assert_eq!(order.total, Money::from_minor(3 * 4999 + 50));
    assert_eq!(order.total_quantity, 4);
    assert_eq!(order.status, Status::Completed);
    assert_eq!(
        order
            .lines
            .iter()
            .map(|line| line.added_at)
            .collect::<Vec<_>>(),
        [instant(0), instant(1)]
    );
    assert_eq!(
        (order.created_at, order.updated_at),
        (instant(0), instant(5))
    );
    assert_eq!(order.completed_at, Some(instant(5)));
    assert_eq!(order.allowed_actions(), Vec::<&str>::new());
}
