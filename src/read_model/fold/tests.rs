//! What the rows are after each kind of event.

use std::str::FromStr;

use chrono::DateTime;
use uuid::Uuid;

use super::*;
use crate::{
    event_sourcing::Aggregate,
    order::{Money, Order, ProductId, Quantity, Reason},
};

const ORDER: OrderId = OrderId::new(Uuid::from_u128(1));
const FIRST: ItemId = ItemId::new(Uuid::from_u128(11));
const SECOND: ItemId = ItemId::new(Uuid::from_u128(12));
const THIRD: ItemId = ItemId::new(Uuid::from_u128(13));

fn eur() -> Currency {
    Currency::from_str("EUR").unwrap()
}

fn at(second: i32) -> Timestamp {
    DateTime::from_timestamp(1_700_000_000 + i64::from(second), 0).unwrap()
}

fn item(item_id: ItemId, quantity: u32, price: i64) -> OrderedItem {
    OrderedItem {
        item_id,
        product_id: ProductId::stored("product"),
        quantity: Quantity::new(quantity).unwrap(),
        price: Money::from_minor(price),
    }
}

fn created(items: Vec<OrderedItem>) -> OrderEvent {
    OrderEvent::Created {
        order_id: ORDER,
        customer_id: CustomerId::stored("customer"),
        currency: eur(),
        items,
    }
}

fn added(item: OrderedItem) -> OrderEvent {
    OrderEvent::ItemAdded {
        item,
        currency: eur(),
    }
}

fn changed(item_id: ItemId, quantity: u32) -> OrderEvent {
    OrderEvent::ItemQuantityChanged {
        item_id,
        quantity: Quantity::new(quantity).unwrap(),
    }
}

fn removed(item_id: ItemId) -> OrderEvent {
    OrderEvent::ItemRemoved { item_id }
}

fn cancelled() -> OrderEvent {
    OrderEvent::Cancelled {
        reason: Some(Reason::stored("too late")),
    }
}

/// Folds an event as the one of this version, at ten times that position.
fn apply(fold: &mut OrderFold, version: i32, event: &OrderEvent) -> Result<(), FoldError> {
    let position = Position::new(i64::from(version) * 10);
    fold.apply(event, Version::new(version), position, at(version))
}

fn folded(events: &[OrderEvent]) -> OrderFold {
    let mut fold = OrderFold::absent(ORDER);
    for (event, version) in events.iter().zip(1..) {
        apply(&mut fold, version, event).unwrap();
    }
    fold
}

#[test]
fn all_kinds_of_events_are_folded_into_the_rows() {
    let fold = folded(&[
        created(vec![item(FIRST, 2, 4999), item(SECOND, 1, 0)]),
        added(item(THIRD, 3, 100)),
        changed(FIRST, 5),
        removed(SECOND),
        cancelled(),
    ]);

    let row = fold.row().unwrap();
    assert_eq!(row.status, "cancelled");
    assert_eq!(row.total_minor, 5 * 4999 + 300);
    assert_eq!((row.item_count, row.total_quantity), (2, 8));
    assert_eq!((row.version, row.position), (5, 50));
    assert_eq!((row.created_at, row.updated_at), (at(1), at(5)));
    assert_eq!((row.completed_at, row.cancelled_at), (None, Some(at(5))));
    assert_eq!(row.cancellation_reason.as_deref(), Some("too late"));
    let lines: Vec<_> = fold
        .items()
        .iter()
        .map(|item| (item.line_no, item.item_id))
        .collect();
    assert_eq!(lines, [(1, FIRST), (2002, THIRD)]);
}

#[test]
fn the_rows_agree_with_the_domain_after_each_event() {
    let events = [
        created(vec![item(FIRST, 2, 4999)]),
        added(item(SECOND, 10_000, 7)),
        removed(FIRST),
        changed(SECOND, 1),
        OrderEvent::Completed,
    ];
    let mut fold = OrderFold::absent(ORDER);
    let mut order = Order::default();

    for (event, version) in events.iter().zip(1..) {
        apply(&mut fold, version, event).unwrap();
        order.evolve(event, at(version));

        let (row, state) = (fold.row().unwrap(), order.state().unwrap());
        assert_eq!(row.status, state.status.as_str());
        assert_eq!(row.total_minor, state.total.minor());
        assert_eq!(usize::try_from(row.item_count).unwrap(), state.lines.len());
        assert_eq!(
            u64::try_from(row.total_quantity).unwrap(),
            state.total_quantity
        );
        assert_eq!(row.updated_at, state.updated_at);
        assert_eq!(row.completed_at, state.completed_at);
    }
}

#[test]
fn adding_a_line_loads_no_other_line_and_removing_one_only_that_line() {
    let whole = folded(&[created(vec![item(FIRST, 2, 10), item(SECOND, 1, 20)])]);
    let mut fold = OrderFold::stored(whole.row().unwrap().clone());
    fold.insert_stored(whole.items()[1].clone());

    apply(&mut fold, 2, &added(item(THIRD, 1, 5))).unwrap();
    apply(&mut fold, 3, &removed(SECOND)).unwrap();

    assert_eq!(fold.row().unwrap().total_minor, 25);
    assert_eq!(
        fold.changed_items()
            .map(|(item, is_stored)| (item.item_id, is_stored))
            .collect::<Vec<_>>(),
        [(THIRD, false)]
    );
    assert_eq!(fold.removed_items().collect::<Vec<_>>(), [SECOND]);
}

#[test]
fn a_line_that_is_added_and_removed_between_two_writes_is_neither_written_nor_deleted() {
    let fold = folded(&[created(vec![]), added(item(FIRST, 1, 1)), removed(FIRST)]);

    assert_eq!(fold.changed_items().count(), 0);
    assert_eq!(fold.removed_items().count(), 0);
    assert_eq!(fold.row().unwrap().item_count, 0);
}

#[test]
fn an_event_that_cannot_be_folded_changes_nothing() {
    let open = [created(vec![item(FIRST, 1, i64::MAX)])];
    let cases = [
        (&open[..0], 1, added(item(FIRST, 1, 1)), FoldError::NoOrder),
        (&open[..0], 1, OrderEvent::Completed, FoldError::NoOrder),
        (&open[..], 2, created(vec![]), FoldError::CreatedTwice),
        (
            &open[..],
            2,
            added(item(FIRST, 1, 1)),
            FoldError::ItemTwice(FIRST),
        ),
        (&open[..], 2, added(item(SECOND, 1, 1)), FoldError::TooLarge),
        (&open[..], 2, changed(FIRST, 2), FoldError::TooLarge),
        (&open[..], 2, changed(SECOND, 2), FoldError::NoItem(SECOND)),
        (&open[..], 2, removed(SECOND), FoldError::NoItem(SECOND)),
    ];
    for (before, version, event, error) in cases {
        let mut fold = folded(before);
        let row = fold.row().cloned();

        assert_eq!(apply(&mut fold, version, &event), Err(error));
        assert_eq!(fold.row().cloned(), row);
    }
}

#[test]
fn a_final_order_refuses_every_event() {
    for last in [OrderEvent::Completed, cancelled()] {
        for late in [
            OrderEvent::Completed,
            cancelled(),
            removed(FIRST),
            added(item(SECOND, 1, 1)),
        ] {
            let mut fold = folded(&[created(vec![item(FIRST, 1, 1)]), last.clone()]);

            assert!(matches!(
                apply(&mut fold, 3, &late),
                Err(FoldError::NotOpen(_))
            ));
        }
    }
}

#[test]
fn a_version_that_is_not_the_next_is_refused() {
    let mut fold = folded(&[created(vec![])]);

    for found in [0, 1, 3] {
        let error = apply(&mut fold, found, &added(item(FIRST, 1, 1))).unwrap_err();
        let (expected, found) = (Version::new(2), Version::new(found));
        assert_eq!(error, FoldError::Version { expected, found });
    }
}

#[test]
fn a_creation_of_another_order_or_with_a_line_twice_is_refused() {
    let twice = created(vec![item(FIRST, 1, 1), item(FIRST, 1, 1)]);
    let mut fold = OrderFold::absent(ORDER);
    assert_eq!(
        apply(&mut fold, 1, &twice),
        Err(FoldError::ItemTwice(FIRST))
    );

    let mut other = OrderFold::absent(OrderId::new(Uuid::from_u128(2)));
    let error = apply(&mut other, 1, &created(vec![]));
    assert_eq!(error, Err(FoldError::OtherOrder(ORDER)));
}

#[test]
fn a_line_in_another_currency_is_refused() {
    let mut fold = folded(&[created(vec![])]);
    let yen = OrderEvent::ItemAdded {
        item: item(FIRST, 1, 1),
        currency: Currency::from_str("JPY").unwrap(),
    };

    assert!(matches!(
        apply(&mut fold, 2, &yen),
        Err(FoldError::Currency { .. })
    ));
}

#[test]
fn a_row_with_an_unknown_status_refuses_events() {
    let mut row = folded(&[created(vec![])]).row().unwrap().clone();
    "lost".clone_into(&mut row.status);
    let mut fold = OrderFold::stored(row);

    let error = apply(&mut fold, 2, &OrderEvent::Completed);

    assert_eq!(error, Err(FoldError::UnknownStatus("lost".to_owned())));
}

#[test]
fn an_event_names_the_line_that_it_needs_or_adds() {
    let add = added(item(FIRST, 1, 1));

    assert_eq!((needed_item(&add), added_item(&add)), (None, Some(FIRST)));
    for event in [changed(FIRST, 2), removed(FIRST)] {
        assert_eq!(
            (needed_item(&event), added_item(&event)),
            (Some(FIRST), None)
        );
    }
    for event in [
        created(vec![item(FIRST, 1, 1)]),
        OrderEvent::Completed,
        cancelled(),
    ] {
        assert_eq!((needed_item(&event), added_item(&event)), (None, None));
    }
}

#[test]
fn a_fold_of_a_stored_row_tells_what_has_changed_since() {
    let row = folded(&[created(vec![]), added(item(FIRST, 1, 1))]).into_row();
    let mut fold = OrderFold::stored(row.unwrap());
    assert_eq!(fold.changed_row(), None);

    apply(&mut fold, 3, &added(item(SECOND, 1, 1))).unwrap();

    assert_eq!(fold.stored_version(), Version::new(2));
    assert_eq!(fold.version(), Version::new(3));
    assert_eq!(fold.changed_row().map(|row| row.version), Some(3));
}
