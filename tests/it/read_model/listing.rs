//! Lists, compared with a naive filter over all orders.

use orders::{
    order::Status,
    postgres,
    read_model::{ListQuery, ListSort, ListStart, OrderViews, OrderWithItems, list::MAX_LINES},
};
use uuid::Uuid;

use super::{
    Fixture,
    history::{SeededRandom, at},
};

const SORTS: [ListSort; 4] = [
    ListSort::CreatedDescending,
    ListSort::CreatedAscending,
    ListSort::UpdatedDescending,
    ListSort::UpdatedAscending,
];

async fn fixture() -> (Fixture, Vec<OrderWithItems>) {
    let (fixture, _) = Fixture::with_histories(20, 90, 900).await;
    fixture.projector.catch_up(|_| ()).await.unwrap();
    let all = fixture.expected_orders().await.into_values().collect();
    (fixture, all)
}

fn matches(query: &ListQuery, view: &OrderWithItems) -> bool {
    let order = &view.order;
    query
        .customer_id
        .as_ref()
        .is_none_or(|customer| *customer == order.customer_id)
        && (query.statuses.is_empty()
            || query
                .statuses
                .iter()
                .any(|status| status.as_str() == order.status))
        && (query.product_id.as_ref())
            .is_none_or(|product| view.items.iter().any(|item| item.product_id == *product))
        && query
            .created_from
            .is_none_or(|from| order.created_at >= from)
        && query.created_to.is_none_or(|to| order.created_at < to)
        && query
            .updated_from
            .is_none_or(|from| order.updated_at >= from)
        && query.updated_to.is_none_or(|to| order.updated_at < to)
}

fn expected(query: &ListQuery, all: &[OrderWithItems]) -> Vec<OrderWithItems> {
    let mut found: Vec<_> = all
        .iter()
        .filter(|view| matches(query, view))
        .cloned()
        .collect();
    found.sort_by_key(|view| query.sort.key(&view.order));
    if matches!(
        query.sort,
        ListSort::CreatedDescending | ListSort::UpdatedDescending
    ) {
        found.reverse();
    }
    found
}

fn random_query(random: &mut SeededRandom) -> ListQuery {
    let mut query = ListQuery {
        sort: SORTS[random.below(4) as usize],
        limit: 1 + random.below(30) as u32,
        with_total: random.below(2) == 0,
        with_items: random.below(2) == 0,
        ..ListQuery::default()
    };
    let mut time = |odds| (random.below(odds) == 0).then(|| at(random.below(300) as i64));
    query.created_from = time(4);
    query.created_to = time(4);
    query.updated_from = time(4);
    query.updated_to = time(4);
    query.customer_id = (random.below(3) == 0).then(|| format!("customer-{}", random.below(6)));
    query.product_id = (random.below(3) == 0).then(|| format!("product-{}", random.below(9)));
    for status in [Status::Created, Status::Completed, Status::Cancelled] {
        if random.below(4) == 0 {
            query.statuses.push(status);
        }
    }
    query
}

#[tokio::test]
async fn lists_return_page_by_page_what_a_naive_filter_finds() {
    let (fixture, all) = fixture().await;
    let mut random = SeededRandom::new(21);
    for _ in 0..150 {
        let mut query = random_query(&mut random);
        let is_keyset = random.below(2) == 0;
        let expected = expected(&query, &all);
        let mut found = Vec::new();
        loop {
            let page = fixture.views.list(&query).await.unwrap();
            let total = page.total.map(|total| total.count);
            assert_eq!(total, query.with_total.then_some(expected.len() as i64));
            let last = page.orders.last().map(|view| query.sort.key(&view.order));
            found.extend(page.orders);
            assert_eq!(page.has_more, found.len() < expected.len());
            let (true, Some((at, id))) = (page.has_more, last) else {
                break;
            };
            query.start = if is_keyset {
                ListStart::After(at, id)
            } else {
                ListStart::Offset(found.len() as u32)
            };
        }
        if !query.with_items {
            found
                .iter_mut()
                .zip(&expected)
                .for_each(|(found, expected)| {
                    assert_eq!(found.items, []);
                    found.items.clone_from(&expected.items);
                });
        }
        assert_eq!(found, expected, "{query:?}");
    }
}

#[tokio::test]
async fn an_empty_page_has_a_position_and_a_total() {
    let (fixture, all) = fixture().await;
    let query = ListQuery {
        limit: 5,
        start: ListStart::Offset(5000),
        with_total: true,
        ..ListQuery::default()
    };

    let page = fixture.views.list(&query).await.unwrap();

    assert_eq!((page.orders.len(), page.has_more), (0, false));
    assert_eq!(
        page.total.map(|total| (total.count, total.is_capped)),
        Some((all.len() as i64, false))
    );
    assert_eq!(
        page.projection_position,
        fixture.views.position().await.unwrap()
    );
}

#[tokio::test]
async fn a_total_is_capped_at_ten_thousand() {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "insert into order_views
              select gen_random_uuid(), 'c', 'created', 'EUR', 0, 0, 0, 1, n, now(), now()
              from generate_series(1, 10001) n",
        )
        .await;
    let query = ListQuery {
        limit: 1,
        with_total: true,
        ..ListQuery::default()
    };

    let page = fixture.views.list(&query).await.unwrap();

    assert_eq!(
        page.total.map(|total| (total.count, total.is_capped)),
        Some((10_000, true))
    );
}

#[tokio::test]
async fn a_page_of_large_orders_ends_early_and_no_more_of_their_lines_are_read() {
    let fixture = Fixture::new().await;
    fixture
        .run(
            "insert into order_views
              select gen_random_uuid(), 'c', 'created', 'EUR', 0, 2000, 2000, 1, n, now(), now()
              from generate_series(1, 40) n;
             insert into order_items
              select id, gen_random_uuid(), n, 'p', 1, 0, now()
              from order_views, generate_series(1, 2000) n",
        )
        .await;
    // One connection, so that it can be told to report what it has read.
    let one = postgres::pool(fixture.pool.connect_options().as_ref().clone(), 1);
    let views = OrderViews::new(one.clone(), one.clone());
    let query = ListQuery {
        limit: 100,
        with_items: true,
        ..ListQuery::default()
    };

    let page = views.list(&query).await.unwrap();
    let report = sqlx::raw_sql("select pg_stat_force_next_flush()");
    report.execute(&one).await.unwrap();

    assert_eq!((page.orders.len(), page.has_more), (15, true));
    let without_lines = ListQuery {
        with_items: false,
        ..query
    };
    let page_without_lines = views.list(&without_lines).await.unwrap();
    assert_eq!(page_without_lines.orders.len(), 40);
    assert!(page.orders.iter().all(|order| order.items.len() == 2000));
    let read: i64 = sqlx::query_scalar(
        "select seq_tup_read + idx_tup_fetch from pg_stat_user_tables where relname = 'order_items'",
    )
    .fetch_one(&fixture.pool)
    .await
    .unwrap();
    assert!(
        (MAX_LINES..MAX_LINES + 2000).contains(&read),
        "{read} lines"
    );
}

#[tokio::test]
async fn an_unknown_order_is_not_found_and_the_answer_has_a_position() {
    let (fixture, _) = fixture().await;

    let found = fixture.views.find(Uuid::nil().into()).await.unwrap();

    assert_eq!((found.order, found.parked), (None, None));
    assert_eq!(
        found.projection_position,
        fixture.views.position().await.unwrap()
    );
}
