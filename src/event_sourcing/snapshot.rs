//! Snapshots: a cache of folded state, never a source of truth.
//!
//! One is taken after the commit and off the request path, whenever an append *crosses* a multiple
//! of the interval (commands that write several events would step over `version % n == 0`). It is
//! stored only where it is newer than what is there. One of another state schema, or one that does
//! not decode, is ignored together with its version.

use std::future::Future;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    aggregate::Aggregate,
    event::{StreamId, Version},
    store::StoreError,
};

/// A snapshot before storage.
#[derive(Debug, Clone)]
pub struct NewSnapshot<A> {
    /// Whose state.
    pub stream: StreamId,
    /// The version that the state is of.
    pub version: Version,
    /// The folded state.
    pub state: A,
}

/// Where snapshots go.
pub trait SnapshotStore: Send + Sync + 'static {
    /// Stores `state` (JSON) as of `version`, unless a newer one is there already.
    fn save(
        &self,
        stream: StreamId,
        version: Version,
        schema: i32,
        state: String,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Whether going from `before` to `after` passes a multiple of `every`.
#[must_use]
pub fn crosses(before: Version, after: Version, every: u32) -> bool {
    let every = i64::from(every.max(1));
    i64::from(before.get()) / every < i64::from(after.get()) / every
}

/// How many snapshots may wait for the store; further ones are dropped, as a cache may.
pub const QUEUE: usize = 64;

/// Stores snapshots as they come until cancelled. A failure costs speed only, so it is logged and
/// forgotten.
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
    fn an_append_that_steps_over_a_multiple_crosses_it() {
        let crosses = |before, after| crosses(Version::new(before), Version::new(after), 100);

        assert!(crosses(99, 100));
        assert!(crosses(98, 103));
        assert!(!crosses(100, 101));
        assert!(!crosses(0, 99));
    }
}
