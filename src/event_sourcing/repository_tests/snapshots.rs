//! When a command queues a snapshot.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    counter::{Command, Counter},
    execute,
    observed_store::ObservedStore,
    process, request, versions,
};
use crate::event_sourcing::{
    SnapshotStore, StoreError, StreamId, Version, snapshot::keep_snapshots,
};

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

/// A store of snapshots that passes them on.
struct Forward(mpsc::UnboundedSender<(i32, String)>);

impl SnapshotStore for Forward {
    async fn save(
        &self,
        _stream: StreamId,
        version: Version,
        _schema: i32,
        state: String,
    ) -> Result<(), StoreError> {
        self.0.send((version.get(), state)).unwrap();
        Err(StoreError::Overloaded)
    }
}

#[tokio::test]
async fn queued_snapshots_are_stored_also_after_one_that_was_not() {
    let (queue, queued) = mpsc::channel(8);
    let process = process(&ObservedStore::default()).with_snapshots(1, queue);
    execute(&process, request(Command::Open)).await.unwrap();
    execute(&process, request(Command::Add(1))).await.unwrap();
    drop(process);
    let (sender, mut stored) = mpsc::unbounded_channel();

    keep_snapshots::<Counter, _>(queued, Forward(sender), CancellationToken::new()).await;

    let (first, _) = stored.try_recv().unwrap();
    let (second, state) = stored.try_recv().unwrap();
    assert_eq!((first, second), (1, 2));
    assert_eq!(serde_json::from_str::<Counter>(&state).unwrap().n, 1);
}
