//! Finds the sequence at which a consumer must start for a checkpoint.
//!
//! Positions rise with sequences but have gaps of their own. So the first message after a
//! checkpoint is found by binary search over the sequences, by the `Event-Position` header: about
//! twenty round trips of a fraction of a millisecond for each consumer. A stored sequence would
//! save them, but would have to be checked against purges, deletions and recreated streams each
//! time; a start by time would depend on two clocks.
//!
//! A start that is too early costs some time, because the projection skips what it has applied. So
//! does one that is too late, because the projection reads the missing events from the store. A
//! stream that changes during the search, or whose positions do not rise, therefore does no harm.

use super::{
    message::headers::identify,
    stream::{EventStream, StreamState},
    stream_error::StreamError,
};
use crate::event_sourcing::Position;

/// The sequence of the first message whose event is after `checkpoint`. Without such a message, the
/// sequence after the last one.
///
/// # Errors
/// NATS does not answer.
pub async fn find(
    stream: &EventStream,
    state: &StreamState,
    checkpoint: Position,
) -> Result<u64, StreamError> {
    // Messages before `low` are applied; those from `high` on are not.
    let mut low = state.first_sequence.max(1);
    let mut high = state.last_sequence.saturating_add(1);
    while low < high {
        let middle = low.midpoint(high);
        match first_event(stream, middle, high).await? {
            Some((sequence, position)) if position <= checkpoint => {
                low = sequence.saturating_add(1);
            }
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

/// Sequence and position of the first event with a sequence in `from..before`.
async fn first_event(
    stream: &EventStream,
    from: u64,
    before: u64,
) -> Result<Option<(u64, Position)>, StreamError> {
    let mut from = from;
    while from < before {
        let Some(message) = stream.first_from(from).await? else {
            return Ok(None);
        };
        if message.sequence >= before {
            return Ok(None);
        }
        if let Ok((position, _)) = identify(&message.headers) {
            return Ok(Some((message.sequence, position)));
        }
        // This message is not an event, so it has no position.
        from = message.sequence.saturating_add(1);
    }
    Ok(None)
}
