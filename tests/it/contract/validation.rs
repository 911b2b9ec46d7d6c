//! Strict validation of bodies and parameters: one answer names every bad field.

use serde_json::{Value, json};

use super::{
    assert_fields, assert_invalid, assert_problem, bad_fields, delete, line, patch, place,
    place_one, post_text,
};
use crate::support::TestApp;

#[tokio::test]
async fn all_bad_fields_are_named_at_once() {
    let app = TestApp::start().await;
    let body = json!({"id": "x", "customerId": "", "currency": "eur", "colour": "red", "items": [
        {"itemId": 1, "productId": 5, "quantity": 0, "price": "-1"},
        {"quantity": "1", "price": true, "size": 1},
        7,
    ]});

    let refused = app.post("/v1/orders", &body).await;

    assert_problem(&refused, 422, "validation_failed");
    let mut found = bad_fields(&refused);
    found.sort();
    let expected = [
        ("#/colour", "unknown_member"),
        ("#/currency", "invalid_currency"),
        ("#/customerId", "required"),
        ("#/id", "invalid_uuid"),
        ("#/items/0/itemId", "wrong_type"),
        ("#/items/0/price", "invalid_money"),
        ("#/items/0/productId", "wrong_type"),
        ("#/items/0/quantity", "out_of_range"),
        ("#/items/1/price", "wrong_type"),
        ("#/items/1/productId", "required"),
        ("#/items/1/quantity", "wrong_type"),
        ("#/items/1/size", "unknown_member"),
        ("#/items/2", "wrong_type"),
    ];
    let expected: Vec<_> = expected
        .map(|(at, code)| (at.to_owned(), code.to_owned()))
        .into();
    assert_eq!(found, expected);
    app.stop().await;
}

#[tokio::test]
async fn an_order_with_too_many_lines_still_reports_other_bad_fields() {
    let app = TestApp::start().await;
    let items = vec![line("p", 1, "1"); 2001];

    let refused = app
        .post("/v1/orders", &json!({"items": items, "colour": 1}))
        .await;

    let expected = [
        ("#/customerId", "required"),
        ("#/colour", "unknown_member"),
        ("#/items", "limit_exceeded"),
    ];
    assert_invalid(&refused, &expected);
    app.stop().await;
}

#[tokio::test]
async fn texts_are_limited_in_characters_and_have_no_control_characters() {
    let app = TestApp::start().await;
    let customer = |text: String| json!({"customerId": text});

    for good in [
        "a".to_owned(),
        "é".repeat(128),
        "🦀".repeat(128),
        " ".to_owned(),
    ] {
        let placed = app.post("/v1/orders", &customer(good.clone())).await;
        assert_eq!(placed.status, 201, "{}", placed.text);
        assert_eq!(placed.json()["customerId"], good);
    }
    for (bad, code) in [
        ("a".repeat(129), "too_long"),
        ("🦀".repeat(129), "too_long"),
        ("a\u{0}b".to_owned(), "invalid_characters"),
        ("a\nb".to_owned(), "invalid_characters"),
        ("\u{7f}".to_owned(), "invalid_characters"),
        ("\u{85}".to_owned(), "invalid_characters"),
    ] {
        let refused = app.post("/v1/orders", &customer(bad.clone())).await;
        assert_invalid(&refused, &[("#/customerId", code)]);
        let items = json!({"customerId": "c", "items": [line(&bad, 1, "1")]});
        let refused = app.post("/v1/orders", &items).await;
        assert_invalid(&refused, &[("#/items/0/productId", code)]);
    }
    app.stop().await;
}

#[tokio::test]
async fn a_reason_has_at_most_500_characters() {
    let app = TestApp::start().await;
    let (path, _) = place_one(&app).await;
    let cancel = format!("{path}/cancel");

    let too_long = app.post(&cancel, &json!({"reason": "é".repeat(501)})).await;
    let control = app.post(&cancel, &json!({"reason": "a\u{0}"})).await;
    let number = app.post(&cancel, &json!({"reason": 5})).await;
    let unknown = app.post(&cancel, &json!({"why": "x"})).await;
    let longest = app.post(&cancel, &json!({"reason": "é".repeat(500)})).await;

    assert_invalid(&too_long, &[("#/reason", "too_long")]);
    assert_invalid(&control, &[("#/reason", "invalid_characters")]);
    assert_invalid(&number, &[("#/reason", "wrong_type")]);
    assert_invalid(&unknown, &[("#/why", "unknown_member")]);
    assert_eq!(longest.status, 200, "{}", longest.text);
    assert_eq!(longest.json()["cancellationReason"], "é".repeat(500));

    let (other, _) = place_one(&app).await;
    let none = app
        .post(&format!("{other}/cancel"), &json!({"reason": null}))
        .await;
    assert_eq!(
        (none.status, &none.json()["cancellationReason"]),
        (200, &Value::Null)
    );
    app.stop().await;
}

#[tokio::test]
async fn a_quantity_is_a_whole_number_from_1_to_10000() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;
    let with = |quantity: &str| format!(r#"{{"quantity":{quantity},"productId":"p","price":1}}"#);

    for (quantity, code) in [
        ("0", "out_of_range"),
        ("-1", "out_of_range"),
        ("10001", "out_of_range"),
        ("4294967297", "out_of_range"),
        ("18446744073709551617", "out_of_range"),
        ("1e999999999", "out_of_range"),
        ("2.5", "wrong_type"),
        ("1e-1", "wrong_type"),
        (r#""2""#, "wrong_type"),
        ("true", "wrong_type"),
        ("[]", "wrong_type"),
        ("{}", "wrong_type"),
        ("null", "required"),
    ] {
        let added = post_text(&app, &format!("{path}/items"), with(quantity)).await;
        assert_invalid(&added, &[("#/quantity", code)]);
        let headers = [("content-type", "application/json")];
        let body = format!(r#"{{"quantity":{quantity}}}"#);
        let changed = app
            .send_raw(reqwest::Method::PATCH, &item, &headers, body)
            .await;
        assert_invalid(&changed, &[("#/quantity", code)]);
    }
    let missing = patch(&app, &item, &json!({}), &[]).await;
    assert_invalid(&missing, &[("#/quantity", "required")]);
    for quantity in ["1", "10000", "2.0", "1e1"] {
        let added = post_text(&app, &format!("{path}/items"), with(quantity)).await;
        assert_eq!(added.status, 201, "{}", added.text);
    }
    app.stop().await;
}

#[tokio::test]
async fn bodies_of_the_wrong_shape_are_422_with_a_pointer() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;

    for body in ["null", "[]", "7", "\"text\"", "true", " [1] "] {
        for path in [
            "/v1/orders",
            &format!("{path}/items"),
            &format!("{path}/complete"),
        ] {
            let refused = post_text(&app, path, body).await;
            assert_invalid(&refused, &[("#", "wrong_type")]);
        }
    }
    let repeated = r#"{"customerId":"a","customerId":"a"}"#;
    assert_invalid(
        &post_text(&app, "/v1/orders", repeated).await,
        &[("#/customerId", "duplicate")],
    );
    let nested =
        r#"{"customerId":"a","items":[{"productId":"p","quantity":1,"quantity":2,"price":1}]}"#;
    let nested = post_text(&app, "/v1/orders", nested).await;
    assert_invalid(&nested, &[("#/items/0/quantity", "duplicate")]);
    // The same name, once with an escape.
    let escaped = r#"{"customerId":"a","\u0063ustomerId":"b"}"#;
    assert_invalid(
        &post_text(&app, "/v1/orders", escaped).await,
        &[("#/customerId", "duplicate")],
    );
    let strange = json!({"customerId": "a", "a/b~c d": 1});
    let strange = app.post("/v1/orders", &strange).await;
    assert_invalid(&strange, &[("#/a~1b~0c%20d", "unknown_member")]);
    let body = json!({"quantity": 1, "itemId": "x"});
    let unknown = patch(&app, &item, &body, &[]).await;
    assert_invalid(&unknown, &[("#/itemId", "unknown_member")]);
    let with_body = app
        .send(reqwest::Method::DELETE, &item, &[], Some(&json!({"a": 1})))
        .await;
    assert_invalid(&with_body, &[("#/a", "unknown_member")]);
    let body = json!({"customerId": "a", "expectedVersion": 1});
    let unknown = app.post("/v1/orders", &body).await;
    assert_invalid(&unknown, &[("#/expectedVersion", "unknown_member")]);
    app.stop().await;
}

#[tokio::test]
async fn ids_in_bodies_are_hyphenated_uuids() {
    let app = TestApp::start().await;

    for bad in [
        json!("019aaf0000007000800000000000ffff"),
        json!("{019aaf00-0000-7000-8000-00000000ffff}"),
        json!("urn:uuid:019aaf00-0000-7000-8000-00000000ffff"),
        json!("019aaf00-0000-7000-8000-00000000fff"),
        json!(""),
    ] {
        let refused = app
            .post("/v1/orders", &json!({"customerId": "c", "id": bad}))
            .await;
        assert_invalid(&refused, &[("#/id", "invalid_uuid")]);
    }
    let number = app
        .post("/v1/orders", &json!({"customerId": "c", "id": 5}))
        .await;
    assert_invalid(&number, &[("#/id", "wrong_type")]);
    app.stop().await;
}

#[tokio::test]
async fn ids_in_paths_are_hyphenated_uuids() {
    let app = TestApp::start().await;

    for bad in [
        "x",
        "019aaf0000007000800000000000ffff",
        "%00",
        "%ff",
        "..%2f",
        "0",
    ] {
        let shown = app.get(&format!("/v1/orders/{bad}")).await;
        assert_problem(&shown, 400, "invalid_parameter");
        assert_fields(&shown, &[("id", "invalid_uuid")]);
    }
    let both = patch(&app, "/v1/orders/x/items/y", &json!({"quantity": 1}), &[]).await;
    assert_problem(&both, 400, "invalid_parameter");
    assert_fields(&both, &[("id", "invalid_uuid"), ("itemId", "invalid_uuid")]);
    app.stop().await;
}

#[tokio::test]
async fn query_parameters_are_read_strictly() {
    let app = TestApp::start().await;
    let (path, item) = place_one(&app).await;

    for query in [
        "a=1",
        "version=1&version=1",
        "version=1&asOf=2026-11-23T00:00:00Z",
        "version=0",
        "version=-1",
        "version=x",
        "version=1.5",
        "version=",
        "version",
        "minVersion=0",
        "asOf=2026-11-23T00:00:00",
        "asOf=yesterday",
        "asOf=",
        "Version=1",
        "%ff=1",
        "version=%ff",
        "minVersion=1&version=1",
    ] {
        let shown = app.get(&format!("{path}?{query}")).await;
        assert_problem(&shown, 400, "invalid_parameter");
        assert!(!bad_fields(&shown).is_empty(), "{query}");
    }
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "fromVersion=0",
        "limit=1&limit=1",
        "page=1",
    ] {
        let history = app.get(&format!("{path}/events?{query}")).await;
        assert_problem(&history, 400, "invalid_parameter");
    }
    // Commands take no parameters.
    for answer in [
        app.post("/v1/orders?dryRun=true", &json!({"customerId": "c"}))
            .await,
        app.post(&format!("{path}/items?a"), &line("p", 1, "1"))
            .await,
        delete(&app, &format!("{item}?a=b"), &[]).await,
        app.post(&format!("{path}/complete?force=1"), &json!({}))
            .await,
    ] {
        assert_problem(&answer, 400, "invalid_parameter");
    }
    let untouched = app.get(&format!("{path}?minVersion=1")).await;
    assert_eq!(untouched.json()["version"], 1);
    app.stop().await;
}

#[tokio::test]
async fn nothing_is_applied_of_a_refused_order() {
    let app = TestApp::start().await;
    let (_, path) = place(&app, json!([])).await;
    let good_and_bad =
        json!({"customerId": "other", "items": [line("p", 1, "1"), line("p", 0, "1")]});

    let refused = app.post("/v1/orders", &good_and_bad).await;

    assert_invalid(&refused, &[("#/items/1/quantity", "out_of_range")]);
    app.wait_until_caught_up().await;
    let listed = app.get("/v1/orders?customerId=other").await;
    assert_eq!(listed.json()["items"], json!([]));
    assert_eq!(app.get(&path).await.status, 200);
    app.stop().await;
}
