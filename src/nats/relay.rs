//! The relay: publishes every event of the store to the stream, once and in order.
//!
//! **Cursor.** The relay keeps none of its own: the stream's last message says where to go on (see
//! [`super::tail`]), and the store must know that very event at that position. Where it does not,
//! nothing is published, for that could only make it worse; [`super::lifecycle`] says so, loudly, and
//! begins a new stream where the old one is this store's own, from before a restore.
//!
//! **Fence.** Each message names the sequence that it expects at the stream's end, so of two relays
//! one is refused, and a message that is late, repeated or overtaken is refused as well. The lease
//! only keeps two relays from disturbing one another.
//!
//! **Windows.** Many messages are on their way at once; the first bad acknowledgement ends the step,
//! and the next one starts from the stream's end again (see [`super::window`]).
//!
//! **Idle.** Once a second the end of the stream is compared with what it should be, so that a
//! purged, recreated or shortened stream is filled again without a new event.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::{
    select,
    sync::Notify,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

pub use super::relay_error::RelayError;
use super::{
    failure_log::{Alarm, FailureLog},
    lease_keeper::LeaseKeeper,
    lifecycle::StreamLifecycle,
    provenance::Provenance,
    stream::{DEADLINE, EventStream},
    tail::{self, End},
    window,
};
use crate::{
    event_sourcing::{
        Epoch, EventStore, Lease, Position, RecordedEvent, StoreError, StoreIdentity,
    },
    live::FreshEvents,
};

/// How long the relay rests when there is nothing to publish and nobody wakes it: the appends of
/// another process wake nobody here.
const POLL: Duration = Duration::from_millis(50);

/// How long the relay rests after a window that held all there was, unless reads wait for more. A
/// window costs NATS, the projector and its database about as much as four events in it, so under a
/// steady load of single commands this leaves the processors to these (`make bench`: add-item@1). An
/// event after a pause is published at once.
const REST: Duration = Duration::from_millis(3);

/// For how long the relay does not rest once a read has waited: there will be others.
const ATTENTION: Duration = Duration::from_secs(1);

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
    /// Which store this is.
    pub identity: Arc<dyn StoreIdentity>,
    /// Tells others that somebody has to act.
    pub alarm: Alarm,
    /// What this process appends: it is published without being read back, and wakes the relay.
    pub fresh: FreshEvents,
    /// Notified whenever somebody waits for what is to be published.
    pub awaited: Arc<Notify>,
    /// How long the lease lasts.
    pub lease_ttl: Duration,
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
    tenure: LeaseKeeper<L>,
    lineage: StreamLifecycle<S>,
    ports: RelayPorts,
    poll: Duration,
    rest: Duration,
    cursor: Option<Cursor>,
    /// How many events are read at once: fewer while they are large.
    batch: u32,
    /// When the store was last asked for events.
    asked: Option<Instant>,
}

impl<S: EventStore, L: Lease> Relay<S, L> {
    /// A relay from `store` to `stream`, one at a time by `lease`.
    #[must_use]
    pub fn new(stream: EventStream, store: S, lease: L, ports: RelayPorts) -> Self {
        let tenure = LeaseKeeper::new(lease, "relay", ports.lease_ttl);
        let provenance = Provenance {
            stream: stream.clone(),
            store: store.clone(),
            identity: Arc::clone(&ports.identity),
        };
        Self {
            batch: window::size(&stream),
            stream,
            store,
            tenure,
            // Long enough for another process to take the lease and write.
            lineage: StreamLifecycle::new(provenance, ports.lease_ttl.saturating_mul(2)),
            ports,
            poll: POLL,
            rest: REST,
            cursor: None,
            asked: None,
        }
    }

    /// Rests for `poll` instead of the usual 50 ms when nobody wakes it.
    #[must_use]
    pub fn polling_every(mut self, poll: Duration) -> Self {
        self.poll = poll;
        self
    }

    /// Rests for `rest` instead of the usual 3 ms after a window.
    #[must_use]
    pub fn resting_for(mut self, rest: Duration) -> Self {
        self.rest = rest;
        self
    }

    /// Publishes until `cancel`; then gives the lease back.
    ///
    /// A step may be dropped halfway: what it published is found at the stream's end.
    pub async fn run(mut self, cancel: CancellationToken) {
        let fresh = self.ports.fresh.clone();
        let awaited = Arc::clone(&self.ports.awaited);
        let mut attentive_until = Instant::now();
        let mut trouble = FailureLog::new("relay").raising(self.ports.alarm.clone());
        while !cancel.is_cancelled() {
            let woken = fresh.appended();
            tokio::pin!(woken);
            // Armed before we look, so that an append in between is not missed.
            woken.as_mut().enable();
            let batch = self.batch;
            let step = select! {
                step = self.run_once() => step,
                () = cancel.cancelled() => break,
            };
            match step {
                Ok(0) => {
                    trouble.over();
                    select! {
                        () = woken => {}
                        () = sleep(self.poll) => {}
                        () = cancel.cancelled() => {}
                    }
                }
                Ok(published) => {
                    trouble.over();
                    // Of large events it holds fewer, and the next batch is as small.
                    let is_all = published < batch.min(self.batch) as usize;
                    if is_all && Instant::now() >= attentive_until {
                        select! {
                            () = sleep(self.rest) => {}
                            () = awaited.notified() => attentive_until = Instant::now() + ATTENTION,
                            () = cancel.cancelled() => {}
                        }
                    }
                }
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
        let held = self.tenure.hold().await;
        if !matches!(held, Ok(Some(_))) {
            self.lineage.forget();
        }
        let Some(epoch) = held? else {
            return Ok(0);
        };
        let cursor = match cursor.filter(|cursor| cursor.epoch == epoch) {
            Some(cursor) if cursor.looked.elapsed() < LOOK => cursor,
            Some(cursor) => self.look(cursor).await?,
            None => self.resynchronise(epoch).await?,
        };
        let events = self.read(cursor.position).await?;
        let (cursor, published) = if events.is_empty() {
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

    /// The events after a position, or some of them. Those that this process has appended are there
    /// already; for others the store is asked, but not again before the next look.
    async fn read(&mut self, after: Position) -> Result<Vec<RecordedEvent>, StoreError> {
        let fresh = self.ports.fresh.take_after(after, self.batch);
        let is_asked = self.asked.is_some_and(|asked| asked.elapsed() < self.poll);
        if !fresh.is_empty() || (is_asked && self.ports.fresh.ends_at(after)) {
            return Ok(fresh);
        }
        let events = self.store.read_all(after, self.batch).await?;
        self.asked = Some(Instant::now());
        Ok(events)
    }

    /// Compares the stream's end with the cursor; where they differ, the stream's end counts.
    async fn look(&mut self, cursor: Cursor) -> Result<Cursor, RelayError> {
        // Also set right here, should an operator have changed it.
        let ours = self.ports.identity.id().await?;
        if let Some(state) = self.stream.declare(ours).await?
            && state.created == cursor.created
            && state.last_sequence == cursor.sequence
        {
            let end = tail::find(&self.stream, state).await?.end;
            let as_expected = match end {
                End::New => cursor.position == Position::ZERO,
                // What the read model has applied need not be published again.
                End::Purged => self.checkpoint().await? >= cursor.position,
                End::Event { position, .. } => position == cursor.position,
            };
            if as_expected {
                return Ok(Cursor {
                    looked: Instant::now(),
                    ..cursor
                });
            }
        }
        info!(
            position = cursor.position.get(),
            sequence = cursor.sequence,
            "the stream's end has changed"
        );
        self.resynchronise(cursor.epoch).await
    }

    async fn checkpoint(&self) -> Result<Position, StoreError> {
        let checkpoint = timeout(DEADLINE, (self.ports.checkpoint)()).await;
        checkpoint.map_err(StoreError::unavailable)?
    }

    /// Finds out where to go on from the stream alone.
    async fn resynchronise(&mut self, epoch: Epoch) -> Result<Cursor, RelayError> {
        metrics::counter!("orders_relay_resyncs_total").increment(1);
        // The store may have been restored meanwhile: it may lack what this process once appended.
        self.ports.fresh.forget();
        let tail = self.lineage.settle(epoch).await?;
        let position = match tail.end {
            End::New => Position::ZERO,
            End::Purged => self.checkpoint().await?,
            End::Event { position, .. } => position,
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
        let prefix = &self.stream.options().subject_prefix;
        let lifted = events.into_iter().map(|event| (self.ports.lift)(event));
        let window = window::encode(prefix, cursor.position, lifted);
        let published = window.len();
        // Large events: read fewer next time instead of reading and dropping them.
        self.batch = if published < read {
            u32::try_from(published).unwrap_or(self.batch)
        } else {
            let most = window::size(&self.stream);
            self.batch.saturating_mul(2).min(most)
        };
        let position = window
            .last()
            .map_or(cursor.position, |(position, _)| *position);
        window::publish(&self.stream, cursor.sequence, window).await?;
        metrics::counter!("orders_relay_published_total").increment(published as u64);
        let cursor = Cursor {
            sequence: cursor.sequence.saturating_add(published as u64),
            position,
            looked: Instant::now(),
            ..cursor
        };
        Ok((cursor, published))
    }
}
