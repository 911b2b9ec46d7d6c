//! NATS `JetStream`: the stream of all events, the relay that fills it and the subscriber that
//! feeds a projection from it; generic over aggregates.
//!
//! The event store is the truth and NATS the doorbell: whatever NATS loses only costs latency.
//! Reading order: [`message`] (an event on the wire) → [`stream`] (where they are kept), its
//! [`shape`] and its [`owner`] → [`tail`], [`provenance`], [`lifecycle`], [`window`] and [`relay`]
//! (store → stream) → [`start`] and [`subscriber`] (stream → projection); [`connection`],
//! [`lease_keeper`] and [`failure_log`] serve them.
//!
//! What the two tasks guarantee:
//! - The stream holds each event once, in position order, whatever is killed when. Its last message
//!   is the relay's only cursor, and each publication names the sequence it expects before it, so
//!   that a second relay, a late packet or a repeated one changes nothing.
//! - A stream of another store is neither written nor read; one from before a restore is made anew.
//! - A projection sees each event at least once and in order; its own checkpoint decides what is
//!   new. Each message names the position of the event before it, so that the projection sees a
//!   lost message and reads it from the store.

pub mod connection;
pub mod failure_log;
pub mod lease_keeper;
pub mod lifecycle;
pub mod message;
pub mod owner;
pub mod provenance;
pub mod relay;
pub mod relay_error;
pub mod shape;
pub mod start;
pub mod stream;
pub mod stream_error;
pub mod subscriber;
pub mod tail;
pub mod window;

pub use connection::{ConnectError, close, connect, is_connected};
pub use failure_log::Alarm;
pub use relay::{Relay, RelayError, RelayPorts};
pub use stream::{EventStream, StreamError};
pub use subscriber::{Subscriber, SubscriberError};

/// Where NATS is and what our stream there is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsOptions {
    /// One or more server addresses, separated by commas; user and password may be part of them.
    pub url: String,
    /// The stream's name.
    pub stream: String,
    /// What every subject begins with.
    pub subject_prefix: String,
    /// How many servers of a cluster keep a copy of each message.
    pub replicas: usize,
}

impl NatsOptions {
    /// The defaults (stream `EVENTS`, subjects `events.>`, one copy) for the servers at `url`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            stream: "EVENTS".to_owned(),
            subject_prefix: "events".to_owned(),
            replicas: 1,
        }
    }

    /// The wildcard that covers every subject of the stream.
    #[must_use]
    pub fn subjects(&self) -> String {
        format!("{}.>", self.subject_prefix)
    }
}
