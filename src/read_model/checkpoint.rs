//! The checkpoint row, and the connection on which rows are written.
//!
//! Whoever writes rows of the read model holds the checkpoint row and counts up its revision: there is
//! one writer at a time, rows and checkpoint move together, and that somebody has written shows.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row, postgres::PgConnectOptions};
use tokio::time::timeout;

use super::known::KnownRows;
use crate::{
    event_sourcing::{Epoch, Position, StoreError},
    sql::error::store_error,
};

/// The name of the checkpoint of this read model.
pub(super) const CHECKPOINT: &str = "orders";

/// How long connecting may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);

/// Opens a transaction that holds the checkpoint, and asks whether any order is parked. In one round
/// trip, each statement with a snapshot of its own: the last one sees what was committed before the
/// lock was ours.
const HOLD: &str = "begin; \
    select position, epoch, revision from projection_checkpoint where name = 'orders' for update; \
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) position: Position,
    pub(super) epoch: Epoch,
    /// Counts the transactions that wrote rows.
    pub(super) revision: i64,
}

/// Where the read model stands, and what is known of its rows there.
#[derive(Debug)]
pub(super) struct KnownCheckpoint {
    pub(super) checkpoint: Checkpoint,
    pub(super) known: KnownRows,
}

/// The connection on which rows are written, kept between chunks with what was learnt on it: when it
/// is lost, the database may have been restored, and nothing is known any more.
#[derive(Debug)]
struct Kept {
    connection: PgConnection,
    standing: Option<KnownCheckpoint>,
}

/// Whoever writes rows asks here for the one connection.
#[derive(Debug, Clone)]
pub(super) struct RowWriter {
    connect: PgConnectOptions,
    kept: Arc<Mutex<Option<Kept>>>,
}

/// The connection, outside a transaction. Dropped without being given back it is closed.
#[derive(Debug)]
pub(super) struct WriterConnection {
    /// The connection.
    pub(super) connection: PgConnection,
    /// What was left by whoever gave it back.
    pub(super) standing: Option<KnownCheckpoint>,
    kept: Arc<Mutex<Option<Kept>>>,
}

/// A transaction that holds the checkpoint. Dropped without an end its connection is closed, not
/// kept, and the server rolls back.
#[derive(Debug)]
pub(super) struct HeldCheckpoint {
    /// Where the read model stands.
    pub(super) checkpoint: Checkpoint,
    /// Whether any order is parked.
    pub(super) has_parked: bool,
    writer: WriterConnection,
}

impl RowWriter {
    /// A writer that connects with `connect` when it is first asked.
    pub(super) fn new(connect: PgConnectOptions) -> Self {
        Self {
            connect: connect.options(SETTINGS),
            kept: Arc::default(),
        }
    }

    /// Takes the connection, or makes one.
    pub(super) async fn take(&self) -> Result<WriterConnection, StoreError> {
        let kept = lock(&self.kept).take();
        let Kept {
            connection,
            standing,
        } = match kept {
            Some(kept) => kept,
            None => Kept {
                connection: timeout(CONNECT_DEADLINE, PgConnection::connect_with(&self.connect))
                    .await
                    .map_err(StoreError::unavailable)?
                    .map_err(store_error)?,
                standing: None,
            },
        };
        Ok(WriterConnection {
            connection,
            standing,
            kept: Arc::clone(&self.kept),
        })
    }

    /// Opens a transaction that holds the checkpoint, waiting for whoever holds it now.
    pub(super) async fn hold(&self) -> Result<HeldCheckpoint, StoreError> {
        let mut writer = self.take().await?;
        writer.standing = None;
        let rows = sqlx::raw_sql(HOLD).fetch_all(&mut writer.connection).await;
        let rows = rows.map_err(store_error)?;
        let [checkpoint, parked] = rows.as_slice() else {
            return Err(store_error(sqlx::Error::RowNotFound));
        };
        let read = || {
            let checkpoint = Checkpoint {
                position: Position::new(checkpoint.try_get(0)?),
                epoch: Epoch(checkpoint.try_get(1)?),
                revision: checkpoint.try_get(2)?,
            };
            Ok((checkpoint, parked.try_get(0)?))
        };
        let (checkpoint, has_parked) = read().map_err(store_error)?;
        Ok(HeldCheckpoint {
            checkpoint,
            has_parked,
            writer,
        })
    }
}

impl WriterConnection {
    /// Reads where the read model stands; of its rows nothing is known then.
    pub(super) async fn read_standing(&mut self) -> Result<KnownCheckpoint, StoreError> {
        let row = sqlx::query!(
            r#"select position, epoch, revision,
                      exists (select from projection_parked) as "has_parked!"
               from projection_checkpoint where name = $1"#,
            CHECKPOINT,
        )
        .fetch_one(&mut self.connection)
        .await
        .map_err(store_error)?;
        Ok(KnownCheckpoint {
            checkpoint: Checkpoint {
                position: Position::new(row.position),
                epoch: Epoch(row.epoch),
                revision: row.revision,
            },
            known: KnownRows::none(row.has_parked),
        })
    }

    /// Gives the connection back, for the next one to use.
    pub(super) fn give_back(self, standing: Option<KnownCheckpoint>) {
        *lock(&self.kept) = Some(Kept {
            connection: self.connection,
            standing,
        });
    }
}

impl HeldCheckpoint {
    /// The connection, inside the transaction.
    pub(super) fn connection(&mut self) -> &mut PgConnection {
        &mut self.writer.connection
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
             revision = revision + 1, updated_at = now() where name = '{CHECKPOINT}'; commit"
        ))
        .await
    }

    /// Commits and leaves the checkpoint where it is.
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
        // Constant, but for two numbers.
        sqlx::raw_sql(AssertSqlSafe(statements))
            .execute(&mut self.writer.connection)
            .await
            .map_err(store_error)?;
        self.writer.give_back(None);
        Ok(())
    }
}

fn lock(kept: &Mutex<Option<Kept>>) -> MutexGuard<'_, Option<Kept>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks the checkpoint row in a transaction that is open already and that will write rows; answers
/// up to where they reach.
pub(super) async fn lock_checkpoint(connection: &mut PgConnection) -> Result<Position, StoreError> {
    let position = sqlx::query_scalar!(
        "update projection_checkpoint set revision = revision + 1 where name = $1
         returning position",
        CHECKPOINT,
    )
    .fetch_one(connection)
    .await
    .map_err(store_error)?;
    Ok(Position::new(position))
}
