//! Live updates of orders, as `text/event-stream` (WHATWG HTML, server-sent events).
#![expect(
    clippy::missing_errors_doc,
    reason = "the responses of each operation document them"
)]

use std::{collections::HashMap, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header},
    response::Response,
};
use bytes::{Bytes, BytesMut};
use futures::{Stream, stream};
use tokio::{
    select,
    time::{Instant, Interval, interval_at, sleep},
};
use tokio_util::sync::CancellationToken;
use utoipa::IntoParams;
use uuid::Uuid;

use super::{
    Api,
    consistency::Consistency,
    error::ApiError,
    extract::{OrderPath, Parameters},
    live::{Frame, OrderFrames},
    order_list::statuses,
    order_queries::{not_found, refuse},
};
use crate::{
    event_sourcing::{
        Position, StoreError,
        feed::{Fed, Follower},
    },
    order::{CustomerId, Status},
};

/// The last event that a client has seen.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// How often a comment shows that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a stream waits for a store that does not answer before it asks again.
const RETRY: Duration = Duration::from_millis(500);

/// What every stream begins with: nothing before it is missed once it is there.
const OPENING: &str = ": connected\nretry: 3000\n\n";

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

/// Which events a stream shows.
#[derive(Debug, Default)]
struct Filter {
    customer: Option<String>,
    statuses: Vec<Status>,
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
    order: Option<Uuid>,
    filter: Filter,
) -> Result<Response, ApiError> {
    let consistency = Consistency::of(headers)?;
    let position = api
        .reads
        .until(&consistency, |views| async move { views.position().await })
        .await?;
    let follower = api.live.feed.follow(last_seen, order).await?;
    if let Some(id) = order {
        let first = api.history.events_after(Position::ZERO, order, 1).await?;
        if first.is_empty() {
            return Ok(refuse(not_found(id), &consistency, position));
        }
    }
    let body = Body::from_stream(messages(LiveStream {
        follower,
        filter,
        frames: api.live.frames.clone(),
        stopping: api.live.stopping.clone(),
        heartbeat: interval_at(Instant::now() + HEARTBEAT, HEARTBEAT),
        taken: vec![],
        is_opened: false,
        _counted: Counted::new(),
    }));
    let mut response = Response::new(body);
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

/// A client that looks on.
struct LiveStream {
    follower: Follower<OrderFrames>,
    filter: Filter,
    frames: OrderFrames,
    stopping: CancellationToken,
    heartbeat: Interval,
    /// What was taken from the feed and not sent yet.
    taken: Vec<Arc<Frame>>,
    is_opened: bool,
    _counted: Counted,
}

/// The messages of a stream, until the service stops.
fn messages(live: LiveStream) -> impl Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(live, |mut live| async move {
        if !std::mem::replace(&mut live.is_opened, true) {
            return Some((Ok(Bytes::from_static(OPENING.as_bytes())), live));
        }
        let stopping = live.stopping.clone();
        let sent = select! {
            sent = live.next() => sent,
            () = stopping.cancelled() => return None,
        };
        Some((Ok(sent), live))
    })
}

impl LiveStream {
    /// What is to be sent next.
    async fn next(&mut self) -> Bytes {
        loop {
            // May be dropped at any time: nothing that was taken is let go before it is sent.
            let step = select! {
                step = take(&mut self.follower, &mut self.taken, &self.frames, &self.filter) => step,
                _ = self.heartbeat.tick() => return Bytes::from_static(b": alive\n\n"),
            };
            match step {
                Ok(Step::Resync(position)) => return resync(position),
                Ok(Step::Taken(customers)) => {
                    let mut text = BytesMut::new();
                    for frame in self.taken.drain(..) {
                        if self.filter.takes(&frame, &customers) {
                            text.extend_from_slice(&frame.text);
                        }
                    }
                    if !text.is_empty() {
                        return text.freeze();
                    }
                }
                // The feed asks the same store, and says what is wrong with it.
                Err(_) => sleep(RETRY).await,
            }
        }
    }
}

/// What came of a step.
enum Step {
    /// Events were taken; the customers of their orders, where the filter asks for them.
    Taken(HashMap<Uuid, CustomerId>),
    Resync(Position),
}

async fn take(
    follower: &mut Follower<OrderFrames>,
    taken: &mut Vec<Arc<Frame>>,
    frames: &OrderFrames,
    filter: &Filter,
) -> Result<Step, StoreError> {
    if taken.is_empty() {
        match follower.next().await? {
            Fed::Events(events) => *taken = events,
            Fed::Resync(position) => return Ok(Step::Resync(position)),
        }
    }
    let customers = match filter.customer {
        Some(_) => frames.customers_of(taken).await?,
        None => HashMap::new(),
    };
    Ok(Step::Taken(customers))
}

fn resync(position: Position) -> Bytes {
    format!("id: {position}\nevent: resync\ndata: {{\"position\":{position}}}\n\n").into()
}

impl Filter {
    fn takes(&self, frame: &Frame, customers: &HashMap<Uuid, CustomerId>) -> bool {
        let has_status = |status| self.statuses.contains(&status);
        let is_of = |customer: &String| {
            let ordered_by = customers.get(&frame.order_id);
            ordered_by.is_some_and(|ordered_by| ordered_by.as_str() == customer)
        };
        (self.statuses.is_empty() || frame.status.is_some_and(has_status))
            && self.customer.as_ref().is_none_or(is_of)
    }
}

/// Counts a stream for as long as it is open.
struct Counted;

impl Counted {
    fn new() -> Self {
        metrics::gauge!("orders_streams").increment(1.0);
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics::gauge!("orders_streams").decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::{FutureExt, StreamExt};
    use tokio::task::JoinSet;

    use super::*;
    use crate::{
        event_sourcing::{
            FreshEvents, Repository, repository::RepositoryOptions, testing::InMemoryEventStore,
        },
        http::live::Live,
        order::{Order, upcasters::upcasters},
    };

    #[test]
    fn an_id_is_a_whole_number_of_any_size() {
        assert_eq!(position("0"), Some(Position::ZERO));
        assert_eq!(position("18342"), Some(Position::new(18_342)));
        assert_eq!(position(&"9".repeat(40)), Some(Position::new(i64::MAX)));
        for text in ["", "-1", "+1", "1.0", " 1", "x"] {
            assert_eq!(position(text), None, "{text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_shows_every_fifteen_seconds_that_it_lives_until_the_service_stops() {
        let upcasters = Arc::new(upcasters("EUR".parse().unwrap()).unwrap());
        let (store, options) = (InMemoryEventStore::default(), RepositoryOptions::default());
        let history = Arc::new(Repository::<Order, _>::new(store, upcasters, options));
        let stopping = CancellationToken::new();
        let live = Live::new(history, stopping.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(
            live.feed
                .clone()
                .run(FreshEvents::default(), stopping.clone()),
        );
        let mut messages = pin!(messages(LiveStream {
            follower: live.feed.follow(None, None).await.unwrap(),
            filter: Filter::default(),
            frames: live.frames.clone(),
            stopping: stopping.clone(),
            heartbeat: interval_at(Instant::now() + HEARTBEAT, HEARTBEAT),
            taken: vec![],
            is_opened: false,
            _counted: Counted::new(),
        }));
        let began = Instant::now();

        assert_eq!(messages.next().await.unwrap().unwrap(), OPENING);
        assert!(messages.next().now_or_never().is_none());
        for beats in 1..=3 {
            assert_eq!(messages.next().await.unwrap().unwrap(), ": alive\n\n");
            assert_eq!(began.elapsed().as_secs(), 15 * beats);
        }
        stopping.cancel();
        assert!(messages.next().await.is_none());
        assert_eq!(began.elapsed().as_secs(), 45);
    }
}
