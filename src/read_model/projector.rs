//! Keeps the read model from the events.
//!
//! The cursor of record is the checkpoint row: it moves in the transaction that moves the rows, and
//! every writer of the rows (this, a rebuild's switch, a refold) counts up its revision. So each event
//! is applied once, whatever is delivered how often and in whatever order. And nothing needs to be held
//! while a chunk is folded: it is written only where the read model still stands where it was read,
//! else it is folded again (optimistic concurrency, as for the aggregates).

use std::{sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio::time::timeout;
use tracing::warn;

use super::{
    checkpoint::{CHECKPOINT, Checkpoint, KnownCheckpoint, RowWriter, WriterConnection},
    chunk::{self, WriteMode},
    error::WriteError,
    known::KnownRows,
    tables::{self, Changes, Guard},
};
use crate::{
    event_sourcing::{
        Epoch, EventStore, Position, RecordedEvent, StoreError, UpcasterChain,
        projection::{Delivery, Projection},
        testing::sabotage::{self, Safeguard},
    },
    sql::error::store_error,
};

/// How long a chunk may take, the server not answering at all included.
pub(super) const DEADLINE: Duration = Duration::from_mins(1);

/// How many events of a gap, or of a catch-up, are applied in one transaction.
const PAGE: u32 = 1000;

/// How often a chunk is folded again because somebody else wrote rows meanwhile.
const ATTEMPTS: u32 = 4;

/// The projection of orders onto `order_views` and `order_items`.
///
/// Every future of this type can be dropped at any time: the connection is then closed, not
/// reused, and the server rolls back. It is meant to be called from one
/// long-lived loop all the same: a dropped chunk is work done twice.
#[derive(Debug, Clone)]
pub struct Projector<S> {
    pub(super) pool: PgPool,
    pub(super) rows: RowWriter,
    pub(super) store: S,
    pub(super) upcasters: Arc<UpcasterChain>,
}

/// What one transaction led to.
struct Step {
    checkpoint: Position,
    is_done: bool,
}

impl<S: EventStore> Projector<S> {
    /// Makes a projector of the read model in the database of `pool`, which it reads through (it
    /// writes on a connection of its own), that takes missing events from `store`.
    #[must_use]
    pub fn new(pool: PgPool, store: S, upcasters: Arc<UpcasterChain>) -> Self {
        Self {
            rows: RowWriter::new((*pool.connect_options()).clone()),
            pool,
            store,
            upcasters,
        }
    }

    /// Applies what the store holds beyond the checkpoint, also beside a running service, and
    /// answers up to where. `progress` hears of every chunk.
    ///
    /// # Errors
    /// Where the database fails.
    pub async fn catch_up(&self, progress: impl Fn(Position)) -> Result<Position, StoreError> {
        loop {
            let checkpoint = self.read_checkpoint().await?;
            let events = self.store.read_all(checkpoint.position, PAGE).await?;
            if events.is_empty() {
                return Ok(checkpoint.position);
            }
            let mut previous = checkpoint.position;
            let deliveries = events.into_iter().map(|event| {
                let delivery = Delivery { previous, event };
                previous = delivery.event.position;
                delivery
            });
            progress(self.apply(deliveries.collect(), checkpoint.epoch).await?);
        }
    }

    /// Applies the deliveries, or the first events of a long gap before them, in one transaction.
    async fn step(&self, deliveries: &[Delivery], epoch: Epoch) -> Result<Step, WriteError> {
        for _ in 0..ATTEMPTS {
            let mut writer = self.rows.take().await?;
            let mut standing = stand(&mut writer, deliveries, epoch).await?;
            let from = standing.checkpoint;
            let (events, is_done) = self.complete(deliveries, from.position).await?;
            let Some(to) = events.last().map(|event| event.position) else {
                writer.give_back(Some(standing));
                return Ok(Step {
                    checkpoint: from.position,
                    is_done,
                });
            };
            let mut guard = Some(Guard { from, to, epoch });
            if sabotage::is_out(Safeguard::CheckpointInTheTransaction) {
                let nothing = Changes::default();
                let early = tables::write(&mut writer.connection, &nothing, guard.take());
                early.await.map_err(WriteError::from_query)?;
            }
            let written = chunk::apply(
                &mut writer.connection,
                &self.store,
                &self.upcasters,
                events,
                &mut standing.known,
                WriteMode::Fast,
                guard,
            )
            .await?;
            standing.checkpoint = Checkpoint {
                position: to,
                epoch,
                revision: written.unwrap_or_default(),
            };
            let is_written = written.is_some();
            writer.give_back((is_written && guard.is_some()).then_some(standing));
            if is_written {
                return Ok(Step {
                    checkpoint: to,
                    is_done,
                });
            }
        }
        Err(StoreError::unavailable(MovedOn).into())
    }

    /// The same where the database has refused the chunk: holds the checkpoint while it looks for the
    /// order that is to blame.
    async fn careful_step(
        &self,
        deliveries: &[Delivery],
        epoch: Epoch,
    ) -> Result<Step, WriteError> {
        let mut held = self.rows.hold().await?;
        let from = held.checkpoint;
        if let Some(stale) = stale(epoch, from) {
            held.rollback().await?;
            return Err(stale.into());
        }
        let (events, is_done) = self.complete(deliveries, from.position).await?;
        let Some(checkpoint) = events.last().map(|event| event.position) else {
            held.rollback().await?;
            return Ok(Step {
                checkpoint: from.position,
                is_done,
            });
        };
        let known = &mut KnownRows::none(held.has_parked);
        let (connection, care) = (held.connection(), WriteMode::Bisect);
        let (store, upcasters) = (&self.store, &self.upcasters);
        chunk::apply(connection, store, upcasters, events, known, care, None).await?;
        held.commit_at(checkpoint, epoch).await?;
        Ok(Step {
            checkpoint,
            is_done,
        })
    }

    /// The events that follow the checkpoint up to the last delivery, with what was not delivered
    /// from the store; `false` where a long gap leaves more for the next transaction.
    async fn complete(
        &self,
        deliveries: &[Delivery],
        checkpoint: Position,
    ) -> Result<(Vec<RecordedEvent>, bool), StoreError> {
        let mut cursor = checkpoint;
        let mut events = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            if delivery.event.position <= cursor {
                continue;
            }
            if delivery.previous > cursor {
                let mut missing = self.store.read_all(cursor, PAGE).await?;
                let newest = missing.last().map(|event| event.position);
                let is_closed = newest.is_some_and(|newest| newest >= delivery.previous);
                missing.retain(|event| event.position <= delivery.previous);
                events.append(&mut missing);
                match newest {
                    _ if is_closed => {}
                    Some(_) => return Ok((events, false)),
                    None => return Err(StoreError::unavailable(NotInStore(delivery.previous))),
                }
            }
            cursor = delivery.event.position;
            events.push(delivery.event.clone());
        }
        Ok((events, true))
    }

    pub(super) async fn read_checkpoint(&self) -> Result<Checkpoint, StoreError> {
        let row = sqlx::query!(
            "select position, epoch, revision from projection_checkpoint where name = $1",
            CHECKPOINT,
        )
        .fetch_one(&self.pool)
        .await
        .map_err(store_error)?;
        Ok(Checkpoint {
            position: Position::new(row.position),
            epoch: Epoch(row.epoch),
            revision: row.revision,
        })
    }
}

impl<S: EventStore> Projection for Projector<S> {
    async fn checkpoint(&self) -> Result<Position, StoreError> {
        Ok(self.read_checkpoint().await?.position)
    }

    async fn apply(
        &self,
        mut deliveries: Vec<Delivery>,
        epoch: Epoch,
    ) -> Result<Position, StoreError> {
        deliveries.sort_unstable_by_key(|delivery| delivery.event.position);
        loop {
            let step = timeout(DEADLINE, self.step(&deliveries, epoch)).await;
            let step = match step.map_err(StoreError::unavailable)? {
                Err(WriteError::Data(error)) => {
                    warn!(%error, "the database refuses a chunk, looking for the order");
                    let step = timeout(DEADLINE, self.careful_step(&deliveries, epoch)).await;
                    step.map_err(StoreError::unavailable)?
                }
                step => step,
            }?;
            if step.is_done {
                return Ok(step.checkpoint);
            }
        }
    }
}

/// Where the read model stands: remembered, where the deliveries follow it directly, else read.
async fn stand(
    writer: &mut WriterConnection,
    deliveries: &[Delivery],
    epoch: Epoch,
) -> Result<KnownCheckpoint, StoreError> {
    let remembered = writer.standing.take().filter(|standing| {
        let follows = |first: &Delivery| first.previous == standing.checkpoint.position;
        deliveries.first().is_some_and(follows)
    });
    let standing = match remembered {
        Some(standing) => standing,
        None => writer.read_standing().await?,
    };
    match stale(epoch, standing.checkpoint) {
        Some(stale) => Err(stale),
        None => Ok(standing),
    }
}

/// Why nothing may be written under this epoch any more.
fn stale(epoch: Epoch, checkpoint: Checkpoint) -> Option<StoreError> {
    let is_stale = epoch < checkpoint.epoch && !sabotage::is_out(Safeguard::EpochFence);
    is_stale.then(|| {
        StoreError::unavailable(StaleEpoch {
            held: epoch.0,
            newest: checkpoint.epoch.0,
        })
    })
}

/// Others wrote rows whenever a chunk was to be written.
#[derive(Debug, thiserror::Error)]
#[error("other writers have moved on in the read model {ATTEMPTS} times meanwhile")]
struct MovedOn;

/// The caller's lease has passed to another.
#[derive(Debug, thiserror::Error)]
#[error("the lease of epoch {held} has passed to another, of epoch {newest}")]
struct StaleEpoch {
    held: i64,
    newest: i64,
}

/// A message says that there is an event that the store does not show.
#[derive(Debug, thiserror::Error)]
#[error("the event store does not show the event at position {0}")]
struct NotInStore(Position);
