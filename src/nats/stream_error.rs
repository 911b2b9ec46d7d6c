//! Why the stream could not be used.

use std::{error::Error, fmt};

use uuid::Uuid;

use crate::event_sourcing::Position;

/// An error of the NATS client.
pub type ClientError = Box<dyn Error + Send + Sync>;

/// Why the stream could not be used. Every variant is worth another try: NATS may come back, and an
/// operator may remove the cause.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// The client is not connected.
    #[error("not connected to NATS")]
    Disconnected,
    /// NATS did not answer, or its answer could not be used.
    #[error("the NATS stream {stream} is unavailable")]
    Unavailable {
        /// The stream's name.
        stream: String,
        /// The client's error.
        #[source]
        source: ClientError,
    },
    /// The stream does not exist.
    #[error("the stream {stream} does not exist")]
    Missing {
        /// The stream's name.
        stream: String,
    },
    /// NATS refuses to create or change the stream.
    #[error("NATS refuses a change of the stream {stream}: {change}")]
    Refused {
        /// The stream's name.
        stream: String,
        /// What should change.
        change: String,
        /// The client's error.
        #[source]
        source: ClientError,
    },
    /// The stream has a setting that cannot be changed and does not suit.
    #[error("the stream {stream} cannot be used and must be deleted by an operator: {difference}")]
    Unchangeable {
        /// The stream's name.
        stream: String,
        /// The setting that does not suit.
        difference: String,
    },
    /// The stream names another store as its owner.
    #[error(
        "the stream {stream} belongs to the event store {owner}, and this one is {store}: this \
         service neither publishes to the stream nor reads from it; use another stream name, or \
         delete the stream to have it filled from this store"
    )]
    Foreign {
        /// The stream's name.
        stream: String,
        /// The id of the store that owns it.
        owner: Uuid,
        /// The id of this process's store.
        store: Uuid,
    },
    /// The stream's last event is not in the store.
    #[error(
        "the stream {stream} does not match this event store: the store has no event or another one \
         at position {position}, the position of the stream's last event (sequence {sequence}); {kind}"
    )]
    Mismatch {
        /// The stream's name.
        stream: String,
        /// The sequence of the last event's message.
        sequence: u64,
        /// The position of the last event.
        position: Position,
        /// Why they do not match.
        kind: MismatchKind,
    },
}

/// Why stream and store do not match. Its text says what happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MismatchKind {
    /// The stream is this store's, from before the store was restored.
    AfterRestore,
    /// The stream names no owner.
    UnknownOwner,
    /// Another process created the stream again, although this process holds the lease.
    ReplacedElsewhere,
}

impl fmt::Display for MismatchKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AfterRestore => {
                "the stream is this store's own from before a restore; it will be deleted and \
                 filled again once it has had no new message for a while"
            }
            Self::UnknownOwner => {
                "the stream does not name its owner, so nothing is published until both match; \
                 delete the stream to have it filled from this store"
            }
            Self::ReplacedElsewhere => {
                "another process has just created the stream again for this store, so a copy of \
                 this database is in use elsewhere: give the copy another stream name, then delete \
                 this stream to have it filled from this store"
            }
        })
    }
}
