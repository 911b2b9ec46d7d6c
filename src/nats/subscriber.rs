//! The subscriber: feeds a projection from the stream.
//!
//! The only cursor is the projection's checkpoint. The consumer is disposable: it is replaced after
//! an error, a gap in its deliveries, missed heartbeats, a recreated stream, or when messages that
//! the stream holds do not arrive. The next consumer starts at the checkpoint. Only the holder of
//! the lease consumes, and what it applies carries the lease's epoch.
//!
//! Before a consumer is created, the stream is checked: events of another store, or of this store
//! from before a restore, are never applied. A restore cannot happen while a consumer lives:
//! without an answer of the store the lease is not renewed, and the consumer is dropped.
//!
//! Events are applied in chunks of whatever has arrived, so chunks are small while the service is
//! idle and large while it catches up.

use std::time::Duration;

use tokio::{
    select,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    consumer::{Chunk, Consumer, DeliveryProgress},
    failure_log::FailureLog,
    lease_keeper::LeaseKeeper,
    ownership::StreamCheck,
    stream::{DEADLINE, EventStream},
    subscriber_error::SubscriberError,
};
use crate::event_sourcing::{Epoch, Lease, Position, StoreError, projection::Projection};

/// How long no message may arrive before the stream itself is checked.
const SILENCE: Duration = Duration::from_millis(700);

/// After how many checks in a row a consumer that stays behind is replaced at the latest.
const MAX_CHECKS_BEHIND: u32 = 8;

/// How long a subscriber without the lease waits.
const STANDBY_PAUSE: Duration = Duration::from_millis(250);

/// What a step of the subscriber did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriberStep {
    /// Nothing: another process holds the lease.
    Standby,
    /// It waited, and no message arrived.
    Idle,
    /// It applied so many events.
    Applied(usize),
}

/// The present consumer, and what the subscriber remembers about it.
struct Subscription {
    consumer: Consumer,
    epoch: Epoch,
    /// How many checks in a row have found it behind.
    checks_behind: u32,
}

/// Feeds the projection `P` while it holds the lease `L`.
pub struct Subscriber<P, L> {
    stream: EventStream,
    check: StreamCheck<SubscriberError>,
    projection: P,
    lease: LeaseKeeper<L>,
    subscription: Option<Subscription>,
    /// How many checks in a row may find a consumer behind before it is replaced. It doubles each
    /// time, so that a slow consumer is not replaced for ever.
    allowed_checks_behind: u32,
}

impl<P: Projection, L: Lease> Subscriber<P, L> {
    /// A subscriber from `stream`, which passes `check`, to `projection`. Only the holder of
    /// `lease`, which lasts `lease_ttl`, applies events.
    #[must_use]
    pub fn new(
        stream: EventStream,
        check: StreamCheck<SubscriberError>,
        projection: P,
        lease: L,
        lease_ttl: Duration,
    ) -> Self {
        Self {
            stream,
            check,
            projection,
            lease: LeaseKeeper::new(lease, "projector", lease_ttl),
            subscription: None,
            allowed_checks_behind: 1,
        }
    }

    /// Applies events until `cancel`, then gives the lease back.
    ///
    /// A step that is dropped before its end has applied its whole chunk or nothing.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut failures = FailureLog::new("subscriber");
        while !cancel.is_cancelled() {
            let step = select! {
                step = self.run_once() => step,
                () = cancel.cancelled() => break,
            };
            let pause = match step {
                Ok(SubscriberStep::Standby) => STANDBY_PAUSE,
                Ok(SubscriberStep::Idle | SubscriberStep::Applied(_)) => {
                    failures.record_success();
                    continue;
                }
                Err(error) => failures.record_failure(&error, error.severity()),
            };
            select! {
                () = sleep(pause) => {}
                () = cancel.cancelled() => {}
            }
        }
        self.subscription = None;
        // Bounded, because the store may hang; the lease then runs out.
        let _ = timeout(DEADLINE, self.lease.release()).await;
    }

    /// One step: waits a moment for messages and applies those that have arrived.
    ///
    /// # Errors
    /// See [`SubscriberError`]. The next step creates a new consumer at the checkpoint.
    pub async fn run_once(&mut self) -> Result<SubscriberStep, SubscriberError> {
        // Taken out, so that no consumer is left after an error or a dropped step.
        let subscription = self.subscription.take();
        let Some(epoch) = self.lease.hold().await? else {
            return Ok(SubscriberStep::Standby);
        };
        let mut subscription = match subscription.filter(|current| current.epoch == epoch) {
            Some(subscription) => subscription,
            None => self.subscribe(epoch).await?,
        };
        // Not longer than an answer about the lease is valid.
        let wait = SILENCE.min(self.lease.renewal_interval());
        let Some(Chunk { events, failure }) = subscription.consumer.next_chunk(wait).await else {
            self.subscription = self.check_silence(subscription).await?;
            return Ok(SubscriberStep::Idle);
        };
        subscription.checks_behind = 0;
        let applied = events.len();
        if applied > 0 {
            let checkpoint = self.projection.apply(events, epoch).await?;
            metrics::counter!("orders_projection_applied_total").increment(applied as u64);
            record_checkpoint(checkpoint);
        }
        // Returned only now, so that a failing consumer still makes progress.
        if let Some(failure) = failure {
            return Err(failure);
        }
        self.subscription = Some(subscription);
        Ok(SubscriberStep::Applied(applied))
    }

    /// Creates a consumer that starts after the checkpoint.
    async fn subscribe(&self, epoch: Epoch) -> Result<Subscription, SubscriberError> {
        let started = Instant::now();
        let state = (self.check)().await?;
        let checkpoint = timeout(DEADLINE, self.projection.checkpoint()).await;
        let checkpoint = checkpoint.map_err(StoreError::unavailable)??;
        record_checkpoint(checkpoint);
        let consumer = Consumer::create(self.stream.clone(), state, checkpoint).await?;
        debug!(elapsed = ?started.elapsed(), "subscribed");
        Ok(Subscription {
            consumer,
            epoch,
            checks_behind: 0,
        })
    }

    /// Checks a consumer without new messages; `None` if it must be replaced.
    async fn check_silence(
        &mut self,
        mut subscription: Subscription,
    ) -> Result<Option<Subscription>, SubscriberError> {
        match subscription.consumer.progress().await? {
            DeliveryProgress::StreamReplaced => Ok(None),
            DeliveryProgress::CaughtUp => {
                self.allowed_checks_behind = 1;
                Ok(Some(subscription))
            }
            DeliveryProgress::Behind => {
                subscription.checks_behind += 1;
                if subscription.checks_behind < self.allowed_checks_behind {
                    return Ok(Some(subscription));
                }
                let doubled = self.allowed_checks_behind.saturating_mul(2);
                self.allowed_checks_behind = doubled.min(MAX_CHECKS_BEHIND);
                Ok(None)
            }
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
