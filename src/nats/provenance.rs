//! Whether the stream is this store's: it must not say that it is another's, and its last event must
//! be the store's event at that position.
//!
//! A stream is only ever written by relays that have found it so, in one incarnation from its first
//! message on; so where its last event is the store's, all of them are.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::{
    stream::{EventStream, StreamState},
    stream_error::{Remedy, StreamError},
    tail::{self, End},
};
use crate::event_sourcing::{EventStore, Position, StoreError, StoreIdentity};

/// Looks at the stream and vouches for it: what it says may be applied.
pub type StreamCheck<E> = Arc<dyn Fn() -> BoxFuture<'static, Result<StreamState, E>> + Send + Sync>;

/// A stream beside the store that it should be filled from.
#[derive(Clone)]
pub struct Provenance<S> {
    /// The stream.
    pub stream: EventStream,
    /// The store.
    pub store: S,
    /// Which store that is.
    pub identity: Arc<dyn StoreIdentity>,
}

impl<S: EventStore> Provenance<S> {
    /// Whether the store holds what stands at the stream's end.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn knows(&self, end: &End) -> Result<bool, StoreError> {
        let End::Event {
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

    /// The disagreement about `end`.
    #[must_use]
    pub fn disagreement(&self, end: &End, remedy: Remedy) -> StreamError {
        let (sequence, position) = match end {
            End::Event {
                sequence, position, ..
            } => (*sequence, *position),
            End::New | End::Purged => (0, Position::ZERO),
        };
        StreamError::Disagreement {
            stream: self.stream.options().stream.clone(),
            sequence,
            position,
            remedy,
        }
    }

    /// The state of the stream, once it is found to be this store's; changes nothing.
    ///
    /// # Errors
    /// Where it is not, is not there, or somebody does not answer.
    pub async fn vouched<E>(&self) -> Result<StreamState, E>
    where
        E: From<StoreError> + From<StreamError>,
    {
        let ours = self.identity.id().await?;
        let state = self.stream.state().await?;
        let state = state.ok_or_else(|| self.stream.missing())?;
        self.stream.not_foreign(&state, ours)?;
        let tail = tail::find(&self.stream, state.clone()).await?;
        if self.knows(&tail.end).await? {
            return Ok(state);
        }
        let remedy = match state.stamp {
            Some(_) => Remedy::Replace,
            None => Remedy::Unproven,
        };
        Err(self.disagreement(&tail.end, remedy).into())
    }

    /// [`Self::vouched`] as a port.
    pub fn vouch<E>(self) -> StreamCheck<E>
    where
        E: From<StoreError> + From<StreamError> + 'static,
    {
        let provenance = Arc::new(self);
        Arc::new(move || {
            let provenance = Arc::clone(&provenance);
            Box::pin(async move { provenance.vouched().await })
        })
    }
}
