//! Why a step of the subscriber failed.

use super::{failure_log::Severity, stream_error::StreamError};
use crate::event_sourcing::StoreError;

/// Why a step of the subscriber failed.
#[derive(Debug, thiserror::Error)]
pub enum SubscriberError {
    /// The projection or the lease failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The stream cannot be read.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The consumer ended without an error.
    #[error("the consumer ended")]
    Ended,
    /// The consumer skipped a message.
    #[error("the consumer delivered message {found}, expected {expected}")]
    Gap {
        /// The number of the expected delivery.
        expected: u64,
        /// The number of the received delivery.
        found: u64,
    },
}

impl SubscriberError {
    /// Whether an operator has to act.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self {
            Self::Store(StoreError::Corrupt { .. }) => Severity::Alarm,
            Self::Store(
                StoreError::Unavailable(_) | StoreError::Overloaded | StoreError::Unknown(_),
            )
            | Self::Stream(_)
            | Self::Ended
            | Self::Gap { .. } => Severity::Warning,
        }
    }
}
