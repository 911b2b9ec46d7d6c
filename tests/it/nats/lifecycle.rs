//! The stream is this store's or left alone; what a store lost in a restore goes from its stream, too.

use std::sync::{Arc, atomic::Ordering};

use async_nats::jetstream::stream::Config;
use orders::{
    event_sourcing::{Epoch, Position, StoreIdentity},
    nats::{
        Alarm, EventStream, Relay, RelayError, RelayPorts, StreamError, message::identify,
        stream::Remedy,
    },
    postgres::{self, PgLease, PgStoreIdentity},
};
use uuid::Uuid;

use super::support::{
    Gift, Ledger, Log, Name, NatsServer, TTL, drain, eventually, filled, messages, ports,
    published, relay, run, run_relay, run_subscriber,
};
use crate::support::servers::fresh_database;

/// A relay from `log`, which is called `name`.
fn relay_of(stream: &EventStream, log: &Log, name: &Name) -> Relay<Log, Gift> {
    let ports = RelayPorts {
        identity: Arc::new(name.clone()),
        ..ports(Position::ZERO)
    };
    Relay::new(stream.clone(), log.clone(), Gift::held(), ports)
}

/// What a step says about stream and store that disagree.
async fn remedy(relay: &mut Relay<Log, Gift>) -> Option<Remedy> {
    match relay.run_once().await {
        Err(RelayError::Stream(StreamError::Disagreement { remedy, .. })) => Some(remedy),
        _ => None,
    }
}

/// When the stream was created, and what it says of itself.
async fn life(stream: &EventStream) -> (String, String) {
    let stream = stream.context().get_stream("EVENTS").await.unwrap();
    let info = stream.cached_info();
    let description = info.config.description.clone().unwrap_or_default();
    (info.created.to_string(), description)
}

async fn assert_holds_exactly(stream: &EventStream, log: &Log) {
    filled(stream, log).await;
    let ids: Vec<Uuid> = messages(stream)
        .await
        .iter()
        .map(|message| identify(&message.headers).unwrap().1)
        .collect();
    let stored: Vec<Uuid> = log.events().iter().map(|event| event.event_id).collect();
    assert_eq!(ids, stored);
}

#[tokio::test]
async fn a_stream_of_another_store_is_left_alone() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let (one, other) = (Log::default(), Log::default());
    one.append(5, 10);
    other.append(8, 10);
    drain(&mut relay_of(&stream, &one, &Name::of(1))).await;
    let before = life(&stream).await;
    let alarm = Alarm::default();
    let ports = RelayPorts {
        identity: Arc::new(Name::of(2)),
        alarm: alarm.clone(),
        ..ports(Position::ZERO)
    };

    let running = run(Relay::new(
        stream.clone(),
        other.clone(),
        Gift::held(),
        ports,
    ));
    eventually("the relay raises the alarm", async || {
        alarm.text().is_some()
    })
    .await;

    let text = alarm.text().unwrap();
    for named in ["EVENTS", "000000000001", "000000000002"] {
        assert!(text.contains(named), "{text}");
    }
    assert_eq!(published(&stream).await, one.positions());
    assert_eq!(life(&stream).await, before);
    stream.context().delete_stream("EVENTS").await.unwrap();
    assert_holds_exactly(&stream, &other).await;
    eventually("the alarm is over", async || alarm.text().is_none()).await;
    running.stop().await;
}

#[tokio::test]
async fn another_stores_empty_stream_is_left_alone_too() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let (one, other) = (Log::default(), Log::default());
    other.append(8, 10);
    drain(&mut relay_of(&stream, &one, &Name::of(1))).await;
    let mut relay = relay_of(&stream, &other, &Name::of(2));

    let refused = relay.run_once().await;

    assert!(
        matches!(
            refused,
            Err(RelayError::Stream(StreamError::Foreign { .. }))
        ),
        "{refused:?}"
    );
    assert!(published(&stream).await.is_empty());
}

#[tokio::test]
async fn after_a_restore_the_stream_is_made_anew_from_the_first_event_on() {
    for (kept, since) in [(60, 0), (60, 15), (60, 90), (1, 3), (0, 0)] {
        let server = NatsServer::start();
        let stream = server.stream().await;
        let lost = Log::default();
        lost.append(100, 10);
        drain(&mut relay(stream.clone(), &lost, Position::ZERO)).await;
        let before = life(&stream).await;
        let restored = lost.restored_at(kept);
        // At positions that the stream holds other events for.
        restored.append(since, 10);
        // Its count of incarnations went back as well.
        let mut relay = relay(stream.clone(), &restored, Position::ZERO);

        eventually("the disagreement is noticed", async || {
            remedy(&mut relay).await == Some(Remedy::Replace)
        })
        .await;
        assert_eq!(published(&stream).await, lost.positions());
        drain(&mut relay).await;

        assert_holds_exactly(&stream, &restored).await;
        let after = life(&stream).await;
        assert_ne!(after.0, before.0);
        assert!(before.1.ends_with("incarnation 1]"), "{}", before.1);
        assert!(after.1.ends_with("incarnation 2]"), "{}", after.1);
    }
}

#[tokio::test]
async fn a_subscriber_never_applies_what_was_lost_in_a_restore() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let lost = Log::default();
    lost.append(100, 10);
    drain(&mut relay(stream.clone(), &lost, Position::ZERO)).await;
    let restored = lost.restored_at(60);
    restored.append(20, 10);
    let ledger = Ledger::having_applied(&restored, 55);

    let subscriber = run_subscriber(stream.clone(), &ledger);
    let relay = run_relay(server.stream().await, &restored, &ledger);

    ledger.caught_up().await;
    assert_holds_exactly(&stream, &restored).await;
    subscriber.stop().await;
    relay.stop().await;
}

#[tokio::test]
async fn a_stream_that_does_not_say_whose_it_is_must_agree() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let (one, other) = (Log::default(), Log::default());
    one.append(5, 10);
    other.append(8, 10);
    drain(&mut relay(stream.clone(), &one, Position::ZERO)).await;
    let unstamped = stream.context().get_stream("EVENTS").await.unwrap();
    let unstamped = Config {
        description: Some("made by hand".to_owned()),
        ..unstamped.cached_info().config.clone()
    };
    stream.context().update_stream(unstamped).await.unwrap();
    let before = life(&stream).await;

    let mut stranger = relay_of(&stream, &other, &Name::of(2));
    assert_eq!(remedy(&mut stranger).await, Some(Remedy::Unproven));
    assert_eq!(life(&stream).await, before);
    one.append(5, 10);
    drain(&mut relay(stream.clone(), &one, Position::ZERO)).await;

    assert_holds_exactly(&stream, &one).await;
    let (created, description) = life(&stream).await;
    assert_eq!(created, before.0);
    assert!(
        description.starts_with("made by hand [store "),
        "{description}"
    );
}

#[tokio::test]
async fn a_stream_that_somebody_writes_to_is_not_replaced() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let original = Log::default();
    original.append(20, 10);
    let mut live = relay(stream.clone(), &original, Position::ZERO);
    drain(&mut live).await;
    let before = life(&stream).await;
    let mut copy = relay(
        server.stream().await,
        &original.restored_at(10),
        Position::ZERO,
    );

    let patience_is_over = tokio::time::Instant::now() + TTL * 4;
    let mut looks = 0;
    eventually("the copy's patience would be over", async || {
        // The copy looks more often than somebody writes.
        looks += 1;
        if looks % 10 == 0 {
            original.append(1, 10);
            drain(&mut live).await;
        }
        copy.run_once().await.unwrap_err();
        tokio::time::Instant::now() > patience_is_over
    })
    .await;

    assert_eq!(life(&stream).await, before);
    assert_holds_exactly(&stream, &original).await;
}

#[tokio::test]
async fn two_copies_of_a_store_do_not_take_the_stream_from_one_another() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let original = Log::default();
    original.append(20, 10);
    let mut live = relay(stream.clone(), &original, Position::ZERO);
    drain(&mut live).await;
    let copy = original.restored_at(10);
    copy.append(5, 10);
    drain(&mut relay(server.stream().await, &copy, Position::ZERO)).await;
    let taken = life(&stream).await;

    let patience_is_over = tokio::time::Instant::now() + TTL * 4;
    eventually("the original stays stopped", async || {
        let remedy = remedy(&mut live).await;
        // It may not have looked at the stream yet.
        assert!(
            matches!(remedy, None | Some(Remedy::Contested)),
            "{remedy:?}"
        );
        tokio::time::Instant::now() > patience_is_over
    })
    .await;

    assert_eq!(remedy(&mut live).await, Some(Remedy::Contested));
    assert_eq!(life(&stream).await, taken);
    assert_holds_exactly(&stream, &copy).await;
}

#[tokio::test]
async fn an_incarnation_is_begun_under_the_lease_only() {
    let (options, _) = fresh_database().await;
    let pool = postgres::pool(options, 2);
    let (identity, here) = (PgStoreIdentity::new(pool.clone(), "relay"), Uuid::now_v7());
    let lease = PgLease::new(pool.clone(), "relay", here, TTL * 100);
    let begin = async |after, epoch| {
        identity
            .begin_incarnation(after, Epoch(epoch))
            .await
            .unwrap()
    };
    let other = Name::usual();

    assert_eq!(begin(0, 1).await, None);
    let Epoch(epoch) = orders::event_sourcing::Lease::hold(&lease)
        .await
        .unwrap()
        .unwrap();

    assert_eq!(begin(0, epoch).await, Some(1));
    assert_eq!(begin(7, epoch).await, Some(8));
    assert_eq!(begin(0, epoch).await, Some(9));
    assert_eq!(begin(0, epoch + 1).await, None);
    assert_eq!(identity.id().await.unwrap(), identity.id().await.unwrap());
    assert_ne!(identity.id().await.unwrap(), other.id().await.unwrap());
    assert_eq!(other.1.load(Ordering::SeqCst), 0);
}
