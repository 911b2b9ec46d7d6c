//! Reads the end of the stream, which is the relay's cursor.
//!
//! The last event tells up to which position the stream is filled, and the last sequence is what
//! the next publication must expect. Both are read together whenever the relay's cursor may be
//! wrong: after a start, an error or a change of the lease, and once a second while there is
//! nothing to publish.

use async_nats::jetstream::message::StreamMessage;
use tracing::debug;
use uuid::Uuid;

use super::{
    message::headers::identify,
    owner::StreamOwner,
    stream::{EventStream, StreamState},
    stream_error::StreamError,
};
use crate::event_sourcing::Position;

/// The end of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamTail {
    /// When the stream was created. It tells a recreated stream from this one.
    pub created: String,
    /// Its owner, if it names one.
    pub owner: Option<StreamOwner>,
    /// The last sequence ever assigned: what the next publication expects.
    pub last_sequence: u64,
    /// The last event that the stream still holds.
    pub end: StreamEnd,
}

/// What the end of the stream holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEnd {
    /// Nothing: no message was ever published.
    New,
    /// Nothing: all messages were removed.
    Purged,
    /// This event.
    Event {
        /// The sequence of its message.
        sequence: u64,
        /// Its position.
        position: Position,
        /// Its id.
        event_id: Uuid,
    },
}

/// Finds the end of the stream whose state is `state`. Skips messages that are not events.
///
/// # Errors
/// NATS does not answer.
pub async fn find(stream: &EventStream, state: StreamState) -> Result<StreamTail, StreamError> {
    let end = if state.last_sequence == 0 {
        StreamEnd::New
    } else if state.messages == 0 {
        StreamEnd::Purged
    } else {
        last_event(stream, &state).await?
    };
    Ok(StreamTail {
        created: state.created,
        owner: state.owner,
        last_sequence: state.last_sequence,
        end,
    })
}

async fn last_event(stream: &EventStream, state: &StreamState) -> Result<StreamEnd, StreamError> {
    let mut message = stream.message(state.last_sequence).await?;
    if message.is_none() {
        // The last message was deleted. A message that arrived later does not belong to this state.
        message = stream.last().await?;
        if message
            .as_ref()
            .is_some_and(|message| message.sequence > state.last_sequence)
        {
            message = None;
        }
    }
    let mut sequence = message
        .as_ref()
        .map_or(state.last_sequence, |message| message.sequence);
    loop {
        if let Some(end) = message.as_ref().and_then(event_end) {
            return Ok(end);
        }
        if sequence <= state.first_sequence {
            return Ok(StreamEnd::Purged);
        }
        sequence = sequence.saturating_sub(1);
        message = stream.message(sequence).await?;
    }
}

/// The message as the stream's end; `None` if it is not an event.
fn event_end(message: &StreamMessage) -> Option<StreamEnd> {
    match identify(&message.headers) {
        Ok((position, event_id)) => Some(StreamEnd::Event {
            sequence: message.sequence,
            position,
            event_id,
        }),
        Err(error) => {
            let subject = message.subject.as_str();
            debug!(subject, sequence = message.sequence, %error, "skipped a message that is not an event");
            None
        }
    }
}
