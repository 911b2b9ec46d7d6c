//! Newly appended events: the feed behind live streams, and the events that this process has just
//! appended. It knows no HTTP and no NATS.

pub mod feed;
pub mod follower;
pub mod fresh;
mod pace;
mod shared;
pub mod source;
mod tail;
#[cfg(test)]
mod tests;

pub use feed::Feed;
pub use follower::{Fed, Follower};
pub use fresh::FreshEvents;
pub use source::{Entry, FeedSource, Page};
