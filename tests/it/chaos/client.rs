//! A well-behaved HTTP client: it sends attempts to the instances and interprets their answers.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use futures::stream;
use reqwest::{Client as HttpClient, RequestBuilder, header::HeaderMap};
use serde_json::{Value, json};
use tokio::{sync::watch, time::sleep};
use uuid::Uuid;

use super::history::{
    Action, Answer, Applied, Attempt, Body, Command, Condition, Consistency, History, Item, Read,
    ReadAnswer, ShownOrder,
};

/// How long a client waits for an answer.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(4);

/// How fast a client sends and how long it waits.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// The client hangs up after this time.
    pub time_limit: Duration,
    /// The body of a request follows this long after its head, as behind a slow proxy.
    pub body_after: Duration,
}

/// A client of both instances that records everything in the history.
#[derive(Clone)]
pub struct Client {
    http: HttpClient,
    urls: [watch::Receiver<Option<String>>; 2],
    history: Arc<History>,
}

impl Client {
    /// A client of the instances at these URLs.
    pub fn new(urls: [watch::Receiver<Option<String>>; 2], history: Arc<History>) -> Self {
        let http = HttpClient::builder().timeout(ANSWER_LIMIT).build();
        Self {
            http: http.expect("a client"),
            urls,
            history,
        }
    }

    /// Where everything is recorded.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Sends one attempt at a command to an instance. `None`: the instance is down, nothing was sent.
    ///
    /// `may_be_applied`: the outcome of an earlier attempt is unknown. The client hangs up after
    /// `pace.time_limit`.
    pub async fn attempt(
        &self,
        instance: usize,
        number: usize,
        request_id: String,
        command: &Command,
        may_be_applied: bool,
        pace: Pace,
    ) -> Option<Answer> {
        let url = self.urls[instance % 2].borrow().clone()?;
        let request = self.request(&url, command, pace.body_after);
        let request = request.timeout(pace.time_limit);
        let request = request.header("x-request-id", &request_id);
        let began = self.history.now();
        let answer = match read(request).await {
            Ok((status, headers, text)) => {
                command_answer(command, status, &headers, text, may_be_applied)
            }
            Err(error) => Answer::Unknown(error),
        };
        self.history.attempt(Attempt {
            command: number,
            request_id,
            sent: began,
            answered: self.history.now(),
            answer: answer.clone(),
        });
        Some(answer)
    }

    fn request(&self, url: &str, command: &Command, body_after: Duration) -> RequestBuilder {
        let order = command.order.unwrap_or_default();
        let orders = format!("{url}/v1/orders");
        let (mut request, mut body) = match &command.action {
            Action::Create {
                id,
                customer,
                items,
            } => {
                let items: Vec<_> = items.iter().map(item_json).collect();
                let mut body = json!({"customerId": customer, "currency": "EUR", "items": items});
                if let Some(id) = id {
                    body["id"] = json!(id);
                }
                (self.http.post(orders), body)
            }
            Action::Add(item) => (
                self.http.post(format!("{orders}/{order}/items")),
                item_json(item),
            ),
            Action::Change { item, quantity } => (
                self.http.patch(format!("{orders}/{order}/items/{item}")),
                json!({"quantity": quantity}),
            ),
            Action::Remove { item } => (
                self.http.delete(format!("{orders}/{order}/items/{item}")),
                Value::Null,
            ),
            Action::Complete => (
                self.http.post(format!("{orders}/{order}/complete")),
                json!({}),
            ),
            Action::Cancel { reason } => (
                self.http.post(format!("{orders}/{order}/cancel")),
                json!({"reason": reason}),
            ),
        };
        match command.condition {
            Some(Condition::IfMatch(version)) => {
                request = request.header("if-match", format!("\"{version}\""));
            }
            Some(Condition::Expected(version)) => body["expectedVersion"] = json!(version),
            None => {}
        }
        if let Some(key) = &command.key {
            request = request.header("idempotency-key", key);
        }
        if body.is_null() {
            request
        } else if body_after.is_zero() {
            request.json(&body)
        } else {
            let late = stream::once(async move {
                sleep(body_after).await;
                serde_json::to_vec(&body)
            });
            request
                .header("content-type", "application/json")
                .body(reqwest::Body::wrap_stream(late))
        }
    }

    /// Reads an order and records the answer. Returns the order with its lines.
    pub async fn read(
        &self,
        instance: usize,
        order: Uuid,
        consistency: Consistency,
    ) -> Option<Value> {
        let url = self.urls[instance % 2].borrow().clone()?;
        let mut request = self.http.get(format!("{url}/v1/orders/{order}"));
        request = match consistency {
            Consistency::Nothing => request,
            Consistency::Token(position) => request
                .header("consistency-token", token(position))
                .header("prefer", "wait=1"),
            Consistency::MinVersion(version) => request.query(&[("minVersion", version)]),
            Consistency::Seen(version) => request.header("if-none-match", format!("\"{version}\"")),
        };
        let sent = self.history.now();
        let (answer, body) = match read(request).await {
            Ok((status, headers, text)) => read_answer(status, &headers, &text),
            Err(_) => (ReadAnswer::Unavailable, None),
        };
        self.history.read(Read {
            order,
            consistency,
            process: url,
            sent,
            answered: self.history.now(),
            answer,
        });
        body
    }
}

async fn read(request: RequestBuilder) -> Result<(u16, HeaderMap, String), String> {
    let response = request.send().await.map_err(|error| error.to_string())?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.map_err(|error| error.to_string())?;
    Ok((status, headers, text))
}

fn item_json(item: &Item) -> Value {
    let price = format!("{}.{:02}", item.price_minor / 100, item.price_minor % 100);
    let mut json = json!({"productId": item.product, "quantity": item.quantity, "price": price});
    if let Some(id) = item.id {
        json["itemId"] = json!(id);
    }
    json
}

fn token(position: i64) -> String {
    URL_SAFE_NO_PAD.encode(format!("p{position}"))
}

/// The position in the answer's token.
fn position(headers: &HeaderMap) -> Option<i64> {
    let token = URL_SAFE_NO_PAD
        .decode(headers.get("consistency-token")?)
        .ok()?;
    let digits = std::str::from_utf8(&token).ok()?.strip_prefix('p')?;
    digits.parse().ok()
}

/// What an answer shows of an order.
pub fn shown(body: &Value) -> Option<ShownOrder> {
    Some(ShownOrder {
        version: i32::try_from(body["version"].as_i64()?).ok()?,
        status: body["status"].as_str()?.to_owned(),
        item_count: body["items"].as_array()?.len(),
        total_quantity: body["totalQuantity"].as_u64()?,
        total: body["total"].as_str()?.to_owned(),
    })
}

fn id(body: &Value) -> Option<Uuid> {
    body["id"].as_str()?.parse().ok()
}

/// Interprets the answer to a command.
fn command_answer(
    command: &Command,
    status: u16,
    headers: &HeaderMap,
    text: String,
    may_be_applied: bool,
) -> Answer {
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    let code = body["code"].as_str().unwrap_or_default().to_owned();
    let is_replayed = headers.contains_key("idempotent-replayed");
    let creates = matches!(command.action, Action::Create { .. });
    match status {
        // An earlier attempt has created the order.
        200 if creates && may_be_applied && !is_replayed => Answer::AppliedBefore,
        200 | 201 => match (id(&body), shown(&body), position(headers)) {
            (Some(order), Some(shown), Some(position)) => Answer::Applied(Applied {
                order,
                shown,
                position,
                is_replayed,
                body: Body(text),
            }),
            _ => Answer::Unexpected(format!("{status} {text}")),
        },
        409 if code == "item_already_exists" && may_be_applied => Answer::AppliedBefore,
        409 if code == "write_contention" || code == "idempotency_in_progress" => {
            Answer::NotApplied(code)
        }
        404 | 409 | 412 | 422 => Answer::Refused(code),
        503 if code == "store_unavailable" || code == "overloaded" => Answer::NotApplied(code),
        503 if code == "timeout" => Answer::Unknown(code),
        _ => Answer::Unexpected(format!("{status} {text}")),
    }
}

/// Interprets the answer to a read.
fn read_answer(status: u16, headers: &HeaderMap, text: &str) -> (ReadAnswer, Option<Value>) {
    let body: Value = serde_json::from_str(text).unwrap_or_default();
    let projected = headers
        .get("projection-position")
        .and_then(|position| position.to_str().ok()?.parse().ok());
    match (status, shown(&body), projected) {
        (200, Some(shown), Some(projected)) => (ReadAnswer::Order(shown, projected), Some(body)),
        (304, ..) => (ReadAnswer::NotModified, None),
        (404, _, Some(projected)) => (ReadAnswer::Absent(projected), None),
        (503, ..) => (ReadAnswer::Unavailable, None),
        _ => (ReadAnswer::Unexpected(format!("{status} {text}")), None),
    }
}
