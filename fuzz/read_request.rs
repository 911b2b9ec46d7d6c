//! What must hold for all bytes that a client may send: they are accepted, or refused with a problem
//! of status 400 or 422. The result is the same each time, and an accepted order can be decided.

use axum::http::{HeaderMap, HeaderValue, header};
use orders::{
    event_sourcing::{Aggregate, Timestamp},
    http::{
        orders::bodies,
        problem::ApiError,
        request::{
            consistency::{CONSISTENCY_TOKEN, Consistency, PREFER},
            idempotency::{IDEMPOTENCY_KEY, fingerprint, idempotency_key},
            preconditions::{IfNoneMatch, if_match},
        },
    },
    order::{Money, Order, OrderCommand},
};
use serde_json::Value;
use uuid::Uuid;

/// The largest body that reaches the readers.
const MAX_BODY: usize = 1 << 20;

/// Reads `bytes` as every kind of request. Panics if a rule does not hold.
pub fn read(bytes: &[u8]) {
    if bytes.len() > MAX_BODY {
        return;
    }
    for (once, again) in bodies(bytes).into_iter().zip(bodies(bytes)) {
        assert_eq!(once, again);
    }
    let digest = || fingerprint("POST", "/v1/orders", bytes);
    assert_eq!(digest(), digest());
    headers(bytes);
}

/// The problem of each reader of bodies; `None` if it accepts the bytes.
fn bodies(bytes: &[u8]) -> [Option<Value>; 6] {
    let created = bodies::create_order(bytes, "EUR".parse().expect("a currency"));
    let created =
        created.map(|(id, command)| decide(&command(id.unwrap_or(Uuid::from_u128(1).into()))));
    [
        problem(created),
        problem(bodies::add_item(bytes)),
        problem(bodies::change_item(bytes)),
        problem(bodies::complete_order(bytes)),
        problem(bodies::cancel_order(bytes)),
        problem(bodies::nothing(bytes)),
    ]
}

fn problem<T>(read: Result<T, ApiError>) -> Option<Value> {
    let error = read.err()?;
    let problem = serde_json::to_value(error.problem("/", "request")).expect("a document");
    match problem["status"].as_u64() {
        Some(400) => {}
        Some(422) => assert!(
            problem["errors"]
                .as_array()
                .is_some_and(|all| !all.is_empty())
        ),
        status => panic!("{status:?}: {problem}"),
    }
    Some(problem)
}

/// Decides the command. If it is accepted, the total of the order is the sum of its lines.
fn decide(command: &OrderCommand) {
    let mut order = Order::default();
    let Ok(events) = order.decide(command) else {
        return;
    };
    for event in &events {
        order.evolve(event, Timestamp::UNIX_EPOCH);
    }
    let state = order.state().expect("an order");
    let totals = state
        .lines
        .iter()
        .map(|line| line.total().expect("a total"));
    assert_eq!(state.total.minor(), totals.map(Money::minor).sum::<i64>());
}

fn headers(bytes: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(bytes) else {
        return;
    };
    let names = [
        IDEMPOTENCY_KEY,
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        CONSISTENCY_TOKEN,
        PREFER,
    ];
    let headers: HeaderMap = names
        .into_iter()
        .map(|name| (name, value.clone()))
        .collect();
    problem(idempotency_key(&headers, || [0; 32]));
    problem(if_match(&headers));
    problem(Consistency::of(&headers));
    let _ = IfNoneMatch::of(&headers).newest();
}
