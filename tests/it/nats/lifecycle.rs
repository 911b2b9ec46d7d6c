//! A stream of another store is left alone; this store's stream from before a restore is replaced.

use std::sync::{Arc, atomic::Ordering};

use async_nats::jetstream::stream::Config;
use orders::{
    event_sourcing::{Epoch, Position, StoreIdentity},
    nats::{
        Alarm, EventStream, Relay, RelayError, RelayPorts, StreamError, message::identify,
        stream_error::MismatchKind,
    },
    postgres::{self, PgLease, PgStoreIdentity},
};
use uuid::Uuid;

use super::support::{
    FixedIdentity, FixedLease, NatsServer, RecordingProjection, TTL, TestStore, drain, eventually,
    filled, messages, ports, published, relay, run, run_relay, run_subscriber,
};
use crate::support::servers::fresh_database;

/// A relay from `store`, which has this identity.
fn relay_of(
    stream: &EventStream,
    store: &TestStore,
    identity: &FixedIdentity,
) -> Relay<TestStore, FixedLease> {
    let ports = RelayPorts {
        identity: Arc::new(identity.clone()),
        ..ports(Position::ZERO)
    };
    Relay::new(stream.clone(), store.clone(), FixedLease::held(), ports)
}

/// Why stream and store do not match, as a step of the relay reports it.
async fn mismatch(relay: &mut Relay<TestStore, FixedLease>) -> Option<MismatchKind> {
    match relay.run_once().await {
        Err(RelayError::Stream(StreamError::Mismatch { kind, .. })) => Some(kind),
        _ => None,
    }
}

/// When the stream was created, and its description.
async fn created_and_description(stream: &EventStream) -> (String, String) {
    let stream = stream.context().get_stream("EVENTS").await.unwrap();
    let info = stream.cached_info();
    let description = info.config.description.clone().unwrap_or_default();
    (info.created.to_string(), description)
}

async fn assert_holds_exactly(stream: &EventStream, store: &TestStore) {
    filled(stream, store).await;
    let ids: Vec<Uuid> = messages(stream)
        .await
        .iter()
        .map(|message| identify(&message.headers).unwrap().1)
        .collect();
    let stored: Vec<Uuid> = store.events().iter().map(|event| event.event_id).collect();
    assert_eq!(ids, stored);
}

#[tokio::test]
async fn a_stream_of_another_store_is_left_alone() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let (one, other) = (TestStore::default(), TestStore::default());
    one.append(5, 10);
    other.append(8, 10);
    drain(&mut relay_of(&stream, &one, &FixedIdentity::of(1))).await;
    let before = created_and_description(&stream).await;
    let alarm = Alarm::default();
    let ports = RelayPorts {
        identity: Arc::new(FixedIdentity::of(2)),
        alarm: alarm.clone(),
        ..ports(Position::ZERO)
    };

    let running = run(Relay::new(
        stream.clone(),
        other.clone(),
        FixedLease::held(),
        ports,
    ));
    eventually("the relay raises the alarm", async || {
        alarm.of("relay").is_some()
    })
    .await;

    let text = alarm.of("relay").unwrap();
    for named in ["EVENTS", "000000000001", "000000000002"] {
        assert!(text.contains(named), "{text}");
    }
    assert_eq!(published(&stream).await, one.positions());
    assert_eq!(created_and_description(&stream).await, before);
    stream.context().delete_stream("EVENTS").await.unwrap();
    assert_holds_exactly(&stream, &other).await;
    eventually("the alarm is cleared", async || alarm.of("relay").is_none()).await;
    running.stop().await;
}

#[tokio::test]
async fn an_empty_stream_of_another_store_is_left_alone_too() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let (one, other) = (TestStore::default(), TestStore::default());
    other.append(8, 10);
    drain(&mut relay_of(&stream, &one, &FixedIdentity::of(1))).await;
    let mut relay = relay_of(&stream, &other, &FixedIdentity::of(2));

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
async fn after_a_restore_the_stream_is_replaced_and_filled_from_the_first_event() {
    for (kept, appended_since) in [(60, 0), (60, 15), (60, 90), (1, 3), (0, 0)] {
        let server = NatsServer::start();
        let stream = server.stream().await;
        let lost = TestStore::default();
        lost.append(100, 10);
        drain(&mut relay(stream.clone(), &lost, Position::ZERO)).await;
        let before = created_and_description(&stream).await;
        let restored = lost.restored_at(kept);
        // At positions where the stream holds other events.
        restored.append(appended_since, 10);
        // The restored store counts incarnations from the start again.
        let mut relay = relay(stream.clone(), &restored, Position::ZERO);

        eventually("the mismatch is reported", async || {
            mismatch(&mut relay).await == Some(MismatchKind::AfterRestore)
        })
        .await;
        assert_eq!(published(&stream).await, lost.positions());
        drain(&mut relay).await;

        assert_holds_exactly(&stream, &restored).await;
        let after = created_and_description(&stream).await;
        assert_ne!(after.0, before.0);
        assert!(before.1.ends_with("incarnation 1]"), "{}", before.1);
        assert!(after.1.ends_with("incarnation 2]"), "{}", after.1);
    }
}

#[tokio::test]
async fn a_subscriber_never_applies_events_that_a_restore_removed() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let lost = TestStore::default();
    lost.append(100, 10);
    drain(&mut relay(stream.clone(), &lost, Position::ZERO)).await;
    let restored = lost.restored_at(60);
    restored.append(20, 10);
    let projection = RecordingProjection::with_applied(&restored, 55);

    let subscriber = run_subscriber(stream.clone(), &projection);
    let relay = run_relay(server.stream().await, &restored);

    projection.caught_up().await;
    assert_holds_exactly(&stream, &restored).await;
    subscriber.stop().await;
    relay.stop().await;
}

#[tokio::test]
async fn a_stream_without_an_owner_must_match_the_store() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let (one, other) = (TestStore::default(), TestStore::default());
    one.append(5, 10);
    other.append(8, 10);
    drain(&mut relay(stream.clone(), &one, Position::ZERO)).await;
    let config = stream.context().get_stream("EVENTS").await.unwrap();
    let config = Config {
        description: Some("an operator's text".to_owned()),
        ..config.cached_info().config.clone()
    };
    stream.context().update_stream(config).await.unwrap();
    let before = created_and_description(&stream).await;

    let mut stranger = relay_of(&stream, &other, &FixedIdentity::of(2));
    assert_eq!(
        mismatch(&mut stranger).await,
        Some(MismatchKind::UnknownOwner)
    );
    assert_eq!(created_and_description(&stream).await, before);
    one.append(5, 10);
    drain(&mut relay(stream.clone(), &one, Position::ZERO)).await;

    assert_holds_exactly(&stream, &one).await;
    let (created, description) = created_and_description(&stream).await;
    assert_eq!(created, before.0);
    assert!(
        description.starts_with("an operator's text [store "),
        "{description}"
    );
}

#[tokio::test]
async fn a_stream_that_another_process_writes_to_is_not_replaced() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let original = TestStore::default();
    original.append(20, 10);
    let mut live = relay(stream.clone(), &original, Position::ZERO);
    drain(&mut live).await;
    let before = created_and_description(&stream).await;
    let mut copy = relay(
        server.stream().await,
        &original.restored_at(10),
        Position::ZERO,
    );

    let end_of_patience = tokio::time::Instant::now() + TTL * 4;
    let mut steps = 0;
    eventually(
        "the copy has waited long enough to replace a quiet stream",
        async || {
            // The copy checks more often than the original writes.
            steps += 1;
            if steps % 10 == 0 {
                original.append(1, 10);
                drain(&mut live).await;
            }
            copy.run_once().await.unwrap_err();
            tokio::time::Instant::now() > end_of_patience
        },
    )
    .await;

    assert_eq!(created_and_description(&stream).await, before);
    assert_holds_exactly(&stream, &original).await;
}

#[tokio::test]
async fn two_copies_of_a_store_do_not_replace_each_others_stream_for_ever() {
    let server = NatsServer::start();
    let stream = server.stream().await;
    let original = TestStore::default();
    original.append(20, 10);
    let mut live = relay(stream.clone(), &original, Position::ZERO);
    drain(&mut live).await;
    let copy = original.restored_at(10);
    copy.append(5, 10);
    drain(&mut relay(server.stream().await, &copy, Position::ZERO)).await;
    let taken = created_and_description(&stream).await;

    let end_of_patience = tokio::time::Instant::now() + TTL * 4;
    eventually("the original stays stopped", async || {
        let kind = mismatch(&mut live).await;
        // It may not have checked the stream yet.
        assert!(
            matches!(kind, None | Some(MismatchKind::ReplacedElsewhere)),
            "{kind:?}"
        );
        tokio::time::Instant::now() > end_of_patience
    })
    .await;

    assert_eq!(
        mismatch(&mut live).await,
        Some(MismatchKind::ReplacedElsewhere)
    );
    assert_eq!(created_and_description(&stream).await, taken);
    assert_holds_exactly(&stream, &copy).await;
}

#[tokio::test]
async fn an_incarnation_is_only_begun_under_the_lease() {
    let (options, _) = fresh_database().await;
    let pool = postgres::pool(options, 2);
    let (identity, holder) = (PgStoreIdentity::new(pool.clone(), "relay"), Uuid::now_v7());
    let lease = PgLease::new(pool.clone(), "relay", holder, TTL * 100);
    let begin = async |after, epoch| {
        identity
            .begin_incarnation(after, Epoch(epoch))
            .await
            .unwrap()
    };
    let other = FixedIdentity::default_store();

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
    assert_eq!(other.incarnation.load(Ordering::SeqCst), 0);
}
