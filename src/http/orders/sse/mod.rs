//! Live updates: what the event store takes in, as messages of `text/event-stream`.

mod frames;
mod messages;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

pub use self::{
    frames::{Frame, OrderFrames},
    messages::{Filter, messages},
};
use crate::{live::Feed, order::OrderHistory};

/// Live updates.
pub struct Live {
    /// The store as it goes on.
    pub feed: Feed<OrderFrames>,
    /// What is shown of it.
    pub frames: OrderFrames,
    /// Ends all streams: the service stops.
    pub stopping: CancellationToken,
}

impl Live {
    /// Shows this history, until `stopping`. Somebody has to run the feed.
    pub fn new(history: Arc<dyn OrderHistory>, stopping: CancellationToken) -> Self {
        let frames = OrderFrames::new(history);
        Self {
            feed: Feed::new(frames.clone()),
            frames,
            stopping,
        }
    }
}
