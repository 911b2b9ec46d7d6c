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
