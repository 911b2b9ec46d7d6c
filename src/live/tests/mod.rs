//! Tests of a feed on a store of numbers, on a paused clock.

mod following;
mod rewinds;

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    sync::Semaphore,
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Entry, Feed, FeedSource, Follower, FreshEvents, Page, Update};
use crate::event_sourcing::{Position, StoreError};

const ONE: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

/// Larger numbers are large events.
const LARGE: i64 = 1_000_000;

/// A store of numbers. As a source, it leaves out every seventh.
#[derive(Clone, Default)]
struct Numbers(Arc<Mutex<Stored>>);

#[derive(Default)]
struct Stored {
    events: Vec<(Position, Uuid)>,
    is_down: bool,
    /// The number of queries so far.
    queries: usize,
    /// Delays each answer until the semaphore has a permit.
    gate: Option<Arc<Semaphore>>,
}

impl Numbers {
    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.0.lock().unwrap()
    }

    fn append(&self, aggregate: Uuid, positions: impl IntoIterator<Item = i64>) {
        let events = positions.into_iter().map(|n| (Position::new(n), aggregate));
        self.stored().events.extend(events);
    }

    fn query(&self) -> Result<MutexGuard<'_, Stored>, StoreError> {
        let mut stored = self.stored();
        stored.queries += 1;
        if stored.is_down {
            return Err(StoreError::unavailable(std::io::Error::other("down")));
        }
        Ok(stored)
    }
}

impl FeedSource for Numbers {
    type Item = i64;

    async fn newest(&self) -> Result<Position, StoreError> {
        let (newest, gate) = {
            let stored = self.query()?;
            let newest = stored.events.last().map(|(at, _)| *at);
            (newest.unwrap_or(Position::ZERO), stored.gate.clone())
        };
        wait_for(gate).await;
        Ok(newest)
    }

    async fn read(
        &self,
        after: Position,
        aggregate: Option<Uuid>,
        limit: u32,
    ) -> Result<Page<i64>, StoreError> {
        let (read, gate) = {
            let stored = self.query()?;
            let later = stored.events.iter().filter(|(position, aggregate_id)| {
                *position > after && aggregate.is_none_or(|id| id == *aggregate_id)
            });
            let read: Vec<_> = later.take(limit as usize).copied().collect();
            (read, stored.gate.clone())
        };
        // Gives the test a place to drop the call.
        yield_now().await;
        wait_for(gate).await;
        let listed = read.iter().filter(|(position, _)| position.get() % 7 != 0);
        let events = listed.map(|(position, aggregate_id)| Entry {
            position: *position,
            aggregate_id: *aggregate_id,
            item: position.get(),
        });
        Ok(Page {
            events: events.collect(),
            end: read.last().map(|(position, _)| *position),
            is_last: read.len() < limit as usize,
        })
    }

    fn size(number: &i64) -> usize {
        if *number > LARGE { 100 << 10 } else { 8 }
    }
}

async fn wait_for(gate: Option<Arc<Semaphore>>) {
    if let Some(gate) = gate {
        gate.acquire().await.unwrap().forget();
    }
}

fn without_sevenths(numbers: impl IntoIterator<Item = i64>) -> Vec<i64> {
    numbers.into_iter().filter(|n| n % 7 != 0).collect()
}

struct Running {
    numbers: Numbers,
    feed: Feed<Numbers>,
    _tasks: JoinSet<()>,
}

fn running() -> Running {
    let numbers = Numbers::default();
    let feed = Feed::new(numbers.clone(), numbers.clone());
    let mut tasks = JoinSet::new();
    let never = CancellationToken::new();
    tasks.spawn(feed.clone().run(FreshEvents::default(), never));
    Running {
        numbers,
        feed,
        _tasks: tasks,
    }
}

/// How long tests wait for an event. The clock is paused, so the wait takes no time.
const PATIENCE: Duration = Duration::from_mins(1);

/// Whether a follower has received everything.
fn is_idle(follower: &mut Follower<Numbers>) -> bool {
    (0..3).any(|_| follower.next().now_or_never().is_none())
}

async fn next(follower: &mut Follower<Numbers>) -> Update<i64> {
    let next = timeout(PATIENCE, follower.next()).await;
    next.expect("an update").expect("an answer of the store")
}

/// Receives this many events.
async fn receive(follower: &mut Follower<Numbers>, count: usize) -> Vec<i64> {
    let mut received = vec![];
    while received.len() < count {
        match next(follower).await {
            Update::Events(events) => received.extend(events),
            Update::Resync(position) => panic!("back to {position}"),
        }
    }
    received
}

/// A follower that has received events 1 to `count` of one aggregate as they were appended.
async fn live_follower(running: &Running, count: i64) -> Follower<Numbers> {
    let mut follower = running.feed.follow(None, None).await.unwrap();
    // The first event shows that the feed has started, so that it buffers the others.
    running.numbers.append(ONE, [1]);
    receive(&mut follower, 1).await;
    running.numbers.append(ONE, 2..=count);
    receive(&mut follower, without_sevenths(2..=count).len()).await;
    follower
}
