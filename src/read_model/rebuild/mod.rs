//! Rebuilds the read model from all events, beside the live tables, which are read and written
//! meanwhile; then replaces them: `orders replay --full`.
//!
//! The new tables have the names of the live ones, in the schema `read_model_next`. So the projector's
//! statements fill them (with that schema first in the `search_path`), and the switch renames nothing.
//! A rebuild that is killed leaves the live tables unchanged; the next rebuild drops what it left and
//! starts over.

mod fill;
mod report;
mod switch;

use sqlx::PgConnection;
use tracing::{info, warn};

pub use self::report::{Phase, RebuildDifference, RebuildError, RebuildProgress, Rebuilt};
use self::{
    fill::{Filled, fill},
    switch::switch,
};
use super::projector::Projector;
use crate::{
    event_sourcing::{EventStore, Position, StoreError},
    sql::{GuardedConnection, Transaction, error::store_error},
};

/// How many orders that differ are described.
const EXAMPLES: i32 = 10;

/// The key of the advisory lock that only one rebuild can hold.
const LOCK: i64 = 7_021_839_002;

/// Opens a transaction that may take long.
const BEGIN: &str = "begin; set local statement_timeout = 0; \
    set local maintenance_work_mem = '256MB'";

/// A rebuild of the read model of a projector.
#[derive(Debug, Clone)]
pub struct Rebuild<S> {
    projector: Projector<S>,
}

impl<S: EventStore> Rebuild<S> {
    /// Makes a rebuild. The projector's pool needs three connections.
    #[must_use]
    pub fn new(projector: Projector<S>) -> Self {
        Self { projector }
    }

    /// Rebuilds the read model; with `is_dry_run` only reports what would change. The future can be
    /// dropped at any time.
    ///
    /// # Errors
    /// If another rebuild is running, or the database fails. The live tables are then unchanged.
    pub async fn run(
        &self,
        is_dry_run: bool,
        progress: impl Fn(RebuildProgress) + Sync,
    ) -> Result<Rebuilt, RebuildError> {
        let mut lock = self.lock().await?;
        let done = self.run_locked(&mut lock, is_dry_run, &progress).await;
        let unlocked = sqlx::query_scalar!("select pg_advisory_unlock($1)", LOCK)
            .fetch_one(&mut *lock)
            .await;
        if let Err(error) = unlocked {
            warn!(%error, "cannot release the lock of the rebuild, its connection is closed");
        }
        Ok(done?)
    }

    async fn run_locked(
        &self,
        lock: &mut PgConnection,
        is_dry_run: bool,
        progress: &(impl Fn(RebuildProgress) + Sync),
    ) -> Result<Rebuilt, StoreError> {
        let projector = &self.projector;
        self.maintain("select rebuild_start()").await?;
        let mut filled = fill(projector, Filled::NOTHING, progress).await?;
        progress(filled.progress(Phase::Index));
        self.maintain("select rebuild_index()").await?;
        filled = fill(projector, filled, progress).await?;
        progress(filled.progress(Phase::Compare));
        // Beyond the checkpoint the live rows are not behind by mistake.
        let checkpoint = projector.read_checkpoint().await?.position;
        let (differing, examples) = self.compare(filled.position.min(checkpoint)).await?;
        if is_dry_run {
            self.maintain("drop schema read_model_next cascade").await?;
        } else {
            filled = switch(projector, lock, filled, progress).await?;
        }
        info!(
            events = filled.events,
            differing, is_dry_run, "the read model is rebuilt"
        );
        Ok(Rebuilt {
            events: filled.events,
            position: filled.position,
            differing,
            examples,
            is_switched: !is_dry_run,
        })
    }

    /// Runs a statement in a transaction that may take long.
    async fn maintain(&self, statement: &'static str) -> Result<(), StoreError> {
        let mut transaction = Transaction::begin(&self.projector.pool, BEGIN).await?;
        transaction.run(statement).await?;
        transaction.commit().await
    }

    /// Takes the lock of the rebuild on a connection of its own. The lock ends with the connection, which
    /// is closed when it is dropped.
    async fn lock(&self) -> Result<GuardedConnection, RebuildError> {
        let mut connection = GuardedConnection::acquire(&self.projector.pool).await?;
        let is_locked =
            sqlx::query_scalar!(r#"select pg_try_advisory_lock($1) as "is_locked!""#, LOCK)
                .fetch_one(&mut *connection)
                .await
                .map_err(store_error)?;
        if is_locked {
            Ok(connection)
        } else {
            Err(RebuildError::Running)
        }
    }

    /// Compares the live rows with the new ones, as far as both are filled.
    async fn compare(&self, up_to: Position) -> Result<(u64, Vec<RebuildDifference>), StoreError> {
        let mut transaction = Transaction::begin(&self.projector.pool, BEGIN).await?;
        let differing =
            sqlx::query_scalar!(r#"select rebuild_compare($1) as "differing!""#, up_to.get())
                .fetch_one(transaction.connection())
                .await
                .map_err(store_error)?;
        let examples = sqlx::query_as!(
            RebuildDifference,
            r#"select order_id as "order_id!", field as "field!", live, rebuilt
               from rebuild_examples($1)"#,
            EXAMPLES,
        )
        .fetch_all(transaction.connection())
        .await
        .map_err(store_error)?;
        transaction.commit().await?;
        Ok((differing.unsigned_abs(), examples))
    }
}
