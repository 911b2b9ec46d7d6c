//! Reads a message as the event that it carries.

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use orders::{
    event_sourcing::{Position, RecordedEvent, Timestamp, Version},
    nats::message::identify,
};
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

/// Reads a message as the event that it carries. Headers and body must describe the same event.
pub fn decode(headers: &HeaderMap, payload: &[u8]) -> RecordedEvent {
    let (position, event_id) = identify(headers).unwrap();
    let body: Body = serde_json::from_slice(payload).unwrap();
    assert_eq!((body.position, body.event_id), (position, event_id));
    body.into_event()
}

/// The body of a message.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    event_id: Uuid,
    aggregate_id: Uuid,
    aggregate_type: String,
    #[serde(rename = "type")]
    event_type: String,
    version: Version,
    position: Position,
    schema_version: i16,
    occurred_at: Timestamp,
    data: Box<RawValue>,
    metadata: BTreeMap<String, Box<RawValue>>,
}

impl Body {
    fn into_event(mut self) -> RecordedEvent {
        self.metadata.remove("timestamp").expect("a timestamp");
        RecordedEvent {
            position: self.position,
            event_id: self.event_id,
            aggregate_type: self.aggregate_type,
            aggregate_id: self.aggregate_id,
            version: self.version,
            event_type: self.event_type,
            schema_version: self.schema_version,
            data: self.data,
            metadata: to_raw_value(&self.metadata).unwrap(),
            occurred_at: self.occurred_at,
        }
    }
}
