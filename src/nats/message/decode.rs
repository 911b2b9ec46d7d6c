//! Reads a message as the event that it carries.

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use super::{
    encode::TIMESTAMP,
    headers::{EVENT_POSITION, EVENT_PREVIOUS_POSITION, InvalidMessage, identify, position_header},
};
use crate::event_sourcing::{Position, RecordedEvent, Timestamp, Version, projection::Delivery};

/// Reads a message as the event that it carries.
///
/// # Errors
/// The message is not an event of this service.
pub fn decode(headers: Option<&HeaderMap>, payload: &[u8]) -> Result<Delivery, InvalidMessage> {
    let headers = headers.ok_or(InvalidMessage::Header(EVENT_POSITION))?;
    let (position, event_id) = identify(headers)?;
    let previous = position_header(headers, EVENT_PREVIOUS_POSITION)?;
    let body: Body = serde_json::from_slice(payload).map_err(InvalidMessage::Body)?;
    let event = body.into_event().map_err(InvalidMessage::Body)?;
    if event.position != position || event.event_id != event_id || previous >= position {
        return Err(InvalidMessage::Contradiction);
    }
    Ok(Delivery { previous, event })
}

/// The body of a message.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
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
    #[serde(borrow)]
    metadata: &'a RawValue,
}

impl Body<'_> {
    fn into_event(self) -> Result<RecordedEvent, serde_json::Error> {
        Ok(RecordedEvent {
            position: self.position,
            event_id: self.event_id,
            aggregate_type: self.aggregate_type,
            aggregate_id: self.aggregate_id,
            version: self.version,
            event_type: self.event_type,
            schema_version: self.schema_version,
            data: self.data,
            metadata: without_timestamp(self.metadata)?,
            occurred_at: self.occurred_at,
        })
    }
}

/// The event's own metadata. In a message of this service the timestamp comes first and is cut off
/// without parsing the rest.
fn without_timestamp(metadata: &RawValue) -> Result<Box<RawValue>, serde_json::Error> {
    let members = metadata
        .get()
        .strip_prefix(r#"{"timestamp":""#)
        .and_then(|rest| rest.split_once('"'))
        .filter(|(instant, rest)| !instant.contains('\\') && !rest.contains(TIMESTAMP));
    if let Some((_, members)) = members {
        let members = members.strip_prefix(',').unwrap_or(members);
        return RawValue::from_string(format!("{{{members}"));
    }
    let mut members: BTreeMap<String, &RawValue> = serde_json::from_str(metadata.get())?;
    members.remove(TIMESTAMP);
    to_raw_value(&members)
}

#[cfg(test)]
mod tests {
    use super::super::{encode::encode, headers::EVENT_ID, test_event::event};
    use super::*;

    #[test]
    fn a_message_reads_back_as_what_was_written() {
        let event = event();
        let message = encode("events", Position::new(18340), &event);

        let delivery = decode(Some(&message.headers), &message.payload).unwrap();

        assert_eq!(delivery.previous, Position::new(18340));
        let read = delivery.event;
        assert_eq!(read.position, event.position);
        assert_eq!(read.event_id, event.event_id);
        assert_eq!(read.aggregate_type, event.aggregate_type);
        assert_eq!(read.aggregate_id, event.aggregate_id);
        assert_eq!(read.version, event.version);
        assert_eq!(read.event_type, event.event_type);
        assert_eq!(read.schema_version, event.schema_version);
        assert_eq!(read.occurred_at, event.occurred_at);
        assert_eq!(read.data.get(), event.data.get());
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(read.metadata.get()).unwrap(),
            serde_json::from_str::<serde_json::Value>(event.metadata.get()).unwrap()
        );
    }

    #[test]
    fn metadata_of_every_shape_reads_back() {
        for metadata in [
            "{}",
            r#"{"actor":"a","timestamp":"x","z":{"timestamp":1}}"#,
            r#"{ "actor" : "{\"timestamp\"}" }"#,
            r#"{"time\u0073tamp":1}"#,
            r#"{"a":[{}, "}"]}"#,
        ] {
            let mut event = event();
            event.metadata = RawValue::from_string(metadata.to_owned()).unwrap();
            let mut expected: serde_json::Value = serde_json::from_str(metadata).unwrap();
            expected.as_object_mut().unwrap().remove(TIMESTAMP);

            let message = encode("events", Position::ZERO, &event);

            let read = decode(Some(&message.headers), &message.payload)
                .unwrap()
                .event;
            let read: serde_json::Value = serde_json::from_str(read.metadata.get()).unwrap();
            assert_eq!(read, expected, "{metadata}");
            let body: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
            assert_eq!(
                body["metadata"][TIMESTAMP], body["occurredAt"],
                "{metadata}"
            );
        }
    }

    #[test]
    fn messages_that_are_not_events_are_refused() {
        let message = encode("events", Position::new(18340), &event());
        let with = |name: &str, value: &str| {
            let mut headers = message.headers.clone();
            headers.insert(name, value);
            headers
        };

        assert!(decode(None, &message.payload).is_err());
        assert!(decode(Some(&HeaderMap::new()), &message.payload).is_err());
        assert!(decode(Some(&message.headers), b"hello").is_err());
        for (name, value) in [
            (EVENT_POSITION, "7"),
            (EVENT_POSITION, "-1"),
            (EVENT_PREVIOUS_POSITION, "18342"),
            (EVENT_PREVIOUS_POSITION, "x"),
            (EVENT_ID, "00000000-0000-0000-0000-000000000009"),
        ] {
            let headers = with(name, value);
            assert!(decode(Some(&headers), &message.payload).is_err(), "{name}");
        }
    }

    #[test]
    fn every_event_can_be_published() {
        let mut event = event();
        event.event_type = "Order shipped.v2".to_owned();
        event.aggregate_type = String::new();
        event.metadata = RawValue::from_string("[1]".to_owned()).unwrap();

        let message = encode("events", Position::new(18340), &event);

        assert_eq!(message.subject, "events._.Order_shipped_v2");
        let delivery = decode(Some(&message.headers), &message.payload).unwrap();
        assert_eq!(delivery.event.event_type, event.event_type);
    }
}
