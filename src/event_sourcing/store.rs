//! The interface of an event store: appends all or nothing at an expected version, reads in order.

use std::{error::Error, future::Future, sync::Arc};

use serde_json::value::RawValue;
use uuid::Uuid;

use super::event::{NewEvent, Position, RecordedEvent, StreamId, Timestamp, Version};

/// The error beneath a [`StoreError`]; shared, because one failed statement can answer many
/// commands.
type Cause = Arc<dyn Error + Send + Sync>;

/// Why an operation of a store failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The store did not answer. The operation did not happen and can be repeated.
    #[error("the store is unavailable")]
    Unavailable(#[source] Cause),
    /// The bounded queue in front of the store is full. The operation did not happen.
    #[error("the queue in front of the store is full")]
    Overloaded,
    /// The store did not answer in time. The operation may have happened, or may still happen.
    #[error("the store did not answer in time, the outcome is unknown")]
    Unknown(#[source] Cause),
    /// Stored data, or data to be stored, is invalid.
    #[error("{what} is corrupt")]
    Corrupt {
        /// The name of the invalid thing.
        what: String,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
}

impl StoreError {
    /// A [`StoreError::Unavailable`] with this cause.
    pub fn unavailable(cause: impl Error + Send + Sync + 'static) -> Self {
        Self::Unavailable(Arc::new(cause))
    }

    /// A [`StoreError::Unknown`] with this cause.
    pub fn unknown(cause: impl Error + Send + Sync + 'static) -> Self {
        Self::Unknown(Arc::new(cause))
    }

    /// A [`StoreError::Corrupt`] about `what`.
    pub fn corrupt(what: impl Into<String>, cause: impl Error + Send + Sync + 'static) -> Self {
        Self::Corrupt {
            what: what.into(),
            source: Arc::new(cause),
        }
    }

    /// Whether the same operation can succeed later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::Overloaded | Self::Unknown(_) => true,
            Self::Corrupt { .. } => false,
        }
    }
}

/// A client's idempotency key: requests with the same key are one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// The owner of the key. Equal keys of different scopes are different keys.
    pub scope: String,
    /// The key as the client sent it.
    pub key: String,
    /// SHA-256 of the request, to detect that a key is used for two requests.
    pub fingerprint: [u8; 32],
}

/// What is stored under a used idempotency key. Events never change, so the first result can be
/// made again from the aggregate at `version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedKey {
    /// SHA-256 of the request that used the key.
    pub fingerprint: [u8; 32],
    /// The command's aggregate; `None` if its stream was empty and stayed empty.
    pub aggregate_id: Option<Uuid>,
    /// The aggregate's version after the command.
    pub version: Version,
    /// Whether the command had events.
    pub has_changed: bool,
    /// The position of the stream's last event after the command; zero for an empty stream.
    pub position: Position,
}

/// One command's events, to be stored all or nothing.
#[derive(Debug, Clone)]
pub struct Append {
    /// The id of this attempt. The store recognises a resent attempt by it.
    pub command_id: Uuid,
    /// The stream to append to.
    pub stream: StreamId,
    /// The version that the stream must have.
    pub expected: Version,
    /// The events, in order. They may be none if there is a key to store.
    pub events: Vec<NewEvent>,
    /// When the events happened.
    pub occurred_at: Timestamp,
    /// [`Metadata`](super::event::Metadata) of the events, as JSON.
    pub metadata: Box<RawValue>,
    /// The key to store with the events.
    pub key: Option<IdempotencyKey>,
}

impl Append {
    /// The stream's version after the append.
    #[must_use]
    pub fn last_version(&self) -> Version {
        self.expected.plus(self.events.len())
    }

    /// The events as recorded events at consecutive positions that end with `last`.
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

/// The result of a successful append.
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
    /// The idempotency key was used before.
    #[error("the idempotency key was used before")]
    DuplicateCommand(Box<UsedKey>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A stored snapshot.
#[derive(Debug, Clone)]
pub struct StoredSnapshot {
    /// The version of the state.
    pub version: Version,
    /// The position of the event at that version.
    pub position: Position,
    /// When that event happened.
    pub occurred_at: Timestamp,
    /// The state as JSON.
    pub state: String,
}

/// A stream as it is stored.
#[derive(Debug, Clone, Default)]
pub struct StoredStream {
    /// The newest usable snapshot, if one was requested and found.
    pub snapshot: Option<StoredSnapshot>,
    /// The events after the snapshot, in order.
    pub events: Vec<RecordedEvent>,
}

/// How much of a stream to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// All of it.
    Now,
    /// Events up to this version, inclusive.
    Version(Version),
    /// Events up to this time, inclusive.
    Timestamp(Timestamp),
}

/// An append-only store of events. Every implementation passes [`super::testing::contract`].
pub trait EventStore: Clone + Send + Sync + 'static {
    /// Reads a stream up to `until` in one round trip. With `snapshot`, a state schema, it starts
    /// from the newest snapshot of that schema, if there is one. A stream that does not exist is
    /// empty.
    fn load(
        &self,
        stream: StreamId,
        until: Until,
        snapshot: Option<i32>,
    ) -> impl Future<Output = Result<StoredStream, StoreError>> + Send;

    /// Reads at most `limit` events of a stream, from version `from` on.
    fn read_stream(
        &self,
        stream: StreamId,
        from: Version,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<RecordedEvent>, StoreError>> + Send;

    /// Reads at most `limit` events of a stream, the first ones after position `after`.
    fn read_stream_after(
        &self,
        stream: StreamId,
        after: Position,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<RecordedEvent>, StoreError>> + Send;

    /// Reads at most `limit` events of all streams after position `after`, in position order.
    fn read_all(
        &self,
        after: Position,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<RecordedEvent>, StoreError>> + Send;

    /// The position of the newest event in the store; zero for an empty store.
    fn newest(&self) -> impl Future<Output = Result<Position, StoreError>> + Send;

    /// Stores one command's events and key, all or nothing.
    fn append(&self, append: Append) -> impl Future<Output = Result<Appended, AppendError>> + Send;

    /// Finds what is stored under a key; `None` if the key is unused or has expired.
    fn find_key(
        &self,
        key: &IdempotencyKey,
    ) -> impl Future<Output = Result<Option<UsedKey>, StoreError>> + Send;
}

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;

    use super::*;
    use crate::event_sourcing::testing::instant;

    #[test]
    fn an_operation_on_unreadable_data_cannot_succeed_later() {
        assert!(StoreError::unavailable(std::fmt::Error).is_transient());
        assert!(StoreError::unknown(std::fmt::Error).is_transient());
        assert!(StoreError::Overloaded.is_transient());
        assert!(!StoreError::corrupt("an event", std::fmt::Error).is_transient());
    }

    #[test]
    fn the_last_event_of_an_append_has_its_position() {
        let event = |id| NewEvent {
            event_id: Uuid::from_u128(id),
            event_type: "Added",
            schema_version: 1,
            data: to_raw_value(&()).unwrap(),
        };
        let append = Append {
            command_id: Uuid::nil(),
            stream: StreamId {
                aggregate_type: "Counter",
                aggregate_id: Uuid::nil(),
            },
            expected: Version::new(4),
            events: vec![event(1), event(2), event(3)],
            occurred_at: instant(1),
            metadata: to_raw_value(&()).unwrap(),
            key: None,
        };

        let recorded = append.into_recorded(Position::new(10));

        let places: Vec<_> = recorded
            .map(|event| (event.position.get(), event.version.get()))
            .collect();
        assert_eq!(places, [(8, 5), (9, 6), (10, 7)]);
    }
}
