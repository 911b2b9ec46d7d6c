//! Events before and after they are stored, and the numbers that order them.

use std::fmt;

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

/// A point in time, UTC. Stored times have microseconds: see [`to_micros`].
pub type Timestamp = DateTime<Utc>;

/// Cuts a time to the microseconds that a store keeps. Without this, the state in memory would differ
/// from the state that is folded from stored events.
#[must_use]
pub fn to_micros(at: Timestamp) -> Timestamp {
    at.trunc_subsecs(6)
}

/// A time as clients and subscribers see it: RFC 3339, UTC, with six decimals.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// The number of an event in its stream: 1, 2, 3 … without a gap. 0 is a stream without events.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Version(i32);

impl Version {
    /// The version of a stream without events.
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

/// The number of an event in the whole store. Positions rise in the order of commits and may have gaps.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Position(i64);

impl Position {
    /// The position before the first event.
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

    /// The position directly after this one. It may have no event.
    #[must_use]
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The position `count` after this one.
    #[must_use]
    pub const fn plus(self, count: i64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The id of a stream. A stream is all events of one aggregate.
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

/// Who caused an event, and in which context. Events and their metadata are the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The authenticated caller (the `sub` of its token), if there was one.
    pub actor: Option<String>,
    /// The id of the request that caused the event.
    pub request_id: Option<String>,
    /// The id that all events of one business transaction share.
    pub correlation_id: Option<String>,
    /// The id of the event or message that caused the command, if one did.
    pub causation_id: Option<String>,
    /// The W3C trace context of the request.
    pub traceparent: Option<String>,
}

/// An event of a domain, with a stored name and a schema version.
pub trait DomainEvent: Sized + Clone + Send + Sync + 'static {
    /// All stored names with the schema version that is written today. An event that is missing here
    /// cannot be appended, because it could not be read back.
    const SCHEMAS: &'static [(&'static str, i16)];

    /// The stored name. It must never change, so do not derive it from the Rust name.
    fn event_type(&self) -> &'static str;

    /// The schema version that [`Self::encode`] writes; the same as in [`Self::SCHEMAS`].
    fn schema_version(&self) -> i16;

    /// Writes the JSON that is stored, in the newest schema version.
    ///
    /// # Errors
    /// The JSON error, if the event cannot be serialised.
    fn encode(&self) -> Result<Box<RawValue>, serde_json::Error>;

    /// Reads stored JSON of the newest schema version.
    ///
    /// # Errors
    /// [`DecodeError`] if the type is unknown or the JSON does not have its shape.
    fn decode(event_type: &str, data: &RawValue) -> Result<Self, DecodeError>;
}

/// Why stored JSON cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The domain has no event with this stored name.
    #[error("unknown event type {0}")]
    UnknownType(String),
    /// The JSON does not have the event's shape.
    #[error("{event_type} does not decode")]
    Malformed {
        /// The event's stored name.
        event_type: String,
        /// The JSON error.
        #[source]
        source: serde_json::Error,
    },
}

/// An event before it is stored.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// The event's id. The store recognises a repeated append by it.
    pub event_id: Uuid,
    /// The stored name.
    pub event_type: &'static str,
    /// The schema version of `data`.
    pub schema_version: i16,
    /// The event as JSON.
    pub data: Box<RawValue>,
}

/// A stored event.
#[derive(Debug, Clone)]
pub struct RecordedEvent {
    /// The position in the store.
    pub position: Position,
    /// The event's id.
    pub event_id: Uuid,
    /// The stored name of the aggregate's type.
    pub aggregate_type: String,
    /// The aggregate's id.
    pub aggregate_id: Uuid,
    /// The version in the stream.
    pub version: Version,
    /// The stored name of the event.
    pub event_type: String,
    /// The schema version of `data`.
    pub schema_version: i16,
    /// The event as JSON.
    pub data: Box<RawValue>,
    /// [`Metadata`] as JSON.
    pub metadata: Box<RawValue>,
    /// When it occurred.
    pub occurred_at: Timestamp,
}
