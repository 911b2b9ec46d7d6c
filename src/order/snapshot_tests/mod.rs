//! A snapshot is a cache: an order is the same with and without it, at every moment of its history.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "the numbers of tests are small"
)]

mod counting_store;
mod histories;

use std::sync::{Arc, atomic::Ordering::SeqCst};

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::{sync::mpsc, task::yield_now};
use tokio_util::sync::CancellationToken;

use self::{
    counting_store::CountingStore,
    histories::{ORDER, create, history, id, item},
};
use super::{Order, OrderCommand, Quantity, upcasters::upcasters};
use crate::event_sourcing::{
    Aggregate, EventStore, Metadata, Position, Repository, Request, SnapshotStore, Timestamp,
    Version,
    repository::{Loaded, RepositoryOptions, stream_of},
    snapshot::{crosses, keep_snapshots},
    store::Until,
    testing::{InMemoryEventStore, instant},
};

fn repository(store: CountingStore) -> Repository<Order, CountingStore> {
    let upcasters = Arc::new(upcasters("EUR".parse().unwrap()).unwrap());
    Repository::new(store, upcasters, RepositoryOptions::default())
}

/// Loads the order with its snapshot and without it.
async fn with_and_without(store: &InMemoryEventStore, until: Until) -> [Option<Whole>; 2] {
    let load = async |hides_snapshots| {
        let store = CountingStore {
            inner: store.clone(),
            hides_snapshots,
            loads: Arc::default(),
        };
        let loaded = repository(store).load(ORDER.get(), until).await.unwrap();
        loaded.map(whole)
    };
    [load(false).await, load(true).await]
}

/// Everything that is compared of a loaded order.
type Whole = (Order, Version, Position, Timestamp);

fn whole(loaded: Loaded<Order>) -> Whole {
    (
        loaded.state,
        loaded.version,
        loaded.position,
        loaded.occurred_at,
    )
}

fn request(command: OrderCommand, now: Timestamp) -> Request<OrderCommand> {
    Request {
        id: ORDER.get(),
        command,
        expected: None,
        is_new: false,
        key: None,
        metadata: Arc::new(Metadata::default()),
        now,
    }
}

/// Executes a history with a snapshot every `every` events. Compares the order with and without
/// snapshots after each command, and at the end at every past version and second.
async fn execute_and_compare(history: &[OrderCommand], every: u32) {
    let store = InMemoryEventStore::default();
    let counting = CountingStore {
        inner: store.clone(),
        ..CountingStore::default()
    };
    let (queue, snapshots) = mpsc::channel(8);
    let token = CancellationToken::new();
    let keeper = keep_snapshots::<Order, _>(snapshots, store.clone(), token.clone());
    let commands = async {
        let orders = repository(counting).with_snapshots(every, queue);
        let (mut version, mut newest) = (Version::ZERO, None);
        for (second, command) in history.iter().enumerate() {
            // Some events have the same time.
            let request = request(command.clone(), instant(second / 2));
            let Ok(executed) = orders.execute(request, |_, _| ()).await else {
                continue;
            };
            let after = executed.version;
            if crosses(version, after, every) {
                newest = Some(after);
            }
            version = after;
            // Lets the task that keeps snapshots run.
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
        version
    };
    let ((), version) = tokio::join!(keeper, async {
        let version = commands.await;
        token.cancel();
        version
    });
    let versions = (1..=version.get()).map(|past| Until::Version(Version::new(past)));
    let seconds = (0..history.len() / 2).map(|second| Until::Timestamp(instant(second)));
    for until in versions.chain(seconds) {
        let [with, without] = with_and_without(&store, until).await;
        assert_eq!(with, without, "{until:?}, a snapshot every {every}");
    }
}

#[test]
fn every_moment_of_every_history_is_the_same_with_and_without_snapshots() {
    let config = Config {
        cases: 12,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, rng);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();

    runner
        .run(&history(), |history| {
            for every in 1..=7 {
                runtime.block_on(execute_and_compare(&history, every));
            }
            Ok(())
        })
        .unwrap();
}

/// A store with an order of this many events: the creation, then changes of a quantity.
async fn an_order_with(events: i32) -> InMemoryEventStore {
    let store = InMemoryEventStore::default();
    let orders = repository(CountingStore {
        inner: store.clone(),
        ..CountingStore::default()
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
        let request = request(command, instant(usize::try_from(n).unwrap()));
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
    let counting = CountingStore {
        inner: store.clone(),
        ..CountingStore::default()
    };

    let loaded = repository(counting.clone())
        .load(ORDER.get(), Until::Now)
        .await;

    assert_eq!(loaded.unwrap().unwrap().version, Version::new(5000));
    assert_eq!(counting.loads.load(SeqCst), 1);
    let [with, without] = with_and_without(&store, Until::Now).await;
    assert_eq!(with, without);
}
