//! What the relay needs besides store, stream and lease.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;

use super::{failure_log::Alarm, relay_report::WriteReport};
use crate::{
    event_sourcing::{Position, RecordedEvent, StoreError, StoreIdentity},
    live::FreshEvents,
};

/// Lifts an event to today's schema version; an event that cannot be lifted is returned unchanged.
pub type Lift = Arc<dyn Fn(Arc<RecordedEvent>) -> Arc<RecordedEvent> + Send + Sync>;

/// Reads the position of the last report: the stream has held every event up to there.
pub type ReadPublished =
    Arc<dyn Fn() -> BoxFuture<'static, Result<Position, StoreError>> + Send + Sync>;

/// What the relay needs besides store, stream and lease.
#[derive(Clone)]
pub struct RelayPorts {
    /// Lifts events before they are published.
    pub lift: Lift,
    /// Makes the link to an event's history entry, for events that are too large for NATS.
    pub href: fn(&RecordedEvent) -> String,
    /// The position of the last report. A purged stream is filled from there on.
    pub published: ReadPublished,
    /// Writes what the steps have led to.
    pub report: WriteReport,
    /// The id of the store.
    pub identity: Arc<dyn StoreIdentity>,
    /// Set while an operator has to act.
    pub alarm: Alarm,
    /// Events that this process has just appended: they wake the relay and are published without
    /// being read from the store.
    pub fresh: FreshEvents,
    /// How long the lease lasts.
    pub lease_ttl: Duration,
}
