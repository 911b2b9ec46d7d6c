//! An event as a NATS message: its headers, and how it is written. Sending and receiving do not
//! belong here.
//!
//! Subject: `<prefix>.<AggregateType>.<EventType>`. It holds no ids, because filters over many
//! subjects are slow. The body is a history entry with the aggregate's id and type; the stored text of
//! `data` is copied, not parsed. The headers hold what a consumer needs without
//! the body. An event that is larger than the server takes comes without `data`, with a link to it.

pub mod encode;
pub mod headers;
#[cfg(test)]
mod test_event;

pub use encode::{Encoding, OutgoingMessage, encode};
pub use headers::{InvalidMessage, identify, position};
