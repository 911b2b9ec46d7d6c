//! An event as a NATS message, and back.
//!
//! Subject `<prefix>.<AggregateType>.<EventType>` (no ids: filters over many subjects are slow).
//! The body is a history entry with the aggregate's id and type; `data` and what is in `metadata`
//! pass through as the text that they are. The headers repeat what a consumer needs without reading the body, and add
//! `Event-Previous-Position`: the position of the event before this one in the store.

use std::{borrow::Cow, collections::BTreeMap};

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use crate::event_sourcing::{
    Position, RecordedEvent, Timestamp, Version, json::JsonText, projection::Delivery,
};

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
#[must_use]
pub fn encode(prefix: &str, previous: Position, event: &RecordedEvent) -> Outgoing {
    let mut headers = HeaderMap::new();
    let mut insert = |name, value: String| headers.insert(HeaderName::from_static(name), value);
    insert(EVENT_ID, event.event_id.to_string());
    insert(EVENT_POSITION, event.position.to_string());
    insert(EVENT_PREVIOUS_POSITION, previous.to_string());
    if let Some(traceparent) = traceparent(event.metadata.get()) {
        headers.insert(TRACEPARENT, traceparent);
    }
    Outgoing {
        subject: format!(
            "{prefix}.{}.{}",
            token(&event.aggregate_type),
            token(&event.event_type)
        ),
        headers,
        payload: body(event).into(),
    }
}

/// The trace context of an event, where it is there and fit for a header: a client chose this text.
fn traceparent(metadata: &str) -> Option<HeaderValue> {
    #[derive(Deserialize)]
    struct Traced {
        traceparent: Option<String>,
    }

    let traced: Traced = serde_json::from_str(metadata).ok()?;
    traced.traceparent?.parse().ok()
}

fn body(event: &RecordedEvent) -> String {
    let (data, metadata) = (event.data.get(), event.metadata.get());
    let length = data.len().saturating_add(metadata.len());
    let mut json = JsonText::with_capacity(length.saturating_add(512));
    json.raw(r#"{"eventId":"#).uuid(event.event_id);
    json.raw(r#","aggregateId":"#).uuid(event.aggregate_id);
    json.raw(r#","aggregateType":"#)
        .string(&event.aggregate_type);
    json.raw(",").string(&id_member(&event.aggregate_type));
    json.raw(":").uuid(event.aggregate_id);
    json.raw(r#","type":"#).string(&event.event_type);
    json.raw(r#","version":"#).number(event.version.get());
    json.raw(r#","position":"#).number(event.position.get());
    json.raw(r#","schemaVersion":"#)
        .number(event.schema_version);
    json.raw(r#","occurredAt":"#).instant(event.occurred_at);
    json.raw(r#","data":"#).raw(data);
    json.raw(r#","metadata":{"timestamp":"#)
        .instant(event.occurred_at);
    append_members(&mut json, metadata);
    json.raw("}}");
    json.finish()
}

/// Appends the members of an object, but for a `timestamp`: ours stands before them.
fn append_members(json: &mut JsonText, object: &str) {
    let has_timestamp = object.contains(TIMESTAMP) || object.contains('\\');
    let members = object
        .strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'));
    match members.map(str::trim) {
        Some("") | None => {}
        Some(members) if !has_timestamp => {
            json.raw(",").raw(members);
        }
        Some(_) => {
            let members: BTreeMap<String, &RawValue> =
                serde_json::from_str(object).unwrap_or_default();
            for (name, value) in members.iter().filter(|(name, _)| *name != TIMESTAMP) {
                json.raw(",").string(name).raw(":").raw(value.get());
            }
        }
    }
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

/// The member of `metadata` that repeats `occurredAt`.
const TIMESTAMP: &str = "timestamp";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Received<'a> {
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

impl Received<'_> {
    fn recorded(self) -> Result<RecordedEvent, serde_json::Error> {
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

/// The metadata as the event has it. In our own messages the timestamp stands first, and is cut off.
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
        let message = encode("events", Position::new(18340), &event());

        assert_eq!(message.subject, "events.Order.OrderItemQuantityChanged");
        insta::assert_snapshot!(String::from_utf8(message.payload.to_vec()).unwrap(), @r#"{"eventId":"00000000-0000-0000-0000-000000000001","aggregateId":"00000000-0000-0000-0000-000000000002","aggregateType":"Order","orderId":"00000000-0000-0000-0000-000000000002","type":"OrderItemQuantityChanged","version":2,"position":18342,"schemaVersion":1,"occurredAt":"2026-11-23T09:15:02.123456Z","data":{"quantity": 3,  "itemId":"x"},"metadata":{"timestamp":"2026-11-23T09:15:02.123456Z","actor": null, "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}"#);
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
    fn metadata_of_any_kind_reads_back() {
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
    fn a_message_without_trace_context_has_no_such_header() {
        for metadata in ["{}", r#"{"traceparent":null}"#, r#"{"traceparent":"a\nb"}"#] {
            let mut event = event();
            event.metadata = RawValue::from_string(metadata.to_owned()).unwrap();

            let message = encode("events", Position::ZERO, &event);

            assert!(message.headers.get(TRACEPARENT).is_none(), "{metadata}");
        }
    }

    #[test]
    fn foreign_messages_are_told_from_events() {
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
    fn no_event_is_too_strange_to_be_published() {
        let mut event = event();
        event.event_type = "Order shipped.v2".to_owned();
        event.aggregate_type = String::new();
        event.metadata = RawValue::from_string("[1]".to_owned()).unwrap();

        let message = encode("events", Position::new(18340), &event);

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
