//! Live streams: events as messages of `text/event-stream`, filtered for each client. The endpoints
//! and their parameters are in [`super::streams`].

mod frames;
mod messages;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use self::{
    frames::{Frame, OrderFrames},
    messages::{Filter, messages},
};
use crate::{live::Feed, order::OrderHistory};

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
    /// Streams from this history until `stopping`. The caller must run [`Self::feed`].
    pub fn new(history: Arc<dyn OrderHistory>, stopping: CancellationToken) -> Self {
        let frames = OrderFrames::new(history);
        Self {
            feed: Feed::new(frames.clone()),
            frames,
            stopping,
        }
    }
}
