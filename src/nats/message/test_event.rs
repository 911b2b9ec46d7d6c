//! An event for the tests of this folder.

use chrono::{TimeZone, Utc};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::event_sourcing::{Position, RecordedEvent, Version};

pub const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

pub fn event() -> RecordedEvent {
    RecordedEvent {
        position: Position::new(18342),
        event_id: Uuid::from_u128(1),
        aggregate_type: "Order".to_owned(),
        aggregate_id: Uuid::from_u128(2),
        version: Version::new(2),
        event_type: "OrderItemQuantityChanged".to_owned(),
        schema_version: 1,
        data: RawValue::from_string(r#"{"quantity": 3,  "itemId":"x"}"#.to_owned()).unwrap(),
        metadata: RawValue::from_string(format!(r#"{{"actor": null, "traceparent": "{TRACE}"}}"#))
            .unwrap(),
        occurred_at: Utc.timestamp_opt(1_795_425_302, 123_456_000).unwrap(),
    }
}
