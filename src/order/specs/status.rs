//! The status of an order, and which commands each status allows.

use super::*;

#[test]
fn an_absent_order_refuses_every_command_but_create() {
    for command in other_commands() {
        given::<Order>([])
            .when(command)
            .then_refused(&OrderError::NotFound);
    }
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
    let actions = allowed_actions(order.status, order.lines.len());
    assert_eq!(actions, Vec::<&str>::new());
}

/// A command with valid values for each action, on this line.
fn actions(item_id: ItemId) -> [(&'static str, OrderCommand); 5] {
    let quantity = quantity(1);
    [
        ("addItem", OrderCommand::AddItem(item(9999, 1, "0.00"))),
        (
            "changeItem",
            OrderCommand::ChangeItemQuantity { item_id, quantity },
        ),
        ("removeItem", OrderCommand::RemoveItem { item_id }),
        ("complete", OrderCommand::Complete),
        ("cancel", OrderCommand::Cancel { reason: None }),
    ]
}

#[test]
fn the_allowed_actions_are_those_that_decide_accepts() {
    let ends = [
        vec![],
        vec![OrderEvent::Completed],
        vec![cancelled(None)],
        vec![OrderEvent::ItemRemoved { item_id: id(1) }],
    ];
    for (lines, end) in [0, 1, 2, MAX_LINES - 1, MAX_LINES]
        .into_iter()
        .flat_map(|lines| ends.clone().map(|end| (lines, end)))
    {
        let price = if lines == 1 { MAX_TOTAL } else { 1 };
        let items = (1..).take(lines).map(|n| ordered(n, 1, price)).collect();
        let order = given::<Order>([created(items)].into_iter().chain(end)).state();
        let state = order.state().unwrap();

        let line = state.lines.first().map_or(id(1), |line| line.item_id);
        let accepted: Vec<_> = actions(line)
            .into_iter()
            .filter(|(_, command)| order.decide(command).is_ok())
            .map(|(action, _)| action)
            .collect();

        let (status, lines) = (state.status, state.lines.len());
        assert_eq!(
            allowed_actions(status, lines),
            accepted,
            "{status}, {lines} lines"
        );
    }
}
