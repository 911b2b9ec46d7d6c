//! A snapshot is a cache: with it or without it, an order is the same at every moment of its life.
#![expect(clippy::arithmetic_side_effects, reason = "made-up numbers are small")]

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use proptest::{prelude::*, test_runner::Config, test_runner::RngAlgorithm, test_runner::TestRng};
use tokio::{sync::mpsc, task::yield_now};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    CustomerId, ItemId, NewItem, Order, OrderCommand, OrderId, ProductId, Quantity, command::Price,
    upcasters::upcasters,
};
use crate::event_sourcing::{
    Aggregate, Append, AppendError, Appended, EventStore, IdempotencyKey, Metadata, Position,
    RecordedEvent, Repository, Request, SnapshotStore, StoreError, StoredStream, StreamId,
    Timestamp, UsedKey, Version,
    repository::{Loaded, RepositoryOptions, stream_of},
    snapshot::{crosses, keep_snapshots},
    store::Until,
    testing::{InMemoryEventStore, instant},
};

const ORDER: OrderId = OrderId::new(Uuid::from_u128(1));

/// A store that counts its round trips, and where wanted forgets that there are snapshots.
#[derive(Clone, Default)]
struct Watched {
    inner: InMemoryEventStore,
    is_forgetful: bool,
    loads: Arc<AtomicUsize>,
}

impl EventStore for Watched {
    async fn load(
        &self,
        stream: StreamId,
        until: Until,
        snapshot: Option<i32>,
    ) -> Result<StoredStream, StoreError> {
        self.loads.fetch_add(1, SeqCst);
        let snapshot = snapshot.filter(|_| !self.is_forgetful);
        self.inner.load(stream, until, snapshot).await
    }

    async fn read_stream(
        &self,
        stream: StreamId,
        from: Version,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.loads.fetch_add(1, SeqCst);
        self.inner.read_stream(stream, from, limit).await
    }

    async fn read_stream_after(
        &self,
        stream: StreamId,
        after: Position,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.loads.fetch_add(1, SeqCst);
        self.inner.read_stream_after(stream, after, limit).await
    }

    async fn read_all(
        &self,
        after: Position,
        limit: u32,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.loads.fetch_add(1, SeqCst);
        self.inner.read_all(after, limit).await
    }

    async fn newest(&self) -> Result<Position, StoreError> {
        self.inner.newest().await
    }

    async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        self.inner.append(append).await
    }

    async fn find_key(&self, key: &IdempotencyKey) -> Result<Option<UsedKey>, StoreError> {
        self.inner.find_key(key).await
    }
}

fn repository(store: Watched) -> Repository<Order, Watched> {
    let upcasters = Arc::new(upcasters("EUR".parse().unwrap()).unwrap());
    Repository::new(store, upcasters, RepositoryOptions::default())
}

/// Loads the order with its snapshot, and without.
async fn with_and_without(store: &InMemoryEventStore, until: Until) -> [Option<Whole>; 2] {
    let load = async |is_forgetful| {
        let store = Watched {
            inner: store.clone(),
            is_forgetful,
            loads: Arc::default(),
        };
        let loaded = repository(store).load(ORDER.get(), until).await.unwrap();
        loaded.map(whole)
    };
    [load(false).await, load(true).await]
}

/// All that a loaded order is, to be compared.
type Whole = (Order, Version, Position, Timestamp);

fn whole(loaded: Loaded<Order>) -> Whole {
    (
        loaded.state,
        loaded.version,
        loaded.position,
        loaded.occurred_at,
    )
}

fn id(n: u128) -> ItemId {
    ItemId::new(Uuid::from_u128(0x100 + n))
}

fn item(n: u128, pieces: u32, minor: u32) -> NewItem {
    NewItem {
        item_id: id(n),
        is_id_given: true,
        product_id: ProductId::parse(&format!("product-{}", n % 5)).unwrap(),
        quantity: Quantity::new(pieces).unwrap(),
        price: Price::Exact(super::Money::from_minor(minor.into())),
    }
}

fn create(items: Vec<NewItem>) -> OrderCommand {
    OrderCommand::Create {
        order_id: ORDER,
        customer_id: CustomerId::parse("customer-1").unwrap(),
        currency: "EUR".parse().unwrap(),
        items,
    }
}

/// Commands that make histories: what the order refuses leaves no event. Ids are few, so that lines
/// are changed, removed and asked for again; ends are rare, so that histories are long.
fn command() -> impl Strategy<Value = OrderCommand> {
    let number = 0..12_u128;
    prop_oneof![
        30 => (0..60_u128, 1..=10_000_u32, 0..100_000_u32)
            .prop_map(|(n, pieces, minor)| OrderCommand::AddItem(item(n, pieces, minor))),
        30 => (number.clone(), 1..=10_000_u32).prop_map(|(n, pieces)| {
            OrderCommand::ChangeItemQuantity {
                item_id: id(n),
                quantity: Quantity::new(pieces).unwrap(),
            }
        }),
        10 => number.prop_map(|n| OrderCommand::RemoveItem { item_id: id(n) }),
        1 => Just(OrderCommand::Complete),
        1 => Just(OrderCommand::Cancel { reason: None }),
    ]
}

fn history() -> impl Strategy<Value = Vec<OrderCommand>> {
    (
        prop::collection::vec((0..12_u128, 1..9_u32, 0..999_u32), 0..4),
        prop::collection::vec(command(), 20..80),
    )
        .prop_map(|(items, mut commands)| {
            let items = items
                .into_iter()
                .map(|(n, pieces, minor)| item(n, pieces, minor));
            commands.insert(0, create(items.collect()));
            commands
        })
}

/// Lives a history with a snapshot every so many events, and looks at the order after each event
/// and, at the end, at its whole past.
async fn live(history: &[OrderCommand], every: u32) {
    let store = InMemoryEventStore::default();
    let watched = Watched {
        inner: store.clone(),
        ..Watched::default()
    };
    let (queue, snapshots) = mpsc::channel(8);
    let token = CancellationToken::new();
    let keeping = keep_snapshots::<Order, _>(snapshots, store.clone(), token.clone());
    let living = async {
        let orders = repository(watched).with_snapshots(every, queue);
        let (mut version, mut newest) = (Version::ZERO, None);
        for (second, command) in history.iter().enumerate() {
            let request = Request {
                id: ORDER.get(),
                command: command.clone(),
                expected: None,
                is_new: false,
                key: None,
                metadata: Arc::new(Metadata::default()),
                // Some events share an instant.
                now: instant(second / 2),
            };
            let Ok(executed) = orders.execute(request, |_, _| ()).await else {
                continue;
            };
            let after = executed.version;
            if crosses(version, after, every) {
                newest = Some(after);
            }
            version = after;
            // The snapshots' writer takes its turn.
            for _ in 0..3 {
                yield_now().await;
            }
            let stored = store
                .load(
                    stream_of::<Order>(ORDER.get()),
                    Until::Now,
                    Some(Order::STATE_SCHEMA),
                )
                .await
                .unwrap();
            assert_eq!(stored.snapshot.map(|snapshot| snapshot.version), newest);
            let [with, without] = with_and_without(&store, Until::Now).await;
            assert_eq!(with, without, "version {version}, a snapshot every {every}");
            assert_eq!(with.map(|whole| whole.1), Some(version));
        }
        for past in 1..=version.get() {
            let until = Until::Version(Version::new(past));
            let [with, without] = with_and_without(&store, until).await;
            assert_eq!(
                with, without,
                "version {past} of the past, a snapshot every {every}"
            );
        }
        for second in 0..history.len() / 2 {
            let until = Until::Timestamp(instant(second));
            let [with, without] = with_and_without(&store, until).await;
            assert_eq!(with, without, "second {second}, a snapshot every {every}");
        }
    };
    tokio::join!(keeping, async {
        living.await;
        token.cancel();
    });
}

#[test]
fn every_moment_of_every_history_is_the_same_with_and_without_snapshots() {
    let config = Config {
        cases: 12,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = proptest::test_runner::TestRunner::new_with_rng(config, rng);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();

    runner
        .run(&history(), |history| {
            for every in 1..=7 {
                runtime.block_on(live(&history, every));
            }
            Ok(())
        })
        .unwrap();
}

/// An order with so many events, the last ones changes of a quantity.
async fn an_order_with(events: i32) -> InMemoryEventStore {
    let store = InMemoryEventStore::default();
    let orders = repository(Watched {
        inner: store.clone(),
        ..Watched::default()
    });
    for n in 0..events {
        let command = if n == 0 {
            create(vec![item(0, 1, 100)])
        } else {
            OrderCommand::ChangeItemQuantity {
                item_id: id(0),
                quantity: Quantity::new(2 + n.unsigned_abs() % 9).unwrap(),
            }
        };
        let request = Request {
            id: ORDER.get(),
            command,
            expected: None,
            is_new: false,
            key: None,
            metadata: Arc::new(Metadata::default()),
            now: instant(usize::try_from(n).unwrap()),
        };
        orders.execute(request, |_, _| ()).await.unwrap();
    }
    store
}

async fn save(store: &InMemoryEventStore, version: i32, schema: i32, state: String) {
    let stream = stream_of::<Order>(ORDER.get());
    let saved = store.save(stream, Version::new(version), schema, state);
    saved.await.unwrap();
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_used_is_ignored_with_its_version() {
    let today = Order::STATE_SCHEMA;
    let right = {
        let store = an_order_with(9).await;
        let until = Until::Version(Version::new(5));
        let [_, state] = with_and_without(&store, until).await;
        serde_json::to_string(&state.unwrap().0).unwrap()
    };
    for (schema, state) in [
        (today, "{\"nonsense\": 1}".to_owned()),
        (today, "no json at all".to_owned()),
        (today, String::new()),
        (today, right.replace("customer_id", "customer")),
        (today + 1, right.clone()),
        (today - 1, right),
    ] {
        let store = an_order_with(9).await;
        save(&store, 5, schema, state.clone()).await;

        let [with, without] = with_and_without(&store, Until::Now).await;

        assert_eq!(with, without, "schema {schema}: {state}");
        assert_eq!(with.unwrap().1, Version::new(9));
    }
}

#[tokio::test]
async fn a_long_order_is_loaded_in_one_round_trip() {
    let store = an_order_with(5000).await;
    let [_, whole] = with_and_without(&store, Until::Version(Version::new(4990))).await;
    let state = serde_json::to_string(&whole.unwrap().0).unwrap();
    save(&store, 4990, Order::STATE_SCHEMA, state).await;
    let watched = Watched {
        inner: store.clone(),
        ..Watched::default()
    };

    let loaded = repository(watched.clone())
        .load(ORDER.get(), Until::Now)
        .await;

    assert_eq!(loaded.unwrap().unwrap().version, Version::new(5000));
    assert_eq!(watched.loads.load(SeqCst), 1);
    let [with, without] = with_and_without(&store, Until::Now).await;
    assert_eq!(with, without);
}
