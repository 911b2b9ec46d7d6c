//! The parts that work on the databases: writer, stores and queries, and what they share. The
//! background tasks that use them are started in [`super::tasks`].

use std::sync::Arc;

use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use super::{
    background::BackgroundTasks,
    config::{Config, Servers},
};
use crate::{
    event_sourcing::{
        Pulse, Repository,
        repository::RepositoryOptions,
        snapshot::{self, keep_snapshots},
        upcast::UpcasterChain,
    },
    http::{
        orders::{reads::PositionWatch, sse},
        request::context::new_id,
    },
    live::FreshEvents,
    order::{Order, upcasters::upcasters},
    postgres::{
        self, AppendWatch, PgEventStore, PgSnapshotStore, Writer,
        heartbeat::{self, Heartbeat},
    },
    read_model::{
        HotViews, OrderViews, Projector,
        queries::{custom_plans, generic_plans},
    },
};

/// The parts that work on the databases, and what they share.
pub(super) struct Components {
    pub(super) pool: PgPool,
    /// Who this process is in the table of leases.
    pub(super) holder: Uuid,
    pub(super) views: OrderViews,
    pub(super) store: PgEventStore,
    pub(super) appends: AppendWatch,
    /// The store for live streams, with connections of their own.
    streams: PgEventStore,
    pub(super) upcasters: Arc<UpcasterChain>,
    pub(super) fresh: FreshEvents,
    /// Told how far the read model is, for reads that wait.
    pub(super) watch: PositionWatch,
    /// Whether reads run on a replica, which gets the rows later.
    pub(super) reads_replica: bool,
    /// Notified when a read waits for the read model.
    pub(super) awaited: Arc<Notify>,
    pub(super) hot_views: HotViews,
}

impl Components {
    /// Starts the writer and the heartbeats, and connects the other parts to them.
    ///
    /// # Errors
    /// The URL of the read replica is not valid, or an upcaster is missing.
    pub(super) fn start(
        tasks: &mut BackgroundTasks,
        config: &Config,
        connect: PgConnectOptions,
    ) -> anyhow::Result<Self> {
        let fresh = FreshEvents::default();
        let holder = lease_holder(&config.servers);
        let (writer, handle) = Writer::new(connect.clone(), config.writer.clone(), fresh.clone());
        let appends = writer.appends();
        tasks.spawn("writer", writer.run());
        let pulse = start_heartbeat(tasks, connect.clone(), Some(holder));
        let (read_connect, read_pulse) = match &config.database_read_url {
            Some(url) => {
                let replica = postgres::connect_options(url)?;
                (replica.clone(), start_heartbeat(tasks, replica, None))
            }
            None => (connect.clone(), pulse.clone()),
        };
        let pool = postgres::pool(connect.clone(), config.database_connections);
        let store = PgEventStore::new(pool.clone(), handle, config.writer.key_ttl);
        let store = store.watched_by(pulse);
        let streams = connect.application_name("orders streams");
        // The feed that all live streams share reads beside them.
        let stream_connections = u32::from(sse::READERS) + 1;
        Ok(Self {
            streams: store.read_through(postgres::pool(streams, stream_connections)),
            store,
            views: order_views(read_connect, config.database_connections).watched_by(read_pulse),
            appends,
            pool,
            holder,
            upcasters: Arc::new(upcasters(config.default_currency)?),
            fresh,
            watch: PositionWatch::default(),
            reads_replica: config.database_read_url.is_some(),
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

    /// The write side, with a task that stores its snapshots.
    pub(super) fn repository(
        &self,
        tasks: &mut BackgroundTasks,
        config: &Config,
    ) -> Repository<Order, PgEventStore> {
        let (queue, snapshots) = mpsc::channel(snapshot::QUEUE);
        let store = PgSnapshotStore::new(self.pool.clone());
        tasks.spawn_until_cancelled("snapshot writer", |cancel| {
            keep_snapshots::<Order, _>(snapshots, store, cancel)
        });
        let options = RepositoryOptions {
            cached_aggregates: config.cached_orders,
        };
        Repository::new(self.store.clone(), Arc::clone(&self.upcasters), options)
            .with_snapshots(config.snapshot_every, queue)
    }

    /// The past of orders as live streams read it.
    pub(super) fn streamed(&self) -> Repository<Order, PgEventStore> {
        let options = RepositoryOptions {
            cached_aggregates: 0,
        };
        Repository::new(self.streams.clone(), Arc::clone(&self.upcasters), options)
    }
}

/// The queries on the read model. Single orders and lists have pools of `connections` each.
fn order_views(connect: PgConnectOptions, connections: u32) -> OrderViews {
    let lists = custom_plans(connect.clone());
    OrderViews::new(
        postgres::pool(generic_plans(connect), connections),
        postgres::pool(lists, connections),
    )
}

/// Starts to watch whether a database answers. On the one with the leases, the heartbeat keeps the
/// advisory lock of their holder.
fn start_heartbeat(
    tasks: &mut BackgroundTasks,
    connect: PgConnectOptions,
    holder: Option<Uuid>,
) -> Pulse {
    let (beat, pulse) = Pulse::new();
    let heartbeat = Heartbeat { connect, holder };
    tasks.spawn_and_drop("heartbeat", heartbeat::run(heartbeat, beat));
    pulse
}

/// The name under which this process holds leases. An embedded database serves one process at a
/// time, because its data directory is locked. So its holder always has the same name, and the next
/// process need not wait until the leases of a killed one run out.
fn lease_holder(servers: &Servers) -> Uuid {
    match servers {
        Servers::Embedded(_) => Uuid::from_u128(1),
        Servers::Given { .. } => new_id(),
    }
}
