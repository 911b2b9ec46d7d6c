//! A correct history of one order, made by hand.

use std::time::Duration;

use chrono::DateTime;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::chaos::{
    history::{
        Action, Answer, Applied, Attempt, Body, Command, Condition, Consistency, Item, Read,
        ReadAnswer, ShownOrder,
    },
    observe::{Event, Observed, View},
};

pub const ORDER: Uuid = Uuid::from_u128(1);
const ITEM: Uuid = Uuid::from_u128(2);

/// The new line of the correct history.
fn item() -> Item {
    Item {
        id: None,
        product: "one".to_owned(),
        quantity: 2,
        price_minor: 150,
    }
}

/// A command on the order, without a key or a precondition.
fn command(action: Action) -> Command {
    Command {
        order: Some(ORDER),
        action,
        key: None,
        condition: None,
    }
}

/// An event of the order.
fn event(position: i64, version: i32, request: &str, name: &str, data: &Value) -> Event {
    Event {
        position,
        id: Uuid::from_u128(u128::from(position.unsigned_abs())),
        order: ORDER,
        version,
        name: name.to_owned(),
        data: data.to_string(),
        request_id: request.to_owned(),
        at: DateTime::UNIX_EPOCH,
    }
}

/// What an answer shows of the order at a version.
pub fn shown(version: i32, status: &str) -> ShownOrder {
    let (item_count, total_quantity, total) = match version {
        1 => (0, 0, "0.00"),
        _ => (1, 2, "3.00"),
    };
    ShownOrder {
        version,
        status: status.to_owned(),
        item_count,
        total_quantity,
        total: total.to_owned(),
    }
}

/// An acknowledgement.
pub fn done(version: i32, position: i64) -> Answer {
    Answer::Applied(Applied {
        order: ORDER,
        shown: shown(version, "created"),
        position,
        is_replayed: false,
        body: Body(format!("version {version}")),
    })
}

/// An attempt that was sent and answered in the second of its command.
pub fn attempt(command: usize, number: u32, answer: Answer) -> Attempt {
    let second = u64::try_from(command).unwrap();
    Attempt {
        command,
        request_id: format!("{command}.{number}"),
        sent: Duration::from_secs(second),
        answered: Duration::from_millis(second * 1000 + 500),
        answer,
    }
}

/// A read of the order at the second, answered half a second later.
pub fn read(second: u64, consistency: Consistency, answer: ReadAnswer) -> Read {
    Read {
        order: ORDER,
        consistency,
        process: "http://one".to_owned(),
        sent: Duration::from_secs(second),
        answered: Duration::from_millis(second * 1000 + 500),
        answer,
    }
}

/// The view of the order in the correct history.
fn completed_view() -> View {
    View {
        id: ORDER,
        customer_id: "c".to_owned(),
        status: "completed".to_owned(),
        total_minor: 300,
        item_count: 1,
        total_quantity: 2,
        version: 3,
        position: 4,
        cancellation_reason: None,
        items: vec![(ITEM, "one".to_owned(), 2, 150)],
    }
}

/// A correct history: an order is created, gets a line, and is completed by a command whose answer was
/// lost. A later command is refused.
pub fn correct_history() -> Observed {
    let created = json!({"orderId": ORDER, "customerId": "c", "currency": "EUR", "items": []});
    let added = json!({"itemId": ITEM, "productId": "one", "quantity": 2, "price": "1.50",
        "currency": "EUR"});
    let events = vec![
        event(1, 1, "0.1", "OrderCreated", &created),
        event(3, 2, "1.1", "OrderItemAdded", &added),
        event(4, 3, "2.1", "OrderCompleted", &json!({})),
    ];
    let create = Action::Create {
        id: Some(ORDER),
        customer: "c".to_owned(),
        items: vec![],
    };
    let add = Command {
        key: Some("key".to_owned()),
        condition: Some(Condition::IfMatch(1)),
        ..command(Action::Add(item()))
    };
    let cancel = Action::Cancel {
        reason: "late".to_owned(),
    };
    Observed {
        commands: vec![
            command(create),
            add,
            command(Action::Complete),
            command(cancel),
        ],
        attempts: vec![
            attempt(0, 1, done(1, 1)),
            attempt(1, 1, done(2, 3)),
            attempt(2, 1, Answer::Unknown("hung up".to_owned())),
            attempt(3, 1, Answer::Refused("order_not_open".to_owned())),
        ],
        reads: vec![read(
            2,
            Consistency::Token(3),
            ReadAnswer::Order(shown(2, "created"), 3),
        )],
        stream: events
            .iter()
            .map(|event| (event.position, event.id))
            .collect(),
        events,
        views: vec![completed_view()],
        checkpoint: 4,
        checkpoint_moves: vec![(1, 1), (3, 1), (4, 2)],
        ..Observed::default()
    }
}
