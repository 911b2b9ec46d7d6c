//! The background tasks: relay, projector, heartbeat, and the expiry of idempotency keys.

use std::{future::Future, sync::Arc, time::Duration};

use sqlx::{PgPool, postgres::PgConnectOptions};
use tokio::{sync::Notify, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use super::{LEASE_TTL, parts::Parts};
use crate::{
    event_sourcing::{
        Epoch, Position, Pulse, StoreError, StoreIdentity,
        projection::{Delivery, Projection},
    },
    nats::{Alarm, EventStream, Relay, RelayPorts, Subscriber, provenance::Provenance},
    order::upcasters::lift_where_possible,
    postgres::{PgLease, PgStoreIdentity, heartbeat, idempotency},
    read_model::{InvalidatingLease, InvalidatingProjection},
};

/// How often idempotency keys that have run out are looked for.
const EXPIRY_PAUSE: Duration = Duration::from_secs(30);

/// A projection that tells waiting reads when it has moved on.
struct Announced<P> {
    projection: P,
    projected: Arc<Notify>,
}

impl<P: Projection> Projection for Announced<P> {
    async fn checkpoint(&self) -> Result<Position, StoreError> {
        self.projection.checkpoint().await
    }

    async fn apply(&self, deliveries: Vec<Delivery>, epoch: Epoch) -> Result<Position, StoreError> {
        let position = self.projection.apply(deliveries, epoch).await?;
        self.projected.notify_waiters();
        Ok(position)
    }
}

pub(super) fn spawn_relay_and_projector(
    tasks: &mut JoinSet<&'static str>,
    parts: &Parts,
    stream: EventStream,
    holder: Uuid,
    alarm: Alarm,
    cancel: &CancellationToken,
) -> Vec<PgLease> {
    let lease = |name| PgLease::new(parts.pool.clone(), name, holder, LEASE_TTL);
    let (relay_lease, projector_lease) = (lease("relay"), lease("projector"));
    let leases = vec![relay_lease.clone(), projector_lease.clone()];

    let identity: Arc<dyn StoreIdentity> =
        Arc::new(PgStoreIdentity::new(parts.pool.clone(), "relay"));
    let provenance = Provenance {
        stream: stream.clone(),
        store: parts.store.clone(),
        identity: Arc::clone(&identity),
    };
    let (upcasters, checkpoint) = (Arc::clone(&parts.upcasters), Arc::new(parts.projector()));
    let relay_ports = RelayPorts {
        lift: Arc::new(move |event| lift_where_possible(&upcasters, event)),
        checkpoint: Arc::new(move || {
            let projector = Arc::clone(&checkpoint);
            Box::pin(async move { projector.checkpoint().await })
        }),
        identity,
        alarm,
        fresh: parts.fresh.clone(),
        awaited: Arc::clone(&parts.awaited),
        lease_ttl: LEASE_TTL,
    };
    let relay = Relay::new(
        stream.clone(),
        parts.store.clone(),
        relay_lease,
        relay_ports,
    );
    spawn_until(tasks, "relay", cancel, |token| relay.run(token));

    let projected = Arc::clone(&parts.projected);
    let projection = Announced {
        projection: InvalidatingProjection::new(parts.projector(), parts.hot_views.clone()),
        projected,
    };
    let lease = InvalidatingLease::new(projector_lease, LEASE_TTL, parts.hot_views.clone());
    let vouch = provenance.vouch();
    let subscriber = Subscriber::new(stream, vouch, projection, lease, LEASE_TTL);
    spawn_until(tasks, "subscriber", cancel, |token| subscriber.run(token));
    leases
}

/// Runs a loop that ends when its token says so.
pub(super) fn spawn_until<F: Future<Output = ()> + Send + 'static>(
    tasks: &mut JoinSet<&'static str>,
    name: &'static str,
    cancel: &CancellationToken,
    run: impl FnOnce(CancellationToken) -> F,
) {
    let running = run(cancel.clone());
    tasks.spawn(async move {
        running.await;
        name
    });
}

/// Watches a database from now on.
pub(super) fn spawn_heartbeat(
    tasks: &mut JoinSet<&'static str>,
    connect: PgConnectOptions,
    cancel: &CancellationToken,
) -> Pulse {
    let (beat, pulse) = Pulse::new();
    let cancel = cancel.clone();
    tasks.spawn(async move {
        cancel
            .run_until_cancelled(heartbeat::run(connect, beat))
            .await;
        "heartbeat"
    });
    pulse
}

pub(super) fn spawn_expiry(
    tasks: &mut JoinSet<&'static str>,
    pool: PgPool,
    ttl: Duration,
    cancel: &CancellationToken,
) {
    let cancel = cancel.clone();
    tasks.spawn(async move {
        let clearing = async {
            loop {
                match idempotency::clear_expired(&pool, ttl).await {
                    // A full batch: there may be more.
                    Ok(cleared) if cleared > 0 => continue,
                    Ok(_) => {}
                    Err(error) => {
                        warn!(error = &error as &dyn std::error::Error, "keys not cleared");
                    }
                }
                sleep(EXPIRY_PAUSE).await;
            }
        };
        cancel
            .run_until_cancelled(clearing)
            .await
            .unwrap_or("key expiry")
    });
}
