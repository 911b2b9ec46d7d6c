//! The golden files: stored JSON of every schema version of every event, and of every state schema.
//!
//! Stores in production hold JSON as in `tests/golden`. Files are added and never changed: a failing
//! test here means that the code cannot read such a store, or writes another shape without a new version.

use std::{collections::BTreeSet, fs, path::PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use orders::{
    event_sourcing::{Aggregate, DomainEvent, Position, RecordedEvent, Version},
    order::{
        CustomerId, ItemId, Money, Order, OrderEvent, OrderId, ProductId, Quantity, Reason,
        event::OrderedItem, upcasters::upcasters,
    },
    read_model::{OrderFold, OrderRow},
};
use serde_json::{Value, value::RawValue};
use uuid::Uuid;

const ORDER: OrderId = OrderId::new(Uuid::from_u128(0x0190_a5d4_7b1e_7c3a_9d52_4f0e_6a1b_2c3d));
const FIRST: ItemId = ItemId::new(Uuid::from_u128(0x0190_a5d4_7b1e_7c3a_9d52_0000_0000_0001));
const SECOND: ItemId = ItemId::new(Uuid::from_u128(0x0190_a5d4_7b1e_7c3a_9d52_0000_0000_0002));

/// A history of a completed order, as `(event type, schema version)`.
const COMPLETED: &[(&str, i16)] = &[
    ("OrderCreated", 3),
    ("OrderItemAdded", 1),
    ("OrderItemQuantityChanged", 1),
    ("OrderItemRemoved", 1),
    ("OrderCompleted", 1),
];

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn sample(name: &str) -> String {
    let path = directory().join(format!("{name}.json"));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn at(version: i32) -> DateTime<Utc> {
    let start = DateTime::from_timestamp(1_700_000_000, 123_456_000).expect("a time");
    start + TimeDelta::seconds(version.into())
}

/// The sample as the `version`-th event of its order.
fn stored(event_type: &str, schema_version: i16, version: i32) -> RecordedEvent {
    let raw = |text: String| RawValue::from_string(text).expect("JSON");
    RecordedEvent {
        position: Position::new(i64::from(version) + 100),
        event_id: Uuid::nil(),
        aggregate_type: Order::TYPE.to_owned(),
        aggregate_id: ORDER.get(),
        version: Version::new(version),
        event_type: event_type.to_owned(),
        schema_version,
        data: raw(sample(&format!("{event_type}.v{schema_version}"))),
        metadata: raw("{}".to_owned()),
        occurred_at: at(version),
    }
}

fn read(event: RecordedEvent) -> OrderEvent {
    let chain = upcasters("EUR".parse().expect("a currency")).expect("a chain");
    chain.decode(event).expect("today's code reads it")
}

/// Folds samples into the state of the write side and into the rows of the read model.
fn fold(samples: &[(&str, i16)]) -> (Order, OrderFold) {
    let (mut order, mut rows) = (Order::default(), OrderFold::absent(ORDER));
    for (version, (event_type, schema_version)) in (1..).zip(samples) {
        let stored = stored(event_type, *schema_version, version);
        let position = stored.position;
        let event = read(stored);
        order.evolve(&event, at(version));
        rows.apply(&event, Version::new(version), position, at(version))
            .expect("it fits the rows");
    }
    (order, rows)
}

fn row(rows: &OrderFold) -> &OrderRow {
    rows.row().expect("a row")
}

/// Asserts that the sample decodes to `event`, and that `event` encodes to the sample.
fn assert_stored_as(event_type: &str, schema_version: i16, event: &OrderEvent) {
    assert_eq!(&read(stored(event_type, schema_version, 1)), event);
    let stored_as = (event.event_type(), event.schema_version());
    assert_eq!(stored_as, (event_type, schema_version));
    let written: Value = serde_json::from_str(event.encode().expect("JSON").get()).expect("JSON");
    let golden: Value =
        serde_json::from_str(&sample(&format!("{event_type}.v{schema_version}"))).expect("JSON");
    assert_eq!(
        written, golden,
        "the stored shape of {event_type} has changed without a new schema version"
    );
}

fn item(item_id: ItemId, product: &str, quantity: u32, minor: i64) -> OrderedItem {
    OrderedItem {
        item_id,
        product_id: ProductId::stored(product),
        quantity: Quantity::new(quantity).expect("a quantity"),
        price: Money::from_minor(minor),
    }
}

fn created(customer: &str, item: OrderedItem) -> OrderEvent {
    OrderEvent::Created {
        order_id: ORDER,
        customer_id: CustomerId::stored(customer),
        currency: "EUR".parse().expect("a currency"),
        items: vec![item],
    }
}

/// The line that upcasting makes of the total of an `OrderCreated` before version 3.
fn total_item() -> OrderedItem {
    let derived = ItemId::new(Uuid::new_v5(&ORDER.get(), b"OrderCreated/total"));
    assert_eq!(derived.to_string(), "c676b38e-6259-5015-a448-25abd6a07d63");
    item(derived, "unknown", 1, 14_990)
}

#[test]
fn order_created_version_1_becomes_todays() {
    assert_eq!(
        read(stored("OrderCreated", 1, 1)),
        created("unknown", total_item())
    );

    let (order, rows) = fold(&[("OrderCreated", 1), ("OrderItemAdded", 1)]);
    let order = order.state().expect("an order");
    assert_eq!((order.total.minor(), order.lines.len()), (15_040, 2));
    let row = row(&rows);
    assert_eq!(
        (row.customer_id.as_str(), row.total_minor),
        ("unknown", 15_040)
    );
}

#[test]
fn order_created_version_2_becomes_todays() {
    assert_eq!(
        read(stored("OrderCreated", 2, 1)),
        created("customer-1", total_item())
    );

    let (order, rows) = fold(&[("OrderCreated", 2), ("OrderCancelled", 1)]);
    let order = order.state().expect("an order");
    assert_eq!(order.customer_id.as_str(), "customer-1");
    let row = row(&rows);
    assert_eq!(
        (row.status.as_str(), row.total_minor),
        ("cancelled", 14_990)
    );
}

#[test]
fn order_created_version_3_is_what_is_written_today() {
    assert_stored_as(
        "OrderCreated",
        3,
        &created("customer-1", item(FIRST, "product-1", 2, 4999)),
    );
}

#[test]
fn order_item_added_version_1_is_what_is_written_today() {
    let event = OrderEvent::ItemAdded {
        item: item(SECOND, "product-2", 1, 50),
        currency: "EUR".parse().expect("a currency"),
    };

    assert_stored_as("OrderItemAdded", 1, &event);
}

#[test]
fn order_item_quantity_changed_version_1_is_what_is_written_today() {
    let event = OrderEvent::ItemQuantityChanged {
        item_id: SECOND,
        quantity: Quantity::new(7).expect("a quantity"),
    };

    assert_stored_as("OrderItemQuantityChanged", 1, &event);
}

#[test]
fn order_item_removed_version_1_is_what_is_written_today() {
    assert_stored_as(
        "OrderItemRemoved",
        1,
        &OrderEvent::ItemRemoved { item_id: FIRST },
    );
}

#[test]
fn order_completed_version_1_is_what_is_written_today() {
    assert_stored_as("OrderCompleted", 1, &OrderEvent::Completed);
}

#[test]
fn order_cancelled_version_1_is_what_is_written_today() {
    let reason = Some(Reason::stored("changed my mind"));

    assert_stored_as("OrderCancelled", 1, &OrderEvent::Cancelled { reason });
}

#[test]
fn all_samples_fold_to_the_same_order_on_both_sides() {
    let (order, rows) = fold(COMPLETED);

    let order = order.state().expect("an order");
    let row = row(&rows);
    assert_eq!((order.total.minor(), row.total_minor), (350, 350));
    assert_eq!((order.total_quantity, row.total_quantity), (7, 7));
    assert_eq!(
        (order.status.as_str(), row.status.as_str()),
        ("completed", "completed")
    );
    assert_eq!(
        (order.completed_at, row.completed_at),
        (Some(at(5)), Some(at(5)))
    );
    let lines: Vec<_> = order.lines.iter().map(|line| line.item_id).collect();
    let items: Vec<_> = rows.items().iter().map(|item| item.item_id).collect();
    assert_eq!((lines, items), (vec![SECOND], vec![SECOND]));
}

#[test]
fn the_snapshot_of_an_order_has_the_shape_of_its_state_schema() {
    let mut history = COMPLETED.to_vec();
    history.pop();
    history.push(("OrderCancelled", 1));
    let (order, _) = fold(&history);

    let name = format!("Order.state.v{}", Order::STATE_SCHEMA);
    let golden: Value = serde_json::from_str(&sample(&name)).expect("JSON");

    let written = serde_json::to_value(&order).expect("JSON");
    assert_eq!(
        written, golden,
        "the state has changed: raise Order::STATE_SCHEMA and add a sample"
    );
    let restored: Order = serde_json::from_value(golden).expect("today's code reads it");
    assert_eq!(restored, order);
}

#[test]
fn every_event_type_and_version_has_a_sample_and_no_sample_is_left_over() {
    let mut expected: BTreeSet<String> = OrderEvent::SCHEMAS
        .iter()
        .flat_map(|(name, newest)| (1..=*newest).map(move |version| format!("{name}.v{version}")))
        .collect();
    expected.extend((1..=Order::STATE_SCHEMA).map(|schema| format!("Order.state.v{schema}")));

    let found: BTreeSet<String> = fs::read_dir(directory())
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| {
            path.file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned()
        })
        .collect();

    assert_eq!(found, expected);
}
