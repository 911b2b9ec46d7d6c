//! Pages of orders with many lines.

use serde_json::Value;

use crate::support::{TestApp, app::Answer};

const MIB: usize = 1 << 20;
/// How many lines each order has.
const LINES: usize = 2000;
/// How many orders there are.
const ORDERS: usize = 24;

/// Inserts large orders without events into the read model. Each is about 400 kB of JSON.
async fn insert_large_orders(app: &mut TestApp) {
    app.may_differ();
    sqlx::raw_sql(
        "insert into order_views (id, customer_id, status, currency, total_minor, item_count,
             total_quantity, version, position, created_at, updated_at)
         select ('019aaf00-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'planted',
             'created', 'EUR', 0, 2000, 2000, 1, 0, '2020-01-01T00:00:00Z', '2020-01-01T00:00:00Z'
         from generate_series(1, 24) n;
         insert into order_items (order_id, item_id, line_no, product_id, quantity, price_minor,
             added_at)
         select v.id, gen_random_uuid(), n, repeat('p', 50), 1, 0, v.created_at
         from order_views v, generate_series(1, 2000) n",
    )
    .execute(&app.database)
    .await
    .expect("PostgreSQL answers");
}

fn items(page: &Answer) -> Vec<Value> {
    assert_eq!(page.status, 200, "{}", page.text);
    page.json()["items"].as_array().expect("items").clone()
}

#[tokio::test]
async fn a_page_of_large_orders_ends_early_and_the_next_one_goes_on_behind_it() {
    let mut app = TestApp::start().await;
    insert_large_orders(&mut app).await;

    for first in [
        "/v1/orders?view=full&pageSize=100",
        "/v1/orders?view=full&pageSize=20&page=1&customerId=planted&sort=updatedAt",
    ] {
        let (mut found, mut pages, mut next) = (vec![], 0, Some(first.to_owned()));
        while let Some(path) = next {
            let page = app.get(&path).await;
            let shown = items(&page);
            assert!(page.text.len() < 5 * MIB, "{} bytes", page.text.len());
            for order in shown {
                assert_eq!(order["items"].as_array().map(Vec::len), Some(LINES));
                found.push(order["id"].to_string());
            }
            pages += 1;
            let has_more = page.json()["hasMore"] == true;
            // Only the last page is smaller.
            assert!(
                !has_more || page.text.len() > 4 * MIB,
                "{}",
                page.text.len()
            );
            assert_eq!(page.json()["nextCursor"].is_string(), has_more);
            let link = page.header("link").strip_prefix('<');
            next = link.and_then(|link| Some(link.split_once('>')?.0.to_owned()));
            assert_eq!(next.is_some(), has_more);
        }

        assert_eq!(found.len(), ORDERS, "{first}");
        assert!((3..=4).contains(&pages), "{pages} pages of {first}");
        let (mut ids, count) = (found, ORDERS);
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "an order came twice: {first}");
    }
    app.stop().await;
}
