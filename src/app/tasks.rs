//! The background tasks of the service: relay, subscriber, self-check and the expiry of idempotency
//! keys. The heartbeats, the writer and the snapshot writer start with the components they serve.

use std::{sync::Arc, time::Duration};

use uuid::Uuid;

use super::{background::BackgroundTasks, components::Components, config::Config, key_expiry};
use crate::{
    event_sourcing::{Epoch, Position, RecordedEvent, StoreError, projection::Projection},
    http::orders::{history_entry_path, reads::PositionWatch},
    nats::{
        Alarm, EventStream, Relay, RelayPorts, RelayReport, Subscriber, SubscriberPorts,
        ownership::StreamOwnership,
    },
    order::upcasters::lift_shared,
    postgres::{PgEventStore, PgLease, PgStoreIdentity, condition::RelayReports, idempotency},
    read_model::{
        InvalidatingLease, InvalidatingProjection,
        self_check::{self, SelfCheck},
    },
};

/// How long a process may be silent before another one takes over its relay and subscriber.
const LEASE_TTL: Duration = Duration::from_secs(5);

/// A projection that tells waiting reads when its checkpoint has moved.
struct ReportingProjection<P> {
    projection: P,
    /// `None` if the reads run on a replica: it gets the rows later.
    watch: Option<PositionWatch>,
}

impl<P> ReportingProjection<P> {
    fn report(&self, position: Position) {
        if let Some(watch) = &self.watch {
            watch.projected(position);
        }
    }
}

impl<P: Projection> Projection for ReportingProjection<P> {
    async fn checkpoint(&self) -> Result<Position, StoreError> {
        self.projection.checkpoint().await
    }

    async fn apply(
        &self,
        after: Position,
        events: &[Arc<RecordedEvent>],
        epoch: Epoch,
    ) -> Result<Position, StoreError> {
        let position = self.projection.apply(after, events, epoch).await?;
        self.report(position);
        Ok(position)
    }

    async fn rebuild(&self) -> Result<Position, StoreError> {
        let position = self.projection.rebuild().await?;
        self.report(position);
        Ok(position)
    }
}

/// Starts the background tasks. The relay sets `alarm` while an operator has to act.
pub(super) fn start(
    tasks: &mut BackgroundTasks,
    config: &Config,
    components: &Components,
    stream: EventStream,
    alarm: Alarm,
) {
    let holder = components.holder;
    let ownership = StreamOwnership {
        stream,
        store: components.store.clone(),
        identity: Arc::new(PgStoreIdentity::new(components.pool.clone(), "relay")),
    };
    let stream = ownership.stream.clone();
    start_relay(tasks, components, ownership, alarm.clone(), holder);
    start_subscriber(tasks, components, stream, alarm, holder);
    if config.verify_per_second > 0 {
        let pool = components.pool.clone();
        let lease = PgLease::new(pool, self_check::LEASE, holder, self_check::LEASE_TTL);
        tasks.release_at_stop(lease.clone());
        let check = SelfCheck::new(components.projector(), lease, config.verify_per_second);
        tasks.spawn_until_cancelled("self-check", |cancel| check.run(cancel));
    }
    let (pool, ttl) = (components.pool.clone(), config.writer.key_ttl);
    let expiry = key_expiry::run(move || {
        let pool = pool.clone();
        async move { idempotency::clear_expired(&pool, ttl).await }
    });
    tasks.spawn_and_drop("key expiry", expiry);
}

fn start_relay(
    tasks: &mut BackgroundTasks,
    components: &Components,
    ownership: StreamOwnership<PgEventStore>,
    alarm: Alarm,
    holder: Uuid,
) {
    let lease = PgLease::new(components.pool.clone(), "relay", holder, LEASE_TTL);
    tasks.release_at_stop(lease.clone());
    let reports = RelayReports {
        pool: components.pool.clone(),
        lease: "relay",
        holder,
    };
    let upcasters = Arc::clone(&components.upcasters);
    let read = reports.clone();
    let ports = RelayPorts {
        lift: Arc::new(move |event| lift_shared(&upcasters, event)),
        href: |event| history_entry_path(event.aggregate_id, event.version),
        published: Arc::new(move || {
            let reports = read.clone();
            Box::pin(async move { reports.position().await })
        }),
        report: Arc::new(move |RelayReport { position, failure }, failing_for| {
            let reports = reports.clone();
            let failure = failure.map(|text| (failing_for, text));
            Box::pin(async move { reports.write(position, failure).await })
        }),
        identity: ownership.identity,
        alarm,
        fresh: components.fresh.clone(),
        lease_ttl: LEASE_TTL,
    };
    let relay = Relay::new(ownership.stream, ownership.store, lease, ports);
    tasks.spawn_until_cancelled("relay", |cancel| relay.run(cancel));
}

fn start_subscriber(
    tasks: &mut BackgroundTasks,
    components: &Components,
    stream: EventStream,
    alarm: Alarm,
    holder: Uuid,
) {
    let lease = PgLease::new(components.pool.clone(), "projector", holder, LEASE_TTL);
    tasks.release_at_stop(lease.clone());
    let projection = ReportingProjection {
        projection: InvalidatingProjection::new(
            components.projector(),
            components.hot_views.clone(),
        ),
        watch: (!components.reads_replica).then(|| components.watch.clone()),
    };
    let ports = SubscriberPorts {
        store: components.store.clone(),
        fresh: components.fresh.clone(),
        awaited: Arc::clone(&components.awaited),
        alarm,
        lease_ttl: LEASE_TTL,
    };
    let lease = InvalidatingLease::new(lease, LEASE_TTL, components.hot_views.clone());
    let subscriber = Subscriber::new(stream, projection, lease, ports);
    tasks.spawn_until_cancelled("subscriber", |cancel| subscriber.run(cancel));
}
