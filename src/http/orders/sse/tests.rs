//! The readers of the store take turns.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::future::{BoxFuture, join_all, ready};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Live, READERS};
use crate::{
    event_sourcing::{
        Position, RecordedEvent, StoreError, Version, repository::Loaded, store::Until,
    },
    live::{FeedSource, FreshEvents},
    order::{Order, OrderHistory, OrderId},
};

const READ: Duration = Duration::from_millis(1);

/// An empty history that notes who reads it. Each read takes a millisecond.
#[derive(Default)]
struct Observed {
    reading: AtomicUsize,
    most: AtomicUsize,
    readers: Mutex<Vec<Option<OrderId>>>,
}

impl OrderHistory for Observed {
    fn load(
        &self,
        _: OrderId,
        _: Until,
    ) -> BoxFuture<'_, Result<Option<Loaded<Order>>, StoreError>> {
        Box::pin(ready(Ok(None)))
    }

    fn events(
        &self,
        _: OrderId,
        _: Version,
        _: u32,
    ) -> BoxFuture<'_, Result<Vec<RecordedEvent>, StoreError>> {
        Box::pin(ready(Ok(vec![])))
    }

    fn newest(&self) -> BoxFuture<'_, Result<Position, StoreError>> {
        Box::pin(ready(Ok(Position::ZERO)))
    }

    fn events_after(
        &self,
        _: Position,
        of: Option<OrderId>,
        _: u32,
    ) -> BoxFuture<'_, Result<Vec<RecordedEvent>, StoreError>> {
        Box::pin(async move {
            self.readers.lock().unwrap().push(of);
            let reading = self.reading.fetch_add(1, SeqCst) + 1;
            self.most.fetch_max(reading, SeqCst);
            sleep(READ).await;
            self.reading.fetch_sub(1, SeqCst);
            Ok(vec![])
        })
    }
}

#[tokio::test(start_paused = true)]
async fn streams_that_read_the_store_take_turns() {
    let history = Arc::new(Observed::default());
    let live = Live::new(history.clone(), CancellationToken::new());
    let orders: Vec<_> = (0..10).map(Uuid::from_u128).collect();

    let streams = orders.iter().map(async |order| {
        for _ in 0..5 {
            let read = live.frames.read(Position::ZERO, Some(*order), 1).await;
            read.unwrap();
        }
    });
    join_all(streams).await;

    assert_eq!(history.most.load(SeqCst), usize::from(READERS));
    let readers = history.readers.lock().unwrap();
    let mut readers: Vec<_> = readers.iter().flatten().map(|order| order.get()).collect();
    for round in readers.chunks_mut(orders.len()) {
        round.sort();
        assert_eq!(round, orders, "each stream once in each round");
    }
}

#[tokio::test(start_paused = true)]
async fn streams_that_read_the_store_do_not_hold_up_the_feed() {
    let history = Arc::new(Observed::default());
    let live = Live::new(history.clone(), CancellationToken::new());
    let _follower = live.feed.follow(None, None).await.unwrap();
    let mut tasks = JoinSet::new();
    for order in 0..500 {
        let frames = live.frames.clone();
        tasks.spawn(async move {
            let order = Some(Uuid::from_u128(order));
            while frames.read(Position::ZERO, order, 1).await.is_ok() {}
        });
    }

    let feed = live.feed.clone();
    let running = feed.run(FreshEvents::default(), CancellationToken::new());
    drop(timeout(Duration::from_secs(1), running).await);

    let readers = history.readers.lock().unwrap();
    let of_feed = readers.iter().filter(|of| of.is_none()).count();
    assert!(
        of_feed > 10,
        "it reads every 50 milliseconds, not {of_feed} times"
    );
}
