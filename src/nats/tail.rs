//! The end of the stream, which is the relay's only cursor.
//!
//! The last event message says up to which position the stream is filled; the last sequence is what
//! the next publication has to expect. They are read together whenever the relay does not know for
//! certain where it stands: after a start, an error, a change of the lease, and now and then while
//! there is nothing to do.

use async_nats::jetstream::message::StreamMessage;
use tracing::debug;
use uuid::Uuid;

use super::{
    message::identify,
    owner::StreamOwner,
    stream::{EventStream, StreamError, StreamState},
};
use crate::event_sourcing::Position;

/// Where the stream ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamTail {
    /// The stream's own birthday, so that a recreated one is not taken for it.
    pub created: String,
    /// Whose it is, where it says so.
    pub stamp: Option<StreamOwner>,
    /// The last sequence ever given out: what the next publication expects.
    pub sequence: u64,
    /// The last event that is still there.
    pub end: End,
}

/// What stands at the end of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Nothing was ever published: the stream is new.
    New,
    /// Events were published and are gone: the stream was purged.
    Purged,
    /// An event.
    Event {
        /// The sequence of its message.
        sequence: u64,
        /// Its position.
        position: Position,
        /// Its id.
        event_id: Uuid,
    },
}

/// Finds the end of the stream as it is in `state`. Messages that are no events are stepped over.
///
/// # Errors
/// Where NATS does not answer.
pub async fn find(stream: &EventStream, state: StreamState) -> Result<StreamTail, StreamError> {
    let end = if state.last_sequence == 0 {
        End::New
    } else if state.messages == 0 {
        End::Purged
    } else {
        last_event(stream, &state).await?
    };
    Ok(StreamTail {
        created: state.created,
        stamp: state.stamp,
        sequence: state.last_sequence,
        end,
    })
}

async fn last_event(stream: &EventStream, state: &StreamState) -> Result<End, StreamError> {
    let mut message = stream.message(state.last_sequence).await?;
    if message.is_none() {
        // The last message was deleted. One that arrived since is not of this state.
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
        if let Some(end) = message.as_ref().and_then(event) {
            return Ok(end);
        }
        if sequence <= state.first_sequence {
            return Ok(End::Purged);
        }
        sequence = sequence.saturating_sub(1);
        message = stream.message(sequence).await?;
    }
}

fn event(message: &StreamMessage) -> Option<End> {
    match identify(&message.headers) {
        Ok((position, event_id)) => Some(End::Event {
            sequence: message.sequence,
            position,
            event_id,
        }),
        Err(error) => {
            let subject = message.subject.as_str();
            // The subscriber warns of it, once.
            debug!(subject, sequence = message.sequence, %error, "stepped over a foreign message");
            None
        }
    }
}
