//! The history of an order as JSON.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use super::order::Rfc3339;
use crate::event_sourcing::{Metadata, RecordedEvent, StoreError};

/// A part of the history of an order.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryPage {
    /// The events in version order.
    pub items: Vec<HistoryEntry>,
    /// The `fromVersion` of the next part; null at the end.
    #[schema(required)]
    pub next_from_version: Option<i32>,
}

/// An event. `data` has the newest schema version.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// The event's id.
    pub event_id: Uuid,
    /// The order's id.
    pub order_id: Uuid,
    /// The type of the event.
    #[schema(example = "OrderItemAdded")]
    pub r#type: String,
    /// The version of the order after the event: 1, 2, 3 …
    pub version: i32,
    /// The position of the event in the store.
    pub position: i64,
    /// The schema version of `data`.
    pub schema_version: i16,
    /// The time of the event.
    pub occurred_at: Rfc3339,
    /// The values of the event; the members depend on `type`.
    #[schema(value_type = Object)]
    pub data: Box<RawValue>,
    /// Who caused the event, and in which context.
    #[schema(value_type = EventMetadata)]
    pub metadata: Metadata,
}

/// Who caused an event, and in which context.
#[derive(Debug, ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(
    dead_code,
    reason = "documents Metadata, whose layer does not know OpenAPI"
)]
pub struct EventMetadata<'a> {
    /// The principal that sent the request.
    #[schema(required)]
    actor: Option<Cow<'a, str>>,
    /// The id of the request that caused the event.
    #[schema(required)]
    request_id: Option<Cow<'a, str>>,
    /// The trace id of the request, or its id if it has no trace.
    #[schema(required)]
    correlation_id: Option<Cow<'a, str>>,
    /// The message that caused the command.
    #[schema(required)]
    causation_id: Option<Cow<'a, str>>,
    /// The W3C trace context of the request.
    #[schema(required)]
    traceparent: Option<Cow<'a, str>>,
}

impl TryFrom<RecordedEvent> for HistoryEntry {
    type Error = StoreError;

    /// # Errors
    /// [`StoreError::Corrupt`] if the metadata cannot be read. Members that older events lack become
    /// null.
    fn try_from(event: RecordedEvent) -> Result<Self, StoreError> {
        let metadata = serde_json::from_str(event.metadata.get());
        let metadata = metadata.map_err(|error| {
            StoreError::corrupt(format!("metadata of {}", event.event_id), error)
        })?;
        Ok(Self {
            event_id: event.event_id,
            order_id: event.aggregate_id,
            r#type: event.event_type,
            version: event.version.get(),
            position: event.position.get(),
            schema_version: event.schema_version,
            occurred_at: Rfc3339(event.occurred_at),
            data: event.data,
            metadata,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use utoipa::PartialSchema;

    use super::*;

    #[test]
    fn every_member_of_the_metadata_is_documented_and_no_other() {
        let metadata = serde_json::to_value(Metadata::default()).unwrap();
        let schema = serde_json::to_value(EventMetadata::schema()).unwrap();
        let names = |object: &serde_json::Value| {
            let members = object.as_object().unwrap();
            members.keys().cloned().collect::<BTreeSet<_>>()
        };

        assert_eq!(names(&metadata), names(&schema["properties"]));
    }
}
