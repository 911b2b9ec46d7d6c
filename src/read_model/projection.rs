//! The read model as a projection: what the subscriber asks of it.

use std::sync::Arc;

use super::{
    projector::Projector,
    rebuild::{Rebuild, RebuildError},
};
use crate::event_sourcing::{
    Epoch, EventStore, Position, RecordedEvent, StoreError, projection::Projection,
};

impl<S: EventStore> Projection for Projector<S> {
    async fn checkpoint(&self) -> Result<Position, StoreError> {
        Ok(self.read_checkpoint().await?.position)
    }

    async fn apply(
        &self,
        after: Position,
        events: &[Arc<RecordedEvent>],
        epoch: Epoch,
    ) -> Result<Position, StoreError> {
        self.apply_events(after, events, epoch).await
    }

    async fn rebuild(&self) -> Result<Position, StoreError> {
        match Rebuild::new(self.clone()).run(false, |_| {}).await {
            Ok(rebuilt) => Ok(rebuilt.position),
            Err(RebuildError::Store(error)) => Err(error),
            Err(running @ RebuildError::Running) => Err(StoreError::unavailable(running)),
        }
    }
}
