//! The relay: publishes every event of the store to the stream, once and in order.
//!
//! **Cursor.** The relay continues behind the stream's last event (see [`super::tail`]), and the store
//! must contain that event at that position. A purged stream has none: then the relay continues behind
//! its last report ([`super::relay_report`]). If the store does not contain the stream's last event,
//! nothing is published; [`super::lifecycle`] reports it, and replaces the stream if it is this
//! store's own from before a restore.
//!
//! **Fence.** Each message names the sequence that it expects at the stream's end. So of two relays
//! one is refused, and so is a message that is late or repeated. The lease only avoids that two
//! relays disturb each other.
//!
//! **Windows.** Many messages are sent before the first is acknowledged (see [`super::window`]).
//! The first bad acknowledgement ends the step, and the next step starts from the stream's end
//! again.
//!
//! **Idle.** Once a second the stream's end is compared with the cursor, so a recreated or shortened
//! stream is filled again without a new event.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{
    failure_log::FailureLog,
    lease_keeper::LeaseKeeper,
    lifecycle::StreamLifecycle,
    message::Encoding,
    ownership::StreamOwnership,
    relay_error::RelayError,
    relay_ports::RelayPorts,
    relay_report::{RelayReport, Reporter},
    stream::{DEADLINE, EventStream},
    tail::{self, StreamEnd},
    window,
};
use crate::event_sourcing::{
    Epoch, EventStore, Lease, Position, RecordedEvent, StoreError, error_chain,
};

/// How long the relay waits when there is nothing to publish and no append wakes it. Appends of
/// other processes do not wake it.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How long the relay pauses after a window that held all new events.
/// A window costs NATS, the projector and the database about as much as four events in it. Under a
/// steady load of single commands the pause leaves the processors to them (`make bench`:
/// add-item@1). An event after a quiet time is published at once.
const WINDOW_PAUSE: Duration = Duration::from_millis(3);

/// How often an idle relay checks the stream's end.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What the relay knows about the stream between two good steps.
#[derive(Debug)]
struct Cursor {
    epoch: Epoch,
    /// When the stream was created.
    created: String,
    /// The sequence that the next publication expects.
    sequence: u64,
    /// The position up to which the stream is filled.
    position: Position,
    checked_at: Instant,
}

/// Publishes the events of the store `S` while it holds the lease `L`.
pub struct Relay<S, L> {
    stream: EventStream,
    store: S,
    lease: LeaseKeeper<L>,
    lifecycle: StreamLifecycle<S>,
    reporter: Reporter,
    ports: RelayPorts,
    poll_interval: Duration,
    window_pause: Duration,
    cursor: Option<Cursor>,
    /// How many events are read at once; fewer while they are large.
    batch: u32,
    store_read_at: Option<Instant>,
}

impl<S: EventStore, L: Lease> Relay<S, L> {
    /// A relay from `store` to `stream`. Only the holder of `lease` publishes.
    #[must_use]
    pub fn new(stream: EventStream, store: S, lease: L, ports: RelayPorts) -> Self {
        let lease = LeaseKeeper::new(lease, "relay", ports.lease_ttl);
        let ownership = StreamOwnership {
            stream: stream.clone(),
            store: store.clone(),
            identity: Arc::clone(&ports.identity),
        };
        Self {
            batch: window::max_messages(&stream),
            stream,
            store,
            lease,
            // Long enough for another process to take the lease and write.
            lifecycle: StreamLifecycle::new(ownership, ports.lease_ttl.saturating_mul(2)),
            reporter: Reporter::new(Arc::clone(&ports.report)),
            ports,
            poll_interval: POLL_INTERVAL,
            window_pause: WINDOW_PAUSE,
            cursor: None,
            store_read_at: None,
        }
    }

    /// Waits `interval` instead of 50 ms when there is nothing to publish.
    #[must_use]
    pub fn with_poll_interval(mut self, interval: Duration) -> Self {
        self.poll_interval = interval;
        self
    }

    /// Pauses for `pause` instead of 3 ms after a window.
    #[must_use]
    pub fn with_window_pause(mut self, pause: Duration) -> Self {
        self.window_pause = pause;
        self
    }

    /// Publishes until `cancel`, then gives the lease back.
    ///
    /// A step may be dropped before its end: the next one finds what it published at the stream's
    /// end.
    pub async fn run(mut self, cancel: CancellationToken) {
        let fresh = self.ports.fresh.clone();
        let mut failures = FailureLog::new("relay").with_alarm(self.ports.alarm.clone());
        while !cancel.is_cancelled() {
            let appended = fresh.appended();
            tokio::pin!(appended);
            // Enabled before the step, so that an append during the step is not missed.
            appended.as_mut().enable();
            let batch = self.batch;
            let step = select! {
                step = self.reported_step() => step,
                () = cancel.cancelled() => break,
            };
            match step {
                Ok(0) => {
                    failures.record_success();
                    select! {
                        () = appended => {}
                        () = sleep(self.poll_interval) => {}
                        () = cancel.cancelled() => {}
                    }
                }
                Ok(published) => {
                    failures.record_success();
                    // A window of large events holds fewer, and `self.batch` is then as small.
                    if published < batch.min(self.batch) as usize {
                        select! {
                            () = sleep(self.window_pause) => {}
                            () = cancel.cancelled() => {}
                        }
                    }
                }
                Err(error) => {
                    let pause = failures.record_failure(&error, error.severity());
                    select! {
                        () = sleep(pause) => {}
                        () = cancel.cancelled() => {}
                    }
                }
            }
        }
        // Bounded, because the store may hang; the lease then runs out.
        let _ = timeout(DEADLINE, self.lease.release()).await;
    }

    /// One step, and the report about it.
    async fn reported_step(&mut self) -> Result<usize, RelayError> {
        let step = self.run_once().await;
        let report = match &step {
            // Without a cursor another process holds the lease.
            Ok(_) => self.cursor.as_ref().map(|cursor| RelayReport {
                position: Some(cursor.position),
                failure: None,
            }),
            // A report could not be written either.
            Err(RelayError::Store(_)) => None,
            Err(error) => Some(RelayReport {
                position: None,
                failure: Some(error_chain(error)),
            }),
        };
        self.reporter.report(report).await;
        step
    }

    /// One step: publishes at most one window and returns the number of published events. Zero if
    /// there is nothing to publish or another relay holds the lease.
    ///
    /// # Errors
    /// See [`RelayError`]. The next step starts from the stream's end.
    pub async fn run_once(&mut self) -> Result<usize, RelayError> {
        // Taken out, so that no cursor is left after an error or a dropped step.
        let cursor = self.cursor.take();
        let held = self.lease.hold().await;
        if !matches!(held, Ok(Some(_))) {
            self.lifecycle.reset();
        }
        let Some(epoch) = held? else {
            return Ok(0);
        };
        let cursor = match cursor.filter(|cursor| cursor.epoch == epoch) {
            Some(cursor) if cursor.checked_at.elapsed() < CHECK_INTERVAL => cursor,
            Some(cursor) => self.check(cursor).await?,
            None => self.resynchronise(epoch).await?,
        };
        let events = self.read_after(cursor.position).await?;
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

    /// The next events after a position. Those that this process has appended are in memory; for
    /// others the store is read, at most once in a poll interval.
    async fn read_after(&mut self, after: Position) -> Result<Vec<Arc<RecordedEvent>>, StoreError> {
        let fresh = self.ports.fresh.run_after(after, self.batch as usize);
        let is_just_read = self
            .store_read_at
            .is_some_and(|read_at| read_at.elapsed() < self.poll_interval);
        if !fresh.is_empty() || (is_just_read && self.ports.fresh.ends_at(after)) {
            return Ok(fresh);
        }
        let events = self.store.read_all(after, self.batch).await?;
        self.store_read_at = Some(Instant::now());
        Ok(events.into_iter().map(Arc::new).collect())
    }

    /// Compares the stream's end with the cursor. If they differ, returns a new cursor from the
    /// stream's end.
    async fn check(&mut self, cursor: Cursor) -> Result<Cursor, RelayError> {
        // Also corrects a configuration that an operator has changed.
        let store_id = self.ports.identity.id().await?;
        if let Some(state) = self.stream.ensure_configuration(store_id).await?
            && state.created == cursor.created
            && state.last_sequence == cursor.sequence
        {
            let end = tail::find(&self.stream, state).await?.end;
            let is_expected = match end {
                StreamEnd::New => cursor.position == Position::ZERO,
                // Events that the stream has held need not be published again.
                StreamEnd::Purged => self.published().await? >= cursor.position,
                StreamEnd::Event { position, .. } => position == cursor.position,
            };
            if is_expected {
                return Ok(Cursor {
                    checked_at: Instant::now(),
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

    /// The stream has held every event up to here, as the last report says.
    async fn published(&self) -> Result<Position, StoreError> {
        let published = timeout(DEADLINE, (self.ports.published)()).await;
        published.map_err(StoreError::unavailable)?
    }

    /// Makes a new cursor from the stream's end.
    async fn resynchronise(&mut self, epoch: Epoch) -> Result<Cursor, RelayError> {
        metrics::counter!("orders_relay_resyncs_total").increment(1);
        // After a restore the store may lack events that this process appended.
        self.ports.fresh.forget();
        // A new incarnation of the stream begins with a report of zero.
        self.reporter.forget();
        let tail = self.lifecycle.ensure_stream(epoch).await?;
        let position = match tail.end {
            StreamEnd::New => Position::ZERO,
            StreamEnd::Purged => self.published().await?,
            StreamEnd::Event { position, .. } => position,
        };
        debug!(
            position = position.get(),
            sequence = tail.last_sequence,
            end = ?tail.end,
            "the relay continues from the stream's end"
        );
        Ok(Cursor {
            epoch,
            created: tail.created,
            sequence: tail.last_sequence,
            position,
            checked_at: Instant::now(),
        })
    }

    /// Publishes the events after the cursor, as many as a window holds. Returns the new cursor and
    /// the number of published events.
    async fn publish(
        &mut self,
        cursor: Cursor,
        events: Vec<Arc<RecordedEvent>>,
    ) -> Result<(Cursor, usize), RelayError> {
        let read = events.len();
        let encoding = Encoding {
            prefix: &self.stream.options().subject_prefix,
            // As the server says now: it may be another one after a reconnection.
            max_payload: self.stream.context().client().server_info().max_payload,
            href: self.ports.href,
        };
        let lifted = events.into_iter().map(|event| (self.ports.lift)(event));
        let window = window::encode(encoding, lifted)?;
        let published = window.len();
        // Large events do not fit a window: the next read is smaller, so that less is thrown away.
        self.batch = if published < read {
            u32::try_from(published).unwrap_or(self.batch)
        } else {
            let most = window::max_messages(&self.stream);
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
            checked_at: Instant::now(),
            ..cursor
        };
        Ok((cursor, published))
    }
}
