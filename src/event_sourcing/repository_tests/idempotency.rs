//! A command with a used idempotency key is not executed; it gets the first result.

use std::pin::pin;

use futures::FutureExt;
use uuid::Uuid;

use super::{
    ID,
    counter::{Command, Counter, Event},
    execute, key, new_event,
    observed_store::ObservedStore,
    plain_append, process, request, summary, versions,
};
use crate::event_sourcing::{
    EventStore, ExecuteError, Executed, NewEvent, Request, Version, repository::stream_of,
};

#[tokio::test]
async fn a_used_key_is_replayed_although_the_command_would_be_refused_now() {
    let store = ObservedStore::default();
    execute(&process(&store), request(Command::Open))
        .await
        .unwrap();
    let close = || Request {
        key: Some(key("k", 1)),
        ..request(Command::Close)
    };
    let first = execute(&process(&store), close()).await.unwrap();

    let again = execute(&process(&store), close()).await.unwrap();

    assert!(again.is_replayed && !first.is_replayed);
    let replayed = Executed {
        is_replayed: true,
        ..first
    };
    assert_eq!(again, replayed);
    assert_eq!(versions(&store).await, [1, 2]);
}

#[tokio::test]
async fn a_used_key_is_replayed_although_the_version_has_changed() {
    let store = ObservedStore::default();
    let process = process(&store);
    execute(&process, request(Command::Open)).await.unwrap();
    let add = || Request {
        key: Some(key("k", 1)),
        expected: Some(Version::new(1)),
        ..request(Command::Add(1))
    };
    execute(&process, add()).await.unwrap();

    let again = execute(&process, add()).await.unwrap();

    assert!(again.is_replayed);
    assert_eq!(versions(&store).await, [1, 2]);
}

#[tokio::test]
async fn a_used_key_is_replayed_although_the_command_would_succeed_again() {
    let store = ObservedStore::default();
    let process = process(&store);
    execute(&process, request(Command::Open)).await.unwrap();
    let add = || Request {
        key: Some(key("k", 1)),
        ..request(Command::Add(1))
    };
    execute(&process, add()).await.unwrap();
    execute(&process, request(Command::Set(9))).await.unwrap();

    let again = execute(&process, add()).await;

    assert_eq!(summary(again), (true, 2, 1), "as it was then");
    assert_eq!(versions(&store).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_used_key_is_replayed_from_the_aggregate_of_its_first_command() {
    let store = ObservedStore::default();
    let process = process(&store);
    execute(&process, request(Command::Open)).await.unwrap();
    let add = |id| Request {
        id,
        key: Some(key("k", 1)),
        ..request(Command::Add(1))
    };
    let first = execute(&process, add(ID)).await.unwrap();

    let elsewhere = execute(&process, add(Uuid::max())).await.unwrap();

    let replayed = Executed {
        is_replayed: true,
        ..first
    };
    assert_eq!(elsewhere, replayed);
}

#[tokio::test]
async fn a_command_without_events_stores_its_key() {
    let store = ObservedStore::default();
    let process = process(&store);
    execute(&process, request(Command::Open)).await.unwrap();
    let set = || Request {
        key: Some(key("k", 1)),
        ..request(Command::Set(0))
    };
    assert_eq!(summary(execute(&process, set()).await), (false, 1, 0));
    execute(&process, request(Command::Set(3))).await.unwrap();

    let again = execute(&process, set()).await.unwrap();

    assert!(again.is_replayed);
    assert_eq!(versions(&store).await, [1, 2]);
}

#[tokio::test]
async fn a_key_that_was_used_for_another_request_is_refused() {
    let store = ObservedStore::default();
    let process = process(&store);
    execute(&process, request(Command::Open)).await.unwrap();
    let with = |command, fingerprint| Request {
        key: Some(key("k", fingerprint)),
        ..request(command)
    };
    execute(&process, with(Command::Add(1), 1)).await.unwrap();

    let would_succeed = execute(&process, with(Command::Add(1), 2)).await;
    let would_be_refused = execute(&process, with(Command::Add(99), 3)).await;

    assert!(matches!(would_succeed, Err(ExecuteError::KeyReused)));
    assert!(matches!(would_be_refused, Err(ExecuteError::KeyReused)));
    assert_eq!(versions(&store).await, [1, 2]);
}

#[tokio::test]
async fn a_refused_command_leaves_its_key_free() {
    let store = ObservedStore::default();
    let process = process(&store);
    execute(&process, request(Command::Open)).await.unwrap();
    let with_key = |command| Request {
        key: Some(key("k", 1)),
        ..request(command)
    };
    execute(&process, with_key(Command::Add(99)))
        .await
        .unwrap_err();

    let added = execute(&process, with_key(Command::Add(1))).await;

    assert!(!added.unwrap().is_replayed);
}

#[tokio::test]
async fn a_key_is_refused_while_its_command_runs() {
    let (store, gate) = ObservedStore::gated();
    let process = process(&store);
    let open = || Request {
        key: Some(key("k", 1)),
        ..request(Command::Open)
    };

    let (first, second) = tokio::join!(execute(&process, open()), async {
        gate.arrived.acquire().await.unwrap().forget();
        let second = execute(&process, open()).await;
        gate.open.add_permits(1);
        second
    });

    assert!(!first.unwrap().is_replayed);
    assert!(
        matches!(second, Err(ExecuteError::KeyInProgress)),
        "{second:?}"
    );
    let third = execute(&process, open());
    gate.open.add_permits(1);
    assert!(
        third.await.unwrap().is_replayed,
        "the key is free when its command is done"
    );
}

#[tokio::test]
async fn a_dropped_command_frees_its_key() {
    let (store, gate) = ObservedStore::gated();
    let process = process(&store);
    let open = || Request {
        key: Some(key("k", 1)),
        ..request(Command::Open)
    };

    tokio::select! {
        _ = execute(&process, open()) => panic!("the gate is closed"),
        arrived = gate.arrived.acquire() => arrived.unwrap().forget(),
    }

    gate.open.add_permits(1);
    assert_eq!(summary(execute(&process, open()).await), (true, 1, 0));
}

#[tokio::test]
async fn a_used_key_is_replayed_although_the_aggregate_is_unreadable_now() {
    let store = ObservedStore::default();
    let open = |fingerprint| Request {
        key: Some(key("k", fingerprint)),
        ..request(Command::Open)
    };
    execute(&process(&store), open(1)).await.unwrap();
    let unknown = NewEvent {
        event_type: "Melted",
        ..new_event(&Event::Added)
    };
    let stream = stream_of::<Counter>(ID);
    let append = plain_append(stream, Version::new(1), vec![unknown]);
    store.inner.append(append).await.unwrap();

    let again = execute(&process(&store), open(1)).await.unwrap();
    let other = execute(&process(&store), open(2)).await;

    assert!(again.is_replayed);
    assert!(matches!(other, Err(ExecuteError::KeyReused)), "{other:?}");
}

#[tokio::test]
async fn a_command_that_is_given_up_while_it_waits_frees_its_key() {
    let store = ObservedStore::default();
    let process = process(&store);
    execute(&process, request(Command::Open)).await.unwrap();
    let with_key = || Request {
        key: Some(key("k", 1)),
        ..request(Command::Add(1))
    };

    let running = process.claim(request(Command::Add(1))).await.unwrap();
    assert!(pin!(process.claim(with_key())).now_or_never().is_none());
    process.run(running, |counter, _| counter.n).await.unwrap();
    let added = execute(&process, with_key()).await;

    assert_eq!(
        summary(added),
        (true, 3, 2),
        "only the second one was applied"
    );
}
