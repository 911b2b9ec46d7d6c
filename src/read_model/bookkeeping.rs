//! The bookkeeping of the read model: its row of `projection_checkpoint`, and `projection_parked`.
//!
//! All statements that read only these two tables are here. [`super::queries`] and [`super::list`] join
//! them to the orders, so that an answer and its position come from one snapshot.

use sqlx::{Error, PgConnection, Row};
use uuid::Uuid;

use super::rows::ParkedOrder;
use crate::event_sourcing::{Epoch, Position};

/// The name of the checkpoint of this read model.
pub(super) const CHECKPOINT: &str = "orders";

/// The row of `projection_checkpoint`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Checkpoint {
    /// The events up to this position are applied.
    pub(super) position: Position,
    /// The epoch of the lease of the last writer.
    pub(super) epoch: Epoch,
    /// Counts the transactions that wrote rows of the read model.
    pub(super) revision: i64,
}

/// The checkpoint, and whether any order is parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bookkeeping {
    pub(super) checkpoint: Checkpoint,
    pub(super) has_parked: bool,
}

/// Reads the bookkeeping.
pub(super) async fn read(connection: &mut PgConnection) -> Result<Bookkeeping, Error> {
    let row = sqlx::query!(
        r#"select position, epoch, revision,
                  exists (select from projection_parked) as "has_parked!"
           from projection_checkpoint where name = $1"#,
        CHECKPOINT,
    )
    .fetch_one(connection)
    .await?;
    Ok(Bookkeeping {
        checkpoint: Checkpoint {
            position: Position::new(row.position),
            epoch: Epoch(row.epoch),
            revision: row.revision,
        },
        has_parked: row.has_parked,
    })
}

/// Reads up to which position events are applied, and how many orders are parked.
///
/// # Errors
/// If the database fails.
pub async fn read_progress(connection: &mut PgConnection) -> Result<(Position, i64), Error> {
    let row = sqlx::query!(
        r#"select position, (select count(*) from projection_parked) as "parked!"
               from projection_checkpoint where name = $1"#,
        CHECKPOINT,
    )
    .fetch_one(connection)
    .await?;
    Ok((Position::new(row.position), row.parked))
}

/// Opens a transaction that locks the checkpoint, and reads the bookkeeping, in one round trip.
///
/// Each statement has a snapshot of its own: the last one sees everything that was committed before
/// the lock was taken.
pub(super) async fn begin_locked(connection: &mut PgConnection) -> Result<Bookkeeping, Error> {
    const STATEMENTS: &str = "begin; \
        select position, epoch, revision from projection_checkpoint where name = 'orders' for update; \
        select exists (select from projection_parked)";
    let rows = sqlx::raw_sql(STATEMENTS).fetch_all(connection).await?;
    let [checkpoint, parked] = rows.as_slice() else {
        return Err(Error::RowNotFound);
    };
    Ok(Bookkeeping {
        checkpoint: Checkpoint {
            position: Position::new(checkpoint.try_get(0)?),
            epoch: Epoch(checkpoint.try_get(1)?),
            revision: checkpoint.try_get(2)?,
        },
        has_parked: parked.try_get(0)?,
    })
}

/// Locks the checkpoint in a transaction that is open and will write rows, and counts up its revision.
/// Returns up to which position the rows are complete.
pub(super) async fn lock(connection: &mut PgConnection) -> Result<Position, Error> {
    let position = sqlx::query_scalar!(
        "update projection_checkpoint set revision = revision + 1 where name = $1
         returning position",
        CHECKPOINT,
    )
    .fetch_one(connection)
    .await?;
    Ok(Position::new(position))
}

/// Moves the checkpoint in a transaction that has locked it.
pub(super) async fn move_to(
    connection: &mut PgConnection,
    position: Position,
) -> Result<(), Error> {
    sqlx::query!(
        "update projection_checkpoint set position = $2, updated_at = now() where name = $1",
        CHECKPOINT,
        position.get(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Reads all parked orders, the longest parked first.
pub(super) async fn read_parked(connection: &mut PgConnection) -> Result<Vec<ParkedOrder>, Error> {
    sqlx::query_as!(
        ParkedOrder,
        "select order_id, version, position, event_type, reason
             from projection_parked order by parked_at, order_id",
    )
    .fetch_all(connection)
    .await
}

/// Reads those of these orders that are parked.
pub(super) async fn read_parked_of(
    connection: &mut PgConnection,
    orders: &[Uuid],
) -> Result<Vec<ParkedOrder>, Error> {
    sqlx::query_as!(
        ParkedOrder,
        "select order_id, version, position, event_type, reason
         from projection_parked where order_id = any($1)",
        orders,
    )
    .fetch_all(connection)
    .await
}
