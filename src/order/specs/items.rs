//! Adding, changing and removing lines, and the limits of an order.

use super::*;

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
fn a_total_that_overflows_is_never_taken_for_zero() {
    let largest = OrderEvent::ItemQuantityChanged {
        item_id: id(1),
        quantity: quantity(Quantity::MAX),
    };
    // `decide` never makes these events.
    let corrupt = [created(vec![ordered(1, 1, MAX_TOTAL)]), largest];

    let order = given::<Order>(corrupt.clone()).state();

    let state = order.state().unwrap();
    assert_eq!((state.lines[0].total(), state.total), (None, Money::MAX));
    for command in [OrderCommand::AddItem(item(2, 1, "0.01")), change(1, 9999)] {
        given::<Order>(corrupt.clone())
            .when(command)
            .then_refused(&OrderError::TotalTooLarge);
    }
}
