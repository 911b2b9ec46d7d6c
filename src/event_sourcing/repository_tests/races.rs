//! Races between processes are decided anew; commands within one process do not race.

use std::sync::atomic::Ordering::SeqCst;

use super::{
    counter::{Command, LIMIT},
    execute,
    observed_store::ObservedStore,
    process, request, summary, versions,
};
use crate::event_sourcing::{ExecuteError, Request, Version};

#[tokio::test]
async fn a_lost_race_is_decided_anew() {
    let store = ObservedStore::default();
    let process = process(&store);
    execute(&process, request(Command::Open)).await.unwrap();
    store.lost_races.store(2, SeqCst);

    let added = execute(&process, request(Command::Add(1))).await;

    assert_eq!(summary(added), (true, 4, 2), "on top of the other's 1");
}

#[tokio::test]
async fn a_lost_race_is_a_version_conflict_if_the_client_named_a_version() {
    let store = ObservedStore::default();
    let process = process(&store);
    execute(&process, request(Command::Open)).await.unwrap();
    store.lost_races.store(1, SeqCst);
    let request = Request {
        expected: Some(Version::new(1)),
        ..request(Command::Add(1))
    };

    let conflict = execute(&process, request).await;

    let Err(ExecuteError::VersionConflict { expected, current }) = conflict else {
        panic!("{conflict:?}")
    };
    assert_eq!((expected.get(), current.version.get()), (1, 2));
    assert_eq!(current.state.n, 1, "the error holds the current state");
    assert_eq!(versions(&store).await, [1, 2]);
}

#[tokio::test]
async fn a_command_gives_up_after_four_lost_races() {
    let store = ObservedStore::default();
    let process = process(&store);
    execute(&process, request(Command::Open)).await.unwrap();
    let before = store.appends.load(SeqCst);
    store.lost_races.store(100, SeqCst);

    let added = execute(&process, request(Command::Add(1))).await;

    assert!(matches!(added, Err(ExecuteError::Contention)), "{added:?}");
    assert_eq!(store.appends.load(SeqCst) - before, 4);
    store.lost_races.store(0, SeqCst);
    let again = execute(&process, request(Command::Add(1))).await;
    assert_eq!(summary(again).2, 2);
}

#[tokio::test]
async fn commands_on_one_aggregate_run_one_after_the_other() {
    let store = ObservedStore::default();
    let process = process(&store);
    execute(&process, request(Command::Open)).await.unwrap();
    let before = store.appends.load(SeqCst);

    let adds = (0..LIMIT).map(|_| execute(&process, request(Command::Add(1))));
    let outcomes = futures::future::join_all(adds).await;

    assert!(outcomes.iter().all(Result::is_ok));
    let appends = store.appends.load(SeqCst) - before;
    assert_eq!(appends, LIMIT as usize, "none had to try twice");
}

#[tokio::test]
async fn a_missing_aggregate_refuses_by_itself_whatever_version_the_client_named() {
    let process = process(&ObservedStore::default());
    let request = Request {
        expected: Some(Version::new(3)),
        ..request(Command::Add(1))
    };

    let refused = execute(&process, request).await;

    assert!(
        matches!(refused, Err(ExecuteError::Refused(_))),
        "{refused:?}"
    );
}
