//! The subscriber: brings the events of the store to a projection, whenever the stream says that there
//! may be some.
//!
//! NATS is only the doorbell ([`super::bell`]). What is applied comes from the store: from memory, if
//! this process has just appended it, else from `events` after the checkpoint. So nothing on the wire
//! can forge, skip, repeat, reorder or swell an event, and reads go on without NATS: when the bell is
//! silent, the store is looked at every 250 ms, and at once while a read of this process waits.
//!
//! The only cursor is the projection's checkpoint. Only the holder of the lease applies events, under
//! the lease's epoch. After an error, or when the lease is taken anew, the checkpoint is read again. A
//! checkpoint beyond the end of the store belongs to another store, or to a future that a restore has
//! undone: the alarm is raised and the projection is rebuilt.

use std::{sync::Arc, time::Duration};

use tokio::{
    select,
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::{
    bell::Bell,
    failure_log::{Alarm, FailureLog, Severity},
    lease_keeper::LeaseKeeper,
    stream::{DEADLINE, EventStream},
};
use crate::{
    event_sourcing::{
        Epoch, EventStore, Lease, Position, RecordedEvent, StoreError, projection::Projection,
    },
    live::FreshEvents,
};

/// The most events in one chunk.
const CHUNK: u32 = 1000;

/// How often the store is looked at while no message comes.
const SILENCE: Duration = Duration::from_millis(250);

/// The pause after a look that found nothing: many forged messages cause no more looks than this allows.
const FALSE_ALARM_PAUSE: Duration = Duration::from_millis(10);

/// How long a subscriber without the lease waits.
const STANDBY_PAUSE: Duration = Duration::from_millis(150);

/// What a step of the subscriber did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriberStep {
    /// Nothing: another process holds the lease.
    Standby,
    /// It looked, and the store holds nothing new.
    Idle,
    /// It applied so many events.
    Applied(usize),
}

/// What the subscriber is given.
pub struct SubscriberPorts<S> {
    /// Where the events are.
    pub store: S,
    /// What this process has just appended.
    pub fresh: FreshEvents,
    /// Notified whenever a read waits for the projection.
    pub awaited: Arc<Notify>,
    /// Tells others that an operator has to act.
    pub alarm: Alarm,
    /// How long the lease lasts.
    pub lease_ttl: Duration,
}

/// Where the projection stands, as this process knows it.
#[derive(Debug, Clone, Copy)]
struct Place {
    epoch: Epoch,
    checkpoint: Position,
}

/// Feeds the projection `P` from the store `S` while it holds the lease `L`.
pub struct Subscriber<S, P, L> {
    bell: Arc<Bell>,
    heard: watch::Receiver<Position>,
    ports: SubscriberPorts<S>,
    projection: P,
    lease: LeaseKeeper<L>,
    place: Option<Place>,
}

impl<S: EventStore, P: Projection, L: Lease> Subscriber<S, P, L> {
    /// A subscriber that brings the events of `ports.store` to `projection` when `stream` rings. Only the
    /// holder of `lease` applies events.
    #[must_use]
    pub fn new(stream: EventStream, projection: P, lease: L, ports: SubscriberPorts<S>) -> Self {
        let (bell, heard) = Bell::new(stream);
        Self {
            bell: Arc::new(bell),
            heard,
            projection,
            lease: LeaseKeeper::new(lease, "projector", ports.lease_ttl),
            ports,
            place: None,
        }
    }

    /// Applies events until `cancel`, then gives the lease back.
    ///
    /// A step that is dropped before its end has applied its whole chunk or nothing.
    pub async fn run(mut self, cancel: CancellationToken) {
        let bell = Arc::clone(&self.bell);
        select! {
            () = bell.listen() => {}
            () = self.apply_until(&cancel) => {}
        }
        // Bounded, because the store may hang; the lease then runs out.
        let _ = timeout(DEADLINE, self.lease.release()).await;
    }

    async fn apply_until(&mut self, cancel: &CancellationToken) {
        let mut failures = FailureLog::new("subscriber").with_alarm(self.ports.alarm.clone());
        while !cancel.is_cancelled() {
            let step = select! {
                step = self.run_once() => step,
                () = cancel.cancelled() => break,
            };
            let pause = match step {
                Ok(SubscriberStep::Standby) => STANDBY_PAUSE,
                Ok(SubscriberStep::Idle) => {
                    failures.record_success();
                    FALSE_ALARM_PAUSE
                }
                Ok(SubscriberStep::Applied(events)) => {
                    failures.record_success();
                    // A full chunk: there may be more.
                    if events >= CHUNK as usize {
                        continue;
                    }
                    Duration::ZERO
                }
                Err(error) => failures.record_failure(&error, severity(&error)),
            };
            select! {
                () = self.pause(pause) => {}
                () = cancel.cancelled() => {}
            }
        }
    }

    /// Pauses, and then waits until there may be new events.
    async fn pause(&mut self, pause: Duration) {
        if !pause.is_zero() {
            sleep(pause).await;
        }
        let Some(Place { checkpoint, .. }) = self.place else {
            return;
        };
        let silence = sleep(SILENCE);
        tokio::pin!(silence);
        loop {
            select! {
                rung = self.heard.changed() => {
                    if rung.is_err() || *self.heard.borrow_and_update() > checkpoint {
                        return;
                    }
                }
                () = self.ports.awaited.notified() => return,
                () = &mut silence => return,
            }
        }
    }

    /// One step: applies the next events after the checkpoint, if there are any.
    ///
    /// # Errors
    /// If the store, the projection or the lease fails. The next step reads the checkpoint again.
    pub async fn run_once(&mut self) -> Result<SubscriberStep, StoreError> {
        // Taken out, so that nothing is believed after an error or a dropped step.
        let place = self.place.take();
        let Some(epoch) = self.lease.hold().await? else {
            return Ok(SubscriberStep::Standby);
        };
        let place = match place.filter(|place| place.epoch == epoch) {
            Some(place) => place,
            None => self.find_place(epoch).await?,
        };
        let events = self.read(place.checkpoint).await?;
        if events.is_empty() {
            // A crash of PostgreSQL can take back what was applied last, and this process need not
            // notice it. Then the place is read again.
            let checkpoint = bounded(self.projection.checkpoint()).await?;
            self.place = Some(place).filter(|place| place.checkpoint == checkpoint);
            return Ok(SubscriberStep::Idle);
        }
        let checkpoint = self
            .projection
            .apply(place.checkpoint, &events, epoch)
            .await?;
        metrics::counter!("orders_projection_applied_total").increment(events.len() as u64);
        record_checkpoint(checkpoint);
        self.place = Some(Place { epoch, checkpoint });
        Ok(SubscriberStep::Applied(events.len()))
    }

    /// The next events after a position: from memory, or else from the store.
    async fn read(&self, after: Position) -> Result<Vec<Arc<RecordedEvent>>, StoreError> {
        let fresh = self.ports.fresh.run_after(after, CHUNK as usize);
        if !fresh.is_empty() {
            return Ok(fresh);
        }
        let events = bounded(self.ports.store.read_all(after, CHUNK)).await?;
        Ok(events.into_iter().map(Arc::new).collect())
    }

    /// Reads the checkpoint, and rebuilds the projection if that is beyond the end of the store.
    async fn find_place(&self, epoch: Epoch) -> Result<Place, StoreError> {
        // The store may have been restored: it may lack what this process once appended.
        self.ports.fresh.forget();
        let checkpoint = bounded(self.projection.checkpoint()).await?;
        let newest = bounded(self.ports.store.newest()).await?;
        if checkpoint <= newest {
            record_checkpoint(checkpoint);
            return Ok(Place { epoch, checkpoint });
        }
        let (at, end) = (checkpoint.get(), newest.get());
        error!(
            checkpoint = at,
            end, "the checkpoint is beyond the end of the store, rebuilding"
        );
        let problem = format!("the checkpoint {at} is beyond the end of the store, {end}");
        self.ports.alarm.set("subscriber", Some(problem));
        let checkpoint = self.projection.rebuild().await?;
        self.ports.alarm.set("subscriber", None);
        record_checkpoint(checkpoint);
        Ok(Place { epoch, checkpoint })
    }
}

/// Gives up waiting for a store that does not answer.
async fn bounded<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    timeout(DEADLINE, asked)
        .await
        .map_err(StoreError::unavailable)?
}

fn severity(error: &StoreError) -> Severity {
    match error {
        StoreError::Corrupt { .. } => Severity::Alarm,
        StoreError::Unavailable(_) | StoreError::Overloaded | StoreError::Unknown(_) => {
            Severity::Warning
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a gauge is a float; positions stay exact up to 2^53"
)]
fn record_checkpoint(checkpoint: Position) {
    metrics::gauge!("orders_projection_position").set(checkpoint.get() as f64);
}
