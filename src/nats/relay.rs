//! The relay: publishes every event of the store to the stream, once and in order.
//!
//! **Cursor.** The relay keeps none of its own: the stream's last message says where to go on (see
//! [`super::tail`]), and the store must know that very event at that position. Where it does not,
//! stream and store have nothing to do with one another (a restored backup, another database): the
//! relay stops loudly and looks again, for publishing could only make it worse.
//!
//! **Fence.** Each message names the sequence that it expects at the stream's end, so of two relays
//! one is refused, and a message that is late, repeated or overtaken is refused as well. The lease
//! only keeps two relays from disturbing one another.
//!
//! **Windows.** Messages are sent without waiting for one another and then all acknowledgements are
//! awaited. The first bad one drops the window, and the next step starts from the stream's end
//! again. The sequence alone would not keep the rest of such a window out: behind three foreign
//! messages the first three events are refused, and the fourth finds the sequence that it expects.
//! So each message after the first also names the message that must stand directly before it, by an
//! id (`Nats-Msg-Id`) that no other window shares.
//!
//! **Idle.** Once a second the end of the stream is compared with what it should be, so that a
//! purged, recreated or shortened stream is filled again without a new event.

use std::{sync::Arc, time::Duration};

use async_nats::jetstream::{
    context::{PublishAckFuture, PublishError, PublishErrorKind},
    message::PublishMessage,
};
use futures::future::BoxFuture;
use tokio::{
    select,
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{
    message::{self, Outgoing},
    stream::{DEADLINE, EventStream, StreamError},
    tail::{self, End, Tail},
    tenure::Tenure,
    trouble::{Loudness, Trouble},
};
use crate::event_sourcing::{Epoch, EventStore, Lease, Position, RecordedEvent, StoreError};

/// The most messages on their way at once.
const WINDOW: u32 = 500;

/// The most bytes on their way at once (one message may be larger).
const WINDOW_BYTES: usize = 4 * 1024 * 1024;

/// How often an idle relay looks at the stream's end.
const LOOK: Duration = Duration::from_secs(1);

/// Lifts an event to today's shape; one that cannot be lifted is given back as it is.
pub type Lift = Arc<dyn Fn(RecordedEvent) -> RecordedEvent + Send + Sync>;

/// Says up to which position the read model has applied the events.
pub type Checkpoint =
    Arc<dyn Fn() -> BoxFuture<'static, Result<Position, StoreError>> + Send + Sync>;

/// What the relay is given besides store, stream and lease.
#[derive(Clone)]
pub struct RelayPorts {
    /// Lifts events before they are published.
    pub lift: Lift,
    /// Where a purged stream is filled from.
    pub checkpoint: Checkpoint,
    /// Wakes the relay after an append, so that it need not wait for its next look.
    pub wake: Arc<Notify>,
    /// How long the relay rests when there is nothing to publish and nobody wakes it; some 50 ms,
    /// for another process's appends wake nobody here.
    pub poll: Duration,
    /// How long the lease lasts.
    pub lease_ttl: Duration,
}

/// Why a step of the relay did not publish what it should.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The event store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stream cannot be used.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The stream's last event is not the store's event at that position.
    #[error(
        "the stream {stream} does not belong to this event store: its last event (sequence \
         {sequence}) says position {position}, where the store has another event or none; nothing \
         is published until they agree (delete the stream to have it filled again)"
    )]
    Disagreement {
        /// The stream's name.
        stream: String,
        /// The sequence of the last event message.
        sequence: u64,
        /// Its position.
        position: Position,
    },
    /// An event cannot be written as a message.
    #[error("the event at position {position} cannot be written as a message")]
    Encode {
        /// The event's position.
        position: Position,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// A message could not be sent or was refused.
    #[error("the event at position {position} was not published")]
    Publish {
        /// The event's position.
        position: Position,
        /// Why not.
        #[source]
        source: PublishError,
    },
    /// A message was acknowledged, but not as the one that it should be.
    #[error(
        "the event at position {position} was acknowledged at sequence {found} instead of \
         {expected} (duplicate: {duplicate})"
    )]
    Acknowledgement {
        /// The event's position.
        position: Position,
        /// The sequence that it should have.
        expected: u64,
        /// The sequence that was acknowledged.
        found: u64,
        /// Whether NATS says that it was there before.
        duplicate: bool,
    },
    /// The window was not acknowledged in time.
    #[error("the window after position {after} was not acknowledged in time")]
    Deadline {
        /// The position before the window.
        after: Position,
    },
}

impl RelayError {
    fn loudness(&self) -> Loudness {
        match self {
            Self::Disagreement { .. } | Self::Encode { .. } => Loudness::Alarm,
            Self::Stream(StreamError::Refused { .. } | StreamError::Unchangeable { .. }) => {
                Loudness::Alarm
            }
            // NATS must allow larger messages: nothing after this event is published until then.
            Self::Publish { source, .. }
                if source.kind() == PublishErrorKind::MaxPayloadExceeded =>
            {
                Loudness::Alarm
            }
            Self::Store(_)
            | Self::Stream(
                StreamError::Disconnected
                | StreamError::Unavailable { .. }
                | StreamError::Missing { .. },
            )
            | Self::Acknowledgement { .. }
            | Self::Publish { .. }
            | Self::Deadline { .. } => Loudness::Warning,
        }
    }
}

/// Where the relay stands between two good steps.
#[derive(Debug)]
struct Cursor {
    epoch: Epoch,
    created: String,
    /// The sequence that the next publication expects.
    sequence: u64,
    /// The position up to which the stream is filled.
    position: Position,
    looked: Instant,
}

/// Publishes the events of `S` while it holds the lease `L`.
pub struct Relay<S, L> {
    stream: EventStream,
    store: S,
    tenure: Tenure<L>,
    ports: RelayPorts,
    cursor: Option<Cursor>,
    /// How many events are read at once: fewer while they are large.
    batch: u32,
}

impl<S: EventStore, L: Lease> Relay<S, L> {
    /// A relay from `store` to `stream`, one at a time by `lease`.
    #[must_use]
    pub fn new(stream: EventStream, store: S, lease: L, ports: RelayPorts) -> Self {
        let tenure = Tenure::new(lease, "relay", ports.lease_ttl);
        Self {
            stream,
            store,
            tenure,
            ports,
            cursor: None,
            batch: WINDOW,
        }
    }

    /// Publishes until `cancel`; then gives the lease back.
    ///
    /// A step may be dropped halfway: what it published is found at the stream's end.
    pub async fn run(mut self, cancel: CancellationToken) {
        let wake = Arc::clone(&self.ports.wake);
        let mut trouble = Trouble::new("relay");
        while !cancel.is_cancelled() {
            let woken = wake.notified();
            tokio::pin!(woken);
            // Armed before we look, so that an append in between is not missed.
            woken.as_mut().enable();
            let step = select! {
                step = self.run_once() => step,
                () = cancel.cancelled() => break,
            };
            match step {
                Ok(0) => {
                    trouble.over();
                    select! {
                        () = woken => {}
                        () = sleep(self.ports.poll) => {}
                        () = cancel.cancelled() => {}
                    }
                }
                Ok(_) => trouble.over(),
                Err(error) => {
                    let pause = trouble.met(&error, error.loudness());
                    select! {
                        () = sleep(pause) => {}
                        () = cancel.cancelled() => {}
                    }
                }
            }
        }
        // The next holder waits for the lease at worst; a hanging store must not hold us up.
        let _ = timeout(DEADLINE, self.tenure.release()).await;
    }

    /// One step: publishes at most one window and says how many events were published. Zero where
    /// there was nothing to publish, or where another relay holds the lease.
    ///
    /// # Errors
    /// See [`RelayError`]. The next step starts from the stream's end.
    pub async fn run_once(&mut self) -> Result<usize, RelayError> {
        // Taken out, so that an error (or a dropped step) leaves no cursor behind.
        let cursor = self.cursor.take();
        let Some(epoch) = self.tenure.hold().await? else {
            return Ok(0);
        };
        let cursor = match cursor.filter(|cursor| cursor.epoch == epoch) {
            Some(cursor) if cursor.looked.elapsed() < LOOK => cursor,
            Some(cursor) => self.look(cursor).await?,
            None => self.resynchronise(epoch).await?,
        };
        let events = self.store.read_all(cursor.position, self.batch).await?;
        let published = events.len().min(self.batch as usize);
        let (cursor, published) = if published == 0 {
            (cursor, 0)
        } else {
            self.publish(cursor, events).await?
        };
        #[expect(
            clippy::cast_precision_loss,
            reason = "a gauge is a float; positions stay exact up to 2^53"
        )]
        metrics::gauge!("orders_relay_position").set(cursor.position.get() as f64);
        self.cursor = Some(cursor);
        Ok(published)
    }

    /// Compares the stream's end with the cursor; where they differ, the stream's end counts.
    async fn look(&mut self, cursor: Cursor) -> Result<Cursor, RelayError> {
        let tail = self.tail().await?;
        let as_expected = tail.created == cursor.created
            && tail.sequence == cursor.sequence
            && match tail.end {
                End::New => cursor.position == Position::ZERO,
                // What the read model has applied need not be published again.
                End::Purged => (self.ports.checkpoint)().await? >= cursor.position,
                End::Event { position, .. } => position == cursor.position,
            };
        if as_expected {
            return Ok(Cursor {
                looked: Instant::now(),
                ..cursor
            });
        }
        info!(
            position = cursor.position.get(),
            sequence = cursor.sequence,
            "the stream's end has changed"
        );
        self.resynchronise(cursor.epoch).await
    }

    async fn tail(&self) -> Result<Tail, RelayError> {
        let state = self.stream.declare().await?;
        Ok(tail::find(&self.stream, state).await?)
    }

    /// Finds out where to go on from the stream alone.
    async fn resynchronise(&mut self, epoch: Epoch) -> Result<Cursor, RelayError> {
        metrics::counter!("orders_relay_resyncs_total").increment(1);
        let tail = self.tail().await?;
        let position = match tail.end {
            End::New => Position::ZERO,
            End::Purged => (self.ports.checkpoint)().await?,
            End::Event {
                sequence,
                position,
                event_id,
            } => {
                let before = Position::new(position.get().saturating_sub(1));
                let stored = self.store.read_all(before, 1).await?;
                if !stored
                    .iter()
                    .any(|event| event.position == position && event.event_id == event_id)
                {
                    return Err(RelayError::Disagreement {
                        stream: self.stream.options().stream.clone(),
                        sequence,
                        position,
                    });
                }
                position
            }
        };
        debug!(
            position = position.get(),
            sequence = tail.sequence,
            end = ?tail.end,
            "the relay goes on from the stream's end"
        );
        Ok(Cursor {
            epoch,
            created: tail.created,
            sequence: tail.sequence,
            position,
            looked: Instant::now(),
        })
    }

    /// Publishes the events after the cursor, as many as fit a window.
    async fn publish(
        &mut self,
        cursor: Cursor,
        events: Vec<RecordedEvent>,
    ) -> Result<(Cursor, usize), RelayError> {
        let read = events.len();
        let window = self.encode(cursor.position, events)?;
        // Large events: read fewer next time instead of reading and dropping them.
        self.batch = if window.len() < read {
            u32::try_from(window.len()).unwrap_or(WINDOW).max(1)
        } else {
            self.batch.saturating_mul(2).min(WINDOW)
        };
        let after = cursor.position;
        let sent = timeout(DEADLINE, self.send(cursor, window)).await;
        let (cursor, published) = sent.map_err(|_elapsed| RelayError::Deadline { after })??;
        metrics::counter!("orders_relay_published_total").increment(published as u64);
        Ok((cursor, published))
    }

    fn encode(
        &self,
        mut previous: Position,
        events: Vec<RecordedEvent>,
    ) -> Result<Vec<(Position, Outgoing)>, RelayError> {
        let prefix = &self.stream.options().subject_prefix;
        let mut bytes = 0_usize;
        let mut window = Vec::with_capacity(events.len());
        for event in events {
            let position = event.position;
            let message = message::encode(prefix, previous, &(self.ports.lift)(event))
                .map_err(|source| RelayError::Encode { position, source })?;
            bytes = bytes.saturating_add(message.size());
            if bytes > WINDOW_BYTES && !window.is_empty() {
                break;
            }
            window.push((position, message));
            previous = position;
        }
        Ok(window)
    }

    /// Sends a window and awaits its acknowledgements in order; the first bad one ends it.
    async fn send(
        &self,
        mut cursor: Cursor,
        window: Vec<(Position, Outgoing)>,
    ) -> Result<(Cursor, usize), RelayError> {
        // Never used twice, so that NATS takes nothing that is published again for a duplicate.
        let window_id: u128 = rand::random();
        let mut acks = Vec::with_capacity(window.len());
        let mut expected = cursor.sequence;
        for (position, message) in window {
            let mut publication = PublishMessage::build()
                .payload(message.payload)
                .headers(message.headers)
                .expected_stream(&self.stream.options().stream)
                .expected_last_sequence(expected)
                .message_id(message_id(window_id, expected.saturating_add(1)));
            if expected > cursor.sequence {
                publication = publication.expected_last_message_id(message_id(window_id, expected));
            }
            let ack = self
                .stream
                .context()
                .send_publish(message.subject, publication);
            let ack = ack
                .await
                .map_err(|source| RelayError::Publish { position, source })?;
            expected = expected.saturating_add(1);
            acks.push((position, expected, ack));
        }
        let published = acks.len();
        for (position, expected, ack) in acks {
            acknowledged(position, expected, ack).await?;
            cursor.sequence = expected;
            cursor.position = position;
        }
        cursor.looked = Instant::now();
        Ok((cursor, published))
    }
}

fn message_id(window_id: u128, sequence: u64) -> String {
    format!("{window_id:032x}-{sequence}")
}

async fn acknowledged(
    position: Position,
    expected: u64,
    ack: PublishAckFuture,
) -> Result<(), RelayError> {
    let ack = ack
        .await
        .map_err(|source| RelayError::Publish { position, source })?;
    if ack.sequence == expected && !ack.duplicate {
        return Ok(());
    }
    Err(RelayError::Acknowledgement {
        position,
        expected,
        found: ack.sequence,
        duplicate: ack.duplicate,
    })
}
