//! Checks after any load, whatever was killed during it. They compare the store with what the clients
//! have recorded, the stream and the read model with the store, and the views with the file.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use async_nats::jetstream::{self, consumer::pull::OrderedConfig};
use futures::StreamExt;
use orders::{
    event_sourcing::testing::InMemoryEventStore,
    order::{Currency, upcasters::upcasters},
    read_model::{Projector, Verify},
};
use reqwest::Client;
use serde_json::Value;
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    eventually,
    retail::Invoice,
    shop::{Outcome, Shop, reason},
};

/// The columns of an event that are checked.
#[derive(Debug, sqlx::FromRow)]
struct Stored {
    position: i64,
    event_id: Uuid,
    order: Uuid,
    version: i32,
    request_id: String,
}

async fn events(database: &PgPool) -> Vec<Stored> {
    sqlx::query_as(
        r#"select position, event_id, aggregate_id as "order", version,
                  coalesce(metadata ->> 'requestId', '') as request_id
           from events order by position"#,
    )
    .fetch_all(database)
    .await
    .expect("PostgreSQL answers")
}

/// Every command of the clients is stored exactly once, and every attempt as it was answered. Versions
/// have no hole, and positions rise with them.
pub async fn assert_store_is_what_was_acknowledged(shop: &Shop, database: &PgPool) {
    let events = events(database).await;
    let attempts = shop.ledger.attempts.lock().unwrap().clone();
    let mut of_request: HashMap<&str, Vec<&Stored>> = HashMap::new();
    let mut last_version: HashMap<Uuid, i32> = HashMap::new();
    for event in &events {
        of_request.entry(&event.request_id).or_default().push(event);
        let last = last_version.entry(event.order).or_default();
        // The events are in order of position, so positions rise with versions.
        assert_eq!(
            event.version,
            *last + 1,
            "versions of order {}",
            event.order
        );
        *last = event.version;
    }

    let mut of_command: BTreeMap<&str, usize> = BTreeMap::new();
    for attempt in &attempts {
        let stored = of_request.remove(&*attempt.request_id).unwrap_or_default();
        let as_answered = match attempt.outcome {
            Outcome::Done(version) => stored.len() == 1 && stored[0].version == version,
            Outcome::DoneBefore | Outcome::NotApplied => stored.is_empty(),
            Outcome::Unknown => stored.len() <= 1,
        };
        assert!(as_answered, "{attempt:?} stored {stored:?}");
        *of_command.entry(&attempt.command).or_default() += stored.len();
    }
    assert!(of_request.is_empty(), "no client sent {of_request:?}");
    let wrong: Vec<_> = of_command
        .iter()
        .filter(|(_, times)| **times != 1)
        .collect();
    assert!(wrong.is_empty(), "not stored once: {wrong:?}");
    assert_eq!(of_command.len(), shop.commands());

    let orders: HashSet<Uuid> = shop
        .ledger
        .orders
        .lock()
        .unwrap()
        .values()
        .copied()
        .collect();
    assert_eq!(last_version.into_keys().collect::<HashSet<_>>(), orders);
}

/// After a load that was stopped half way: every stored command was acknowledged to its client, and
/// every acknowledged command is stored.
pub async fn assert_everything_stored_was_answered(shop: &Shop, database: &PgPool) {
    let stored: HashSet<String> = events(database)
        .await
        .into_iter()
        .map(|event| event.request_id)
        .collect();
    let answered: HashSet<String> = shop
        .ledger
        .attempts
        .lock()
        .unwrap()
        .iter()
        .filter(|attempt| matches!(attempt.outcome, Outcome::Done(_)))
        .map(|attempt| attempt.request_id.clone())
        .collect();
    assert_eq!(stored, answered);
}

/// The stream holds every event once, in order of position.
pub async fn assert_stream_holds_the_store(nats_url: &str, stream: &str, database: &PgPool) {
    let client = super::connect_to_nats(nats_url)
        .await
        .expect("NATS answers");
    let context = jetstream::new(client);
    let stored: Vec<(i64, Uuid)> = events(database)
        .await
        .into_iter()
        .map(|event| (event.position, event.event_id))
        .collect();
    let last = stored.last().map_or(0, |(position, _)| *position);
    let messages = eventually("the stream holds the last event", || async {
        let mut stream = context.get_stream(stream).await.ok()?;
        let state = &stream.info().await.ok()?.state;
        let (messages, last_sequence) = (state.messages, state.last_sequence);
        let tail = stream.get_raw_message(last_sequence).await.ok()?;
        let tail: i64 = tail.headers.get("Event-Position")?.as_str().parse().ok()?;
        (tail == last).then_some(messages)
    })
    .await;
    let stream = context.get_stream(stream).await.expect("the stream");
    let consumer = stream
        .create_consumer(OrderedConfig::default())
        .await
        .expect("a consumer");
    let published: Vec<(i64, Uuid)> = consumer
        .messages()
        .await
        .expect("messages")
        .take(usize::try_from(messages).unwrap())
        .map(|message| {
            let message = message.expect("a message");
            let headers = message.headers.as_ref().expect("headers");
            let header = |name| headers.get(name).expect("the header").as_str().to_owned();
            (
                header("Event-Position").parse().unwrap(),
                header("Event-Id").parse().unwrap(),
            )
        })
        .collect()
        .await;
    assert_eq!(published, stored);
}

/// Waits until the read model holds everything that is in the store.
pub async fn caught_up(database: &PgPool) {
    eventually("the read model catches up", || async {
        let behind: bool = sqlx::query_scalar(
            "select coalesce((select max(position) from events), 0)
                    > (select position from projection_checkpoint where name = 'orders')",
        )
        .fetch_one(database)
        .await
        .expect("PostgreSQL answers");
        (!behind).then_some(())
    })
    .await;
}

/// The read model equals the fold of the store, row by row. Unless `may_park`, no order is parked
/// and every event can be read.
pub async fn assert_views_are_the_fold(database: &PgPool, currency: Currency, may_park: bool) {
    let upcasters = upcasters(currency).expect("a chain of upcasters");
    // A verification reads the events through the pool; it never asks this store.
    let store = InMemoryEventStore::default();
    let projector = Projector::new(database.clone(), store, Arc::new(upcasters));
    let mut findings = vec![];
    Verify::new(projector)
        .run(
            false,
            |_| (),
            |finding| {
                if finding.is_in_read_model() || !may_park {
                    findings.push(finding.to_string());
                }
            },
        )
        .await
        .expect("PostgreSQL answers");
    assert!(findings.is_empty(), "the read model differs: {findings:#?}");
    let parked: Vec<(Uuid, String)> =
        sqlx::query_as("select order_id, reason from projection_parked")
            .fetch_all(database)
            .await
            .expect("PostgreSQL answers");
    assert!(
        may_park || parked.is_empty(),
        "orders are parked: {parked:?}"
    );
}

/// An order as lists show it.
#[derive(Debug, PartialEq, Eq)]
struct ListedOrder {
    order: String,
    status: String,
    currency: String,
    total: String,
    lines: u64,
    pieces: u64,
    reason: Option<String>,
}

impl ListedOrder {
    fn expected(shop: &Shop, invoice: &Invoice) -> Self {
        let is_cancelled = invoice.is_cancellation();
        Self {
            order: shop.ledger.orders.lock().unwrap()[&invoice.number].to_string(),
            status: if is_cancelled {
                "cancelled"
            } else {
                "completed"
            }
            .to_owned(),
            currency: "GBP".to_owned(),
            total: invoice.total(),
            lines: invoice.lines.len() as u64,
            pieces: invoice.pieces(),
            reason: is_cancelled.then(|| reason(invoice)),
        }
    }

    fn found(summary: &Value) -> Self {
        let text = |name| summary[name].as_str().map(str::to_owned);
        let number = |name| summary[name].as_u64().expect("a number");
        Self {
            order: text("id").expect("an id"),
            status: text("status").expect("a status"),
            currency: text("currency").expect("a currency"),
            total: text("total").expect("a total"),
            lines: number("itemCount"),
            pieces: number("totalQuantity"),
            reason: text("cancellationReason"),
        }
    }
}

async fn list(client: &Client, url: &str, filter: &[(&str, &str)]) -> Value {
    let request = client.get(format!("{url}/v1/orders")).query(filter);
    let response = request.send().await.expect("the service answers");
    let status = response.status();
    let page: Value = response.json().await.expect("JSON");
    assert_eq!(status, 200, "{page}");
    page
}

/// The orders of every customer, read page by page, are those of the file. The counts are right, too.
pub async fn assert_views_are_what_the_file_says(shop: &Shop, url: &str) {
    let client = Client::new();
    let mut of_customer: BTreeMap<&str, Vec<&Invoice>> = BTreeMap::new();
    for invoice in &shop.invoices {
        of_customer
            .entry(&invoice.customer)
            .or_default()
            .push(invoice);
    }
    for (customer, invoices) in &of_customer {
        let mut expected: Vec<ListedOrder> = invoices
            .iter()
            .map(|invoice| ListedOrder::expected(shop, invoice))
            .collect();
        let mut found: Vec<ListedOrder> = vec![];
        let mut cursor: Option<String> = None;
        loop {
            let mut filter = vec![
                ("customerId", *customer),
                ("pageSize", "7"),
                ("includeTotal", "true"),
            ];
            filter.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page = list(&client, url, &filter).await;
            assert_eq!(page["totalCount"], invoices.len(), "{customer}");
            found.extend(
                page["items"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(ListedOrder::found),
            );
            cursor = page["nextCursor"].as_str().map(str::to_owned);
            assert_eq!(page["hasMore"], cursor.is_some());
            if cursor.is_none() {
                break;
            }
        }
        // Orders are created concurrently, so lists do not have the order of the file.
        expected.sort_by(|one, other| one.order.cmp(&other.order));
        found.sort_by(|one, other| one.order.cmp(&other.order));
        assert_eq!(found, expected, "orders of {customer}");
    }

    let cancelled = shop.invoices.iter().filter(|i| i.is_cancellation()).count();
    for (status, count) in [
        ("cancelled", cancelled),
        ("completed", shop.invoices.len() - cancelled),
        ("created", 0),
    ] {
        let filter = [
            ("status", status),
            ("includeTotal", "true"),
            ("pageSize", "1"),
        ];
        let page = list(&client, url, &filter).await;
        assert_eq!(page["totalCount"], count, "{status}");
    }
}
