//! What a projection promises: it applies each event once, in position order, and moves its checkpoint
//! in the transaction that writes its rows.

use std::{future::Future, sync::Arc};

use super::{
    event::{Position, RecordedEvent},
    lease::Epoch,
    store::StoreError,
};

/// A read model that is kept from the events of the store.
pub trait Projection: Send + Sync + 'static {
    /// The position up to which all events are applied.
    fn checkpoint(&self) -> impl Future<Output = Result<Position, StoreError>> + Send;

    /// Applies `events` and returns the new checkpoint, all in one transaction. `events` are all that
    /// the store holds after `after`, up to the last of them, in position order. Those that are applied
    /// already are skipped. Nothing is written if `epoch` is no longer the newest.
    ///
    /// # Errors
    /// If the store fails, if the checkpoint is before `after`, if `epoch` is an old one, or if other
    /// projectors have moved the checkpoint each time this one tried.
    fn apply(
        &self,
        after: Position,
        events: &[Arc<RecordedEvent>],
        epoch: Epoch,
    ) -> impl Future<Output = Result<Position, StoreError>> + Send;

    /// Makes the projection anew from the first event and returns its checkpoint: what its rows hold
    /// comes from events that the store does not have.
    ///
    /// # Errors
    /// If the store fails.
    fn rebuild(&self) -> impl Future<Output = Result<Position, StoreError>> + Send;
}
