//! An event as a NATS message, and back.
//!
//! Subject `<prefix>.<AggregateType>.<EventType>` (no ids: filters over many subjects are slow).
//! The body is a history entry with the aggregate's id and type; `data` passes through as the text
//! that it is. The headers repeat what a consumer needs without reading the body, and add
//! `Event-Previous-Position`: the position of the event before this one in the store.

use std::{borrow::Cow, collections::BTreeMap};

use async_nats::{HeaderMap, HeaderValue};
use bytes::Bytes;
use chrono::SecondsFormat;
use serde::{Deserialize, Serialize, Serializer, ser::SerializeMap};
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use crate::event_sourcing::{Instant, Position, RecordedEvent, Version, projection::Delivery};

/// Header: the event's own id.
pub const EVENT_ID: &str = "Event-Id";
/// Header: the event's position.
pub const EVENT_POSITION: &str = "Event-Position";
/// Header: the position of the event before it in the store; zero for the first.
pub const EVENT_PREVIOUS_POSITION: &str = "Event-Previous-Position";
/// Header: the W3C trace context of the request that caused the event, where there is one.
pub const TRACEPARENT: &str = "traceparent";

/// An event ready to be published.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Where it goes.
    pub subject: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// The JSON body.
    pub payload: Bytes,
}

impl Outgoing {
    /// About how many bytes it takes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        // Headers and subject are short and all alike.
        self.payload.len().saturating_add(300)
    }
}

/// Why a message is not one of our events.
#[derive(Debug, thiserror::Error)]
pub enum ForeignMessage {
    /// A header is missing or unreadable.
    #[error("the header {0} is missing or unreadable")]
    Header(&'static str),
    /// The body is not the JSON of an event.
    #[error("the body is no event")]
    Body(#[source] serde_json::Error),
    /// Headers and body do not speak of the same event.
    #[error("headers and body speak of different events")]
    Contradiction,
}

/// Writes `event`, which follows the event at `previous` in the store, as a message.
///
/// Whatever the event holds becomes a message, for one that does not would stop all after it:
/// metadata that is no JSON object is left out, and what cannot stand in a subject becomes `_`.
///
/// # Errors
/// Where the JSON cannot be written.
pub fn encode(
    prefix: &str,
    previous: Position,
    event: &RecordedEvent,
) -> Result<Outgoing, serde_json::Error> {
    let metadata: BTreeMap<String, &RawValue> =
        serde_json::from_str(event.metadata.get()).unwrap_or_default();
    let mut headers = HeaderMap::new();
    headers.insert(EVENT_ID, event.event_id.to_string());
    headers.insert(EVENT_POSITION, event.position.to_string());
    headers.insert(EVENT_PREVIOUS_POSITION, previous.to_string());
    if let Some(traceparent) = metadata
        .get(TRACEPARENT)
        .and_then(|value| serde_json::from_str::<Option<String>>(value.get()).ok())
        .flatten()
        // A client chose this text; one that is no header value is left out.
        .and_then(|value| value.parse::<HeaderValue>().ok())
    {
        headers.insert(TRACEPARENT, traceparent);
    }
    let body = Body {
        event,
        metadata: &metadata,
    };
    Ok(Outgoing {
        subject: format!(
            "{prefix}.{}.{}",
            token(&event.aggregate_type),
            token(&event.event_type)
        ),
        headers,
        payload: serde_json::to_vec(&body)?.into(),
    })
}

/// Reads a message as the event that it carries.
///
/// # Errors
/// Where it is none of ours.
pub fn decode(headers: Option<&HeaderMap>, payload: &[u8]) -> Result<Delivery, ForeignMessage> {
    let headers = headers.ok_or(ForeignMessage::Header(EVENT_POSITION))?;
    let (position, event_id) = identify(headers)?;
    let previous = position_header(headers, EVENT_PREVIOUS_POSITION)?;
    let event: Received = serde_json::from_slice(payload).map_err(ForeignMessage::Body)?;
    let event = event.recorded().map_err(ForeignMessage::Body)?;
    if event.position != position || event.event_id != event_id || previous >= position {
        return Err(ForeignMessage::Contradiction);
    }
    Ok(Delivery { previous, event })
}

/// Which event a message carries, by its headers alone.
///
/// # Errors
/// Where they do not say.
pub fn identify(headers: &HeaderMap) -> Result<(Position, Uuid), ForeignMessage> {
    let position = position_header(headers, EVENT_POSITION)?;
    let event_id = headers
        .get(EVENT_ID)
        .and_then(|value| Uuid::parse_str(value.as_str()).ok())
        .ok_or(ForeignMessage::Header(EVENT_ID))?;
    Ok((position, event_id))
}

fn position_header(headers: &HeaderMap, name: &'static str) -> Result<Position, ForeignMessage> {
    headers
        .get(name)
        .and_then(|value| value.as_str().parse().ok())
        .filter(|position| *position >= 0)
        .map(Position::new)
        .ok_or(ForeignMessage::Header(name))
}

/// A stored name as one token of a subject.
fn token(name: &str) -> Cow<'_, str> {
    let fits = |letter: char| {
        !letter.is_whitespace() && !letter.is_control() && !matches!(letter, '.' | '*' | '>')
    };
    if name.is_empty() {
        "_".into()
    } else if name.chars().all(fits) {
        name.into()
    } else {
        name.replace(|letter| !fits(letter), "_").into()
    }
}

/// The member that names the aggregate in its own words: `orderId` for an `Order`.
fn id_member(aggregate_type: &str) -> String {
    let mut letters = aggregate_type.chars();
    let first = letters.next().map(char::to_lowercase);
    first
        .into_iter()
        .flatten()
        .chain(letters)
        .chain("Id".chars())
        .collect()
}

fn instant(at: Instant) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

struct Body<'a> {
    event: &'a RecordedEvent,
    metadata: &'a BTreeMap<String, &'a RawValue>,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.event;
        let occurred_at = instant(event.occurred_at);
        let id_member = id_member(&event.aggregate_type);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("eventId", &event.event_id)?;
        map.serialize_entry("aggregateId", &event.aggregate_id)?;
        map.serialize_entry("aggregateType", &event.aggregate_type)?;
        map.serialize_entry(&id_member, &event.aggregate_id)?;
        map.serialize_entry("type", &event.event_type)?;
        map.serialize_entry("version", &event.version)?;
        map.serialize_entry("position", &event.position)?;
        map.serialize_entry("schemaVersion", &event.schema_version)?;
        map.serialize_entry("occurredAt", &occurred_at)?;
        map.serialize_entry("data", &event.data)?;
        let metadata = MetadataMembers {
            timestamp: &occurred_at,
            members: self.metadata,
        };
        map.serialize_entry("metadata", &metadata)?;
        map.end()
    }
}

struct MetadataMembers<'a> {
    timestamp: &'a str,
    members: &'a BTreeMap<String, &'a RawValue>,
}

impl Serialize for MetadataMembers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(TIMESTAMP, self.timestamp)?;
        for (name, value) in self.members.iter().filter(|(name, _)| *name != TIMESTAMP) {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// The member of `metadata` that repeats `occurredAt`.
const TIMESTAMP: &str = "timestamp";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Received {
    event_id: Uuid,
    aggregate_id: Uuid,
    aggregate_type: String,
    #[serde(rename = "type")]
    event_type: String,
    version: Version,
    position: Position,
    schema_version: i16,
    occurred_at: Instant,
    data: Box<RawValue>,
    metadata: BTreeMap<String, Box<RawValue>>,
}

impl Received {
    fn recorded(mut self) -> Result<RecordedEvent, serde_json::Error> {
        self.metadata.remove(TIMESTAMP);
        Ok(RecordedEvent {
            position: self.position,
            event_id: self.event_id,
            aggregate_type: self.aggregate_type,
            aggregate_id: self.aggregate_id,
            version: self.version,
            event_type: self.event_type,
            schema_version: self.schema_version,
            data: self.data,
            metadata: to_raw_value(&self.metadata)?,
            occurred_at: self.occurred_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn event() -> RecordedEvent {
        RecordedEvent {
            position: Position::new(18342),
            event_id: Uuid::from_u128(1),
            aggregate_type: "Order".to_owned(),
            aggregate_id: Uuid::from_u128(2),
            version: Version::new(2),
            event_type: "OrderItemQuantityChanged".to_owned(),
            schema_version: 1,
            data: RawValue::from_string(r#"{"quantity": 3,  "itemId":"x"}"#.to_owned()).unwrap(),
            metadata: RawValue::from_string(format!(
                r#"{{"actor": null, "traceparent": "{TRACE}"}}"#
            ))
            .unwrap(),
            occurred_at: chrono::Utc
                .timestamp_opt(1_795_425_302, 123_456_000)
                .unwrap(),
        }
    }

    #[test]
    fn a_message_is_the_history_entry_with_its_aggregate() {
        let message = encode("events", Position::new(18340), &event()).unwrap();

        assert_eq!(message.subject, "events.Order.OrderItemQuantityChanged");
        insta::assert_snapshot!(String::from_utf8(message.payload.to_vec()).unwrap(), @r#"{"eventId":"00000000-0000-0000-0000-000000000001","aggregateId":"00000000-0000-0000-0000-000000000002","aggregateType":"Order","orderId":"00000000-0000-0000-0000-000000000002","type":"OrderItemQuantityChanged","version":2,"position":18342,"schemaVersion":1,"occurredAt":"2026-11-23T09:15:02.123456Z","data":{"quantity": 3,  "itemId":"x"},"metadata":{"timestamp":"2026-11-23T09:15:02.123456Z","actor":null,"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}"#);
        let header = |name| message.headers.get(name).map(ToString::to_string);
        assert_eq!(
            header(EVENT_ID).as_deref(),
            Some("00000000-0000-0000-0000-000000000001")
        );
        assert_eq!(header(EVENT_POSITION).as_deref(), Some("18342"));
        assert_eq!(header(EVENT_PREVIOUS_POSITION).as_deref(), Some("18340"));
        assert_eq!(header(TRACEPARENT).as_deref(), Some(TRACE));
    }

    #[test]
    fn a_message_reads_back_as_what_was_written() {
        let event = event();
        let message = encode("events", Position::new(18340), &event).unwrap();

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
    fn a_message_without_trace_context_has_no_such_header() {
        for metadata in ["{}", r#"{"traceparent":null}"#, r#"{"traceparent":"a\nb"}"#] {
            let mut event = event();
            event.metadata = RawValue::from_string(metadata.to_owned()).unwrap();

            let message = encode("events", Position::ZERO, &event).unwrap();

            assert!(message.headers.get(TRACEPARENT).is_none(), "{metadata}");
        }
    }

    #[test]
    fn foreign_messages_are_told_from_events() {
        let message = encode("events", Position::new(18340), &event()).unwrap();
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
    fn no_event_is_too_strange_to_be_published() {
        let mut event = event();
        event.event_type = "Order shipped.v2".to_owned();
        event.aggregate_type = String::new();
        event.metadata = RawValue::from_string("[1]".to_owned()).unwrap();

        let message = encode("events", Position::new(18340), &event).unwrap();

        assert_eq!(message.subject, "events._.Order_shipped_v2");
        let delivery = decode(Some(&message.headers), &message.payload).unwrap();
        assert_eq!(delivery.event.event_type, event.event_type);
    }

    #[test]
    fn the_aggregate_names_its_own_id() {
        assert_eq!(id_member("Order"), "orderId");
        assert_eq!(id_member("BankAccount"), "bankAccountId");
    }
}
