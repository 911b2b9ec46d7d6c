//! A NATS server for one test, and small implementations of what relay and subscriber need.

pub mod decode;
pub mod projection;
pub mod run;
pub mod server;
pub mod store;
pub mod wait;

use async_nats::jetstream::message::StreamMessage;
use orders::nats::{EventStream, message::identify};

pub use decode::decode;
pub use projection::RecordingProjection;
pub use run::{TTL, drain, ports, relay, run, run_relay, run_subscriber, subscriber};
pub use server::NatsServer;
pub use store::{FixedIdentity, FixedLease, TestStore};
pub use wait::eventually;

/// All messages of the stream, in order; none if the stream cannot be read.
pub async fn messages(stream: &EventStream) -> Vec<StreamMessage> {
    let mut messages = Vec::new();
    let mut next = 1;
    while let Ok(Some(message)) = stream.first_from(next).await {
        next = message.sequence + 1;
        messages.push(message);
    }
    messages
}

/// The positions of the stream's events, in order.
pub async fn published(stream: &EventStream) -> Vec<i64> {
    let messages = messages(stream).await;
    let events = messages.iter().filter_map(|m| identify(&m.headers).ok());
    events.map(|(position, _)| position.get()).collect()
}

/// Waits until the stream's last event is the store's, and checks that both hold the same events.
pub async fn filled(stream: &EventStream, store: &TestStore) {
    let last = store.positions().last().copied();
    eventually("the stream is filled", async || {
        let message = stream.last().await.ok().flatten();
        message
            .and_then(|message| identify(&message.headers).ok())
            .map(|(position, _)| position.get())
            == last
    })
    .await;
    assert_eq!(published(stream).await, store.positions());
}
