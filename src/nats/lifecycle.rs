//! Creates the stream, and replaces it after a restore of the store.
//!
//! **When stream and store do not match.** A store that was restored to an earlier point lacks the
//! last events of its stream and assigns their positions to new events. Publishing behind the old
//! events would mix two histories under the same positions. So nothing is published until the
//! stream has been deleted, created again and filled from the store's first event on.
//!
//! **When that is safe.** The stream names the store that fills it ([`StreamOwner`]), and a
//! restored backup keeps the store's id. A stream of another store, or one without an owner, is
//! left alone: the relay stops and raises an alarm. A copy of the database that runs beside the
//! original has the same id. Two rules keep the two from replacing each other's stream for ever: a
//! stream is replaced only after it has had no new message for a while, and a relay whose stream
//! was replaced by another process, although it has held the lease all the time, stops.
//!
//! **How.** The next incarnation is first recorded in the database, which checks the lease's epoch;
//! then the stream is deleted and created. It is not purged, because other programs' durable
//! consumers would keep their place: they would skip new events at positions that they have seen
//! already. They end with the stream and notice it. If the relay is killed in between, there is no
//! stream, and the next relay creates it.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info};
use uuid::Uuid;

use super::{
    owner::StreamOwner,
    ownership::StreamOwnership,
    relay_error::RelayError,
    stream_error::MismatchKind,
    tail::{self, StreamTail},
};
use crate::event_sourcing::{Epoch, EventStore};

/// Creates the stream of a store when it is missing, and replaces it when it is outdated.
pub struct StreamLifecycle<S> {
    ownership: StreamOwnership<S>,
    /// How long an outdated stream must have had no new message before it is replaced.
    quiet_period: Duration,
    /// The last incarnation that matched the store, and the lease's epoch at that time.
    accepted: Option<(Epoch, i64)>,
    outdated: Option<OutdatedStream>,
}

/// A stream that is to be replaced.
struct OutdatedStream {
    created: String,
    last_sequence: u64,
    quiet_since: Instant,
}

impl<S: EventStore> StreamLifecycle<S> {
    /// The lifecycle of this stream. An outdated stream is replaced after `quiet_period` without a
    /// new message.
    #[must_use]
    pub const fn new(ownership: StreamOwnership<S>, quiet_period: Duration) -> Self {
        Self {
            ownership,
            quiet_period,
            accepted: None,
            outdated: None,
        }
    }

    /// Clears what is known about the stream. To be called when the lease may have been lost:
    /// another process may have replaced the stream since.
    pub fn reset(&mut self) {
        self.accepted = None;
        self.outdated = None;
    }

    /// Makes sure that the stream exists and matches the store, and returns its end.
    ///
    /// # Errors
    /// The stream does not match and cannot be replaced (yet), or NATS or the store fails.
    pub async fn ensure_stream(&mut self, epoch: Epoch) -> Result<StreamTail, RelayError> {
        let store_id = self.ownership.identity.id().await?;
        let stream = &self.ownership.stream;
        let Some(state) = stream.ensure_configuration(store_id).await? else {
            let owner = self.next_owner(store_id, 0, epoch).await?;
            return self.create(owner, epoch).await;
        };
        let tail = tail::find(stream, state).await?;
        if !self.ownership.store_contains(&tail.end).await? {
            return self.replace(store_id, tail, epoch).await;
        }
        let owner = if let Some(owner) = tail.owner {
            owner
        } else {
            // Created by an operator: it holds this store's events and nothing else.
            let owner = self.next_owner(store_id, 0, epoch).await?;
            self.ownership.stream.set_owner(owner).await?;
            owner
        };
        self.accept(owner, epoch);
        Ok(tail)
    }

    /// Replaces a stream that does not match the store, once it is certain that it is this store's
    /// own from before a restore.
    async fn replace(
        &mut self,
        store_id: Uuid,
        tail: StreamTail,
        epoch: Epoch,
    ) -> Result<StreamTail, RelayError> {
        let mismatch = |kind| self.ownership.mismatch(&tail.end, kind);
        let Some(owner) = tail.owner else {
            return Err(mismatch(MismatchKind::UnknownOwner).into());
        };
        let is_replaced_elsewhere = self
            .accepted
            .is_some_and(|(held, accepted)| held == epoch && owner.incarnation > accepted);
        if is_replaced_elsewhere {
            return Err(mismatch(MismatchKind::ReplacedElsewhere).into());
        }
        let not_yet = mismatch(MismatchKind::AfterRestore);
        let outdated = self
            .outdated
            .take()
            .filter(|seen| seen.created == tail.created && seen.last_sequence == tail.last_sequence)
            .unwrap_or_else(|| OutdatedStream {
                created: tail.created.clone(),
                last_sequence: tail.last_sequence,
                quiet_since: Instant::now(),
            });
        if outdated.quiet_since.elapsed() < self.quiet_period {
            self.outdated = Some(outdated);
            return Err(not_yet.into());
        }
        let next = self.next_owner(store_id, owner.incarnation, epoch).await?;
        self.ownership.stream.delete(&outdated.created).await?;
        metrics::counter!("orders_stream_replaced_total").increment(1);
        error!(
            stream = self.ownership.stream.options().stream,
            old_incarnation = owner.incarnation,
            new_incarnation = next.incarnation,
            "the store was restored: the stream is deleted and filled again from the first event; \
             its other subscribers have seen events that no longer exist"
        );
        self.create(next, epoch).await
    }

    /// Records the next incarnation, which is greater than `after`, in the database.
    async fn next_owner(
        &self,
        store_id: Uuid,
        after: i64,
        epoch: Epoch,
    ) -> Result<StreamOwner, RelayError> {
        let begun = self.ownership.identity.begin_incarnation(after, epoch);
        let incarnation = begun.await?.ok_or(RelayError::LeaseLost)?;
        Ok(StreamOwner {
            store: store_id,
            incarnation,
        })
    }

    async fn create(&mut self, owner: StreamOwner, epoch: Epoch) -> Result<StreamTail, RelayError> {
        let state = self.ownership.stream.create(owner).await?;
        self.accept(owner, epoch);
        Ok(tail::find(&self.ownership.stream, state).await?)
    }

    fn accept(&mut self, owner: StreamOwner, epoch: Epoch) {
        let incarnation = owner.incarnation;
        if self.accepted != Some((epoch, incarnation)) {
            info!(incarnation, "the stream matches the store");
        }
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("orders_stream_incarnation").set(incarnation as f64);
        self.accepted = Some((epoch, incarnation));
        self.outdated = None;
    }
}
