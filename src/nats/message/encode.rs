//! Writes an event as a message, by hand: the stored texts are copied without being parsed.

use std::{borrow::Cow, collections::BTreeMap};

use async_nats::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::headers::{EVENT_ID, EVENT_POSITION, TRACEPARENT};
use crate::event_sourcing::{RecordedEvent, json::JsonText};

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
/// It cannot fail, because an event that cannot be published would stop all later ones: metadata
/// that is not a JSON object is left out, and characters that a subject cannot hold become `_`.
#[must_use]
pub fn encode(encoding: Encoding<'_>, event: &RecordedEvent) -> OutgoingMessage {
    let mut headers = HeaderMap::new();
    let mut insert = |name, value: String| headers.insert(HeaderName::from_static(name), value);
    insert(EVENT_ID, event.event_id.to_string());
    insert(EVENT_POSITION, event.position.to_string());
    if let Some(traceparent) = traceparent(event.metadata.get()) {
        headers.insert(TRACEPARENT, traceparent);
    }
    let subject = format!(
        "{}.{}.{}",
        encoding.prefix,
        token(&event.aggregate_type),
        token(&event.event_type)
    );
    let payload = body(event, None);
    let payload = if payload.len().saturating_add(MAX_HEADERS) <= encoding.max_payload {
        payload
    } else {
        body(event, Some(&(encoding.href)(event)))
    };
    OutgoingMessage {
        subject,
        headers,
        payload: payload.into(),
    }
}

/// The trace context of an event, if it has one that a header can hold. A client chose this text.
fn traceparent(metadata: &str) -> Option<HeaderValue> {
    #[derive(Deserialize)]
    struct Traced {
        traceparent: Option<String>,
    }

    let traced: Traced = serde_json::from_str(metadata).ok()?;
    traced.traceparent?.parse().ok()
}

/// The body. With `href`, that link to the event's history entry stands in place of its `data`.
fn body(event: &RecordedEvent, href: Option<&str>) -> String {
    let (data, metadata) = (event.data.get(), event.metadata.get());
    let length = href
        .map_or(data.len(), str::len)
        .saturating_add(metadata.len());
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
    match href {
        None => json.raw(r#","data":"#).raw(data),
        Some(href) => json.raw(r#","dataOmitted":true,"href":"#).string(href),
    };
    json.raw(r#","metadata":{"timestamp":"#)
        .instant(event.occurred_at);
    append_members(&mut json, metadata);
    json.raw("}}");
    json.finish()
}

/// Appends the members of an object except `timestamp`, which is already written.
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

        let message = encode(ENCODING, &event);

        let body: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
        assert_eq!(body.get("data"), None);
        assert_eq!(body["dataOmitted"], true);
        assert_eq!(body["href"], "/events/18342");
        assert_eq!(body["position"], 18342);
    }

    #[test]
    fn a_message_is_the_history_entry_with_its_aggregate_type_and_id() {
        let message = encode(ENCODING, &event());

        assert_eq!(message.subject, "events.Order.OrderItemQuantityChanged");
        insta::assert_snapshot!(String::from_utf8(message.payload.to_vec()).unwrap(), @r#"{"eventId":"00000000-0000-0000-0000-000000000001","aggregateId":"00000000-0000-0000-0000-000000000002","aggregateType":"Order","orderId":"00000000-0000-0000-0000-000000000002","type":"OrderItemQuantityChanged","version":2,"position":18342,"schemaVersion":1,"occurredAt":"2026-11-23T09:15:02.123456Z","data":{"quantity": 3,  "itemId":"x"},"metadata":{"timestamp":"2026-11-23T09:15:02.123456Z","actor": null, "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}"#);
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

            let message = encode(ENCODING, &event);

            assert!(message.headers.get(TRACEPARENT).is_none(), "{metadata}");
        }
    }

    #[test]
    fn the_id_member_is_named_after_the_aggregate_type() {
        assert_eq!(id_member("Order"), "orderId");
        assert_eq!(id_member("BankAccount"), "bankAccountId");
    }
}
