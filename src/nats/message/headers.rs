//! The headers of an event's message.

use async_nats::HeaderMap;
use uuid::Uuid;

use crate::event_sourcing::Position;

/// Header: the event's id.
pub const EVENT_ID: &str = "Event-Id";
/// Header: the event's position.
pub const EVENT_POSITION: &str = "Event-Position";
/// Header: the W3C trace context of the request that caused the event, if it had one.
pub const TRACEPARENT: &str = "traceparent";

/// Why a message is not an event of this service.
#[derive(Debug, thiserror::Error)]
pub enum InvalidMessage {
    /// A header is missing or cannot be read.
    #[error("the header {0} is missing or cannot be read")]
    Header(&'static str),
}

/// Reads the event's position and id from the headers alone.
///
/// # Errors
/// A header is missing or cannot be read.
pub fn identify(headers: &HeaderMap) -> Result<(Position, Uuid), InvalidMessage> {
    let position = position(headers).ok_or(InvalidMessage::Header(EVENT_POSITION))?;
    let event_id = headers
        .get(EVENT_ID)
        .and_then(|value| Uuid::parse_str(value.as_str()).ok())
        .ok_or(InvalidMessage::Header(EVENT_ID))?;
    Ok((position, event_id))
}

/// Reads the event's position; `None` if the header is missing or is not a number from zero on.
#[must_use]
pub fn position(headers: &HeaderMap) -> Option<Position> {
    let position = headers.get(EVENT_POSITION)?.as_str().parse().ok()?;
    (position >= 0).then(|| Position::new(position))
}
