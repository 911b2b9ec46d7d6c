//! The checkpoint row, and the transactions that hold it.
//!
//! Whoever writes rows of the read model holds the checkpoint `for update`: there is one writer at a
//! time, and rows and checkpoint move together.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::error::store_error;
use crate::event_sourcing::{Epoch, Position, StoreError};

/// The name of the checkpoint of this read model.
pub(super) const CHECKPOINT: &str = "orders";

/// How long connecting may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// Opens a transaction that holds the checkpoint, and asks whether any order is parked. In one round
/// trip, each statement with a snapshot of its own: the last one sees what was committed before the
/// lock was ours.
const HOLD: &str = "begin; \
    select position, epoch from projection_checkpoint where name = 'orders' for update; \
    select exists (select from projection_parked)";

/// What the statements that write rows need.
///
/// Each looks rows up by their keys, whatever their number, so one plan is kept for it; scans are
/// ruled out, for a plan kept from when the tables were small would go on scanning them. A stuck
/// statement ends on the server too. A crash of the database may take back what was not flushed yet:
/// rows and checkpoint go back together, and the events are applied again.
const SETTINGS: [(&str, &str); 6] = [
    ("statement_timeout", "30s"),
    ("synchronous_commit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
];

/// Where the read model stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Checkpoint {
    pub(super) position: Position,
    pub(super) epoch: Epoch,
}

/// Makes the transactions that write rows, all on one connection that is kept between them.
#[derive(Debug, Clone)]
pub(super) struct RowWriter {
    connect: PgConnectOptions,
    kept: Arc<Mutex<Option<PgConnection>>>,
}

/// A transaction that holds the checkpoint. Dropped without an end its connection is closed, not
/// kept, and the server rolls back.
#[derive(Debug)]
pub(super) struct HeldCheckpoint {
    /// Where the read model stands.
    pub(super) checkpoint: Checkpoint,
    /// Whether any order is parked.
    pub(super) has_parked: bool,
    connection: PgConnection,
    kept: Arc<Mutex<Option<PgConnection>>>,
}

impl RowWriter {
    /// A writer that connects with `connect` when it is first asked.
    pub(super) fn new(connect: PgConnectOptions) -> Self {
        Self {
            connect: connect.options(SETTINGS),
            kept: Arc::default(),
        }
    }

    /// Opens a transaction that holds the checkpoint, waiting for whoever holds it now.
    pub(super) async fn hold(&self) -> Result<HeldCheckpoint, StoreError> {
        let kept = lock(&self.kept).take();
        let mut connection = match kept {
            Some(connection) => connection,
            None => timeout(CONNECT_DEADLINE, PgConnection::connect_with(&self.connect))
                .await
                .map_err(StoreError::unavailable)?
                .map_err(store_error)?,
        };
        let rows = sqlx::raw_sql(HOLD).fetch_all(&mut connection).await;
        let rows = rows.map_err(store_error)?;
        let [checkpoint, parked] = rows.as_slice() else {
            return Err(store_error(sqlx::Error::RowNotFound));
        };
        let read = || {
            let checkpoint = Checkpoint {
                position: Position::new(checkpoint.try_get(0)?),
                epoch: Epoch(checkpoint.try_get(1)?),
            };
            Ok((checkpoint, parked.try_get(0)?))
        };
        let (checkpoint, has_parked) = read().map_err(store_error)?;
        Ok(HeldCheckpoint {
            checkpoint,
            has_parked,
            connection,
            kept: Arc::clone(&self.kept),
        })
    }
}

impl HeldCheckpoint {
    /// The connection, inside the transaction.
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Moves the checkpoint and commits. After an error the outcome is unknown; all who write rows
    /// can be asked again.
    pub(super) async fn commit_at(
        self,
        position: Position,
        epoch: Epoch,
    ) -> Result<(), StoreError> {
        let (position, epoch) = (position.get(), epoch.0);
        self.end(&format!(
            "update projection_checkpoint set position = {position}, epoch = {epoch}, \
             updated_at = now() where name = '{CHECKPOINT}'; commit"
        ))
        .await
    }

    /// Commits and leaves the checkpoint where it is.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        self.end("commit").await
    }

    /// Rolls back.
    pub(super) async fn rollback(self) -> Result<(), StoreError> {
        self.end("rollback").await
    }

    async fn end(mut self, statements: &str) -> Result<(), StoreError> {
        // Constant, but for two numbers.
        sqlx::raw_sql(AssertSqlSafe(statements))
            .execute(&mut self.connection)
            .await
            .map_err(store_error)?;
        *lock(&self.kept) = Some(self.connection);
        Ok(())
    }
}

fn lock(kept: &Mutex<Option<PgConnection>>) -> std::sync::MutexGuard<'_, Option<PgConnection>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks the checkpoint row in a transaction that is open already.
pub(super) async fn lock_checkpoint(
    connection: &mut PgConnection,
) -> Result<Checkpoint, StoreError> {
    let row = sqlx::query!(
        "select position, epoch from projection_checkpoint where name = $1 for update",
        CHECKPOINT,
    )
    .fetch_one(connection)
    .await
    .map_err(store_error)?;
    Ok(Checkpoint {
        position: Position::new(row.position),
        epoch: Epoch(row.epoch),
    })
}
