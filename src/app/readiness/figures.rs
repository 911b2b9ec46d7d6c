//! What the observer sees of the parts, in numbers.

use std::time::Duration;

use super::lag::Lag;
use crate::event_sourcing::Position;

/// What one look has found.
#[derive(Debug, Clone)]
pub(super) struct Figures {
    /// The store, or why it cannot be read.
    pub(super) store: Result<Store, &'static str>,
    /// The read model, or why it cannot be read.
    pub(super) read_model: Result<ReadModel, &'static str>,
    /// Why appends fail, and how long they have.
    pub(super) append_failure: Option<(&'static str, Duration)>,
    /// Whether this process is connected to NATS.
    pub(super) is_nats_connected: bool,
    /// Why this process cannot project.
    pub(super) projector_alarm: Option<String>,
}

/// What the store says.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) newest: Position,
    pub(super) is_standby: bool,
    pub(super) is_read_only: bool,
    pub(super) relay: Relay,
    /// How long ago the projector's lease ran out; zero while it is held.
    pub(super) projector_lease_expired_for: Duration,
}

/// What the store says about the relay.
#[derive(Debug, Clone)]
pub(super) struct Relay {
    pub(super) position: Position,
    pub(super) lag: Lag,
    /// How long its steps have failed, and why.
    pub(super) failure: Option<(Duration, String)>,
    /// How long ago its lease ran out; zero while it is held.
    pub(super) lease_expired_for: Duration,
}

/// What the read model says.
#[derive(Debug, Clone)]
pub(super) struct ReadModel {
    pub(super) position: Position,
    pub(super) lag: Lag,
    pub(super) parked: u64,
}
