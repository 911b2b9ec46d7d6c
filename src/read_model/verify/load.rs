//! The statements of a verification.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use serde_json::value::RawValue;
use sqlx::{Error, PgConnection, types::Json};
use uuid::Uuid;

use super::{
    super::{bookkeeping, rows::ItemRow, tables},
    comparison::OrderComparison,
};
use crate::{
    event_sourcing::{Aggregate, Position, UpcasterChain},
    order::{Order, OrderId},
    sql::EventRow,
};

/// Loads the events of these orders up to the checkpoint, and their rows. Returns the number of events.
pub(super) async fn load(
    connection: &mut PgConnection,
    upcasters: &UpcasterChain,
    ids: &[Uuid],
    comparisons: &mut BTreeMap<OrderId, OrderComparison>,
) -> Result<u64, Error> {
    let up_to = bookkeeping::read(connection).await?.checkpoint.position;
    let events = load_events(connection, upcasters, ids, up_to, comparisons).await?;
    for row in tables::load_orders(connection, ids).await? {
        if let Some(comparison) = comparisons.get_mut(&row.id) {
            comparison.add_stored_order(row);
        }
    }
    for row in load_items(connection, ids).await? {
        if let Some(comparison) = comparisons.get_mut(&row.order_id) {
            comparison.add_stored_item(row);
        }
    }
    for row in bookkeeping::read_parked_of(connection, ids).await? {
        if let Some(comparison) = comparisons.get_mut(&row.order_id) {
            comparison.add_stored_parked(row);
        }
    }
    Ok(events)
}

async fn load_events(
    connection: &mut PgConnection,
    upcasters: &UpcasterChain,
    ids: &[Uuid],
    up_to: Position,
    comparisons: &mut BTreeMap<OrderId, OrderComparison>,
) -> Result<u64, Error> {
    let mut events = sqlx::query_as!(
        EventRow,
        r#"select position, event_id, aggregate_type, aggregate_id, version, type as event_type,
                  schema_version, data as "data: Json<Box<RawValue>>",
                  metadata as "metadata: Json<Box<RawValue>>", created_at
           from events
           where aggregate_id = any($1) and aggregate_type = $2 and position <= $3
           order by aggregate_id, version"#,
        ids,
        Order::TYPE,
        up_to.get(),
    )
    .fetch(connection);
    let mut count: u64 = 0;
    while let Some(event) = events.try_next().await? {
        count = count.saturating_add(1);
        if let Some(comparison) = comparisons.get_mut(&event.aggregate_id.into()) {
            comparison.add_event(event.into(), upcasters);
        }
    }
    Ok(count)
}

async fn load_items(connection: &mut PgConnection, orders: &[Uuid]) -> Result<Vec<ItemRow>, Error> {
    sqlx::query_as!(
        ItemRow,
        "select order_id, item_id, line_no, product_id, quantity, price_minor, added_at
         from order_items where order_id = any($1)",
        orders,
    )
    .fetch_all(connection)
    .await
}

/// The ids of the orders that changed last.
pub(super) async fn recently_changed(
    connection: &mut PgConnection,
    limit: u32,
) -> Result<Vec<Uuid>, Error> {
    sqlx::query_scalar!(
        "select id from order_views
         order by updated_slot desc, updated_at desc, id desc limit $1",
        i64::from(limit),
    )
    .fetch_all(connection)
    .await
}

/// The ids of the orders that have an event at one of these positions.
pub(super) async fn changed_at(
    connection: &mut PgConnection,
    positions: &[i64],
) -> Result<Vec<Uuid>, Error> {
    sqlx::query_scalar!(
        "select distinct aggregate_id from events
         where position = any($1) and aggregate_type = $2",
        positions,
        Order::TYPE,
    )
    .fetch_all(connection)
    .await
}

/// How many orders the read model has.
pub(super) async fn count(connection: &mut PgConnection) -> Result<u64, Error> {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from order_views"#)
        .fetch_one(connection)
        .await?;
    Ok(count.unsigned_abs())
}

/// The next ids in order, of streams and of rows, because either can lack the other. The recursion
/// finds one stream after the other in the primary key, without reading the events between.
pub(super) async fn ids_after(
    connection: &mut PgConnection,
    after: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Uuid>, Error> {
    sqlx::query_scalar!(
        r#"with recursive streams as (
            (select e.aggregate_id as id, e.aggregate_type as type from events e
             where $1::uuid is null or e.aggregate_id > $1
             order by e.aggregate_id, e.version limit 1)
            union all
            select next.aggregate_id, next.aggregate_type
            from streams s
            cross join lateral (
                select e.aggregate_id, e.aggregate_type from events e
                where e.aggregate_id > s.id order by e.aggregate_id, e.version limit 1
            ) next
        )
        select id as "id!" from (
            (select id from streams where type = $2 limit $3)
            union
            (select id from order_views where $1::uuid is null or id > $1 order by id limit $3)
            union
            (select distinct order_id from order_items where $1::uuid is null or order_id > $1
             order by order_id limit $3)
            union
            (select order_id from projection_parked where $1::uuid is null or order_id > $1
             order by order_id limit $3)
        ) ids
        order by id limit $3"#,
        after,
        Order::TYPE,
        limit,
    )
    .fetch_all(connection)
    .await
}
