//! What stands on the databases: the writer, the stores, the queries, and what they share.

use std::sync::Arc;

use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::tasks::spawn_heartbeat;
use crate::{
    event_sourcing::{
        Repository,
        repository::RepositoryOptions,
        snapshot::{self, keep_snapshots},
        upcast::UpcasterChain,
    },
    live::FreshEvents,
    order::{Order, upcasters::upcasters},
    postgres::{self, PgEventStore, PgSnapshotStore, Writer},
    read_model::{
        HotViews, OrderViews, Projector,
        queries::{custom_plans, generic_plans},
    },
};

/// What the parts share.
pub(super) struct Parts {
    pub(super) pool: PgPool,
    pub(super) views: OrderViews,
    pub(super) store: PgEventStore,
    pub(super) upcasters: Arc<UpcasterChain>,
    pub(super) fresh: FreshEvents,
    pub(super) projected: Arc<Notify>,
    /// Notified whenever a read waits for the read model.
    pub(super) awaited: Arc<Notify>,
    pub(super) hot_views: HotViews,
}

impl Parts {
    /// Starts the writer and what watches the databases, and makes the rest on top of them.
    pub(super) fn start(
        config: &Config,
        connect: PgConnectOptions,
        tasks: &mut JoinSet<&'static str>,
        cancel: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let fresh = FreshEvents::default();
        let (writer, handle) = Writer::new(connect.clone(), config.writer.clone(), fresh.clone());
        tasks.spawn(async move {
            writer.run().await;
            "writer"
        });
        let pulse = spawn_heartbeat(tasks, connect.clone(), cancel);
        let (read_connect, read_pulse) = match &config.database_read_url {
            Some(url) => {
                let replica = postgres::connect_options(url)?;
                (replica.clone(), spawn_heartbeat(tasks, replica, cancel))
            }
            None => (connect.clone(), pulse.clone()),
        };
        let pool = postgres::pool(connect, config.database_connections);
        let store = PgEventStore::new(pool.clone(), handle, config.writer.key_ttl);
        Ok(Self {
            store: store.watched_by(pulse),
            views: order_views(read_connect, config.database_connections).watched_by(read_pulse),
            pool,
            upcasters: Arc::new(upcasters(config.default_currency)?),
            fresh,
            projected: Arc::default(),
            awaited: Arc::default(),
            hot_views: HotViews::default(),
        })
    }

    pub(super) fn projector(&self) -> Projector<PgEventStore> {
        Projector::new(
            self.pool.clone(),
            self.store.clone(),
            Arc::clone(&self.upcasters),
        )
    }
}

/// The queries on the read model, on pools of so many connections each.
fn order_views(connect: PgConnectOptions, connections: u32) -> OrderViews {
    let lists = custom_plans(connect.clone());
    OrderViews::new(
        postgres::pool(generic_plans(connect), connections),
        postgres::pool(lists, connections),
    )
}

/// The write side, with its snapshots.
pub(super) fn repository(
    config: &Config,
    parts: &Parts,
    tasks: &mut JoinSet<&'static str>,
    cancel: &CancellationToken,
) -> Repository<Order, PgEventStore> {
    let (queue, snapshots) = mpsc::channel(snapshot::QUEUE);
    let (store, token) = (PgSnapshotStore::new(parts.pool.clone()), cancel.clone());
    tasks.spawn(async move {
        keep_snapshots::<Order, _>(snapshots, store, token).await;
        "snapshot writer"
    });
    let options = RepositoryOptions {
        cached_aggregates: config.cached_orders,
    };
    Repository::new(parts.store.clone(), Arc::clone(&parts.upcasters), options)
        .with_snapshots(config.snapshot_every, queue)
}
