//! The read model against a database: projecting, listing, rebuilding, verifying.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::similar_names,
    reason = "helpers of tests are tests; made-up numbers are small; a rebuild was rebuilt"
)]

mod history;
mod listing;
mod projecting;
mod rebuilding;
mod verifying;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use orders::{
    event_sourcing::{
        Epoch, EventStore, Position, RecordedEvent,
        projection::{Delivery, Projection},
    },
    live::FreshEvents,
    order::upcasters::upcasters,
    postgres::{PgEventStore, Writer, pool, writer::WriterOptions},
    read_model::{OrderFold, OrderViews, OrderWithItems, Projector, queries::fitting_plans},
};
use sqlx::{PgPool, postgres::PgConnectOptions};
use uuid::Uuid;

use self::history::eur;
use crate::support::servers::fresh_database;

const EPOCH: Epoch = Epoch(1);

/// A database with the store that reads it, the projector that keeps it and the queries on it.
struct World {
    pool: PgPool,
    store: PgEventStore,
    projector: Projector<PgEventStore>,
    views: OrderViews,
}

impl World {
    async fn new() -> Self {
        let (options, _) = fresh_database().await;
        Self::on(fitting_plans(options))
    }

    fn on(options: PgConnectOptions) -> Self {
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

    /// A projector of the same database on connections of its own.
    fn on_pool_named(&self, name: &str) -> Projector<PgEventStore> {
        let options = self.pool.connect_options().as_ref().clone();
        Self::on(options.application_name(name)).projector
    }

    /// All events, each with the position of the one before it.
    async fn deliveries(&self) -> Vec<Delivery> {
        let mut previous = Position::ZERO;
        let events = self
            .store
            .read_all(Position::ZERO, 1_000_000)
            .await
            .unwrap();
        let deliveries = events.into_iter().map(|event| {
            let delivery = Delivery { previous, event };
            previous = delivery.event.position;
            delivery
        });
        deliveries.collect()
    }

    async fn apply(&self, deliveries: &[Delivery]) -> Position {
        self.projector
            .apply(deliveries.to_vec(), EPOCH)
            .await
            .unwrap()
    }

    /// What the read model shows of every order.
    async fn shown(&self) -> BTreeMap<Uuid, OrderWithItems> {
        let ids: Vec<Uuid> = sqlx::query_scalar("select id from order_views")
            .fetch_all(&self.pool)
            .await
            .unwrap();
        let mut shown = BTreeMap::new();
        for id in ids {
            shown.insert(id, self.views.find(id.into()).await.unwrap().order.unwrap());
        }
        let lines: i64 = sqlx::query_scalar("select count(*) from order_items")
            .fetch_one(&self.pool)
            .await
            .unwrap();
        assert_eq!(
            lines,
            shown
                .values()
                .map(|view| view.items.len() as i64)
                .sum::<i64>()
        );
        shown
    }

    /// What it should show: each order's events folded, up to one that does not fit.
    async fn folded(&self) -> BTreeMap<Uuid, OrderWithItems> {
        let events = self
            .deliveries()
            .await
            .into_iter()
            .map(|delivery| delivery.event);
        fold(events)
    }

    async fn assert_caught_up(&self) {
        assert_eq!(self.shown().await, self.folded().await);
        assert!(self.parked().await.is_empty());
        let last = self
            .deliveries()
            .await
            .last()
            .map(|delivery| delivery.event.position);
        assert_eq!(
            self.projector.checkpoint().await.unwrap(),
            last.unwrap_or_default()
        );
    }

    async fn parked(&self) -> Vec<Uuid> {
        let parked = self.projector.parked().await.unwrap();
        parked.into_iter().map(|row| row.order_id.get()).collect()
    }

    async fn run(&self, statements: &'static str) {
        sqlx::raw_sql(statements).execute(&self.pool).await.unwrap();
    }
}

/// Folds events of many orders.
fn fold(events: impl IntoIterator<Item = RecordedEvent>) -> BTreeMap<Uuid, OrderWithItems> {
    let chain = upcasters(eur()).unwrap();
    let mut folds: BTreeMap<Uuid, (OrderFold, bool)> = BTreeMap::new();
    for event in events
        .into_iter()
        .filter(|event| event.aggregate_type == "Order")
    {
        let id = event.aggregate_id;
        let (fold, is_parked) = folds
            .entry(id)
            .or_insert_with(|| (OrderFold::absent(id.into()), false));
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
