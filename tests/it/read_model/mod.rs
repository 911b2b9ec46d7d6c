//! The read model on a real database: projecting, listing, rebuilding, verifying.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::similar_names,
    reason = "test helpers may panic; generated numbers are small; `rebuild` and `rebuilt` are the right words"
)]

mod history;
mod listing;
mod poison;
mod projecting;
mod rebuilding;
mod verifying;
mod writers;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use orders::{
    event_sourcing::{
        Epoch, EventStore, Position, RecordedEvent, StoreError, projection::Projection,
    },
    live::FreshEvents,
    order::{OrderId, upcasters::upcasters},
    postgres::{PgEventStore, Writer, pool, writer::WriterOptions},
    read_model::{OrderFold, OrderViews, OrderWithItems, Projector, queries::custom_plans},
};
use sqlx::{PgPool, postgres::PgConnectOptions};
use uuid::Uuid;

use self::history::{TestEvent, eur, histories, store};
use crate::support::servers::fresh_database;

const EPOCH: Epoch = Epoch(1);

/// Applies events that follow one another in the store.
async fn apply(
    projector: &Projector<PgEventStore>,
    events: &[Arc<RecordedEvent>],
    epoch: Epoch,
) -> Result<Position, StoreError> {
    let first = events.first().map_or(1, |event| event.position.get());
    projector
        .apply(Position::new(first - 1), events, epoch)
        .await
}

/// A database with its event store, the projector and the queries on the read model.
struct Fixture {
    pool: PgPool,
    store: PgEventStore,
    projector: Projector<PgEventStore>,
    views: OrderViews,
}

impl Fixture {
    async fn new() -> Self {
        let (options, _) = fresh_database().await;
        Self::connect(custom_plans(options))
    }

    /// A fixture whose store holds generated histories.
    async fn with_histories(seed: u64, orders: usize, events: usize) -> (Self, Vec<TestEvent>) {
        let fixture = Self::new().await;
        let events = histories(seed, orders, events);
        store(&fixture.pool, &events).await;
        (fixture, events)
    }

    fn connect(options: PgConnectOptions) -> Self {
        let pool = pool(options.clone(), 8);
        let (_, writer) = Writer::new(options, WriterOptions::default(), FreshEvents::default());
        let store = PgEventStore::new(pool.clone(), writer, Duration::from_mins(1));
        let chain = Arc::new(upcasters(eur()).unwrap());
        Self {
            projector: Projector::new(pool.clone(), store.clone(), chain),
            views: OrderViews::new(pool.clone(), pool.clone()),
            pool,
            store,
        }
    }

    /// A projector on the same database with connections of its own.
    fn projector_named(&self, name: &str) -> Projector<PgEventStore> {
        let options = self.pool.connect_options().as_ref().clone();
        Self::connect(options.application_name(name)).projector
    }

    /// All events.
    async fn events(&self) -> Vec<Arc<RecordedEvent>> {
        let events = self.store.read_all(Position::ZERO, 1_000_000).await;
        events.unwrap().into_iter().map(Arc::new).collect()
    }

    /// Applies events that follow one another in the store.
    async fn apply(&self, events: &[Arc<RecordedEvent>]) -> Position {
        apply(&self.projector, events, EPOCH).await.unwrap()
    }

    /// All orders of the read model.
    async fn stored_orders(&self) -> BTreeMap<OrderId, OrderWithItems> {
        let ids: Vec<Uuid> = sqlx::query_scalar("select id from order_views")
            .fetch_all(&self.pool)
            .await
            .unwrap();
        let mut orders = BTreeMap::new();
        for id in ids.into_iter().map(OrderId::new) {
            orders.insert(id, self.views.find(id).await.unwrap().order.unwrap());
        }
        let lines: i64 = sqlx::query_scalar("select count(*) from order_items")
            .fetch_one(&self.pool)
            .await
            .unwrap();
        assert_eq!(
            lines,
            orders
                .values()
                .map(|view| view.items.len() as i64)
                .sum::<i64>()
        );
        orders
    }

    /// The orders as they should be: the fold of each order's events, up to one that cannot be applied.
    async fn expected_orders(&self) -> BTreeMap<OrderId, OrderWithItems> {
        let events = self
            .events()
            .await
            .into_iter()
            .map(|event| RecordedEvent::clone(&event));
        fold(events)
    }

    /// The read model holds the fold of all events, and no order is parked.
    async fn assert_complete(&self) {
        assert_eq!(self.stored_orders().await, self.expected_orders().await);
        assert!(self.parked().await.is_empty());
        let last = self.events().await.last().map(|event| event.position);
        assert_eq!(
            self.projector.checkpoint().await.unwrap(),
            last.unwrap_or_default()
        );
    }

    async fn parked(&self) -> Vec<OrderId> {
        let parked = self.projector.parked().await.unwrap();
        parked.into_iter().map(|row| row.order_id).collect()
    }

    async fn run(&self, statements: &'static str) {
        sqlx::raw_sql(statements).execute(&self.pool).await.unwrap();
    }
}

/// Folds events of many orders.
fn fold(events: impl IntoIterator<Item = RecordedEvent>) -> BTreeMap<OrderId, OrderWithItems> {
    let chain = upcasters(eur()).unwrap();
    let mut folds: BTreeMap<OrderId, (OrderFold, bool)> = BTreeMap::new();
    for event in events
        .into_iter()
        .filter(|event| event.aggregate_type == "Order")
    {
        let id = OrderId::new(event.aggregate_id);
        let (fold, is_parked) = folds
            .entry(id)
            .or_insert_with(|| (OrderFold::absent(id), false));
        let (version, position, at) = (event.version, event.position, event.occurred_at);
        let decoded = chain.decode(event);
        *is_parked = *is_parked
            || decoded.is_err()
            || fold
                .apply(&decoded.unwrap(), version, position, at)
                .is_err();
    }
    let views = folds.into_iter().filter_map(|(id, (fold, _))| {
        let items = fold.items().into_iter().cloned().collect();
        fold.row()
            .cloned()
            .map(|order| (id, OrderWithItems { order, items }))
    });
    views.collect()
}
