//! The stream's lives: it is made where there is none, and made anew where it is this store's own
//! but from before a restore.
//!
//! **When stream and store disagree.** A store that was restored to an earlier point lacks the last
//! events that the stream holds, and gives their positions to other events. Publishing behind them
//! would mix two histories under the same positions; so nothing is published until the stream is a
//! new one, filled from the store's first event on.
//!
//! **When that is safe.** The stream says which store it is filled from ([`StreamOwner`]), and a restored
//! backup has kept its name. So a stream of another store, or one that does not say, is left alone,
//! and the relay stays stopped, loudly. A copy of the database that runs beside the original has its
//! name as well; two things keep the two from taking the stream from one another: it is replaced
//! only when nobody has written to it for a while, and a relay that finds its stream replaced by
//! somebody else, without having lost its lease, stops.
//!
//! **How.** The next incarnation is begun in the database first, where the lease's epoch is checked;
//! then the stream is deleted and made. Not purged: others' durable consumers would go on behind
//! events that are no more, and pass over new ones at positions that they have seen. They end with
//! the stream, and notice. A relay that is killed in between leaves no stream: the next one makes it.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{error, info};
use uuid::Uuid;

use super::{
    owner::StreamOwner,
    provenance::Provenance,
    relay_error::RelayError,
    stream_error::Remedy,
    tail::{self, StreamTail},
};
use crate::event_sourcing::{Epoch, EventStore};

/// The stream of a store through all its lives, as the relay sees to them.
pub struct StreamLifecycle<S> {
    provenance: Provenance<S>,
    /// How long nobody must have written to a stream that is to be replaced.
    patience: Duration,
    /// The incarnation that was last found good, and the tenure that found it so.
    agreed: Option<(Epoch, i64)>,
    leftover: Option<Leftover>,
}

/// A stream that is to be replaced, since when it has been silent.
struct Leftover {
    created: String,
    sequence: u64,
    since: Instant,
}

impl<S: EventStore> StreamLifecycle<S> {
    /// The lives of this stream; a leftover is replaced after `patience`.
    #[must_use]
    pub const fn new(provenance: Provenance<S>, patience: Duration) -> Self {
        Self {
            provenance,
            patience,
            agreed: None,
            leftover: None,
        }
    }

    /// The tenure may have been broken: others may have seen to the stream meanwhile.
    pub fn forget(&mut self) {
        self.agreed = None;
        self.leftover = None;
    }

    /// The end of a stream that is this store's and agrees with it; made now where it must be.
    ///
    /// # Errors
    /// Where it does not agree and cannot be made anew (yet), or somebody does not answer.
    pub async fn settle(&mut self, epoch: Epoch) -> Result<StreamTail, RelayError> {
        let ours = self.provenance.identity.id().await?;
        let Some(state) = self.provenance.stream.declare(ours).await? else {
            return self.begin(ours, 0, epoch).await;
        };
        let tail = tail::find(&self.provenance.stream, state).await?;
        if !self.provenance.knows(&tail.end).await? {
            return self.replace(ours, tail, epoch).await;
        }
        let stamp = if let Some(stamp) = tail.stamp {
            stamp
        } else {
            // Made by an older release, or by hand: it holds our events and nothing else.
            let stamp = self.next(ours, 0, epoch).await?;
            self.provenance.stream.mark(stamp).await?;
            stamp
        };
        self.agree(stamp, epoch);
        Ok(tail)
    }

    /// Makes a stream anew that is a leftover from before a restore, once it is certain to be one.
    async fn replace(
        &mut self,
        ours: Uuid,
        tail: StreamTail,
        epoch: Epoch,
    ) -> Result<StreamTail, RelayError> {
        let disagreement = |remedy| self.provenance.disagreement(&tail.end, remedy);
        let Some(stamp) = tail.stamp else {
            return Err(disagreement(Remedy::Unproven).into());
        };
        if self
            .agreed
            .is_some_and(|(tenure, known)| tenure == epoch && stamp.incarnation > known)
        {
            return Err(disagreement(Remedy::Contested).into());
        }
        let waits = disagreement(Remedy::Replace);
        let leftover = self
            .leftover
            .take()
            .filter(|seen| seen.created == tail.created && seen.sequence == tail.sequence)
            .unwrap_or_else(|| Leftover {
                created: tail.created.clone(),
                sequence: tail.sequence,
                since: Instant::now(),
            });
        if leftover.since.elapsed() < self.patience {
            self.leftover = Some(leftover);
            return Err(waits.into());
        }
        let next = self.next(ours, stamp.incarnation, epoch).await?;
        self.provenance.stream.delete(&leftover.created).await?;
        metrics::counter!("orders_stream_replaced_total").increment(1);
        error!(
            stream = self.provenance.stream.options().stream,
            left = stamp.incarnation,
            begun = next.incarnation,
            "the store was restored: the stream is made anew and filled from the first event on; \
             its subscribers have seen events that are no more"
        );
        self.create(next, epoch).await
    }

    async fn begin(
        &mut self,
        ours: Uuid,
        after: i64,
        epoch: Epoch,
    ) -> Result<StreamTail, RelayError> {
        let stamp = self.next(ours, after, epoch).await?;
        self.create(stamp, epoch).await
    }

    async fn next(&self, ours: Uuid, after: i64, epoch: Epoch) -> Result<StreamOwner, RelayError> {
        let begun = self.provenance.identity.begin_incarnation(after, epoch);
        let incarnation = begun.await?.ok_or(RelayError::Superseded)?;
        Ok(StreamOwner {
            store: ours,
            incarnation,
        })
    }

    async fn create(&mut self, stamp: StreamOwner, epoch: Epoch) -> Result<StreamTail, RelayError> {
        let state = self.provenance.stream.create(stamp).await?;
        self.agree(stamp, epoch);
        Ok(tail::find(&self.provenance.stream, state).await?)
    }

    fn agree(&mut self, stamp: StreamOwner, epoch: Epoch) {
        let incarnation = stamp.incarnation;
        if self.agreed != Some((epoch, incarnation)) {
            info!(incarnation, "stream and store agree");
        }
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::gauge!("orders_stream_incarnation").set(incarnation as f64);
        self.agreed = Some((epoch, incarnation));
        self.leftover = None;
    }
}
