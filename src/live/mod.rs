//! Newly appended events: the feed behind live streams, and the buffer of events that this process
//! appended last. HTTP and NATS belong elsewhere.

pub mod feed;
pub mod follower;
pub mod fresh;
mod read_limit;
mod recent;
mod shared;
pub mod source;
#[cfg(test)]
mod tests;

pub use feed::Feed;
pub use follower::{Follower, Update};
pub use fresh::FreshEvents;
pub use source::{Entry, FeedSource, Page};
