//! What the relay needs besides store, stream and lease.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::sync::Notify;

use super::failure_log::Alarm;
use crate::{
    event_sourcing::{Position, RecordedEvent, StoreError, StoreIdentity},
    live::FreshEvents,
};

/// Lifts an event to today's schema version; an event that cannot be lifted is returned unchanged.
pub type Lift = Arc<dyn Fn(RecordedEvent) -> RecordedEvent + Send + Sync>;

/// Reads the position up to which the read model has applied the events.
pub type ReadCheckpoint =
    Arc<dyn Fn() -> BoxFuture<'static, Result<Position, StoreError>> + Send + Sync>;

/// What the relay needs besides store, stream and lease.
#[derive(Clone)]
pub struct RelayPorts {
    /// Lifts events before they are published.
    pub lift: Lift,
    /// The read model's checkpoint. A purged stream is filled from there on.
    pub checkpoint: ReadCheckpoint,
    /// The id of the store.
    pub identity: Arc<dyn StoreIdentity>,
    /// Set while an operator has to act.
    pub alarm: Alarm,
    /// Events that this process has just appended: they wake the relay and are published without
    /// being read from the store.
    pub fresh: FreshEvents,
    /// Notified when a read waits for events that are still to be published.
    pub awaited: Arc<Notify>,
    /// How long the lease lasts.
    pub lease_ttl: Duration,
}
