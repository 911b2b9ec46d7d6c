//! Creating an order, and creating it again.

use super::*;

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
fn an_order_may_be_created_with_the_largest_number_of_lines_and_not_with_more() {
    let lines = |count: usize| (0..count as u128).map(|n| item(n, 1, "1")).collect();

    let largest = Order::default().decide(&create(lines(MAX_LINES)));
    let too_large = Order::default().decide(&create(lines(MAX_LINES + 1)));

    assert_eq!(largest.map(|events| events.len()), Ok(1));
    assert_eq!(too_large, Err(OrderError::TooManyLines));
}

#[test]
fn an_order_weighs_more_with_each_line() {
    let weight = |lines: Vec<OrderedItem>| {
        let mut order = Order::default();
        order.evolve(&created(lines), instant(1));
        order.weight()
    };
    let (none, two) = (
        weight(vec![]),
        weight(vec![ordered(1, 1, 1), ordered(2, 1, 1)]),
    );

    assert!(Order::default().weight() > 1);
    assert!(none > 1);
    assert!(two >= none + 2 * size_of::<ItemId>(), "{none}, {two}");
}
