//! The bell: listens to the stream for one thing only, that there may be new events.
//!
//! A message is read for the position in its header, and its body is not even requested. The position
//! is a hint and never believed: the subscriber reads the store. So a forged, repeated, late or lost
//! message costs a look at the store, or a quarter of a second.

use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull::OrderedConfig};
use futures::StreamExt;
use tokio::{sync::watch, time::sleep};

use super::{
    failure_log::{FailureLog, Severity},
    message,
    stream::EventStream,
    stream_error::StreamError,
};
use crate::event_sourcing::Position;

/// How long to wait before a consumer that has failed is made again.
const RETRY: Duration = Duration::from_secs(1);

/// Listens to the stream.
#[derive(Debug)]
pub struct Bell {
    stream: EventStream,
    rung: watch::Sender<Position>,
}

impl Bell {
    /// A bell on `stream`, and what it rings.
    #[must_use]
    pub fn new(stream: EventStream) -> (Self, watch::Receiver<Position>) {
        let (rung, heard) = watch::channel(Position::ZERO);
        (Self { stream, rung }, heard)
    }

    /// Listens for as long as it is polled. NATS may be away: it is tried again.
    pub async fn listen(&self) {
        let mut failures = FailureLog::new("bell");
        loop {
            match self.listen_once(&mut failures).await {
                // The consumer is gone, with its stream or its server.
                Ok(()) => sleep(RETRY).await,
                Err(error) => {
                    let pause = failures.record_failure(&error, Severity::Warning);
                    sleep(pause).await;
                }
            }
        }
    }

    /// Listens to one consumer until it ends.
    async fn listen_once(&self, failures: &mut FailureLog) -> Result<(), StreamError> {
        let config = OrderedConfig {
            deliver_policy: DeliverPolicy::New,
            headers_only: true,
            ..OrderedConfig::default()
        };
        let stream = self.stream.handle().await?;
        let consumer = stream.create_consumer(config).await;
        let consumer = consumer.map_err(|error| self.stream.unavailable(error))?;
        let messages = consumer.messages().await;
        let mut messages = messages.map_err(|error| self.stream.unavailable(error))?;
        failures.record_success();
        // Events may have come before it listened.
        self.rung.send_replace(Position::new(i64::MAX));
        while let Some(message) = messages.next().await {
            let message = message.map_err(|error| self.stream.unavailable(error))?;
            let headers = message.headers.as_ref();
            if let Some(position) = headers.and_then(message::position) {
                self.rung.send_replace(position);
            }
        }
        Ok(())
    }
}
