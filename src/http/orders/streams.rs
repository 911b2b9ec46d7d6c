//! Live updates of orders, as `text/event-stream` (WHATWG HTML, server-sent events).
#![expect(
    clippy::missing_errors_doc,
    reason = "the responses of each operation document them"
)]

use std::sync::Arc;

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header},
    response::Response,
};
use utoipa::IntoParams;

use super::{
    list::statuses,
    queries::{not_found, refuse},
    sse::{Filter, messages},
};
use crate::event_sourcing::Position;
use crate::http::{
    Api,
    problem::error::ApiError,
    request::{
        consistency::Consistency,
        parameters::{OrderPath, Parameters},
    },
    server::serve::EndlessBody,
};
use crate::order::OrderId;

/// The last event that a client has seen.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Where a stream goes on.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "documents what stream_order reads")]
pub struct StreamParameters {
    /// As the header `Last-Event-ID`, which counts where both are there.
    last_event_id: Option<String>,
}

/// Which events are wanted, and where the stream goes on.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "documents what stream_orders reads")]
pub struct StreamsParameters {
    /// Events of this customer's orders.
    customer_id: Option<String>,
    /// Events after which the order is in this status; may be repeated.
    #[param(style = Form, explode, example = json!(["created"]))]
    status: Option<Vec<String>>,
    /// As the header `Last-Event-ID`, which counts where both are there.
    last_event_id: Option<String>,
}

/// Follows an order
///
/// Each event as a message: `id` is its position, `event` its type, `data` a history entry. With
/// `Last-Event-ID` the stream goes on right after that event, with none lost or repeated; without, it
/// begins with the first event after its opening comment. An id ahead of the store gets one message
/// `resync`.
#[utoipa::path(
    get, path = "/v1/orders/{id}/stream", tag = "Queries", params(OrderPath, StreamParameters),
    responses(
        (status = 200, description = "Events as they happen", body = String, content_type = "text/event-stream"),
        (status = 404, description = "`order_not_found`"),
    )
)]
pub async fn stream_order(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
    OrderPath { id }: OrderPath,
) -> Result<Response, ApiError> {
    let mut parameters = Parameters::of(&uri);
    let last_seen = last_event_id(&headers, &mut parameters);
    parameters.close()?;
    open(&api, &headers, last_seen?, Some(id), Filter::default()).await
}

/// Follows all orders
///
/// As for one order; `customerId` and `status` choose among the events.
#[utoipa::path(
    get, path = "/v1/orders/stream", tag = "Queries", params(StreamsParameters),
    responses(
        (status = 200, description = "Events as they happen", body = String, content_type = "text/event-stream"),
    )
)]
pub async fn stream_orders(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let mut parameters = Parameters::of(&uri);
    let last_seen = last_event_id(&headers, &mut parameters);
    let customer = parameters.text("customerId");
    let statuses = statuses(&mut parameters);
    parameters.close()?;
    let filter = Filter { customer, statuses };
    open(&api, &headers, last_seen?, None, filter).await
}

/// Reads `Last-Event-ID`, or `lastEventId`. A browser that connects again repeats the address that it
/// was given, and adds the header: so that is the newer one.
fn last_event_id(
    headers: &HeaderMap,
    parameters: &mut Parameters,
) -> Result<Option<Position>, ApiError> {
    const DETAIL: &str = "must be the id of an event: a whole number from 0";
    let parameter = parameters.take("lastEventId").map(|text| position(&text));
    if parameter == Some(None) {
        parameters.refuse("lastEventId", "invalid", DETAIL);
    }
    let Some(header) = headers.get(LAST_EVENT_ID) else {
        return Ok(parameter.flatten());
    };
    match header.to_str().ok().and_then(position) {
        Some(position) => Ok(Some(position)),
        None => Err(ApiError::header("Last-Event-ID", DETAIL)),
    }
}

/// An id of any size: one that is too large is ahead of every store.
fn position(text: &str) -> Option<Position> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Position::new(text.parse().unwrap_or(i64::MAX)))
}

async fn open(
    api: &Api,
    headers: &HeaderMap,
    last_seen: Option<Position>,
    order: Option<OrderId>,
    filter: Filter,
) -> Result<Response, ApiError> {
    let consistency = Consistency::of(headers)?;
    let position = api
        .reads
        .until(&consistency, |views| async move { views.position().await })
        .await?;
    let follower = api
        .live
        .feed
        .follow(last_seen, order.map(OrderId::get))
        .await?;
    if let Some(id) = order {
        let first = api.history.events_after(Position::ZERO, order, 1).await?;
        if first.is_empty() {
            return Ok(refuse(not_found(id), &consistency, position));
        }
    }
    let body = Body::from_stream(messages(&api.live, follower, filter));
    let mut response = Response::new(body);
    response.extensions_mut().insert(EndlessBody);
    let headers = response.headers_mut();
    let fixed = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    consistency.write(position, headers);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_a_whole_number_of_any_size() {
        assert_eq!(position("0"), Some(Position::ZERO));
        assert_eq!(position("18342"), Some(Position::new(18_342)));
        assert_eq!(position(&"9".repeat(40)), Some(Position::new(i64::MAX)));
        for text in ["", "-1", "+1", "1.0", " 1", "x"] {
            assert_eq!(position(text), None, "{text}");
        }
    }
}
