//! The headers of an event's message.

use async_nats::HeaderMap;
use uuid::Uuid;

use crate::event_sourcing::Position;

/// Header: the event's id.
pub const EVENT_ID: &str = "Event-Id";
/// Header: the event's position.
pub const EVENT_POSITION: &str = "Event-Position";
/// Header: the position of the previous event in the store; zero for the first event.
pub const EVENT_PREVIOUS_POSITION: &str = "Event-Previous-Position";
/// Header: the W3C trace context of the request that caused the event, if it had one.
pub const TRACEPARENT: &str = "traceparent";

/// Why a message is not an event of this service.
#[derive(Debug, thiserror::Error)]
pub enum InvalidMessage {
    /// A header is missing or cannot be read.
    #[error("the header {0} is missing or cannot be read")]
    Header(&'static str),
    /// The body is not the JSON of an event.
    #[error("the body is not an event")]
    Body(#[source] serde_json::Error),
    /// Headers and body describe different events.
    #[error("headers and body describe different events")]
    Contradiction,
}

/// Reads the event's position and id from the headers alone.
///
/// # Errors
/// A header is missing or cannot be read.
pub fn identify(headers: &HeaderMap) -> Result<(Position, Uuid), InvalidMessage> {
    let position = position_header(headers, EVENT_POSITION)?;
    let event_id = headers
        .get(EVENT_ID)
        .and_then(|value| Uuid::parse_str(value.as_str()).ok())
        .ok_or(InvalidMessage::Header(EVENT_ID))?;
    Ok((position, event_id))
}

/// Reads a header that holds a position.
///
/// # Errors
/// The header is missing, or is not a number from zero on.
pub fn position_header(
    headers: &HeaderMap,
    name: &'static str,
) -> Result<Position, InvalidMessage> {
    headers
        .get(name)
        .and_then(|value| value.as_str().parse().ok())
        .filter(|position| *position >= 0)
        .map(Position::new)
        .ok_or(InvalidMessage::Header(name))
}
