//! Lists: filters, sorts, pages, cursors and counts.

use serde_json::{Value, json};

use super::{
    assert_fields, assert_instant, assert_problem, delete, id, line, members, place, post_nothing,
};
use crate::support::{TestApp, app::Answer};

/// The ids on a page.
fn ids(answer: &Answer) -> Vec<String> {
    let page = answer.json();
    let items = page["items"].as_array().cloned().unwrap_or_default();
    assert_eq!(answer.status, 200, "{}", answer.text);
    items
        .iter()
        .map(|item| item["id"].as_str().expect("an id").to_owned())
        .collect()
}

/// Places so many orders of a customer, oldest first.
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

/// Writes rows into the read model that no event stands behind, all created at one instant.
async fn plant(app: &TestApp, count: i32) {
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

/// Follows `Link` from page to page, each one as it is given.
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
async fn a_page_holds_summaries_newest_first() {
    let app = TestApp::start().await;
    let (placed, path) = place(&app, json!([line("p", 2, "49.99")])).await;
    let completed = post_nothing(&app, &format!("{path}/complete"), &[]).await;
    let token = completed.header("consistency-token");
    let (newer, _) = place(&app, json!([])).await;
    let newest = [("consistency-token", newer.header("consistency-token"))];

    let page = app.get_with("/v1/orders", &newest).await;
    let full = app
        .get_with("/v1/orders?view=full", &[("consistency-token", token)])
        .await;
    let summary = app.get("/v1/orders?view=summary").await;

    let json = page.json();
    assert_eq!(
        ids(&page),
        [newer.id().to_string(), placed.id().to_string()]
    );
    let expected = [
        "hasMore",
        "items",
        "nextCursor",
        "page",
        "pageSize",
        "totalCount",
        "totalCountCapped",
    ];
    assert_eq!(members(&json), expected);
    assert_eq!((&json["page"], &json["pageSize"]), (&json!(1), &json!(20)));
    assert_eq!(
        (&json["hasMore"], &json["nextCursor"]),
        (&json!(false), &Value::Null)
    );
    assert_eq!(
        (&json["totalCount"], &json["totalCountCapped"]),
        (&Value::Null, &json!(false))
    );
    assert_eq!(page.header("link"), "");
    assert_ne!(page.header("projection-position"), "");
    let mut expected = completed.json();
    assert_eq!(full.json()["items"][1], expected);
    let object = expected.as_object_mut().expect("an order");
    object.remove("items");
    object.remove("allowedActions");
    assert_eq!(json["items"][1], expected);
    assert_eq!(summary.json(), json);
    assert_instant(&json["items"][0]["createdAt"]);
    app.stop().await;
}

#[tokio::test]
async fn filters_are_taken_together() {
    let app = TestApp::start().await;
    let held = json!([
        line("kept", 1, "1"),
        line("gone", 1, "1"),
        line("kept", 1, "1")
    ]);
    let (open, path) = place(&app, held).await;
    let gone = open.json()["items"][1]["itemId"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(
        delete(&app, &format!("{path}/items/{gone}"), &[])
            .await
            .status,
        200
    );
    let (completed, path) = place(&app, json!([line("kept", 1, "1")])).await;
    post_nothing(&app, &format!("{path}/complete"), &[]).await;
    let (cancelled, path) = place(&app, json!([])).await;
    post_nothing(&app, &format!("{path}/cancel"), &[]).await;
    let other = app
        .post("/v1/orders", &json!({"customerId": "käufer +&=%"}))
        .await;
    app.wait_until_caught_up().await;
    let (open, completed) = (open.id().to_string(), completed.id().to_string());
    let (cancelled, other) = (cancelled.id().to_string(), other.id().to_string());

    for (query, expected) in [
        ("status=created", vec![&other, &open]),
        ("status=completed", vec![&completed]),
        (
            "status=completed&status=cancelled",
            vec![&cancelled, &completed],
        ),
        ("status=completed&status=completed", vec![&completed]),
        ("productId=kept", vec![&completed, &open]),
        ("productId=gone", vec![]),
        ("productId=kept&status=created", vec![&open]),
        ("customerId=customer-1", vec![&cancelled, &completed, &open]),
        ("customerId=k%C3%A4ufer+%2B%26%3D%25", vec![&other]),
        ("customerId=CUSTOMER-1", vec![]),
        ("customerId=customer", vec![]),
        (
            "customerId=customer-1&productId=kept&status=cancelled",
            vec![],
        ),
        (
            "createdFrom=2001-01-01T00:00:00Z&createdTo=2001-01-02T00:00:00Z",
            vec![],
        ),
        ("updatedTo=2001-01-01T00:00:00Z", vec![]),
        ("updatedFrom=2999-01-01T00:00:00Z", vec![]),
    ] {
        let page = app
            .get(&format!("/v1/orders?includeTotal=true&{query}"))
            .await;
        assert_eq!(ids(&page).iter().collect::<Vec<_>>(), expected, "{query}");
        assert_eq!(page.json()["totalCount"], expected.len());
    }
    app.stop().await;
}

#[tokio::test]
async fn a_range_has_its_first_instant_and_not_its_last() {
    let app = TestApp::start().await;
    let (placed, _) = place(&app, json!([])).await;
    app.wait_until_caught_up().await;
    let at = placed.json()["createdAt"]
        .as_str()
        .expect("an instant")
        .to_owned();
    let later = at.replace('Z', "001Z");
    let offset = at.replace('Z', "+00:00");
    let count = async |query: String| ids(&app.get(&format!("/v1/orders?{query}")).await).len();

    assert_eq!(count(format!("createdFrom={at}")).await, 1);
    assert_eq!(count(format!("createdTo={at}")).await, 0);
    assert_eq!(count(format!("createdFrom={later}")).await, 0);
    assert_eq!(count(format!("createdTo={later}")).await, 1);
    assert_eq!(count(format!("updatedFrom={at}")).await, 1);
    assert_eq!(count(format!("updatedTo={at}")).await, 0);
    // A plus counts as one, percent-encoded or not.
    assert_eq!(count(format!("createdFrom={offset}")).await, 1);
    assert_eq!(
        count(format!("createdFrom={}", offset.replace('+', "%2B"))).await,
        1
    );
    assert_eq!(count(format!("createdTo={offset}")).await, 0);
    for bad in [
        "2026-11-23T09:15:02",
        "2026-11-23",
        "2026-11-23 09:15:02",
        "1764000000",
        "",
        "now",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-11-23T09:15:02+99:00",
    ] {
        for name in ["createdFrom", "createdTo", "updatedFrom", "updatedTo"] {
            let refused = app.get(&format!("/v1/orders?{name}={bad}")).await;
            assert_problem(&refused, 400, "invalid_parameter");
            assert_fields(&refused, &[(name, "invalid_instant")]);
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn parameters_of_lists_are_read_strictly() {
    let app = TestApp::start().await;

    for query in [
        "customerId=",
        "customerId",
        "productId=",
        "customerId=%00",
        "productId=a%0Ab",
        "customerId=%ff",
        "status=",
        "status=open",
        "status=Created",
        "status=created,completed",
        "customerId=a&customerId=b",
        "productId=a&productId=a",
        "pageSize=0",
        "pageSize=101",
        "pageSize=-1",
        "pageSize=x",
        "pageSize=",
        "pageSize=1.0",
        "page=0",
        "page=-1",
        "page=x",
        "page=",
        "page=1&page=1",
        "sort=total",
        "sort=",
        "sort=+createdAt",
        "sort=createdAt&sort=createdAt",
        "view=all",
        "view=",
        "includeTotal=yes",
        "includeTotal=1",
        "includeTotal=",
        "colour=red",
        "customer_id=a",
        "page=1&cursor=abc",
        "wait=1",
    ] {
        let refused = app.get(&format!("/v1/orders?{query}")).await;
        assert_problem(&refused, 400, "invalid_parameter");
        let name = query.split(['=', '&']).next().unwrap_or_default();
        assert_eq!(
            refused.json()["errors"][0]["parameter"],
            name,
            "{}",
            refused.text
        );
    }
    let many = app
        .get("/v1/orders?customerId=&status=x&colour=red&pageSize=0")
        .await;
    let problem = assert_problem(&many, 400, "invalid_parameter");
    assert_eq!(problem["errors"].as_array().map(Vec::len), Some(4));
    for query in [
        "",
        "pageSize=1",
        "pageSize=100",
        "page=1",
        "&&",
        "includeTotal=false",
    ] {
        assert_eq!(
            app.get(&format!("/v1/orders?{query}")).await.status,
            200,
            "{query}"
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn cursors_lead_through_a_list_that_grows_without_loss_or_repetition() {
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
async fn a_cursor_belongs_to_its_filters_and_its_sort() {
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
    // What only changes how much is shown may change.
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
            .get(&format!("/v1/orders?{same}&cursor={garbage}"))
            .await;
        assert_problem(&refused, 400, "invalid_cursor");
    }
    let both = app
        .get(&format!("/v1/orders?{same}&page=1&cursor={cursor}"))
        .await;
    assert_problem(&both, 400, "invalid_parameter");
    app.stop().await;
}

#[tokio::test]
async fn the_id_breaks_ties_in_the_sorts_direction() {
    let app = TestApp::start().await;
    plant(&app, 7).await;
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
async fn pages_reach_ten_thousand_deep_and_counts_go_as_far() {
    let app = TestApp::start().await;
    plant(&app, 10_001).await;

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
