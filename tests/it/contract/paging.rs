//! Lists: sort orders, pages, cursors and counts.

use serde_json::{Value, json};

use super::{assert_problem, id, line, listing::ids};
use crate::support::TestApp;

/// Places this number of orders of a customer. Returns their ids, oldest first.
async fn place_many(app: &TestApp, count: usize, customer: &str) -> Vec<String> {
    let mut placed = vec![];
    for _ in 0..count {
        let answer = app
            .post("/v1/orders", &json!({"customerId": customer}))
            .await;
        placed.push(answer.id().to_string());
    }
    app.wait_until_caught_up().await;
    placed
}

/// Inserts rows without events into the read model, all with the same time of creation.
async fn insert_views(app: &mut TestApp, count: i32) {
    app.may_differ();
    sqlx::query(
        "insert into order_views (id, customer_id, status, currency, total_minor, item_count,
             total_quantity, version, position, created_at, updated_at)
         select ('019aaf00-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'planted',
             'created', 'EUR', 0, 0, 0, 1, 0, '2020-01-01T00:00:00Z', '2020-01-01T00:00:00Z'
         from generate_series(1, $1) n",
    )
    .bind(count)
    .execute(&app.database)
    .await
    .expect("PostgreSQL answers");
}

/// Follows the `Link` headers from page to page. Returns all ids.
async fn follow(app: &TestApp, first: &str) -> Vec<String> {
    let (mut found, mut next) = (vec![], Some(first.to_owned()));
    while let Some(path) = next {
        let page = app.get(&path).await;
        found.extend(ids(&page));
        let link = page.header("link");
        let target = link
            .strip_prefix('<')
            .and_then(|link| link.strip_suffix(">; rel=\"next\""));
        assert_eq!(target.is_some(), page.json()["hasMore"] == true, "{link}");
        assert_eq!(target.is_some(), page.json()["nextCursor"].is_string());
        next = target.map(str::to_owned);
    }
    found
}

#[tokio::test]
async fn cursors_walk_through_a_growing_list_without_loss_or_repetition() {
    let app = TestApp::start().await;
    let placed = place_many(&app, 5, "c").await;
    let newest_first: Vec<_> = placed.iter().rev().cloned().collect();

    let first = app
        .get("/v1/orders?customerId=c&pageSize=2&includeTotal=true")
        .await;
    let (newer, other) = (
        place_many(&app, 2, "c").await,
        place_many(&app, 1, "d").await,
    );
    let cursor = first.json()["nextCursor"]
        .as_str()
        .expect("a cursor")
        .to_owned();
    let second = app
        .get(&format!(
            "/v1/orders?customerId=c&pageSize=2&cursor={cursor}"
        ))
        .await;

    assert_eq!(ids(&first), newest_first[..2]);
    assert_eq!(first.json()["totalCount"], 5);
    assert_eq!(ids(&second), newest_first[2..4]);
    assert_eq!(
        (&second.json()["page"], &second.json()["hasMore"]),
        (&Value::Null, &json!(true))
    );
    let rest = first
        .header("link")
        .trim_start_matches('<')
        .split('>')
        .next()
        .unwrap_or_default();
    assert_eq!(follow(&app, rest).await, newest_first[2..]);
    let upwards = follow(&app, "/v1/orders?sort=createdAt&pageSize=3").await;
    assert_eq!(upwards, [placed, newer, other].concat());
    app.stop().await;
}

#[tokio::test]
async fn a_cursor_is_valid_only_with_its_filters_and_its_sort() {
    let app = TestApp::start().await;
    place_many(&app, 3, "c").await;
    let first = app
        .get("/v1/orders?customerId=c&status=created&status=cancelled&pageSize=1")
        .await;
    let cursor = first.json()["nextCursor"]
        .as_str()
        .expect("a cursor")
        .to_owned();

    for query in [
        "",
        "customerId=c",
        "customerId=d&status=created&status=cancelled",
        "customerId=c&status=created",
        "customerId=c&status=created&status=cancelled&sort=createdAt",
        "customerId=c&status=created&status=cancelled&productId=p",
        "customerId=c&status=created&status=cancelled&createdFrom=2001-01-01T00:00:00Z",
    ] {
        let refused = app
            .get(&format!("/v1/orders?{query}&cursor={cursor}"))
            .await;
        assert_problem(&refused, 400, "invalid_cursor");
    }
    // Parameters that only change how much is shown may differ.
    let same = "customerId=c&status=cancelled&status=created";
    for query in [
        "pageSize=2",
        "view=full",
        "includeTotal=true",
        "sort=-createdAt",
    ] {
        let page = app
            .get(&format!("/v1/orders?{same}&{query}&cursor={cursor}"))
            .await;
        assert_eq!(page.status, 200, "{}", page.text);
    }
    app.stop().await;
}

#[tokio::test]
async fn a_cursor_that_cannot_be_read_is_refused() {
    let app = TestApp::start().await;
    place_many(&app, 3, "c").await;
    let first = app.get("/v1/orders?customerId=c&pageSize=1").await;
    let cursor = first.json()["nextCursor"]
        .as_str()
        .expect("a cursor")
        .to_owned();

    let (shorter, changed) = (&cursor[1..], cursor.to_uppercase());
    for garbage in [
        "x",
        "",
        "%00",
        "AAAA",
        "ÿ",
        shorter,
        &changed,
        &format!("{cursor}AAAA"),
        &format!("{cursor}="),
        &"A".repeat(4000),
    ] {
        let refused = app
            .get(&format!("/v1/orders?customerId=c&cursor={garbage}"))
            .await;
        assert_problem(&refused, 400, "invalid_cursor");
    }
    let both = app
        .get(&format!("/v1/orders?customerId=c&page=1&cursor={cursor}"))
        .await;
    assert_problem(&both, 400, "invalid_parameter");
    app.stop().await;
}

#[tokio::test]
async fn the_id_breaks_ties_in_the_sorts_direction() {
    let mut app = TestApp::start().await;
    insert_views(&mut app, 7).await;
    let upwards: Vec<_> = (1..=7).map(|number| id(number).to_string()).collect();
    let downwards: Vec<_> = upwards.iter().rev().cloned().collect();

    for (sort, expected) in [
        ("createdAt", &upwards),
        ("updatedAt", &upwards),
        ("-createdAt", &downwards),
        ("-updatedAt", &downwards),
    ] {
        let path = format!("/v1/orders?sort={sort}&pageSize=2&customerId=planted");
        assert_eq!(&follow(&app, &path).await, expected, "{sort}");
        let mut by_page = vec![];
        for page in 1..=4 {
            by_page.extend(ids(&app.get(&format!("{path}&page={page}")).await));
        }
        assert_eq!(&by_page, expected, "{sort}");
    }
    app.stop().await;
}

#[tokio::test]
async fn orders_are_sorted_by_their_last_change() {
    let app = TestApp::start().await;
    let placed = place_many(&app, 3, "c").await;
    let path = format!("/v1/orders/{}/items", placed[0]);
    assert_eq!(app.post(&path, &line("p", 1, "1")).await.status, 201);
    app.wait_until_caught_up().await;
    let order = |numbers: [usize; 3]| numbers.map(|number| placed[number].clone());

    assert_eq!(
        ids(&app.get("/v1/orders?sort=-updatedAt").await),
        order([0, 2, 1])
    );
    assert_eq!(
        ids(&app.get("/v1/orders?sort=updatedAt").await),
        order([1, 2, 0])
    );
    assert_eq!(
        ids(&app.get("/v1/orders?sort=-createdAt").await),
        order([2, 1, 0])
    );
    assert_eq!(
        follow(&app, "/v1/orders?sort=-updatedAt&pageSize=1").await,
        order([0, 2, 1])
    );
    app.stop().await;
}

#[tokio::test]
async fn pages_and_counts_reach_ten_thousand_orders() {
    let mut app = TestApp::start().await;
    insert_views(&mut app, 10_001).await;

    let deepest = app.get("/v1/orders?page=101&pageSize=100").await;
    let single = app
        .get("/v1/orders?page=10001&pageSize=1&includeTotal=true&sort=createdAt")
        .await;
    let beyond = app.get("/v1/orders?page=502&pageSize=20").await;
    let capped = app
        .get("/v1/orders?includeTotal=true&pageSize=1&page=2")
        .await;

    assert_eq!(ids(&deepest), [id(1).to_string()]);
    assert_eq!(
        (&deepest.json()["page"], &deepest.json()["hasMore"]),
        (&json!(101), &json!(false))
    );
    assert_eq!(ids(&single), [id(10_001).to_string()]);
    assert_problem(&beyond, 400, "page_too_deep");
    for page in ["10002", "4294967296", "99999999999999999999999999"] {
        let refused = app.get(&format!("/v1/orders?pageSize=1&page={page}")).await;
        assert_problem(&refused, 400, "page_too_deep");
    }
    let json = capped.json();
    assert_eq!(
        (&json["totalCount"], &json["totalCountCapped"]),
        (&json!(10_000), &json!(true))
    );
    assert_eq!((&json["page"], &json["pageSize"]), (&json!(2), &json!(1)));
    let link = capped.header("link");
    assert!(
        link.contains("includeTotal=true") && !link.contains("page=2"),
        "{link}"
    );

    sqlx::query("delete from order_views where id = '019aaf00-0000-7000-8000-000000000001'")
        .execute(&app.database)
        .await
        .expect("PostgreSQL answers");
    let exact = app
        .get("/v1/orders?includeTotal=true&pageSize=1")
        .await
        .json();
    assert_eq!(
        (&exact["totalCount"], &exact["totalCountCapped"]),
        (&json!(10_000), &json!(false))
    );
    let beyond_all = app.get("/v1/orders?page=10001&pageSize=1").await;
    assert_eq!((ids(&beyond_all).len(), beyond_all.header("link")), (0, ""));
    app.stop().await;
}
