//! Writes an event as a message. The stored text of `data` is copied without being parsed.

use std::{borrow::Cow, collections::BTreeMap};

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;

use super::headers::{EVENT_ID, EVENT_POSITION, TRACEPARENT};
use crate::event_sourcing::{RecordedEvent, event::rfc3339};

/// The member of `metadata` that repeats `occurredAt`.
pub(super) const TIMESTAMP: &str = "timestamp";

/// The most bytes that the headers of a message take.
const MAX_HEADERS: usize = 1024;

/// An event ready to be published.
#[derive(Debug, Clone)]
pub struct OutgoingMessage {
    /// The subject.
    pub subject: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The JSON body.
    pub payload: Bytes,
}

impl OutgoingMessage {
    /// Its approximate size in bytes when it is sent.
    #[must_use]
    pub fn size(&self) -> usize {
        // Headers and subject are short and differ little in length.
        self.payload.len().saturating_add(300)
    }
}

/// How events are written.
#[derive(Debug, Clone, Copy)]
pub struct Encoding<'a> {
    /// What every subject begins with.
    pub prefix: &'a str,
    /// The largest message that the server takes, in bytes, with its headers.
    pub max_payload: usize,
    /// Makes the link to an event's history entry, for messages without `data`.
    pub href: fn(&RecordedEvent) -> String,
}

/// Writes `event` as a message. One that is larger than the server takes comes without `data`.
///
/// An event that cannot be published would stop all later ones. So metadata that is not a JSON object
/// is left out, and characters that a subject cannot hold become `_`.
///
/// # Errors
/// `serde_json` fails. No known event leads to that.
pub fn encode(
    encoding: Encoding<'_>,
    event: &RecordedEvent,
) -> Result<OutgoingMessage, serde_json::Error> {
    let body = Body {
        event,
        metadata: serde_json::from_str(event.metadata.get()).unwrap_or_default(),
        href: None,
    };
    let mut headers = HeaderMap::new();
    let mut insert = |name, value: String| headers.insert(HeaderName::from_static(name), value);
    insert(EVENT_ID, event.event_id.to_string());
    insert(EVENT_POSITION, event.position.to_string());
    if let Some(traceparent) = body.traceparent() {
        headers.insert(TRACEPARENT, traceparent);
    }
    let subject = format!(
        "{}.{}.{}",
        encoding.prefix,
        token(&event.aggregate_type),
        token(&event.event_type)
    );
    let mut payload = serde_json::to_vec(&body)?;
    if payload.len().saturating_add(MAX_HEADERS) > encoding.max_payload {
        let href = Some((encoding.href)(event));
        payload = serde_json::to_vec(&Body { href, ..body })?;
    }
    Ok(OutgoingMessage {
        subject,
        headers,
        payload: payload.into(),
    })
}

/// The body of a message.
struct Body<'a> {
    event: &'a RecordedEvent,
    /// The members of the event's metadata.
    metadata: BTreeMap<String, &'a RawValue>,
    /// The link to the event's history entry, which then stands in place of its `data`.
    href: Option<String>,
}

impl Body<'_> {
    /// The trace context of the event, if it has one that a header can hold. A client chose this text.
    fn traceparent(&self) -> Option<HeaderValue> {
        let text = self.metadata.get("traceparent")?.get();
        serde_json::from_str::<String>(text).ok()?.parse().ok()
    }
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.event;
        let occurred_at = rfc3339(event.occurred_at);
        let mut body = serializer.serialize_map(None)?;
        body.serialize_entry("eventId", &event.event_id)?;
        body.serialize_entry("aggregateId", &event.aggregate_id)?;
        body.serialize_entry("aggregateType", &event.aggregate_type)?;
        body.serialize_entry(&id_member(&event.aggregate_type), &event.aggregate_id)?;
        body.serialize_entry("type", &event.event_type)?;
        body.serialize_entry("version", &event.version.get())?;
        body.serialize_entry("position", &event.position.get())?;
        body.serialize_entry("schemaVersion", &event.schema_version)?;
        body.serialize_entry("occurredAt", &occurred_at)?;
        match &self.href {
            None => body.serialize_entry("data", &event.data)?,
            Some(href) => {
                body.serialize_entry("dataOmitted", &true)?;
                body.serialize_entry("href", href)?;
            }
        }
        let metadata = Metadata {
            timestamp: &occurred_at,
            stored: &self.metadata,
        };
        body.serialize_entry("metadata", &metadata)?;
        body.end()
    }
}

/// The metadata of a message: the stored members, and `timestamp`, which repeats `occurredAt`.
struct Metadata<'a> {
    timestamp: &'a str,
    stored: &'a BTreeMap<String, &'a RawValue>,
}

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut metadata = serializer.serialize_map(None)?;
        metadata.serialize_entry(TIMESTAMP, self.timestamp)?;
        for (name, value) in self.stored.iter().filter(|(name, _)| *name != TIMESTAMP) {
            metadata.serialize_entry(name, value)?;
        }
        metadata.end()
    }
}

/// A stored name as one token of a NATS subject.
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

/// The name of the member with the aggregate's id: `orderId` for an `Order`.
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

#[cfg(test)]
mod tests {
    use super::super::test_event::{TRACE, event};
    use super::*;

    const ENCODING: Encoding<'_> = Encoding {
        prefix: "events",
        max_payload: 1 << 20,
        href: |event| format!("/events/{}", event.position),
    };

    #[test]
    fn an_event_that_is_larger_than_the_server_takes_comes_with_a_link_instead_of_its_data() {
        let mut event = event();
        let data = format!("\"{}\"", "x".repeat(1 << 20));
        event.data = RawValue::from_string(data).unwrap();

        let message = encode(ENCODING, &event).unwrap();

        let body: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(body.get("data"), None);
        assert_eq!(body["dataOmitted"], true);
        assert_eq!(body["href"], "/events/18342");
        assert_eq!(body["position"], 18342);
    }

    #[test]
    fn a_message_is_the_history_entry_with_its_aggregate_type_and_id() {
        let message = encode(ENCODING, &event()).unwrap();

        assert_eq!(message.subject, "events.Order.OrderItemQuantityChanged");
        insta::assert_snapshot!(String::from_utf8(message.payload.to_vec()).unwrap(), @r#"{"eventId":"00000000-0000-0000-0000-000000000001","aggregateId":"00000000-0000-0000-0000-000000000002","aggregateType":"Order","orderId":"00000000-0000-0000-0000-000000000002","type":"OrderItemQuantityChanged","version":2,"position":18342,"schemaVersion":1,"occurredAt":"2026-11-23T09:15:02.123456Z","data":{"quantity": 3,  "itemId":"x"},"metadata":{"timestamp":"2026-11-23T09:15:02.123456Z","actor":null,"traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}"#);
        let header = |name| message.headers.get(name).map(ToString::to_string);
        assert_eq!(
            header(EVENT_ID).as_deref(),
            Some("00000000-0000-0000-0000-000000000001")
        );
        assert_eq!(header(EVENT_POSITION).as_deref(), Some("18342"));
        assert_eq!(header(TRACEPARENT).as_deref(), Some(TRACE));
    }

    #[test]
    fn a_message_without_trace_context_has_no_traceparent_header() {
        for metadata in ["{}", r#"{"traceparent":null}"#, r#"{"traceparent":"a\nb"}"#] {
            let mut event = event();
            event.metadata = RawValue::from_string(metadata.to_owned()).unwrap();

            let message = encode(ENCODING, &event).unwrap();

            assert!(message.headers.get(TRACEPARENT).is_none(), "{metadata}");
        }
    }

    #[test]
    fn the_id_member_is_named_after_the_aggregate_type() {
        assert_eq!(id_member("Order"), "orderId");
        assert_eq!(id_member("BankAccount"), "bankAccountId");
    }
}
