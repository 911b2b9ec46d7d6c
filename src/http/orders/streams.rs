//! The endpoints of live streams (`text/event-stream`, the server-sent events of WHATWG HTML).
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
    paths::OrderPath,
    reads::{order_not_found, refuse},
    sse::{EndlessBody, Filter, OpenStream, messages},
};
use crate::http::{
    api::Api,
    problem::ApiError,
    request::{
        caller::Caller, consistency::Consistency, digits::whole_number, parameters::QueryParameters,
    },
};
use crate::{event_sourcing::Position, order::OrderId};

/// The header with the id of the last event that the client has received.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Where the stream continues.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "documents what read_parameters reads")]
pub struct StreamParameters {
    /// The same as the header `Last-Event-ID`. If both are given, the header counts.
    last_event_id: Option<String>,
}

/// Which events are sent, and where the stream continues.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "documents what read_filters reads")]
pub struct StreamsParameters {
    /// Only events of this customer's orders.
    customer_id: Option<String>,
    /// Only events after which the order has this status; may be repeated.
    #[param(style = Form, explode, example = json!(["created"]))]
    status: Option<Vec<String>>,
    /// The same as the header `Last-Event-ID`. If both are given, the header counts.
    last_event_id: Option<String>,
}

/// Follows an order
///
/// Each event is one message: `id` is its position, `event` its type, `data` a history entry. With
/// `Last-Event-ID` the stream continues right after that event, and no event is lost or repeated.
/// Without it, the stream begins with the first event after its opening comment. If the id is ahead
/// of the store, one message `resync` is sent.
#[utoipa::path(
    get, path = "/v1/orders/{id}/stream", tag = "Queries", params(OrderPath, StreamParameters),
    responses(
        (status = 200, description = "The events, as they are stored", body = String, content_type = "text/event-stream"),
        (status = 404, description = "`order_not_found`"),
        (status = 503, description = "`overloaded`: too many live streams are open; `read_model_behind`, `store_unavailable`, `timeout`"),
    )
)]
pub async fn stream_order(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
    caller: Caller,
    OrderPath { id }: OrderPath,
) -> Result<Response, ApiError> {
    let last_event_id = read_parameters(&uri, &headers)?;
    let stream = OpenStream::of(&caller)?;
    open(
        &api,
        &headers,
        last_event_id,
        Some(id),
        (Filter::default(), stream),
    )
    .await
}

/// Follows all orders
///
/// The messages are those of the stream of one order. `customerId` and `status` filter the events.
#[utoipa::path(
    get, path = "/v1/orders/stream", tag = "Queries", params(StreamsParameters),
    responses(
        (status = 200, description = "The events, as they are stored", body = String, content_type = "text/event-stream"),
        (status = 503, description = "`overloaded`: too many live streams are open; `read_model_behind`, `store_unavailable`, `timeout`"),
    )
)]
pub async fn stream_orders(
    State(api): State<Arc<Api>>,
    uri: Uri,
    headers: HeaderMap,
    caller: Caller,
) -> Result<Response, ApiError> {
    let (last_event_id, filter) = read_filters(&uri, &headers)?;
    let stream = OpenStream::of(&caller)?;
    open(&api, &headers, last_event_id, None, (filter, stream)).await
}

fn read_parameters(uri: &Uri, headers: &HeaderMap) -> Result<Option<Position>, ApiError> {
    let mut parameters = QueryParameters::of(uri);
    let last_event_id = read_last_event_id(headers, &mut parameters);
    parameters.close()?;
    last_event_id
}

fn read_filters(uri: &Uri, headers: &HeaderMap) -> Result<(Option<Position>, Filter), ApiError> {
    let mut parameters = QueryParameters::of(uri);
    let last_event_id = read_last_event_id(headers, &mut parameters);
    let customer = parameters.text("customerId");
    let statuses = statuses(&mut parameters);
    parameters.close()?;
    Ok((last_event_id?, Filter { customer, statuses }))
}

/// Reads the header `Last-Event-ID`, or else the parameter `lastEventId`. A browser that reconnects
/// sends both: the URL that the page gave it and the header with a newer id.
fn read_last_event_id(
    headers: &HeaderMap,
    parameters: &mut QueryParameters,
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

/// Reads a position. A number that is too large becomes [`i64::MAX`], which is ahead of every
/// store.
fn position(text: &str) -> Option<Position> {
    let number = whole_number(text)?;
    Some(Position::new(i64::try_from(number).unwrap_or(i64::MAX)))
}

/// Opens a stream of one order, or of all.
async fn open(
    api: &Api,
    headers: &HeaderMap,
    last_event_id: Option<Position>,
    order: Option<OrderId>,
    (filter, stream): (Filter, OpenStream),
) -> Result<Response, ApiError> {
    let consistency = Consistency::of(headers)?;
    let position = api.reads.position(&consistency).await?;
    let follower = api
        .live
        .feed
        .follow(last_event_id, order.map(OrderId::get))
        .await?;
    if let Some(id) = order
        && !api.live.frames.has(id).await?
    {
        return Ok(refuse(order_not_found(id), &consistency, position));
    }
    let body = Body::from_stream(messages(&api.live, follower, filter, stream));
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

    use crate::http::request::asked;

    #[test]
    fn an_id_is_a_whole_number_of_any_size() {
        assert_eq!(position("0"), Some(Position::ZERO));
        assert_eq!(position("18342"), Some(Position::new(18_342)));
        assert_eq!(position(&"9".repeat(40)), Some(Position::new(i64::MAX)));
        for text in ["", "-1", "+1", "1.0", " 1", "x"] {
            assert_eq!(position(text), None, "{text}");
        }
    }

    #[test]
    fn every_documented_parameter_is_read_and_every_parameter_read_is_documented() {
        let (uri, headers) = (Uri::from_static("/"), HeaderMap::new());
        let of_one = asked::during(|| read_parameters(&uri, &headers));
        let of_all = asked::during(|| read_filters(&uri, &headers));

        assert_eq!(of_one, asked::documented::<StreamParameters>());
        assert_eq!(of_all, asked::documented::<StreamsParameters>());
    }
}
