//! A row of the table `events`: the one place that maps it to a recorded event.

use serde_json::value::RawValue;
use sqlx::types::Json;
use uuid::Uuid;

use crate::event_sourcing::{Position, RecordedEvent, Timestamp, Version};

/// A row of `events`, for `query_as!`. The query must name `type` as `event_type`, and give `data`
/// and `metadata` the type `Json<Box<RawValue>>`.
#[derive(Debug)]
pub struct EventRow {
    /// Place in the store.
    pub position: i64,
    /// The event's own id.
    pub event_id: Uuid,
    /// Stored name of the aggregate's type.
    pub aggregate_type: String,
    /// Which aggregate.
    pub aggregate_id: Uuid,
    /// Place in the stream.
    pub version: i32,
    /// Stored name of the event: the column `type`.
    pub event_type: String,
    /// Schema version of `data`.
    pub schema_version: i16,
    /// The event as JSON.
    pub data: Json<Box<RawValue>>,
    /// [`Metadata`](crate::event_sourcing::Metadata) as JSON.
    pub metadata: Json<Box<RawValue>>,
    /// When it happened.
    pub created_at: Timestamp,
}

impl From<EventRow> for RecordedEvent {
    fn from(row: EventRow) -> Self {
        Self {
            position: Position::new(row.position),
            event_id: row.event_id,
            aggregate_type: row.aggregate_type,
            aggregate_id: row.aggregate_id,
            version: Version::new(row.version),
            event_type: row.event_type,
            schema_version: row.schema_version,
            data: row.data.0,
            metadata: row.metadata.0,
            occurred_at: row.created_at,
        }
    }
}
