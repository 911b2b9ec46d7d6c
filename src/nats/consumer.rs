//! One consumer of the stream, which reads the events after a checkpoint. It is ephemeral,
//! acknowledges nothing, and is replaced after every error. When to replace it is for the
//! subscriber to decide.

use std::time::Duration;

use async_nats::jetstream::{
    Message,
    consumer::{
        AckPolicy, DeliverPolicy,
        pull::{Config, MessagesError, Stream as Messages},
    },
};
use futures::{FutureExt, StreamExt};
use tokio::{task::unconstrained, time::timeout};
use tracing::{debug, info, warn};

use super::{
    message, start_sequence,
    stream::{EventStream, StreamState},
    stream_error::StreamError,
    subscriber_error::SubscriberError,
};
use crate::event_sourcing::{Position, error_chain, projection::Delivery};

/// The most messages in one chunk.
const CHUNK_MESSAGES: usize = 1000;

/// A chunk takes no further message once it holds this many bytes.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// The least and the most messages that are requested at once.
const BATCH_MESSAGES: (u64, u64) = (16, 500);

/// How many bytes a batch of average messages may have.
const BATCH_BYTES: u64 = 8 * 1024 * 1024;

/// How often NATS sends a heartbeat while it has no message. After two missed heartbeats the
/// consumer counts as gone. The check of the stream itself notices sooner. It is not shorter
/// because a machine that is busy with large messages may send a heartbeat late.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// How long NATS keeps a consumer that nobody reads.
const INACTIVE_THRESHOLD: Duration = Duration::from_secs(30);

/// The messages that had arrived when the chunk was taken.
pub struct Chunk {
    /// The events, in order.
    pub events: Vec<Delivery>,
    /// Why the consumer cannot be used after these events.
    pub failure: Option<SubscriberError>,
}

/// Whether a consumer without new messages has received all there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryProgress {
    /// It has received every message of the stream.
    CaughtUp,
    /// The stream holds messages that it has not received.
    Behind,
    /// The stream was deleted or created again.
    StreamReplaced,
}

/// One consumer of the stream.
pub struct Consumer {
    stream: EventStream,
    messages: Messages,
    /// When its stream was created.
    stream_created: String,
    /// How many messages it has delivered: they are numbered without gaps.
    delivered: u64,
    /// Every message up to this sequence was received or does not exist.
    seen: u64,
}

impl Consumer {
    /// Creates a consumer that starts with the first event after `checkpoint`. `state` is the
    /// stream's checked state.
    ///
    /// # Errors
    /// NATS does not answer or refuses.
    pub async fn create(
        stream: EventStream,
        state: StreamState,
        checkpoint: Position,
    ) -> Result<Self, StreamError> {
        let start = start_sequence::find(&stream, &state, checkpoint).await?;
        let config = Config {
            deliver_policy: DeliverPolicy::ByStartSequence {
                start_sequence: start,
            },
            ack_policy: AckPolicy::None,
            inactive_threshold: INACTIVE_THRESHOLD,
            memory_storage: true,
            num_replicas: 1,
            ..Config::default()
        };
        let consumer = stream.handle().await?.create_consumer(config).await;
        let consumer = consumer.map_err(|error| stream.unavailable(error))?;
        // Limited by number, not by `max_bytes_per_batch`: client and server count different bytes
        // there, and the client stops requesting (async-nats 0.51).
        let average_bytes = state.bytes.checked_div(state.messages).unwrap_or(0).max(1);
        let batch = (BATCH_BYTES / average_bytes).clamp(BATCH_MESSAGES.0, BATCH_MESSAGES.1);
        let messages = consumer
            .stream()
            .max_messages_per_batch(usize::try_from(batch).unwrap_or(usize::MAX))
            .heartbeat(HEARTBEAT)
            .messages();
        let messages = messages.await.map_err(|error| stream.unavailable(error))?;
        metrics::counter!("orders_projection_consumers_total").increment(1);
        debug!(
            checkpoint = checkpoint.get(),
            sequence = start,
            "consumer created"
        );
        Ok(Self {
            stream,
            messages,
            stream_created: state.created,
            delivered: 0,
            // Deleted messages never arrive. If nothing is pending, there is nothing to wait for.
            seen: if consumer.cached_info().num_pending == 0 {
                state.last_sequence
            } else {
                start.saturating_sub(1)
            },
        })
    }

    /// Waits up to `wait` for a message, and returns it with those that have already arrived.
    /// `None` if no message arrives.
    pub async fn next_chunk(&mut self, wait: Duration) -> Option<Chunk> {
        let mut next = timeout(wait, self.messages.next()).await.ok()?;
        let mut events = Vec::new();
        let mut bytes = 0_usize;
        for taken in 1_usize.. {
            match self.accept(next, &mut bytes) {
                Ok(event) => events.extend(event),
                Err(error) => {
                    let failure = Some(error);
                    return Some(Chunk { events, failure });
                }
            }
            if taken >= CHUNK_MESSAGES || bytes >= CHUNK_BYTES {
                break;
            }
            // Unconstrained: Tokio's task budget would end each chunk after a few hundred messages.
            match unconstrained(self.messages.next()).now_or_never() {
                Some(arrived) => next = arrived,
                None => break,
            }
        }
        Some(Chunk {
            events,
            failure: None,
        })
    }

    /// Reads one message, checks that none was skipped before it, and adds its size to `bytes`.
    /// `None` if it is not an event.
    fn accept(
        &mut self,
        next: Option<Result<Message, MessagesError>>,
        bytes: &mut usize,
    ) -> Result<Option<Delivery>, SubscriberError> {
        let message = next.ok_or(SubscriberError::Ended)?;
        let message = message.map_err(|error| self.stream.unavailable(error))?;
        *bytes = bytes.saturating_add(message.length);
        let delivery = message
            .info()
            .map_err(|error| self.stream.unavailable(error))?;
        let expected = self.delivered.saturating_add(1);
        if delivery.consumer_sequence != expected {
            return Err(SubscriberError::Gap {
                expected,
                found: delivery.consumer_sequence,
            });
        }
        self.delivered = expected;
        self.seen = delivery.stream_sequence;
        match message::decode(message.headers.as_ref(), &message.payload) {
            Ok(event) => Ok(Some(event)),
            Err(error) => {
                metrics::counter!("orders_projection_skipped_total").increment(1);
                warn!(
                    subject = message.subject.as_str(),
                    sequence = delivery.stream_sequence,
                    error = error_chain(&error),
                    "skipped a message that is not an event"
                );
                Ok(None)
            }
        }
    }

    /// Compares what was received with the stream itself.
    ///
    /// # Errors
    /// NATS does not answer.
    pub async fn progress(&self) -> Result<DeliveryProgress, StreamError> {
        let state = self.stream.state().await?;
        let Some(state) = state.filter(|state| state.created == self.stream_created) else {
            info!("the stream was deleted or created again");
            return Ok(DeliveryProgress::StreamReplaced);
        };
        if state.last_sequence == self.seen {
            return Ok(DeliveryProgress::CaughtUp);
        }
        debug!(
            seen = self.seen,
            last = state.last_sequence,
            "messages have not arrived"
        );
        Ok(DeliveryProgress::Behind)
    }
}
