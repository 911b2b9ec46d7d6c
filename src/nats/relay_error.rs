//! Why a step of the relay failed.

use async_nats::jetstream::context::{PublishError, PublishErrorKind};

use super::{failure_log::Severity, stream_error::StreamError};
use crate::event_sourcing::{Position, StoreError};

/// Why a step of the relay failed.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The event store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stream cannot be used.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// Another process took the lease before this one could create the stream.
    #[error("another process took the relay's lease before the stream was created")]
    LeaseLost,
    /// An event could not be written as a message.
    #[error("the event at position {position} cannot be written as a message")]
    Encode {
        /// The event's position.
        position: Position,
        /// The error of `serde_json`.
        #[source]
        source: serde_json::Error,
    },
    /// A message could not be sent or was refused.
    #[error("the event at position {position} was not published")]
    Publish {
        /// The event's position.
        position: Position,
        /// The client's error.
        #[source]
        source: PublishError,
    },
    /// A message was acknowledged with another sequence than expected, or as a duplicate.
    #[error(
        "the event at position {position} was acknowledged at sequence {found}, expected \
         {expected} (duplicate: {duplicate})"
    )]
    Acknowledgement {
        /// The event's position.
        position: Position,
        /// The expected sequence.
        expected: u64,
        /// The acknowledged sequence.
        found: u64,
        /// Whether NATS says that the message is a duplicate.
        duplicate: bool,
    },
    /// The window was not acknowledged in time.
    #[error("a window of {messages} messages was not acknowledged in time")]
    Deadline {
        /// The number of messages in the window.
        messages: usize,
    },
}

impl RelayError {
    /// Whether an operator has to act.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Stream(
                StreamError::Refused { .. }
                | StreamError::Unchangeable { .. }
                | StreamError::Foreign { .. }
                | StreamError::Mismatch { .. },
            )
            | Self::Encode { .. } => Severity::Alarm,
            // No later event is published until NATS allows larger messages.
            Self::Publish { source, .. }
                if source.kind() == PublishErrorKind::MaxPayloadExceeded =>
            {
                Severity::Alarm
            }
            Self::Store(_)
            | Self::Stream(
                StreamError::Disconnected
                | StreamError::Unavailable { .. }
                | StreamError::Missing { .. },
            )
            | Self::LeaseLost
            | Self::Acknowledgement { .. }
            | Self::Publish { .. }
            | Self::Deadline { .. } => Severity::Warning,
        }
    }
}
