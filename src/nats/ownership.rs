//! Checks that the stream belongs to this store: it must not name another store as its owner, and
//! its last event must be the store's event at that position.
//!
//! Only relays that have made this check write to a stream, from its first message on. So if the
//! last event is the store's, all of them are.

use std::sync::Arc;

use super::{
    stream::EventStream,
    stream_error::{MismatchKind, StreamError},
    tail::StreamEnd,
};
use crate::event_sourcing::{EventStore, Position, StoreError, StoreIdentity};

/// A stream and the store that should fill it.
#[derive(Clone)]
pub struct StreamOwnership<S> {
    /// The stream.
    pub stream: EventStream,
    /// The store.
    pub store: S,
    /// The id of the store.
    pub identity: Arc<dyn StoreIdentity>,
}

impl<S: EventStore> StreamOwnership<S> {
    /// Whether the store contains the event at the stream's end. True for a stream without events.
    ///
    /// # Errors
    /// The store fails.
    pub async fn store_contains(&self, end: &StreamEnd) -> Result<bool, StoreError> {
        let StreamEnd::Event {
            position, event_id, ..
        } = end
        else {
            return Ok(true);
        };
        let before = Position::new(position.get().saturating_sub(1));
        let stored = self.store.read_all(before, 1).await?;
        Ok(stored
            .iter()
            .any(|event| event.position == *position && event.event_id == *event_id))
    }

    /// The error that says that store and stream do not match at `end`.
    #[must_use]
    pub fn mismatch(&self, end: &StreamEnd, kind: MismatchKind) -> StreamError {
        let (sequence, position) = match end {
            StreamEnd::Event {
                sequence, position, ..
            } => (*sequence, *position),
            StreamEnd::New | StreamEnd::Purged => (0, Position::ZERO),
        };
        StreamError::Mismatch {
            stream: self.stream.options().stream.clone(),
            sequence,
            position,
            kind,
        }
    }
}
