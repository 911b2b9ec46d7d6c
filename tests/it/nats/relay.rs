//! What the relay publishes, and when it waits.

use std::{sync::Arc, time::Duration};

use orders::{
    event_sourcing::{Position, RecordedEvent},
    nats::{Relay, RelayPorts},
};
use uuid::Uuid;

use super::support::{
    FixedLease, NatsServer, TestStore, decode, drain, filled, messages, ports, published, relay,
    run,
};

#[tokio::test]
async fn events_arrive_in_position_order_with_their_headers_and_bodies() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(1203, 10);

    drain(&mut relay(stream.clone(), &store, Position::ZERO)).await;

    let messages = messages(&stream).await;
    for (message, event) in messages.iter().zip(store.events()) {
        let published = decode(&message.headers, &message.payload);
        assert_eq!(message.subject.as_str(), "events.Order.OrderNoted");
        assert_eq!(published.position, event.position);
        assert_eq!(published.event_id, event.event_id);
        assert_eq!(published.data.get(), event.data.get());
    }
    assert_eq!(messages.len(), 1203);
}

#[tokio::test]
async fn events_are_lifted_before_they_are_published() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(1, 10);
    let ports = RelayPorts {
        lift: Arc::new(|mut event| {
            Arc::make_mut(&mut event).schema_version = 9;
            event
        }),
        ..ports(Position::ZERO)
    };

    drain(&mut Relay::new(
        stream.clone(),
        store,
        FixedLease::held(),
        ports,
    ))
    .await;

    let message = stream.last().await.unwrap().unwrap();
    let published = decode(&message.headers, &message.payload);
    assert_eq!(published.schema_version, 9);
}

#[tokio::test]
async fn large_events_pass_in_small_windows() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(40, 400_000);
    store.append(40, 10);

    drain(&mut relay(stream.clone(), &store, Position::ZERO)).await;

    filled(&stream, &store).await;
}

#[tokio::test]
async fn fresh_events_are_published_without_reading_the_store_but_never_past_a_gap() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(2, 10);
    let ports = ports(Position::ZERO);
    let fresh = ports.fresh.clone();
    let mut relay = Relay::new(stream.clone(), store.clone(), FixedLease::held(), ports);
    drain(&mut relay).await;
    // Events that the store does not contain.
    let [_, last] = store.events().try_into().unwrap();
    let fresh_event = |places| RecordedEvent {
        position: last.position.plus(places),
        event_id: Uuid::from_u128(9),
        ..last.clone()
    };

    fresh.push([fresh_event(1), fresh_event(3)]);
    let directly_behind = relay.run_once().await.unwrap();
    let behind_a_gap = relay.run_once().await.unwrap();

    assert_eq!((directly_behind, behind_a_gap), (1, 0));
    let last = last.position.get();
    assert_eq!(
        published(&stream).await,
        [store.positions(), vec![last + 1]].concat()
    );
}

#[tokio::test]
async fn fresh_events_are_dropped_when_the_relay_reads_the_streams_end() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    store.append(2, 10);
    let ports = ports(Position::ZERO);
    let fresh = ports.fresh.clone();
    let mut relay = Relay::new(stream.clone(), store.clone(), FixedLease::held(), ports);
    drain(&mut relay).await;
    let again = RelayPorts {
        fresh: fresh.clone(),
        ..super::support::ports(Position::ZERO)
    };
    let [_, last] = store.events().try_into().unwrap();

    // A restore has removed this event from the store. A new relay has no cursor.
    fresh.push([RecordedEvent {
        position: last.position.next(),
        event_id: Uuid::from_u128(9),
        ..last
    }]);
    let mut relay = Relay::new(stream.clone(), store.clone(), FixedLease::held(), again);
    let count = relay.run_once().await.unwrap();

    assert_eq!(count, 0);
    assert_eq!(published(&stream).await, store.positions());
}

#[tokio::test]
async fn an_append_wakes_a_waiting_relay() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let store = TestStore::default();
    let ports = ports(Position::ZERO);
    let fresh = ports.fresh.clone();
    let relay = Relay::new(stream.clone(), store.clone(), FixedLease::held(), ports);
    let running = run(relay.with_poll_interval(Duration::from_hours(1)));

    for _ in 0..20 {
        store.append(1, 10);
        fresh.push([]);
        filled(&stream, &store).await;
    }

    running.stop().await;
}
