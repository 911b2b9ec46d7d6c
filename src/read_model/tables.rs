//! The statements that read and write the rows of many orders at once. Table names are unqualified: a
//! rebuild runs the same statements on the new tables, by its `search_path`.

use sqlx::{Error, PgConnection};
use uuid::Uuid;

use super::{
    bookkeeping::Checkpoint,
    changed_rows::{ItemChange, ItemKey, NewlyParked, OrderChange},
    rows::{ItemRow, OrderRow, ParkedOrder},
};
use crate::{
    event_sourcing::{Epoch, Position, Version},
    order::{ItemId, OrderId},
    sql::error::is_lost_race,
};

/// Changes of the read model's rows.
#[derive(Debug, Default)]
pub(super) struct Changes<'a> {
    /// Rows of orders, each with the version of the stored row; zero when there is none.
    pub(super) orders: Vec<(&'a OrderRow, Version)>,
    /// New or changed lines, each with whether it is stored. A change of a line needs a change of its
    /// order's row, too: only that row's version guards them.
    pub(super) items: Vec<(&'a ItemRow, bool)>,
    /// Lines to delete.
    pub(super) removed: Vec<(OrderId, ItemId)>,
    /// Orders to park; an order that is parked already keeps its first reason.
    pub(super) parked: Vec<&'a ParkedOrder>,
}

/// Writes only if the checkpoint has not moved since it was read, and moves it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guard {
    /// The checkpoint that was read.
    pub(super) from: Checkpoint,
    /// The new position.
    pub(super) to: Position,
    /// The epoch of the writer's lease.
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

/// Reads those of these lines that are stored. `orders` and `items` have one element per line.
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

/// Writes all changes in one call: with a guard in a transaction of its own, without one in the caller's.
/// Returns the new revision of the read model (zero without a guard), or `None` when nothing was written,
/// because the guard does not hold or a stored row has another version than expected.
pub(super) async fn write(
    connection: &mut PgConnection,
    changes: &Changes<'_>,
    guard: Option<Guard>,
) -> Result<Option<i64>, Error> {
    let orders = |is_stored: bool| -> Vec<OrderChange<'_>> {
        let orders = changes.orders.iter();
        orders
            .filter(|(_, from)| (*from > Version::ZERO) == is_stored)
            .map(|(row, from)| OrderChange::new(row, *from))
            .collect()
    };
    let items = |is_stored: bool| -> Vec<ItemChange<'_>> {
        let items = changes.items.iter();
        items
            .filter(|(_, is)| *is == is_stored)
            .map(|(row, _)| ItemChange::from(*row))
            .collect()
    };
    let removed: Vec<ItemKey> = changes.removed.iter().map(ItemKey::from).collect();
    let parked = changes.parked.iter().copied();
    let parked: Vec<NewlyParked<'_>> = parked.map(NewlyParked::from).collect();
    let written = sqlx::query_scalar!(
        "select write_chunk($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        guard.map(|guard| guard.from.position.get()) as Option<i64>,
        guard.map(|guard| guard.from.revision) as Option<i64>,
        guard.map(|guard| guard.to.get()) as Option<i64>,
        guard.map(|guard| guard.epoch.0) as Option<i64>,
        &orders(false) as &[OrderChange<'_>],
        &orders(true) as &[OrderChange<'_>],
        &items(false) as &[ItemChange<'_>],
        &items(true) as &[ItemChange<'_>],
        &removed as &[ItemKey],
        &parked as &[NewlyParked<'_>],
    )
    .fetch_one(connection)
    .await;
    match written {
        Err(error) if guard.is_some() && is_lost_race(&error) => Ok(None),
        written => written,
    }
}

/// Deletes all rows of an order, also that it is parked. A refold writes them again.
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
