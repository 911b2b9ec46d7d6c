//! The connection on which rows of the read model are written.
//!
//! Every transaction that writes rows locks the checkpoint row and counts up its revision. So there is
//! one writer at a time, rows and checkpoint change together, and a writer sees whether another one
//! wrote since it last read.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::{
    bookkeeping::{self, Bookkeeping, CHECKPOINT, Checkpoint},
    row_cache::RowCache,
};
use crate::{
    event_sourcing::{Epoch, Position, StoreError},
    sql::error::store_error,
};

/// How long connecting may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// The settings of the connection.
///
/// - A stuck statement also ends on the server.
/// - A crash of the database may lose commits that were not flushed to disk. It loses rows and
///   checkpoint together, so the events are applied again.
/// - Each statement looks rows up by their keys, however many, so one generic plan serves. Table scans
///   and the joins that need them are ruled out: a plan made while the tables were small would
///   otherwise be kept and go on scanning them.
const SETTINGS: [(&str, &str); 6] = [
    ("statement_timeout", "30s"),
    ("synchronous_commit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
];

/// What the next chunk of events is folded on: the checkpoint, and the rows cached as of it.
#[derive(Debug)]
pub(super) struct Baseline {
    pub(super) checkpoint: Checkpoint,
    pub(super) cache: RowCache,
}

/// A connection with the settings for writing rows, outside a transaction. It belongs to no pool:
/// dropped, it is closed, and an open transaction is rolled back.
#[derive(Debug)]
pub(super) struct WriterConnection {
    pub(super) connection: PgConnection,
    /// The baseline that the last chunk left. It lives and ends with the connection: after a lost
    /// connection the database may be another one, restored from a backup.
    pub(super) baseline: Option<Baseline>,
}

/// Keeps the connection between chunks.
#[derive(Debug, Clone)]
pub(super) struct RowWriter {
    connect: PgConnectOptions,
    kept: Arc<Mutex<Option<WriterConnection>>>,
}

/// A transaction that holds the lock of the checkpoint. Dropped without an end, it is rolled back.
#[derive(Debug)]
pub(super) struct LockedCheckpoint {
    pub(super) checkpoint: Checkpoint,
    /// Whether any order is parked.
    pub(super) has_parked: bool,
    connection: PgConnection,
    writer: RowWriter,
}

impl RowWriter {
    /// Makes a writer. It connects with `connect` when it is first used.
    pub(super) fn new(connect: PgConnectOptions) -> Self {
        Self {
            connect: connect.options(SETTINGS),
            kept: Arc::default(),
        }
    }

    /// Takes the kept connection, or opens one.
    pub(super) async fn take(&self) -> Result<WriterConnection, StoreError> {
        let kept = self.kept().take();
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let connect = PgConnection::connect_with(&self.connect);
        let connection = timeout(CONNECT_DEADLINE, connect).await;
        Ok(WriterConnection {
            connection: connection
                .map_err(StoreError::unavailable)?
                .map_err(store_error)?,
            baseline: None,
        })
    }

    /// Keeps a connection for the next user. No transaction may be open on it.
    pub(super) fn keep(&self, connection: WriterConnection) {
        *self.kept() = Some(connection);
    }

    /// Opens a transaction that locks the checkpoint. Waits until no other one holds the lock.
    pub(super) async fn lock_checkpoint(&self) -> Result<LockedCheckpoint, StoreError> {
        let mut connection = self.take().await?.connection;
        let locked = bookkeeping::begin_locked(&mut connection).await;
        let Bookkeeping {
            checkpoint,
            has_parked,
        } = locked.map_err(store_error)?;
        Ok(LockedCheckpoint {
            checkpoint,
            has_parked,
            connection,
            writer: self.clone(),
        })
    }

    fn kept(&self) -> MutexGuard<'_, Option<WriterConnection>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl WriterConnection {
    /// Reads the checkpoint. No row is cached yet.
    pub(super) async fn read_baseline(&mut self) -> Result<Baseline, StoreError> {
        let read = bookkeeping::read(&mut self.connection).await;
        let Bookkeeping {
            checkpoint,
            has_parked,
        } = read.map_err(store_error)?;
        Ok(Baseline {
            checkpoint,
            cache: RowCache::new(has_parked),
        })
    }
}

impl LockedCheckpoint {
    /// The connection, inside the transaction.
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// Moves the checkpoint and commits. After an error it is unknown whether the transaction was
    /// committed; the caller can apply the same events again.
    pub(super) async fn commit_at(
        self,
        position: Position,
        epoch: Epoch,
    ) -> Result<(), StoreError> {
        let (position, epoch) = (position.get(), epoch.0);
        self.end(&format!(
            "update projection_checkpoint set position = {position}, epoch = {epoch}, \
             revision = revision + 1, updated_at = now() where name = '{CHECKPOINT}'; commit"
        ))
        .await
    }

    /// Commits, and leaves the checkpoint's position as it is.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        self.end(&format!(
            "update projection_checkpoint set revision = revision + 1 \
             where name = '{CHECKPOINT}'; commit"
        ))
        .await
    }

    /// Rolls back.
    pub(super) async fn rollback(self) -> Result<(), StoreError> {
        self.end("rollback").await
    }

    async fn end(mut self, statements: &str) -> Result<(), StoreError> {
        // Safe: the statements are constants, with two numbers put in.
        sqlx::raw_sql(AssertSqlSafe(statements))
            .execute(&mut self.connection)
            .await
            .map_err(store_error)?;
        self.writer.keep(WriterConnection {
            connection: self.connection,
            baseline: None,
        });
        Ok(())
    }
}
