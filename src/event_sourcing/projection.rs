//! What a projection promises: each event applied once, in position order, with its cursor in the
//! same transaction as its rows.

use std::future::Future;

use super::{
    event::{Position, RecordedEvent},
    lease::Epoch,
    store::StoreError,
};

/// An event as it arrives over a broker: with the position of the event that stands before it in
/// the store. The chain of positions shows a lost message where holes in the numbers cannot
/// (identity values are burnt by failed transactions).
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The position of the event before this one; zero for the first.
    pub previous: Position,
    /// The event.
    pub event: RecordedEvent,
}

/// A read model that is kept from a stream of deliveries.
pub trait Projection: Send + Sync + 'static {
    /// Up to where the events are applied.
    fn checkpoint(&self) -> impl Future<Output = Result<Position, StoreError>> + Send;

    /// Applies what is new in `deliveries` and returns the new checkpoint, all in one transaction.
    /// What was applied before is skipped; what is missing between is read from the event store.
    /// Nothing is written where `epoch` is no longer the newest.
    ///
    /// # Errors
    /// Where the store fails, or another projector has moved the checkpoint meanwhile.
    fn apply(
        &self,
        deliveries: Vec<Delivery>,
        epoch: Epoch,
    ) -> impl Future<Output = Result<Position, StoreError>> + Send;
}
