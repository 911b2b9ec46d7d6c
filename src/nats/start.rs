//! Where in the stream a consumer has to start for a checkpoint.
//!
//! Positions rise with sequences but have holes of their own, so the first message after a
//! checkpoint is found by binary search over the sequences, by the `Event-Position` header: some
//! twenty round trips of a fraction of a millisecond, once a consumer. Remembering which sequence
//! was applied last would save them, but would have to be proved against purges, deletions and
//! recreated streams each time; starting by time would rest on two clocks.
//!
//! A start that is too early costs a little time (the projection skips what it has applied), one
//! that is too late too (it fills the gap from the store). So a stream that changes meanwhile, or
//! one whose positions do not rise, does no harm.

use super::{
    message::identify,
    stream::{EventStream, StreamError, StreamState},
};
use crate::event_sourcing::Position;

/// The sequence of the first message whose event is after `checkpoint`; the one after the last
/// where there is none yet.
///
/// # Errors
/// Where NATS does not answer.
pub async fn find(
    stream: &EventStream,
    state: &StreamState,
    checkpoint: Position,
) -> Result<u64, StreamError> {
    // Everything before `low` is applied; `high` and everything after it is not.
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

/// The first event with a sequence in `from..before`.
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
        // A foreign message says nothing about its place.
        from = message.sequence.saturating_add(1);
    }
    Ok(None)
}
