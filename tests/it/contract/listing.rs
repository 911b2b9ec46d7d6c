//! Lists: what a page contains, filters and parameters.

use serde_json::{Value, json};

use super::{
    assert_fields, assert_problem, assert_timestamp, delete, line, members, place, post_nothing,
};
use crate::support::{TestApp, app::Answer};

/// The ids on a page.
pub fn ids(answer: &Answer) -> Vec<String> {
    let page = answer.json();
    let items = page["items"].as_array().cloned().unwrap_or_default();
    assert_eq!(answer.status, 200, "{}", answer.text);
    items
        .iter()
        .map(|item| item["id"].as_str().expect("an id").to_owned())
        .collect()
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
    assert_timestamp(&json["items"][0]["createdAt"]);
    app.stop().await;
}

/// Places an open order that a line was removed from, a completed order, a cancelled one, and one of
/// another customer. Returns their ids.
async fn place_one_of_each(app: &TestApp) -> [String; 4] {
    let held = json!([
        line("kept", 1, "1"),
        line("gone", 1, "1"),
        line("kept", 1, "1")
    ]);
    let (open, path) = place(app, held).await;
    let gone = open.json()["items"][1]["itemId"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(
        delete(app, &format!("{path}/items/{gone}"), &[])
            .await
            .status,
        200
    );
    let (completed, path) = place(app, json!([line("kept", 1, "1")])).await;
    post_nothing(app, &format!("{path}/complete"), &[]).await;
    let (cancelled, path) = place(app, json!([])).await;
    post_nothing(app, &format!("{path}/cancel"), &[]).await;
    let other = app
        .post("/v1/orders", &json!({"customerId": "käufer +&=%"}))
        .await;
    app.wait_until_caught_up().await;
    [open, completed, cancelled, other].map(|placed| placed.id().to_string())
}

#[tokio::test]
async fn a_listed_order_matches_all_filters() {
    let app = TestApp::start().await;
    let [open, completed, cancelled, other] = place_one_of_each(&app).await;

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
async fn a_time_range_includes_its_start_and_excludes_its_end() {
    let app = TestApp::start().await;
    let (placed, _) = place(&app, json!([])).await;
    app.wait_until_caught_up().await;
    let at = placed.json()["createdAt"]
        .as_str()
        .expect("a timestamp")
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
    // A plus sign is a plus sign, percent-encoded or not.
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

/// Each query has one invalid parameter, its first one.
const INVALID_QUERIES: [&str; 36] = [
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
];

#[tokio::test]
async fn parameters_of_lists_are_read_strictly() {
    let app = TestApp::start().await;

    for query in INVALID_QUERIES {
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
