//! Well-behaved clients that send real orders. They repeat a command with an unknown outcome so that
//! it cannot be applied twice. Every attempt is recorded, for a comparison with the store.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use reqwest::{Client, header::HeaderMap};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};
use uuid::Uuid;

use super::{eventually, retail::Invoice};

/// How many orders are sent at once.
const CLIENTS: usize = 24;
/// How long a client repeats one command.
const RETRY_LIMIT: Duration = Duration::from_mins(1);
/// How long a client waits for an answer: longer than the service waits for anything.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// The pause before a command is repeated: shorter than the second that `Retry-After` asks for.
const PAUSE: Duration = Duration::from_millis(40);

/// What prevents that a repeated command is applied twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RepeatBy {
    /// The same Idempotency-Key each time. The service chooses the ids.
    Key,
    /// The client chooses the ids of orders and items.
    Ids,
}

/// The outcome of an attempt, as far as its client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was applied and led to this version.
    Done(i32),
    /// An earlier attempt was applied.
    DoneBefore,
    /// The service says that nothing was applied.
    NotApplied,
    /// There was no answer, or one that leaves the outcome unknown.
    Unknown,
}

/// One attempt at a command. Its request id is `COMMAND.NUMBER`, which events store.
#[derive(Debug, Clone)]
pub struct Attempt {
    pub command: String,
    pub request_id: String,
    pub outcome: Outcome,
}

/// What the clients have recorded.
#[derive(Debug, Default)]
pub struct Ledger {
    pub attempts: Mutex<Vec<Attempt>>,
    /// The order of each invoice number.
    pub orders: Mutex<HashMap<String, Uuid>>,
    /// The Consistency-Token of the last answer.
    pub token: Mutex<String>,
    acknowledged: AtomicUsize,
}

impl Ledger {
    /// How many commands have been acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until this number of further commands has been acknowledged.
    pub async fn progress(&self, commands: usize) {
        let goal = self.acknowledged() + commands;
        let what = format!("{goal} commands are acknowledged");
        eventually(&what, || async {
            (self.acknowledged() >= goal).then_some(())
        })
        .await;
    }

    /// How many attempts have an outcome for which `is` holds.
    pub fn count(&self, is: impl Fn(Outcome) -> bool) -> usize {
        let attempts = self.attempts.lock().unwrap();
        attempts
            .iter()
            .filter(|attempt| is(attempt.outcome))
            .count()
    }
}

/// One command, the same in each attempt.
struct Command {
    name: String,
    path: String,
    body: Value,
    repeat_by: RepeatBy,
}

/// An answer: status, headers, body.
struct ShopAnswer(u16, HeaderMap, Value);

/// The clients.
pub struct Shop {
    client: Client,
    /// The current URLs of the services. Each attempt goes to the next service.
    services: Vec<watch::Receiver<String>>,
    pub invoices: Vec<Invoice>,
    pub ledger: Ledger,
    by_line: fn(usize) -> bool,
}

impl Shop {
    /// Clients that send these invoices to the services. Every fourth order is created empty and its
    /// lines are added one by one.
    pub fn new(services: Vec<watch::Receiver<String>>, invoices: Vec<Invoice>) -> Arc<Self> {
        Arc::new(Self {
            client: Client::builder().timeout(ANSWER_LIMIT).build().unwrap(),
            services,
            invoices,
            ledger: Ledger::default(),
            by_line: |index| index % 4 == 3,
        })
    }

    /// Clients of one service with a fixed URL.
    pub fn at(url: &str, invoices: Vec<Invoice>) -> Arc<Self> {
        Self::new(vec![watch::channel(url.to_owned()).1], invoices)
    }

    /// How many commands all invoices need.
    pub fn commands(&self) -> usize {
        let lines = |(index, invoice): (usize, &Invoice)| {
            if (self.by_line)(index) {
                invoice.lines.len()
            } else {
                0
            }
        };
        let added: usize = self.invoices.iter().enumerate().map(lines).sum();
        added + 2 * self.invoices.len()
    }

    /// Starts to send the orders.
    pub fn open(self: &Arc<Self>) -> JoinHandle<()> {
        let shop = Arc::clone(self);
        tokio::spawn(async move {
            let place = |(index, invoice)| shop.place(index, invoice);
            stream::iter(shop.invoices.iter().enumerate())
                .for_each_concurrent(CLIENTS, place)
                .await;
        })
    }

    /// Places one order and completes it, or cancels it if the invoice is a cancellation.
    async fn place(&self, index: usize, invoice: &Invoice) {
        let repeat_by = match index % 2 {
            0 => RepeatBy::Key,
            _ => RepeatBy::Ids,
        };
        let number = &invoice.number;
        let by_line = (self.by_line)(index);
        let items = items_of(invoice, repeat_by);
        let command = |step: String, path: String, body: Value| Command {
            name: format!("{number}.{step}"),
            path,
            body,
            repeat_by,
        };

        let first: &[Value] = if by_line { &[] } else { &items };
        let mut body = json!({"customerId": invoice.customer, "currency": "GBP", "items": first});
        if repeat_by == RepeatBy::Ids {
            body["id"] = json!(chosen_id(number));
        }
        let created = self
            .send(command("create".to_owned(), "/v1/orders".to_owned(), body))
            .await;
        let id: Uuid = created["id"].as_str().unwrap().parse().unwrap();
        let known = self
            .ledger
            .orders
            .lock()
            .unwrap()
            .insert(number.clone(), id);
        assert_eq!(known, None, "{number} was placed twice");
        if by_line {
            for (line, body) in items.into_iter().enumerate() {
                let path = format!("/v1/orders/{id}/items");
                self.send(command(format!("line{line}"), path, body)).await;
            }
        }
        let (step, body) = if invoice.is_cancellation() {
            ("cancel", json!({"reason": reason(invoice)}))
        } else {
            ("complete", json!({}))
        };
        let path = format!("/v1/orders/{id}/{step}");
        self.send(command(step.to_owned(), path, body)).await;
    }

    /// Sends a command until it is known to be applied.
    async fn send(&self, command: Command) -> Value {
        let began = Instant::now();
        let mut may_be_applied = false;
        for number in 1_usize.. {
            let request_id = format!("{}.{number}", command.name);
            let answered = self.attempt(&command, &request_id, number).await;
            let (outcome, body) = match &answered {
                Ok(answered) => (outcome_of(&command, answered, may_be_applied), &answered.2),
                Err(_) => (Outcome::Unknown, &Value::Null),
            };
            may_be_applied |= outcome == Outcome::Unknown;
            self.ledger.attempts.lock().unwrap().push(Attempt {
                command: command.name.clone(),
                request_id,
                outcome,
            });
            if matches!(outcome, Outcome::Done(_) | Outcome::DoneBefore) {
                self.ledger.acknowledged.fetch_add(1, Ordering::Relaxed);
                return body.clone();
            }
            let last = answered.map(|ShopAnswer(status, _, body)| format!("{status} {body}"));
            assert!(
                began.elapsed() < RETRY_LIMIT,
                "{} never succeeds: {last:?}",
                command.name
            );
            sleep(PAUSE).await;
        }
        unreachable!("the attempts end before the numbers do")
    }

    async fn attempt(
        &self,
        command: &Command,
        request_id: &str,
        number: usize,
    ) -> reqwest::Result<ShopAnswer> {
        let first = command.name.len() % self.services.len();
        let url = self.services[(first + number) % self.services.len()]
            .borrow()
            .clone();
        let mut request = self
            .client
            .post(format!("{url}{}", command.path))
            .header("x-request-id", request_id)
            .json(&command.body);
        if command.repeat_by == RepeatBy::Key {
            request = request.header("idempotency-key", &command.name);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        if let Some(token) = headers.get("consistency-token") {
            token
                .to_str()
                .unwrap()
                .clone_into(&mut self.ledger.token.lock().unwrap());
        }
        Ok(ShopAnswer(status, headers, response.json().await?))
    }
}

/// The lines of an invoice as items of a request. Prices are text and numbers in turn.
fn items_of(invoice: &Invoice, repeat_by: RepeatBy) -> Vec<Value> {
    invoice
        .lines
        .iter()
        .enumerate()
        .map(|(line, item)| {
            let price: Value = match line % 2 {
                0 => item.price.as_str().into(),
                _ => serde_json::from_str(&item.price).unwrap(),
            };
            let mut body = json!({
                "productId": item.product, "quantity": item.pieces(), "price": price});
            if repeat_by == RepeatBy::Ids {
                body["itemId"] = json!(chosen_id(&format!("{}.{line}", invoice.number)));
            }
            body
        })
        .collect()
}

/// Interprets an answer. Fails the test if a client cannot accept it.
fn outcome_of(command: &Command, answered: &ShopAnswer, may_be_applied: bool) -> Outcome {
    let ShopAnswer(status, headers, body) = answered;
    let was_replayed = headers.contains_key("idempotent-replayed");
    let creates = command.path == "/v1/orders";
    match (*status, body["code"].as_str().unwrap_or_default()) {
        (200 | 201, _) if was_replayed => Outcome::DoneBefore,
        // An earlier attempt has created the order.
        (200, _) if creates && may_be_applied => Outcome::DoneBefore,
        (201, _) => Outcome::Done(version(body)),
        (200, _) if !creates => Outcome::Done(version(body)),
        (409, "item_already_exists" | "order_not_open")
            if may_be_applied && command.repeat_by == RepeatBy::Ids =>
        {
            Outcome::DoneBefore
        }
        // An earlier attempt, whose client has hung up, still runs.
        (409, "idempotency_in_progress") if may_be_applied => Outcome::NotApplied,
        (409, "write_contention") => Outcome::NotApplied,
        (503, code) => {
            assert_eq!(body["retryable"], true, "{}: {body}", command.name);
            assert!(headers.contains_key("retry-after"), "{}", command.name);
            match code {
                "store_unavailable" | "overloaded" => Outcome::NotApplied,
                "timeout" => Outcome::Unknown,
                other => panic!("{}: 503 {other}", command.name),
            }
        }
        (status, _) => panic!("{} was answered {status}: {body}", command.name),
    }
}

fn version(body: &Value) -> i32 {
    i32::try_from(body["version"].as_i64().unwrap()).unwrap()
}

/// The reason with which an order of this invoice is cancelled.
pub fn reason(invoice: &Invoice) -> String {
    format!("taken back by invoice {}", invoice.number)
}

fn chosen_id(name: &str) -> Uuid {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, name.as_bytes())
}
