//! The projector: keeps `order_views` and `order_items` from the events.
//!
//! The cursor is the checkpoint row. It moves in the transaction that writes the rows, and every writer
//! of rows (the projector, the switch of a rebuild, a refold) counts up its revision. So each event is
//! applied once, even if it is brought several times.
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
        testing::sabotage::{self, Safeguard},
    },
    sql::run_query,
};

/// How long a chunk may take, also if the server does not answer at all.
pub(super) const DEADLINE: Duration = Duration::from_mins(1);

/// How many events of a catch-up are applied in one transaction.
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
            let events: Vec<_> = events.into_iter().map(Arc::new).collect();
            let Checkpoint {
                position, epoch, ..
            } = checkpoint;
            progress(self.apply_events(position, &events, epoch).await?);
        }
    }

    /// Applies events that follow `after` in the store, in one transaction, and returns the new
    /// checkpoint. See [`crate::event_sourcing::projection::Projection::apply`].
    pub(super) async fn apply_events(
        &self,
        after: Position,
        events: &[Arc<RecordedEvent>],
        epoch: Epoch,
    ) -> Result<Position, StoreError> {
        let applied = timeout(DEADLINE, self.apply_fast(after, events, epoch)).await;
        let applied = match applied.map_err(StoreError::unavailable)? {
            Err(WriteError::Data(error)) => {
                warn!(%error, "the database refuses the data of a chunk, looking for the order");
                let applied = timeout(DEADLINE, self.apply_bisecting(after, events, epoch)).await;
                applied.map_err(StoreError::unavailable)?
            }
            applied => applied,
        };
        Ok(applied?)
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

    /// Applies the events that follow the checkpoint, in one transaction.
    async fn apply_fast(
        &self,
        after: Position,
        events: &[Arc<RecordedEvent>],
        epoch: Epoch,
    ) -> Result<Position, WriteError> {
        for _ in 0..ATTEMPTS {
            let mut writer = self.rows.take().await?;
            let mut baseline = baseline(&mut writer, after, epoch).await?;
            let from = baseline.checkpoint;
            let new = new_events(from.position, after, events)?;
            let Some(to) = new.last().map(|event| event.position) else {
                writer.baseline = Some(baseline);
                self.rows.keep(writer);
                return Ok(from.position);
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
                cloned(new),
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
                return Ok(to);
            }
        }
        Err(StoreError::unavailable(TooManyConflicts).into())
    }

    /// Applies what [`Self::apply_fast`] applies, after the database has refused the data: holds the
    /// lock of the checkpoint while it looks for the order to blame.
    async fn apply_bisecting(
        &self,
        after: Position,
        events: &[Arc<RecordedEvent>],
        epoch: Epoch,
    ) -> Result<Position, WriteError> {
        let mut locked = self.rows.lock_checkpoint().await?;
        let from = locked.checkpoint;
        let new = check_epoch(epoch, from).and_then(|()| new_events(from.position, after, events));
        let new = match new {
            Ok(new) => new,
            Err(error) => {
                locked.rollback().await?;
                return Err(error.into());
            }
        };
        let Some(checkpoint) = new.last().map(|event| event.position) else {
            locked.rollback().await?;
            return Ok(from.position);
        };
        let cache = &mut RowCache::new(locked.has_parked);
        let (connection, mode) = (locked.connection(), WriteMode::Bisect);
        let (store, upcasters) = (&self.store, &self.upcasters);
        chunk::apply(connection, store, upcasters, cloned(new), cache, mode).await?;
        locked.commit_at(checkpoint, epoch).await?;
        Ok(checkpoint)
    }
}

/// The kept baseline if `after` is its position; otherwise reads it.
async fn baseline(
    writer: &mut WriterConnection,
    after: Position,
    epoch: Epoch,
) -> Result<Baseline, StoreError> {
    let kept = writer.baseline.take();
    let baseline = match kept.filter(|baseline| baseline.checkpoint.position == after) {
        Some(baseline) => baseline,
        None => writer.read_baseline().await?,
    };
    check_epoch(epoch, baseline.checkpoint)?;
    Ok(baseline)
}

/// The events after the checkpoint. Refuses events that do not reach back to it: there may be others
/// between.
fn new_events(
    checkpoint: Position,
    after: Position,
    events: &[Arc<RecordedEvent>],
) -> Result<&[Arc<RecordedEvent>], StoreError> {
    if checkpoint < after {
        return Err(StoreError::unavailable(CheckpointBehind {
            checkpoint,
            after,
        }));
    }
    let applied = events.partition_point(|event| event.position <= checkpoint);
    Ok(events.get(applied..).unwrap_or_default())
}

fn cloned(events: &[Arc<RecordedEvent>]) -> impl Iterator<Item = RecordedEvent> {
    events.iter().map(|event| RecordedEvent::clone(event))
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

/// The events follow a position that the checkpoint has not reached.
#[derive(Debug, thiserror::Error)]
#[error("the events follow position {after}, but the checkpoint is at {checkpoint}")]
struct CheckpointBehind {
    checkpoint: Position,
    after: Position,
}
