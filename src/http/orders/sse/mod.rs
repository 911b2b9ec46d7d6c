//! Live streams: events as messages of `text/event-stream`, filtered for each client. The endpoints
//! and their parameters are in [`super::streams`].

mod frames;
mod messages;
mod open_stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use self::{
    frames::{Frame, OrderFrames},
    messages::{Filter, messages},
    open_stream::OpenStream,
};
use crate::{live::Feed, order::OrderHistory};

/// How many streams read the store at the same time; the others wait for their turn. One page takes a
/// millisecond, so one reader is enough, and however many clients come back from far behind, they take
/// less than one processor from the commands.
pub const READERS: u8 = 1;

/// Marks a response whose body ends only when the client leaves or the service stops.
#[derive(Debug, Clone, Copy)]
pub struct EndlessBody;

/// What the live streams read from.
pub struct Live {
    /// The newly appended events.
    pub feed: Feed<OrderFrames>,
    /// The events as messages, and the customers of their orders.
    pub frames: OrderFrames,
    /// Cancelled when the service stops: all streams end.
    pub stopping: CancellationToken,
}

impl Live {
    /// Streams from this history, at most [`READERS`] at the same time, until `stopping`. The caller
    /// must run [`Self::feed`], which is one reader more.
    pub fn new(history: Arc<dyn OrderHistory>, stopping: CancellationToken) -> Self {
        let frames = OrderFrames::new(history, READERS.into());
        Self {
            feed: Feed::new(frames.with_readers(1), frames.clone()),
            frames,
            stopping,
        }
    }
}
