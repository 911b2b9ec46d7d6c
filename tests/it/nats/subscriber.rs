//! The projection applies every event once and in order, whatever happens to stream and server.

use std::sync::atomic::Ordering;

use orders::{
    event_sourcing::{EventStore, Position},
    nats::{EventStream, Subscriber, subscriber::SubscriberStep},
};

use super::support::{
    FixedLease, NatsServer, RecordingProjection, TTL, TestStore, drain, eventually, filled, relay,
    run_relay, run_subscriber, stream_check,
};

#[tokio::test]
async fn events_are_applied_once_and_in_order_while_the_server_is_killed() {
    let mut server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(3000, 100);
    let projection = RecordingProjection::new(&store);
    let relay = run_relay(server.stream().await, &store, &projection);
    let subscriber = run_subscriber(stream.clone(), &projection);

    for part in 1..=3 {
        eventually("a part is applied", async || {
            projection.applied().len() > part * 300
        })
        .await;
        server.kill();
        store.append(10, 100);
        server.restart();
    }
    projection.caught_up().await;
    server.kill();
    store.append(10, 100);
    server.restart_empty();

    projection.caught_up().await;
    subscriber.stop().await;
    relay.stop().await;
}

#[tokio::test]
async fn a_consumer_starts_at_the_checkpoint() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(700, 10);
    drain(&mut relay(stream.clone(), &store, Position::ZERO)).await;

    for applied in [0, 1, 350, 699] {
        let projection = RecordingProjection::with_applied(&store, applied);
        let running = run_subscriber(stream.clone(), &projection);
        projection.caught_up().await;
        running.stop().await;

        assert_eq!(projection.delivered.load(Ordering::SeqCst), 700 - applied);
    }
}

#[tokio::test]
async fn messages_that_are_not_events_and_deleted_messages_are_skipped() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(10, 10);
    drain(&mut relay(stream.clone(), &store, Position::ZERO)).await;
    for _ in 0..5 {
        let sent = stream
            .context()
            .publish("events.Order.Nonsense", "hello".into());
        sent.await.unwrap().await.unwrap();
    }
    store.append(10, 10);
    drain(&mut relay(stream.clone(), &store, Position::ZERO)).await;
    let handle = stream.handle().await.unwrap();
    for sequence in [3, 8, 9, 12, 19] {
        handle.delete_message(sequence).await.unwrap();
    }

    for applied in 0..20 {
        let projection = RecordingProjection::with_applied(&store, applied);
        let running = run_subscriber(stream.clone(), &projection);
        projection.caught_up().await;
        running.stop().await;
    }
}

#[tokio::test]
async fn a_failing_projection_is_retried_from_its_checkpoint() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(50, 10);
    drain(&mut relay(stream.clone(), &store, Position::ZERO)).await;
    let projection = RecordingProjection::new(&store);
    projection.failures.store(3, Ordering::SeqCst);
    let running = run_subscriber(stream.clone(), &projection);

    projection.caught_up().await;

    running.stop().await;
}

#[tokio::test]
async fn a_purged_or_deleted_stream_is_read_from_the_checkpoint_again() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(50, 10);
    let projection = RecordingProjection::new(&store);
    let relay = run_relay(server.stream().await, &store, &projection);
    let subscriber = run_subscriber(stream.clone(), &projection);
    projection.caught_up().await;

    for round in 0..4 {
        if round % 2 == 0 {
            stream.handle().await.unwrap().purge().await.unwrap();
        } else {
            stream.context().delete_stream("EVENTS").await.unwrap();
        }
        store.append(10, 10);
        projection.caught_up().await;
    }

    subscriber.stop().await;
    relay.stop().await;
}

#[tokio::test]
async fn a_deleted_consumer_is_replaced() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(5, 10);
    let projection = RecordingProjection::new(&store);
    let mut relay = relay(server.stream().await, &store, Position::ZERO);
    drain(&mut relay).await;
    let subscriber = run_subscriber(stream.clone(), &projection);
    projection.caught_up().await;

    let handle = stream.handle().await.unwrap();
    let mut names = std::pin::pin!(handle.consumer_names());
    while let Some(name) = futures::StreamExt::next(&mut names).await {
        handle.delete_consumer(&name.unwrap()).await.unwrap();
    }
    store.append(5, 10);
    drain(&mut relay).await;

    projection.caught_up().await;
    subscriber.stop().await;
}

#[tokio::test]
async fn a_subscriber_without_the_lease_stands_by() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(5, 10);
    drain(&mut relay(stream.clone(), &store, Position::ZERO)).await;
    let (projection, lease) = (RecordingProjection::new(&store), FixedLease::held());
    lease.epoch.store(0, Ordering::SeqCst);
    let check = stream_check(&stream, &store);
    let mut subscriber = Subscriber::new(stream, check, projection.clone(), lease.clone(), TTL);

    assert_eq!(
        subscriber.run_once().await.unwrap(),
        SubscriberStep::Standby
    );
    lease.epoch.store(1, Ordering::SeqCst);
    eventually("the subscriber applies", async || {
        matches!(subscriber.run_once().await, Ok(SubscriberStep::Applied(_)))
    })
    .await;

    projection.caught_up().await;
}

#[tokio::test]
async fn a_quiet_stream_keeps_its_consumer() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(5, 10);
    drain(&mut relay(stream.clone(), &store, Position::ZERO)).await;
    filled(&stream, &store).await;
    let handle = stream.handle().await.unwrap();
    // A deleted message never arrives.
    handle.delete_message(5).await.unwrap();
    let projection = RecordingProjection::new(&store);
    let check = stream_check(&stream, &store);
    let mut subscriber = Subscriber::new(
        stream.clone(),
        check,
        projection.clone(),
        FixedLease::held(),
        TTL,
    );

    let mut idle = 0;
    eventually("five idle steps", async || {
        idle += usize::from(matches!(
            subscriber.run_once().await,
            Ok(SubscriberStep::Idle)
        ));
        idle == 5
    })
    .await;

    // The first one, and its replacement when the deleted message did not arrive.
    let consumers = stream.context().get_stream("EVENTS").await.unwrap();
    assert!(consumers.cached_info().state.consumer_count <= 2);
    assert_eq!(
        store
            .read_all(projection.position(), 10)
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn large_events_are_applied() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(60, 400_000);
    store.append(300, 10);
    store.append(20, 900_000);
    drain(&mut relay(stream.clone(), &store, Position::ZERO)).await;
    let projection = RecordingProjection::new(&store);
    let running = run_subscriber(stream.clone(), &projection);

    projection.caught_up().await;

    assert_eq!(projection.delivered.load(Ordering::SeqCst), 380);
    running.stop().await;
}

#[tokio::test]
async fn messages_that_the_client_dropped_are_read_again() {
    let server = NatsServer::start();
    let store = TestStore::default();
    store.append(100, 10);
    drain(&mut relay(server.stream().await, &store, Position::ZERO)).await;
    // It requests more messages than its buffer holds.
    let client = async_nats::ConnectOptions::new()
        .subscription_capacity(40)
        .connect(server.options().url)
        .await
        .unwrap();
    let projection = RecordingProjection::new(&store);
    let running = run_subscriber(EventStream::new(client, server.options()), &projection);

    projection.caught_up().await;

    running.stop().await;
}
