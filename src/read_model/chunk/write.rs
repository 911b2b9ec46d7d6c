//! Writes what a chunk changes.

use futures::future::BoxFuture;
use sqlx::PgConnection;
use tracing::warn;

use super::{
    super::{
        error::WriteError,
        fold::OrderFold,
        rows::ParkedOrder,
        tables::{self, Changes, Guard},
    },
    change::OrderChange,
};
use crate::event_sourcing::error_chain;

/// Writes all changes in one call, and logs which orders are parked. Returns the revision, or `None`
/// if the guard refused and nothing was written.
pub(super) async fn write(
    connection: &mut PgConnection,
    changes: &[OrderChange],
    guard: Option<Guard>,
) -> Result<Option<i64>, WriteError> {
    let mut rows = Changes::default();
    for OrderChange { fold, parked, .. } in changes {
        let row = fold.changed_row();
        rows.orders
            .extend(row.map(|row| (row, fold.stored_version())));
        rows.items.extend(fold.changed_items());
        let removed = fold.removed_items().map(|item| (fold.id(), item));
        rows.removed.extend(removed);
        rows.parked.extend(parked);
    }
    let revision = tables::write(connection, &rows, guard).await;
    let revision = revision.map_err(WriteError::from_query)?;
    if revision.is_some() {
        rows.parked.into_iter().for_each(log_parked);
    }
    Ok(revision)
}

fn log_parked(order: &ParkedOrder) {
    let ParkedOrder {
        order_id,
        version,
        reason,
        ..
    } = order;
    warn!(%order_id, version, %reason, "an event cannot be applied, its order is parked");
}

/// Writes behind a savepoint. If the data is refused, halves the changes until the order to blame is
/// alone, and parks it.
pub(super) fn write_bisecting<'a>(
    connection: &'a mut PgConnection,
    changes: &'a [OrderChange],
) -> BoxFuture<'a, Result<(), WriteError>> {
    Box::pin(async move {
        run(connection, "savepoint chunk").await?;
        let refusal = match write(connection, changes, None).await {
            Ok(_) => return run(connection, "release savepoint chunk").await,
            Err(WriteError::Data(refusal)) => refusal,
            Err(error @ WriteError::Store(_)) => return Err(error),
        };
        run(
            connection,
            "rollback to savepoint chunk; release savepoint chunk",
        )
        .await?;
        match changes {
            [] => Ok(()),
            [refused] => {
                let parked = parked_at_first_event(refused, error_chain(&refusal));
                write(connection, &[parked], None).await.map(drop)
            }
            many => {
                let (front, back) = many.split_at(many.len() / 2);
                write_bisecting(connection, front).await?;
                write_bisecting(connection, back).await
            }
        }
    })
}

/// The change that only parks the order. Which of its events the database refused is not known, so
/// the first one is named.
fn parked_at_first_event(refused: &OrderChange, reason: String) -> OrderChange {
    let id = refused.fold.id();
    let first = refused.events.first();
    OrderChange {
        fold: OrderFold::absent(id),
        events: Vec::new(),
        parked: first.map(|event| event.parked(id, reason)),
    }
}

async fn run(connection: &mut PgConnection, statements: &'static str) -> Result<(), WriteError> {
    let done = sqlx::raw_sql(statements).execute(connection).await;
    done.map(drop).map_err(WriteError::from_query)
}
