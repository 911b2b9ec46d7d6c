//! Amounts of money: read exactly, shown with the digits of their currency, never rounded.

use reqwest::Method;
use serde_json::json;

use super::{assert_fields, assert_invalid, assert_problem, line, patch, place, post_text};
use crate::support::{TestApp, app::Answer};

/// Creates an order of one item. The price is JSON text.
async fn at_price(app: &TestApp, currency: &str, price: &str) -> Answer {
    let body = format!(
        r#"{{"customerId":"c","currency":"{currency}","items":[{{"productId":"p","quantity":1,"price":{price}}}]}}"#
    );
    post_text(app, "/v1/orders", body).await
}

#[tokio::test]
async fn prices_are_read_exactly_and_shown_with_the_currencys_digits() {
    let app = TestApp::start().await;

    for (currency, price, shown) in [
        ("EUR", r#""49.99""#, "49.99"),
        ("EUR", "49.99", "49.99"),
        ("EUR", r#""49.9""#, "49.90"),
        ("EUR", "1e2", "100.00"),
        ("EUR", "49.990", "49.99"),
        ("EUR", "4999E-2", "49.99"),
        ("EUR", r#""0""#, "0.00"),
        ("EUR", "0", "0.00"),
        ("EUR", "-0.0", "0.00"),
        ("EUR", "0e999999999", "0.00"),
        ("EUR", "0.1", "0.10"),
        ("EUR", r#""9999999999999.99""#, "9999999999999.99"),
        ("EUR", "9999999999999.99", "9999999999999.99"),
        ("JPY", r#""500""#, "500"),
        ("JPY", "5e2", "500"),
        ("JPY", "500.0", "500"),
        ("JPY", r#""999999999999999""#, "999999999999999"),
        ("KWD", r#""1.234""#, "1.234"),
        ("KWD", "1", "1.000"),
        ("CLF", r#""1.2345""#, "1.2345"),
    ] {
        let placed = at_price(&app, currency, price).await;
        assert_eq!(placed.status, 201, "{currency} {price}: {}", placed.text);
        let view = placed.json();
        assert_eq!(view["items"][0]["price"], shown, "{currency} {price}");
        assert_eq!(
            (&view["total"], &view["currency"]),
            (&json!(shown), &json!(currency))
        );
    }
    app.stop().await;
}

#[tokio::test]
async fn invalid_amounts_and_amounts_with_too_many_digits_are_refused() {
    let app = TestApp::start().await;
    let refusals = [
        ("EUR", r#""49.990""#, "money_precision"),
        ("EUR", r#""0.000""#, "money_precision"),
        ("EUR", "49.991", "money_precision"),
        ("EUR", "1e-3", "money_precision"),
        ("EUR", "1e-300", "money_precision"),
        ("EUR", "1e-999999999", "money_precision"),
        ("EUR", "1e15", "money_precision"),
        ("EUR", "1e300", "money_precision"),
        ("EUR", "1e1000000000", "money_precision"),
        ("EUR", r#""1234567890123456""#, "money_precision"),
        ("EUR", "1234567890123456", "money_precision"),
        ("EUR", r#""10000000000000.00""#, "money_precision"),
        ("JPY", r#""1.0""#, "money_precision"),
        ("JPY", "1.5", "money_precision"),
        ("KWD", r#""1.2345""#, "money_precision"),
        ("EUR", r#""-1""#, "invalid_money"),
        ("EUR", r#""+1""#, "invalid_money"),
        ("EUR", r#""1e2""#, "invalid_money"),
        ("EUR", r#""01""#, "invalid_money"),
        ("EUR", r#""00""#, "invalid_money"),
        ("EUR", r#"".5""#, "invalid_money"),
        ("EUR", r#""1.""#, "invalid_money"),
        ("EUR", r#""1,5""#, "invalid_money"),
        ("EUR", r#"" 1""#, "invalid_money"),
        ("EUR", r#""1 ""#, "invalid_money"),
        ("EUR", r#""""#, "invalid_money"),
        ("EUR", r#""NaN""#, "invalid_money"),
        ("EUR", r#""0x10""#, "invalid_money"),
        ("EUR", r#""1_000""#, "invalid_money"),
        ("EUR", r#""٣""#, "invalid_money"),
        ("EUR", "-0.01", "invalid_money"),
        ("EUR", "true", "wrong_type"),
        ("EUR", "[]", "wrong_type"),
        ("EUR", "{}", "wrong_type"),
        ("EUR", "null", "required"),
    ];
    let (_, open) = place(&app, json!([])).await;

    for (currency, price, code) in refusals {
        let created = at_price(&app, currency, price).await;
        assert_invalid(&created, &[("#/items/0/price", code)]);
        if currency == "EUR" {
            let item = format!(r#"{{"productId":"p","quantity":1,"price":{price}}}"#);
            let added = post_text(&app, &format!("{open}/items"), item).await;
            assert_invalid(&added, &[("#/price", code)]);
        }
    }
    for price in ["1e14", "999999999999999", r#""100000000000000""#] {
        let created = at_price(&app, "EUR", price).await;
        assert_problem(&created, 422, "limit_exceeded");
        assert_fields(&created, &[("#/items/0/price", "limit_exceeded")]);
    }
    app.stop().await;
}

#[tokio::test]
async fn only_iso_4217_currency_codes_are_accepted() {
    let app = TestApp::start().await;

    for code in [
        "eur", "Eur", "XAU", "XXX", "XTS", "EURO", "EU", "", "ZZZ", "EUR ",
    ] {
        let body = json!({"customerId": "c", "currency": code});
        let refused = app.post("/v1/orders", &body).await;
        assert_invalid(&refused, &[("#/currency", "invalid_currency")]);
    }
    let number = json!({"customerId": "c", "currency": 978});
    let refused = app.post("/v1/orders", &number).await;
    assert_invalid(&refused, &[("#/currency", "wrong_type")]);
    app.stop().await;
}

#[tokio::test]
async fn the_default_currency_comes_from_the_configuration() {
    let app = TestApp::start_with(|config| {
        config.default_currency = "JPY".parse().expect("a currency");
    })
    .await;

    let (placed, path) = place(&app, json!([line("p", 3, "500")])).await;
    let too_precise = app
        .post(&format!("{path}/items"), &line("p", 1, "1.5"))
        .await;

    assert_eq!(
        (&placed.json()["currency"], &placed.json()["total"]),
        (&json!("JPY"), &json!("1500"))
    );
    assert_invalid(&too_precise, &[("#/price", "money_precision")]);
    app.stop().await;
}

#[tokio::test]
async fn an_added_line_accepts_every_price_that_a_first_line_accepts() {
    let app = TestApp::start().await;

    for (currency, price) in [
        ("EUR", "9999999999999.99"),
        ("JPY", "999999999999999"),
        ("KWD", "999999999999.999"),
        ("CLF", "99999999999.9999"),
    ] {
        let body = json!({"customerId": "c", "currency": currency, "items": [line("p", 1, price)]});
        let placed = app.post("/v1/orders", &body).await;
        assert_eq!(placed.status, 201, "{}", placed.text);
        let items = format!("/v1/orders/{}/items", placed.id());

        let added = app.post(&items, &line("p", 1, price)).await;
        let number = format!(r#"{{"productId":"p","quantity":1,"price":{price}}}"#);
        let as_number = post_text(&app, &items, number).await;

        assert_eq!(added.status, 201, "{currency}: {}", added.text);
        assert_eq!(as_number.status, 201, "{currency}: {}", as_number.text);
        assert_eq!(as_number.json()["items"][2]["price"], price);
    }
    app.stop().await;
}

#[tokio::test]
async fn a_total_reaches_its_limit_exactly_and_no_further() {
    let app = TestApp::start().await;
    // 9 × 999 999 999 999 999 + 7 199 254 741 000 = 2⁵³ − 1
    let lines = json!([
        line("p", 9, "9999999999999.99"),
        line("q", 1, "71992547410.00")
    ]);
    let (placed, path) = place(&app, lines).await;
    assert_eq!(placed.json()["total"], "90071992547409.91");
    let items = format!("{path}/items");
    let first = format!(
        "{items}/{}",
        placed.json()["items"][0]["itemId"].as_str().expect("an id")
    );

    let cent = app.post(&items, &line("r", 1, "0.01")).await;
    let tenth = patch(&app, &first, &json!({"quantity": 10}), &[]).await;
    let most = patch(&app, &first, &json!({"quantity": 10_000}), &[]).await;
    let free = app.post(&items, &line("r", 10_000, "0")).await;
    let fewer = patch(&app, &first, &json!({"quantity": 8}), &[]).await;
    let over = json!({"customerId": "c", "items": [
        line("p", 9, "9999999999999.99"), line("q", 1, "71992547410.01")]});
    let over = app.post("/v1/orders", &over).await;

    for refused in [cent, tenth, most, over] {
        assert_problem(&refused, 422, "limit_exceeded");
    }
    assert_eq!(free.status, 201, "{}", free.text);
    assert_eq!((fewer.status, fewer.header("etag")), (200, "\"3\""));
    let token = fewer.header("consistency-token");
    let shown = app.get_with(&path, &[("consistency-token", token)]).await;
    assert_eq!(shown.json(), fewer.json());
    app.stop().await;
}

#[tokio::test]
async fn an_order_has_at_most_two_thousand_lines() {
    let app = TestApp::start().await;
    let many = |count| json!({"customerId": "c", "items": vec![line("p", 1, "1"); count]});

    let full = app.post("/v1/orders", &many(2000)).await;
    let too_many = app.post("/v1/orders", &many(2001)).await;
    assert_eq!(full.status, 201, "{}", full.text);
    let path = format!("/v1/orders/{}", full.id());
    let one_more = app.post(&format!("{path}/items"), &line("p", 1, "1")).await;
    let gone = full.json()["items"][5]["itemId"]
        .as_str()
        .map(|item| format!("{path}/items/{item}"));
    let removed = app
        .send(Method::DELETE, &gone.expect("a line"), &[], None)
        .await;
    let again = app.post(&format!("{path}/items"), &line("p", 1, "1")).await;

    let actions = json!(["changeItem", "removeItem", "complete", "cancel"]);
    assert_eq!(full.json()["allowedActions"], actions);
    assert_problem(&too_many, 422, "limit_exceeded");
    assert_problem(&one_more, 422, "limit_exceeded");
    assert_eq!(removed.json()["allowedActions"][0], "addItem");
    assert_eq!(again.status, 201, "{}", again.text);
    let token = again.header("consistency-token");
    let shown = app.get_with(&path, &[("consistency-token", token)]).await;
    assert_eq!(shown.json(), again.json());
    app.stop().await;
}
