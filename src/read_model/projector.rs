//! The projector: keeps `order_views` and `order_items` from the events.
//!
//! The cursor is the checkpoint row. It moves in the transaction that writes the rows, and every writer
//! of rows (the projector, the switch of a rebuild, a refold) counts up its revision. So each event is
//! applied once, even if it is delivered twice or out of order.
//!
//! No lock is held while a chunk is folded. The rows are written only if the checkpoint is still as it
//! was read; if not, the chunk is folded again (optimistic concurrency, as for the aggregates).

use std::{sync::Arc, time::Duration};

use sqlx::{PgConnection, PgPool};
use tokio::time::timeout;
use tracing::warn;

use super::{
    bookkeeping::{self, Checkpoint},
    chunk::{self, WriteMode},
    error::WriteError,
    row_cache::RowCache,
    row_writer::{Baseline, RowWriter, WriterConnection},
    tables::{self, Changes, Guard},
};
use crate::{
    event_sourcing::{
        Epoch, EventStore, Position, Pulse, RecordedEvent, StoreError, UpcasterChain,
        projection::{Delivery, Projection},
        testing::sabotage::{self, Safeguard},
    },
    sql::run_query,
};

/// How long a chunk may take, also if the server does not answer at all.
pub(super) const DEADLINE: Duration = Duration::from_mins(1);

/// How many events of a gap, or of a catch-up, are applied in one transaction.
const PAGE: u32 = 1000;

/// How often a chunk is folded before it fails, if another writer is faster each time.
const ATTEMPTS: u32 = 4;

/// The projection of orders onto `order_views` and `order_items`.
///
/// Every future of this type can be dropped at any time: its connection is then closed, not reused, and
/// the server rolls back. Call it from one long-lived loop all the same, because the work of a dropped
/// chunk is done again.
#[derive(Debug, Clone)]
pub struct Projector<S> {
    pub(super) pool: PgPool,
    pub(super) rows: RowWriter,
    pub(super) store: S,
    pub(super) upcasters: Arc<UpcasterChain>,
}

/// What one transaction achieved.
struct Applied {
    /// The position of the checkpoint afterwards.
    checkpoint: Position,
    /// Whether all deliveries are applied. If not, a long gap before them needs more transactions.
    is_complete: bool,
}

impl<S: EventStore> Projector<S> {
    /// Makes a projector. It reads through `pool`, writes to the same database on a connection of its
    /// own, and reads missing events from `store`.
    #[must_use]
    pub fn new(pool: PgPool, store: S, upcasters: Arc<UpcasterChain>) -> Self {
        Self {
            rows: RowWriter::new((*pool.connect_options()).clone()),
            pool,
            store,
            upcasters,
        }
    }

    /// Applies all events of the store after the checkpoint and returns the new checkpoint. A running
    /// service is not disturbed. `progress` is called with the checkpoint after every chunk.
    ///
    /// # Errors
    /// If the database fails.
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

    /// Reads the checkpoint.
    pub(super) async fn read_checkpoint(&self) -> Result<Checkpoint, StoreError> {
        Ok(self.query(bookkeeping::read).await?.checkpoint)
    }

    /// Runs a short query on the pool.
    pub(super) async fn query<T>(
        &self,
        query: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error> + Send,
    ) -> Result<T, StoreError> {
        run_query(&self.pool, &Pulse::unwatched(), query).await
    }

    /// Applies the deliveries, or the first events of a long gap before them, in one transaction.
    async fn apply_fast(
        &self,
        deliveries: &[Delivery],
        epoch: Epoch,
    ) -> Result<Applied, WriteError> {
        for _ in 0..ATTEMPTS {
            let mut writer = self.rows.take().await?;
            let mut baseline = baseline(&mut writer, deliveries, epoch).await?;
            let from = baseline.checkpoint;
            let (events, is_complete) = self.fill_gaps(deliveries, from.position).await?;
            let Some(to) = events.last().map(|event| event.position) else {
                writer.baseline = Some(baseline);
                self.rows.keep(writer);
                return Ok(Applied {
                    checkpoint: from.position,
                    is_complete,
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
                &mut baseline.cache,
                WriteMode::Fast(guard),
            )
            .await?;
            writer.baseline = written
                .filter(|_| guard.is_some())
                .map(|revision| Baseline {
                    checkpoint: Checkpoint {
                        position: to,
                        epoch,
                        revision,
                    },
                    cache: baseline.cache,
                });
            self.rows.keep(writer);
            if written.is_some() {
                return Ok(Applied {
                    checkpoint: to,
                    is_complete,
                });
            }
        }
        Err(StoreError::unavailable(TooManyConflicts).into())
    }

    /// Applies what [`Self::apply_fast`] applies, after the database has refused the data: holds the
    /// lock of the checkpoint while it looks for the order to blame.
    async fn apply_bisecting(
        &self,
        deliveries: &[Delivery],
        epoch: Epoch,
    ) -> Result<Applied, WriteError> {
        let mut locked = self.rows.lock_checkpoint().await?;
        let from = locked.checkpoint;
        if let Err(stale) = check_epoch(epoch, from) {
            locked.rollback().await?;
            return Err(stale.into());
        }
        let (events, is_complete) = self.fill_gaps(deliveries, from.position).await?;
        let Some(checkpoint) = events.last().map(|event| event.position) else {
            locked.rollback().await?;
            return Ok(Applied {
                checkpoint: from.position,
                is_complete,
            });
        };
        let cache = &mut RowCache::new(locked.has_parked);
        let (connection, mode) = (locked.connection(), WriteMode::Bisect);
        let (store, upcasters) = (&self.store, &self.upcasters);
        chunk::apply(connection, store, upcasters, events, cache, mode).await?;
        locked.commit_at(checkpoint, epoch).await?;
        Ok(Applied {
            checkpoint,
            is_complete,
        })
    }

    /// The events after the checkpoint, up to the last delivery. Reads those that were not delivered
    /// from the store. The flag is `false` if a long gap leaves more for the next transaction.
    async fn fill_gaps(
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
                let Some(newest) = missing.last().map(|event| event.position) else {
                    return Err(StoreError::unavailable(NotInStore(delivery.previous)));
                };
                missing.retain(|event| event.position <= delivery.previous);
                events.append(&mut missing);
                if newest < delivery.previous {
                    return Ok((events, false));
                }
            }
            cursor = delivery.event.position;
            events.push(delivery.event.clone());
        }
        Ok((events, true))
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
            let applied = timeout(DEADLINE, self.apply_fast(&deliveries, epoch)).await;
            let applied = match applied.map_err(StoreError::unavailable)? {
                Err(WriteError::Data(error)) => {
                    warn!(%error, "the database refuses the data of a chunk, looking for the order");
                    let applied = timeout(DEADLINE, self.apply_bisecting(&deliveries, epoch)).await;
                    applied.map_err(StoreError::unavailable)?
                }
                applied => applied,
            }?;
            if applied.is_complete {
                return Ok(applied.checkpoint);
            }
        }
    }
}

/// The kept baseline if the deliveries follow it directly; otherwise reads it.
async fn baseline(
    writer: &mut WriterConnection,
    deliveries: &[Delivery],
    epoch: Epoch,
) -> Result<Baseline, StoreError> {
    let kept = writer.baseline.take().filter(|baseline| {
        let follows = |first: &Delivery| first.previous == baseline.checkpoint.position;
        deliveries.first().is_some_and(follows)
    });
    let baseline = match kept {
        Some(baseline) => baseline,
        None => writer.read_baseline().await?,
    };
    check_epoch(epoch, baseline.checkpoint)?;
    Ok(baseline)
}

/// Refuses to write under an epoch that is no longer the newest.
fn check_epoch(epoch: Epoch, checkpoint: Checkpoint) -> Result<(), StoreError> {
    if epoch < checkpoint.epoch && !sabotage::is_out(Safeguard::EpochFence) {
        return Err(StoreError::unavailable(StaleEpoch {
            held: epoch.0,
            newest: checkpoint.epoch.0,
        }));
    }
    Ok(())
}

/// Another writer changed the read model during each attempt to write a chunk.
#[derive(Debug, thiserror::Error)]
#[error("another writer changed the read model during each of {ATTEMPTS} attempts")]
struct TooManyConflicts;

/// The caller's lease has passed to another process.
#[derive(Debug, thiserror::Error)]
#[error("the lease of epoch {held} is lost, the newest epoch is {newest}")]
struct StaleEpoch {
    held: i64,
    newest: i64,
}

/// A delivery names a preceding event that the store does not have.
#[derive(Debug, thiserror::Error)]
#[error("the event store has no event up to position {0}")]
struct NotInStore(Position);
