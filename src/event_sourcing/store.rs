//! What an event store promises: whole appends at an expected version, reads in order.

use std::{error::Error, future::Future, sync::Arc};

use serde_json::value::RawValue;
use uuid::Uuid;

use super::event::{NewEvent, Position, RecordedEvent, StreamId, Timestamp, Version};

type Cause = Arc<dyn Error + Send + Sync>;

/// Why a store could not do what was asked, whatever was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store does not answer; what was asked did not happen. It may be asked again.
    #[error("the store is unavailable")]
    Unavailable(#[source] Cause),
    /// The bounded queue in front of the store is full; what was asked did not happen.
    #[error("the queue in front of the store is full")]
    Overloaded,
    /// The store did not answer in time; what was asked may have happened or may yet.
    #[error("the store did not answer in time, the outcome is unknown")]
    Unknown(#[source] Cause),
    /// What is stored (or what was to be stored) is not what it should be.
    #[error("{what} is corrupt")]
    Corrupt {
        /// The thing that is wrong, with its name.
        what: String,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
}

impl StoreError {
    /// An [`StoreError::Unavailable`] for this reason.
    pub fn unavailable(cause: impl Error + Send + Sync + 'static) -> Self {
        Self::Unavailable(Arc::new(cause))
    }

    /// An [`StoreError::Unknown`] for this reason.
    pub fn unknown(cause: impl Error + Send + Sync + 'static) -> Self {
        Self::Unknown(Arc::new(cause))
    }

    /// An [`StoreError::Corrupt`] about `what`.
    pub fn corrupt(what: impl Into<String>, cause: impl Error + Send + Sync + 'static) -> Self {
        Self::Corrupt {
            what: what.into(),
            source: Arc::new(cause),
        }
    }

    /// Whether asking again later can succeed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Overloaded | Self::Unknown(_) => true,
            Self::Corrupt { .. } => false,
        }
    }
}

/// A client's promise that requests under one key are one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Whose key: keys of different principals never meet.
    pub scope: String,
    /// The key as the client sent it.
    pub key: String,
    /// SHA-256 of the request that the key stands for.
    pub fingerprint: [u8; 32],
}

/// What is stored of an answer under its idempotency key. Its text is not: events never change, so it
/// can be written again from the state at `version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// A status in the terms of the outer protocol.
    pub status: u16,
    /// The version that the command led to.
    pub version: Version,
    /// Where the thing made stands, where something was made.
    pub location: Option<String>,
}

/// The answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What is stored of it.
    pub receipt: Receipt,
    /// Its text.
    pub body: Arc<str>,
}

/// A receipt found under its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredReceipt {
    /// SHA-256 of the request that the key stands for.
    pub fingerprint: [u8; 32],
    /// What is stored of the answer that was given.
    pub receipt: Receipt,
    /// The aggregate that the command was about; `None` where it had no events, and made none.
    pub aggregate_id: Option<Uuid>,
    /// The position of the command's last event (of the order's last event, where it made none).
    pub position: Position,
}

/// One command's events, to be stored whole or not at all.
#[derive(Debug, Clone)]
pub struct Append {
    /// The id of this attempt; a resent one is recognised by it.
    pub command_id: Uuid,
    /// Where the events go.
    pub stream: StreamId,
    /// The version that the stream must have.
    pub expected: Version,
    /// The events, in order. None at all is fine where there is a key to store.
    pub events: Vec<NewEvent>,
    /// When they happened.
    pub occurred_at: Timestamp,
    /// Who asked for them: [`Metadata`](super::event::Metadata) as JSON.
    pub metadata: Box<RawValue>,
    /// The key to store with them, and what to tell when it is used again.
    pub key: Option<(IdempotencyKey, Receipt)>,
}

impl Append {
    /// The events as they are once stored in a row, the last of them at this position.
    pub fn into_recorded(self, last: Position) -> impl Iterator<Item = RecordedEvent> {
        let count = i64::try_from(self.events.len()).unwrap_or(i64::MAX);
        let events = self.events.into_iter().enumerate().zip(1 - count..);
        events.map(move |((index, event), place)| RecordedEvent {
            position: last.plus(place),
            event_id: event.event_id,
            aggregate_type: self.stream.aggregate_type.to_owned(),
            aggregate_id: self.stream.aggregate_id,
            version: self.expected.plus(index + 1),
            event_type: event.event_type.to_owned(),
            schema_version: event.schema_version,
            data: event.data,
            metadata: self.metadata.clone(),
            occurred_at: self.occurred_at,
        })
    }
}

/// What an append led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// The position of the stream's last event.
    pub position: Position,
}

/// Why an append did not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The stream is not at the expected version.
    #[error("the stream is not at the expected version")]
    VersionConflict,
    /// The idempotency key was used before; this is what it led to.
    #[error("the idempotency key was used before")]
    DuplicateCommand(Box<StoredReceipt>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A snapshot as it is stored.
#[derive(Debug, Clone)]
pub struct StoredSnapshot {
    /// The version that the state is of.
    pub version: Version,
    /// The position of the event at that version.
    pub position: Position,
    /// When that event happened.
    pub occurred_at: Timestamp,
    /// The state as JSON.
    pub state: String,
}

/// What is stored of one stream.
#[derive(Debug, Clone, Default)]
pub struct StoredStream {
    /// The newest usable snapshot, where one was asked for and found.
    pub snapshot: Option<StoredSnapshot>,
    /// The events after the snapshot, in order.
    pub events: Vec<RecordedEvent>,
}

/// Which part of a stream's past is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// All of it.
    Now,
    /// Up to this version, inclusive.
    Version(Version),
    /// Up to this instant, inclusive.
    Timestamp(Timestamp),
}

/// An append-only store of events.
///
/// Implementors pass [`super::testing::contract`].
pub trait EventStore: Clone + Send + Sync + 'static {
    /// Reads a stream up to `until`, in one round trip; starting from a snapshot of state schema
    /// `snapshot` where one is given and found. A stream that does not exist is empty.
    fn load(
        &self,
        stream: StreamId,
        until: Until,
        snapshot: Option<i32>,
    ) -> impl Future<Output = Result<StoredStream, StoreError>> + Send;

    /// Reads at most `limit` events of a stream from version `from` on.
    fn read_stream(
        &self,
        stream: StreamId,
        from: Version,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<RecordedEvent>, StoreError>> + Send;

    /// Reads at most `limit` events of all streams after position `after`, in position order.
    fn read_all(
        &self,
        after: Position,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<RecordedEvent>, StoreError>> + Send;

    /// The position of the last event of all; zero where there is none.
    fn newest(&self) -> impl Future<Output = Result<Position, StoreError>> + Send;

    /// Stores one command's events and key, whole or not at all.
    fn append(&self, append: Append) -> impl Future<Output = Result<Appended, AppendError>> + Send;

    /// Finds what a key led to, where it was used before and has not run out.
    fn find_receipt(
        &self,
        key: &IdempotencyKey,
    ) -> impl Future<Output = Result<Option<StoredReceipt>, StoreError>> + Send;
}
