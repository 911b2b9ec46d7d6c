//! The cached state saves loads, and a stale one costs a retry, never a wrong result.

use std::sync::atomic::Ordering::SeqCst;

use uuid::Uuid;

use super::{
    counter::{Command, Counter, LIMIT, Refusal},
    execute,
    observed_store::ObservedStore,
    process, process_with, request, summary, versions,
};
use crate::event_sourcing::{
    ExecuteError, Repository, Request, Version, repository::RepositoryOptions,
};

#[tokio::test]
async fn a_cached_aggregate_is_not_loads_with_counters_at() {
    let store = ObservedStore::default();
    let process = process(&store);
    execute(&process, request(Command::Open)).await.unwrap();
    let loads = store.loads.load(SeqCst);

    execute(&process, request(Command::Add(2))).await.unwrap();

    assert_eq!(store.loads.load(SeqCst), loads);
    assert_eq!(versions(&store).await, [1, 2, 3]);
}

/// Opens 300 counters, sets them to `n`, then adds 1 to each, with a cache of 400. Returns how many
/// were loaded.
async fn loads_with_counters_at(n: u32) -> usize {
    let store = ObservedStore::default();
    let options = RepositoryOptions {
        cached_aggregates: 400,
    };
    let process = process_with(&store, options);
    let commands = |id, command| Request {
        id: Uuid::from_u128(id),
        is_new: matches!(command, Command::Open),
        ..request(command)
    };
    for id in 0..300 {
        execute(&process, commands(id, Command::Open))
            .await
            .unwrap();
        execute(&process, commands(id, Command::Set(n)))
            .await
            .unwrap();
    }
    for id in 0..300 {
        execute(&process, commands(id, Command::Add(1)))
            .await
            .unwrap();
    }
    store.loads.load(SeqCst)
}

#[tokio::test]
async fn a_large_aggregate_takes_the_place_of_several() {
    assert_eq!(loads_with_counters_at(1).await, 0);
    // Four kilobytes each: 100 fit.
    assert!(loads_with_counters_at(8).await >= 150);
}

#[tokio::test]
async fn a_new_aggregate_is_not_loaded() {
    let store = ObservedStore::default();
    let request = Request {
        is_new: true,
        ..request(Command::Open)
    };

    execute(&process(&store), request).await.unwrap();

    assert_eq!(store.loads.load(SeqCst), 0);
}

#[tokio::test]
async fn an_existing_aggregate_that_was_called_new_is_loaded() {
    let store = ObservedStore::default();
    execute(&process(&store), request(Command::Open))
        .await
        .unwrap();
    let request = Request {
        is_new: true,
        ..request(Command::Set(4))
    };

    assert_eq!(
        summary(execute(&process(&store), request).await),
        (true, 2, 4)
    );
}

/// Two processes on one store: the first has cached the counter at version 2 with the number
/// `cached`, then the second has executed the command `meanwhile`. Returns the store and the first
/// process.
async fn a_stale_process(
    cached: u32,
    meanwhile: Command,
) -> (ObservedStore, Repository<Counter, ObservedStore>) {
    let store = ObservedStore::default();
    let stale = process(&store);
    execute(&stale, request(Command::Open)).await.unwrap();
    execute(&stale, request(Command::Set(cached)))
        .await
        .unwrap();
    execute(&process(&store), request(meanwhile)).await.unwrap();
    (store, stale)
}

#[tokio::test]
async fn a_stale_cache_does_not_refuse_a_command() {
    let (_, stale) = a_stale_process(LIMIT, Command::Set(0)).await;

    let added = execute(&stale, request(Command::Add(1))).await;

    assert_eq!(summary(added), (true, 4, 1));
}

#[tokio::test]
async fn a_stale_cache_does_not_decide_that_nothing_changes() {
    let (store, stale) = a_stale_process(5, Command::Set(6)).await;

    let set = execute(&stale, request(Command::Set(5))).await;

    assert_eq!(summary(set), (true, 4, 5));
    assert_eq!(versions(&store).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_stale_cache_does_not_accept_a_command() {
    let (store, stale) = a_stale_process(5, Command::Close).await;

    let added = execute(&stale, request(Command::Add(1))).await;

    assert!(matches!(
        added,
        Err(ExecuteError::Refused(Refusal::NotOpen))
    ));
    assert_eq!(versions(&store).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_stale_cache_does_not_report_a_version_conflict() {
    let (_, stale) = a_stale_process(5, Command::Set(6)).await;
    let request = Request {
        expected: Some(Version::new(3)),
        ..request(Command::Set(7))
    };

    assert_eq!(summary(execute(&stale, request).await), (true, 4, 7));
}

#[tokio::test]
async fn an_aggregate_without_a_snapshot_is_loaded_in_one_round_trip() {
    let store = ObservedStore::default();
    execute(&process(&store), request(Command::Open))
        .await
        .unwrap();
    let before = store.loads.load(SeqCst);

    execute(&process(&store), request(Command::Add(1)))
        .await
        .unwrap();

    assert_eq!(store.loads.load(SeqCst) - before, 1);
}
