//! The projection gets every event once and in order, whatever happens to stream and server.

use std::sync::atomic::Ordering;

use orders::{
    event_sourcing::{EventStore, Position},
    nats::{EventStream, Subscriber, subscriber::Step},
};

use super::support::{
    Gift, Ledger, Log, NatsServer, TTL, drain, eventually, filled, relay, run_relay,
    run_subscriber, vouch,
};

#[tokio::test]
async fn events_are_applied_once_and_in_order_while_the_server_is_killed() {
    let mut server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(3000, 100);
    let ledger = Ledger::new(&log);
    let relay = run_relay(server.stream().await, &log, &ledger);
    let subscriber = run_subscriber(stream.clone(), &ledger);

    for part in 1..=3 {
        eventually("a part is applied", async || {
            ledger.applied().len() > part * 300
        })
        .await;
        server.kill();
        log.append(10, 100);
        server.restart();
    }
    ledger.caught_up().await;
    server.kill();
    log.append(10, 100);
    server.restart_empty();

    ledger.caught_up().await;
    subscriber.stop().await;
    relay.stop().await;
}

#[tokio::test]
async fn a_consumer_starts_at_the_checkpoint() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(700, 10);
    drain(&mut relay(stream.clone(), &log, Position::ZERO)).await;

    for applied in [0, 1, 350, 699] {
        let ledger = Ledger::having_applied(&log, applied);
        let running = run_subscriber(stream.clone(), &ledger);
        ledger.caught_up().await;
        running.stop().await;

        assert_eq!(ledger.delivered.load(Ordering::SeqCst), 700 - applied);
    }
}

#[tokio::test]
async fn foreign_and_deleted_messages_are_no_obstacle() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(10, 10);
    drain(&mut relay(stream.clone(), &log, Position::ZERO)).await;
    for _ in 0..5 {
        let sent = stream
            .context()
            .publish("events.Order.Nonsense", "hello".into());
        sent.await.unwrap().await.unwrap();
    }
    log.append(10, 10);
    drain(&mut relay(stream.clone(), &log, Position::ZERO)).await;
    let handle = stream.handle().await.unwrap();
    for sequence in [3, 8, 9, 12, 19] {
        handle.delete_message(sequence).await.unwrap();
    }

    for applied in 0..20 {
        let ledger = Ledger::having_applied(&log, applied);
        let running = run_subscriber(stream.clone(), &ledger);
        ledger.caught_up().await;
        running.stop().await;
    }
}

#[tokio::test]
async fn a_failing_projection_is_tried_again_from_its_checkpoint() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(50, 10);
    drain(&mut relay(stream.clone(), &log, Position::ZERO)).await;
    let ledger = Ledger::new(&log);
    ledger.failures.store(3, Ordering::SeqCst);
    let running = run_subscriber(stream.clone(), &ledger);

    ledger.caught_up().await;

    running.stop().await;
}

#[tokio::test]
async fn a_purged_or_deleted_stream_is_noticed() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(50, 10);
    let ledger = Ledger::new(&log);
    let relay = run_relay(server.stream().await, &log, &ledger);
    let subscriber = run_subscriber(stream.clone(), &ledger);
    ledger.caught_up().await;

    for round in 0..4 {
        if round % 2 == 0 {
            stream.handle().await.unwrap().purge().await.unwrap();
        } else {
            stream.context().delete_stream("EVENTS").await.unwrap();
        }
        log.append(10, 10);
        ledger.caught_up().await;
    }

    subscriber.stop().await;
    relay.stop().await;
}

#[tokio::test]
async fn a_consumer_that_was_deleted_is_made_again() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(5, 10);
    let ledger = Ledger::new(&log);
    let mut relay = relay(server.stream().await, &log, Position::ZERO);
    drain(&mut relay).await;
    let subscriber = run_subscriber(stream.clone(), &ledger);
    ledger.caught_up().await;

    let handle = stream.handle().await.unwrap();
    let mut names = std::pin::pin!(handle.consumer_names());
    while let Some(name) = futures::StreamExt::next(&mut names).await {
        handle.delete_consumer(&name.unwrap()).await.unwrap();
    }
    log.append(5, 10);
    drain(&mut relay).await;

    ledger.caught_up().await;
    subscriber.stop().await;
}

#[tokio::test]
async fn a_subscriber_without_the_lease_stands_by() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(5, 10);
    drain(&mut relay(stream.clone(), &log, Position::ZERO)).await;
    let (ledger, lease) = (Ledger::new(&log), Gift::held());
    lease.0.store(0, Ordering::SeqCst);
    let vouch = vouch(&stream, &log);
    let mut subscriber = Subscriber::new(stream, vouch, ledger.clone(), lease.clone(), TTL);

    assert_eq!(subscriber.run_once().await.unwrap(), Step::Standby);
    lease.0.store(1, Ordering::SeqCst);
    eventually("the subscriber applies", async || {
        matches!(subscriber.run_once().await, Ok(Step::Applied(_)))
    })
    .await;

    ledger.caught_up().await;
}

#[tokio::test]
async fn a_quiet_stream_keeps_its_consumer() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(5, 10);
    drain(&mut relay(stream.clone(), &log, Position::ZERO)).await;
    filled(&stream, &log).await;
    let handle = stream.handle().await.unwrap();
    // Deleted, so that it will never arrive.
    handle.delete_message(5).await.unwrap();
    let ledger = Ledger::new(&log);
    let vouch = vouch(&stream, &log);
    let mut subscriber = Subscriber::new(stream.clone(), vouch, ledger.clone(), Gift::held(), TTL);

    let mut idle = 0;
    eventually("a few silent looks", async || {
        idle += usize::from(matches!(subscriber.run_once().await, Ok(Step::Idle)));
        idle == 5
    })
    .await;

    // One from the start, one more once the deleted message was found not to arrive.
    let consumers = stream.context().get_stream("EVENTS").await.unwrap();
    assert!(consumers.cached_info().state.consumer_count <= 2);
    assert_eq!(log.read_all(ledger.position(), 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn large_events_are_applied() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(60, 400_000);
    log.append(300, 10);
    log.append(20, 900_000);
    drain(&mut relay(stream.clone(), &log, Position::ZERO)).await;
    let ledger = Ledger::new(&log);
    let running = run_subscriber(stream.clone(), &ledger);

    ledger.caught_up().await;

    assert_eq!(ledger.delivered.load(Ordering::SeqCst), 380);
    running.stop().await;
}

#[tokio::test]
async fn messages_that_were_dropped_on_arrival_are_fetched_again() {
    let server = NatsServer::start();
    let log = Log::default();
    log.append(100, 10);
    drain(&mut relay(server.stream().await, &log, Position::ZERO)).await;
    // Asks for more messages than it has room for.
    let client = async_nats::ConnectOptions::new()
        .subscription_capacity(40)
        .connect(server.options().url)
        .await
        .unwrap();
    let ledger = Ledger::new(&log);
    let running = run_subscriber(EventStream::new(client, server.options()), &ledger);

    ledger.caught_up().await;

    running.stop().await;
}
