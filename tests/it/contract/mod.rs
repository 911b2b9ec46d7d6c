//! The HTTP contract, tested from outside: what a client may rely on, and what a hostile client may
//! try. Tests of single modules do not belong here.

mod commands;
mod consistency;
mod cors;
mod history;
mod hostile;
mod idempotency;
mod idempotency_races;
mod lifecycle;
mod listing;
mod meta;
mod money;
mod paging;
mod preconditions;
mod problems;
mod queries;
mod rate_limits;
mod streams;
mod validation;

use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use crate::support::{TestApp, app::Answer};

/// An id that no test gives to an order or an item.
const UNKNOWN_ID: Uuid = Uuid::from_u128(0x019a_af00_0000_7000_8000_0000_0000_ffff);

/// The id with this number. Tests may use the same ids: each test has its own database.
fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x019a_af00_0000_7000_8000_0000_0000_0000 + number)
}

/// A line of a request.
fn line(product: &str, quantity: u32, price: &str) -> Value {
    json!({"productId": product, "quantity": quantity, "price": price})
}

/// Places an order of `customer-1` with these lines; returns the answer and the order's path.
async fn place(app: &TestApp, items: Value) -> (Answer, String) {
    let body = json!({"customerId": "customer-1", "items": items});
    let placed = app.post("/v1/orders", &body).await;
    assert_eq!(placed.status, 201, "{}", placed.text);
    let path = format!("/v1/orders/{}", placed.id());
    (placed, path)
}

/// Places an order with one line of two at 49.99; returns its path and that line's path.
async fn place_one(app: &TestApp) -> (String, String) {
    let (placed, path) = place(app, json!([line("product-1", 2, "49.99")])).await;
    let view = placed.json();
    let item = view["items"][0]["itemId"].as_str().expect("an item id");
    let item_path = format!("{path}/items/{item}");
    (path, item_path)
}

/// A POST without a body.
async fn post_nothing(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> Answer {
    app.send(Method::POST, path, headers, None).await
}

/// A POST of this text, declared as JSON.
async fn post_text(app: &TestApp, path: &str, text: impl Into<reqwest::Body>) -> Answer {
    let headers = [("content-type", "application/json")];
    app.send_raw(Method::POST, path, &headers, text).await
}

/// PATCH of JSON
async fn patch(app: &TestApp, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
    app.send(Method::PATCH, path, headers, Some(body)).await
}

/// DELETE
async fn delete(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> Answer {
    app.send(Method::DELETE, path, headers, None).await
}

/// Asserts what every problem document must have, and returns the document.
#[track_caller]
fn assert_problem(answer: &Answer, status: u16, code: &str) -> Value {
    let problem = answer.json();
    assert_eq!(
        (answer.status, problem["code"].as_str()),
        (status, Some(code)),
        "{}",
        answer.text
    );
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(
        problem["type"],
        format!("/problems/{}", code.replace('_', "-"))
    );
    assert_eq!(problem["status"], status);
    for text in ["title", "detail"] {
        assert!(!problem[text].as_str().unwrap_or_default().is_empty());
    }
    assert!(
        problem["instance"]
            .as_str()
            .unwrap_or_default()
            .starts_with('/')
    );
    assert_eq!(problem["requestId"], answer.header("x-request-id"));
    let is_retryable = [429, 503].contains(&status)
        || ["write_contention", "idempotency_in_progress"].contains(&code);
    assert_eq!(problem["retryable"], is_retryable);
    if [429, 503].contains(&status) || code == "idempotency_in_progress" {
        assert!(answer.header("retry-after").parse::<u32>().is_ok());
    }
    problem
}

/// The bad fields of a problem: the place and the code of each.
fn bad_fields(answer: &Answer) -> Vec<(String, String)> {
    let problem = answer.json();
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    errors
        .iter()
        .map(|error| {
            assert!(!text(&error["detail"]).is_empty(), "{error}");
            let place = ["pointer", "parameter", "header"]
                .into_iter()
                .find_map(|place| error[place].as_str());
            (place.unwrap_or_default().to_owned(), text(&error["code"]))
        })
        .collect()
}

/// Asserts 422 `validation_failed` with exactly these bad fields.
#[track_caller]
fn assert_invalid(answer: &Answer, expected: &[(&str, &str)]) {
    assert_problem(answer, 422, "validation_failed");
    assert_fields(answer, expected);
}

/// Asserts that a problem names exactly these bad fields: place and code.
#[track_caller]
fn assert_fields(answer: &Answer, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected
        .iter()
        .map(|(place, code)| ((*place).to_owned(), (*code).to_owned()))
        .collect();
    assert_eq!(bad_fields(answer), expected, "{}", answer.text);
}

/// Holds back the projector until the transaction ends: the read model stays as it is.
async fn block_projector(app: &TestApp) -> Transaction<'static, Postgres> {
    let mut blocker = app.database.begin().await.expect("PostgreSQL answers");
    sqlx::query("select 1 from projection_checkpoint for update")
        .execute(&mut *blocker)
        .await
        .expect("the projector is blocked");
    blocker
}

/// The names of an object's members, sorted.
fn members(value: &Value) -> Vec<&str> {
    let object = value.as_object().expect("an object");
    let mut names: Vec<_> = object.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// Asserts a timestamp of the contract: RFC 3339, UTC, six decimals, `Z`.
#[track_caller]
fn assert_timestamp(value: &Value) {
    let text = value.as_str().unwrap_or_default();
    assert!(
        text.len() == 27
            && text.ends_with('Z')
            && text.as_bytes()[19] == b'.'
            && chrono::DateTime::parse_from_rfc3339(text).is_ok(),
        "{value} is not a timestamp of the contract"
    );
}
