//! Followers that are live, behind, slow or dropped.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_follower_without_a_position_begins_with_the_next_event() {
    let Running { numbers, feed, .. } = &running();
    numbers.append(ONE, 1..=5);
    let mut follower = feed.follow(None, None).await.unwrap();

    numbers.append(ONE, [6]);
    let mut later = feed.follow(None, None).await.unwrap();
    numbers.append(OTHER, [8]);

    assert_eq!(receive(&mut follower, 2).await, [6, 8]);
    assert_eq!(receive(&mut later, 1).await, [8]);
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_is_behind_misses_and_repeats_nothing() {
    let Running { numbers, feed, .. } = &running();
    numbers.append(ONE, 1..=1000);
    let last_seen = Some(Position::new(10));
    let mut follower = feed.follow(last_seen, None).await.unwrap();
    let mut received = receive(&mut follower, 100).await;

    // More than the buffer holds.
    numbers.append(OTHER, 1001..=6000);
    let mut fast = feed.follow(None, None).await.unwrap();
    numbers.append(ONE, [6001]);
    assert_eq!(receive(&mut fast, 1).await, [6001]);
    let expected = without_sevenths(11..=6001);
    received.extend(receive(&mut follower, expected.len() - received.len()).await);

    assert_eq!(received, expected);
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

    let past = receive(&mut follower, 2).await;
    sleep(Duration::from_secs(1)).await;
    assert!(is_idle(&mut follower));
    numbers.append(ONE, 505..=510);
    numbers.append(OTHER, [512]);
    let live = receive(&mut follower, 1).await;

    assert_eq!((past, live), (vec![501, 502], vec![512]));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_for_a_while_delays_events() {
    let Running { numbers, feed, .. } = &running();
    let mut follower = feed.follow(None, None).await.unwrap();
    numbers.stored().is_down = true;
    numbers.append(ONE, [1]);
    sleep(Duration::from_secs(5)).await;
    assert!(feed.follow(None, None).await.is_err());
    assert!(follower.next().now_or_never().is_none());

    numbers.stored().is_down = false;

    assert_eq!(receive(&mut follower, 1).await, [1]);
    assert_eq!(feed.followers(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_loses_no_event() {
    let Running { numbers, feed, .. } = &running();
    let mut follower = feed.follow(None, None).await.unwrap();
    let mut received = vec![];
    for n in 1..=300 {
        numbers.append(ONE, [n]);
        sleep(Duration::from_millis(n.cast_unsigned() % 9)).await;
        if let Some(Ok(Update::Events(events))) = follower.next().now_or_never() {
            received.extend(events);
        }
    }
    let expected = without_sevenths(1..=300);
    let rest = expected.len() - received.len();

    received.extend(receive(&mut follower, rest).await);

    assert_eq!(received, expected);
}

#[tokio::test(start_paused = true)]
async fn a_feed_without_followers_does_not_query_the_store() {
    let Running { numbers, feed, .. } = &running();
    let mut follower = feed.follow(None, None).await.unwrap();
    numbers.append(ONE, [1]);
    assert_eq!(receive(&mut follower, 1).await, [1]);
    drop(follower);
    sleep(Duration::from_secs(1)).await;
    let queries = numbers.stored().queries;

    sleep(Duration::from_hours(1)).await;

    assert_eq!(numbers.stored().queries, queries);
    numbers.append(ONE, [2]);
    let mut again = feed.follow(Some(Position::new(1)), None).await.unwrap();
    assert_eq!(receive(&mut again, 1).await, [2]);
}

#[tokio::test(start_paused = true)]
async fn large_events_are_delivered_a_few_at_a_time() {
    let Running { numbers, feed, .. } = &running();
    numbers.append(ONE, LARGE + 1..=LARGE + 300);
    let mut behind = feed.follow(Some(Position::ZERO), None).await.unwrap();
    let mut live = feed.follow(None, None).await.unwrap();
    assert!(live.next().now_or_never().is_none());
    sleep(Duration::from_secs(1)).await;
    numbers.append(ONE, LARGE + 301..=LARGE + 320);

    for (follower, expected) in [(&mut behind, 1..=320), (&mut live, 301..=320)] {
        let expected = without_sevenths(expected.map(|n| LARGE + n));
        let (mut received, mut chunks) = (vec![], vec![]);
        while received.len() < expected.len() {
            let Update::Events(events) = next(follower).await else {
                panic!("no resync is expected");
            };
            chunks.push(events.len());
            received.extend(events);
        }
        assert_eq!(received, expected);
        assert!(chunks.iter().all(|count| *count <= 4), "{chunks:?}");
    }
}
