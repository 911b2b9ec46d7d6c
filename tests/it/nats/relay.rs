//! The stream holds each event once and in order, whatever happens.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use orders::{
    event_sourcing::{Position, RecordedEvent},
    nats::{Relay, RelayPorts, message::decode, window},
};
use uuid::Uuid;

use super::support::{
    Gift, Ledger, Log, NatsServer, TTL, drain, eventually, filled, messages, ports, published,
    relay, run, run_relay,
};

#[tokio::test]
async fn events_arrive_in_position_order_with_their_headers_and_bodies() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(1203, 10);

    drain(&mut relay(stream.clone(), &log, Position::ZERO)).await;

    let messages = messages(&stream).await;
    let mut previous = Position::ZERO;
    for (message, event) in messages.iter().zip(log.events()) {
        let delivery = decode(Some(&message.headers), &message.payload).unwrap();
        assert_eq!(message.subject.as_str(), "events.Order.OrderNoted");
        assert_eq!(delivery.previous, previous);
        assert_eq!(delivery.event.position, event.position);
        assert_eq!(delivery.event.event_id, event.event_id);
        assert_eq!(delivery.event.data.get(), event.data.get());
        previous = event.position;
    }
    assert_eq!(messages.len(), 1203);
}

#[tokio::test]
async fn events_are_lifted_before_they_are_published() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(1, 10);
    let ports = RelayPorts {
        lift: Arc::new(|mut event| {
            event.schema_version = 9;
            event
        }),
        ..ports(Position::ZERO)
    };

    drain(&mut Relay::new(stream.clone(), log, Gift::held(), ports)).await;

    let message = stream.last().await.unwrap().unwrap();
    let delivery = decode(Some(&message.headers), &message.payload).unwrap();
    assert_eq!(delivery.event.schema_version, 9);
}

#[tokio::test]
async fn large_events_pass_in_small_windows() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(40, 400_000);
    log.append(40, 10);

    drain(&mut relay(stream.clone(), &log, Position::ZERO)).await;

    filled(&stream, &log).await;
}

#[tokio::test]
async fn a_killed_server_that_kept_its_store_gets_each_event_once() {
    let mut server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(4000, 100);
    let running = run_relay(stream.clone(), &log, &Ledger::new(&log));

    for part in 1..=3 {
        eventually("a part is published", async || {
            stream
                .state()
                .await
                .is_ok_and(|state| state.is_some_and(|state| state.last_sequence > part * 500))
        })
        .await;
        server.kill();
        log.append(10, 100);
        server.restart();
    }

    filled(&stream, &log).await;
    running.stop().await;
}

#[tokio::test]
async fn a_killed_server_that_lost_its_store_is_filled_again() {
    let mut server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(1000, 100);
    let running = run_relay(stream.clone(), &log, &Ledger::new(&log));
    filled(&stream, &log).await;

    server.kill();
    log.append(10, 100);
    server.restart_empty();

    filled(&stream, &log).await;
    running.stop().await;
}

#[tokio::test]
async fn a_deleted_stream_is_filled_again_without_a_new_event() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(20, 100);
    let running = run_relay(stream.clone(), &log, &Ledger::new(&log));
    filled(&stream, &log).await;

    stream.context().delete_stream("EVENTS").await.unwrap();

    filled(&stream, &log).await;
    running.stop().await;
}

#[tokio::test]
async fn two_relays_that_both_believe_to_hold_the_lease_double_nothing() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    let ledger = Ledger::new(&log);
    let one = run_relay(server.stream().await, &log, &ledger);
    let other = run_relay(server.stream().await, &log, &ledger);

    for _ in 0..40 {
        log.append(25, 50);
        let so_far = log.positions().len() as u64;
        eventually("what was appended is published", async || {
            let state = stream.state().await.ok().flatten();
            state.is_some_and(|state| state.last_sequence >= so_far)
        })
        .await;
    }

    filled(&stream, &log).await;
    one.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_relay_with_a_stale_cursor_publishes_nothing_twice() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    let mut stale = relay(server.stream().await, &log, Position::ZERO);
    log.append(5, 10);
    drain(&mut stale).await;
    log.append(5, 10);
    drain(&mut relay(server.stream().await, &log, Position::ZERO)).await;

    drain(&mut stale).await;
    log.append(5, 10);
    drain(&mut stale).await;

    filled(&stream, &log).await;
}

#[tokio::test]
async fn a_relay_without_the_lease_publishes_nothing() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(5, 10);
    let lease = Gift::held();
    let ports = ports(Position::ZERO);
    let mut relay = Relay::new(stream.clone(), log.clone(), lease.clone(), ports);
    drain(&mut relay).await;

    lease.0.store(0, Ordering::SeqCst);
    log.append(5, 10);
    let lost = tokio::time::Instant::now() + TTL;
    eventually("the lease is asked for again", async || {
        tokio::time::Instant::now() > lost
    })
    .await;
    assert_eq!(relay.run_once().await.unwrap(), 0);
    assert_eq!(published(&stream).await.len(), 5);

    lease.0.store(2, Ordering::SeqCst);
    eventually("the relay goes on with the lease", async || {
        relay.run_once().await.is_ok_and(|published| published > 0)
    })
    .await;
    filled(&stream, &log).await;
}

#[tokio::test]
async fn a_purged_stream_is_filled_from_the_checkpoint_on() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(10, 10);
    let ledger = Ledger::having_applied(&log, 7);
    let running = run_relay(stream.clone(), &log, &ledger);
    filled(&stream, &log).await;

    stream.handle().await.unwrap().purge().await.unwrap();

    let rest = log.positions()[7..].to_vec();
    eventually("the rest is there again", async || {
        published(&stream).await == rest
    })
    .await;
    let first = &messages(&stream).await[0];
    let first = decode(Some(&first.headers), &first.payload).unwrap();
    assert_eq!(first.previous, ledger.position());
    running.stop().await;
}

#[tokio::test]
async fn foreign_and_deleted_messages_at_the_end_do_not_stop_the_relay() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(10, 10);
    let running = run_relay(stream.clone(), &log, &Ledger::new(&log));
    filled(&stream, &log).await;

    for _ in 0..3 {
        let sent = stream
            .context()
            .publish("events.Order.Nonsense", "hello".into());
        sent.await.unwrap().await.unwrap();
    }
    log.append(10, 10);
    filled(&stream, &log).await;
    let last = stream.last().await.unwrap().unwrap().sequence;
    let handle = stream.handle().await.unwrap();
    handle.delete_message(last).await.unwrap();
    handle.delete_message(last - 1).await.unwrap();

    filled(&stream, &log).await;
    running.stop().await;
}

#[tokio::test]
async fn a_window_behind_unexpected_messages_is_refused_whole() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    let mut relay = relay(stream.clone(), &log, Position::ZERO);
    log.append(10, 10);
    drain(&mut relay).await;
    for _ in 0..3 {
        let sent = stream
            .context()
            .publish("events.Order.Nonsense", "hello".into());
        sent.await.unwrap().await.unwrap();
    }
    log.append(10, 10);

    // A slow machine may have looked at the stream's end first, and published all.
    let all = relay.run_once().await.is_ok();

    let expected = if all { 20 } else { 10 };
    assert_eq!(published(&stream).await, log.positions()[..expected]);
    drain(&mut relay).await;
    filled(&stream, &log).await;
}

#[tokio::test]
async fn fresh_events_are_published_without_asking_the_store_but_never_past_a_hole() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(2, 10);
    let ports = ports(Position::ZERO);
    let fresh = ports.fresh.clone();
    let mut relay = Relay::new(stream.clone(), log.clone(), Gift::held(), ports);
    drain(&mut relay).await;
    // The store has none of these.
    let [_, last] = log.events().try_into().unwrap();
    let unread = |places| RecordedEvent {
        position: last.position.plus(places),
        event_id: Uuid::from_u128(9),
        ..last.clone()
    };

    fresh.push([unread(1), unread(3)]);
    let directly_behind = relay.run_once().await.unwrap();
    let behind_a_hole = relay.run_once().await.unwrap();

    assert_eq!((directly_behind, behind_a_hole), (1, 0));
    let last = last.position.get();
    assert_eq!(
        published(&stream).await,
        [log.positions(), vec![last + 1]].concat()
    );
}

#[tokio::test]
async fn fresh_events_from_before_a_doubt_are_asked_of_the_store() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(2, 10);
    let ports = ports(Position::ZERO);
    let fresh = ports.fresh.clone();
    let mut relay = Relay::new(stream.clone(), log.clone(), Gift::held(), ports);
    drain(&mut relay).await;
    let again = RelayPorts {
        fresh: fresh.clone(),
        ..super::support::ports(Position::ZERO)
    };
    let [_, last] = log.events().try_into().unwrap();

    // A restore has taken this one from the store; a relay without a cursor finds its place anew.
    fresh.push([RecordedEvent {
        position: last.position.next(),
        event_id: Uuid::from_u128(9),
        ..last
    }]);
    let mut relay = Relay::new(stream.clone(), log.clone(), Gift::held(), again);
    let count = relay.run_once().await.unwrap();

    assert_eq!(count, 0);
    assert_eq!(published(&stream).await, log.positions());
}

#[tokio::test]
async fn an_append_wakes_a_relay_that_rests() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    let ports = ports(Position::ZERO);
    let fresh = ports.fresh.clone();
    let relay = Relay::new(stream.clone(), log.clone(), Gift::held(), ports);
    let running = run(relay.polling_every(Duration::from_hours(1)));

    for _ in 0..20 {
        log.append(1, 10);
        fresh.push([]);
        filled(&stream, &log).await;
    }

    running.stop().await;
}

#[tokio::test]
async fn a_server_that_comes_late_is_waited_for() {
    let mut server = NatsServer::start();
    server.kill();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(10, 10);
    let running = run_relay(stream.clone(), &log, &Ledger::new(&log));

    server.restart_empty();

    filled(&stream, &log).await;
    running.stop().await;
}

#[tokio::test]
async fn a_relay_that_stops_gives_its_lease_back() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(10, 10);
    let lease = Gift::held();
    let ports = ports(Position::ZERO);
    let running = run(Relay::new(
        stream.clone(),
        log.clone(),
        lease.clone(),
        ports,
    ));
    filled(&stream, &log).await;

    running.stop().await;

    assert_eq!(lease.0.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_window_whose_middle_is_refused_is_not_taken_for_published() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    log.append(1, 10);
    drain(&mut relay(stream.clone(), &log, Position::ZERO)).await;
    let handle = stream.context().get_stream("EVENTS").await.unwrap();
    let mut config = handle.cached_info().config.clone();
    config.max_message_size = 1500;
    stream.context().update_stream(config).await.unwrap();
    let before = log.events()[0].position;
    log.append(2, 10);
    log.append(1, 3000);
    log.append(2, 10);

    let later = log.events().into_iter().skip(1);
    let window = window::encode("events", before, later);
    let refused = window::publish(&stream, 1, window).await;

    assert!(refused.is_err());
    // What follows the refused one is refused too; the relay publishes all of it again.
    assert_eq!(published(&stream).await, log.positions()[..3]);
    drain(&mut relay(stream.clone(), &log, Position::ZERO)).await;
    assert_eq!(published(&stream).await, log.positions());
}

#[tokio::test]
async fn whoever_waits_ends_the_rest_between_windows() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let log = Log::default();
    let ports = ports(Position::ZERO);
    let (fresh, awaited) = (ports.fresh.clone(), Arc::clone(&ports.awaited));
    let relay = Relay::new(stream.clone(), log.clone(), Gift::held(), ports);
    let relay = relay.polling_every(Duration::from_hours(1));
    let running = run(relay.resting_for(Duration::from_hours(1)));

    log.append(1, 10);
    filled(&stream, &log).await;
    for _ in 0..20 {
        log.append(1, 10);
        fresh.push([]);
        awaited.notify_one();
        filled(&stream, &log).await;
    }

    running.stop().await;
}
