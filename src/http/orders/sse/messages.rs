//! What a client that looks on is sent: an opening, events that it asked for, and signs of life.

use std::{collections::HashMap, convert::Infallible, future::ready, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, stream};
use tokio::{
    select,
    time::{Instant, Interval, MissedTickBehavior, interval_at, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Frame, Live, OrderFrames};
use crate::{
    event_sourcing::{Position, StoreError},
    live::{Follower, Update},
    order::{CustomerId, Status},
};

/// How often a comment shows that the connection lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a stream waits for a store that does not answer before it asks again.
const RETRY: Duration = Duration::from_millis(500);

/// What every stream begins with: nothing before it is missed once it is there.
const OPENING: &str = ": connected\nretry: 3000\n\n";

/// Which events a stream shows; all where nothing is asked.
#[derive(Debug, Default)]
pub struct Filter {
    /// Those of this customer's orders.
    pub customer: Option<String>,
    /// Those after which their order is in one of these statuses.
    pub statuses: Vec<Status>,
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
    _counted: Counted,
}

/// The messages of a stream, until the service stops.
pub fn messages(
    live: &Live,
    follower: Follower<OrderFrames>,
    filter: Filter,
) -> impl Stream<Item = Result<Bytes, Infallible>> + use<> {
    let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    // Whoever has not read for long need not be told so often that we live.
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let begun = LiveStream {
        follower,
        filter,
        frames: live.frames.clone(),
        stopping: live.stopping.clone(),
        heartbeat,
        taken: vec![],
        _counted: Counted::new(),
    };
    let opening = stream::once(ready(Ok(Bytes::from_static(OPENING.as_bytes()))));
    opening.chain(stream::unfold(begun, |mut live| async move {
        let stopping = live.stopping.clone();
        let sent = select! {
            sent = live.next() => sent,
            () = stopping.cancelled() => return None,
        };
        Some((Ok(sent), live))
    }))
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
            Update::Events(events) => *taken = events,
            Update::Resync(position) => return Ok(Step::Resync(position)),
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

    use futures::FutureExt;
    use tokio::task::JoinSet;

    use super::*;
    use crate::{
        event_sourcing::{Repository, repository::RepositoryOptions, testing::InMemoryEventStore},
        live::FreshEvents,
        order::{Order, upcasters::upcasters},
    };

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
        let follower = live.feed.follow(None, None).await.unwrap();
        let mut messages = pin!(messages(&live, follower, Filter::default()));
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
