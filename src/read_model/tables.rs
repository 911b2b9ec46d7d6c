//! The statements that read and write the rows of many orders at once. Table names are unqualified:
//! a rebuild runs the same statements on the tables beside the live ones, by its `search_path`.

use sqlx::{Error, PgConnection};
use uuid::Uuid;

use super::{
    bookkeeping::Checkpoint,
    rows::{ItemRow, OrderRow, ParkedOrder},
};
use crate::{
    event_sourcing::{Epoch, Position, Timestamp, Version},
    order::{ItemId, OrderId},
    sql::error::is_lost_race,
};

/// What changes in the rows.
#[derive(Debug, Default)]
pub(super) struct Changes<'a> {
    /// Rows of orders, each with the version of the row that is there; zero where there is none.
    pub(super) orders: Vec<(&'a OrderRow, Version)>,
    /// New or changed lines, each with whether it is there. Like all that changes lines: their order's
    /// row, which is guarded by its version, must be written with them.
    pub(super) items: Vec<(&'a ItemRow, bool)>,
    /// Lines that go: pairs of an order and an item.
    pub(super) removed: Vec<(OrderId, ItemId)>,
    /// Orders to park; one that is parked already keeps its first reason.
    pub(super) parked: Vec<&'a ParkedOrder>,
}

/// The read model must stand where it was read, and moves on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guard {
    /// Where it was read.
    pub(super) from: Checkpoint,
    /// Up to which event it is complete then.
    pub(super) to: Position,
    /// The writer's lease.
    pub(super) epoch: Epoch,
}

/// Reads the rows of those orders that have one.
pub(super) async fn load_orders(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<OrderRow>, Error> {
    sqlx::query_as!(
        OrderRow,
        "select v.id, v.customer_id, v.status, v.currency, v.total_minor, v.item_count,
                v.total_quantity, v.version, v.position, v.created_at, v.updated_at,
                v.completed_at, v.cancelled_at, v.cancellation_reason
         from unnest($1::uuid[]) as asked(id) join order_views v on v.id = asked.id",
        ids,
    )
    .fetch_all(connection)
    .await
}

/// Reads these lines, as far as they are there: pairs of an order and an item.
pub(super) async fn load_items(
    connection: &mut PgConnection,
    orders: &[Uuid],
    items: &[Uuid],
) -> Result<Vec<ItemRow>, Error> {
    sqlx::query_as!(
        ItemRow,
        "select i.order_id, i.item_id, i.line_no, i.product_id, i.quantity, i.price_minor,
                i.added_at
         from unnest($1::uuid[], $2::uuid[]) as asked(order_id, item_id)
         join order_items i on i.order_id = asked.order_id and i.item_id = asked.item_id",
        orders,
        items,
    )
    .fetch_all(connection)
    .await
}

/// One column of many rows, as a statement takes it.
fn column<'a, R, T>(rows: &'a [R], value: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

/// Writes all changes in one call; with a guard in a transaction of their own, without one in the
/// caller's. Answers the read model's revision afterwards (zero without a guard), or `None` where the
/// guard does not hold or a row is of another version than was said, and nothing was written.
pub(super) async fn write(
    connection: &mut PgConnection,
    changes: &Changes<'_>,
    guard: Option<Guard>,
) -> Result<Option<i64>, Error> {
    let Changes {
        orders,
        items,
        removed,
        parked,
    } = changes;

    let written = sqlx::query_scalar!(
        "select write_chunk($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
                            $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30,
                            $31, $32, $33, $34)",
        guard.map(|guard| guard.from.position.get()) as Option<i64>,
        guard.map(|guard| guard.from.revision) as Option<i64>,
        guard.map(|guard| guard.to.get()) as Option<i64>,
        guard.map(|guard| guard.epoch.0) as Option<i64>,
        &column(orders, |(row, _)| row.id.get()),
        &column(orders, |(_, from)| from.get()),
        &column(orders, |(row, _)| row.customer_id.as_str()) as &[&str],
        &column(orders, |(row, _)| row.status.as_str()) as &[&str],
        &column(orders, |(row, _)| row.currency.as_str()) as &[&str],
        &column(orders, |(row, _)| row.total_minor),
        &column(orders, |(row, _)| row.item_count),
        &column(orders, |(row, _)| row.total_quantity),
        &column(orders, |(row, _)| row.version),
        &column(orders, |(row, _)| row.position),
        &column(orders, |(row, _)| row.created_at),
        &column(orders, |(row, _)| row.updated_at),
        &column(orders, |(row, _)| row.completed_at) as &[Option<Timestamp>],
        &column(orders, |(row, _)| row.cancelled_at) as &[Option<Timestamp>],
        &column(orders, |(row, _)| row.cancellation_reason.as_deref()) as &[Option<&str>],
        &column(items, |(row, _)| row.order_id.get()),
        &column(items, |(row, _)| row.item_id.get()),
        &column(items, |(row, _)| row.line_no),
        &column(items, |(row, _)| row.product_id.as_str()) as &[&str],
        &column(items, |(row, _)| row.quantity),
        &column(items, |(row, _)| row.price_minor),
        &column(items, |(row, _)| row.added_at),
        &column(items, |(_, is_stored)| *is_stored),
        &column(removed, |(order, _)| order.get()),
        &column(removed, |(_, item)| item.get()),
        &column(parked, |order| order.order_id.get()),
        &column(parked, |order| order.version),
        &column(parked, |order| order.position),
        &column(parked, |order| order.event_type.as_str()) as &[&str],
        &column(parked, |order| order.reason.as_str()) as &[&str],
    )
    .fetch_one(connection)
    .await;
    match written {
        Err(error) if guard.is_some() && is_lost_race(&error) => Ok(None),
        written => written,
    }
}

/// Deletes all rows of an order, before it is folded anew, and forgets that it was parked.
pub(super) async fn delete_order(connection: &mut PgConnection, id: OrderId) -> Result<(), Error> {
    sqlx::query!(
        "with items as (delete from order_items where order_id = $1),
              parked as (delete from projection_parked where order_id = $1)
         delete from order_views where id = $1",
        id.get(),
    )
    .execute(connection)
    .await?;
    Ok(())
}
