//! What followers of a feed may rely on.

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

use super::FreshEvents;
use super::{Entry, Fed, Feed, FeedSource, Follower, Page};
use crate::event_sourcing::{Position, StoreError};

const ONE: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

/// Numbers beyond this one are large.
const LARGE: i64 = 1_000_000;

/// A store of numbers; every seventh is left out by the source.
#[derive(Clone, Default)]
struct Numbers(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    events: Vec<(Position, Uuid)>,
    is_down: bool,
    asked: usize,
    /// Answers that are read from now on are on their way until this lets them through.
    gate: Option<Arc<Semaphore>>,
}

impl Numbers {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap()
    }

    fn append(&self, of: Uuid, positions: impl IntoIterator<Item = i64>) {
        let events = positions.into_iter().map(|n| (Position::new(n), of));
        self.kept().events.extend(events);
    }

    fn ask(&self) -> Result<MutexGuard<'_, Kept>, StoreError> {
        let mut kept = self.kept();
        kept.asked += 1;
        if kept.is_down {
            return Err(StoreError::unavailable(std::io::Error::other("down")));
        }
        Ok(kept)
    }
}

impl FeedSource for Numbers {
    type Item = i64;

    async fn newest(&self) -> Result<Position, StoreError> {
        let (newest, gate) = {
            let kept = self.ask()?;
            let newest = kept.events.last().map(|(at, _)| *at);
            (newest.unwrap_or(Position::ZERO), kept.gate.clone())
        };
        pass(gate).await;
        Ok(newest)
    }

    async fn read(
        &self,
        after: Position,
        of: Option<Uuid>,
        limit: u32,
    ) -> Result<Page<i64>, StoreError> {
        let (read, gate) = {
            let kept = self.ask()?;
            let later = kept.events.iter().filter(|(position, aggregate_id)| {
                *position > after && of.is_none_or(|of| of == *aggregate_id)
            });
            let read: Vec<_> = later.take(limit as usize).copied().collect();
            (read, kept.gate.clone())
        };
        // A call may be dropped here.
        yield_now().await;
        pass(gate).await;
        let shown = read.iter().filter(|(position, _)| position.get() % 7 != 0);
        let events = shown.map(|(position, aggregate_id)| Entry {
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

async fn pass(gate: Option<Arc<Semaphore>>) {
    if let Some(gate) = gate {
        gate.acquire().await.unwrap().forget();
    }
}

fn shown(numbers: impl IntoIterator<Item = i64>) -> Vec<i64> {
    numbers.into_iter().filter(|n| n % 7 != 0).collect()
}

struct Running {
    numbers: Numbers,
    feed: Feed<Numbers>,
    _tasks: JoinSet<()>,
}

fn running() -> Running {
    let numbers = Numbers::default();
    let feed = Feed::new(numbers.clone());
    let mut tasks = JoinSet::new();
    let never = CancellationToken::new();
    tasks.spawn(feed.clone().run(FreshEvents::default(), never));
    Running {
        numbers,
        feed,
        _tasks: tasks,
    }
}

/// How long followers wait for something that must come, on a clock that does not wait.
const PATIENCE: Duration = Duration::from_mins(1);

/// Whether a follower has seen everything and asks for nothing more.
fn is_idle(follower: &mut Follower<Numbers>) -> bool {
    (0..3).any(|_| follower.next().now_or_never().is_none())
}

async fn next(follower: &mut Follower<Numbers>) -> Fed<i64> {
    let next = timeout(PATIENCE, follower.next()).await;
    next.expect("something comes").expect("the store answers")
}

/// Takes so many events.
async fn take(follower: &mut Follower<Numbers>, count: usize) -> Vec<i64> {
    let mut taken = vec![];
    while taken.len() < count {
        match next(follower).await {
            Fed::Events(events) => taken.extend(events),
            Fed::Resync(position) => panic!("back to {position}"),
        }
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn without_a_position_a_follower_begins_with_what_comes_next() {
    let Running { numbers, feed, .. } = &running();
    numbers.append(ONE, 1..=5);
    let mut follower = feed.follow(None, None).await.unwrap();

    numbers.append(ONE, [6]);
    let mut later = feed.follow(None, None).await.unwrap();
    numbers.append(OTHER, [8]);

    assert_eq!(take(&mut follower, 2).await, [6, 8]);
    assert_eq!(take(&mut later, 1).await, [8]);
}

#[tokio::test(start_paused = true)]
async fn a_follower_who_is_behind_misses_and_repeats_nothing() {
    let Running { numbers, feed, .. } = &running();
    numbers.append(ONE, 1..=1000);
    let last_seen = Some(Position::new(10));
    let mut follower = feed.follow(last_seen, None).await.unwrap();
    let mut taken = take(&mut follower, 100).await;

    // More than is kept: the rest is in the store only.
    numbers.append(OTHER, 1001..=6000);
    let mut fast = feed.follow(None, None).await.unwrap();
    numbers.append(ONE, [6001]);
    assert_eq!(take(&mut fast, 1).await, [6001]);
    let expected = shown(11..=6001);
    taken.extend(take(&mut follower, expected.len() - taken.len()).await);

    assert_eq!(taken, expected);
    assert!(follower.next().now_or_never().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_follower_of_one_aggregate_sees_no_other() {
    let Running { numbers, feed, .. } = &running();
    numbers.append(ONE, 1..=500);
    numbers.append(OTHER, 501..=502);
    numbers.append(ONE, 503..=504);
    let begin = Some(Position::ZERO);
    let mut follower = feed.follow(begin, Some(OTHER)).await.unwrap();

    let past = take(&mut follower, 2).await;
    sleep(Duration::from_secs(1)).await;
    assert!(is_idle(&mut follower));
    numbers.append(ONE, 505..=510);
    numbers.append(OTHER, [512]);
    let live = take(&mut follower, 1).await;

    assert_eq!((past, live), (vec![501, 502], vec![512]));
}

#[tokio::test(start_paused = true)]
async fn who_is_ahead_of_the_store_is_told_once() {
    let Running { numbers, feed, .. } = &running();
    numbers.append(ONE, 1..=3);
    let mut follower = feed.follow(Some(Position::new(9)), None).await.unwrap();

    let first = next(&mut follower).await;
    numbers.append(ONE, [4]);

    assert_eq!(first, Fed::Resync(Position::new(3)));
    assert_eq!(take(&mut follower, 1).await, [4]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_goes_back_is_noticed() {
    let Running { numbers, feed, .. } = &running();
    numbers.append(ONE, 1..=3);
    let mut follower = feed.follow(None, None).await.unwrap();
    numbers.append(ONE, 4..=6);
    assert_eq!(take(&mut follower, 3).await, [4, 5, 6]);

    numbers.kept().events.truncate(2);

    assert_eq!(next(&mut follower).await, Fed::Resync(Position::new(2)));
    numbers.append(ONE, [3, 4]);
    assert_eq!(take(&mut follower, 2).await, [3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_for_a_while_only_delays() {
    let Running { numbers, feed, .. } = &running();
    let mut follower = feed.follow(None, None).await.unwrap();
    numbers.kept().is_down = true;
    numbers.append(ONE, [1]);
    sleep(Duration::from_secs(5)).await;
    assert!(feed.follow(None, None).await.is_err());
    assert!(follower.next().now_or_never().is_none());

    numbers.kept().is_down = false;

    assert_eq!(take(&mut follower, 1).await, [1]);
    assert_eq!(feed.followers(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_takes_nothing() {
    let Running { numbers, feed, .. } = &running();
    let mut follower = feed.follow(None, None).await.unwrap();
    let mut taken = vec![];
    for n in 1..=300 {
        numbers.append(ONE, [n]);
        sleep(Duration::from_millis(n.cast_unsigned() % 9)).await;
        if let Some(Ok(Fed::Events(events))) = follower.next().now_or_never() {
            taken.extend(events);
        }
    }
    let expected = shown(1..=300);
    let rest = expected.len() - taken.len();

    taken.extend(take(&mut follower, rest).await);

    assert_eq!(taken, expected);
}

#[tokio::test(start_paused = true)]
async fn while_nobody_follows_the_store_is_not_asked() {
    let Running { numbers, feed, .. } = &running();
    let mut follower = feed.follow(None, None).await.unwrap();
    numbers.append(ONE, [1]);
    assert_eq!(take(&mut follower, 1).await, [1]);
    drop(follower);
    sleep(Duration::from_secs(1)).await;
    let asked = numbers.kept().asked;

    sleep(Duration::from_hours(1)).await;

    assert_eq!(numbers.kept().asked, asked);
    numbers.append(ONE, [2]);
    let mut again = feed.follow(Some(Position::new(1)), None).await.unwrap();
    assert_eq!(take(&mut again, 1).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_for_others_is_not_shown_of_a_store_that_went_back_meanwhile() {
    let Running { numbers, feed, .. } = &running();
    let mut follower = feed.follow(None, None).await.unwrap();
    for n in 1..=3 {
        numbers.append(ONE, [n]);
        assert_eq!(take(&mut follower, 1).await, [n]);
    }
    drop(follower);
    sleep(Duration::from_secs(1)).await;

    numbers.kept().events.truncate(1);
    numbers.append(OTHER, 2..=4);

    let mut follower = feed
        .follow(Some(Position::new(1)), Some(OTHER))
        .await
        .unwrap();
    assert_eq!(take(&mut follower, 3).await, [2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn large_events_are_handed_out_few_at_a_time() {
    let Running { numbers, feed, .. } = &running();
    numbers.append(ONE, LARGE + 1..=LARGE + 300);
    let mut behind = feed.follow(Some(Position::ZERO), None).await.unwrap();
    let mut live = feed.follow(None, None).await.unwrap();
    assert!(live.next().now_or_never().is_none());
    sleep(Duration::from_secs(1)).await;
    numbers.append(ONE, LARGE + 301..=LARGE + 320);

    for (follower, expected) in [(&mut behind, 1..=320), (&mut live, 301..=320)] {
        let expected = shown(expected.map(|n| LARGE + n));
        let (mut taken, mut chunks) = (vec![], vec![]);
        while taken.len() < expected.len() {
            let Fed::Events(events) = next(follower).await else {
                panic!("nothing went back");
            };
            chunks.push(events.len());
            taken.extend(events);
        }
        assert_eq!(taken, expected);
        // What the first read brings is not known before.
        assert!(chunks.iter().all(|count| *count <= 16), "{chunks:?}");
        assert!(chunks.iter().skip(1).all(|count| *count <= 4), "{chunks:?}");
    }
}

/// A follower who has seen so many events of one aggregate, as they came.
async fn who_has_seen(running: &Running, count: i64) -> Follower<Numbers> {
    let mut follower = running.feed.follow(None, None).await.unwrap();
    // The first one shows that the feed has begun, so that it keeps the others.
    running.numbers.append(ONE, [1]);
    take(&mut follower, 1).await;
    running.numbers.append(ONE, 2..=count);
    take(&mut follower, shown(2..=count).len()).await;
    follower
}

#[tokio::test(start_paused = true)]
async fn who_joins_before_a_setback_is_noticed_sees_what_follows_it() {
    let running = running();
    let Running { numbers, feed, .. } = &running;
    let mut early = who_has_seen(&running, 500).await;

    numbers.kept().events.truncate(50);
    let mut late = feed.follow(None, None).await.unwrap();
    numbers.append(OTHER, 51..=53);

    assert_eq!(take(&mut late, 3).await, [51, 52, 53]);
    assert_eq!(next(&mut early).await, Fed::Resync(Position::new(50)));
    assert_eq!(take(&mut early, 3).await, [51, 52, 53]);
}

#[tokio::test(start_paused = true)]
async fn a_setback_while_nobody_follows_is_told_to_nobody() {
    let running = running();
    let Running { numbers, feed, .. } = &running;
    drop(who_has_seen(&running, 100).await);
    sleep(Duration::from_secs(1)).await;

    numbers.kept().events.truncate(50);
    let mut live = feed.follow(None, None).await.unwrap();
    let mut ahead = feed.follow(Some(Position::new(100)), None).await.unwrap();
    assert!(live.next().now_or_never().is_none());
    numbers.append(OTHER, [51]);

    assert_eq!(take(&mut live, 1).await, [51]);
    assert_eq!(next(&mut ahead).await, Fed::Resync(Position::new(50)));
    assert_eq!(take(&mut ahead, 1).await, [51]);
}

#[tokio::test(start_paused = true)]
async fn what_was_on_its_way_when_a_setback_was_noticed_is_not_shown() {
    let running = running();
    let Running { numbers, feed, .. } = &running;
    let _early = who_has_seen(&running, 100).await;
    let gate = Arc::new(Semaphore::new(0));
    numbers.kept().gate = Some(Arc::clone(&gate));
    numbers.append(ONE, [101]);
    sleep(Duration::from_millis(500)).await;

    numbers.kept().gate = None;
    numbers.kept().events.truncate(50);
    let mut late = feed.follow(None, None).await.unwrap();
    gate.add_permits(1);
    sleep(Duration::from_millis(1)).await;
    numbers.append(OTHER, [51]);

    assert_eq!(take(&mut late, 1).await, [51]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_older_than_the_feed_is_no_setback() {
    let running = running();
    let Running { numbers, feed, .. } = &running;
    let mut early = who_has_seen(&running, 100).await;
    let gate = Arc::new(Semaphore::new(0));
    numbers.kept().gate = Some(Arc::clone(&gate));
    let mut joining = pin!(feed.follow(None, None));
    assert!(joining.as_mut().now_or_never().is_none());

    numbers.kept().gate = None;
    numbers.append(ONE, [101]);
    assert_eq!(take(&mut early, 1).await, [101]);
    gate.add_permits(1);
    let mut late = joining.await.unwrap();
    numbers.append(ONE, [102]);

    assert_eq!(take(&mut early, 1).await, [102]);
    assert_eq!(take(&mut late, 2).await, [101, 102]);
}
