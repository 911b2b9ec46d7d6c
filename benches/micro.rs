//! `make bench-micro`: how long the pure parts of a command, a read and a projection take, in
//! nanoseconds: decide, evolve, fold and JSON, on an order of five lines.

use std::hint::black_box;

use anyhow::Context;
use criterion::Criterion;
use orders::{
    event_sourcing::{Aggregate, DomainEvent, Position, Timestamp, Version},
    http::orders::{bodies, views::OrderView},
    order::{CustomerId, Order, OrderCommand, OrderEvent},
    read_model::OrderFold,
};
use uuid::Uuid;

/// A request to add a line.
const BODY: &[u8] = br#"{"productId":"85123A","quantity":6,"price":"2.55"}"#;
/// How many lines the order has.
const LINES: i32 = 5;
const AT: Timestamp = Timestamp::UNIX_EPOCH;

/// An order with its events, and a command with its event.
struct Example {
    add: OrderCommand,
    added: OrderEvent,
    events: Vec<OrderEvent>,
    order: Order,
}

fn main() -> anyhow::Result<()> {
    let example = example()?;
    let mut criterion = Criterion::default().configure_from_args();
    aggregate(&mut criterion, &example);
    json(&mut criterion, &example)?;
    fold(&mut criterion, &example);
    criterion.final_summary();
    Ok(())
}

fn example() -> anyhow::Result<Example> {
    let create = OrderCommand::Create {
        order_id: Uuid::from_u128(1).into(),
        customer_id: CustomerId::parse("17850.0")?,
        currency: "GBP".parse()?,
        items: vec![],
    };
    let mut order = Order::default();
    let mut events = vec![];
    for line in 0..=LINES {
        let command = if line == 0 {
            create.clone()
        } else {
            add_item(u128::try_from(line)?)?
        };
        for event in order.decide(&command)? {
            order.evolve(&event, AT);
            events.push(event);
        }
    }
    let add = add_item(100)?;
    let added = order.decide(&add)?.pop().context("no event")?;
    Ok(Example {
        add,
        added,
        events,
        order,
    })
}

fn add_item(line: u128) -> anyhow::Result<OrderCommand> {
    let Ok((mut item, _)) = bodies::add_item(BODY) else {
        anyhow::bail!("the body is refused");
    };
    item.item_id = Uuid::from_u128(line).into();
    Ok(OrderCommand::AddItem(item))
}

fn aggregate(criterion: &mut Criterion, example: &Example) {
    criterion.bench_function("decide: add item", |bencher| {
        bencher.iter(|| black_box(&example.order).decide(black_box(&example.add)));
    });
    criterion.bench_function("evolve: an order of six events", |bencher| {
        bencher.iter(|| {
            let mut order = Order::default();
            for event in black_box(&example.events) {
                order.evolve(event, AT);
            }
            order
        });
    });
}

fn json(criterion: &mut Criterion, example: &Example) -> anyhow::Result<()> {
    criterion.bench_function("json: read a request", |bencher| {
        bencher.iter(|| bodies::add_item(black_box(BODY)));
    });
    criterion.bench_function("json: write an event", |bencher| {
        bencher.iter(|| black_box(&example.added).encode());
    });
    let stored = example.added.encode()?;
    let event_type = example.added.event_type();
    criterion.bench_function("json: read an event", |bencher| {
        bencher.iter(|| OrderEvent::decode(event_type, black_box(&stored)));
    });
    let order = &example.order;
    let version = Version::new(LINES + 1);
    criterion.bench_function("json: write a view of five lines", |bencher| {
        let view = || OrderView::of(black_box(order), version).ok();
        bencher.iter(|| serde_json::to_vec(&view()));
    });
    Ok(())
}

fn fold(criterion: &mut Criterion, example: &Example) {
    criterion.bench_function("fold: rows from six events", |bencher| {
        bencher.iter(|| {
            let mut fold = OrderFold::absent(Uuid::from_u128(1).into());
            for (event, number) in black_box(&example.events).iter().zip(1..) {
                let place = (Version::new(number), Position::new(i64::from(number)));
                let applied = fold.apply(event, place.0, place.1, AT);
                debug_assert!(applied.is_ok(), "{applied:?}");
            }
            fold
        });
    });
}
