//! Snapshots: a cache of folded state, never a source of truth.
//!
//! A snapshot is taken after the commit and outside the request, when an append *crosses* a
//! multiple of the interval: `version % n == 0` would miss appends of several events. It replaces
//! only an older snapshot. A snapshot of another state schema, or one that does not decode, is
//! ignored together with its version.

use std::future::Future;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    aggregate::Aggregate,
    event::{StreamId, Version},
    store::StoreError,
};

/// A snapshot to be stored.
#[derive(Debug, Clone)]
pub struct NewSnapshot<A> {
    /// The aggregate's stream.
    pub stream: StreamId,
    /// The version of the state.
    pub version: Version,
    /// The folded state.
    pub state: A,
}

/// A store of snapshots.
pub trait SnapshotStore: Send + Sync + 'static {
    /// Stores `state` (JSON of state schema `schema`) at `version`, unless a newer snapshot is
    /// stored.
    fn save(
        &self,
        stream: StreamId,
        version: Version,
        schema: i32,
        state: String,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Whether there is a multiple of `every` in the versions after `before` up to `after`.
#[must_use]
pub fn crosses(before: Version, after: Version, every: u32) -> bool {
    let every = i64::from(every.max(1));
    i64::from(before.get()) / every < i64::from(after.get()) / every
}

/// How many snapshots can wait to be stored. Further ones are dropped: they are only a cache.
pub const QUEUE: usize = 64;

/// Stores queued snapshots until cancelled. A failure is only logged: it costs speed, not data.
pub async fn keep_snapshots<A: Aggregate, S: SnapshotStore>(
    mut queue: mpsc::Receiver<NewSnapshot<A>>,
    store: S,
    cancel: CancellationToken,
) {
    while let Some(Some(snapshot)) = cancel.run_until_cancelled(queue.recv()).await {
        let NewSnapshot {
            stream,
            version,
            state,
        } = snapshot;
        let saved = match serde_json::to_string(&state) {
            Ok(state) => store.save(stream, version, A::STATE_SCHEMA, state).await,
            Err(error) => Err(StoreError::corrupt(format!("state of {stream}"), error)),
        };
        if let Err(error) = saved {
            warn!(error = &error as &dyn std::error::Error, %stream, %version, "snapshot not stored");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_append_that_reaches_or_passes_a_multiple_crosses_it() {
        let crosses = |before, after| crosses(Version::new(before), Version::new(after), 100);

        assert!(crosses(99, 100));
        assert!(crosses(98, 103));
        assert!(!crosses(100, 101));
        assert!(!crosses(0, 99));
    }
}
