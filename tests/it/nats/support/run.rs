//! Makes relays and subscribers, and runs them.

use std::{sync::Arc, time::Duration};

use orders::{
    event_sourcing::Position,
    live::FreshEvents,
    nats::{Alarm, EventStream, Relay, RelayPorts, Subscriber, SubscriberPorts},
};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{
    projection::RecordingProjection,
    store::{FixedIdentity, FixedLease, TestStore},
    wait::eventually,
};

/// How long a lease lasts in these tests.
pub const TTL: Duration = Duration::from_millis(900);

/// A task that runs until the test stops it.
pub struct RunningTask(CancellationToken, JoinHandle<()>);

impl RunningTask {
    pub async fn stop(self) {
        self.0.cancel();
        self.1.await.unwrap();
    }
}

/// Ports of a relay whose last report said `published`.
pub fn ports(published: Position) -> RelayPorts {
    RelayPorts {
        lift: Arc::new(|event| event),
        href: |event| format!("/events/{}", event.position),
        published: Arc::new(move || Box::pin(async move { Ok(published) })),
        report: Arc::new(|_, _| Box::pin(async { Ok(true) })),
        identity: Arc::new(FixedIdentity::default_store()),
        alarm: Alarm::default(),
        fresh: FreshEvents::default(),
        lease_ttl: TTL,
    }
}

pub fn relay(
    stream: EventStream,
    store: &TestStore,
    published: Position,
) -> Relay<TestStore, FixedLease> {
    let ports = ports(published);
    Relay::new(stream, store.clone(), FixedLease::held(), ports)
}

/// Runs a relay that has reported nothing yet.
pub fn run_relay(stream: EventStream, store: &TestStore) -> RunningTask {
    run(relay(stream, store, Position::ZERO))
}

/// Runs a relay as a task.
pub fn run(relay: Relay<TestStore, FixedLease>) -> RunningTask {
    let cancel = CancellationToken::new();
    RunningTask(cancel.clone(), tokio::spawn(relay.run(cancel)))
}

/// A subscriber that holds `lease`.
pub fn subscriber(
    stream: EventStream,
    projection: &RecordingProjection,
    lease: FixedLease,
) -> Subscriber<TestStore, RecordingProjection, FixedLease> {
    let ports = SubscriberPorts {
        store: projection.store().clone(),
        fresh: FreshEvents::default(),
        awaited: Arc::default(),
        alarm: Alarm::default(),
        lease_ttl: TTL,
    };
    Subscriber::new(stream, projection.clone(), lease, ports)
}

pub fn run_subscriber(stream: EventStream, projection: &RecordingProjection) -> RunningTask {
    let subscriber = subscriber(stream, projection, FixedLease::held());
    let cancel = CancellationToken::new();
    RunningTask(cancel.clone(), tokio::spawn(subscriber.run(cancel)))
}

/// Runs steps of the relay until one publishes nothing.
pub async fn drain(relay: &mut Relay<TestStore, FixedLease>) {
    eventually("the relay has published everything", async || {
        matches!(relay.run_once().await, Ok(0))
    })
    .await;
}
