//! NATS `JetStream`: the stream of all events, the relay that fills it, and the subscriber that
//! feeds a projection from it. Generic over aggregates. What a projection does with events does not
//! belong here, and no SQL.
//!
//! The event store is the source of truth and NATS only delivers: what NATS loses costs latency.
//!
//! Reading order: [`message`] (an event as a message) → [`stream`] (where messages are kept),
//! [`stream_config`] and [`owner`] → [`tail`], [`ownership`], [`lifecycle`], [`window`] and
//! [`relay`] (store to stream) → [`bell`] and [`subscriber`] (store to projection, when the stream
//! rings). [`connection`], [`lease_keeper`], [`relay_report`] and [`failure_log`] support them.
//!
//! Guarantees:
//! - The stream holds each event once, in position order, whatever is killed when. Its last message
//!   is the relay's cursor. Each publication names the sequence that it expects before it, so a
//!   second relay, a late packet or a repeated packet changes nothing.
//! - A stream of another store is not written. This store's stream from before a restore is deleted
//!   and created again.
//! - A projection receives each event at least once and in order, from the store; its own checkpoint
//!   decides which events are new. Messages only say when to look, so none of them can harm it.

pub mod bell;
pub mod connection;
pub mod failure_log;
pub mod lease_keeper;
pub mod lifecycle;
pub mod message;
pub mod options;
pub mod owner;
pub mod ownership;
pub mod relay;
pub mod relay_error;
pub mod relay_ports;
pub mod relay_report;
pub mod stream;
pub mod stream_config;
pub mod stream_error;
pub mod subscriber;
pub mod tail;
pub mod window;

pub use connection::{ConnectError, close, connect, connect_options, is_connected};
pub use failure_log::Alarm;
pub use options::NatsOptions;
pub use relay::Relay;
pub use relay_error::RelayError;
pub use relay_ports::RelayPorts;
pub use relay_report::RelayReport;
pub use stream::EventStream;
pub use stream_error::StreamError;
pub use subscriber::{Subscriber, SubscriberPorts};
