//! Fills a store with many events, by SQL: orders of ten events each.

use sqlx::{AssertSqlSafe, Executor};

use super::Store;

/// Events an order: created with two lines, seven lines added, one quantity changed, completed.
const EVENTS_PER_ORDER: u64 = 10;

/// How many orders one statement inserts, in one transaction.
const ORDERS_PER_STATEMENT: u64 = 4_000;

/// Inserts this number of events and refreshes the planner's statistics.
pub async fn fill(store: &Store, events: u64) -> anyhow::Result<()> {
    let orders = events.div_ceil(EVENTS_PER_ORDER);
    let mut made = 0;
    while made < orders {
        let until = orders.min(made + ORDERS_PER_STATEMENT);
        let statement = format!("{INSERT} generate_series({made}::int, {until}::int - 1) {REST}");
        store.pool.execute(AssertSqlSafe(statement)).await?;
        made = until;
    }
    store.pool.execute("analyze events").await?;
    Ok(())
}

const INSERT: &str = r"
insert into events (event_id, aggregate_type, aggregate_id, version, type, schema_version, data,
                    metadata, created_at)
select gen_random_uuid(), 'Order', o.id, v, case v when 1 then 'OrderCreated'
           when 9 then 'OrderItemQuantityChanged' when 10 then 'OrderCompleted'
           else 'OrderItemAdded' end,
       case v when 1 then 3 else 1 end,
       case v
           when 1 then jsonb_build_object('orderId', o.id, 'customerId', 'customer-' || n % 5000,
               'currency', 'EUR', 'items', jsonb_build_array(
                   jsonb_build_object('itemId', md5(n || ':a')::uuid, 'productId', 'product-' || n % 800,
                                      'quantity', 2, 'price', '49.99'),
                   jsonb_build_object('itemId', md5(n || ':b')::uuid, 'productId', 'product-' || n % 77,
                                      'quantity', 1, 'price', '0.50')))
           when 9 then jsonb_build_object('itemId', md5(n || ':a')::uuid, 'quantity', 3)
           when 10 then '{}'
           else jsonb_build_object('itemId', md5(n || ':' || v)::uuid, 'productId',
                                   'product-' || (n + v) % 800, 'quantity', v, 'price', '2.55',
                                   'currency', 'EUR')
       end,
       jsonb_build_object('actor', null, 'requestId', 'bench', 'correlationId', 'bench',
                          'causationId', null, 'traceparent', null),
       now() + v * interval '1 millisecond'
from
";

const REST: &str = r"as n
cross join lateral (select md5('order ' || n)::uuid as id) o
cross join generate_series(1, 10) as v
order by n, v
";
