//! The projection applies every event once and in order, whatever happens to stream and server.

use std::sync::atomic::Ordering;

use orders::{event_sourcing::Position, nats::subscriber::SubscriberStep};

use super::support::{
    FixedLease, NatsServer, RecordingProjection, TestStore, drain, eventually, relay, run_relay,
    run_subscriber, subscriber,
};

#[tokio::test]
async fn events_are_applied_once_and_in_order_while_the_server_is_killed() {
    let mut server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(3000, 100);
    let projection = RecordingProjection::new(&store);
    let relay = run_relay(server.stream().await, &store);
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
async fn events_are_applied_from_the_checkpoint_on() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(700, 10);

    for applied in [0, 1, 350, 699, 700] {
        let projection = RecordingProjection::with_applied(&store, applied);
        let running = run_subscriber(stream.clone(), &projection);
        projection.caught_up().await;
        running.stop().await;
    }
}

#[tokio::test]
async fn forged_messages_change_nothing_and_stop_nothing() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(10, 10);
    drain(&mut relay(stream.clone(), &store, Position::ZERO)).await;
    let projection = RecordingProjection::new(&store);
    let running = run_subscriber(stream.clone(), &projection);
    projection.caught_up().await;

    for position in ["1", "11", "9223372036854775807", "-1", "nonsense"] {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Event-Position", position);
        headers.insert("Event-Id", "00000000-0000-0000-0000-000000000001");
        let body = r#"{"type": "OrderCreated", "data": {}}"#;
        for _ in 0..20 {
            let sent = stream.context().publish_with_headers(
                "events.Order.OrderCreated",
                headers.clone(),
                body.into(),
            );
            sent.await.unwrap().await.unwrap();
        }
        store.append(3, 10);
        projection.caught_up().await;
    }

    running.stop().await;
}

#[tokio::test]
async fn events_are_applied_while_nats_is_away() {
    let mut server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    let projection = RecordingProjection::new(&store);
    let running = run_subscriber(stream.clone(), &projection);
    server.kill();

    for _ in 0..3 {
        store.append(5, 10);
        projection.caught_up().await;
    }

    running.stop().await;
}

#[tokio::test]
async fn a_checkpoint_beyond_the_end_of_the_store_is_never_waited_for() {
    let server = NatsServer::start();
    let store = TestStore::default();
    store.append(5, 10);
    let projection = RecordingProjection::beyond(&store);
    let running = run_subscriber(server.stream().await, &projection);

    projection.caught_up().await;
    assert_eq!(projection.rebuilds.load(Ordering::SeqCst), 1);

    store.append(5, 10);
    projection.caught_up().await;
    running.stop().await;
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
async fn a_purged_or_deleted_stream_does_not_disturb_the_projection() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(50, 10);
    let projection = RecordingProjection::new(&store);
    let relay = run_relay(server.stream().await, &store);
    let subscriber = run_subscriber(stream.clone(), &projection);
    projection.caught_up().await;

    for round in 0..4 {
        eventually("the stream exists", async || {
            matches!(stream.state().await, Ok(Some(_)))
        })
        .await;
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
    let mut subscriber = subscriber(stream, &projection, lease.clone());

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
