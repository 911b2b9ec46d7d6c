//! The command endpoints: read the request strictly, execute, answer with what the write side knows.
#![expect(
    clippy::missing_errors_doc,
    reason = "the responses of each operation document them"
)]

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{FromRequestParts, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, request::Parts},
    response::Response,
};
use bytes::Bytes;

use super::{
    bodies::{self, CancelOrder, ChangeItem, CompleteOrder, CreateOrder, NewOrderItem},
    view::OrderView,
};
use crate::http::{
    Api,
    problem::error::{ApiError, Code},
    request::{
        body::JsonBody,
        consistency::{CONSISTENCY_TOKEN, token},
        parameters::{ItemPath, OrderPath, Parameters},
        preconditions::{self, IDEMPOTENCY_KEY, IfMatch, etag},
    },
    server::context::{Audit, new_id, now},
};
use crate::{
    event_sourcing::{Answer, Executed, Receipt, Request, Version},
    order::{Order, OrderCommand, OrderId, ports::WriteAnswer},
};

/// The headers that a command heeds.
const HEEDED: [HeaderName; 2] = [header::IF_MATCH, IDEMPOTENCY_KEY];

/// What surrounds a command: all of a request but its path parameters and its body.
pub struct Call {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    audit: Audit,
}

impl<S: Send + Sync> FromRequestParts<S> for Call {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        // Commands take no query parameters.
        Parameters::of(&parts.uri).close()?;
        let mut headers = HeaderMap::new();
        for name in HEEDED {
            for value in parts.headers.get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
        Ok(Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            headers,
            audit: Audit::from_request_parts(parts, state).await?,
        })
    }
}

/// A command that is ready to be executed.
struct Ready {
    id: OrderId,
    is_new: bool,
    command: OrderCommand,
    expected_in_body: Option<Version>,
    answer: WriteAnswer,
    price_pointer: fn(usize) -> String,
}

impl Call {
    async fn execute(self, api: &Api, body: &[u8], ready: Ready) -> Result<Response, ApiError> {
        let if_match = preconditions::if_match(&self.headers)?;
        let (expected, from_header) = expected_version(if_match, ready.expected_in_body)?;
        let key = preconditions::idempotency_key(&self.headers, || {
            preconditions::fingerprint(self.method.as_str(), self.uri.path(), body)
        })?;
        let request = Request {
            id: ready.id.get(),
            command: ready.command,
            expected,
            is_new: ready.is_new,
            key,
            metadata: self.audit.0,
            now: now(),
        };
        // In a task of its own: a client that hangs up does not stop a command half way.
        let orders = api.orders.clone();
        let execution = async move { orders.execute(request, ready.answer).await };
        let executed = api.tasks.spawn(execution).await.map_err(|panic| {
            ApiError::new(Code::InternalError, "The error was logged.").because(panic)
        })?;
        let price_pointer = ready.price_pointer;
        executed
            .map(respond)
            .map_err(|error| ApiError::executing(error, from_header, price_pointer))
    }
}

/// The version that the client expects, and whether the header says so.
fn expected_version(
    if_match: Option<IfMatch>,
    in_body: Option<Version>,
) -> Result<(Option<Version>, bool), ApiError> {
    match (if_match, in_body) {
        (Some(IfMatch::Version(header)), Some(body)) if header != body => Err(ApiError::header(
            "If-Match",
            format!("says version {header}, but expectedVersion says {body}"),
        )),
        (Some(IfMatch::Version(header)), _) => Ok((Some(header), true)),
        (Some(IfMatch::Exists) | None, body) => Ok((body, false)),
    }
}

/// The text of an answer.
struct Text(Arc<str>);

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

fn respond(executed: Executed) -> Response {
    let Executed {
        answer: Answer { receipt, body },
        position,
        replayed,
    } = executed;
    let mut response = Response::new(Body::from(Bytes::from_owner(Text(body))));
    *response.status_mut() = StatusCode::from_u16(receipt.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::ETAG, etag(receipt.version));
    headers.insert(CONSISTENCY_TOKEN, token(position));
    if let Some(location) = &receipt.location
        && let Ok(location) = HeaderValue::try_from(location)
    {
        headers.insert(header::LOCATION, location);
    }
    if replayed {
        headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    response
}

fn answer(order: &Order, version: Version, status: u16, location: Option<String>) -> Answer {
    let view = order
        .state()
        .map(|order| OrderView::of_state(order, version).to_json());
    let body = view.unwrap_or_default().into();
    let receipt = Receipt {
        status,
        version,
        location,
    };
    Answer { receipt, body }
}

fn created(order: &Order, version: Version, has_changed: bool) -> Answer {
    if !has_changed {
        return answer(order, version, 200, None);
    }
    let location = order
        .state()
        .map(|order| format!("/v1/orders/{}", order.id));
    answer(order, version, 201, location)
}

fn item_added(order: &Order, version: Version, _has_changed: bool) -> Answer {
    answer(order, version, 201, None)
}

fn changed(order: &Order, version: Version, _has_changed: bool) -> Answer {
    answer(order, version, 200, None)
}

fn item_price(index: usize) -> String {
    format!("#/items/{index}/price")
}

fn price(_index: usize) -> String {
    "#/price".to_owned()
}

/// Places an order
///
/// An `id` may be chosen by the client: creating the same order again then answers 200 with the
/// order as it is, and another order with that id 409 `order_already_exists`.
#[utoipa::path(
    post, path = "/v1/orders", tag = "Commands",
    request_body = CreateOrder,
    responses(
        (status = 201, description = "Placed", body = OrderView),
        (status = 200, description = "The same order was placed before", body = OrderView),
        (status = 409, description = "`order_already_exists`, `idempotency_in_progress`"),
    )
)]
pub async fn create_order(
    State(api): State<Arc<Api>>,
    call: Call,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    if call.headers.contains_key(header::IF_MATCH) {
        return Err(ApiError::header(
            "If-Match",
            "makes no sense where an order is created",
        ));
    }
    let (id, command) = bodies::create_order(&body, api.default_currency)?;
    let order_id = id.unwrap_or_else(|| new_id().into());
    let ready = Ready {
        id: order_id,
        is_new: id.is_none(),
        command: command(order_id),
        expected_in_body: None,
        answer: created,
        price_pointer: item_price,
    };
    call.execute(&api, &body, ready).await
}

/// Adds a line to an order
///
/// Lines are never merged: the same product twice is two lines.
#[utoipa::path(
    post, path = "/v1/orders/{id}/items", tag = "Commands", params(OrderPath),
    request_body = NewOrderItem,
    responses(
        (status = 201, description = "Added", body = OrderView),
        (status = 404, description = "`order_not_found`"),
        (status = 409, description = "`order_not_open`, `item_already_exists`, `version_conflict`, `write_contention`, `idempotency_in_progress`"),
        (status = 412, description = "`version_conflict`: `If-Match` no longer holds"),
    )
)]
pub async fn add_item(
    State(api): State<Arc<Api>>,
    OrderPath { id }: OrderPath,
    call: Call,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let (item, expected_in_body) = bodies::add_item(&body)?;
    let command = OrderCommand::AddItem(item);
    let (is_new, answer, price_pointer) = (false, item_added as WriteAnswer, price as _);
    let ready = Ready {
        id,
        is_new,
        command,
        expected_in_body,
        answer,
        price_pointer,
    };
    call.execute(&api, &body, ready).await
}

/// Changes the quantity of a line
///
/// A quantity that the line has already changes nothing: no event, the same version.
#[utoipa::path(
    patch, path = "/v1/orders/{id}/items/{itemId}", tag = "Commands", params(ItemPath),
    request_body = ChangeItem,
    responses(
        (status = 200, description = "Changed", body = OrderView),
        (status = 404, description = "`order_not_found`, `item_not_found`"),
        (status = 409, description = "`order_not_open`, `version_conflict`, `write_contention`, `idempotency_in_progress`"),
        (status = 412, description = "`version_conflict`: `If-Match` no longer holds"),
    )
)]
pub async fn change_item(
    State(api): State<Arc<Api>>,
    ItemPath { id, item_id }: ItemPath,
    call: Call,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let (quantity, expected_in_body) = bodies::change_item(&body)?;
    let command = OrderCommand::ChangeItemQuantity { item_id, quantity };
    call.execute(&api, &body, Ready::change(id, command, expected_in_body))
        .await
}

/// Removes a line
#[utoipa::path(
    delete, path = "/v1/orders/{id}/items/{itemId}", tag = "Commands", params(ItemPath),
    responses(
        (status = 200, description = "Removed", body = OrderView),
        (status = 404, description = "`order_not_found`, `item_not_found`"),
        (status = 409, description = "`order_not_open`, `write_contention`, `idempotency_in_progress`"),
        (status = 412, description = "`version_conflict`: `If-Match` no longer holds"),
    )
)]
pub async fn remove_item(
    State(api): State<Arc<Api>>,
    ItemPath { id, item_id }: ItemPath,
    call: Call,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    bodies::nothing(&body)?;
    let command = OrderCommand::RemoveItem { item_id };
    call.execute(&api, &body, Ready::change(id, command, None))
        .await
}

/// Completes an order
///
/// Final: a completed order never changes again.
#[utoipa::path(
    post, path = "/v1/orders/{id}/complete", tag = "Commands", params(OrderPath),
    request_body = Option<CompleteOrder>,
    responses(
        (status = 200, description = "Completed", body = OrderView),
        (status = 404, description = "`order_not_found`"),
        (status = 409, description = "`order_not_open`, `order_has_no_items`, `version_conflict`, `write_contention`, `idempotency_in_progress`"),
        (status = 412, description = "`version_conflict`: `If-Match` no longer holds"),
    )
)]
pub async fn complete_order(
    State(api): State<Arc<Api>>,
    OrderPath { id }: OrderPath,
    call: Call,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let expected_in_body = bodies::complete_order(&body)?;
    call.execute(
        &api,
        &body,
        Ready::change(id, OrderCommand::Complete, expected_in_body),
    )
    .await
}

/// Cancels an order
///
/// Final: a cancelled order never changes again.
#[utoipa::path(
    post, path = "/v1/orders/{id}/cancel", tag = "Commands", params(OrderPath),
    request_body = Option<CancelOrder>,
    responses(
        (status = 200, description = "Cancelled", body = OrderView),
        (status = 404, description = "`order_not_found`"),
        (status = 409, description = "`order_not_open`, `version_conflict`, `write_contention`, `idempotency_in_progress`"),
        (status = 412, description = "`version_conflict`: `If-Match` no longer holds"),
    )
)]
pub async fn cancel_order(
    State(api): State<Arc<Api>>,
    OrderPath { id }: OrderPath,
    call: Call,
    JsonBody(body): JsonBody,
) -> Result<Response, ApiError> {
    let (reason, expected_in_body) = bodies::cancel_order(&body)?;
    let command = OrderCommand::Cancel { reason };
    call.execute(&api, &body, Ready::change(id, command, expected_in_body))
        .await
}

impl Ready {
    /// A command that changes an order and answers 200.
    fn change(id: OrderId, command: OrderCommand, expected_in_body: Option<Version>) -> Self {
        let (is_new, answer, price_pointer) = (false, changed as WriteAnswer, price as _);
        Self {
            id,
            is_new,
            command,
            expected_in_body,
            answer,
            price_pointer,
        }
    }
}
