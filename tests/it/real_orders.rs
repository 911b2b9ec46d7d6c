//! Real orders of a real retailer, sent through the whole service: the views match the file.

use serde_json::{Value, json};

use crate::support::{
    TestApp,
    app::Answer,
    retail::{self, Invoice, Line},
    shop::Shop,
    truth,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_real_invoices_are_stored_and_shown_correctly() {
    let (invoices, refused) = retail::first(500);

    assert_orders_match_the_file(invoices, &refused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_excerpt_is_stored_and_shown_correctly() {
    let (invoices, refused) = retail::excerpt();

    assert_orders_match_the_file(invoices, &refused).await;
}

/// Sends the acceptable invoices concurrently, and the refused ones at the same time. Then compares
/// store and views with the file.
async fn assert_orders_match_the_file(invoices: Vec<Invoice>, refused: &[Invoice]) {
    let app = TestApp::start().await;
    let shop = Shop::at(&app.url, invoices);

    let load = shop.open();
    for invoice in refused {
        let answer = place(&app, &invoice.lines).await;
        let wrong = invoice
            .lines
            .iter()
            .position(|line| line.quantity < 1 || line.quantity > 10_000);
        let pointer = format!("#/items/{}/quantity", wrong.unwrap());
        assert_refused(&answer, &pointer, "out_of_range");
    }
    load.await.unwrap();

    app.wait_until_caught_up().await;
    truth::assert_store_is_what_was_acknowledged(&shop, &app.database).await;
    truth::assert_views_are_what_the_file_says(&shop, &app.url).await;
    let retried = shop.ledger.attempts.lock().unwrap().len() - shop.commands();
    assert_eq!(retried, 0, "commands had to be repeated");
    app.stop().await;
}

/// The file has no negative prices and no prices with three decimals, so this test changes real lines.
#[tokio::test]
async fn refused_lines_are_reported_and_not_stored() {
    let app = TestApp::start().await;
    let (good, _) = retail::excerpt();
    for (wrong, member, code) in wrong_lines(&good[0].lines) {
        let answer = place(&app, &wrong).await;
        assert_refused(&answer, &format!("#/items/2/{member}"), code);
    }
    let empty = app
        .post(
            "/v1/orders",
            &json!({"customerId": "guest", "currency": "GBP"}),
        )
        .await;
    let path = format!("/v1/orders/{}/items", empty.id());
    let bad_line = json!({"productId": "22423", "quantity": 0, "price": "-1.00"});
    let answer = app.post(&path, &bad_line).await;
    assert_refused(&answer, "#/price", "invalid_money");
    assert_refused(&answer, "#/quantity", "out_of_range");

    app.wait_until_caught_up().await;
    let left: (i64, i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from events), (select count(*) from order_views),
                (select count(*) from order_items), (select count(*) from idempotency_keys)",
    )
    .fetch_one(&app.database)
    .await
    .unwrap();
    // Only the empty order is stored.
    assert_eq!(left, (1, 1, 0, 0));
    app.stop().await;
}

/// The lines with the third one changed, and the member and the code of its refusal.
fn wrong_lines(lines: &[Line]) -> Vec<(Vec<Line>, &'static str, &'static str)> {
    let changed = |change: &dyn Fn(&mut Line)| {
        let mut lines = lines.to_vec();
        change(&mut lines[2]);
        lines
    };
    let price = |text: &'static str| move |line: &mut Line| text.clone_into(&mut line.price);

    vec![
        (changed(&price("-11062.06")), "price", "invalid_money"),
        (changed(&price("0.001")), "price", "money_precision"),
        (
            changed(&|line| line.quantity = 0),
            "quantity",
            "out_of_range",
        ),
        (
            changed(&|line| line.quantity = -3),
            "quantity",
            "out_of_range",
        ),
        (
            changed(&|line| line.quantity = 74_215),
            "quantity",
            "out_of_range",
        ),
        (
            changed(&|line| line.product.clear()),
            "productId",
            "required",
        ),
    ]
}

/// Places an order with these lines, with a key: a refusal must not store the key either.
async fn place(app: &TestApp, lines: &[Line]) -> Answer {
    let items: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!({"productId": line.product, "quantity": line.quantity, "price": line.price})
        })
        .collect();
    let body = json!({"customerId": "guest", "currency": "GBP", "items": items});
    app.post_with("/v1/orders", &body, &[("idempotency-key", "refused")])
        .await
}

fn assert_refused(answer: &Answer, pointer: &str, code: &str) {
    assert_eq!((answer.status, &*answer.code()), (422, "validation_failed"));
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    let is_named = errors
        .iter()
        .any(|error| error["pointer"] == pointer && error["code"] == code);
    assert!(is_named, "no {code} at {pointer}: {}", answer.text);
}
