//! Events before and after storage, and the numbers that order them.

use std::fmt;

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

/// A point in time, UTC. Stored instants have microseconds: see [`to_micros`].
pub type Timestamp = DateTime<Utc>;

/// Cuts an instant to the microseconds that a store keeps, so that the state folded before an
/// append equals the state folded from what was stored.
#[must_use]
pub fn to_micros(at: Timestamp) -> Timestamp {
    at.trunc_subsecs(6)
}

/// An event's place in its stream: 1, 2, 3 … without a hole; 0 is the stream before any event.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Version(i32);

impl Version {
    /// The version of a stream that has no event yet.
    pub const ZERO: Self = Self(0);

    /// Wraps a number read from a store or a client.
    #[must_use]
    pub const fn new(version: i32) -> Self {
        Self(version)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0
    }

    /// The version `count` events later.
    #[must_use]
    pub fn plus(self, count: usize) -> Self {
        Self(
            self.0
                .saturating_add(i32::try_from(count).unwrap_or(i32::MAX)),
        )
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An event's place in the whole store. It equals commit order; it rises, but may have holes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Position(i64);

impl Position {
    /// The place before the first event.
    pub const ZERO: Self = Self(0);

    /// Wraps a number read from a store or a client.
    #[must_use]
    pub const fn new(position: i64) -> Self {
        Self(position)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The place directly behind this one; the store may leave it empty.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The place so many behind this one.
    #[must_use]
    pub const fn plus(self, places: i64) -> Self {
        Self(self.0.saturating_add(places))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which stream: all events of one aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamId {
    /// The aggregate's stored type name.
    pub aggregate_type: &'static str,
    /// The aggregate's id.
    pub aggregate_id: Uuid,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.aggregate_type, self.aggregate_id)
    }
}

/// Who asked for an event and in which context: the audit trail's other half.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The principal (a token's `sub`), where there was one.
    pub actor: Option<String>,
    /// The id of the request that caused the event.
    pub request_id: Option<String>,
    /// What ties the events of one business transaction together.
    pub correlation_id: Option<String>,
    /// The id of the event or message that caused the command, where one did.
    pub causation_id: Option<String>,
    /// The W3C trace context of the request.
    pub traceparent: Option<String>,
}

/// An event of a domain: a fact with a stored name and a schema version.
pub trait DomainEvent: Sized + Clone + Send + Sync + 'static {
    /// All stored names with the schema version that is written today. An event that is missing here
    /// cannot be appended, because it could not be read back.
    const SCHEMAS: &'static [(&'static str, i16)];

    /// The stored name. It is a promise: never derive it from the Rust name.
    fn event_type(&self) -> &'static str;

    /// The schema version that [`Self::encode`] writes; the same as in [`Self::SCHEMAS`].
    fn schema_version(&self) -> i16;

    /// The JSON that is stored: the event in the newest schema version.
    ///
    /// # Errors
    /// Where the event cannot be written as JSON.
    fn encode(&self) -> Result<Box<RawValue>, serde_json::Error>;

    /// Reads stored JSON of the newest schema version.
    ///
    /// # Errors
    /// Where the type is unknown or the JSON does not fit it.
    fn decode(event_type: &str, data: &RawValue) -> Result<Self, DecodeError>;
}

/// Why stored JSON is no event of today.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// No event of the domain has this stored name.
    #[error("unknown event type {0}")]
    UnknownType(String),
    /// The JSON does not have the event's shape.
    #[error("{event_type} does not decode")]
    Malformed {
        /// The event's stored name.
        event_type: String,
        /// What did not fit.
        #[source]
        source: serde_json::Error,
    },
}

/// An event before storage.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The event's own id; a resent append is recognised by it.
    pub event_id: Uuid,
    /// The stored name.
    pub event_type: &'static str,
    /// The schema version of `data`.
    pub schema_version: i16,
    /// The event as JSON.
    pub data: Box<RawValue>,
}

/// An event after storage.
#[derive(Debug, Clone)]
pub struct RecordedEvent {
    /// Place in the store.
    pub position: Position,
    /// The event's own id.
    pub event_id: Uuid,
    /// Stored name of the aggregate's type.
    pub aggregate_type: String,
    /// Which aggregate.
    pub aggregate_id: Uuid,
    /// Place in the stream.
    pub version: Version,
    /// Stored name of the event.
    pub event_type: String,
    /// Schema version of `data`.
    pub schema_version: i16,
    /// The event as JSON.
    pub data: Box<RawValue>,
    /// [`Metadata`] as JSON.
    pub metadata: Box<RawValue>,
    /// When it happened.
    pub occurred_at: Timestamp,
}
