//! Why the stream could not be used.

use std::{error::Error, fmt};

use uuid::Uuid;

use crate::event_sourcing::Position;

/// What went wrong underneath.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why the stream could not be used. Everything here is worth another try: NATS may come back, and
/// an operator may change what is in the way.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// There is no connection right now.
    #[error("there is no connection to NATS")]
    Disconnected,
    /// NATS did not answer, or not as it should.
    #[error("NATS does not answer for the stream {stream}")]
    Unavailable {
        /// The stream's name.
        stream: String,
        /// What happened.
        #[source]
        source: Cause,
    },
    /// The stream does not exist.
    #[error("the stream {stream} does not exist")]
    Missing {
        /// The stream's name.
        stream: String,
    },
    /// The stream cannot be made or changed into what it should be.
    #[error("NATS refuses to make the stream {stream} as it should be ({wanted})")]
    Refused {
        /// The stream's name.
        stream: String,
        /// What should change.
        wanted: String,
        /// What NATS says.
        #[source]
        source: Cause,
    },
    /// The stream differs in what can never be changed.
    #[error("the stream {stream} cannot be used and must be deleted by hand: {difference}")]
    Unchangeable {
        /// The stream's name.
        stream: String,
        /// What is different.
        difference: String,
    },
    /// The stream says that it is another store's.
    #[error(
        "the stream {stream} belongs to the event store {owner}, and this one is {ours}: nothing is \
         published to it and nothing read from it; use a stream of another name, or delete this one \
         to have it filled from here"
    )]
    Foreign {
        /// The stream's name.
        stream: String,
        /// Whose it is.
        owner: Uuid,
        /// Who we are.
        ours: Uuid,
    },
    /// The stream's last event is not in the store.
    #[error(
        "the stream {stream} and this event store disagree: the store has another event at position \
         {position} or none, the stream's last one (sequence {sequence}); {remedy}"
    )]
    Disagreement {
        /// The stream's name.
        stream: String,
        /// The sequence of the last event message.
        sequence: u64,
        /// Its position.
        position: Position,
        /// What will be done, or has to be.
        remedy: Remedy,
    },
}

/// What is done where stream and store disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// It is this store's stream from before a restore.
    Replace,
    /// It does not say whose it is.
    Unproven,
    /// It was made anew while nobody but this process should have.
    Contested,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Replace => {
                "as it is this store's own, from before a restore, it is deleted and filled anew \
                 once nobody writes to it"
            }
            Self::Unproven => {
                "as it does not say whose it is, nothing is published until they agree (delete the \
                 stream to have it filled from here)"
            }
            Self::Contested => {
                "another process has just made it anew in the name of this store, so a copy of this \
                 database is in use elsewhere: give the copy a stream of its own, then delete this \
                 one to have it filled from here"
            }
        })
    }
}
