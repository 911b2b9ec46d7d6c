//! The stream holds each event once and in order when servers, streams and leases fail.

use std::sync::{Arc, Mutex, atomic::Ordering};

use orders::{
    event_sourcing::Position,
    nats::{Relay, RelayPorts, RelayReport, message::Encoding, window},
};

use super::support::{
    FixedLease, NatsServer, TTL, TestStore, drain, eventually, filled, ports, published, relay,
    run, run_relay,
};

#[tokio::test]
async fn a_killed_server_that_kept_its_store_gets_each_event_once() {
    let mut server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(4000, 100);
    let running = run_relay(stream.clone(), &store);

    for part in 1..=3 {
        eventually("a part is published", async || {
            stream
                .state()
                .await
                .is_ok_and(|state| state.is_some_and(|state| state.last_sequence > part * 500))
        })
        .await;
        server.kill();
        store.append(10, 100);
        server.restart();
    }

    filled(&stream, &store).await;
    running.stop().await;
}

#[tokio::test]
async fn a_killed_server_that_lost_its_store_is_filled_again() {
    let mut server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(1000, 100);
    let running = run_relay(stream.clone(), &store);
    filled(&stream, &store).await;

    server.kill();
    store.append(10, 100);
    server.restart_empty();

    filled(&stream, &store).await;
    running.stop().await;
}

#[tokio::test]
async fn a_deleted_stream_is_filled_again_without_a_new_event() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(20, 100);
    let running = run_relay(stream.clone(), &store);
    filled(&stream, &store).await;

    stream.context().delete_stream("EVENTS").await.unwrap();

    filled(&stream, &store).await;
    running.stop().await;
}

/// The database forgets the position when it counts the new stream: without a report it would seem to be
/// empty.
#[tokio::test]
async fn a_stream_that_is_made_again_is_reported_again() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(20, 100);
    let reports = Arc::new(Mutex::new(vec![]));
    let log = Arc::clone(&reports);
    let ports = RelayPorts {
        report: Arc::new(move |report: RelayReport, _| {
            log.lock().unwrap().push(report);
            Box::pin(async { Ok(true) })
        }),
        ..ports(Position::ZERO)
    };
    let last = store.positions().last().copied();
    let times_reported = || {
        let reports = reports.lock().unwrap();
        reports
            .iter()
            .filter(|report| report.position.map(Position::get) == last)
            .count()
    };
    let running = run(Relay::new(
        stream.clone(),
        store.clone(),
        FixedLease::held(),
        ports,
    ));
    eventually("it is reported", async || times_reported() == 1).await;

    stream.context().delete_stream("EVENTS").await.unwrap();

    eventually("it is reported again", async || times_reported() == 2).await;
    running.stop().await;
}

#[tokio::test]
async fn two_relays_that_both_hold_the_lease_publish_nothing_twice() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    let one = run_relay(server.stream().await, &store);
    let other = run_relay(server.stream().await, &store);

    for _ in 0..40 {
        store.append(25, 50);
        let count = store.positions().len() as u64;
        eventually("the appended events are published", async || {
            let state = stream.state().await.ok().flatten();
            state.is_some_and(|state| state.last_sequence >= count)
        })
        .await;
    }

    filled(&stream, &store).await;
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_relay_with_a_stale_cursor_publishes_nothing_twice() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    let mut stale = relay(server.stream().await, &store, Position::ZERO);
    store.append(5, 10);
    drain(&mut stale).await;
    store.append(5, 10);
    drain(&mut relay(server.stream().await, &store, Position::ZERO)).await;

    drain(&mut stale).await;
    store.append(5, 10);
    drain(&mut stale).await;

    filled(&stream, &store).await;
}

#[tokio::test]
async fn a_relay_without_the_lease_publishes_nothing() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(5, 10);
    let lease = FixedLease::held();
    let ports = ports(Position::ZERO);
    let mut relay = Relay::new(stream.clone(), store.clone(), lease.clone(), ports);
    drain(&mut relay).await;

    lease.epoch.store(0, Ordering::SeqCst);
    store.append(5, 10);
    let lease_end = tokio::time::Instant::now() + TTL;
    eventually("the lease must be renewed", async || {
        tokio::time::Instant::now() > lease_end
    })
    .await;
    assert_eq!(relay.run_once().await.unwrap(), 0);
    assert_eq!(published(&stream).await.len(), 5);

    lease.epoch.store(2, Ordering::SeqCst);
    eventually("the relay continues with the lease", async || {
        relay.run_once().await.is_ok_and(|published| published > 0)
    })
    .await;
    filled(&stream, &store).await;
}

#[tokio::test]
async fn a_purged_stream_is_filled_from_the_last_report_on() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(10, 10);
    // The report is written once a second at most, so it may be behind.
    let reported = Position::new(store.positions()[6]);
    let running = run(relay(stream.clone(), &store, reported));
    filled(&stream, &store).await;

    stream.handle().await.unwrap().purge().await.unwrap();

    let rest = store.positions()[7..].to_vec();
    eventually(
        "the events after the report are published again",
        async || published(&stream).await == rest,
    )
    .await;
    running.stop().await;
}

#[tokio::test]
async fn messages_that_are_not_events_and_deleted_messages_do_not_stop_the_relay() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(10, 10);
    let running = run_relay(stream.clone(), &store);
    filled(&stream, &store).await;

    for _ in 0..3 {
        let sent = stream
            .context()
            .publish("events.Order.Nonsense", "hello".into());
        sent.await.unwrap().await.unwrap();
    }
    store.append(10, 10);
    filled(&stream, &store).await;
    let last = stream.last().await.unwrap().unwrap().sequence;
    let handle = stream.handle().await.unwrap();
    handle.delete_message(last).await.unwrap();
    handle.delete_message(last - 1).await.unwrap();

    filled(&stream, &store).await;
    running.stop().await;
}

#[tokio::test]
async fn a_window_behind_unexpected_messages_is_refused_whole() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    let mut relay = relay(stream.clone(), &store, Position::ZERO);
    store.append(10, 10);
    drain(&mut relay).await;
    for _ in 0..3 {
        let sent = stream
            .context()
            .publish("events.Order.Nonsense", "hello".into());
        sent.await.unwrap().await.unwrap();
    }
    store.append(10, 10);

    // On a slow machine the step may check the stream's end first, and publish everything.
    let has_published_all = relay.run_once().await.is_ok();

    let expected = if has_published_all { 20 } else { 10 };
    assert_eq!(published(&stream).await, store.positions()[..expected]);
    drain(&mut relay).await;
    filled(&stream, &store).await;
}

#[tokio::test]
async fn the_relay_waits_for_a_server_that_starts_late() {
    let mut server = NatsServer::start();
    server.kill();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(10, 10);
    let running = run_relay(stream.clone(), &store);

    server.restart_empty();

    filled(&stream, &store).await;
    running.stop().await;
}

#[tokio::test]
async fn a_relay_that_stops_gives_its_lease_back() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(10, 10);
    let lease = FixedLease::held();
    let ports = ports(Position::ZERO);
    let running = run(Relay::new(
        stream.clone(),
        store.clone(),
        lease.clone(),
        ports,
    ));
    filled(&stream, &store).await;

    running.stop().await;

    assert_eq!(lease.epoch.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_window_with_a_refused_message_in_the_middle_counts_as_failed() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(1, 10);
    drain(&mut relay(stream.clone(), &store, Position::ZERO)).await;
    let handle = stream.context().get_stream("EVENTS").await.unwrap();
    let mut config = handle.cached_info().config.clone();
    config.max_message_size = 1500;
    stream.context().update_stream(config).await.unwrap();
    store.append(2, 10);
    store.append(1, 3000);
    store.append(2, 10);

    let later = store.events().into_iter().skip(1).map(Arc::new);
    let encoding = Encoding {
        prefix: "events",
        max_payload: usize::MAX,
        href: |_| String::new(),
    };
    let window = window::encode(encoding, later).unwrap();
    let refused = window::publish(&stream, 1, window).await;

    assert!(refused.is_err());
    // The messages after the refused one are refused as well, and published again.
    assert_eq!(published(&stream).await, store.positions()[..3]);
    drain(&mut relay(stream.clone(), &store, Position::ZERO)).await;
    assert_eq!(published(&stream).await, store.positions());
}
