//! The statements that read and write the rows of many orders at once. Table names are unqualified:
//! a rebuild runs the same statements on the tables beside the live ones, by its `search_path`.

use sqlx::{Error, PgConnection};
use uuid::Uuid;

use super::rows::{ItemRow, OrderRow, ParkedOrder};
use crate::event_sourcing::Instant;

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

/// Finds out which of these orders are parked.
pub(super) async fn load_parked(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<Uuid>, Error> {
    sqlx::query_scalar!(
        "select p.order_id from projection_parked p where p.order_id = any($1)",
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
fn column<'a, R, T>(rows: &[&'a R], value: impl Fn(&'a R) -> T) -> Vec<T> {
    rows.iter().map(|row| value(row)).collect()
}

/// Writes the rows of orders that have none yet.
pub(super) async fn insert_orders(
    connection: &mut PgConnection,
    rows: &[&OrderRow],
) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into order_views (id, customer_id, status, currency, total_minor, item_count,
             total_quantity, version, position, created_at, updated_at, completed_at, cancelled_at,
             cancellation_reason)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[],
             $6::int[], $7::bigint[], $8::int[], $9::bigint[], $10::timestamptz[],
             $11::timestamptz[], $12::timestamptz[], $13::timestamptz[], $14::text[])",
        &column(rows, |row| row.id),
        &column(rows, |row| row.customer_id.as_str()) as &[&str],
        &column(rows, |row| row.status.as_str()) as &[&str],
        &column(rows, |row| row.currency.as_str()) as &[&str],
        &column(rows, |row| row.total_minor),
        &column(rows, |row| row.item_count),
        &column(rows, |row| row.total_quantity),
        &column(rows, |row| row.version),
        &column(rows, |row| row.position),
        &column(rows, |row| row.created_at),
        &column(rows, |row| row.updated_at),
        &column(rows, |row| row.completed_at) as &[Option<Instant>],
        &column(rows, |row| row.cancelled_at) as &[Option<Instant>],
        &column(rows, |row| row.cancellation_reason.as_deref()) as &[Option<&str>],
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes what events change in the rows of orders; those must show older versions. Answers how
/// many were written.
pub(super) async fn update_orders(
    connection: &mut PgConnection,
    rows: &[&OrderRow],
) -> Result<u64, Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    let done = sqlx::query!(
        "update order_views v
         set status = new.status, total_minor = new.total_minor, item_count = new.item_count,
             total_quantity = new.total_quantity, version = new.version, position = new.position,
             updated_at = new.updated_at, completed_at = new.completed_at,
             cancelled_at = new.cancelled_at, cancellation_reason = new.cancellation_reason
         from unnest($1::uuid[], $2::text[], $3::bigint[], $4::int[], $5::bigint[], $6::int[],
                 $7::bigint[], $8::timestamptz[], $9::timestamptz[], $10::timestamptz[],
                 $11::text[])
             as new(id, status, total_minor, item_count, total_quantity, version, position,
                 updated_at, completed_at, cancelled_at, cancellation_reason)
         where v.id = new.id and v.version < new.version",
        &column(rows, |row| row.id),
        &column(rows, |row| row.status.as_str()) as &[&str],
        &column(rows, |row| row.total_minor),
        &column(rows, |row| row.item_count),
        &column(rows, |row| row.total_quantity),
        &column(rows, |row| row.version),
        &column(rows, |row| row.position),
        &column(rows, |row| row.updated_at),
        &column(rows, |row| row.completed_at) as &[Option<Instant>],
        &column(rows, |row| row.cancelled_at) as &[Option<Instant>],
        &column(rows, |row| row.cancellation_reason.as_deref()) as &[Option<&str>],
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected())
}

/// Writes new lines. Like all that writes lines: their order's row, which is guarded by its version,
/// must have been written in the same transaction.
pub(super) async fn insert_items(
    connection: &mut PgConnection,
    rows: &[&ItemRow],
) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into order_items (order_id, item_id, line_no, product_id, quantity, price_minor,
             added_at)
         select * from unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::int[],
             $6::bigint[], $7::timestamptz[])",
        &column(rows, |row| row.order_id),
        &column(rows, |row| row.item_id),
        &column(rows, |row| row.line_no),
        &column(rows, |row| row.product_id.as_str()) as &[&str],
        &column(rows, |row| row.quantity),
        &column(rows, |row| row.price_minor),
        &column(rows, |row| row.added_at),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Writes what has changed in lines that are there.
pub(super) async fn update_items(
    connection: &mut PgConnection,
    rows: &[&ItemRow],
) -> Result<(), Error> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "update order_items i
         set line_no = new.line_no, product_id = new.product_id, quantity = new.quantity,
             price_minor = new.price_minor, added_at = new.added_at
         from unnest($1::uuid[], $2::uuid[], $3::int[], $4::text[], $5::int[], $6::bigint[],
                 $7::timestamptz[])
             as new(order_id, item_id, line_no, product_id, quantity, price_minor, added_at)
         where i.order_id = new.order_id and i.item_id = new.item_id",
        &column(rows, |row| row.order_id),
        &column(rows, |row| row.item_id),
        &column(rows, |row| row.line_no),
        &column(rows, |row| row.product_id.as_str()) as &[&str],
        &column(rows, |row| row.quantity),
        &column(rows, |row| row.price_minor),
        &column(rows, |row| row.added_at),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes these lines: pairs of an order and an item.
pub(super) async fn delete_items(
    connection: &mut PgConnection,
    pairs: &[(Uuid, Uuid)],
) -> Result<(), Error> {
    if pairs.is_empty() {
        return Ok(());
    }
    let (orders, items): (Vec<Uuid>, Vec<Uuid>) = pairs.iter().copied().unzip();
    sqlx::query!(
        "delete from order_items i using unnest($1::uuid[], $2::uuid[]) as gone(order_id, item_id)
         where i.order_id = gone.order_id and i.item_id = gone.item_id",
        &orders,
        &items,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes all rows of an order, before it is folded anew, and forgets that it was parked.
pub(super) async fn delete_order(connection: &mut PgConnection, id: Uuid) -> Result<(), Error> {
    sqlx::query!(
        "with items as (delete from order_items where order_id = $1),
              parked as (delete from projection_parked where order_id = $1)
         delete from order_views where id = $1",
        id,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Parks orders; one that is parked already keeps its first reason.
pub(super) async fn insert_parked(
    connection: &mut PgConnection,
    parked: &[ParkedOrder],
) -> Result<(), Error> {
    if parked.is_empty() {
        return Ok(());
    }
    let parked: Vec<_> = parked.iter().collect();
    sqlx::query!(
        "insert into projection_parked (order_id, version, position, event_type, reason)
         select * from unnest($1::uuid[], $2::int[], $3::bigint[], $4::text[], $5::text[])
         on conflict (order_id) do nothing",
        &column(&parked, |row| row.order_id),
        &column(&parked, |row| row.version),
        &column(&parked, |row| row.position),
        &column(&parked, |row| row.event_type.as_str()) as &[&str],
        &column(&parked, |row| row.reason.as_str()) as &[&str],
    )
    .execute(connection)
    .await?;
    Ok(())
}
