//! A store that was restored to an earlier point: which followers resync, and what they see.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_follower_ahead_of_the_store_resyncs_once() {
    let Running { numbers, feed, .. } = &running();
    numbers.append(ONE, 1..=3);
    let mut follower = feed.follow(Some(Position::new(9)), None).await.unwrap();

    let first = next(&mut follower).await;
    numbers.append(ONE, [4]);

    assert_eq!(first, Update::Resync(Position::new(3)));
    assert_eq!(receive(&mut follower, 1).await, [4]);
}

#[tokio::test(start_paused = true)]
async fn a_rewound_store_makes_followers_resync() {
    let Running { numbers, feed, .. } = &running();
    numbers.append(ONE, 1..=3);
    let mut follower = feed.follow(None, None).await.unwrap();
    numbers.append(ONE, 4..=6);
    assert_eq!(receive(&mut follower, 3).await, [4, 5, 6]);

    numbers.stored().events.truncate(2);

    assert_eq!(next(&mut follower).await, Update::Resync(Position::new(2)));
    numbers.append(ONE, [3, 4]);
    assert_eq!(receive(&mut follower, 2).await, [3, 4]);
}

#[tokio::test(start_paused = true)]
async fn events_buffered_for_earlier_followers_are_not_shown_after_a_rewind() {
    let Running { numbers, feed, .. } = &running();
    let mut follower = feed.follow(None, None).await.unwrap();
    for n in 1..=3 {
        numbers.append(ONE, [n]);
        assert_eq!(receive(&mut follower, 1).await, [n]);
    }
    drop(follower);
    sleep(Duration::from_secs(1)).await;

    numbers.stored().events.truncate(1);
    numbers.append(OTHER, 2..=4);

    let mut follower = feed
        .follow(Some(Position::new(1)), Some(OTHER))
        .await
        .unwrap();
    assert_eq!(receive(&mut follower, 3).await, [2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_joins_before_a_rewind_is_noticed_sees_the_events_after_it() {
    let running = running();
    let Running { numbers, feed, .. } = &running;
    let mut early = live_follower(&running, 500).await;

    numbers.stored().events.truncate(50);
    let mut late = feed.follow(None, None).await.unwrap();
    numbers.append(OTHER, 51..=53);

    assert_eq!(receive(&mut late, 3).await, [51, 52, 53]);
    assert_eq!(next(&mut early).await, Update::Resync(Position::new(50)));
    assert_eq!(receive(&mut early, 3).await, [51, 52, 53]);
}

#[tokio::test(start_paused = true)]
async fn a_rewind_without_followers_makes_no_later_follower_resync() {
    let running = running();
    let Running { numbers, feed, .. } = &running;
    drop(live_follower(&running, 100).await);
    sleep(Duration::from_secs(1)).await;

    numbers.stored().events.truncate(50);
    let mut live = feed.follow(None, None).await.unwrap();
    let mut ahead = feed.follow(Some(Position::new(100)), None).await.unwrap();
    assert!(live.next().now_or_never().is_none());
    numbers.append(OTHER, [51]);

    assert_eq!(receive(&mut live, 1).await, [51]);
    assert_eq!(next(&mut ahead).await, Update::Resync(Position::new(50)));
    assert_eq!(receive(&mut ahead, 1).await, [51]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_before_a_rewind_is_not_shown() {
    let running = running();
    let Running { numbers, feed, .. } = &running;
    let _early = live_follower(&running, 100).await;
    let gate = Arc::new(Semaphore::new(0));
    numbers.stored().gate = Some(Arc::clone(&gate));
    numbers.append(ONE, [101]);
    sleep(Duration::from_millis(500)).await;

    numbers.stored().gate = None;
    numbers.stored().events.truncate(50);
    let mut late = feed.follow(None, None).await.unwrap();
    gate.add_permits(1);
    sleep(Duration::from_millis(1)).await;
    numbers.append(OTHER, [51]);

    assert_eq!(receive(&mut late, 1).await, [51]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_older_than_the_feed_is_not_a_rewind() {
    let running = running();
    let Running { numbers, feed, .. } = &running;
    let mut early = live_follower(&running, 100).await;
    let gate = Arc::new(Semaphore::new(0));
    numbers.stored().gate = Some(Arc::clone(&gate));
    let mut joining = pin!(feed.follow(None, None));
    assert!(joining.as_mut().now_or_never().is_none());

    numbers.stored().gate = None;
    numbers.append(ONE, [101]);
    assert_eq!(receive(&mut early, 1).await, [101]);
    gate.add_permits(1);
    let mut late = joining.await.unwrap();
    numbers.append(ONE, [102]);

    assert_eq!(receive(&mut early, 1).await, [102]);
    assert_eq!(receive(&mut late, 2).await, [101, 102]);
}
