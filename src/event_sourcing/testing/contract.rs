//! The contract of an event store, as tests that the tests of each store call.

use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use super::instant;
use crate::event_sourcing::{
    Append, AppendError, EventStore, IdempotencyKey, Metadata, NewEvent, Position, RecordedEvent,
    SnapshotStore, StreamId, UsedKey, Version, store::Until,
};

/// A new stream. The store can hold other streams.
fn new_stream() -> StreamId {
    StreamId {
        aggregate_type: "Contract",
        aggregate_id: new_id(),
    }
}

#[expect(clippy::disallowed_methods, reason = "tests make their own ids")]
fn new_id() -> Uuid {
    Uuid::now_v7()
}

fn number(n: usize) -> Box<RawValue> {
    to_raw_value(&serde_json::json!({ "n": n })).unwrap()
}

/// An append of `count` events at an expected version.
fn append(stream: StreamId, expected: i32, count: usize) -> Append {
    let event = |n| NewEvent {
        event_id: new_id(),
        event_type: "Counted",
        schema_version: 1,
        data: number(n),
    };
    Append {
        command_id: new_id(),
        stream,
        expected: Version::new(expected),
        events: (0..count).map(event).collect(),
        occurred_at: instant(usize::try_from(expected).unwrap()),
        metadata: to_raw_value(&Metadata {
            request_id: Some("r-1".to_owned()),
            ..Metadata::default()
        })
        .unwrap(),
        key: None,
    }
}

fn with_key(mut append: Append, key: &str) -> Append {
    let scope = append.stream.aggregate_id.to_string();
    append.key = Some(IdempotencyKey {
        scope,
        key: key.to_owned(),
        fingerprint: [7; 32],
    });
    append
}

fn versions(events: &[RecordedEvent]) -> Vec<i32> {
    events.iter().map(|event| event.version.get()).collect()
}

/// Appended events are read back in order, with all their fields.
pub async fn an_append_is_read_back<S: EventStore>(store: &S) {
    let stream = new_stream();

    let first = append(stream, 0, 3);
    let appended = store.append(first.clone()).await.unwrap();
    store.append(append(stream, 3, 1)).await.unwrap();

    let events = store.load(stream, Until::Now, None).await.unwrap().events;
    assert_eq!(versions(&events), [1, 2, 3, 4]);
    assert_eq!(events[2].position, appended.position);
    assert_eq!(events[0].event_id, first.events[0].event_id);
    assert_eq!(events[0].occurred_at, first.occurred_at);
    let data: serde_json::Value = serde_json::from_str(events[1].data.get()).unwrap();
    assert_eq!(data, serde_json::json!({"n": 1}));
    let metadata: Metadata = serde_json::from_str(events[0].metadata.get()).unwrap();
    assert_eq!(metadata.request_id.as_deref(), Some("r-1"));
    let written: Metadata = serde_json::from_str(first.metadata.get()).unwrap();
    assert_eq!(metadata, written);
    let page = store.read_stream(stream, Version::new(2), 2).await.unwrap();
    assert_eq!(versions(&page), [2, 3]);
}

/// The past of a stream is read up to a version or a time.
pub async fn the_past_is_read_by_version_and_by_instant<S: EventStore>(store: &S) {
    let stream = new_stream();
    store.append(append(stream, 0, 2)).await.unwrap();
    store.append(append(stream, 2, 2)).await.unwrap();

    let by_version = store
        .load(stream, Until::Version(Version::new(3)), None)
        .await
        .unwrap();
    let by_instant = store
        .load(stream, Until::Timestamp(instant(1)), None)
        .await
        .unwrap();

    assert_eq!(versions(&by_version.events), [1, 2, 3]);
    assert_eq!(versions(&by_instant.events), [1, 2]);
}

/// An append at a wrong expected version stores no event and no key.
pub async fn a_conflict_stores_nothing<S: EventStore>(store: &S) {
    let stream = new_stream();
    store.append(append(stream, 0, 1)).await.unwrap();

    let behind = with_key(append(stream, 0, 2), "k");
    let ahead = append(stream, 5, 1);

    assert!(matches!(
        store.append(behind.clone()).await,
        Err(AppendError::VersionConflict)
    ));
    assert!(matches!(
        store.append(ahead).await,
        Err(AppendError::VersionConflict)
    ));
    let events = store.load(stream, Until::Now, None).await.unwrap().events;
    assert_eq!(versions(&events), [1]);
    let key = behind.key.unwrap();
    assert_eq!(store.find_key(&key).await.unwrap(), None);
}

/// Of concurrent appends, a conflict fails only its own; the others get their own positions.
pub async fn a_conflict_fails_no_neighbour<S: EventStore>(store: &S) {
    for is_keyed in [false, true] {
        let streams: Vec<_> = (0..12).map(|_| new_stream()).collect();
        // Every third append conflicts; the numbers of events differ.
        let appends = streams.iter().enumerate().map(|(index, stream)| {
            let expected = if index % 3 == 1 { 5 } else { 0 };
            let append = append(*stream, expected, index % 4 + 1);
            if is_keyed && index % 2 == 0 {
                with_key(append, &format!("k{index}"))
            } else {
                append
            }
        });

        let outcomes = futures::future::join_all(appends.map(|append| store.append(append))).await;

        for (index, (stream, outcome)) in streams.iter().zip(outcomes).enumerate() {
            let events = store.load(*stream, Until::Now, None).await.unwrap().events;
            if index % 3 == 1 {
                assert!(matches!(outcome, Err(AppendError::VersionConflict)));
                assert_eq!(events.len(), 0);
            } else {
                assert_eq!(events.len(), index % 4 + 1);
                let last = events.last().unwrap();
                assert_eq!(outcome.unwrap().position, last.position);
            }
        }
    }
}

/// Of concurrent appends at one version, exactly one is stored.
pub async fn of_racing_appends_one_wins<S: EventStore>(store: &S) {
    let stream = new_stream();

    let race = (0..8).map(|_| store.append(append(stream, 0, 2)));
    let outcomes = futures::future::join_all(race).await;

    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let events = store.load(stream, Until::Now, None).await.unwrap().events;
    assert_eq!(versions(&events), [1, 2]);
}

/// A key is stored with its events; the second append under it stores nothing and gets the first
/// one's result.
pub async fn a_key_is_used_once<S: EventStore>(store: &S) {
    let stream = new_stream();
    let first = with_key(append(stream, 0, 1), "k");
    let appended = store.append(first.clone()).await.unwrap();

    let again = store.append(with_key(append(stream, 1, 1), "k")).await;

    let Err(AppendError::DuplicateCommand(used)) = again else {
        panic!("{again:?}")
    };
    let key = first.key.unwrap();
    let expected = UsedKey {
        fingerprint: key.fingerprint,
        aggregate_id: Some(stream.aggregate_id),
        version: Version::new(1),
        has_changed: true,
        position: appended.position,
    };
    assert_eq!(*used, expected);
    assert_eq!(store.find_key(&key).await.unwrap(), Some(expected));
    let events = store.load(stream, Until::Now, None).await.unwrap().events;
    assert_eq!(versions(&events), [1]);
}

/// A command without events stores its key, with the version and position of the stream.
pub async fn a_key_without_events_is_kept<S: EventStore>(store: &S) {
    let stream = new_stream();
    let there = store.append(append(stream, 0, 2)).await.unwrap();

    let kept = store
        .append(with_key(append(stream, 2, 0), "k"))
        .await
        .unwrap();

    assert_eq!(kept.position, there.position);
    let again = store.append(with_key(append(stream, 2, 0), "k")).await;
    let Err(AppendError::DuplicateCommand(used)) = again else {
        panic!("{again:?}")
    };
    assert_eq!((used.version, used.has_changed), (Version::new(2), false));
    assert_eq!(used.position, there.position);
}

/// The events of a stream after any position are read in pages of any size.
pub async fn a_stream_is_read_after_any_position<S: EventStore>(store: &S) {
    let streams = [new_stream(), new_stream()];
    let mut stored = vec![];
    for version in 0..37 {
        for stream in streams {
            let appended = store.append(append(stream, version, 1)).await.unwrap();
            stored.push((appended.position, stream));
        }
    }

    let around = stored
        .iter()
        .flat_map(|(position, _)| [position.plus(-1), *position]);
    for after in around.chain([Position::ZERO]) {
        for stream in streams {
            for limit in [1, 5, 36, 37, 100] {
                let page = store.read_stream_after(stream, after, limit).await.unwrap();

                let page: Vec<_> = page.iter().map(|event| event.position).collect();
                let of_stream = stored
                    .iter()
                    .filter(|(position, of)| *of == stream && *position > after);
                let expected: Vec<_> = of_stream
                    .map(|(position, _)| *position)
                    .take(limit as usize)
                    .collect();
                assert_eq!(page, expected, "after {after}, at most {limit}");
            }
        }
    }
    let unknown = store.read_stream_after(new_stream(), Position::ZERO, 10);
    assert!(unknown.await.unwrap().is_empty());
}

/// Positions rise in the order of appends, over all streams, and pages miss nothing.
pub async fn positions_rise_over_all_streams<S: EventStore>(store: &S) {
    let (one, other) = (new_stream(), new_stream());
    let first = store.append(append(one, 0, 2)).await.unwrap();
    let second = store.append(append(other, 0, 1)).await.unwrap();
    let third = store.append(append(one, 2, 1)).await.unwrap();

    assert!(first.position < second.position && second.position < third.position);
    let is_ours = |event: &RecordedEvent| {
        [one.aggregate_id, other.aggregate_id].contains(&event.aggregate_id)
    };
    let (mut after, mut seen) = (Position::ZERO, vec![]);
    loop {
        let page = store.read_all(after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        assert!(page.iter().all(|event| event.position > after));
        after = last.position;
        seen.extend(
            page.iter()
                .filter(|event| is_ours(event))
                .map(|event| event.position),
        );
    }
    assert_eq!(seen.len(), 4);
    assert!(seen.is_sorted());
    assert_eq!(store.newest().await.unwrap(), after);
}

/// The newest snapshot is used; one of another schema, or one newer than the requested past, is
/// not.
pub async fn snapshots_are_a_cache<S: EventStore + SnapshotStore>(store: &S) {
    let stream = new_stream();
    store.append(append(stream, 0, 5)).await.unwrap();
    let state = |n: i32| format!("{{\"n\": {n}}}");
    store
        .save(stream, Version::new(4), 1, state(4))
        .await
        .unwrap();
    store
        .save(stream, Version::new(2), 1, state(2))
        .await
        .unwrap();

    let now = store.load(stream, Until::Now, Some(1)).await.unwrap();
    let other_schema = store.load(stream, Until::Now, Some(2)).await.unwrap();
    let past = store
        .load(stream, Until::Version(Version::new(3)), Some(1))
        .await
        .unwrap();

    assert_eq!(now.snapshot.unwrap().version, Version::new(4));
    assert_eq!(versions(&now.events), [5]);
    assert!(other_schema.snapshot.is_none());
    assert_eq!(versions(&other_schema.events), [1, 2, 3, 4, 5]);
    assert!(past.snapshot.is_none());
    assert_eq!(versions(&past.events), [1, 2, 3]);

    // After the store was restored to an earlier time, a snapshot can be newer than its stream.
    store
        .save(stream, Version::new(9), 1, state(9))
        .await
        .unwrap();
    let restored = store.load(stream, Until::Now, Some(1)).await.unwrap();
    assert!(restored.snapshot.is_none());
    assert_eq!(versions(&restored.events), [1, 2, 3, 4, 5]);
}

/// Checks the whole contract.
pub async fn every_promise_is_kept<S: EventStore + SnapshotStore>(store: &S) {
    an_append_is_read_back(store).await;
    the_past_is_read_by_version_and_by_instant(store).await;
    a_conflict_stores_nothing(store).await;
    a_conflict_fails_no_neighbour(store).await;
    of_racing_appends_one_wins(store).await;
    a_key_is_used_once(store).await;
    a_key_without_events_is_kept(store).await;
    positions_rise_over_all_streams(store).await;
    snapshots_are_a_cache(store).await;
    a_stream_is_read_after_any_position(store).await;
}
