//! The messages of one live stream: an opening, the events that match the filter, and heartbeats.

use std::{collections::HashMap, convert::Infallible, future::ready, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use tokio::{
    select,
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Frame, Live, OpenStream, OrderFrames};
use crate::{
    event_sourcing::{Position, StoreError},
    live::{Follower, Update},
    order::{CustomerId, Status},
};

/// How often a comment is sent while there are no events. It shows that the connection works.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a stream waits after the store failed, before it reads again.
const RETRY: Duration = Duration::from_millis(500);

/// The start of every stream. After it the client gets every event that is appended.
const OPENING: &str = ": connected\nretry: 3000\n\n";

/// Which events a stream sends; by default all.
#[derive(Debug, Default)]
pub struct Filter {
    /// Only events of this customer's orders.
    pub customer: Option<String>,
    /// Only events after which the order has one of these statuses; empty for any status.
    pub statuses: Vec<Status>,
}

/// One connected live client.
struct LiveStream {
    follower: Follower<OrderFrames>,
    filter: Filter,
    frames: OrderFrames,
    stopping: CancellationToken,
    heartbeat: Interval,
    /// The events that were taken from the feed and are not sent yet.
    taken: Vec<Arc<Frame>>,
    open: OpenStream,
}

/// Returns the messages of a stream. It ends when the service stops, or when the client's address has
/// too many bytes to take: the client may come back with the id of the last event that it got.
pub fn messages(
    live: &Live,
    follower: Follower<OrderFrames>,
    filter: Filter,
    open: OpenStream,
) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
    let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    // After a pause of the client one heartbeat is enough; the missed ones are not sent.
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let live_stream = LiveStream {
        follower,
        filter,
        frames: live.frames.clone(),
        stopping: live.stopping.clone(),
        heartbeat,
        taken: vec![],
        open,
    };
    let opening = stream::once(ready(Ok(Bytes::from_static(OPENING.as_bytes()))));
    opening.chain(stream::unfold(live_stream, |mut live| async move {
        let stopping = live.stopping.clone();
        let text = select! {
            text = live.next() => text,
            () = stopping.cancelled() => return None,
        };
        let unsent = live.open.count_unsent(text)?;
        Some((Ok(unsent), live))
    }))
}

impl LiveStream {
    /// Waits for the next bytes to send.
    async fn next(&mut self) -> Bytes {
        loop {
            // The heartbeat may drop `take` at any await: it keeps what it took in `self.taken`.
            let next = select! {
                next = take(&mut self.follower, &mut self.taken, &self.frames, &self.filter) => next,
                _ = self.heartbeat.tick() => return Bytes::from_static(b": alive\n\n"),
            };
            match next {
                Ok(Next::Resync(position)) => return resync(position),
                Ok(Next::Events(customers)) => {
                    let mut text = BytesMut::new();
                    for frame in self.taken.drain(..) {
                        if self.filter.matches(&frame, &customers) {
                            text.extend_from_slice(&frame.text);
                        }
                    }
                    if !text.is_empty() {
                        return text.freeze();
                    }
                }
                // The feed reads the same store and logs its errors.
                Err(_) => sleep(RETRY).await,
            }
        }
    }
}

/// What a stream sends next.
enum Next {
    /// The events in [`LiveStream::taken`]. The map has the customers of their orders if the filter
    /// needs them.
    Events(HashMap<Uuid, CustomerId>),
    /// The store has lost events that the client has: the stream continues after this position.
    Resync(Position),
}

/// Takes events from the feed, unless some are left, and looks up what the filter needs.
async fn take(
    follower: &mut Follower<OrderFrames>,
    taken: &mut Vec<Arc<Frame>>,
    frames: &OrderFrames,
    filter: &Filter,
) -> Result<Next, StoreError> {
    if taken.is_empty() {
        match follower.next().await? {
            Update::Events(events) => *taken = events,
            Update::Resync(position) => return Ok(Next::Resync(position)),
        }
    }
    let customers = match filter.customer {
        Some(_) => frames.customers_of(taken).await?,
        None => HashMap::new(),
    };
    Ok(Next::Events(customers))
}

fn resync(position: Position) -> Bytes {
    format!("id: {position}\nevent: resync\ndata: {{\"position\":{position}}}\n\n").into()
}

impl Filter {
    fn matches(&self, frame: &Frame, customers: &HashMap<Uuid, CustomerId>) -> bool {
        let has_status = |status| self.statuses.contains(&status);
        let is_of = |customer: &String| {
            let ordered_by = customers.get(&frame.order_id);
            ordered_by.is_some_and(|ordered_by| ordered_by.as_str() == customer)
        };
        (self.statuses.is_empty() || frame.status.is_some_and(has_status))
            && self.customer.as_ref().is_none_or(is_of)
    }
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, pin::pin};

    use futures::FutureExt;
    use tokio::task::JoinSet;

    use super::*;
    use crate::{
        event_sourcing::{Repository, repository::RepositoryOptions, testing::InMemoryEventStore},
        http::request::{
            caller::{Work, WorkLimits},
            client::ClientAddress,
        },
        live::FreshEvents,
        order::{Order, upcasters::upcasters},
    };

    #[tokio::test(start_paused = true)]
    async fn a_stream_without_events_sends_a_heartbeat_every_fifteen_seconds_until_the_service_stops()
     {
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
        let follower = live.feed.follow(None, None).await.unwrap();
        let work = Work::new(WorkLimits::default());
        let caller = work.caller(ClientAddress(Ipv4Addr::LOCALHOST.into()));
        let open = OpenStream::of(&caller).unwrap();
        let mut messages = pin!(messages(&live, follower, Filter::default(), open));
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
