//! The subscriber: feeds a projection from the stream.
//!
//! The cursor of record is the projection's checkpoint, so nothing here is kept: the consumer is
//! ephemeral, acknowledges nothing and is thrown away on any doubt (an error, a gap in its
//! deliveries, missed heartbeats, a stream that is not the one it was made for, messages that should
//! have come and did not). The next one starts at the checkpoint. Only the holder of the lease
//! consumes, and what it applies carries the lease's epoch.
//!
//! A consumer is only made on a stream that is vouched for: what another store has published, or
//! this one before it was restored, is never applied. A store cannot be restored under a consumer's
//! life: without an answer of the store the lease is not renewed, and the consumer is dropped.
//!
//! Messages are applied in chunks: whatever is there when the first has arrived, without waiting
//! for more, so that chunks are small while the service is idle and large while it catches up.

use std::time::Duration;

use async_nats::jetstream::{
    Message,
    consumer::{
        AckPolicy, DeliverPolicy,
        pull::{Config, MessagesError, Stream as Messages},
    },
};
use futures::{FutureExt, StreamExt};
use tokio::{
    select,
    task::unconstrained,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{
    failure_log::{FailureLog, Loudness},
    lease_keeper::LeaseKeeper,
    message,
    provenance::StreamCheck,
    start,
    stream::{DEADLINE, EventStream, StreamError, StreamState},
};
use crate::event_sourcing::{
    Epoch, Lease, Position, StoreError, error_chain,
    projection::{Delivery, Projection},
};

/// The most messages in one chunk.
const CHUNK: usize = 1000;

/// A chunk takes no further message once it holds this many bytes.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// How many messages are asked for at once: at least, and at most.
const BATCH: (u64, u64) = (16, 500);

/// How many bytes a batch of average messages may have.
const BATCH_BYTES: u64 = 8 * 1024 * 1024;

/// How often NATS says that a silent consumer lives; two misses and it counts as gone. The look at the
/// stream itself finds out sooner; a machine that is busy with large messages is not silent.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// How long nothing may arrive before the stream itself is looked at.
const LOOK: Duration = Duration::from_millis(700);

/// After how many overdue looks a consumer is made again at the latest.
const MOST_LOOKS: u32 = 8;

/// How long NATS keeps a consumer whose subscriber has gone.
const INACTIVE: Duration = Duration::from_secs(30);

/// How long a subscriber without the lease rests.
const STANDBY: Duration = Duration::from_millis(250);

/// Why a step of the subscriber did not apply what it should.
#[derive(Debug, thiserror::Error)]
pub enum SubscriberError {
    /// The projection or the lease failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stream cannot be read.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The consumer has ended without an error.
    #[error("the consumer has ended")]
    Ended,
    /// The consumer has left out a message.
    #[error("the consumer delivered its message {found} where {expected} was expected")]
    Gap {
        /// The delivery that should have come.
        expected: u64,
        /// The delivery that came.
        found: u64,
    },
}

impl SubscriberError {
    fn loudness(&self) -> Loudness {
        match self {
            Self::Store(StoreError::Corrupt { .. }) => Loudness::Alarm,
            Self::Store(
                StoreError::Unavailable(_) | StoreError::Overloaded | StoreError::Unknown(_),
            )
            | Self::Stream(_)
            | Self::Ended
            | Self::Gap { .. } => Loudness::Warning,
        }
    }
}

/// What a step of the subscriber did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Somebody else holds the lease.
    Standby,
    /// Nothing arrived for a while.
    Idle,
    /// So many messages were applied.
    Applied(usize),
}

/// One consumer's life.
struct Subscription {
    messages: Messages,
    created: String,
    epoch: Epoch,
    /// The deliveries of this consumer so far: they are numbered without a hole.
    delivered: u64,
    /// Every message up to this sequence has arrived or is not there.
    seen: u64,
    /// How many looks in a row have found that messages should have come.
    overdue: u32,
}

/// What arrived at once.
struct Chunk {
    events: Vec<Delivery>,
    /// Why the consumer cannot go on after these.
    trouble: Option<SubscriberError>,
}

/// Feeds the projection `P` while it holds the lease `L`.
pub struct Subscriber<P, L> {
    stream: EventStream,
    vouch: StreamCheck<SubscriberError>,
    projection: P,
    tenure: LeaseKeeper<L>,
    session: Option<Subscription>,
    /// How many looks in a row may find that messages should have come, before the consumer is
    /// made again: more each time, so that a slow one is not thrown away for ever.
    patience: u32,
}

impl<P: Projection, L: Lease> Subscriber<P, L> {
    /// A subscriber from `stream`, while `vouch` finds it good, to `projection`; one at a time by
    /// `lease`, which runs out after `lease_ttl`.
    #[must_use]
    pub fn new(
        stream: EventStream,
        vouch: StreamCheck<SubscriberError>,
        projection: P,
        lease: L,
        lease_ttl: Duration,
    ) -> Self {
        Self {
            stream,
            vouch,
            projection,
            tenure: LeaseKeeper::new(lease, "projector", lease_ttl),
            session: None,
            patience: 1,
        }
    }

    /// Applies until `cancel`; then gives the lease back.
    ///
    /// A step that is dropped halfway has applied its chunk whole or not at all.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut trouble = FailureLog::new("subscriber");
        while !cancel.is_cancelled() {
            let step = select! {
                step = self.run_once() => step,
                () = cancel.cancelled() => break,
            };
            let pause = match step {
                Ok(Step::Standby) => STANDBY,
                Ok(Step::Idle | Step::Applied(_)) => {
                    trouble.over();
                    continue;
                }
                Err(error) => trouble.met(&error, error.loudness()),
            };
            select! {
                () = sleep(pause) => {}
                () = cancel.cancelled() => {}
            }
        }
        self.session = None;
        // The next holder waits for the lease at worst; a hanging store must not hold us up.
        let _ = timeout(DEADLINE, self.tenure.release()).await;
    }

    /// One step: waits a little for messages and applies those that are there.
    ///
    /// # Errors
    /// See [`SubscriberError`]. The next step makes a new consumer at the checkpoint.
    pub async fn run_once(&mut self) -> Result<Step, SubscriberError> {
        // Taken out, so that an error (or a dropped step) leaves no consumer behind.
        let session = self.session.take();
        let Some(epoch) = self.tenure.hold().await? else {
            return Ok(Step::Standby);
        };
        let mut session = match session.filter(|session| session.epoch == epoch) {
            Some(session) => session,
            None => self.open(epoch).await?,
        };
        // Not longer than the lease may be relied on.
        let patience = LOOK.min(self.tenure.third());
        let arrived = timeout(patience, session.messages.next()).await;
        let Ok(first) = arrived else {
            self.session = self.look(session).await?;
            return Ok(Step::Idle);
        };
        session.overdue = 0;
        let Chunk { events, trouble } = self.collect(&mut session, first);
        let applied = events.len();
        if applied > 0 {
            let checkpoint = self.projection.apply(events, epoch).await?;
            metrics::counter!("orders_projection_applied_total").increment(applied as u64);
            report(checkpoint);
        }
        // Only now, so that a consumer in trouble still makes progress.
        if let Some(trouble) = trouble {
            return Err(trouble);
        }
        self.session = Some(session);
        Ok(Step::Applied(applied))
    }

    /// Makes a consumer that starts with the first event after the checkpoint.
    async fn open(&self, epoch: Epoch) -> Result<Subscription, SubscriberError> {
        let began = Instant::now();
        let state = (self.vouch)().await?;
        let checkpoint = timeout(DEADLINE, self.projection.checkpoint()).await;
        let checkpoint = checkpoint.map_err(StoreError::unavailable)??;
        report(checkpoint);
        let start = start::find(&self.stream, &state, checkpoint).await?;
        let (messages, pending) = self.consume(start, &state).await?;
        metrics::counter!("orders_projection_consumers_total").increment(1);
        debug!(
            checkpoint = checkpoint.get(),
            sequence = start,
            elapsed = ?began.elapsed(),
            "a new consumer starts after the checkpoint"
        );
        Ok(Subscription {
            messages,
            created: state.created,
            epoch,
            delivered: 0,
            overdue: 0,
            // Deleted messages never arrive: with nothing pending, all that was is seen.
            seen: if pending == 0 {
                state.last_sequence
            } else {
                start.saturating_sub(1)
            },
        })
    }

    /// The messages from `start_sequence` on, and how many there are by now.
    async fn consume(
        &self,
        start_sequence: u64,
        state: &StreamState,
    ) -> Result<(Messages, u64), StreamError> {
        let config = Config {
            deliver_policy: DeliverPolicy::ByStartSequence { start_sequence },
            ack_policy: AckPolicy::None,
            inactive_threshold: INACTIVE,
            memory_storage: true,
            num_replicas: 1,
            ..Config::default()
        };
        let consumer = self.stream.handle().await?.create_consumer(config).await;
        let consumer = consumer.map_err(|error| self.stream.unavailable(error))?;
        // Bounded by a number of messages that suits their size: with `max_bytes_per_batch` the
        // client counts other bytes than the server and stops asking (async-nats 0.51).
        let average = state.bytes.checked_div(state.messages).unwrap_or(0).max(1);
        let batch = (BATCH_BYTES / average).clamp(BATCH.0, BATCH.1);
        let messages = consumer
            .stream()
            .max_messages_per_batch(usize::try_from(batch).unwrap_or(usize::MAX))
            .heartbeat(HEARTBEAT)
            .messages();
        let messages = messages
            .await
            .map_err(|error| self.stream.unavailable(error))?;
        Ok((messages, consumer.cached_info().num_pending))
    }

    /// Decides whether silence is right: the stream must be the same and hold nothing new. `None`
    /// where the consumer is to be made again.
    async fn look(
        &mut self,
        mut session: Subscription,
    ) -> Result<Option<Subscription>, SubscriberError> {
        let state: Option<StreamState> = self.stream.state().await?;
        let Some(state) = state.filter(|state| state.created == session.created) else {
            info!("the stream was deleted or made again, starting from the checkpoint");
            return Ok(None);
        };
        if state.last_sequence == session.seen {
            self.patience = 1;
            return Ok(Some(session));
        }
        session.overdue += 1;
        if session.overdue < self.patience {
            return Ok(Some(session));
        }
        self.patience = self.patience.saturating_mul(2).min(MOST_LOOKS);
        debug!(
            seen = session.seen,
            last = state.last_sequence,
            "messages did not arrive, starting from the checkpoint"
        );
        Ok(None)
    }

    /// The first message and all that are there already, up to the size of a chunk.
    fn collect(
        &self,
        session: &mut Subscription,
        first: Option<Result<Message, MessagesError>>,
    ) -> Chunk {
        let mut events = Vec::new();
        let mut bytes = 0_usize;
        let mut next = first;
        for taken in 1_usize.. {
            let accepted = match next {
                Some(Ok(message)) => {
                    bytes = bytes.saturating_add(message.length);
                    self.accept(session, &message)
                }
                Some(Err(error)) => Err(self.stream.unavailable(error).into()),
                None => Err(SubscriberError::Ended),
            };
            match accepted {
                Ok(event) => events.extend(event),
                Err(error) => {
                    let trouble = Some(error);
                    return Chunk { events, trouble };
                }
            }
            if taken >= CHUNK || bytes >= CHUNK_BYTES {
                break;
            }
            // Unconstrained: Tokio's budget would end each chunk at some hundred messages.
            match unconstrained(session.messages.next()).now_or_never() {
                Some(arrived) => next = arrived,
                None => break,
            }
        }
        Chunk {
            events,
            trouble: None,
        }
    }

    /// Reads one message and checks that the consumer has left out none; `None` where it is no
    /// event of ours.
    fn accept(
        &self,
        session: &mut Subscription,
        message: &Message,
    ) -> Result<Option<Delivery>, SubscriberError> {
        let place = message
            .info()
            .map_err(|error| self.stream.unavailable(error))?;
        let expected = session.delivered.saturating_add(1);
        if place.consumer_sequence != expected {
            return Err(SubscriberError::Gap {
                expected,
                found: place.consumer_sequence,
            });
        }
        session.delivered = expected;
        session.seen = place.stream_sequence;
        match message::decode(message.headers.as_ref(), &message.payload) {
            Ok(delivery) => Ok(Some(delivery)),
            Err(error) => {
                metrics::counter!("orders_projection_skipped_total").increment(1);
                warn!(
                    subject = message.subject.as_str(),
                    sequence = place.stream_sequence,
                    error = error_chain(&error),
                    "skipped a message that is no event"
                );
                Ok(None)
            }
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; positions stay exact up to 2^53"
)]
fn report(checkpoint: Position) {
    metrics::gauge!("orders_projection_position").set(checkpoint.get() as f64);
}
