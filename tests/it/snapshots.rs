//! Snapshots on PostgreSQL: the property of `order::snapshot_tests` again, where JSON goes through
//! `jsonb`, and loading the longest order in one round trip.

use std::{sync::Arc, time::Duration};

use orders::{
    event_sourcing::{
        Aggregate, Append, DomainEvent, EventStore, Metadata, NewEvent, Position, Repository,
        Request, SnapshotStore, StreamId, Version,
        repository::{RepositoryOptions, stream_of},
        snapshot::keep_snapshots,
        store::Until,
        testing::instant,
    },
    live::FreshEvents,
    order::{
        CustomerId, ItemId, NewItem, Order, OrderCommand, OrderEvent, ProductId, Quantity, Reason,
        command::Price, upcasters::upcasters,
    },
    postgres::{self, PgEventStore, PgSnapshotStore, Writer, writer::WriterOptions},
};
use serde_json::value::to_raw_value;
use sqlx::PgPool;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{eventually, servers::fresh_database};

async fn start() -> (PgPool, PgEventStore) {
    let (options, _) = fresh_database().await;
    let (writer, handle) = Writer::new(
        options.clone(),
        WriterOptions::default(),
        FreshEvents::default(),
    );
    tokio::spawn(writer.run());
    let pool = postgres::pool(options, 8);
    let store = PgEventStore::new(pool.clone(), handle, Duration::from_hours(1));
    (pool, store)
}

fn repository(store: &PgEventStore) -> Repository<Order, PgEventStore> {
    let chain = Arc::new(upcasters("EUR".parse().unwrap()).unwrap());
    Repository::new(store.clone(), chain, RepositoryOptions::default())
}

fn line(n: u32) -> ItemId {
    ItemId::new(Uuid::from_u128(0x100 + u128::from(n)))
}

/// The `n`-th command of a history with additions, changes, removals and refusals.
fn command(id: Uuid, n: u32) -> OrderCommand {
    // A number that looks random but is the same in each run.
    let number = n.wrapping_mul(2_654_435_761) >> 8;
    let item = NewItem {
        item_id: line(number % 40),
        is_id_given: true,
        product_id: ProductId::parse("produkt-ü \u{1F600} \"quoted\"").unwrap(),
        quantity: Quantity::new(1 + number % 10_000).unwrap(),
        price: Price::Text(format!("{}.5", number % 100_000)),
    };
    match n {
        0 => OrderCommand::Create {
            order_id: id.into(),
            customer_id: CustomerId::parse("customer-1").unwrap(),
            currency: "EUR".parse().unwrap(),
            items: vec![],
        },
        59 => OrderCommand::Cancel {
            reason: Some(Reason::parse("changed my mind").unwrap()),
        },
        _ if number.is_multiple_of(7) => OrderCommand::RemoveItem {
            item_id: line(number / 7 % 40),
        },
        _ if number.is_multiple_of(3) => OrderCommand::ChangeItemQuantity {
            item_id: line(number / 3 % 40),
            quantity: item.quantity,
        },
        _ => OrderCommand::AddItem(item),
    }
}

/// Sends a history of commands to an order that has a snapshot after every `every` events. Loaded with
/// and without snapshots, the order is the same at every version.
async fn assert_same_with_snapshots(pool: PgPool, store: PgEventStore, every: u32) {
    let id = Uuid::now_v7();
    let (queue, snapshots) = mpsc::channel(64);
    let snapshot_store = PgSnapshotStore::new(pool);
    tokio::spawn(keep_snapshots::<Order, _>(
        snapshots,
        snapshot_store.clone(),
        CancellationToken::new(),
    ));
    let orders = repository(&store).with_snapshots(every, queue);
    let mut last = Version::ZERO;
    for n in 0..60 {
        let request = Request {
            id,
            command: command(id, n),
            expected: None,
            is_new: false,
            key: None,
            metadata: Arc::new(Metadata::default()),
            now: instant(n as usize),
        };
        let Ok(executed) = orders.execute(request, |_, _| ()).await else {
            continue;
        };
        last = executed.version;
        let loaded = repository(&store).load(id, Until::Now).await;
        let loaded = loaded.unwrap().unwrap();
        assert_eq!(loaded.state, fold(&store, id, last).await);
        assert_eq!(loaded.version, last);
    }
    assert!(last > Version::new(25), "only {last} events");
    let stream = stream_of::<Order>(id);
    let due = Version::new(last.get() - last.get() % every.cast_signed());
    eventually("the newest snapshot is stored", || async {
        let stored = store.load(stream, Until::Now, Some(Order::STATE_SCHEMA));
        let snapshot = stored.await.unwrap().snapshot?;
        (snapshot.version == due).then_some(())
    })
    .await;
    for past in 1..=last.get() {
        let past = Version::new(past);
        let loaded = repository(&store).load(id, Until::Version(past)).await;
        let loaded = loaded.unwrap().unwrap();
        assert_eq!(loaded.version, past);
        assert_eq!(loaded.state, fold(&store, id, past).await);
    }
}

/// The order at a version, folded from its first event on.
async fn fold(store: &PgEventStore, id: Uuid, until: Version) -> Order {
    let chain = upcasters("EUR".parse().unwrap()).unwrap();
    let stored = store.load(stream_of::<Order>(id), Until::Version(until), None);
    let mut order = Order::default();
    for event in stored.await.unwrap().events {
        let at = event.occurred_at;
        order.evolve(&chain.decode::<OrderEvent>(event).unwrap(), at);
    }
    order
}

#[tokio::test]
async fn an_order_is_the_same_with_and_without_snapshots() {
    let (pool, store) = start().await;

    let histories =
        (1..=7).map(|every| assert_same_with_snapshots(pool.clone(), store.clone(), every));

    futures::future::join_all(histories).await;
}

/// Stores an order with `count` events.
async fn store_order(store: &PgEventStore, stream: StreamId, count: u32) {
    let id = stream.aggregate_id;
    let mut order = Order::default();
    let mut events = vec![];
    for n in 0..count {
        let command = match n {
            0 => command(id, 0),
            1 => OrderCommand::AddItem(NewItem {
                item_id: line(0),
                is_id_given: true,
                product_id: ProductId::parse("product-1").unwrap(),
                quantity: Quantity::new(1).unwrap(),
                price: Price::Text("1.00".to_owned()),
            }),
            _ => OrderCommand::ChangeItemQuantity {
                item_id: line(0),
                quantity: Quantity::new(2 + n % 9).unwrap(),
            },
        };
        for event in order.decide(&command).unwrap() {
            order.evolve(&event, instant(1));
            let schemas = OrderEvent::SCHEMAS.iter();
            let mut schemas = schemas.filter(|(name, _)| *name == event.event_type());
            events.push(NewEvent {
                event_id: Uuid::now_v7(),
                event_type: event.event_type(),
                schema_version: schemas.next().unwrap().1,
                data: event.encode().unwrap(),
            });
        }
    }
    assert_eq!(events.len(), count as usize);
    let mut expected = Version::ZERO;
    for events in events.chunks(500) {
        let append = Append {
            command_id: Uuid::now_v7(),
            stream,
            expected,
            events: events.to_vec(),
            occurred_at: instant(1),
            metadata: to_raw_value(&Metadata::default()).unwrap(),
            key: None,
        };
        store.append(append).await.unwrap();
        expected = expected.plus(events.len());
    }
}

#[tokio::test]
async fn the_snapshot_and_the_tail_of_5000_events_are_read_in_one_query() {
    let (pool, store) = start().await;
    let id = Uuid::now_v7();
    let stream = stream_of::<Order>(id);
    store_order(&store, stream, 5000).await;
    let at_4990 = fold(&store, id, Version::new(4990)).await;
    let state = serde_json::to_string(&at_4990).unwrap();
    let saved = PgSnapshotStore::new(pool.clone());
    saved
        .save(stream, Version::new(4990), Order::STATE_SCHEMA, state)
        .await
        .unwrap();

    let stored = store
        .load(stream, Until::Now, Some(Order::STATE_SCHEMA))
        .await
        .unwrap();
    let loaded = repository(&store).load(id, Until::Now).await;

    assert_eq!(stored.snapshot.unwrap().version, Version::new(4990));
    assert_eq!(stored.events.len(), 10, "one query reads both");
    let loaded = loaded.unwrap().unwrap();
    assert_eq!(loaded.version, Version::new(5000));
    assert!(loaded.position > Position::ZERO);
    assert_eq!(loaded.state, fold(&store, id, Version::new(5000)).await);
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_used_is_ignored_with_its_version() {
    let (pool, store) = start().await;
    let snapshots = PgSnapshotStore::new(pool);
    let current = Order::STATE_SCHEMA;
    for (schema, state) in [
        (current, "{\"unknown\": 1}"),
        (current, "null"),
        (current + 1, "\"Absent\""),
        (current - 1, "\"Absent\""),
    ] {
        let id = Uuid::now_v7();
        let stream = stream_of::<Order>(id);
        store_order(&store, stream, 20).await;
        let saved = snapshots.save(stream, Version::new(15), schema, state.to_owned());
        saved.await.unwrap();

        let loaded = repository(&store).load(id, Until::Now).await;

        let loaded = loaded.unwrap().unwrap();
        assert_eq!(loaded.version, Version::new(20));
        assert_eq!(loaded.state, fold(&store, id, Version::new(20)).await);
    }
}
