//! What is stored of a stream: times that never go back, and events that can be read.

use serde_json::{json, value::to_raw_value};

use super::{
    ID,
    counter::{Command, Counter, Event},
    execute, new_event,
    observed_store::ObservedStore,
    plain_append, process, request, versions,
};
use crate::event_sourcing::{
    EventStore, ExecuteError, NewEvent, Request, StoreError, Version, repository::stream_of,
    store::Until, testing::instant,
};

#[tokio::test]
async fn time_in_a_stream_never_goes_back() {
    let store = ObservedStore::default();
    let at = |second, command| Request {
        now: instant(second),
        ..request(command)
    };
    execute(&process(&store), at(50, Command::Open))
        .await
        .unwrap();
    let one = process(&store);
    execute(&one, at(20, Command::Set(1))).await.unwrap();
    execute(&one, at(40, Command::Set(2))).await.unwrap();
    execute(&process(&store), at(60, Command::Set(3)))
        .await
        .unwrap();

    let stored = store
        .inner
        .load(stream_of::<Counter>(ID), Until::Now, None)
        .await
        .unwrap();
    let times: Vec<_> = stored
        .events
        .iter()
        .map(|event| event.occurred_at)
        .collect();
    assert_eq!(times, [50, 50, 50, 60].map(instant));
    let then = one.load(ID, Until::Timestamp(instant(50))).await.unwrap();
    assert_eq!(then.unwrap().version, Version::new(3));
    let before = one.load(ID, Until::Timestamp(instant(49))).await.unwrap();
    assert!(before.is_none());
    let now = one.load(ID, Until::Now).await.unwrap().unwrap();
    assert_eq!(now.state.last, Some(instant(60)));
}

#[tokio::test]
async fn an_unreadable_event_is_reported_as_corruption() {
    let unknown = NewEvent {
        event_type: "Melted",
        ..new_event(&Event::Added)
    };
    let from_the_future = NewEvent {
        schema_version: 2,
        ..new_event(&Event::Added)
    };
    let malformed = NewEvent {
        data: to_raw_value(&json!({"event": "Burnt"})).unwrap(),
        ..new_event(&Event::Added)
    };
    for bad in [unknown, from_the_future, malformed] {
        let store = ObservedStore::default();
        let process = process(&store);
        execute(&process, request(Command::Open)).await.unwrap();
        let stream = stream_of::<Counter>(ID);
        let append = plain_append(stream, Version::new(1), vec![bad.clone()]);
        store.inner.append(append).await.unwrap();

        let loaded = process.load(ID, Until::Now).await;
        let executed = execute(&process, request(Command::Add(1))).await;
        let past = process.load(ID, Until::Version(Version::new(1))).await;

        let Err(ExecuteError::Store(error @ StoreError::Corrupt { .. })) = executed else {
            panic!("{executed:?}")
        };
        assert!(!error.is_transient());
        assert!(error.to_string().contains("event 2 of Counter"), "{error}");
        assert!(matches!(loaded, Err(StoreError::Corrupt { .. })));
        assert!(
            past.unwrap().is_some(),
            "the past before it is still readable"
        );
        assert_eq!(versions(&store).await, [1, 2]);
    }
}

#[tokio::test]
async fn an_event_without_a_listed_schema_is_not_stored() {
    let store = ObservedStore::default();
    let process = process(&store);
    execute(&process, request(Command::Open)).await.unwrap();

    let executed = execute(&process, request(Command::Unlisted)).await;

    let Err(ExecuteError::Store(error @ StoreError::Corrupt { .. })) = executed else {
        panic!("{executed:?}")
    };
    assert_eq!(error.to_string(), "event type Unlisted is corrupt");
    assert_eq!(versions(&store).await, [1]);
}
