//! Why a step of the relay did not publish what it should.

use async_nats::jetstream::context::{PublishError, PublishErrorKind};

use super::{failure_log::Loudness, stream::StreamError};
use crate::event_sourcing::{Position, StoreError};

/// Why a step of the relay did not publish what it should.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The event store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stream cannot be used.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The lease passed on before a new stream was begun.
    #[error("the lease passed on before a new stream was begun")]
    Superseded,
    /// A message could not be sent or was refused.
    #[error("the event at position {position} was not published")]
    Publish {
        /// The event's position.
        position: Position,
        /// Why not.
        #[source]
        source: PublishError,
    },
    /// A message was acknowledged, but not as the one that it should be.
    #[error(
        "the event at position {position} was acknowledged at sequence {found} instead of \
         {expected} (duplicate: {duplicate})"
    )]
    Acknowledgement {
        /// The event's position.
        position: Position,
        /// The sequence that it should have.
        expected: u64,
        /// The sequence that was acknowledged.
        found: u64,
        /// Whether NATS says that it was there before.
        duplicate: bool,
    },
    /// The window was not acknowledged in time.
    #[error("a window of {messages} messages was not acknowledged in time")]
    Deadline {
        /// How many messages it had.
        messages: usize,
    },
}

impl RelayError {
    /// How loud to complain.
    #[must_use]
    pub fn loudness(&self) -> Loudness {
        match self {
            Self::Stream(
                StreamError::Refused { .. }
                | StreamError::Unchangeable { .. }
                | StreamError::Foreign { .. }
                | StreamError::Disagreement { .. },
            ) => Loudness::Alarm,
            // NATS must allow larger messages: nothing after this event is published until then.
            Self::Publish { source, .. }
                if source.kind() == PublishErrorKind::MaxPayloadExceeded =>
            {
                Loudness::Alarm
            }
            Self::Store(_)
            | Self::Stream(
                StreamError::Disconnected
                | StreamError::Unavailable { .. }
                | StreamError::Missing { .. },
            )
            | Self::Superseded
            | Self::Acknowledgement { .. }
            | Self::Publish { .. }
            | Self::Deadline { .. } => Loudness::Warning,
        }
    }
}
