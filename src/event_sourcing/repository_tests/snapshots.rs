//! When a command queues a snapshot.

use tokio::sync::mpsc;

use super::{counter::Command, execute, observed_store::ObservedStore, process, request, versions};

#[tokio::test]
async fn a_command_of_many_events_queues_one_snapshot_of_the_state_after_it() {
    let store = ObservedStore::default();
    let (queue, mut snapshots) = mpsc::channel(8);
    let process = process(&store).with_snapshots(3, queue);
    execute(&process, request(Command::Open)).await.unwrap();

    execute(&process, request(Command::Add(7))).await.unwrap();
    execute(&process, request(Command::Set(8))).await.unwrap();

    let versions: Vec<_> = std::iter::from_fn(|| snapshots.try_recv().ok())
        .map(|snapshot| (snapshot.version.get(), snapshot.state.n))
        .collect();
    assert_eq!(versions, [(8, 7), (9, 8)]);
}

#[tokio::test]
async fn a_full_or_closed_snapshot_queue_does_not_delay_commands() {
    let store = ObservedStore::default();
    let (queue, snapshots) = mpsc::channel(1);
    let full = process(&store).with_snapshots(1, queue);
    execute(&full, request(Command::Open)).await.unwrap();

    execute(&full, request(Command::Add(1))).await.unwrap();
    drop(snapshots);
    execute(&full, request(Command::Add(1))).await.unwrap();

    assert_eq!(versions(&store).await, [1, 2, 3]);
}
